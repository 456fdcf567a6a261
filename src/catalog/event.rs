//! What the catalog watcher and the task tell each other.

use std::collections::BTreeMap;

use crossbeam_channel::Sender;

use crate::domain::{Channel, CollectionId, Timestamp};
use crate::pipeline::CollectionInfo;

/// A reason to compare soon. Losing one only costs time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Something about this collection: answer with `Ready`, `Gone` or `Absent`. The number is the question's, 0 for none:
    /// the answer's `generation` says which questions it answers.
    Collection(CollectionId, u64),
    /// Something about a collection of this name.
    Named {
        /// Database at the source; empty for the default one.
        db: String,
        /// Collection at the source.
        collection: String,
    },
    /// The target may lack something of this collection that was carried over before.
    Afresh(CollectionId),
    /// Something, somewhere.
    Anything,
}

impl Hint {
    /// The question's number; 0 when it is none.
    pub(super) fn question(&self) -> u64 {
        match self {
            Hint::Collection(_, question) => *question,
            Hint::Named { .. } | Hint::Afresh(_) | Hint::Anything => 0,
        }
    }
}

/// A collection whose rows can be applied.
#[derive(Debug, Clone)]
pub struct ReadyCollection {
    /// What the pipeline needs.
    pub info: CollectionInfo,
    /// Database and name at the source.
    pub source: (String, String),
    /// The physical channels that its rows arrive on.
    pub channels: Vec<Channel>,
    /// By channel, where the source says that it begins in the log.
    pub begins: BTreeMap<Channel, Vec<u8>>,
    /// When it was made at the source.
    pub created: Timestamp,
    /// It was on the target before the task: rows may be there already.
    pub adopted: bool,
}

/// What the watcher tells the task.
#[derive(Debug)]
pub enum CatalogEvent {
    /// The collection is on the target as it is at the source. Sent again after every change.
    Ready(Box<ReadyCollection>),
    /// The collection is no longer at the source and what was ours of it is no longer on the target.
    Gone(CollectionId),
    /// Asked for by a hint: no such collection is at the source, or it is not for this task, and nothing of it is carried.
    Absent(CollectionId),
    /// Something is about to change that names depend on: start no more calls for this collection, and answer when none
    /// is under way. Calls go on with the next `Ready`, `Gone` or `Unblock`.
    Block(CollectionId, Sender<()>),
    /// It has not changed: the target refuses, and it will be tried again. Calls go on as before.
    Unblock(CollectionId),
    /// The first comparison of everything is through.
    Settled,
    /// These things fail and are tried again; empty: nothing does.
    Trouble(Vec<String>),
    /// Something could not be carried over: once per object.
    Skipped {
        /// What it is counted under.
        what: String,
        /// Of which object, and why.
        why: String,
    },
    /// Only a human can help: the task must stop.
    Fatal(String),
}
