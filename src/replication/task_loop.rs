/*!
The task's own thread: whatever happens to the task is an [`Event`], and one event after the other is handled. A
handler changes the owners of the task's state and answers [`Effect`]s; nothing else touches the world.

```text
            Executor (the world)                        TaskLoop
   log, catalog, calls, backfills, …  ── Event ──▶  handle ─▶ channels       (channels, lanes, rewinds, gaps)
                                                       │      collections    (states, joins, backfills)
   reader, checkpoint file, pool, …   ◀── Effect ──  work     checkpointer   (when the file is written)
                                                              health         (errors, phase, lag)
```
*/

use std::time::{Duration, Instant};

use super::drain::DrainOutcome;
use super::effect::{Effect, EventSource, Executor};
use super::event::{Event, Takes};
use super::owners::Owners;

/// Why the loop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to.
    Ordered,
    /// An error that needs a human.
    Failed(String),
    /// The source is to be recognised anew: why.
    Reopen(String),
    /// The log was read for the last time.
    Drained(DrainOutcome),
    /// The same, and what has come of it could not be written: why. Told from an older file, it would be wrong.
    Unsaved(String),
}

/// Kept for closing down after the last call has ended.
const RESERVE: Duration = Duration::from_millis(500);
/// How long a task that ends by itself waits for its calls.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// One running task.
#[derive(Debug)]
pub(super) struct TaskLoop {
    state: Owners,
    stage: LoopStage,
}

#[derive(Debug)]
enum LoopStage {
    Running,
    /// Nothing new starts, and calls in flight may end.
    Closing(Closing),
    /// The last checkpoint is being written.
    Ending(End),
    Ended(End),
}

#[derive(Debug)]
struct Closing {
    end: End,
    deadline: Instant,
    is_cancelled: bool,
}

impl TaskLoop {
    pub(super) fn new(state: Owners) -> TaskLoop {
        TaskLoop { state, stage: LoopStage::Running }
    }

    /// Runs until told to stop or until an error needs a human.
    pub(super) fn run(mut self, world: &mut (impl Executor + EventSource)) -> End {
        self.begin();
        loop {
            while let Some(effect) = self.next_effect() {
                if let Some(outcome) = world.carry_out(effect) {
                    self.handle(outcome, world.now());
                }
            }
            if let Some(end) = self.end() {
                return end.clone();
            }
            let event = world.next_event(self.takes(), self.next_due());
            self.handle(event, world.now());
        }
    }

    /// Before the first event.
    pub(super) fn begin(&mut self) {
        self.state.begin();
    }

    /// The next thing to do, in order.
    pub(super) fn next_effect(&mut self) -> Option<Effect> {
        self.state.effects().pop()
    }

    #[cfg(test)]
    pub(super) fn collections(&self) -> &super::collections::Collections {
        self.state.collections()
    }

    /// Why it has ended, once it has.
    pub(super) fn end(&self) -> Option<&End> {
        match &self.stage {
            LoopStage::Ended(end) => Some(end),
            LoopStage::Running | LoopStage::Closing(_) | LoopStage::Ending(_) => None,
        }
    }

    /// Which events are taken now.
    pub(super) fn takes(&self) -> Takes {
        match self.stage {
            LoopStage::Running if self.state.has_room() => Takes::Everything,
            LoopStage::Running => Takes::EverythingButRecords,
            LoopStage::Closing(_) | LoopStage::Ending(_) | LoopStage::Ended(_) => Takes::CallsOnly,
        }
    }

    /// As if rows of the collection had filled the memory.
    #[cfg(test)]
    pub(super) fn set_aside(&mut self, id: crate::domain::CollectionId) {
        use super::aside::StuckReason;

        self.state.set_aside(id, StuckReason::NotReady);
    }

    #[cfg(test)]
    pub(super) fn has_aside(&self) -> bool {
        self.state.has_aside()
    }

    fn next_due(&self) -> Option<Instant> {
        match self.stage {
            LoopStage::Running => self.state.next_due(),
            LoopStage::Closing(_) | LoopStage::Ending(_) | LoopStage::Ended(_) => None,
        }
    }

    /// One thing has happened.
    pub(super) fn handle(&mut self, event: Event, now: Instant) {
        self.state.set_now(now);
        match self.stage {
            LoopStage::Running => self.handle_running(event, now),
            LoopStage::Closing(_) | LoopStage::Ending(_) | LoopStage::Ended(_) => self.handle_closing(event),
        }
        self.close(now);
    }

    fn handle_running(&mut self, event: Event, now: Instant) {
        match event {
            Event::Log(event) => self.state.on_log(event),
            Event::OtherLog(why) => self.state.reopen(why),
            Event::Catalog(event) => self.state.on_catalog(event),
            Event::Sink(event) => self.state.on_call(event),
            Event::Backfill(event) => self.state.on_backfill(event),
            Event::Repair(order) => self.state.on_repair(&order),
            Event::Collection(order) => self.state.on_collection_order(order),
            Event::LogAnswer(answer) => self.state.on_log_answer(answer),
            Event::Saved(outcome) => self.state.on_saved(outcome),
            Event::Due => {}
            Event::Heartbeat => self.state.on_heartbeat(),
            Event::Stop(deadline) => return self.begin_close(End::Ordered, deadline),
            Event::ThreadEnded(thread) => self.state.fail(thread.ended()),
        }
        self.state.work();
        if let Some(reason) = self.state.take_failure() {
            self.begin_close(End::Failed(reason), now + LAST_CALLS);
        } else if let Some(why) = self.state.take_reopen() {
            self.begin_close(End::Reopen(why), now + LAST_CALLS);
        } else if let Some(outcome) = self.state.take_drained() {
            self.begin_close(End::Drained(outcome), now + LAST_CALLS);
        }
    }

    /// What else happens is for the next run.
    fn handle_closing(&mut self, event: Event) {
        match event {
            Event::Sink(event) => self.state.on_call(event),
            Event::Saved(outcome) => self.state.on_saved(outcome),
            _ => {}
        }
    }

    fn begin_close(&mut self, end: End, deadline: Instant) {
        self.state.drop_blocks();
        self.stage = LoopStage::Closing(Closing { end, deadline, is_cancelled: false });
    }

    /// Ends everything: waits for the calls in flight, cancels them when time runs out, and writes the last checkpoint.
    fn close(&mut self, now: Instant) {
        if let LoopStage::Closing(closing) = &mut self.stage {
            let patience = closing.deadline.checked_sub(RESERVE * 2).unwrap_or(closing.deadline);
            let calls = self.state.calls();
            if calls > 0 && now >= patience && !closing.is_cancelled {
                closing.is_cancelled = true;
                self.state.effects().push(Effect::CancelCalls);
            }
            if calls > 0 && now < closing.deadline {
                return;
            }
            if calls > 0 {
                log::warn!("{calls} target calls still in flight at the deadline");
            }
            let end = closing.end.clone();
            self.state.effects().push(Effect::CancelCalls);
            self.state.settle();
            self.stage = LoopStage::Ending(end);
        }
        if let LoopStage::Ending(end) = &self.stage
            && !self.state.is_saving()
        {
            let end = match (end, self.state.unsaved()) {
                (End::Drained(_), Some(why)) => End::Unsaved(why.clone()),
                (end, _) => end.clone(),
            };
            self.state.publish();
            self.stage = LoopStage::Ended(end);
        }
    }
}
