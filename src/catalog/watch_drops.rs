//! What becomes of collections and databases that the source has no longer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::agenda::{CatalogStep, DatabasePlan, StepPriority};
use super::drop_brake::BrakeState;
use super::error::CatalogError;
use super::event::{CatalogEvent, Hint};
use super::held_drops::HeldDrops;
use super::retries::RetrySubject;
use super::source::Listing;
use super::source_identity::SourceVerdict;
use super::steps::Steps;
use super::watch::CatalogWatch;
use crate::domain::{CollectionId, CollectionName, Timestamp};
use crate::task::drops::{DecidedDrops, DropDecision, HeldDrop, HeldKind, SetAside};
use crate::task::spec::DEFAULT_DATABASE;

impl CatalogWatch {
    /// Plans the drops, each in its time, of what the source has dropped; holds all of it when much has vanished at
    /// once.
    pub(super) fn drop_missing(&mut self) -> Result<(), CatalogError> {
        self.take_decisions()?;
        self.release_returned()?;
        let steps = Arc::clone(&self.steps);
        let (record, now) = (steps.target.record(), Instant::now());
        let mut brake = steps.collections_brake.lock();
        let held = record.held_drops();
        // Those that are paused as well: what is to be held must be held before they are resumed.
        let certain = self.dropped.certain(|id| record.contains(id));
        let present = record.ids().len().saturating_sub(certain.len());
        let is_open = |id: &CollectionId| !held.is_held(*id) && !self.approved.contains(id);
        let open: Vec<CollectionId> = certain.iter().copied().filter(is_open).collect();
        let (replaced, vanished): (Vec<_>, Vec<_>) = open.iter().copied().partition(|id| self.is_replaced(*id));
        replaced.iter().for_each(|id| brake.forget(&steps.brake_key(*id)));
        let keys: Vec<CollectionName> = vanished.iter().map(|id| steps.brake_key(*id)).collect();
        let state = brake.count(&keys, present, now);
        // A source that may be another one proves nothing but what the log shows.
        let is_doubtful = |id: &CollectionId| self.verdict == SourceVerdict::Unsure && !self.shown_drops.contains(id);
        let is_any_held = state == BrakeState::Engaged || self.guard.is_restored();
        let held: Vec<CollectionId> = open.into_iter().filter(|id| is_any_held || is_doubtful(id)).collect();
        self.hold(&held)?;
        let mut due: Vec<CollectionId> = replaced;
        due.extend(vanished.into_iter().zip(keys).filter_map(|(id, key)| {
            let is_shown = self.shown_drops.contains(&id) && brake.is_calm(now);
            (is_shown || brake.is_due(&key, present, now)).then_some(id)
        }));
        drop(brake);
        due.retain(|id| !held.contains(id));
        due.extend(certain.into_iter().filter(|id| self.approved.contains(id)));
        due.retain(|id| !self.steps.paused.contains(*id));
        due.into_iter().for_each(|id| self.plan_in_time(id, CatalogStep::Drop(id)));
        self.discarded.retain(|id| record.held_drops().is_held(*id));
        self.discarded.clone().into_iter().for_each(|id| self.plan_in_time(id, CatalogStep::Keep(id)));
        self.plan_expired();
        self.show_held();
        self.forget_unlisted()
    }

    /// A source that was away and lacks collections since may have been restored to an earlier time: its log tells,
    /// which is asked when everything is opened again.
    pub(super) fn ask_log_about_missing(&self, listing: &Listing) -> Result<(), CatalogError> {
        let record = self.steps.target.record();
        let held = record.held_drops();
        let is_new =
            |id: &&CollectionId| !listing.contains(**id) && !held.is_held(**id) && self.steps.source.is_listed(**id);
        let missing = record.ids().iter().filter(is_new).count();
        if missing == 0 {
            return Ok(());
        }
        Err(CatalogError::OtherSource(format!(
            "the source {} was away and lacks {missing} collections since: everything is opened again, to ask its log \
             whether it was restored to an earlier time",
            self.steps.source.address()
        )))
    }

    fn forget_unlisted(&mut self) -> Result<(), CatalogError> {
        let Steps { source, target, releases, loading, reporter, .. } = &*self.steps;
        let record = target.record();
        source.forget_unlisted();
        self.approved.retain(|id| record.contains(*id));
        self.shown_drops.retain(|id| record.contains(*id));
        releases.lock().retain(|id| source.is_listed(id));
        loading.lock().retain(|id| source.is_listed(*id));
        for id in self.retries.retain(|id| source.is_listed(id) || record.contains(id)) {
            reporter.send(CatalogEvent::Absent(id))?;
        }
        Ok(())
    }

