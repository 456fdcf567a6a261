//! The messages of Pulsar's protocol, generated from `proto/pulsar.proto`.

pub(crate) use crate::milvus::pb::pulsar::*;
