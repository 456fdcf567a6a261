//! Reading a log for the last time.

use super::Owners;
use crate::domain::{CollectionId, Record};
use crate::replication::drain::{AsidesLeft, CallsUnderWay, Drain, DrainOutcome, DrainStep, ReadingState, Waiting};

impl Owners {
    /// Whether what the log brings is taken in.
    pub(super) fn takes_records(&mut self, records: &[Record]) -> bool {
        let Some(drain) = &mut self.drain else { return true };
        if drain.is_reading() {
            records.iter().for_each(|record| drain.note_record(record.end, self.now));
        }
        drain.is_reading()
    }

    /// Whether what is to be read again can be.
    pub(super) fn reads_on(&self) -> bool {
        self.drain.as_ref().is_none_or(Drain::is_reading)
    }

    /// Once nothing is read any more, what was to be read again is left to the next run.
    pub(super) fn put_off_rewinds(&mut self) {
        if !self.reads_on() {
            self.channels.put_off_rewinds();
        }
    }

    /// The log names a collection that the task does not have, and that nobody can describe.
    pub(super) fn note_unknown(&mut self, id: CollectionId) {
        if let Some(drain) = &mut self.drain
            && !self.collections.has(id)
        {
            drain.note_unknown(id);
        }
    }

    /// Looks how far the last reading has come.
    pub(super) fn step_drain(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let channels = &self.channels;
        let error = self.health.errors_mut().log().or_else(|| channels.gap_errors().next()).cloned();
        let may_apply = self.health.is_settled() && self.checkpointer.lets_calls_start();
        let may_start = |id| self.collections.applicable(id).is_some();
        let asides = match channels.aside().ids().map(may_start).max() {
            None => AsidesLeft::None,
            Some(true) => AsidesLeft::MayStart,
            Some(false) => AsidesLeft::Blocked,
        };
        let reading = ReadingState { at_tail: channels.are_read_out(), error, may_apply, asides };
        let calls = if channels.has_any_calls() { CallsUnderWay::Some } else { CallsUnderWay::None };
        let waits = Waiting { calls, bytes: channels.queued_bytes() };
        match drain.step(reading, waits, || channels.unfinished(), self.now) {
            DrainStep::Nothing => {}
            DrainStep::HurryAsides => self.channels.hurry_asides(self.now),
            DrainStep::ReleaseRest => {
                log::info!("the log has ended: what stands behind its last tick is applied");
                self.channels.release_rest();
                // The bound is on disk before any of it is sent.
                self.save();
            }
            DrainStep::Finish(outcome) => self.drained = Some(outcome),
        }
    }

    /// How the last reading has ended, once it has.
    pub(in crate::replication) fn take_drained(&mut self) -> Option<DrainOutcome> {
        self.drained.take()
    }
}
