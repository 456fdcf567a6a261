/*!
Reading a source's log. One folder per kind of log; what comes out is the same for all: [`Record`]s of one physical
channel, each with a position and a timestamp, and time ticks between them.
*/

mod absence;
mod kafka;
mod log;
mod message;
mod news;
mod open;
mod pulsar;
mod reader;
mod rocksmq;
mod scan;
mod search;
pub mod wal;

pub use log::{Keeps, Log, LogError, Next, ReadEnd, Start};
pub use message::{Body, DecodeError, Delete, Insert, Keys, Record, Truncate, decode};
pub use open::{LogSettings, OpenError, OpenLog, forget, open};
pub use reader::{Reader, ReaderCommand, ReaderEvent, Seek, spawn as spawn_reader};
