//! What arrives from the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::channel::Rewind;
use super::core::Core;
use super::members::Rows;
use super::status::OpenGap;
use crate::catalog::Hint;
use crate::domain::{Channel, CollectionId, Position, Timestamp};
use crate::observe::metrics;
use crate::source::{Body, ReaderCommand, ReaderEvent, Record, Seek};
use crate::task::history::EventKind;

/// How often a gap is looked at again that could not be dealt with.
const GAP_AGAIN: Duration = Duration::from_secs(1);

impl Core {
    /// Follows the channel on which users' requests about the catalog show: hints only, so from its end on.
    pub(super) fn read_replicate_channel(&mut self) {
        let channel = self.replicate_channel.clone();
        // Tried again with the next heartbeat: until then changes of the catalog show a little later.
        if let Ok(from) = self.log.tail(&channel) {
            self.reader.send(ReaderCommand::Seek(vec![Seek { channel, from, epoch: 0 }]));
            self.hints_are_read = true;
        }
    }

    pub(super) fn on_log(&mut self, event: ReaderEvent) {
        match event {
            ReaderEvent::Records { channel, records, .. } if channel == self.replicate_channel => {
                records.into_iter().for_each(|record| self.on_hint(record));
            }
            ReaderEvent::Records { channel, epoch, records, at_tail } => {
                match self.channels.get_mut(&channel).filter(|state| state.epoch == epoch) {
                    Some(state) => state.at_tail = at_tail,
                    // Read before a rewind.
                    None => return,
                }
                records.into_iter().for_each(|record| self.on_record(&channel, record));
            }
            ReaderEvent::Gap { channel, .. } if channel == self.replicate_channel => self.hints_are_read = false,
            ReaderEvent::Gap { channel, epoch } => {
                if self.channels.get(&channel).is_some_and(|state| state.epoch == epoch) {
                    self.on_gap(&channel);
                }
            }
            ReaderEvent::Failing(error) => {
                log::warn!("{error}");
                self.troubles.log = Some(error.to_string());
            }
            ReaderEvent::Recovered => self.troubles.log = None,
        }
    }

    fn on_hint(&mut self, record: Record) {
        match record.body {
            Body::CatalogHint(Some((db, collection))) => drop(self.watcher.hint(Hint::Named { db, collection })),
            Body::CatalogHint(None) | Body::Unknown(_) => drop(self.watcher.hint(Hint::Anything)),
            _ => {}
        }
    }

    fn on_record(&mut self, channel: &Channel, record: Record) {
        let Record { position, begin: _, end, body } = record;
        match body {
            Body::Tick => self.on_tick(channel, position, end),
            Body::Insert(insert) => {
                if self.wants(channel, insert.collection, position, end)
                    && let Some(state) = self.channels.get_mut(channel)
                {
                    state.pending.insert(channel, position, end, insert);
                }
            }
            Body::Delete(delete) => {
                if self.wants(channel, delete.collection, position, end)
                    && let Some(state) = self.channels.get_mut(channel)
                {
                    state.pending.delete(channel, position, end, delete);
                }
            }
            Body::CreateCollection(id) | Body::CollectionHint(id) => drop(self.watcher.hint(Hint::Collection(id, 0))),
            Body::CatalogHint(_) => drop(self.watcher.hint(Hint::Anything)),
            Body::BulkImport { db, collection } => {
                let why = format!(
                    "{db}.{collection}: files were imported at the source; their rows are not in the log and are not carried over"
                );
                log::error!("{why}");
                self.count_skipped("bulk import", &why);
            }
            Body::Truncate(truncate) => {
                if self.wants(channel, truncate.collection, position, end)
                    && let Some(state) = self.channels.get_mut(channel)
                {
                    state.pending.truncate(channel, position, end, truncate);
                }
            }
            Body::Uncarried { collection, what } => self.on_uncarried(channel, collection, what, (position, end)),
            Body::Compare { collection, what } => self.on_compare(channel, collection, what, (position, end)),
            Body::Stop(why) => self.fail(&why),
            Body::Ignored(name) => {
                log::debug!("{channel}: {name} at {position} needs nothing");
                metrics::ignored(&self.task, name);
            }
            Body::Unknown(kind) => {
                let why = format!("{channel}: the message at {position} is passed over: its type {kind} is not known");
                log::warn!("{why}");
                self.count_skipped("message of an unknown type", &why);
            }
            Body::Undecodable(error) => {
                let why = format!("{channel}: the message at {position} is passed over: {error}");
                log::warn!("{why}");
                self.count_skipped("undecodable message", &why);
            }
        }
    }

