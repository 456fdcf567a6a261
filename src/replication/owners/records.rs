//! What the source's log brings.

use super::Owners;
use crate::catalog::Hint;
use crate::domain::{Body, Channel, CollectionId, Record};
use crate::pipeline::TickPlace;
use crate::replication::channel::Acquaintance;
use crate::replication::channels::RecordPlace;
use crate::replication::effect::{Effect, Metric};
use crate::replication::passed_over::PassedOver;
use crate::replication::requests_channel::RequestsChannel;
use crate::source::ReaderEvent;

impl Owners {
    pub(in crate::replication) fn on_log(&mut self, event: ReaderEvent) {
        match event {
            ReaderEvent::Records { channel, records, .. } if self.requests.is(&channel) => {
                for record in records {
                    self.note_catalog_change(&record);
                    RequestsChannel::on_record(record, &mut self.effects);
                }
            }
            ReaderEvent::Records { channel, epoch, records, at_tail } => {
                // Else it was read before a rewind.
                if self.channels.is_current(&channel, epoch) && self.takes_records(&records) {
                    self.channels.set_at_tail(&channel, at_tail);
                    records.into_iter().for_each(|record| self.on_record(&channel, record));
                }
            }
            ReaderEvent::Gap { channel, .. } if self.requests.is(&channel) => self.requests.on_gap(),
            ReaderEvent::Gap { channel, epoch } => self.channels.on_gap(&channel, epoch, &mut self.effects),
            ReaderEvent::Failing(error) => {
                log::warn!("{error}");
                self.health.errors_mut().set_log(Some(error.to_string()));
            }
            ReaderEvent::Recovered => self.health.errors_mut().set_log(None),
            ReaderEvent::Replaced => self.reopen(
                "the source's log was deleted or replaced while it was read: it is opened again, and rows whose place \
                 in it is gone are compared"
                    .into(),
            ),
        }
    }

    fn on_record(&mut self, channel: &Channel, record: Record) {
        let place = RecordPlace::of(&record);
        self.note_catalog_change(&record);
        match record.body {
            Body::Tick { resume } => {
                let at = TickPlace { position: place.position, resume: resume.unwrap_or(place.position) };
                let collections = &self.collections;
                if self.channels.on_tick(channel, place.ts, at, |id| collections.has(id)) {
                    self.ask_about_unknown();
                }
            }
            Body::Insert(insert) => {
                if self.wants(channel, insert.collection, &place)
                    && let Some(state) = self.channels.get_mut(channel)
                {
                    state.buffer_mut().insert(place.origin(channel), insert);
                }
            }
            Body::Delete(delete) => {
                if self.wants(channel, delete.collection, &place)
                    && let Some(state) = self.channels.get_mut(channel)
                {
                    state.buffer_mut().delete(place.origin(channel), delete);
                }
            }
            Body::Truncate(truncate) => {
                if self.wants(channel, truncate.collection, &place)
                    && let Some(state) = self.channels.get_mut(channel)
                {
                    state.buffer_mut().truncate(place.origin(channel), truncate);
                }
            }
            Body::CreateCollection(id) | Body::CollectionHint(id) => self.hint(Hint::Collection(id, 0)),
            Body::DropCollection(id) => self.hint(Hint::Dropped(id)),
            Body::Release(collection) => self.hint(Hint::Release { collection, mark: place.mark }),
            Body::CreateDatabase(db) => self.hint(Hint::DatabaseCreated { db, mark: place.mark }),
            Body::CatalogHint(_) => self.hint(Hint::Anything),
            Body::Uncarried { collection, what } => {
                // Noted for a collection that nobody knows yet, too: it may be the task's in a moment.
                if self.wants(channel, collection, &place) {
                    let name = self.collections.name_of(collection);
                    log::error!("{name}: {what} at the source: not in the log, and not carried over");
                    self.health.note_unreplicated(collection, what);
                    self.skip(what, &name);
                }
            }
            Body::Compare { collection, what } => {
                if self.wants(channel, collection, &place) {
                    self.compare(collection, what);
                }
            }
            Body::Stop(why) => self.fail(&why),
            body => self.on_passed_over(channel, place, &body),
        }
    }

    /// A user has changed the catalog. (Steps of a task in the opposite direction are marked.)
    fn note_catalog_change(&mut self, record: &Record) {
        if record.mark.is_none() && record.body.changes_catalog() {
            self.health.note_change(record.end);
        }
    }

    /// A record that changes no row of ours, or that cannot be read.
    fn on_passed_over(&mut self, channel: &Channel, place: RecordPlace, body: &Body) {
        match PassedOver::new(channel, place.position, body) {
            PassedOver::Needless(name) => self.effects.push(Effect::Count(Metric::IgnoredMessage(name))),
            PassedOver::Skipped { reason, why } => self.skip(reason, &why),
            PassedOver::Nothing => {}
        }
    }

    fn wants(&self, channel: &Channel, id: CollectionId, place: &RecordPlace) -> bool {
        let who = if self.collections.has(id) { Acquaintance::Known } else { Acquaintance::New };
        self.collections.wants(id, channel, place.ts)
            && !self.collections.is_truncated(id, channel, place.ts)
            && self.channels.wants(channel, id, who, place)
    }
}
