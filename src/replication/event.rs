//! Everything that can happen to a running task.

use std::time::Instant;

use crossbeam_channel::Sender;

use super::backfill::BackfillEvent;
use super::log_question::LogAnswer;
use crate::catalog::CatalogEvent;
use crate::domain::CollectionName;
use crate::sink::PoolEvent;
use crate::source::ReaderEvent;
use crate::task::collection_request::{CollectionOutcome, CollectionRefused, CollectionWish};

/// One thing that has happened.
#[derive(Debug)]
pub(super) enum Event {
    /// The log reader: records, a gap, trouble or its end.
    Log(ReaderEvent),
    /// The catalog.
    Catalog(CatalogEvent),
    /// A call to the target has ended, or is to be tried again.
    Sink(PoolEvent),
    /// A backfill reports.
    Backfill(BackfillEvent),
    /// A user wants collections repaired.
    Repair(RepairOrder),
    /// A user wants something of one collection.
    Collection(CollectionOrder),
    /// The log has answered a question.
    LogAnswer(LogAnswer),
    /// The log has been replaced by another one: whose it is must be found out before anything else.
    OtherLog(String),
    /// The checkpoint has been written; else why it has not.
    Saved(Result<(), String>),
    /// A moment has come at which there is something to do.
    Due,
    /// Time has passed. Ten times a second.
    Heartbeat,
    /// The task is to end: nothing may be under way after this moment.
    Stop(Instant),
    /// A thread of the task has ended, which it does not do while the task runs.
    ThreadEnded(Thread),
}

/// A thread, or several of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread {
    Sink,
    Catalog,
    LogReader,
    LogAsker,
    Backfill,
}

impl Thread {
    /// Who has ended, for a person.
    pub(super) fn ended(self) -> &'static str {
        match self {
            Thread::Sink => "the threads that write to the target have ended",
            Thread::Catalog => "the catalog watcher has ended",
            Thread::LogReader => "the log reader has ended",
            Thread::LogAsker => "the thread that asks the log has ended",
            Thread::Backfill => "the copying thread has ended",
        }
    }
}

/// Which events the task takes at the moment; the others wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Everything,
    /// Too many rows wait in memory.
    EverythingButRecords,
    /// The task ends.
    CallsOnly,
}

/// Collections (database and name at the source) to be made equal; whoever waits is told by `done` being dropped.
#[derive(Debug)]
pub(super) struct RepairOrder {
    pub(super) collections: Vec<CollectionName>,
    pub(super) done: Sender<()>,
}

/// What a user wants of one collection.
#[derive(Debug)]
pub(super) struct CollectionOrder {
    /// Database and name at the source.
    pub(super) collection: String,
    pub(super) wish: CollectionWish,
    /// Dropped when the wish cannot be stored.
    pub(super) reply: Sender<OrderReply>,
    /// Told when nothing of a collection that is paused is in flight.
    pub(super) idle: Sender<()>,
}

/// What comes of it.
pub(super) type OrderReply = Result<CollectionOutcome, CollectionRefused>;
