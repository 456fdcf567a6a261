/*!
The target's side of the catalog: everything that changes the target, with the record of what is ours there.

One file per kind of step. A step takes the shared [`TargetContext`] and one collection's [`RecordEntry`], both by
`&`, so that steps for different collections can run side by side.
*/

mod aliases;
mod collections;
mod context;
mod created_schema;
mod database_properties;
mod databases;
mod dropped_fields;
mod fields;
mod functions;
mod indexes;
mod load;
mod partitions;
mod planning;
mod properties;
mod refusal;
mod renames;
mod schema_change;
mod schema_changes;
mod set_aside;
mod target_server;
#[cfg(test)]
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

pub(super) use aliases::AliasHolders;
use aliases::Aliases;
use context::TargetContext;
use database_properties::DatabaseProperties;
use databases::Databases;
use partitions::PartitionedRows;
use planning::PlanningCalls;
use properties::Properties;

use super::describe::{Load, SourceCollection, describe_by_name};
use super::error::CatalogError;
use super::event::CatalogEvent;
use super::load_plan::{self, ReleaseProof};
use super::made_before::MadeBefore;
use super::property;
use super::record::{CatalogRecord, RecordEntry, ReplicatedCollection, ReplicatedIndex};
use super::reporter::Reporter;
use super::row_schemas::{RowSchema, RowSchemas};
use super::target_identity::TargetGuard;
use super::target_listing::{TargetListing, Urgency};
use crate::domain::{Channel, CollectionId, CollectionName, Mark, Timestamp};
use crate::milvus::{CallContext, Client};
use crate::task::drops::OnDrop;
use crate::task::noted_ends::NotedEnds;
use crate::task::spec::LoadPolicy;

/// What all steps of one comparison have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundContext {
    /// The highest question asked before the descriptions of this round began.
    pub(super) generation: u64,
    /// Whether what the source has released follows.
    pub(super) release: ReleaseProof,
}

/// What a task wants of its target beyond being equal.
#[derive(Debug, Clone, Copy)]
pub(super) struct TargetPolicies {
    /// All rows go to the target's default partition.
    pub(super) ignore_partitions: bool,
    /// What becomes of collections that the source drops.
    pub(super) on_drop: OnDrop,
    /// Which load states follow.
    pub(super) load: LoadPolicy,
}

/// What a task keeps on disk about its target.
pub(super) struct KeptFiles {
    /// What is ours there.
    pub(super) record: CatalogRecord,
    /// Who the target is.
    pub(super) guard: TargetGuard,
    /// What the rows of its collections look like.
    pub(super) schemas: RowSchemas,
}

/// Whether a collection of ours is still on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetPresence {
    Kept,
    Lost,
}

/// Changes the target.
pub(super) struct TargetCatalog {
    context: TargetContext,
    planning: PlanningCalls,
    record: CatalogRecord,
    schemas: RowSchemas,
    guard: TargetGuard,
    databases: Databases,
    database_properties: DatabaseProperties,
    aliases: Aliases,
    properties: Properties,
    listing: Mutex<TargetListing>,
    /// All rows go to the target's default partition.
    ignore_partitions: bool,
    on_drop: OnDrop,
    load: LoadPolicy,
}

impl TargetCatalog {
    pub(super) fn new(
        client: Arc<Client>,
        call: CallContext,
        reporter: Reporter,
        kept: KeptFiles,
        policies: TargetPolicies,
    ) -> TargetCatalog {
        let KeptFiles { record, guard, schemas } = kept;
        let TargetPolicies { ignore_partitions, on_drop, load } = policies;
        let context = TargetContext::new(client, call, reporter);
        TargetCatalog {
            planning: PlanningCalls::of(&context),
            context,
            record,
            schemas,
            guard,
            databases: Databases::default(),
            database_properties: DatabaseProperties::default(),
            aliases: Aliases::default(),
            properties: Properties::default(),
            listing: Mutex::default(),
            ignore_partitions,
            on_drop,
            load,
        }
    }

    /// The same, with what deleted tasks had made on their targets.
    pub(super) fn with_made_before(mut self, made_before: MadeBefore) -> TargetCatalog {
        self.context.made_before = made_before;
        self
    }

    /// The same, as the opposite of a task that has run.
    pub(super) fn with_noted_ends(mut self, noted_ends: Option<Arc<NotedEnds>>) -> TargetCatalog {
        self.context.noted_ends = noted_ends;
        self
    }

    /// What is ours on the target.
    pub(super) fn record(&self) -> &CatalogRecord {
        &self.record
    }

    fn recognise(&self) -> Result<(), CatalogError> {
        self.guard.recognise(&self.context.client, &self.record, &self.context.call)
    }

