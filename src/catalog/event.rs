//! The messages between the catalog's thread and the task.

use std::collections::BTreeMap;

use crossbeam_channel::Sender;

use crate::domain::{Channel, CollectionId, CollectionName, CollectionRef, Mark, Timestamp};
use crate::pipeline::WritableCollection;

/// A reason to compare soon. A lost hint only costs time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// This collection may have changed: answer with `Ready`, `Dropped` or `Absent`. The number is the question's, 0 if
    /// it is none; the answer's `generation` is the highest number that it answers.
    Collection(CollectionId, u64),
    /// A collection of this name may have changed.
    Named {
        /// Database at the source; empty for the default one.
        db: String,
        /// Collection at the source.
        collection: String,
    },
    /// The log shows that this collection was dropped.
    Dropped(CollectionId),
    /// The log shows a user's request to release something of this collection.
    Release {
        /// The collection.
        collection: CollectionRef,
        /// Whose request it was first, if no user's of the source.
        mark: Option<Mark>,
    },
    /// The target may have drifted: something of this collection that was replicated before may be lost there.
    TargetDrift(CollectionId),
    /// The same, and a user wants it back whoever has dropped it there.
    Resync(CollectionId),
    /// The log shows that a database was created.
    DatabaseCreated {
        /// Its name.
        db: String,
        /// Who made it, if no user of the source.
        mark: Option<Mark>,
    },
    /// Anything may have changed.
    Anything,
}

impl Hint {
    /// The question's number; 0 if it is none.
    pub(super) fn question(&self) -> u64 {
        match self {
            Hint::Collection(_, question) => *question,
            Hint::Named { .. } | Hint::Dropped(_) | Hint::Release { .. } | Hint::TargetDrift(_) | Hint::Resync(_) => 0,
            Hint::DatabaseCreated { .. } | Hint::Anything => 0,
        }
    }
}

/// A collection whose rows can be applied.
#[derive(Debug, Clone)]
pub struct ReadyCollection {
    /// The collection as the pipeline knows it.
    pub info: WritableCollection,
    /// Database and name at the source.
    pub source: CollectionName,
    /// The physical channels that bring its rows.
    pub channels: Vec<Channel>,
    /// The source's start position of the collection by channel, in the log's own bytes.
    pub begins: BTreeMap<Channel, Vec<u8>>,
    /// When it was created at the source.
    pub created: Timestamp,
    /// It was on the target before the task and may have rows already.
    pub adopted: bool,
}

/// A collection that stands still while the others go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCollection {
    /// Its id at the source.
    pub id: CollectionId,
    /// Database and name at the source, or the id.
    pub source: String,
    /// What is in the way, and what to do about it.
    pub why: String,
    /// It was on the target before the task, so that rows there may be somebody else's.
    pub adopted: bool,
}

/// What becomes of a collection's calls in flight before it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallsInFlight {
    /// They end as they will.
    Awaited,
    /// They give up: what they write is being dropped, and the target may refuse it for as long as it is there. Should
    /// the collection stay, its rows are compared.
    Cancelled,
}

/// What stands on the target in place of a collection that was lost there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetLoss {
    /// Nothing: it is created again.
    Gone,
    /// Another one, whose rows may be somebody else's.
    Replaced,
    /// Whatever stands there stays as it is, until a user wants the collection back.
    Withheld,
}

/// What the catalog tells the task.
#[derive(Debug)]
pub enum CatalogEvent {
    /// The collection exists on the target with the source's fields and partitions. Sent again after every change.
    Ready(Box<ReadyCollection>),
    /// The collection was dropped at the source, and what the task had created of it was dropped on the target.
    Dropped(CollectionId),
    /// Answers a hint: the source has no such collection in the task's scope, and nothing of it was replicated.
    Absent(CollectionId),
    /// The collection's name, fields or partitions are about to change: start no more calls for it, and answer when
    /// none is in flight. Calls go on with the next `Ready`, `Dropped` or `Unblock`.
    Block {
        /// The collection.
        id: CollectionId,
        /// What becomes of the calls in flight.
        calls: CallsInFlight,
        /// The answer.
        answer: Sender<()>,
    },
    /// Rows of the collection went at the source and the log does not name them: they are to be compared. Answered once
    /// that cannot be lost any more; dropped when it can.
    Compare(CollectionId, Sender<()>),
    /// The target was restored to an earlier time: all collections are to be compared with it. Answered once that
    /// cannot be forgotten any more; dropped when it can.
    TargetRestored(Sender<()>),
    /// A bulk import wrote rows into the collection, past the log: they are to be compared. Answered once that cannot
    /// be lost any more; the answer is dropped when the collection is not the task's yet.
    Imported {
        /// The collection.
        id: CollectionId,
        /// Number of rows; 0 when it is not known.
        rows: u64,
        /// The answer.
        answer: Sender<()>,
    },
    /// The target refused the change, which will be retried. Calls go on as before.
    Unblock(CollectionId),
    /// Another server than the one that the task follows, or another log of it: everything must be opened again.
    /// Nothing follows this.
    Reconnect(String),
    /// Everything has been compared once.
    Settled,
    /// All that fails at present and is retried; empty when nothing does.
    Trouble(Vec<String>),
    /// A part of an object could not be replicated. Sent once per object.
    Skipped {
        /// The kind that it is counted under.
        what: String,
        /// The object, and why.
        why: String,
    },
    /// The collection cannot be replicated until something about it changes. It is tried again by itself, and is over
    /// with the next `Ready`, `Dropped` or `Absent`. Sent again after every try that failed.
    Held(HeldCollection),
    /// The collection was dropped on the target, or another one stands there in its place: `Ready` or `Held` follows,
    /// and then its rows must be compared.
    Lost {
        /// The collection.
        id: CollectionId,
        /// What stands in its place.
        loss: TargetLoss,
        /// Answered once that cannot be forgotten any more; dropped when it can.
        noted: Sender<()>,
    },
    /// A trouble that only a human can end: the task must stop.
    Fatal(String),
}
