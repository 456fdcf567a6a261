//! Carrying one collection over: what the steps have in common, and their order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::event::{CatalogEvent, ReadyCollection};
use super::look::SourceCollection;
use super::record::{Carried, Record};
use super::schema;
use crate::domain::{Channel, CollectionId, PartitionId, Timestamp};
use crate::journal::sealed::SealedError;
use crate::milvus::{CallContext, Client, Error, ServerVersion};
use crate::pipeline::CollectionInfo;
use crate::pipeline::columns::{KnownFields, Shape};
use crate::target::{Verdict, verdict};
use crate::task::history::{EventKind, History};

/// Why a collection could not be carried over.
#[derive(Debug, thiserror::Error)]
pub(super) enum CarryError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// A call about one collection failed at the source.
    #[error(transparent)]
    Source(Error),
    /// A collection is missing in the source's listing, and is there all the same: which, and where.
    #[error("{0} is not in the listing of {1}, but is there: does the user of the source lack a grant?")]
    Unlisted(String, String),
    /// The target does not give a collection of ours its new name: why. It goes on under the old one.
    #[error("{0}")]
    KeepsName(String),
    /// The record could not be written: nothing may be made or removed without it.
    #[error(transparent)]
    Record(#[from] SealedError),
    /// Something on the target is in the way, and only a human can decide.
    #[error("{0}")]
    Conflict(String),
    /// The task is stopping.
    #[error("the task is stopping")]
    Stopping,
}

impl CarryError {
    /// Whether trying again is of no use.
    pub(super) fn is_final(&self) -> bool {
        match self {
            CarryError::Call(error) => verdict(error) == Verdict::Stop,
            CarryError::Conflict(_) => true,
            // Grants of the source come and go, collection by collection.
            CarryError::Source(_) | CarryError::Unlisted(..) | CarryError::KeepsName(_) => false,
            CarryError::Record(_) | CarryError::Stopping => false,
        }
    }

    /// Whether other collections would fail with the same: the source does not answer.
    pub(super) fn ends_round(&self) -> bool {
        matches!(self, CarryError::Source(error) if error.is_silence())
    }
}

/// The hands that carry: connections, the record, and the line to the task.
pub(super) struct Carrier {
    pub(super) target: Arc<Client>,
    pub(super) context: CallContext,
    pub(super) record: Record,
    /// All rows go to the target's default partition.
    pub(super) ignore_partitions: bool,
    /// Databases that were seen or made on the target in this run.
    pub(super) databases: BTreeSet<String>,
    pub(super) events: Sender<CatalogEvent>,
    pub(super) history: Arc<History>,
    /// What the target said it is, once it was asked in this run.
    pub(super) version: Option<ServerVersion>,
    /// The source forgets what is loaded when it restarts; `None` until it was asked.
    pub(super) source_forgets: Option<bool>,
    /// Aliases that were found impossible in this run: said once.
    pub(super) no_aliases: BTreeSet<(CollectionId, String)>,
    /// The highest question asked before the current round of looks began.
    pub(super) generation: u64,
}

impl Carrier {
    pub(super) fn tell(&self, event: CatalogEvent) -> Result<(), CarryError> {
        self.events.send(event).map_err(|_| CarryError::Stopping)
    }

    /// Something of an object cannot be carried over: counted, named, and not tried again before it changes.
    pub(super) fn skip(&self, what: &str, object: &str, why: &dyn std::fmt::Display) -> Result<(), CarryError> {
        log::warn!("{what} of {object} cannot be carried over: {why}");
        self.tell(CatalogEvent::Skipped { what: what.to_owned(), why: format!("{object}: {why}") })
    }

    /// A step is done on the target.
    pub(super) fn note(&self, done: &str) {
        log::info!("{done}");
        self.history.add(EventKind::Catalog, done);
    }

    /// Does one secondary step. A refusal that will not change is counted and passed over; the rest is the caller's.
    /// True when the step is done.
    pub(super) fn or_skip(&self, what: &str, object: &str, outcome: Result<(), Error>) -> Result<bool, CarryError> {
        match outcome {
            Err(error) if verdict(&error) == Verdict::Stop => self.skip(what, object, &error).map(|()| false),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(true),
        }
    }

