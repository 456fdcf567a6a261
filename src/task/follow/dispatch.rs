//! From the lanes to the target and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::channel::ChannelState;
use super::core::{Core, Question};
use super::members::Members;
use crate::catalog::Hint;
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::pipeline::{CollectionInfo, Done, Rules, Step, Work};
use crate::target::{Outcome, PoolEvent, WORKERS};

/// Rows of unknown collections that wait in memory.
const UNKNOWN_MEMORY: usize = 8 << 20;
/// How long an answer about an unknown collection is waited for before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

struct View<'a> {
    channels: &'a BTreeMap<Channel, ChannelState>,
    members: &'a Members,
    ticket: u64,
}

impl Rules for View<'_> {
    fn collection(&self, id: CollectionId) -> Option<Arc<CollectionInfo>> {
        self.members.applicable(id)
    }

    fn question(&self) -> u64 {
        self.ticket
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
            match self.scheduler.next(&View { channels: &self.channels, members: &self.members, ticket: self.ticket }) {
                Step::Call(mut call) => {
                    // By this one thread, one after the other: all hands at once doubled what a batch of large messages takes.
                    if let Work::Write { rows, .. } = &mut call.work {
                        rows.seal();
                    }
                    if let Some(state) = self.channels.get_mut(&call.channel) {
                        state.sent = state.sent.max(call.latest);
                    }
                    self.pool.send(*call);
                }
                Step::RaiseBound(channel, ts) => {
                    if !self.raise_bounds(&channel, ts) {
                        return;
                    }
                }
                Step::Unknown(id) => self.ask(id),
                Step::Compare(id) => self.compare(id, "truncation of shards on one channel"),
                Step::Skip(id, done) => {
                    log::info!("collection {id}: passing over rows of a partition that the source no longer has");
                    self.mark_done(done);
                }
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
                let truncated = self.scheduler.truncated(collection, call);
                let done = self.scheduler.finish(collection, call);
                self.stop_counting_gone(collection);
                match outcome {
                    Outcome::Done => {
                        self.troubles.target_works();
                        self.mark_done(done);
                        self.rows_acked = true;
                        self.dirty = true;
                        if let Some(ticks) = truncated {
                            // On disk before anything later is sent, and before any channel's position moves past it.
                            self.members.truncate(collection, ticks);
                            self.write_checkpoint();
                        }
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

    /// Asks the catalog to look at a collection, in a look that begins after this moment.
    pub(super) fn ask(&mut self, id: CollectionId) {
        let question = Question { ticket: self.ticket, at: Instant::now() };
        self.ticket += 1;
        self.asked.insert(id, question);
        // One that finds no room is asked again.
        self.watcher.hint(Hint::Collection(id, question.ticket));
    }

    /// Collections that cannot be taken in for long must not fill the memory that the others need: the records of the largest are
    /// passed over now and read again when it can.
    fn put_off_unknown(&mut self) {
        let waiting = self.scheduler.waiting().into_iter().filter(|id| self.members.get(*id).is_none());
        let unknown = waiting.map(|id| (id, self.scheduler.bytes_of(id))).collect();
        for id in largest_beyond(UNKNOWN_MEMORY, unknown) {
            log::info!("collection {id} is not ready yet: its rows will be read again when it is");
            self.members.pass_over(id);
            self.discard(id);
        }
    }

    /// Asks about collections that nobody has said anything about, and repeats questions without an answer.
    pub(super) fn ask_about_unknown(&mut self) {
        for id in self.scheduler.waiting() {
            if self.members.get(id).is_none_or(|member| member.ready.is_none()) && !self.asked.contains_key(&id) {
                self.ask(id);
            }
        }
        self.put_off_unknown();
        for (id, question) in &mut self.asked {
            if question.at.elapsed() > ASK_AGAIN {
                question.at = Instant::now();
                self.watcher.hint(Hint::Collection(*id, question.ticket));
            }
        }
    }
}

/// Those to do without, the largest first, so that the others are no more than `limit` together.
fn largest_beyond(limit: usize, mut sizes: Vec<(CollectionId, usize)>) -> Vec<CollectionId> {
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let mut left: usize = sizes.iter().map(|(_, size)| size).sum();
    let beyond = sizes.into_iter().take_while(|(_, size)| {
        let is_beyond = left > limit;
        left -= size;
        is_beyond
    });
    beyond.map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_go_until_the_others_have_room() {
        let sizes =
            |sizes: &[usize]| sizes.iter().enumerate().map(|(id, &size)| (CollectionId(id as i64), size)).collect();
        let gone = |sizes_: &[usize]| largest_beyond(8, sizes(sizes_)).iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(gone(&[4, 5]), [1]);
        assert_eq!(gone(&[9]), [0]);
        assert_eq!(gone(&[3, 6, 7]), [2, 1]);
        assert!(gone(&[4, 4]).is_empty() && gone(&[]).is_empty());
    }
}