    /// Makes sure that the collection exists on the target under this name, which no other collection of ours has.
    pub(super) fn ensure_collection(
        &self,
        source: &SourceCollection,
        name: &CollectionName,
    ) -> Result<(), CatalogError> {
        let entry = self.record.entry(source.id);
        renames::settle(&self.context, entry)?;
        let outcome = collections::ensure(&self.context, &self.databases, entry, source, name);
        if matches!(&outcome, Err(CatalogError::Target(error)) if error.is_database_missing()) {
            // Somebody has dropped it there since: the next try creates it.
            self.databases.forget();
        }
        outcome
    }

    /// Replicates everything of one collection that differs from what was replicated before.
    pub(super) fn replicate(
        &self,
        source: &SourceCollection,
        round: RoundContext,
        holders: &AliasHolders,
    ) -> Result<(), CatalogError> {
        let (context, entry) = (&self.context, self.record.entry(source.id));
        fields::replicate(context, entry, source, self.on_drop)?;
        let dropped = partitions::dropped_elsewhere(entry, source);
        let rows = if self.ignore_partitions { PartitionedRows::Together } else { PartitionedRows::Apart };
        if rows == PartitionedRows::Apart {
            partitions::replicate(context, entry, source)?;
        }
        self.send_ready(entry, source, round.generation)?;
        // None of these holds back another: each is done, whether or not those before it were refused.
        partitions::settle_dropped(context, entry, source, &dropped, rows)
            .and(self.properties.replicate(context, entry, source))
            .and(indexes::replicate(context, entry, source, self.load))
            .and(self.aliases.replicate(context, entry, source, holders))
            .and(load::replicate(context, entry, source, self.load, round.release))
    }

    /// Gives a collection of ours another name on the target.
    pub(super) fn rename(&self, id: CollectionId, name: &CollectionName) -> Result<(), CatalogError> {
        renames::rename(&self.context, self.record.entry(id), name)
    }

    /// Moves aliases of a collection that the source has dropped to the collections that have them there now.
    pub(super) fn hand_over_aliases(&self, id: CollectionId, holders: &AliasHolders) -> Result<(), CatalogError> {
        aliases::hand_over_all(&self.context, self.record.entry(id), holders)
    }

    /// Drops a collection that the source has dropped, if the task created it.
    pub(super) fn drop_collection(&self, id: CollectionId) -> Result<(), CatalogError> {
        renames::settle(&self.context, self.record.entry(id))?;
        match self.on_drop {
            OnDrop::Follow => collections::drop_replicated(&self.context, self.record.entry(id)),
            OnDrop::Keep => return self.keep_collection(id),
            OnDrop::Rename { hours } => set_aside::set_aside(&self.context, self.record.entry(id), hours),
        }?;
        self.schemas.forget(id);
        Ok(())
    }

    /// Leaves a collection on the target to its user: it is ours no more.
    pub(super) fn keep_collection(&self, id: CollectionId) -> Result<(), CatalogError> {
        renames::settle(&self.context, self.record.entry(id))?;
        collections::keep(&self.context, self.record.entry(id))?;
        self.schemas.forget(id);
        Ok(())
    }

    /// Drops what was renamed instead of dropped, once its time is over.
    pub(super) fn drop_expired(&self, now_ms: u64) -> Result<(), CatalogError> {
        set_aside::drop_expired(&self.context, &self.record, now_ms)
    }

    /// Leaves partitions on the target to its user that the source does not have: they are ours no more.
    pub(super) fn keep_missing_partitions(&self, source: &SourceCollection) -> Result<(), CatalogError> {
        partitions::keep_missing(&self.context, self.record.entry(source.id), source)
    }

    /// The `wanted` databases that are not known to be on the target.
    pub(super) fn unknown_databases(&self, wanted: &BTreeSet<String>) -> BTreeSet<String> {
        self.databases.unknown(wanted)
    }

    /// Creates the `wanted` databases, and drops those of the `unwanted` that are empty.
    pub(super) fn replicate_databases(
        &self,
        wanted: &BTreeSet<String>,
        unwanted: &BTreeSet<String>,
    ) -> Result<(), CatalogError> {
        self.databases.replicate(&self.context, &self.record, wanted, unwanted)
    }

    /// Gives a database on the target the properties that it has at the source, as far as they follow.
    pub(super) fn replicate_database_properties(
        &self,
        db: &str,
        source: &BTreeMap<String, String>,
    ) -> Result<(), CatalogError> {
        self.database_properties.replicate(&self.context, &self.record, db, source)
    }

