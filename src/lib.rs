/*!
milvus-cdc replicates a Milvus to another one. ARCHITECTURE.md has the picture; data flows
`api → manager → replication → source → pipeline → sink`, with `scan`, `milvus` and `domain` underneath.

The library serves the binary and the integration tests. Modules are private and names are exported one by one, so that
the compiler reports what nobody uses.
*/

mod api;
mod catalog;
pub mod cli;
mod config;
mod domain;
mod failpoint;
mod http_client;
mod manager;
mod milvus;
mod observe;
mod pipeline;
mod preflight;
mod replication;
mod runner;
mod scan;
pub mod server;
mod signals;
mod sink;
mod source;
mod storage;
mod task;
mod verify;

pub use config::{Config, Leftover};
pub use observe::logging::init as init_logging;
pub use runner::Runner;

/// What the integration tests reach into. No promise is made about any of it.
#[doc(hidden)]
pub mod internals {
    pub use crate::api::Api;
    pub use crate::api::http::{HttpServer, Limits, Response};
    pub use crate::config::{Address, Secret};
    pub use crate::domain::{
        Body, Channel, CollectionId, CollectionName, CollectionRef, Column, Delete, Insert, KeyField, Keys, LogKind,
        PartitionId, Position, Record, RowLocation, SourceSite, TaskId, Timestamp,
    };
    pub use crate::manager::engine::{
        AdmissionReport, Engine, EngineError, NoOpposite, Refusal, ReverseTask, SourceSighting, TaskHandle,
    };
    pub use crate::manager::store::FileJournal;
    pub use crate::manager::{ManagerError, ManagerThread, TaskManager};
    pub use crate::milvus::rows::WriteRequest;
    pub use crate::milvus::{Cancel, Client, ConnectOptions, ServerDescription, ServerVersion, pb};
    pub use crate::pipeline::{
        AppliedMark, Call, Decision, DispatchRules, Op, OpBody, RecordOrigin, ReorderBuffer, Scheduler, TickPlace,
        WritableCollection,
    };
    pub use crate::preflight::{CheckExtent, PreflightReport};
    pub use crate::scan::Key;
    pub use crate::source::{Log, LogSettings, ReadEnd, ReadFrom, StartQuery, open as open_log};
    pub use crate::task::collection_request::{CollectionOutcome, CollectionRefused, CollectionWish};
    pub use crate::task::detail::{
        ChannelDetail, CollectionDetail, CollectionStage, CopyDetail, RowsFrom, ServersDetail, TaskDetail,
    };
    pub use crate::task::drops::{DropDecision, HeldDrop, HeldKind, SetAside};
    pub use crate::task::failback::{LostLines, LostWrites, LostWritesError};
    pub use crate::task::failover::{DrainedLog, FailoverReport};
    pub use crate::task::history::{EventKind, History};
    pub use crate::task::refused_rows::{
        RefusedRow, RefusedRowsAmount, RefusedRowsDecision, RefusedRowsError, StoredRefusedRows,
    };
    pub use crate::task::reverse::Irreversible;
    pub use crate::task::role::{Epoch, Errand, Mandate};
    pub use crate::task::spec::{TargetSpec, TaskSpec};
    pub use crate::task::status::{ChannelPosition, CollectionCounts, Phase, TaskEvent, TaskStatus};
    pub use crate::task::switchover::Stillness;
    pub use crate::verify::{
        CatalogDifference, CollectionReport, Counts, RowDifference, RowKind, VerifyOutcome, VerifyProgress,
        VerifyRefused, VerifyReport, VerifyRequest, VerifyState, VerifyView,
    };

    /// The process's counters.
    pub mod metrics {
        pub use crate::observe::metrics::{call_done, render};
    }

    /// Columns of rows.
    pub mod field_data {
        pub use crate::milvus::field_data::{KnownFields, Shape, pick};
    }

    /// Messages of the source's log.
    pub mod decode {
        pub use crate::source::decode::channel_decoder::ChannelDecoder;
        pub use crate::source::decode::envelope::{DumpAnswer, Envelope, of_message, read};
        pub use crate::source::decode::error::DecodeError;
        pub use crate::source::decode::msgstream::decode;
        pub use crate::source::decode::queue_message::QueueMessage;
        pub use crate::source::decode::wal_kind::WalKind;
        pub use crate::source::decode::wal_message::{Transactions, body};
        pub use crate::source::decode::wal_message_id::{Queue, WalMessageId};
    }
}
