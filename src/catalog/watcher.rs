/*!
The thread that watches the source's catalog: cheap listings often, details of single collections on a hint from the log,
or in turn.
*/

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::carry::{Carrier, CarryError};
use super::event::{CatalogEvent, Hint};
use super::gone::Absent;
use super::look::{SourceCollection, look};
use super::record::Record;
use super::tour::Tour;
use crate::domain::{CollectionId, ObjectKey};
use crate::journal::sealed::SealedError;
use crate::milvus::{CallContext, Cancel, Client, Error};
use crate::target::Backoff;
use crate::task::history::History;
use crate::task::mapping::NameMapping;
use crate::task::scope::Scope;
use crate::task::spec::DEFAULT_DATABASE;

/// What a watcher needs.
pub struct Setup {
    /// For thread names and logs.
    pub task: String,
    /// The Milvus that is watched.
    pub source: Arc<Client>,
    /// The Milvus that is changed.
    pub target: Arc<Client>,
    /// Which collections.
    pub scope: Scope,
    /// Their names on the target.
    pub mapping: NameMapping,
    /// Do not carry partitions over.
    pub ignore_partitions: bool,
    /// Where the record is kept.
    pub folder: PathBuf,
    /// Is told what was done.
    pub history: Arc<History>,
    /// Ends calls under way.
    pub cancel: Cancel,
}

/// A running watcher. Ends when cancelled; dropping it joins its thread.
pub struct Watcher {
    hints: Sender<Hint>,
    events: Receiver<CatalogEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Where its events arrive.
    pub fn events(&self) -> &Receiver<CatalogEvent> {
        &self.events
    }

    /// Asks for a look. False when it has to be asked again later: too many hints wait already.
    pub fn hint(&self, hint: Hint) -> bool {
        self.hints.try_send(hint).is_ok()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hints = bounded(0).0;
        // Taken until its thread has ended: whoever waits for the answer to one of them learns that none will come. A channel
        // that only lost its receiver would keep them.
        self.events.iter().for_each(drop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the catalog watcher panicked");
        }
    }
}

/// Between two listings.
pub(super) const LISTING: Duration = Duration::from_millis(500);
/// One call about the catalog.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Hints that may wait. More than that are answered by the next listing.
const HINTS: usize = 256;
const EVENTS: usize = 16;

/// Starts a watcher.
///
/// # Errors
/// The record cannot be read, or the system gives no more threads (told as an unreadable record's folder).
pub fn spawn(setup: Setup) -> Result<Watcher, SealedError> {
    let record = Record::open(&setup.folder)?;
    let (hints, hint_receiver) = bounded(HINTS);
    let (events, event_receiver) = bounded(EVENTS);
    let context = CallContext { timeout: CALL_TIMEOUT, cancel: setup.cancel.clone() };
    let carrier = Carrier {
        target: Arc::clone(&setup.target),
        context: context.clone(),
        record,
        ignore_partitions: setup.ignore_partitions,
        databases: BTreeSet::new(),
        events,
        history: setup.history,
        version: None,
        source_forgets: None,
        no_aliases: BTreeSet::new(),
        generation: 0,
    };
    let name = format!("catalog-{}", setup.task);
    let folder = setup.folder.clone();
    let watch = Watch {
        source: setup.source,
        scope: setup.scope,
        mapping: setup.mapping,
        context,
        carrier,
        listed: BTreeMap::new(),
        absent: Absent::default(),
        seen: HashMap::new(),
        loaded: BTreeMap::new(),
        retries: BTreeMap::new(),
        source_trouble: None,
        told_trouble: Vec::new(),
        tour: Tour::default(),
        settled: false,
    };
    let thread = std::thread::Builder::new()
        .name(name)
        .spawn(move || watch.run(&hint_receiver))
        .map_err(|source| SealedError::Io { path: folder, action: "watched", source })?;
    Ok(Watcher { hints, events: event_receiver, thread: Some(thread) })
}

pub(super) struct Retry {
    at: Instant,
    backoff: Backoff,
    why: String,
}