    pub(super) fn wants(&self, channel: &Channel, id: CollectionId, position: Position, ts: Timestamp) -> bool {
        let known = self.members.get(id).is_some();
        self.members.wants(id)
            && !self.members.is_truncated(id, channel, ts)
            && self.channels.get(channel).is_some_and(|state| state.wants(id, known, position, ts))
    }

    /// Everything up to the tick is released into the lanes.
    fn on_tick(&mut self, channel: &Channel, position: Position, tick: Timestamp) {
        let Some(state) = self.channels.get_mut(channel) else { return };
        if tick < state.released {
            // The first ticks after a create may be late; everything up to the later one is released already.
            return;
        }
        state.released = tick;
        let (ops, reached) = state.pending.release(tick, position);
        let batch = state.progress.release(ops.len(), reached);
        let mut unknown = false;
        for mut op in ops {
            op.batch = batch;
            unknown |= self.members.get(op.collection).is_none();
            self.scheduler.push(op);
        }
        if unknown {
            self.ask_about_unknown();
        }
    }

    /// Looks again at gaps that could not be dealt with. Nothing reads on there meanwhile.
    pub(super) fn retry_gaps(&mut self) {
        let is_open =
            |channel: &Channel, gap: &OpenGap| self.channels.get(channel).is_some_and(|it| it.epoch == gap.epoch);
        self.troubles.gaps.retain(|channel, gap| is_open(channel, gap));
        let due = self.troubles.gaps.iter().filter(|(_, gap)| gap.at.elapsed() > GAP_AGAIN);
        for channel in due.map(|(channel, _)| channel.clone()).collect::<Vec<_>>() {
            self.on_gap(&channel);
        }
    }

    /// What a channel would have had to say next is gone: its collections are copied again.
    fn on_gap(&mut self, channel: &Channel) {
        let start = match self.log.shortly_before_tail(channel) {
            Ok(start) => start,
            Err(error) => {
                let Some(state) = self.channels.get(channel) else { return };
                let gap = OpenGap { epoch: state.epoch, why: error.to_string(), at: Instant::now() };
                self.troubles.gaps.insert(channel.clone(), gap);
                return;
            }
        };
        self.troubles.gaps.remove(channel);
        let on_it = |id: &CollectionId| {
            self.members
                .get(*id)
                .is_some_and(|member| matches!(member.rows, Rows::Joined(_)) && member.channels().contains(channel))
        };
        let affected: Vec<CollectionId> = self.members.iter().map(|(id, _)| id).filter(on_it).collect();
        if affected.is_empty() {
            log::info!("{channel}: old messages are gone (retention); no collection is read from it now");
        } else {
            let told =
                format!("{channel}: the log no longer has what comes next (retention): copying its collections again");
            log::error!("{told}");
            self.history.add(EventKind::Gap, told);
        }
        for id in affected {
            self.count_skipped("gap in the log, copied again", &self.name_of(id));
            self.copy_again(id, true);
        }
        if let Some(state) = self.channels.get_mut(channel) {
            state.request(Rewind { start, behind: BTreeMap::new(), jump: true });
        }
    }

    pub(super) fn count_skipped(&mut self, reason: &str, detail: &str) {
        self.history.add(EventKind::Skip, format!("{reason}: {detail}"));
        *self.skipped.entry(reason.to_owned()).or_default() += 1;
        self.dirty = true;
    }
}