    /// Lists the target when it is time: the databases of ours, and those of names that are waited for. Answers the
    /// names that stand for something else since the last listing; `None` when it was not time.
    pub(super) fn list_changes<'a>(
        &self,
        awaited: impl Iterator<Item = &'a CollectionName>,
    ) -> Option<BTreeSet<CollectionName>> {
        let mut databases: BTreeSet<String> = awaited.map(|name| name.db.clone()).collect();
        let urgency = if databases.is_empty() { Urgency::Routine } else { Urgency::Held };
        databases.extend(self.record.target_names().into_iter().map(|name| name.db));
        let renew = |on: &TargetContext| self.listing.lock().renew(databases, urgency, &on.client, &on.call);
        let changes = self.planning.ask(renew)?;
        // A target that does not answer is reported by the step that changes something.
        changes.inspect_err(|error| log::debug!("{error}")).unwrap_or_default()
    }

    /// Collections of ours whose names do not stand for them in the last listing of the target.
    pub(super) fn suspects(&self) -> Vec<CollectionId> {
        let listing = self.listing.lock();
        let is_suspect = |id: &CollectionId| {
            let Some(replicated) = self.record.get(*id).filter(|replicated| replicated.created) else { return false };
            let listed = listing.id_of(&replicated.name);
            if let (0, Some(listed)) = (replicated.target_id, listed) {
                // Recorded by an earlier version; or the target gives no ids, and there is nothing to record.
                if listed != 0 {
                    self.record.entry(*id).change(|replicated| replicated.target_id = listed);
                }
                return false;
            }
            listed != Some(replicated.target_id)
        };
        self.record.ids().into_iter().filter(is_suspect).collect()
    }

    /// Asks for a collection of ours by its name on the target. If that is not there, or stands for another one, it is
    /// recorded as lost. `wanted`: the name that it should have.
    pub(super) fn check_presence(
        &self,
        id: CollectionId,
        wanted: Option<&CollectionName>,
    ) -> Result<TargetPresence, CatalogError> {
        let entry = self.record.entry(id);
        renames::settle(&self.context, entry)?;
        let Some(replicated) = entry.get().filter(|replicated| replicated.created) else {
            return Ok(TargetPresence::Kept);
        };
        let found = self.context.find(&replicated.name)?;
        // An alias may have the name of a collection that is renamed.
        if found.as_ref().is_some_and(|found| replicated.is_found(found)) || self.was_renamed(&replicated, wanted)? {
            return Ok(TargetPresence::Kept);
        }
        // Nothing that another server lacks is lost.
        self.recognise()?;
        let (name, address) = (&replicated.name, self.context.client.address());
        let is_withheld = self.record.is_paired();
        let why = match found {
            _ if is_withheld => format!("{name} is not on the target {address} any more, or another collection now"),
            None => format!("{name} is not on the target {address} any more: it is created again and filled"),
            Some(_) => format!("{name} on the target {address} is another collection now: its rows are compared"),
        };
        if is_withheld {
            entry.withhold();
        } else {
            entry.lose();
        }
        entry.save()?;
        self.context.reporter.done(&why);
        Ok(TargetPresence::Lost)
    }

    /// Whether a collection of ours has the name already that it is wanted under: renamed just before a crash.
    fn was_renamed(
        &self,
        replicated: &ReplicatedCollection,
        wanted: Option<&CollectionName>,
    ) -> Result<bool, CatalogError> {
        let Some(wanted) = wanted.filter(|wanted| **wanted != replicated.name) else { return Ok(false) };
        let found = self.context.find(wanted)?;
        Ok(found.is_some_and(|found| [0, found.id].contains(&replicated.target_id)))
    }

    /// Whether a mark names the collection that stands for this one on the target.
    pub(super) fn is_from_there(&self, id: CollectionId, mark: Option<Mark>) -> bool {
        let there = || self.record.get(id).map(|replicated| CollectionId(replicated.target_id));
        mark.is_some_and(|mark| there().is_some_and(|there| mark.is_of(there)))
    }

    /// A task in the opposite direction runs. What is dropped on the target is left to a user from now on.
    pub(super) fn meet_opposite(&self) -> Result<(), CatalogError> {
        if !self.record.is_paired() {
            self.record.set_paired();
            self.record.save()?;
            self.context.reporter.done(
                "a task replicates in the opposite direction: what users drop on the target is not created again by \
                 itself",
            );
        }
        Ok(())
    }

    /// A user wants a collection back that was dropped on the target.
    pub(super) fn bring_back(&self, id: CollectionId) -> Result<(), CatalogError> {
        if self.record.get(id).is_some_and(|replicated| replicated.withheld) {
            self.record.entry(id).change(|replicated| replicated.withheld = false);
            self.record.save()?;
        }
        Ok(())
    }

    /// Whether a collection of ours exists on the target.
    pub(super) fn is_created(&self, id: CollectionId) -> bool {
        self.record.get(id).is_some_and(|replicated| replicated.created)
    }

    /// The description as far as the target can follow it.
    pub(super) fn in_its_terms(&self, source: SourceCollection) -> SourceCollection {
        if self.ignore_partitions {
            SourceCollection { load: source.load.without_partitions(), ..source }
        } else {
            source
        }
    }

    /// Whether the source has less of a collection loaded than the target, which would follow with a proof.
    pub(super) fn is_release_wanted(&self, source: &SourceCollection) -> bool {
        let recorded = self.record.get(source.id).map(|replicated| replicated.load).unwrap_or_default();
        self.load == LoadPolicy::Follow && load_plan::is_reduced(&recorded, source)
    }

    /// Listed collections whose load the target has lost in a restart. They are recorded as released, to be loaded
    /// again.
    pub(super) fn lost_loads(&self, is_listed: impl Fn(CollectionId) -> bool) -> BTreeSet<CollectionId> {
        if self.load == LoadPolicy::Ignore {
            return BTreeSet::new();
        }
        let find_lost = |on: &TargetContext| Ok(load::find_lost(on, &self.record, is_listed)?);
        let Some(found) = self.planning.ask(find_lost) else { return BTreeSet::new() };
        // A target that does not answer is reported by the step that changes something.
        let ids = found.inspect_err(|error| log::debug!("{error}")).unwrap_or_default();
        for id in &ids {
            self.record.entry(*id).change(|replicated| replicated.load = Load::None);
        }
        ids
    }

    /// Removes from the record what the target lacks of a collection, so that it is replicated again.
    pub(super) fn refresh(&self, id: CollectionId, wanted: Option<&CollectionName>) -> Result<(), CatalogError> {
        if self.check_presence(id, wanted)? == TargetPresence::Lost {
            return Ok(());
        }
        let entry = self.record.entry(id);
        let Some(replicated) = entry.get() else { return Ok(()) };
        let found = match describe_by_name(&self.context.client, &replicated.name, &self.context.call) {
            Ok(found) => found,
            // It is being created, or has just gone: the next look tells.
            Err(error) if error.is_collection_missing() || error.is_database_missing() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        entry.change(|replicated| {
            let has_index = |name: &str, index: &ReplicatedIndex| {
                found.indexes.get(name).map(ReplicatedIndex::from).as_ref() == Some(index)
            };
            replicated.partitions.retain(|name, _| found.partitions.contains_key(name));
            replicated.indexes.retain(|name, index| has_index(name, index));
            replicated.aliases.retain(|alias| found.details.aliases.contains(alias));
            replicated.properties = property::common(&replicated.properties, &found.details.properties);
            replicated.load = found.load;
            // What no schema says: the next step compares the whole schema with what is there.
            replicated.schema_parts.insert("to be compared with the target's".to_owned());
        });
        Ok(entry.save()?)
    }

    /// The collection's id on the target, looked up where an earlier version has not recorded it.
    fn target_id(
        &self,
        entry: RecordEntry<'_>,
        replicated: &ReplicatedCollection,
    ) -> Result<CollectionId, CatalogError> {
        if replicated.target_id != 0 {
            return Ok(CollectionId(replicated.target_id));
        }
        let found = self.context.find(&replicated.name)?.filter(|found| found.name == replicated.name.name);
        let id = found.map_or(0, |found| found.id);
        entry.change(|replicated| replicated.target_id = id);
        Ok(CollectionId(id))
    }

    /// Tells the task that rows of the collection can be applied.
    fn send_ready(
        &self,
        entry: RecordEntry<'_>,
        source: &SourceCollection,
        generation: u64,
    ) -> Result<(), CatalogError> {
        let Some(replicated) = entry.get() else { return Ok(()) };
        let details = &source.details;
        let rows = RowSchema {
            source: source.name.clone(),
            target_id: self.target_id(entry, &replicated)?.0,
            target: replicated.name,
            adopted: replicated.adopted,
            created: Timestamp(details.created),
            schema: details.schema.clone(),
            partitions: source.partitions.clone(),
            ignore_partitions: self.ignore_partitions,
            generated_keys: replicated.generated_keys,
            ttl: property::ttl(&details.properties),
            channels: details.channels.iter().map(|name| Channel::new(name)).collect(),
        };
        let begins = details.begins.iter().map(|(channel, position)| (Channel::new(channel), position.clone()));
        let ready = rows.ready(source.id, generation, begins.collect())?;
        // On disk before a row is written by it: the source may never tell again.
        self.schemas.save(source.id, &rows)?;
        self.context.reporter.send(CatalogEvent::Ready(Box::new(ready)))
    }
}
