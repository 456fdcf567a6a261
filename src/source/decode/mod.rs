/*!
Turns messages of a log into [`Body`](crate::domain::Body)s, whatever way they came.

Milvus has written its log in two formats. Up to 2.5, a message is the protobuf of `milvus.proto.msg` alone
([`msgstream`]). From 2.6 on, a message is an [`envelope`]: properties that tell its type, time tick and transaction,
and a payload; [`wal_message`] decodes what it says and puts transactions together. The kinds of log differ only in
where they find the bytes and the properties.

`DumpMessages` sends a transaction's parts one behind the other, and only if it was committed: `wal` needs
[`wal_message`] alone. In a queue they stand among other messages, which is what [`channel_decoder`] is for.
*/

pub mod channel_decoder;
pub mod envelope;
pub mod error;
pub mod msgstream;
mod msgstream_kind;
pub mod queue_message;
#[cfg(test)]
pub(super) mod testing;
pub mod wal_kind;
pub mod wal_message;
pub mod wal_message_id;
