/*!
The last reading of a log whose source is given up: what it still holds is applied, and then the task ends.

```text
 reading ──▶ the log has been silent for 2 s at its end ──▶ rest ──▶ all of it is applied, or cannot be
```

A time tick says that everything before it has been read, and a dead source writes none: its last rows (0.5 s of them on
a Milvus 2.3.5 that was killed) stand behind the last tick. Silence takes the tick's place. Whatever is read after that
is left out: the order of what is released last must not depend on it.

Collections that were set aside are read again first, for as long as calls for them may start: nothing is read later.
*/

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::domain::{CollectionId, Timestamp};
use crate::task::failover::DrainedLog;
use crate::task::role::Insistence;

/// How long a log must not grow before its end is believed.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a failover that insists puts up with a log that grows on, or cannot be read.
pub(super) const FORCED_AFTER: Duration = Duration::from_secs(10);
/// How long nothing that waits may move before it is given up.
const STUCK: Duration = Duration::from_secs(5);

/// The last reading of a log.
#[derive(Debug)]
pub(super) struct Drain {
    insistence: Insistence,
    began: Instant,
    stage: DrainStage,
    /// The time of the newest record.
    newest: Option<Timestamp>,
    /// Collections that the log names and nobody knows.
    unknown: BTreeSet<CollectionId>,
}

#[derive(Debug)]
enum DrainStage {
    /// The log is read.
    Reading {
        /// When it grew last.
        grew: Instant,
        /// Since when calls for nothing that is set aside could start, though the log has ended.
        asides_blocked: Option<Instant>,
    },
    /// What was read and waits is applied.
    Rest {
        log: DrainedLog,
        /// What waited when it was looked at last, and since when that has not changed.
        waiting: Waiting,
        since: Instant,
    },
}

/// How much waits to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) calls: CallsUnderWay,
    pub(super) bytes: usize,
}

/// Whether calls are being made, or wait to be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallsUnderWay {
    None,
    Some,
}

/// How the log is being read.
#[derive(Debug, Clone)]
pub(super) struct ReadingState {
    /// Every channel has been read to its end.
    pub(super) at_tail: bool,
    /// Why it cannot be read.
    pub(super) error: Option<String>,
    /// What waits could be applied: every collection that can be described has been, and our own files can be written.
    pub(super) may_apply: bool,
    pub(super) asides: AsidesLeft,
}

/// Whether collections are set aside, whose rows have to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsidesLeft {
    None,
    /// Calls for one of them may start.
    MayStart,
    /// Calls for none of them may.
    Blocked,
}

/// What a drain calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DrainStep {
    Nothing,
    /// What is set aside and may start is read again, whatever pause it is in.
    HurryAsides,
    /// What waits for a tick is released.
    ReleaseRest,
    /// The task ends.
    Finish(DrainOutcome),
}

/// How a drain has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DrainOutcome {
    pub(super) log: DrainedLog,
    pub(super) newest: Option<Timestamp>,
    /// Collections whose rows were read and could not be applied.
    pub(super) leftover: BTreeSet<CollectionId>,
    /// Collections that the log names and nobody knows.
    pub(super) unknown: usize,
}

impl Drain {
    pub(super) fn new(insistence: Insistence, now: Instant) -> Drain {
        let stage = DrainStage::Reading { grew: now, asides_blocked: None };
        Drain { insistence, began: now, stage, newest: None, unknown: BTreeSet::new() }
    }

