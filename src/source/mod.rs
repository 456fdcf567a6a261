/*!
Reads a source's log. Each kind of log has a folder; all of them yield the same: [`Record`](crate::domain::Record)s of
one physical channel (pchannel), each with a position and a timestamp, and time ticks between them.

`log` is the trait, `open` chooses the kind, `reader` is the thread. `decode` turns messages into records, for every
kind in one place; `queue_channels` feeds it from the queues, and `idle_ticks` tells their time while nothing is
written; `broker` holds what Kafka and Pulsar share.
*/

mod broker;
mod clock;
pub mod decode;
mod idle_ticks;
mod kafka;
mod log;
mod open;
mod position_bytes;
mod pulsar;
mod queue_channels;
mod reader;
#[cfg(test)]
mod recorded;
mod rocksmq;
mod scan;
mod settings;
mod wakeup;
mod wal;

pub use log::{Log, LogAccess, LogError, LogRetention, ReadEnd, ReadFrom, ReadTick, Refreshed, Start, StartQuery};
pub use open::{LogSettings, OpenError, OpenLog, denied, forget, open};
pub use position_bytes::{message_id, parse_message_id};
pub use reader::{LogReader, ReaderCommand, ReaderEvent, Seek, spawn as spawn_reader};
#[cfg(test)]
pub(crate) use recorded::{Recording, WayIn};
pub(crate) use scan::NoLog;
pub(crate) use settings::log_settings;
