//! From the lanes to the target and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::channel::ChannelState;
use super::core::Core;
use super::members::Members;
use crate::catalog::Hint;
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::pipeline::{CollectionInfo, Done, Rules, Step};
use crate::target::{Outcome, PoolEvent, WORKERS};

/// How long an answer about an unknown collection is waited for before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

struct View<'a> {
    channels: &'a BTreeMap<Channel, ChannelState>,
    members: &'a Members,
}

impl Rules for View<'_> {
    fn collection(&self, id: CollectionId) -> Option<Arc<CollectionInfo>> {
        self.members.applicable(id)
    }

    fn open(&self, channel: &Channel) -> bool {
        self.channels.get(channel).is_some_and(|state| state.rewind.is_none())
    }

    fn bound(&self, channel: &Channel) -> Timestamp {
        self.channels.get(channel).map_or(Timestamp::ZERO, |state| state.bound)
    }

    fn replayed(&self, channel: &Channel) -> Timestamp {
        self.channels.get(channel).map_or(Timestamp::MAX, |state| state.replayed)
    }
}

impl Core {
    /// Starts calls while there are hands and something may start.
    pub(super) fn dispatch(&mut self) {
        // While our own files cannot be written, nothing new may be applied.
        if self.troubles.disk.is_some() && (self.written.elapsed() < ASK_AGAIN || !self.write_checkpoint()) {
            return;
        }
        while self.scheduler.calls() < WORKERS {
            match self.scheduler.next(&View { channels: &self.channels, members: &self.members }) {
                Step::Call(call) => {
                    if let Some(state) = self.channels.get_mut(&call.channel) {
                        state.sent = state.sent.max(call.latest);
                    }
                    self.pool.send(call);
                }
                Step::RaiseBound(channel, ts) => {
                    if !self.raise_bounds(&channel, ts) {
                        return;
                    }
                }
                Step::UnknownPartition(id) => drop(self.watcher.hint(Hint::Collection(id))),
                Step::Skip(done) => self.mark_done(done),
                Step::Unreadable(id, error) => {
                    return self.fail(&format!("rows of collection {id} cannot be read: {error}"));
                }
                Step::Idle => return,
            }
        }
    }

    /// Raises the bounds of all channels that are about to need it with one write.
    fn raise_bounds(&mut self, channel: &Channel, ts: Timestamp) -> bool {
        for (name, state) in &mut self.channels {
            let wanted = if name == channel { ts.max(state.released) } else { state.released };
            if wanted > state.bound {
                state.raise_bound(wanted);
            }
        }
        self.write_checkpoint()
    }

    pub(super) fn on_call(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Retrying(why) => {
                log::debug!("{why}");
                self.troubles.target_fails(why);
            }
            PoolEvent::Ended { collection, call, outcome } => {
                let done = self.scheduler.finish(collection, call);
                match outcome {
                    Outcome::Done => {
                        self.troubles.target_works();
                        self.mark_done(done);
                        self.rows_acked = true;
                        self.dirty = true;
                    }
                    // Not acknowledged: read again after the restart.
                    Outcome::Cancelled => {}
                    Outcome::Hopeless(why) => self.fail(&why),
                }
            }
        }
    }

    pub(super) fn mark_done(&mut self, done: Vec<Done>) {
        for (channel, batch) in done {
            if let Some(state) = self.channels.get_mut(&channel) {
                state.progress.done(batch);
            }
        }
    }

    /// Records of collections that nobody has said anything about: the catalog is asked, until it answers.
    pub(super) fn ask_about_unknown(&mut self) {
        let now = Instant::now();
        for id in self.scheduler.waiting() {
            let unanswered = self.members.get(id).is_none_or(|member| member.ready.is_none());
            let due = self.asked.get(&id).is_none_or(|at| now.duration_since(*at) > ASK_AGAIN);
            if unanswered && due && self.watcher.hint(Hint::Collection(id)) {
                self.asked.insert(id, now);
            }
        }
    }
}
