/*!
The catalog while the source does not answer: what is kept of the collections that the task knows stands in for the
source's descriptions, so that the rest of a log that outlives its Milvus can be applied. Nothing is created, changed or
dropped.

```text
 the source is away ──▶ Ready of each known collection ──▶ (rows are applied)
                              │
             it answers again └──▶ Reconnect: the next run compares everything, as ever
```

A collection that stands on the target no more, or that has become another one there, is not announced: its rows wait.
One that nobody knows is answered with `Absent`: it is read from its beginning when it joins.
*/

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::error::{CatalogError, SpawnError};
use super::event::{CatalogEvent, Hint, ReadyCollection};
use super::record::CatalogRecord;
use super::reporter::Reporter;
use super::row_schemas::RowSchemas;
use super::target_identity::TargetGuard;
use super::watcher::{CALL_TIMEOUT, MAX_EVENTS, MAX_HINTS, Setup, Watcher};
use crate::domain::CollectionId;
use crate::milvus::{CallContext, Client};
use crate::observe::thread::ThreadSpec;

/// How often the source is tried, and the target is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What stands in for the source.
#[derive(Debug, Clone)]
pub struct SourceAway {
    /// Why it does not answer, or is not asked.
    pub why: String,
    /// Collections whose rows come from the log.
    pub streaming: BTreeSet<CollectionId>,
    /// What ends this.
    pub vigil: Vigil,
}

/// Whether the source is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vigil {
    /// As soon as it answers, the task goes on with it.
    UntilItAnswers,
    /// It is followed no more, whatever it does.
    Never,
}

/// The stand-in, on its thread.
struct StandIn {
    away: SourceAway,
    source: Arc<Client>,
    target: Arc<Client>,
    call: CallContext,
    record: CatalogRecord,
    schemas: RowSchemas,
    guard: TargetGuard,
    reporter: Reporter,
    announced: BTreeSet<CollectionId>,
    is_settled: bool,
}

/// Why a collection is not announced.
enum Unready {
    /// The target does not answer: it may yet.
    Later(String),
    /// Only the source can help.
    NeedsSource(String),
}

/// Starts the stand-in.
///
/// # Errors
/// The task's files cannot be read, or the system refuses another thread.
pub fn spawn_source_away(setup: Setup, away: SourceAway) -> Result<Watcher, SpawnError> {
    let (hints, hint_receiver) = bounded(MAX_HINTS);
    let (events, event_receiver) = bounded(MAX_EVENTS);
    let stand_in = StandIn {
        away,
        source: setup.source,
        target: setup.target,
        call: CallContext { timeout: CALL_TIMEOUT, cancel: setup.cancel },
        record: CatalogRecord::open(&setup.folder)?,
        schemas: RowSchemas::of(&setup.folder),
        guard: TargetGuard::open(&setup.folder)?,
        reporter: Reporter::new(events, setup.history),
        announced: BTreeSet::new(),
        is_settled: false,
    };
    let thread = ThreadSpec::of_task("catalog", &setup.task);
    let thread = thread.spawn(move || stand_in.run(&hint_receiver)).map_err(SpawnError::Thread)?;
    Ok(Watcher::new(hints, event_receiver, thread))
}

impl StandIn {
    fn run(mut self, hints: &Receiver<Hint>) {
        loop {
            match self.look() {
                Ok(()) => {}
                Err(CatalogError::OtherSource(why)) => return drop(self.reporter.send(CatalogEvent::Reconnect(why))),
                // Nobody listens any more.
                Err(_) => return,
            }
            match hints.recv_timeout(INTERVAL) {
                Ok(hint) => {
                    if std::iter::once(hint).chain(hints.try_iter()).any(|hint| self.answer(&hint).is_err()) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Who is there, and what can be announced.
    fn look(&mut self) -> Result<(), CatalogError> {
        if self.guard.is_due(&self.target) {
            match self.guard.recognise(&self.target, &self.record, &self.call) {
                Err(error @ (CatalogError::OtherSource(_) | CatalogError::Record(_))) => return Err(error),
                // A target that does not answer is reported by the calls that write to it.
                Err(error) => log::debug!("{error}"),
                Ok(()) => {}
            }
        }
        let unready = self.announce()?;
        let is_final = unready.iter().all(|unready| matches!(unready, Unready::NeedsSource(_)));
        let unready = unready.into_iter().map(|(Unready::Later(why) | Unready::NeedsSource(why))| why);
        self.reporter.send(CatalogEvent::Trouble(std::iter::once(self.away.why.clone()).chain(unready).collect()))?;
        // Where the source comes back, it is compared with first.
        if is_final && !self.is_settled && self.away.vigil == Vigil::Never {
            self.is_settled = true;
            self.reporter.send(CatalogEvent::Settled)?;
        }
        if self.away.vigil == Vigil::UntilItAnswers && self.source.connect(&self.call.cancel).is_ok() {
            return Err(CatalogError::OtherSource(format!("the source {} answers again", self.source.address())));
        }
        Ok(())
    }

    /// Announces what can be written. Answers why the others cannot.
    fn announce(&mut self) -> Result<Vec<Unready>, CatalogError> {
        let mut unready = Vec::new();
        for id in self.away.streaming.difference(&self.announced.clone()).copied() {
            match self.known(id) {
                Ok(ready) => {
                    self.reporter.send(CatalogEvent::Ready(Box::new(ready)))?;
                    self.announced.insert(id);
                }
                Err(why) => unready.push(why),
            }
        }
        Ok(unready)
    }

    /// A collection that stands on the target as it was left; else why its rows wait.
    fn known(&self, id: CollectionId) -> Result<ReadyCollection, Unready> {
        let named = || self.record.source_of(id).map_or_else(|| format!("collection {id}"), |name| name.to_string());
        let text = |why: &dyn std::fmt::Display| format!("{}: its rows wait for the source: {why}", named());
        let waits = |why: &dyn std::fmt::Display| Unready::NeedsSource(text(why));
        let rows = match self.schemas.load(id) {
            Ok(Some(rows)) => rows,
            Ok(None) => return Err(waits(&"its schema was not kept by the version that followed it")),
            Err(error) => return Err(waits(&error)),
        };
        let recorded = self.record.get(id).filter(|recorded| recorded.created && !recorded.lost);
        if recorded.is_none_or(|recorded| recorded.name != rows.target) {
            return Err(waits(&"it was being changed on the target"));
        }
        let found = self.target.describe_collection(&rows.target, &self.call).map_err(|error| {
            let is_gone = error.is_collection_missing() || error.is_database_missing();
            if is_gone { waits(&error) } else { Unready::Later(format!("{}: {error}", named())) }
        })?;
        if found.name != rows.target.name || ![0, found.id].contains(&rows.target_id) {
            return Err(waits(&format!("{} on the target is another collection now", rows.target)));
        }
        // No question is answered by a description that is this old.
        rows.ready(id, 0, Default::default()).map_err(|error| waits(&error))
    }

    fn answer(&self, hint: &Hint) -> Result<(), CatalogError> {
        match hint {
            Hint::Collection(id, _) if !self.record.contains(*id) => self.reporter.send(CatalogEvent::Absent(*id)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
