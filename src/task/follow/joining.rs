//! Collections that come, go, change their names, and are copied; and channels that are read again for their sake.

use std::collections::BTreeMap;

use crossbeam_channel::Sender;

use super::channel::{ChannelState, Rewind};
use super::core::Core;
use super::members::{Member, Rows};
use crate::catalog::{CatalogEvent, ReadyCollection};
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::observe::metrics;
use crate::pipeline::Mark;
use crate::source::{LogError, ReaderCommand, Seek, Start};

impl Core {
    pub(super) fn on_catalog(&mut self, event: CatalogEvent) {
        match event {
            CatalogEvent::Ready(ready) => self.on_ready(*ready),
            CatalogEvent::Gone(id) | CatalogEvent::Absent(id) => self.on_gone(id),
            CatalogEvent::Block(id, answer) => self.on_block(id, answer),
            CatalogEvent::Unblock(id) => self.on_unblock(id),
            CatalogEvent::Settled => {
                log::info!("every collection of the task has been compared once");
                self.settled = true;
                // Dropped on the target shortly before a crash, the checkpoint still has it and the catalog's record does not.
                for id in self.members.unseen() {
                    self.ask(id);
                }
            }
            CatalogEvent::Trouble(troubles) => {
                for why in troubles.iter().filter(|why| !self.troubles.catalog.contains(why)) {
                    log::warn!("{why}");
                }
                self.troubles.catalog = troubles;
            }
            CatalogEvent::Skipped { what, why } => self.count_skipped(&what, &why),
            CatalogEvent::Fatal(reason) => self.fail(&reason),
        }
    }

    fn on_ready(&mut self, mut ready: ReadyCollection) {
        let id = ready.info.id;
        if self.rounds.is_some() {
            // Nothing arrives on them.
            ready.channels.clear();
        }
        if self.asked.get(&id).is_some_and(|question| question.ticket <= ready.info.generation) {
            self.asked.remove(&id);
        }
        let Some(member) = self.members.get_mut(id) else {
            self.unjoined.insert(id, ready);
            return self.join_waiting();
        };
        let first = member.ready.is_none();
        let was_blocked = member.blocked;
        member.update(ready);
        if let Some(ready) = &member.ready {
            self.copier.renew(id, ready);
        }
        let copying = matches!(member.rows, Rows::Copying { .. });
        let unread = !copying && member.channels().iter().any(|channel| !self.channels.contains_key(channel));
        if copying && (first || was_blocked) {
            self.queue_copy(id);
        } else if unread {
            log::error!("collection {id}: the checkpoint lacks a channel of it: comparing its rows with the source's");
            self.copy_again(id, true);
        }
    }

