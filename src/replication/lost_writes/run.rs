//! One step of a failback, from its connections to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::files::{LineKind, LineMerge, LostLine, LostWritesFiles};
use super::index::{LeftOfKey, LostKey};
use super::judge::Judgement;
use super::reading::{Found, LogReading, ReadingError};
use super::standby::{MergeCount, MergeError, Standby};
use crate::catalog::{self, ReadyCollection, ReturnedSource, SourceRefused, TargetRefused};
use crate::domain::{CollectionId, LogKind, Timestamp};
use crate::milvus::{CallContext, Client};
use crate::replication::checkpoint::{self, Checkpoint, CollectionCheckpoint};
use crate::replication::executor::Wiring;
use crate::replication::log_past::LogPast;
use crate::replication::setup::{ReplicationSetup, clients, make_folder};
use crate::replication::setup_error::{SetupError, hopeless, passing};
use crate::scan::{Key, PageError};
use crate::source::{self, LogSettings, OpenError, OpenLog};
use crate::task::failback::{
    AfterListing, Failback, FailbackIntent, FailbackOutcome, FailbackStep, LostInCollection, LostWrites, Rebuild,
    ReturnedPrimary, UnknownWrites,
};
use crate::task::status::{Phase, TaskStatus};

/// Timeout of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Stands in every line.
const REASON: &str = "written at the old primary, and never got across";

/// Carries one step out. What it comes to is on disk.
///
/// # Errors
/// [`SetupError`]; then the step can be repeated.
pub(in crate::replication) fn carry_out(
    setup: &ReplicationSetup,
    wiring: &Wiring,
    failback: &Failback,
) -> Result<LostWrites, SetupError> {
    make_folder(setup)?;
    let step = Step {
        setup,
        wiring,
        failback,
        files: LostWritesFiles::of(&setup.folder),
        context: CallContext { timeout: CALL_TIMEOUT, cancel: wiring.cancel.clone() },
        is_stopped: &|| {
            show(wiring, failback.step);
            !wiring.stops.is_empty() || wiring.cancel.is_cancelled()
        },
    };
    show(wiring, failback.step);
    match failback.step {
        FailbackStep::Listing => step.list(),
        FailbackStep::Merging => step.merge(),
        FailbackStep::Reversing => Err(SetupError::Hopeless("reversing a task is not a run of it".to_owned())),
    }
}

/// Shown again and again: what is not renewed counts as hanging.
fn show(wiring: &Wiring, step: FailbackStep) {
    let reason = match step {
        FailbackStep::Listing => "failing back: the old primary's log is read for writes that never got across",
        FailbackStep::Merging | FailbackStep::Reversing => "failing back: lost writes are written to the target",
    };
    let (board, phase) = (&wiring.board, Phase::CatchingUp);
    board.show(TaskStatus { phase, followed: phase, reason: Some(reason.to_owned()), ..board.status() });
}

struct Step<'a> {
    setup: &'a ReplicationSetup,
    wiring: &'a Wiring,
    failback: &'a Failback,
    files: LostWritesFiles,
    context: CallContext,
    is_stopped: &'a dyn Fn() -> bool,
}

