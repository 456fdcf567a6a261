//! Partitions, properties, indexes, aliases and load state of a collection that is on the target.

use std::collections::{BTreeMap, BTreeSet};

use super::capability;
use super::carry::{Carrier, CarryError};
use super::look::{Load, SourceCollection};
use super::record::CarriedIndex;
use super::schema;
use crate::domain::CollectionId;
use crate::milvus::catalog::Index;
use crate::milvus::{Error, ErrorKind};
use crate::target::{Verdict, verdict};

/// The partition that every collection has (`common.defaultPartitionName`).
const DEFAULT_PARTITION: &str = "_default";

impl Carrier {
    pub(super) fn carry_partitions(&mut self, source: &SourceCollection) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(source.id).cloned() else { return Ok(()) };
        let unnamed = self.ignore_partitions || schema::has_partition_key(&source.details.schema);
        if unnamed || carried.partitions == source.partitions {
            return Ok(());
        }
        let (db, name) = (&carried.db, &carried.name);
        let outdated = |name: &&String| source.partitions.get(*name) != carried.partitions.get(*name);
        let outdated: Vec<String> = carried.partitions.keys().filter(outdated).cloned().collect();
        if !outdated.is_empty() {
            self.block(source.id)?;
        }
        for partition in outdated {
            self.drop_partition(db, name, &partition)?;
            self.record.change(source.id, |carried| carried.partitions.remove(&partition));
        }
        self.record.save()?;
        let Some(there) = self.target.list_partitions(db, name, &self.context)? else {
            return self.without_partitions(source);
        };
        for (partition, &id) in &source.partitions {
            if there.contains_key(partition) {
                continue;
            }
            self.record.change(source.id, |carried| carried.partitions.insert(partition.clone(), id));
            self.record.save()?;
            match self.target.create_partition(db, name, partition, &self.context) {
                Ok(()) => log::info!("created the partition {partition} of {db}.{name}"),
                Err(error) if error.is_already_there() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The target has no partitions: rows of the default one need none.
    fn without_partitions(&mut self, source: &SourceCollection) -> Result<(), CarryError> {
        let Some(partition) = source.partitions.keys().find(|name| *name != DEFAULT_PARTITION) else { return Ok(()) };
        Err(CarryError::Conflict(format!(
            "{} has no partitions, and {}.{} has the partition {partition} at the source: let all rows go into the collection \
             itself (milvus_connect_param.ignore_partition), or leave the collection out of the task",
            self.describe_target()?,
            source.db,
            source.details.name
        )))
    }

    fn drop_partition(&self, db: &str, name: &str, partition: &str) -> Result<(), CarryError> {
        match self.target.drop_partition(db, name, partition, &self.context) {
            Ok(()) => {}
            Err(error) if error.is_partition_missing() => return Ok(()),
            // A loaded partition cannot be dropped; at the source it was released first.
            Err(error) if error.detail.contains("loaded") => {
                self.target.release_partitions(db, name, vec![partition.into()], &self.context)?;
                self.target.drop_partition(db, name, partition, &self.context)?;
            }
            Err(error) => return Err(error.into()),
        }
        log::info!("dropped the partition {partition} of {db}.{name}");
        Ok(())
    }

    pub(super) fn carry_properties(&mut self, source: &SourceCollection) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(source.id).cloned() else { return Ok(()) };
        let wanted = &source.details.properties;
        if &carried.properties == wanted {
            return Ok(());
        }
        let object = format!("{}.{}", carried.db, carried.name);
        let outcome = self.target.alter_collection(&carried.db, &carried.name, wanted, &self.context);
        if self.or_skip("properties", &object, outcome)? {
            log::info!("set the properties of {object}");
        }
        self.record.change(source.id, |carried| carried.properties = wanted.clone());
        Ok(self.record.save()?)
    }

    pub(super) fn carry_indexes(&mut self, source: &SourceCollection) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(source.id).cloned() else { return Ok(()) };
        let (db, name) = (&carried.db, &carried.name);
        for (index, was) in &carried.indexes {
            if source.indexes.get(index).map(CarriedIndex::from).as_ref() == Some(was) {
                continue;
            }
            self.drop_index(source.id, &was.named(index))?;
            self.record.change(source.id, |carried| carried.indexes.remove(index));
            self.record.save()?;
        }
        let missing: Vec<&Index> = source
            .indexes
            .values()
            .filter(|index| {
                self.record.get(source.id).is_some_and(|carried| !carried.indexes.contains_key(&index.name))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let there = self.target.list_indexes(db, name, &self.context)?;
        for index in missing {
            if there.iter().any(|found| found.name == index.name && found.field == index.field) {
                // Made just before a crash; that of an adopted collection is not ours to drop.
                if !carried.adopted {
                    self.own_index(source.id, index)?;
                }
                continue;
            }
            self.create_index(source, (db, name), index)?;
            self.own_index(source.id, index)?;
        }
        Ok(())
    }

    /// Makes an index; where the target does not have its type, one of the target's own choice.
    fn create_index(
        &self,
        source: &SourceCollection,
        (db, name): (&str, &str),
        index: &Index,
    ) -> Result<(), CarryError> {
        let object = format!("{db}.{name}");
        let mut outcome = self.target.create_index(db, name, index, &self.context);
        if let Err(error) = &outcome
            && error.is_index_type_unknown()
        {
            self.skip("index type", &format!("the index {} of {object}", index.name), error)?;
            let other = other_type(source, index);
            outcome = self.target.create_index(db, name, &other, &self.context);
        }
        if self.or_skip("index", &object, outcome)? {
            log::info!("created the index {} of {object}", index.name);
        }
        Ok(())
    }

    fn own_index(&mut self, id: CollectionId, index: &Index) -> Result<(), CarryError> {
        self.record.change(id, |carried| carried.indexes.insert(index.name.clone(), index.into()));
        Ok(self.record.save()?)
    }

    fn drop_index(&mut self, id: CollectionId, index: &Index) -> Result<(), CarryError> {
        let Some((db, name)) = self.place(id) else { return Ok(()) };
        match self.target.drop_index(&db, &name, index, &self.context) {
            Ok(()) => {}
            Err(error) if error.is_index_missing() => {}
            // The index of a loaded collection cannot be dropped; `carry_load` loads it again if the source has.
            Err(error) if error.detail.contains("loaded") => {
                self.target.release_collection(&db, &name, &self.context)?;
                self.record.change(id, |carried| carried.load = Load::None);
                self.target.drop_index(&db, &name, index, &self.context)?;
            }
            Err(error) => return Err(error.into()),
        }
        log::info!("dropped the index {} of {db}.{name}", index.name);
        Ok(())
    }

    pub(super) fn carry_aliases(&mut self, source: &SourceCollection) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(source.id).cloned() else { return Ok(()) };
        let wanted = &source.details.aliases;
        for alias in carried.aliases.difference(wanted) {
            self.drop_alias(&carried.db, alias)?;
            self.record.change(source.id, |carried| carried.aliases.remove(alias));
        }
        for alias in wanted.difference(&carried.aliases) {
            if self.set_alias(source.id, (&carried.db, &carried.name), alias)? {
                self.record.change(source.id, |carried| carried.aliases.insert(alias.clone()));
                self.no_aliases.remove(&(source.id, alias.clone()));
            }
        }
        self.no_aliases.retain(|(id, alias)| *id != source.id || wanted.contains(alias));
        Ok(self.record.save()?)
    }

    /// Lets an alias name a collection of ours; false when a collection that is not ours has it.
    fn set_alias(&mut self, id: CollectionId, (db, name): (&str, &str), alias: &str) -> Result<bool, CarryError> {
        if let Some(other) = self.record.alias_holder(db, alias).filter(|other| *other != id) {
            self.target.alter_alias(db, name, alias, &self.context)?;
            self.record.change(other, |carried| carried.aliases.remove(alias));
        } else {
            match self.target.create_alias(db, name, alias, &self.context) {
                Ok(()) => {}
                Err(error) => match self.target.describe_collection(db, alias, &self.context) {
                    Ok(found) if found.name == name => {}
                    Ok(found) => {
                        let why = format!("the target has it for {:?}, which is not of this task", found.name);
                        return self.skip_alias(id, &format!("{db}.{alias}"), alias, &why);
                    }
                    Err(_) if verdict(&error) == Verdict::Stop => {
                        return self.skip_alias(id, &format!("{db}.{alias}"), alias, &error);
                    }
                    Err(_) => return Err(error.into()),
                },
            }
        }
        log::info!("the alias {db}.{alias} names {name} now");
        Ok(true)
    }

    /// Tried again with every look, but counted once.
    fn skip_alias(
        &mut self,
        id: CollectionId,
        object: &str,
        alias: &str,
        why: &dyn std::fmt::Display,
    ) -> Result<bool, CarryError> {
        if self.no_aliases.insert((id, alias.to_owned())) {
            self.skip("alias", object, why)?;
        }
        Ok(false)
    }

    fn drop_alias(&self, db: &str, alias: &str) -> Result<(), CarryError> {
        match self.target.drop_alias(db, alias, &self.context) {
            Ok(()) => log::info!("dropped the alias {db}.{alias}"),
            Err(error) if is_alias_missing(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Removes all aliases that are ours.
    pub(super) fn drop_aliases(&mut self, id: CollectionId) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(id).cloned() else { return Ok(()) };
        for alias in &carried.aliases {
            self.drop_alias(&carried.db, alias)?;
        }
        self.record.change(id, |carried| carried.aliases.clear());
        Ok(self.record.save()?)
    }

    pub(super) fn carry_load(&mut self, source: &SourceCollection) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(source.id).cloned() else { return Ok(()) };
        // That a server which forgets has nothing loaded says that it was restarted, and nothing about what is wanted.
        let forgotten = source.load == Load::None && self.source_forgets == Some(true);
        if carried.load == source.load || forgotten {
            return Ok(());
        }
        let (db, name) = (&carried.db, &carried.name);
        let object = format!("{db}.{name}");
        if replicas(&carried.load) != replicas(&source.load) && carried.load != Load::None {
            self.target.release_collection(db, name, &self.context)?;
            self.record.change(source.id, |carried| carried.load = Load::None);
        }
        let before = self.record.get(source.id).map(|carried| loaded_names(&carried.load, source)).unwrap_or_default();
        let outcome = match &source.load {
            Load::None => Ok(()),
            Load::Whole { replicas } => self.with_fewer_replicas(&object, *replicas, |count| {
                self.target.load_collection(db, name, count, &self.context)
            })?,
            Load::Partitions { names, replicas } => {
                let released: Vec<String> = before.difference(names).cloned().collect();
                if !released.is_empty() {
                    match self.target.release_partitions(db, name, released, &self.context) {
                        // Then they were not loaded one by one either.
                        Err(error) if error.kind == ErrorKind::Unimplemented => {}
                        outcome => outcome?,
                    }
                }
                let added: Vec<String> = names.difference(&before).cloned().collect();
                if added.is_empty() {
                    Ok(())
                } else {
                    self.with_fewer_replicas(&object, *replicas, |count| {
                        self.target.load_partitions(db, name, added.clone(), count, &self.context)
                    })?
                }
            }
        };
        let outcome = match outcome {
            // Milvus Lite loads whole collections only: more than is asked for, so nothing is missing.
            Err(error) if error.kind == ErrorKind::Unimplemented => {
                self.skip("partial load", &object, &error)?;
                self.target.load_collection(db, name, 1, &self.context)
            }
            outcome => outcome,
        };
        if self.or_skip("load state", &object, outcome)? {
            log::info!("{object} is {} on the target now", source.load);
        }
        self.record.change(source.id, |carried| carried.load = source.load.clone());
        Ok(self.record.save()?)
    }

    /// A target with fewer query nodes than the source cannot hold as many replicas: it gets as many as it has room for.
    fn with_fewer_replicas(
        &self,
        object: &str,
        replicas: i32,
        load: impl Fn(i32) -> Result<(), Error>,
    ) -> Result<Result<(), Error>, CarryError> {
        let first = load(replicas);
        let Err(error) = &first else { return Ok(first) };
        if replicas <= 1 || !lacks_nodes(error) {
            return Ok(first);
        }
        self.skip("replicas", object, error)?;
        for fewer in (2..replicas).rev() {
            match load(fewer) {
                Err(error) if lacks_nodes(&error) => {}
                outcome => return Ok(outcome),
            }
        }
        Ok(load(1))
    }
}

/// An index of the target's own choice in place of one whose type it does not have: any type will do for finding rows.
fn other_type(source: &SourceCollection, index: &Index) -> Index {
    const METRIC: &str = "metric_type";
    let field = source.details.schema.fields.iter().find(|field| field.name == index.field);
    let is_vector = field.is_some_and(|field| capability::is_vector(field.data_type));
    let kind = if is_vector { "AUTOINDEX" } else { "INVERTED" };
    let mut params = BTreeMap::from([("index_type".to_owned(), kind.to_owned())]);
    params.extend(index.params.get_key_value(METRIC).map(|(key, value)| (key.clone(), value.clone())));
    Index { params, ..index.clone() }
}

/// More replicas were asked for than there are query nodes. 2.3.5 says so in words only: `nodes not enough`, code 65535.
fn lacks_nodes(error: &Error) -> bool {
    let words = ["nodes not enough", "not enough nodes", "replica", "resource group", "query node", "querynode"];
    matches!(error.kind, ErrorKind::Server { .. }) && words.iter().any(|word| error.detail.contains(word))
}

fn is_alias_missing(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Server { code: 1600, .. })
        || error.detail.contains("alias not found")
        || error.detail.contains("alias does not exist")
        || error.is_collection_missing()
        || error.is_database_missing()
}

fn replicas(load: &Load) -> i32 {
    match load {
        Load::None => 0,
        Load::Whole { replicas } | Load::Partitions { replicas, .. } => *replicas,
    }
}

/// The partitions that a load state stands for.
fn loaded_names(load: &Load, source: &SourceCollection) -> BTreeSet<String> {
    match load {
        Load::Partitions { names, .. } => names.clone(),
        Load::Whole { .. } => source.partitions.keys().cloned().collect(),
        Load::None => BTreeSet::new(),
    }
}