    /// Whether what the log brings still counts.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.stage, DrainStage::Reading { .. })
    }

    /// The log has brought a record of this time.
    pub(super) fn note_record(&mut self, at: Timestamp, now: Instant) {
        self.newest = self.newest.max(Some(at));
        if let DrainStage::Reading { grew, .. } = &mut self.stage {
            *grew = now;
        }
    }

    /// The log names a collection that nobody knows.
    pub(super) fn note_unknown(&mut self, id: CollectionId) {
        self.unknown.insert(id);
    }

    /// What is to be done now. `leftover`: the collections that rows wait for.
    pub(super) fn step(
        &mut self,
        reading: ReadingState,
        waits: Waiting,
        leftover: impl FnOnce() -> BTreeSet<CollectionId>,
        now: Instant,
    ) -> DrainStep {
        match &mut self.stage {
            DrainStage::Reading { grew, asides_blocked } => {
                let is_silent = now.saturating_duration_since(*grew) >= SILENCE;
                let gives_up =
                    self.insistence == Insistence::Forced && now.saturating_duration_since(self.began) >= FORCED_AFTER;
                let log = match reading {
                    ReadingState { error: None, at_tail: true, .. } if is_silent => DrainedLog::ToItsEnd,
                    ReadingState { error: Some(why), .. } if gives_up => DrainedLog::InPart(why),
                    ReadingState { error: None, at_tail: true, .. } if gives_up => {
                        DrainedLog::InPart("it was still being written when the failover was forced".into())
                    }
                    _ => return DrainStep::Nothing,
                };
                match reading.asides {
                    AsidesLeft::MayStart if !gives_up => {
                        *asides_blocked = None;
                        return DrainStep::HurryAsides;
                    }
                    AsidesLeft::Blocked if !gives_up => {
                        let since = asides_blocked.get_or_insert(now);
                        // A target that does not answer may yet describe them.
                        if !reading.may_apply {
                            *since = now;
                        }
                        if now.saturating_duration_since(*since) < STUCK {
                            return DrainStep::Nothing;
                        }
                    }
                    AsidesLeft::None | AsidesLeft::MayStart | AsidesLeft::Blocked => {}
                }
                self.stage = DrainStage::Rest { log, waiting: waits, since: now };
                DrainStep::ReleaseRest
            }
            DrainStage::Rest { log, waiting, since } => {
                // A target that does not answer may yet describe what rows wait for, and a full disk may get room.
                if *waiting != waits || !reading.may_apply || waits.calls == CallsUnderWay::Some {
                    (*waiting, *since) = (waits, now);
                }
                let is_stuck = now.saturating_duration_since(*since) >= STUCK;
                if waits != (Waiting { calls: CallsUnderWay::None, bytes: 0 }) && !is_stuck {
                    return DrainStep::Nothing;
                }
                let (log, unknown) = (log.clone(), self.unknown.len());
                DrainStep::Finish(DrainOutcome { log, newest: self.newest, leftover: leftover(), unknown })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Waiting = Waiting { calls: CallsUnderWay::None, bytes: 0 };
    const CALL: Waiting = Waiting { calls: CallsUnderWay::Some, bytes: 9 };
    const ID: CollectionId = CollectionId(7);

    fn read(at_tail: bool, error: Option<&str>) -> ReadingState {
        ReadingState { at_tail, error: error.map(str::to_owned), may_apply: true, asides: AsidesLeft::None }
    }

    fn step(drain: &mut Drain, reading: ReadingState, waits: Waiting, now: Instant) -> DrainStep {
        drain.step(reading, waits, || BTreeSet::from([ID]), now)
    }

    fn outcome(step: DrainStep) -> DrainOutcome {
        let DrainStep::Finish(outcome) = step else { panic!("{step:?}") };
        outcome
    }

    #[test]
    fn what_is_set_aside_is_read_again_before_the_log_counts_as_read() {
        let start = Instant::now();
        let at = |passed| start + SILENCE + passed;
        let with = |asides| ReadingState { asides, ..read(true, None) };
        let mut drain = Drain::new(Insistence::Patient, start);
        assert_eq!(step(&mut drain, with(AsidesLeft::MayStart), IDLE, at(STUCK * 9)), DrainStep::HurryAsides);
        let blocked = with(AsidesLeft::Blocked);
        assert_eq!(step(&mut drain, blocked.clone(), IDLE, at(STUCK * 10)), DrainStep::Nothing);
        let away = ReadingState { may_apply: false, ..blocked.clone() };
        assert_eq!(step(&mut drain, away, IDLE, at(STUCK * 20)), DrainStep::Nothing, "it may be described yet");
        assert_eq!(step(&mut drain, blocked.clone(), IDLE, at(STUCK * 20)), DrainStep::Nothing, "counted from there");
        assert_eq!(step(&mut drain, with(AsidesLeft::MayStart), IDLE, at(STUCK * 21)), DrainStep::HurryAsides);
        assert_eq!(step(&mut drain, blocked.clone(), IDLE, at(STUCK * 22)), DrainStep::Nothing, "counted anew");
        assert_eq!(step(&mut drain, blocked, IDLE, at(STUCK * 23)), DrainStep::ReleaseRest, "it is named");
        let mut forced = Drain::new(Insistence::Forced, start);
        let may_start = with(AsidesLeft::MayStart);
        assert_eq!(step(&mut forced, may_start.clone(), IDLE, start + SILENCE), DrainStep::HurryAsides);
        assert_eq!(step(&mut forced, may_start, IDLE, start + FORCED_AFTER), DrainStep::ReleaseRest);
    }

    #[test]
    fn silence_at_the_end_of_the_log_takes_the_place_of_a_tick() {
        let start = Instant::now();
        let mut drain = Drain::new(Insistence::Patient, start);
        drain.note_record(Timestamp(5), start + SILENCE / 2);
        assert_eq!(step(&mut drain, read(true, None), IDLE, start + SILENCE), DrainStep::Nothing, "it grew");
        let silent = start + SILENCE / 2 + SILENCE;
        assert_eq!(step(&mut drain, read(false, None), IDLE, silent), DrainStep::Nothing, "there is more");
        assert_eq!(step(&mut drain, read(true, Some("x")), IDLE, silent), DrainStep::Nothing, "nobody knows");
        assert!(drain.is_reading());
        assert_eq!(step(&mut drain, read(true, None), IDLE, silent), DrainStep::ReleaseRest);
        assert!(!drain.is_reading());
        assert_eq!(step(&mut drain, read(true, None), CALL, silent), DrainStep::Nothing);
        let done = outcome(step(&mut drain, read(true, None), IDLE, silent));
        assert_eq!((done.log, done.newest), (DrainedLog::ToItsEnd, Some(Timestamp(5))));
    }

    #[test]
    fn a_patient_drain_waits_for_the_log_and_for_the_target_as_long_as_it_takes() {
        let (start, long) = (Instant::now(), Duration::from_secs(86_400));
        let mut drain = Drain::new(Insistence::Patient, start);
        assert_eq!(step(&mut drain, read(true, Some("away")), IDLE, start + long), DrainStep::Nothing);
        assert_eq!(step(&mut drain, read(true, None), IDLE, start + long), DrainStep::ReleaseRest);
        assert_eq!(step(&mut drain, read(true, None), CALL, start + long * 2), DrainStep::Nothing, "it is retried");
    }

    #[test]
    fn a_forced_drain_goes_on_without_what_cannot_be_had() {
        let start = Instant::now();
        for (reading, why) in [(read(false, Some("away")), "away"), (read(true, None), "still being written")] {
            let mut drain = Drain::new(Insistence::Forced, start);
            let end = start + FORCED_AFTER;
            drain.note_record(Timestamp(5), end);
            assert_eq!(step(&mut drain, reading.clone(), IDLE, end - SILENCE), DrainStep::Nothing);
            assert_eq!(step(&mut drain, reading.clone(), IDLE, end), DrainStep::ReleaseRest);
            let DrainedLog::InPart(text) = outcome(step(&mut drain, reading, IDLE, end)).log else { panic!() };
            assert!(text.contains(why), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_applied_is_named_and_ends_it_all_the_same() {
        let start = Instant::now();
        let mut drain = Drain::new(Insistence::Patient, start);
        drain.note_unknown(ID);
        drain.note_unknown(ID);
        let stuck = |bytes| Waiting { calls: CallsUnderWay::None, bytes };
        assert_eq!(step(&mut drain, read(true, None), stuck(5), start + SILENCE), DrainStep::ReleaseRest);
        let moved = start + SILENCE + STUCK;
        assert_eq!(step(&mut drain, read(true, None), stuck(3), moved), DrainStep::Nothing, "it has moved");
        let held_up = ReadingState { may_apply: false, ..read(true, None) };
        let long = moved + STUCK * 100;
        assert_eq!(step(&mut drain, held_up, stuck(3), long), DrainStep::Nothing, "the target may answer yet");
        assert_eq!(step(&mut drain, read(true, None), stuck(3), long), DrainStep::Nothing, "counted from there");
        let done = outcome(step(&mut drain, read(true, None), stuck(3), long + STUCK));
        assert_eq!((done.leftover, done.unknown), (BTreeSet::from([ID]), 1));
    }
}