    /// All that a source lacks which was restored to an earlier time is held: what it lacks from now on was dropped.
    pub(super) fn settle_restored(&mut self) -> Result<(), CatalogError> {
        let record = self.steps.target.record();
        let is_outdated = || self.steps.source.outdated().into_iter().any(|id| record.contains(id));
        let is_open = self.dropped.has_new() || is_outdated();
        if self.guard.is_restored() && !is_open {
            self.guard.set_restored(false)?;
        }
        Ok(())
    }

    /// Takes note of what the source's log says was dropped.
    pub(super) fn note_shown_drops(&mut self, hints: &[Hint]) {
        let record = self.steps.target.record();
        let dropped = hints.iter().filter_map(|hint| if let Hint::Dropped(id) = hint { Some(*id) } else { None });
        for id in dropped.filter(|id| record.contains(*id)) {
            log::info!("the source's log shows that collection {id} was dropped");
            self.shown_drops.insert(id);
        }
    }

    /// Whether another collection has its name at the source by now: dropped and created again is no disappearance.
    fn is_replaced(&self, id: CollectionId) -> bool {
        let name = self.steps.target.record().source_of(id);
        let holder = name.and_then(|name| self.steps.source.listed_as(&name.db, &name.name));
        holder.is_some_and(|holder| holder != id)
    }

    /// Plans that what was renamed instead of dropped goes, once its time is over.
    fn plan_expired(&mut self) {
        let now_ms = Timestamp::now().physical_ms();
        let held = self.steps.target.record().held_drops();
        let is_any_over = held.all_set_aside().iter().any(|collection| collection.until_ms <= now_ms);
        if is_any_over && self.retries.is_due(RetrySubject::Expired) {
            self.agenda.add(CatalogStep::DropExpired, StepPriority::Hinted);
        }
    }

    /// Plans a step about a collection that the source has no longer, unless it waits for its next try.
    fn plan_in_time(&mut self, id: CollectionId, step: CatalogStep) {
        let subject = RetrySubject::Collection(id);
        if !self.is_under_way(&subject) && self.retries.is_due(subject) {
            self.agenda.add(step, StepPriority::Hinted);
        }
    }

    fn hold(&mut self, ids: &[CollectionId]) -> Result<(), CatalogError> {
        let record = self.steps.target.record();
        let is_new = |held: &mut HeldDrops| ids.iter().copied().filter(|id| held.hold(*id)).collect::<Vec<_>>();
        let new = record.change_held(is_new);
        // Nobody tries again what failed before it was held.
        new.iter().for_each(|id| self.retries.pass_over(RetrySubject::Collection(*id)));
        let names = new.into_iter().filter_map(|id| record.get(id));
        self.report_held("collections", names.map(|replicated| replicated.name.to_string()).collect());
        Ok(record.save()?)
    }

    /// Reports what is held newly, if anything is.
    fn report_held(&self, what: &str, names: Vec<String>) {
        const NAMED: usize = 5;
        if !names.is_empty() {
            let first = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
            self.steps
                .reporter
                .held(&format!("{what} missing at the source stay on the target, drops held: {first}{more}"));
        }
    }

    /// What the source shows again, or what is ours no more, is not held.
    fn release_returned(&mut self) -> Result<(), CatalogError> {
        let record = self.steps.target.record();
        for (id, _) in record.held_drops().collections() {
            if self.steps.source.is_listed(id) || !record.contains(id) {
                record.change_held(|held| held.release(id));
                self.steps.collections_brake.lock().forget(&self.steps.brake_key(id));
            }
        }
        Ok(record.save()?)
    }

    fn take_decisions(&mut self) -> Result<(), CatalogError> {
        for DecidedDrops { decision, drops } in self.desk.take_decided() {
            for HeldDrop { kind, id, target, .. } in drops {
                match kind {
                    HeldKind::Collection => self.decide_collection(CollectionId(id), decision),
                    HeldKind::Database => self.decide_database(target, decision),
                }
            }
        }
        Ok(self.steps.target.record().save()?)
    }

    fn decide_collection(&mut self, id: CollectionId, decision: DropDecision) {
        let record = self.steps.target.record();
        // It may have come back meanwhile.
        if !record.held_drops().is_held(id) || self.steps.source.is_listed(id) {
            return;
        }
        match decision {
            DropDecision::Confirm => {
                record.change_held(|held| held.release(id));
                self.approved.insert(id);
            }
            // Held until it is carried out.
            DropDecision::Discard => drop(self.discarded.insert(id)),
        }
    }