    /// Waits until no call for the collection is under way; none is started until the next `Ready`, `Gone` or `Unblock`.
    pub(super) fn block(&self, id: CollectionId) -> Result<(), CarryError> {
        let (answer, answered): (Sender<()>, Receiver<()>) = bounded(1);
        self.tell(CatalogEvent::Block(id, answer))?;
        answered.recv().map_err(|_| CarryError::Stopping)
    }

    /// Tells the task that rows of the collection can be applied.
    pub(super) fn tell_ready(&self, source: &SourceCollection) -> Result<(), CarryError> {
        let Some(Carried { db, name, adopted, .. }) = self.record.get(source.id).cloned() else { return Ok(()) };
        let Some(key) = schema::key_field(&source.details.schema) else {
            let object = format!("{}.{}", source.db, source.details.name);
            return Err(CarryError::Conflict(format!("the collection {object} has no primary key")));
        };
        let partitions: HashMap<_, _> =
            source.partitions.iter().map(|(name, &id)| (PartitionId(id), name.clone())).collect();
        let by_key = schema::has_partition_key(&source.details.schema);
        let info = CollectionInfo {
            id: source.id,
            db,
            name,
            key,
            unnamed_partitions: self.ignore_partitions || by_key || partitions.is_empty(),
            partitions,
            mergeable: schema::is_mergeable(&source.details.schema),
            fields: KnownFields::of(&source.details.schema),
            shape: Shape::of(&source.details.schema),
            upsert_until: Default::default(),
            generation: self.generation,
        };
        let channels = source.details.channels.iter().map(|name| Channel::new(name)).collect();
        let created = Timestamp(source.details.created);
        let begins = &source.details.begins;
        let begins = begins.iter().map(|(name, place)| (Channel::new(name), place.clone())).collect();
        let source = (source.db.clone(), source.details.name.clone());
        self.tell(CatalogEvent::Ready(Box::new(ReadyCollection { info, source, channels, begins, created, adopted })))
    }

    /// Everything of one collection that differs from what was carried before.
    pub(super) fn carry(&mut self, source: &SourceCollection) -> Result<(), CarryError> {
        self.carry_fields(source)?;
        self.carry_partitions(source)?;
        self.tell_ready(source)?;
        self.carry_properties(source)?;
        self.carry_indexes(source)?;
        self.carry_aliases(source)?;
        self.carry_load(source)
    }

    /// What the target is.
    pub(super) fn target_version(&mut self) -> Result<ServerVersion, Error> {
        if let Some(version) = &self.version {
            return Ok(version.clone());
        }
        let version = self.target.version(&self.context)?;
        self.version = Some(version.clone());
        Ok(version)
    }

    /// The target with its version, for a person to read.
    pub(super) fn describe_target(&mut self) -> Result<String, Error> {
        let version = self.target_version()?;
        Ok(format!("the target {} ({version})", self.target.address()))
    }

    /// Whether a collection of ours is there on the target.
    pub(super) fn is_made(&self, id: CollectionId) -> bool {
        self.record.get(id).is_some_and(|carried| carried.made)
    }

    /// Where a collection of ours is on the target.
    pub(super) fn place(&self, id: CollectionId) -> Option<(String, String)> {
        self.record.get(id).map(|carried| (carried.db.clone(), carried.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::ErrorKind;

    #[test]
    fn what_a_source_says_of_one_collection_neither_stops_the_task_nor_ends_the_round() {
        let error = |kind| {
            let (object, detail) = ("default.a".into(), "x".into());
            Error { method: "GetLoadState", address: "a:1".into(), object, kind, detail }
        };
        for kind in [ErrorKind::Denied, ErrorKind::Unimplemented, ErrorKind::Server { code: 1100, legacy: 0 }] {
            let at_source = CarryError::Source(error(kind));
            assert!(!at_source.is_final() && !at_source.ends_round());
            assert!(CarryError::Call(error(kind)).is_final(), "the target's");
        }
        for kind in [ErrorKind::Transport, ErrorKind::Cancelled] {
            assert!(CarryError::Source(error(kind)).ends_round());
            assert!(!CarryError::Call(error(kind)).ends_round(), "the source may answer");
        }
    }
}
