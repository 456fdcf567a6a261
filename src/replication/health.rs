/*!
How the task is: what fails, what could not be replicated, its phase and its lag, and what of that is told to the
history and the status board.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::active_errors::ActiveErrors;
use super::channels::{Channels, MEMORY};
use super::checkpointer::Checkpointer;
use super::collections::{Collections, PAUSED, RescanLag};
use super::effect::{Effect, Effects, Publication};
use super::unreplicated::Unreplicated;
use super::waits::Waits;
use crate::domain::{Channel, CollectionId, LogKind, Timestamp};
use crate::milvus::SourceTime;
use crate::task::detail::{ServersDetail, TaskDetail};
use crate::task::history::EventKind;
use crate::task::refused_rows::RefusedRowsAmount;
use crate::task::status::{Phase, SourceLog, TaskStatus};
use crate::task::switchover::Stillness;

/// A lag above this was computed from a zero timestamp and is reported as unknown.
const NO_TIME: Duration = Duration::from_secs(20 * 365 * 86_400);
/// A lag below this at the end of the log is `Following`.
const FOLLOWING: Duration = Duration::from_secs(5);
/// A phase that lasts shorter is not worth an event: a busy task goes to and fro between two of them.
const PHASE_LASTS: Duration = Duration::from_secs(2);
/// How often details are renewed.
const DETAILS: Duration = Duration::from_secs(1);

/// What is known of the task as a whole.
#[derive(Debug)]
pub(super) struct Health {
    log_kind: LogKind,
    /// Why this log is read.
    log_why: String,
    errors: ActiveErrors,
    /// Rows that came from the target and were not sent back, in this run.
    echoes: u64,
    /// The newest change of a user at the source that this run has met.
    last_change: Option<Timestamp>,
    /// What could not be replicated, counted per reason.
    skipped: BTreeMap<String, u64>,
    unreplicated: Unreplicated,
    waits: Waits,
    /// The catalog's first comparison of everything is through.
    settled: bool,
    phases: PhaseEvents,
    /// The errors of the last publication: only new ones are events.
    told: BTreeSet<String>,
    detailed: Option<Instant>,
    source_time: Arc<SourceTime>,
}

/// How far the target is behind the source.
#[derive(Debug, Clone, Copy, Default)]
struct FollowedUpTo {
    lag: Option<Duration>,
    /// Everything that the source acknowledged up to here is on the target.
    reached: Option<Timestamp>,
}

/// The parts of the task that are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct TaskParts<'a> {
    pub(super) channels: &'a Channels,
    pub(super) collections: &'a Collections,
    pub(super) checkpointer: &'a Checkpointer,
}

impl Health {
    pub(super) fn new(
        log_kind: LogKind,
        log_why: String,
        skipped: BTreeMap<String, u64>,
        unreplicated: &BTreeMap<i64, BTreeMap<String, u64>>,
    ) -> Health {
        Health {
            log_kind,
            log_why,
            errors: ActiveErrors::default(),
            echoes: 0,
            last_change: None,
            skipped,
            unreplicated: Unreplicated::restore(unreplicated),
            waits: Waits::default(),
            settled: false,
            phases: PhaseEvents::new(),
            told: BTreeSet::new(),
            detailed: None,
            source_time: Arc::default(),
        }
    }

    /// Counts the lag in this time.
    pub(super) fn with_source_time(self, source_time: Arc<SourceTime>) -> Health {
        Health { source_time, ..self }
    }

    /// The source's time.
    pub(super) fn source_time(&self) -> Timestamp {
        self.source_time.now()
    }

    pub(super) fn log_kind(&self) -> LogKind {
        self.log_kind
    }

    pub(super) fn errors_mut(&mut self) -> &mut ActiveErrors {
        &mut self.errors
    }

    /// For the checkpoint.
    pub(super) fn skipped(&self) -> BTreeMap<String, u64> {
        self.skipped.clone()
    }

    /// For the checkpoint.
    pub(super) fn unreplicated(&self) -> BTreeMap<i64, BTreeMap<String, u64>> {
        self.unreplicated.records()
    }

    /// The catalog has compared everything once.
    pub(super) fn settle(&mut self) {
        log::info!("every collection of the task has been looked at once");
        self.settled = true;
    }

    /// Whether the catalog has compared everything once.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Something was not replicated as it is at the source.
    pub(super) fn skip(&mut self, reason: &str, detail: &str, effects: &mut Effects) {
        effects.history(EventKind::Skip, format!("{reason}: {detail}"));
        self.count_skipped(reason, 1);
    }

    pub(super) fn count_skipped(&mut self, reason: &str, count: u64) {
        *self.skipped.entry(reason.to_owned()).or_default() += count;
    }

    /// Rows came from the target and were not sent back.
    pub(super) fn count_echoes(&mut self, rows: u64) {
        self.echoes += rows;
    }

    /// A user has changed the source.
    pub(super) fn note_change(&mut self, at: Timestamp) {
        self.last_change = self.last_change.max(Some(at));
    }

    /// Rows of a collection came or went, and the log does not say which.
    pub(super) fn note_unreplicated(&mut self, id: CollectionId, what: &str) {
        self.unreplicated.add(id, what);
    }

    /// The collection is gone, or its rows have been compared.
    pub(super) fn forget_unreplicated(&mut self, id: CollectionId) {
        self.unreplicated.forget(id);
    }

    /// Tells how the task is, and what has changed since the last time.
    pub(super) fn publish(&mut self, parts: TaskParts<'_>, now: Instant, effects: &mut Effects) {
        let TaskParts { channels, collections, checkpointer } = parts;
        let of_calls = channels.call_errors().chain(channels.gap_errors());
        let others = of_calls.chain(checkpointer.error()).chain(collections.backfills().errors());
        let errors = self.errors.all(others.chain(collections.join_errors()));
        let waiting = collections.backfills().reasons();
        let unreplicated = self.unreplicated.reasons(|id| collections.has(id).then(|| collections.name_of(id)));
        let held = collections.holds().map(|(_, hold)| format!("held: {}: {}", hold.source, hold.why));
        let paused = collections.paused().map(|(_, paused)| format!("paused: {}: {PAUSED}", paused.source));
        let held = held.chain(paused);
        let reasons: Vec<String> = errors.iter().cloned().chain(held).chain(waiting).chain(unreplicated).collect();
        let FollowedUpTo { lag: followed_lag, reached } = self.progress(parts, &errors);
        let followed_phase = self.phase(parts, &errors, followed_lag);
        // A channel that is read from its beginning names no time before its first tick.
        let followed_lag = followed_lag.filter(|lag| *lag < NO_TIME);
        let now_here = Timestamp::now();
        let still = StandingStill {
            held: collections.holds().map(|(_, hold)| hold.since).min(),
            paused: collections.paused().map(|(_, paused)| paused.since).min(),
            waiting: self.waits.update(&collections.waiting(channels.aside()), now_here).filter(|_| self.settled),
        };
        let (phase, lag) = still.of_task(followed_phase, followed_lag, now_here);
        if let Some(change) = self.phases.next(phase, now) {
            effects.history(EventKind::Phase, format!("{} → {}", change.before.name(), change.now.name()));
        }
        self.tell_errors(errors, effects);
        let is_detailed = self.detailed.is_none_or(|at| now.saturating_duration_since(at) >= DETAILS);
        if is_detailed {
            self.detailed = Some(now);
        }
        let status = TaskStatus {
            phase,
            lag_ms: lag.map(|lag| lag.as_millis() as u64),
            followed: followed_phase,
            collections: Some(collections.counts(channels.aside())),
            skipped: self.skipped.clone(),
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            source_log: Some(SourceLog { kind: self.log_kind.name(), why: self.log_why.clone() }),
        };
        let (positions, detail) = (channels.positions(self.log_kind), is_detailed.then(|| self.detail(parts)));
        let still = Stillness { applied: reached, last_change: self.last_change };
        effects.push(Effect::Publish(Box::new(Publication { status, positions, lag, still, detail })));
    }

    fn detail(&self, parts: TaskParts<'_>) -> TaskDetail {
        let TaskParts { channels, collections, .. } = parts;
        TaskDetail {
            channels: channels.details(&collections.count_by_channel()),
            collections: collections.details(channels.aside()),
            copies: collections.backfills().progress(),
            echoes: self.echoes,
            queue_bytes: channels.queued_bytes(),
            queue_limit: MEMORY,
            // The executor's.
            refused_rows: RefusedRowsAmount::default(),
            // The board's.
            checkpoint_age: None,
            clock_skew_ms: None,
            servers: ServersDetail::default(),
        }
    }

    fn tell_errors(&mut self, errors: BTreeSet<String>, effects: &mut Effects) {
        for why in errors.difference(&self.told) {
            effects.history(EventKind::Retry, why.as_str());
        }
        if errors.is_empty() && !self.told.is_empty() {
            effects.history(EventKind::Recovered, "nothing fails any more");
        }
        self.told = errors;
    }

    fn phase(&self, parts: TaskParts<'_>, errors: &BTreeSet<String>, lag: Option<Duration>) -> Phase {
        if !errors.is_empty() {
            Phase::Retrying
        } else if !self.settled {
            Phase::Connecting
        } else if parts.collections.backfills().is_copying() {
            Phase::Copying
        } else if parts.collections.rescan_lag().is_some() {
            if lag.is_some() { Phase::Following } else { Phase::CatchingUp }
        } else if parts.channels.are_at_tail() && lag.is_none_or(|lag| lag < FOLLOWING) {
            Phase::Following
        } else {
            Phase::CatchingUp
        }
    }

    /// How far the target is behind the source: the age of the oldest acknowledged tick, in the source's time. While
    /// something fails, silence proves nothing and every channel counts.
    fn progress(&self, parts: TaskParts<'_>, errors: &BTreeSet<String>) -> FollowedUpTo {
        if !self.settled && parts.channels.is_empty() {
            return FollowedUpTo::default();
        }
        // Without a log everything is counted in this host's time: the rescans' beginnings, too.
        let here = Timestamp::now();
        if let Some(RescanLag(lag)) = parts.collections.rescan_lag() {
            let lag = lag.filter(|_| self.settled);
            return FollowedUpTo { lag, reached: lag.map(|lag| here.minus(lag)) };
        }
        let live = parts.collections.live_channels();
        let oldest = parts.channels.oldest_acked(|channel: &Channel| !errors.is_empty() || live.contains(channel));
        let lag = oldest.map_or(Duration::ZERO, |oldest| self.source_time.since(oldest));
        FollowedUpTo { lag: Some(lag), reached: Some(oldest.unwrap_or_else(|| self.source_time.now())) }
    }
}

/// Since when the first collection has been standing still, by reason.
#[derive(Debug, Clone, Copy, Default)]
struct StandingStill {
    held: Option<Timestamp>,
    paused: Option<Timestamp>,
    waiting: Option<Timestamp>,
}

impl StandingStill {
    /// Phase and lag of the task as a whole: a collection that is held is tried again, and has lagged since it is; one
    /// that is paused or waits lags, too.
    fn of_task(self, phase: Phase, lag: Option<Duration>, now: Timestamp) -> (Phase, Option<Duration>) {
        let StandingStill { held, paused, waiting } = self;
        let Some(since) = [held, paused, waiting].into_iter().flatten().min() else { return (phase, lag) };
        let lasts = Duration::from_millis(now.physical_ms().saturating_sub(since.physical_ms()));
        let phase = match phase {
            Phase::Following | Phase::CatchingUp if held.is_some() => Phase::Retrying,
            Phase::Following => Phase::CatchingUp,
            phase => phase,
        };
        (phase, Some(lag.map_or(lasts, |lag| lag.max(lasts))))
    }
}

/// Which changes of the phase are events.
#[derive(Debug)]
struct PhaseEvents {
    phase: Phase,
    /// Another phase than the one told.
    changing: Option<Changing>,
}

#[derive(Debug, Clone, Copy)]
struct Changing {
    to: Phase,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PhaseChange {
    before: Phase,
    now: Phase,
}

impl PhaseEvents {
    fn new() -> PhaseEvents {
        PhaseEvents { phase: Phase::Connecting, changing: None }
    }

    /// The change to tell now, if another phase has lasted.
    fn next(&mut self, phase: Phase, now: Instant) -> Option<PhaseChange> {
        if phase == self.phase {
            self.changing = None;
            return None;
        }
        match self.changing {
            Some(Changing { to, since }) if to == phase => {
                if now.saturating_duration_since(since) < PHASE_LASTS {
                    return None;
                }
                self.changing = None;
                Some(PhaseChange { before: std::mem::replace(&mut self.phase, phase), now: phase })
            }
            _ => {
                self.changing = Some(Changing { to: phase, since: now });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_followed_as_a_whole_while_a_collection_stands_still() {
        let (at, now) = (Some(Timestamp(1000 << 18)), Timestamp(4000 << 18));
        let told = |still: StandingStill, phase| {
            let (phase, lag) = still.of_task(phase, Some(Duration::from_millis(7)), now);
            (phase, lag.map_or(0, |lag| lag.as_millis()))
        };
        let nothing = StandingStill::default();
        assert_eq!(told(nothing, Phase::Following), (Phase::Following, 7));
        for still in [StandingStill { waiting: at, ..nothing }, StandingStill { paused: at, ..nothing }] {
            assert_eq!(told(still, Phase::Following), (Phase::CatchingUp, 3000));
            assert_eq!(told(still, Phase::Copying), (Phase::Copying, 3000));
            assert_eq!(told(StandingStill { held: at, ..still }, Phase::Following), (Phase::Retrying, 3000));
        }
    }

    #[test]
    fn only_a_phase_that_lasts_is_told() {
        let (mut phases, start) = (PhaseEvents::new(), Instant::now());
        assert_eq!(phases.next(Phase::Following, start), None);
        assert_eq!(phases.next(Phase::Connecting, start + PHASE_LASTS), None);
        assert_eq!(phases.next(Phase::Following, start + PHASE_LASTS), None);
        let told = PhaseChange { before: Phase::Connecting, now: Phase::Following };
        assert_eq!(phases.next(Phase::Following, start + PHASE_LASTS * 2), Some(told));
        assert_eq!(phases.next(Phase::Following, start + PHASE_LASTS * 3), None);
    }
}