impl Step<'_> {
    fn list(&self) -> Result<LostWrites, SetupError> {
        let saved = checkpoint::load(&self.setup.folder).map_err(|error| hopeless(&error))?.unwrap_or_default();
        let (source, target) = clients(self.setup)?;
        let silent = |error| SetupError::Passing(format!("the old primary does not answer: {error}"));
        source.connect(&self.wiring.cancel).map_err(silent)?;
        let opened = self.open_log(&saved, &source)?;
        let mut writes = LostWrites {
            at_ms: Timestamp::now().physical_ms(),
            address: source.address().to_owned(),
            primary: ReturnedPrimary::Unsure,
            unlisted: None,
            collections: Vec::new(),
            unknown: Vec::new(),
            outcome: None,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(why) => {
                // Whose log it is tells whose server it is: without one it is asked about its collections alone.
                writes.unlisted = Some(why);
                OpenLog { log: Arc::new(source::NoLog), kind: LogKind::Scan, why: String::new() }
            }
        };
        let past = LogPast::ask(opened.log.as_ref(), &saved).past();
        let (scope, folder) = (&self.setup.spec.scope, &self.setup.folder);
        let returned = catalog::recognise_returned(&source, &opened.log, scope, folder, past, &self.context);
        let returned = returned.map_err(|error| match error {
            SourceRefused::Later(why) => SetupError::Passing(why),
            SourceRefused::Files(error) => hopeless(&error),
        })?;
        writes.primary = returned.primary.clone();
        if writes.primary != ReturnedPrimary::Same {
            writes.unlisted = Some(writes.primary.sentence().to_owned());
        }
        self.recognise_target(&target)?;
        if writes.unlisted.is_none() {
            self.read(&saved, (&returned, &opened), &target, &mut writes)?;
        } else {
            self.files.write(std::iter::empty()).map_err(|error| passing(&error))?;
        }
        if self.failback.intent == FailbackIntent::GoOn
            && let AfterListing::End(outcome) = writes.lead_to(self.failback.plan, self.failback.rebuild)
        {
            writes.outcome = Some(outcome);
        }
        self.files.save(&writes).map_err(|error| passing(&error))?;
        log::info!("task {}: {}", self.setup.task, writes.sentence());
        Ok(writes)
    }

    /// What another server lacks, or one that was emptied, is no reason to merge anything, nor to take anything from
    /// the old primary.
    fn recognise_target(&self, target: &Arc<Client>) -> Result<(), SetupError> {
        target.connect(&self.wiring.cancel).map_err(|error| passing(&error))?;
        let (folder, history) = (&self.setup.folder, &self.setup.history);
        catalog::recognise_target(target, folder, history, &self.context).map_err(|error| match error {
            TargetRefused::Later(why) => SetupError::Passing(why),
            TargetRefused::Files(error) => hopeless(&error),
        })
    }

    /// The log that the task has read; or why there is none that tells of lost writes.
    fn open_log(&self, saved: &Checkpoint, source: &Arc<Client>) -> Result<Result<OpenLog, String>, SetupError> {
        let kind = match LogKind::named(&saved.log) {
            None => return Ok(Err("the task has not followed it yet".to_owned())),
            Some(LogKind::Scan) => return Ok(Err("it was read without a log".to_owned())),
            Some(kind) => kind,
        };
        let settings = LogSettings { wanted: Some(kind), ..self.setup.log.clone() };
        match source::open(&settings, source, &self.wiring.cancel, &self.setup.folder) {
            Ok(opened) => Ok(Ok(opened)),
            Err(OpenError::Unreachable(error)) if self.failback.rebuild == Rebuild::Refused => {
                Err(SetupError::Log(error.to_string()))
            }
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn read(
        &self,
        saved: &Checkpoint,
        (returned, opened): (&ReturnedSource, &OpenLog),
        target: &Client,
        writes: &mut LostWrites,
    ) -> Result<(), SetupError> {
        let known = self.known(saved, returned, writes)?;
        let reading = LogReading {
            log: opened.log.as_ref(),
            saved,
            known: &known,
            drained_ms: self.failback.drained_ms,
            is_stopped: self.is_stopped,
        };
        let rows = self.files.rows().map_err(|error| passing(&error))?;
        let found = reading.read(rows).map_err(|error| match error {
            ReadingError::Log(error) => SetupError::Log(error.to_string()),
            error => passing(&error),
        })?;
        if !found.gaps.is_empty() {
            writes.unlisted = Some(found.gaps.iter().cloned().collect::<Vec<_>>().join("; "));
        }
        let too_many = found.index.overflown().iter().map(|id| (id, "too many keys were written there"));
        let noted = found.notes.iter().flat_map(|(id, whys)| whys.iter().map(move |why| (id, why.as_str())));
        for (id, why) in noted.chain(too_many) {
            writes.unknown.push(UnknownWrites { collection: known[id].source.to_string(), why: why.to_owned() });
        }
        let standby = self.standby(target);
        self.store(&known, found, &standby, writes)
    }

    /// The collections whose rows come from the log; of the others it is noted that they are not listed.
    fn known(
        &self,
        saved: &Checkpoint,
        returned: &ReturnedSource,
        writes: &mut LostWrites,
    ) -> Result<BTreeMap<CollectionId, ReadyCollection>, SetupError> {
        let followed = catalog::followed(&self.setup.folder).map_err(|error| hopeless(&error))?;
        let mut names: BTreeMap<CollectionId, String> =
            returned.collections.iter().map(|(id, name)| (*id, name.to_string())).collect();
        for (id, name) in followed {
            names.entry(id).or_insert(name);
        }
        let refused: BTreeSet<i64> = self.wiring.refused_rows.rows().iter().map(|row| row.collection_id).collect();
        let mut known = BTreeMap::new();
        for (id, collection) in names {
            let stored = catalog::stored_collection(&self.setup.folder, id).map_err(|error| hopeless(&error))?;
            let is_from_log = matches!(saved.collections.get(&id.0), Some(CollectionCheckpoint::Streaming { .. }));
            let beside = checkpoint::beside_the_log(saved, id);
            let why = match stored {
                _ if !returned.collections.contains_key(&id) => "it is not there any more",
                _ if !saved.collections.contains_key(&id.0) => "the task had not taken it in",
                Some(ready) if is_from_log && !saved.paused.contains_key(&id.0) => {
                    known.insert(id, ready);
                    // What the log shows of it is listed, and that is not all.
                    match beside {
                        Some(why) => why,
                        None if refused.contains(&id.0) => "rows of it were set aside, which the target refuses",
                        None => continue,
                    }
                }
                _ => beside.unwrap_or("its schema is not known"),
            };
            writes.unknown.push(UnknownWrites { collection, why: why.to_owned() });
        }
        Ok(known)
    }

    /// Asks the target about every key, and writes the list.
    fn store(
        &self,
        known: &BTreeMap<CollectionId, ReadyCollection>,
        found: Found,
        standby: &Standby<'_>,
        writes: &mut LostWrites,
    ) -> Result<(), SetupError> {
        let mut judged: BTreeMap<CollectionId, Vec<Judgement>> = BTreeMap::new();
        for (id, keys) in found.index.collections() {
            let ready = &known[id];
            match standby.judge(&ready.info, keys) {
                Ok(each) => drop(judged.insert(*id, each)),
                Err(MergeError::Page(PageError::Call(error))) if error.is_object_missing() => {
                    let (collection, why) =
                        (ready.source.to_string(), "the target does not have it any more".to_owned());
                    writes.unknown.push(UnknownWrites { collection, why });
                    judged.insert(*id, vec![Judgement::Undecided; keys.len()]);
                }
                Err(error) => return Err(passing(&error)),
            }
        }
        let mut lines = Vec::new();
        for (id, each) in &judged {
            let (ready, keys) = (&known[id], &found.index.collections()[id]);
            let mut counted = LostInCollection {
                collection: ready.source.to_string(),
                target: format!("{}.{}", ready.info.db, ready.info.name),
                ..LostInCollection::default()
            };
            for ((key, lost), judgement) in keys.iter().zip(each) {
                count(&mut counted, lost, *judgement);
                if *judgement != Judgement::Same {
                    lines.push((*id, counted.target.clone(), key, lost, *judgement));
                }
            }
            writes.collections.push(counted);
        }
        let mut file = found.rows.reader().map_err(|error| passing(&error))?;
        let each = (0..).zip(lines).map(|(number, (id, target, key, lost, judgement))| {
            let line = line((number, writes.at_ms), (id, target), (key, lost), judgement);
            let content = match lost.latest.what {
                LeftOfKey::Row { place, .. } => Some(found.rows.read(&mut file, place)?),
                LeftOfKey::Deleted => None,
            };
            Ok(line.with(content))
        });
        self.files.write(each).map_err(|error| passing(&error))?;
        found.rows.remove();
        Ok(())
    }

    fn standby<'a>(&'a self, client: &'a Client) -> Standby<'a> {
        let refused = &self.wiring.refused_rows;
        Standby { client, context: &self.context, refused, is_stopped: self.is_stopped }
    }

    fn merge(&self) -> Result<LostWrites, SetupError> {
        let gone = || SetupError::Hopeless("the list of lost writes is gone: list them again".to_owned());
        let mut writes = self.files.load().map_err(|error| hopeless(&error))?.ok_or_else(gone)?;
        let saved = checkpoint::load(&self.setup.folder).map_err(|error| hopeless(&error))?.unwrap_or_default();
        let mut known = BTreeMap::new();
        for id in saved.collections.keys().map(|id| CollectionId(*id)) {
            let stored = catalog::stored_collection(&self.setup.folder, id).map_err(|error| hopeless(&error))?;
            known.extend(stored.map(|ready| (id, ready)));
        }
        let (_, target) = clients(self.setup)?;
        self.recognise_target(&target)?;
        let standby = self.standby(&target);
        let lines = self.files.read().map_err(|error| passing(&error))?;
        let merged = standby.merge(&known, lines);
        let MergeCount { written, present, gone } = merged.map_err(|error: MergeError| passing(&error))?;
        writes.outcome = Some(FailbackOutcome::Merged { written, present, gone });
        self.files.save(&writes).map_err(|error| passing(&error))?;
        Ok(writes)
    }
}

fn count(counted: &mut LostInCollection, lost: &LostKey, judgement: Judgement) {
    match judgement {
        Judgement::Same => {
            counted.same += 1;
            return;
        }
        Judgement::Mergeable => counted.mergeable += 1,
        Judgement::Undecided => counted.undecided += 1,
    }
    match lost.latest.what {
        LeftOfKey::Row { .. } => counted.puts += 1,
        LeftOfKey::Deleted => counted.deletes += 1,
    }
}

fn line(
    (number, since): (u64, u64),
    (id, target): (CollectionId, String),
    (key, lost): (&Key, &LostKey),
    judgement: Judgement,
) -> LostLine {
    LostLine {
        number,
        collection_id: id.0,
        target,
        partition: String::new(),
        key: key.to_string(),
        channel: lost.latest.channel.to_string(),
        timestamp: lost.latest.ts.0,
        since,
        reason: REASON.to_owned(),
        columns: Vec::new(),
        write: match lost.latest.what {
            LeftOfKey::Row { .. } => LineKind::Put,
            LeftOfKey::Deleted => LineKind::Delete,
        },
        merge: match judgement {
            Judgement::Mergeable => LineMerge::Writes,
            Judgement::Same | Judgement::Undecided => LineMerge::Undecided,
        },
    }
}
