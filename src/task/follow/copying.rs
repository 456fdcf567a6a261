//! Collections that are copied or compared: when a copy starts, and what becomes of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::copy::{Against, CopyDone, CopyEnd, CopyEvent, CopyJob};
use super::core::Core;
use super::members::{Member, Rows};
use crate::catalog::Hint;
use crate::domain::{Channel, CollectionId, Position};
use crate::observe::metrics;
use crate::source::{Log, LogError, Start};
use crate::task::history::EventKind;

/// In this time the catalog has looked at every collection.
const DOUBT: Duration = Duration::from_secs(60);

impl Core {
    /// The rows of a collection on the target are not what they should be, or may not be: they are compared with the source's.
    pub(super) fn copy_again(&mut self, id: CollectionId, prune: bool) {
        let Some(member) = self.members.get_mut(id) else { return };
        if !self.copier.is_active(id) {
            self.copier.forget_progress(id);
        }
        member.set_rows(Rows::Copying { prune, compare: true, begun: BTreeMap::new() });
        self.queue_copy(id);
        self.discard(id);
        self.dirty = true;
    }

    /// Its copy starts as soon as it can, if it is to be copied and the catalog has told of it; else the `Ready` that follows queues it.
    pub(super) fn queue_copy(&mut self, id: CollectionId) {
        let is_wanted = |member: &Member| matches!(member.rows, Rows::Copying { .. }) && member.ready.is_some();
        if self.members.get(id).is_some_and(is_wanted) && !self.to_copy.contains(&id) {
            self.to_copy.push(id);
        }
    }

    /// Starts copies of collections for which no call is under way any more.
    pub(super) fn start_copies(&mut self) {
        for id in std::mem::take(&mut self.to_copy) {
            let Some(member) = self.members.get(id) else { continue };
            let (Rows::Copying { prune, compare, .. }, Some(ready)) = (&member.rows, member.ready.clone()) else {
                continue;
            };
            if member.blocked {
                // The `Ready` that follows starts it.
                continue;
            }
            if self.scheduler.calls_of(id) > 0 || self.copier.is_active(id) {
                self.to_copy.push(id);
                continue;
            }
            self.history.add(EventKind::Copy, format!("copying {}.{}", ready.source.0, ready.source.1));
            self.copier.start(CopyJob {
                info: ready.info.clone(),
                source: ready.source.clone(),
                against: if *compare { Against::Target } else { Against::Nothing },
                removes: *prune,
                adopted: ready.adopted,
                keeps_state: self.rounds.is_some(),
                unless_count: None,
            });
        }
        self.copier.hand_over();
    }

    pub(super) fn on_copy(&mut self, event: CopyEvent) {
        let id = event.collection();
        match event {
            CopyEvent::Retrying(_, why) => {
                log::warn!("{why}");
                self.troubles.copies.insert(id.0, why);
            }
            CopyEvent::Began(_, answer) => self.begin_copy(id, &answer),
            CopyEvent::Waiting(_, why) => {
                self.troubles.copies.remove(&id.0);
                self.history.add(EventKind::Copy, format!("waiting: {why}"));
                self.copier.set_waiting(id, why);
            }
            CopyEvent::Counted(_, total) => self.copier.set_total(id, total),
            CopyEvent::Progress(_, rows) => {
                self.troubles.copies.remove(&id.0);
                self.copier.set_progress(id, rows);
            }
            CopyEvent::Ended(_, end) => {
                self.troubles.copies.remove(&id.0);
                if let CopyEnd::Hopeless(why) = &end
                    && self.may_be_another(id)
                {
                    return self.copier.set_waiting(id, why.clone());
                }
                if self.copier.is_told(id) {
                    metrics::copy_ended(&self.task, end.name());
                }
                self.copier.forget(id);
                self.stop_counting_gone(id);
                match end {
                    CopyEnd::Done(done) => self.on_copied(id, done),
                    CopyEnd::Unchanged | CopyEnd::Cancelled => {}
                    CopyEnd::StateLost(why) => self.on_state_lost(id, &why),
                    CopyEnd::Hopeless(why) => self.fail(&why),
                }
            }
        }
    }

