/*!
When the checkpoint is written, and what must wait for it. (The file and why a crash neither loses nor doubles a row:
[`super::checkpoint`].)

Between the effect that writes it and the event that says how that went, and for as long as our own files cannot be
written, no call to the target may start: bounds, positions and collections are on disk before anything is sent that a
restart has to account for.
*/

use std::time::{Duration, Instant};

use super::checkpoint::Checkpoint;
use super::effect::{Effect, Effects, OnceSaved};

/// How often the checkpoint is written while rows are applied, and while only time passes.
const WRITE_BUSY: Duration = Duration::from_secs(1);
const WRITE_IDLE: Duration = Duration::from_secs(10);
/// How soon writing is tried again after a failure.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The state of the checkpoint's file.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// Something has changed since the last effect that writes it.
    dirty: bool,
    /// Among it that rows were acknowledged.
    rows_acked: bool,
    /// When it was written last, or tried to be.
    written: Instant,
    /// Writes whose outcome has not come yet.
    under_way: usize,
    /// Why the last write failed.
    error: Option<String>,
}

impl Checkpointer {
    pub(super) fn new(now: Instant) -> Checkpointer {
        Checkpointer { dirty: false, rows_acked: false, written: now, under_way: 0, error: None }
    }

    /// Something has changed.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// Rows have been acknowledged.
    pub(super) fn touch_rows(&mut self) {
        self.dirty = true;
        self.rows_acked = true;
    }

    /// Whether it is time to write what has changed.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let due = if self.rows_acked { WRITE_BUSY } else { WRITE_IDLE };
        self.dirty && now.saturating_duration_since(self.written) >= due
    }

    /// Whether it is time to try again after a failure.
    pub(super) fn is_retry_due(&self, now: Instant) -> bool {
        self.error.is_some() && self.under_way == 0 && now.saturating_duration_since(self.written) >= TRY_AGAIN
    }

    /// Whether calls may start: the last write has succeeded, and none is under way.
    pub(super) fn lets_calls_start(&self) -> bool {
        self.under_way == 0 && self.error.is_none()
    }

    /// Whether the outcome of a write has not come yet.
    pub(super) fn is_saving(&self) -> bool {
        self.under_way > 0
    }

    pub(super) fn save(&mut self, checkpoint: Checkpoint, then: Vec<OnceSaved>, now: Instant, effects: &mut Effects) {
        self.written = now;
        self.under_way += 1;
        self.dirty = false;
        self.rows_acked = false;
        effects.push(Effect::Save { checkpoint: Box::new(checkpoint), then });
    }

    /// A write has ended. What could not be written is still to be.
    pub(super) fn on_saved(&mut self, outcome: Result<(), String>) {
        self.under_way = self.under_way.saturating_sub(1);
        let error = outcome.err();
        if let Some(why) = error.as_ref().filter(|why| self.error.as_ref() != Some(why)) {
            log::error!("{why}");
        }
        if error.is_some() {
            self.touch_rows();
        }
        self.error = error;
    }

    /// Why our own files cannot be written.
    pub(super) fn error(&self) -> Option<&String> {
        self.error.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_starts_while_a_write_is_open_or_has_failed() {
        let start = Instant::now();
        let mut checkpointer = Checkpointer::new(start);
        let mut effects = Effects::default();
        assert!(checkpointer.lets_calls_start());
        checkpointer.save(Checkpoint::default(), Vec::new(), start, &mut effects);
        assert!(matches!(effects.pop(), Some(Effect::Save { .. })) && !checkpointer.lets_calls_start());
        checkpointer.on_saved(Err("full".into()));
        assert!(!checkpointer.lets_calls_start() && !checkpointer.is_retry_due(start));
        assert!(checkpointer.is_retry_due(start + TRY_AGAIN) && checkpointer.is_due(start + WRITE_BUSY));
        checkpointer.save(Checkpoint::default(), Vec::new(), start + TRY_AGAIN, &mut effects);
        assert!(!checkpointer.is_retry_due(start + TRY_AGAIN * 3), "one at a time");
        checkpointer.on_saved(Ok(()));
        assert!(checkpointer.lets_calls_start() && !checkpointer.is_due(start + WRITE_IDLE * 3));
    }
}