/// The watching thread's state.
pub(super) struct Watch {
    pub(super) source: Arc<Client>,
    pub(super) scope: Scope,
    pub(super) mapping: NameMapping,
    pub(super) context: CallContext,
    pub(super) carrier: Carrier,
    /// Collections of the scope at the source, by the last listing.
    pub(super) listed: BTreeMap<CollectionId, (String, String)>,
    pub(super) absent: Absent,
    /// As last carried over completely.
    pub(super) seen: HashMap<CollectionId, SourceCollection>,
    /// Per database the loaded collections and how much of each, by the last listing.
    pub(super) loaded: BTreeMap<String, BTreeMap<String, i64>>,
    /// What failed and when it is tried again. `None`: the databases.
    pub(super) retries: BTreeMap<Option<CollectionId>, Retry>,
    pub(super) source_trouble: Option<(String, Backoff)>,
    pub(super) told_trouble: Vec<String>,
    pub(super) tour: Tour,
    pub(super) settled: bool,
}

impl Watch {
    fn run(mut self, hints: &Receiver<Hint>) {
        let mut waiting: Vec<Hint> = Vec::new();
        loop {
            let started = Instant::now();
            let pause = match self.round(&mut waiting) {
                Ok(()) => LISTING,
                Err(CarryError::Stopping) => return,
                Err(error) => {
                    let (_, mut backoff) = self.source_trouble.take().unwrap_or_default();
                    let pause = backoff.wait().max(LISTING);
                    self.source_trouble = Some((error.to_string(), backoff));
                    pause
                }
            };
            if self.tell_trouble().is_err() || self.context.cancel.is_cancelled() {
                return;
            }
            match hints.recv_timeout(pause.saturating_sub(started.elapsed())) {
                Ok(hint) => waiting.push(hint),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            waiting.extend(hints.try_iter());
        }
    }

    /// One comparison.
    fn round(&mut self, hints: &mut Vec<Hint>) -> Result<(), CarryError> {
        let loads_changed = self.list_surely()?;
        self.source_trouble = None;
        let hinted = std::mem::take(hints);
        self.carrier.generation = self.carrier.generation.max(hinted.iter().map(Hint::question).max().unwrap_or(0));
        self.drop_gone()?;
        let mut due: BTreeSet<CollectionId> = loads_changed;
        due.extend(self.listed.keys().filter(|id| !self.seen.contains_key(id)));
        due.extend(self.renamed());
        due.extend(self.forgotten());
        let asked_for: BTreeSet<CollectionId> = self.hinted(&hinted)?.into_iter().collect();
        due.extend(&asked_for);
        due.retain(|id| self.is_time(Some(*id)) || asked_for.contains(id));
        for id in due {
            // Hints that arrived since are of the next round; a long list of new collections must not hold up a stop.
            if self.context.cancel.is_cancelled() {
                return Err(CarryError::Stopping);
            }
            self.carry(id)?;
        }
        self.tour()?;
        if !self.settled {
            self.settled = true;
            self.carrier.tell(CatalogEvent::Settled)?;
        }
        Ok(())
    }

    /// Lists everything of the scope; returns the collections whose load state has changed.
    pub(super) fn list(&mut self) -> Result<BTreeSet<CollectionId>, CarryError> {
        if self.carrier.source_forgets.is_none() {
            self.carrier.source_forgets = Some(self.source.version(&self.context)?.forgets_loads());
        }
        let all = self.source.list_databases(&self.context)?;
        let databases: Vec<String> = all.into_iter().filter(|db| self.scope.touches_database(db)).collect();
        let mut listed = BTreeMap::new();
        let mut loaded = BTreeMap::new();
        for db in &databases {
            let collections = match self.source.list_collections(db, &self.context) {
                Ok(collections) => collections,
                // Dropped between the two calls.
                Err(error) if error.is_database_missing() => continue,
                Err(error) => return Err(error.into()),
            };
            for collection in collections {
                if self.scope.matches(db, &collection.name) {
                    let id = self.carrier.record.id_of(&ObjectKey::of(collection.id, db, &collection.name));
                    listed.insert(id, (db.clone(), collection.name));
                }
            }
            match self.source.loaded_collections(db, &self.context) {
                Ok(collections) => drop(loaded.insert(db.clone(), collections)),
                Err(error) if error.is_database_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let percent = |loaded: &BTreeMap<String, BTreeMap<String, i64>>, (db, name): &(String, String)| {
            loaded.get(db).and_then(|db| db.get(name)).copied()
        };
        let changed = listed
            .iter()
            .filter(|(_, place)| percent(&loaded, place) != percent(&self.loaded, place))
            .map(|(id, _)| *id)
            .collect();
        for (id, place) in &listed {
            self.carrier.record.set_source(*id, place);
        }
        self.absent.count(&self.carrier.record.ids(), |id| listed.contains_key(&id));
        self.carrier.record.forget_names(|id| listed.contains_key(&id));
        self.carrier.record.save()?;
        self.listed = listed;
        self.loaded = loaded;
        self.carry_databases(&databases)?;
        Ok(changed)
    }

    fn carry_databases(&mut self, databases: &[String]) -> Result<(), CarryError> {
        if !self.is_time(None) {
            return Ok(());
        }
        let whole = databases.iter().filter(|db| self.scope.whole_database(db) && *db != DEFAULT_DATABASE);
        let mut wanted: Vec<String> = whole.map(|db| self.mapping.map_database(db)).collect();
        // Databases that collections of ours live in stay while those do.
        let living = self.carrier.record.ids().into_iter().filter_map(|id| self.carrier.place(id)).map(|(db, _)| db);
        wanted.extend(living.filter(|db| db != DEFAULT_DATABASE));
        wanted.sort();
        wanted.dedup();
        let outcome = self.carrier.carry_databases(&wanted);
        self.settle(None, "databases", outcome)
    }

    fn renamed(&self) -> Vec<CollectionId> {
        let renamed = |id: &&CollectionId| {
            let seen = self.seen.get(id).map(|seen| (&seen.db, &seen.details.name));
            seen.is_some() && seen != self.listed.get(id).map(|(db, name)| (db, name))
        };
        self.listed.keys().filter(renamed).copied().collect()
    }

    /// The collections that hints are about; those that are not there are answered at once.
    fn hinted(&mut self, hints: &[Hint]) -> Result<Vec<CollectionId>, CarryError> {
        let mut ids = Vec::new();
        for hint in hints {
            match hint {
                Hint::Collection(id, _) if self.listed.contains_key(id) => ids.push(*id),
                // What is being dropped is answered by `Gone`; of what may be there and is not listed, nothing new is known.
                Hint::Collection(id, _) if self.carrier.record.get(*id).is_some() => {}
                Hint::Collection(id, _) => self.carrier.tell(CatalogEvent::Absent(*id))?,
                Hint::Named { db, collection } => {
                    let db = if db.is_empty() { DEFAULT_DATABASE } else { db };
                    let found = self.listed.iter().find(|(_, place)| place.0 == db && place.1 == *collection);
                    ids.extend(found.map(|(id, _)| *id));
                }
                Hint::Afresh(id) => {
                    self.carrier.refresh(*id)?;
                    ids.extend(self.listed.contains_key(id).then_some(*id));
                }
                Hint::Anything => {}
            }
        }
        Ok(ids)
    }

    pub(super) fn is_time(&self, what: Option<CollectionId>) -> bool {
        self.retries.get(&what).is_none_or(|retry| retry.at <= Instant::now())
    }

    /// Looks at one collection and carries over what has changed.
    pub(super) fn carry(&mut self, id: CollectionId) -> Result<(), CarryError> {
        let Some((db, name)) = self.listed.get(&id).cloned() else { return Ok(()) };
        let source = match look(&self.source, (&db, &name), id, &self.context) {
            Ok(Some(source)) => source,
            // Renamed or dropped since the listing: the next one knows.
            Ok(None) => return Ok(()),
            Err(error) if error.is_collection_missing() || error.is_database_missing() => return Ok(()),
            Err(error) => return self.fails_at_source(id, error),
        };
        let source = self.identify(source)?;
        let id = source.id;
        let outcome = self.carry_over(&source);
        if outcome.is_ok() {
            self.seen.insert(id, source);
        } else {
            self.seen.remove(&id);
        }
        self.settle(Some(id), &format!("{db}.{name}"), outcome)
    }

    /// Looking at one collection has failed: it is looked at wholly when it is time again, and the others are not held up.
    pub(super) fn fails_at_source(&mut self, id: CollectionId, error: Error) -> Result<(), CarryError> {
        self.seen.remove(&id);
        let object = self.listed.get(&id).map_or_else(|| id.to_string(), |(db, name)| format!("{db}.{name}"));
        self.settle(Some(id), &object, Err(CarryError::Source(error)))
    }

    fn carry_over(&mut self, source: &SourceCollection) -> Result<(), CarryError> {
        let (db, name) = self.mapping.map(&source.db, &source.details.name);
        let named = self.free_name(source.id, (&db, &name));
        match named.and_then(|()| self.carrier.ensure_collection(source, (&db, &name))) {
            // It, or who has its name, keeps the old one. Everything else of it goes on, if it is there.
            Err(keeps @ CarryError::KeepsName(_)) if self.carrier.is_made(source.id) => {
                self.carrier.carry(source).and(Err(keeps))
            }
            outcome => outcome.and_then(|()| self.carrier.carry(source)),
        }
    }

    /// Another collection of ours has the name on the target: at the source it has another name by now, or is gone.
    fn free_name(&mut self, id: CollectionId, (db, name): (&str, &str)) -> Result<(), CarryError> {
        let Some(holder) = self.carrier.record.holder(db, name).filter(|holder| *holder != id) else { return Ok(()) };
        let unclear = || Err(CarryError::Call(stale(self.source.address(), db, name)));
        let Some((source_db, source_name)) = self.listed.get(&holder).cloned() else {
            // One without an id may have been found to be another one just now.
            let is_over = !holder.is_given() || self.absent.is_certain(holder);
            return if is_over { self.drop_if_gone(holder) } else { unclear() };
        };
        let (wanted_db, wanted_name) = self.mapping.map(&source_db, &source_name);
        if (wanted_db.as_str(), wanted_name.as_str()) == (db, name) {
            // The listing is older than the look; the next one will tell them apart.
            return unclear();
        }
        let is_free = self.carrier.record.holder(&wanted_db, &wanted_name).is_none();
        // Two that change names with each other: one steps aside first.
        let aside = format!("cdc_{}", holder.0.unsigned_abs());
        self.seen.remove(&holder);
        self.carrier.rename(holder, (&wanted_db, if is_free { &wanted_name } else { &aside }))
    }

    /// Remembers what failed, and when it is tried again; tells what cannot be mended.
    pub(super) fn settle(
        &mut self,
        what: Option<CollectionId>,
        object: &str,
        outcome: Result<(), CarryError>,
    ) -> Result<(), CarryError> {
        match outcome {
            Ok(()) => drop(self.retries.remove(&what)),
            Err(CarryError::Stopping) => return Err(CarryError::Stopping),
            Err(error) if self.context.cancel.is_cancelled() => {
                log::debug!("cancelled: {error}");
                return Err(CarryError::Stopping);
            }
            // The source is away: so it is for everything else.
            Err(error) if error.ends_round() => return Err(error),
            Err(error) if error.is_final() => self.carrier.tell(CatalogEvent::Fatal(error.to_string()))?,
            Err(error) => {
                let mut backoff = self.retries.remove(&what).map(|retry| retry.backoff).unwrap_or_default();
                let why = format!("{object}: {error}");
                log::debug!("will be tried again: {why}");
                self.retries.insert(what, Retry { at: Instant::now() + backoff.wait(), backoff, why });
            }
        }
        Ok(())
    }

    fn tell_trouble(&mut self) -> Result<(), CarryError> {
        let mut trouble: Vec<String> = self.source_trouble.iter().map(|(why, _)| why.clone()).collect();
        trouble.extend(self.retries.values().map(|retry| retry.why.clone()));
        if trouble != self.told_trouble {
            self.told_trouble.clone_from(&trouble);
            self.carrier.tell(CatalogEvent::Trouble(trouble))?;
        }
        Ok(())
    }
}

fn stale(address: &str, db: &str, name: &str) -> Error {
    Error {
        method: "ShowCollections",
        address: address.into(),
        object: format!("{db}.{name}"),
        kind: crate::milvus::ErrorKind::Transport,
        detail: "two collections of one name: one of them is being dropped or renamed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_that_waits_for_an_answer_ends() {
        let ((hints, _asked), (sender, events)) = (bounded(HINTS), bounded(EVENTS));
        let (answer, answered) = bounded::<()>(1);
        sender.send(CatalogEvent::Block(CollectionId(1), answer)).unwrap();
        let thread = std::thread::spawn(move || {
            let _its_own = sender;
            answered.recv().unwrap_err();
        });
        let watcher = Watcher { hints, events, thread: Some(thread) };
        let (ended_sender, ended) = bounded(1);
        std::thread::spawn(move || {
            drop(watcher);
            ended_sender.send(())
        });
        ended.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}