    /// Where the replay over a copy must start, on disk before the copy's first page is read: an interrupted copy goes on
    /// with another attempt, and what was deleted at the source since the first one shows only in the log since then.
    fn begin_copy(&mut self, id: CollectionId, answer: &Sender<BTreeMap<Channel, Start>>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let channels = member.channels();
        let Rows::Copying { begun, .. } = &mut member.rows else { return };
        if begun.is_empty() {
            match shortly_before_tails(self.log.as_ref(), channels) {
                Ok(starts) => *begun = starts,
                Err(error) => {
                    self.troubles.copies.insert(id.0, error.to_string());
                    return;
                }
            }
        }
        let starts = begun.clone();
        self.dirty = true;
        if self.write_checkpoint() {
            // The copy may have been told to end meanwhile.
            let _ = answer.send(starts);
        }
    }

    /// The copy is complete. What comes next is in the log, replayed over it from before it began, as upserts until past its end; or,
    /// without a log, in the next round.
    fn on_copied(&mut self, id: CollectionId, done: CopyDone) {
        self.doubts.remove(&id);
        self.uncarried.forget(id);
        let Some(member) = self.members.get_mut(id) else { return };
        let name = member.ready.as_ref().map(|ready| format!("{}.{}", ready.source.0, ready.source.1));
        let name = name.unwrap_or_default();
        let (written, removed) = done.changes;
        if let Some(rounds) = &mut self.rounds {
            rounds.done(id, done.began, done.count);
        }
        if done.against == Against::State {
            // A repair may have been asked for meanwhile: its turn is the next.
            let took = done.took.as_secs_f64();
            log::debug!("scanned {} rows of {name} in {took:.2} s: {written} written, {removed} removed", done.rows);
            return;
        }
        let told = format!("copied {} rows of {name}: {written} written, {removed} removed", done.rows);
        log::info!("{told}");
        self.history.add(EventKind::Copy, told);
        if done.extra > 0 {
            *self.skipped.entry("rows that only the target has".into()).or_default() += done.extra;
        }
        if self.rounds.is_some() {
            member.set_rows(Rows::Scanned);
        } else {
            let until: BTreeMap<Channel, Option<Position>> =
                done.spans.iter().map(|(channel, span)| (channel.clone(), span.until)).collect();
            member.set_rows(Rows::Joined(until));
            for (channel, span) in done.spans {
                self.read_from(&channel, id, span.start, true);
            }
        }
        self.dirty = true;
        if self.write_checkpoint() {
            self.copier.forget_progress(id);
        }
        self.repairs.remove(&id);
    }

    /// A collection without an id may be another one by now, with other fields under the same name. The catalog finds that out, and then
    /// what failed is no copy of ours any more. True as long as that may be so.
    fn may_be_another(&mut self, id: CollectionId) -> bool {
        if id.is_given() {
            return false;
        }
        self.watcher.hint(Hint::Collection(id, 0));
        self.doubts.entry(id).or_insert_with(Instant::now).elapsed() < DOUBT
    }

    /// What is known of the target cannot be used: its own rows are asked instead.
    fn on_state_lost(&mut self, id: CollectionId, why: &str) {
        log::error!("{why}: comparing with the rows of the target");
        let adopted = self.members.get(id).and_then(|member| member.ready.as_ref()).is_some_and(|ready| ready.adopted);
        self.copier.forget_files(id);
        self.count_skipped("damaged file of a copy, compared again", why);
        // Of a collection that others may have filled, what the source does not have is not ours to remove.
        self.copy_again(id, !adopted);
    }
}

/// Of every channel, or of none: rows of one that was left out would be lost.
fn shortly_before_tails(log: &dyn Log, channels: Vec<Channel>) -> Result<BTreeMap<Channel, Start>, LogError> {
    channels.into_iter().map(|channel| log.shortly_before_tail(&channel).map(|start| (channel, start))).collect()
}