    fn decide_database(&mut self, db: String, decision: DropDecision) {
        let record = self.steps.target.record();
        // It may have come back meanwhile.
        if !record.held_drops().is_database_held(&db) {
            return;
        }
        record.change_held(|held| held.release_database(&db));
        match decision {
            DropDecision::Confirm => drop(self.approved_databases.insert(db)),
            DropDecision::Discard => record.remove_database(&db),
        }
    }

    /// Plans the creation of the source's databases, and the drop of those that it has no longer, each in its time.
    pub(super) fn plan_databases(&mut self) -> Result<(), CatalogError> {
        if self.is_under_way(&RetrySubject::Databases) || !self.retries.is_due(RetrySubject::Databases) {
            return Ok(());
        }
        let steps = Arc::clone(&self.steps);
        let Steps { source, target, mapping, .. } = &*steps;
        let mut wanted: BTreeSet<String> = source.whole_databases().iter().map(|db| mapping.map_database(db)).collect();
        // A database stays as long as a collection of ours lives in it.
        let record = target.record();
        let aside = record.held_drops().all_set_aside().iter().map(|aside| aside.db.clone()).collect::<Vec<_>>();
        let inhabited = record.target_names().into_iter().map(|name| name.db).chain(aside);
        wanted.extend(inhabited.filter(|db| db != DEFAULT_DATABASE));
        let unknown = target.unknown_databases(&wanted);
        let looks = self.database_looks.take_due(source.databases_in_full().iter(), Instant::now());
        let unwanted = self.droppable_databases(&wanted)?;
        let plan = DatabasePlan { wanted: unknown, unwanted, looks: looks.into_iter().collect() };
        if plan == DatabasePlan::default() {
            self.agenda.remove(&RetrySubject::Databases);
        } else {
            self.agenda.add(CatalogStep::Databases(plan), StepPriority::Hinted);
        }
        Ok(())
    }

    /// The databases of ours that may be dropped now, if they are empty.
    fn droppable_databases(&mut self, wanted: &BTreeSet<String>) -> Result<BTreeSet<String>, CatalogError> {
        let (record, now) = (self.steps.target.record(), Instant::now());
        let ours = record.databases();
        for (db, _) in record.held_drops().databases() {
            if wanted.contains(db) || !ours.contains(db) {
                record.change_held(|held| held.release_database(db));
                self.databases_brake.forget(db);
            }
        }
        self.approved_databases.retain(|db| ours.contains(db) && !wanted.contains(db));
        let held = record.held_drops();
        let (missing, present): (Vec<String>, Vec<String>) = ours.into_iter().partition(|db| !wanted.contains(db));
        let is_open = |db: &String| !held.is_database_held(db) && !self.approved_databases.contains(db);
        let open: Vec<String> = missing.into_iter().filter(is_open).collect();
        let state = self.databases_brake.count(&open, present.len(), now);
        let mut droppable = self.approved_databases.clone();
        let is_in_doubt = self.verdict == SourceVerdict::Unsure || self.guard.is_restored();
        if state == BrakeState::Engaged || is_in_doubt {
            let is_new = |held: &mut HeldDrops| open.into_iter().filter(|db| held.hold_database(db)).collect();
            self.report_held("databases", record.change_held(is_new));
        } else {
            droppable.extend(open.into_iter().filter(|db| self.databases_brake.is_due(db, present.len(), now)));
        }
        record.save()?;
        Ok(droppable)
    }

    fn show_held(&self) {
        let record = self.steps.target.record();
        let held = record.held_drops();
        let collections = held.collections().filter_map(|(id, since_ms)| {
            let replicated = record.get(id)?;
            let source = replicated.source.map(|name| name.to_string()).unwrap_or_default();
            let target = replicated.name.to_string();
            Some(HeldDrop { kind: HeldKind::Collection, id: id.0, source, target, since_ms })
        });
        let databases = held.databases().map(|(db, since_ms)| HeldDrop {
            kind: HeldKind::Database,
            id: 0,
            source: String::new(),
            target: db.clone(),
            since_ms,
        });
        self.desk.show(collections.chain(databases).collect());
        let aside = held.all_set_aside().iter().map(|aside| SetAside {
            source: aside.source.clone(),
            target: aside.target().to_string(),
            until_ms: aside.until_ms,
        });
        self.desk.show_set_aside(aside.collect());
    }
}