    /// Takes in collections that the catalog has made ready. Where the log cannot be asked now, later.
    pub(super) fn join_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.unjoined).into_iter();
        for (id, ready) in waiting.by_ref() {
            match self.join(&ready) {
                Ok(()) => self.troubles.joins.remove(&id.0),
                Err(error) => {
                    self.unjoined.insert(id, ready);
                    self.troubles.joins.insert(id.0, error.to_string());
                    // The others would wait for the same log.
                    break;
                }
            };
        }
        self.unjoined.extend(waiting);
    }

    /// A collection's first time: from its birth where the log still holds it, else by a copy.
    fn join(&mut self, ready: &ReadyCollection) -> Result<(), LogError> {
        let id = ready.info.id;
        let given =
            self.given.get(&id).filter(|given| ready.channels.iter().all(|channel| given.contains_key(channel)));
        let prune = self.prune && ready.adopted;
        let starts = match given {
            Some(given) => Some(given.clone()),
            // Only a comparison finds what the source does not have.
            None if prune => None,
            None => self.births(ready)?,
        };
        let was_given = given.is_some();
        let before = ready.adopted || was_given;
        let mut until = BTreeMap::new();
        for channel in &ready.channels {
            let tail = if before { self.log.tail(channel)? } else { None };
            until.insert(channel.clone(), tail);
        }
        let was_passed_over = self.members.take_passed_over(id);
        let name = format!("{}.{}", ready.source.0, ready.source.1);
        let rows = match starts {
            Some(_) => Rows::Joined(until),
            None => Rows::Copying { prune, compare: ready.adopted, begun: BTreeMap::new() },
        };
        let mut member = Member { rows, ready: None, blocked: false };
        member.update(ready.clone());
        self.members.insert(id, member);
        if let Some(starts) = starts {
            let from = if was_given { "the given positions" } else { "its beginning" };
            log::info!("{name}: following it in the log from {from}");
            for (channel, start) in starts {
                self.read_from(&channel, id, start, was_passed_over);
            }
        } else {
            let why = match (self.rounds.is_some(), prune) {
                (true, _) => "the source has no log",
                (false, true) => "the target is to have its rows and no others",
                (false, false) => "the log no longer holds its beginning",
            };
            log::info!("{name}: {why}: its rows will be copied");
            self.copier.forget_files(id);
            self.discard(id);
            self.to_copy.push(id);
        }
        // Member and channels in one file, and before any row of it is sent: a restart must neither take the collection
        // for new nor leave a channel of it unread.
        self.dirty = true;
        self.write_checkpoint();
        Ok(())
    }

    /// Where the collection begins on each of its channels; `None` when the log does not hold all of it any more.
    fn births(&self, ready: &ReadyCollection) -> Result<Option<BTreeMap<Channel, Start>>, LogError> {
        let mut births = BTreeMap::new();
        for channel in &ready.channels {
            let begins = ready.begins.get(channel).map(Vec::as_slice);
            let Some(birth) = self.log.birth(channel, ready.info.id, ready.created, begins)? else { return Ok(None) };
            births.insert(channel.clone(), Start { position: Some(birth), after: Timestamp::ZERO });
        }
        Ok((!births.is_empty()).then_some(births))
    }

    /// Sees to it that a channel is read from `start` on for one collection.
    pub(super) fn read_from(&mut self, channel: &Channel, id: CollectionId, start: Start, again: bool) {
        match self.channels.get_mut(channel) {
            None => {
                let state = ChannelState::new(start);
                let seek = Seek { channel: channel.clone(), from: start.position, epoch: state.epoch };
                self.channels.insert(channel.clone(), state);
                self.reader.send(ReaderCommand::Seek(vec![seek]));
            }
            Some(state) if !again && start.position.is_some_and(|birth| state.covers(birth)) => {
                // Everything of it is read in this reading; what others have had before does not concern it.
                if state.ahead > Mark::NOTHING {
                    state.behind.insert(id, Mark::up_to(start.after));
                }
            }
            Some(state) => {
                state.request(Rewind { start, behind: BTreeMap::from([(id, Mark::up_to(start.after))]), jump: false });
            }
        }
    }

    fn on_gone(&mut self, id: CollectionId) {
        self.members.remove(id);
        self.unjoined.remove(&id);
        self.troubles.joins.remove(&id.0);
        self.members.pass_over(id);
        self.asked.remove(&id);
        self.doubts.remove(&id);
        self.copier.cancel(id);
        self.copier.forget_files(id);
        if let Some(rounds) = &mut self.rounds {
            rounds.forget(id);
        }
        self.repairs.remove(&id);
        self.to_copy.retain(|waiting| *waiting != id);
        self.troubles.copies.remove(&id.0);
        self.uncarried.forget(id);
        self.discard(id);
        metrics::forget_collection(&self.task, id.0);
        self.dirty = true;
    }

    /// What was under way when a collection went has counted since.
    pub(super) fn stop_counting_gone(&self, id: CollectionId) {
        if self.members.get(id).is_none() {
            metrics::forget_collection(&self.task, id.0);
        }
    }

    /// Forgets its rows that are queued or wait for their tick: they would hold back the position of everything on their channels.
    pub(super) fn discard(&mut self, id: CollectionId) {
        for state in self.channels.values_mut() {
            state.pending.discard(id);
        }
        let done = self.scheduler.discard(|op| op.collection == id);
        self.mark_done(done);
    }

    fn on_block(&mut self, id: CollectionId, answer: Sender<()>) {
        if let Some(member) = self.members.get_mut(id) {
            member.blocked = true;
            self.copier.cancel(id);
        }
        self.blocks.push((id, answer));
    }

    fn on_unblock(&mut self, id: CollectionId) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.blocked = false;
        self.queue_copy(id);
    }

    /// Tells the catalog when nothing is under way for a collection that it wants to change.
    pub(super) fn answer_blocks(&mut self) {
        let (scheduler, copier) = (&self.scheduler, &self.copier);
        self.blocks.retain(|(id, answer)| {
            let busy = scheduler.calls_of(*id) > 0 || copier.is_active(*id);
            if !busy {
                // The watcher may have been told to stop meanwhile.
                let _ = answer.send(());
            }
            busy
        });
    }

    /// Channels that are to be read again, as soon as nothing of them is under way.
    pub(super) fn rewind_channels(&mut self) {
        let ready: Vec<Channel> = self
            .channels
            .iter()
            .filter(|(name, state)| state.rewind.is_some() && self.scheduler.calls_on(name) == 0)
            .map(|(name, _)| name.clone())
            .collect();
        for channel in ready {
            // What is queued will be read again.
            self.scheduler.discard(|op| op.channel == channel);
            let Some(state) = self.channels.get_mut(&channel) else { continue };
            let Some(rewind) = state.rewind.take() else { continue };
            state.advance();
            state.restart(&rewind);
            let from = state.acked.position.map_or_else(|| "its beginning".to_owned(), |from| from.to_string());
            log::info!("{channel}: reading again from {from}");
            let seek = Seek { channel: channel.clone(), from: state.acked.position, epoch: state.epoch };
            self.dirty = true;
            self.write_checkpoint();
            self.reader.send(ReaderCommand::Seek(vec![seek]));
        }
    }
}
