//! Making, adopting, renaming and dropping collections and databases on the target.

use super::capability::unsupported;
use super::carry::{Carrier, CarryError};
use super::event::CatalogEvent;
use super::look::SourceCollection;
use super::record::Carried;
use super::schema;
use crate::domain::CollectionId;
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::version::Version;
use crate::task::spec::DEFAULT_DATABASE;

impl Carrier {
    /// Sees to it that the collection is on the target under this name. The name is free of other collections of ours.
    pub(super) fn ensure_collection(
        &mut self,
        source: &SourceCollection,
        (db, name): (&str, &str),
    ) -> Result<(), CarryError> {
        match self.record.get(source.id).cloned() {
            None => {
                self.ensure_database(db)?;
                self.adopt_or_make(source, (db, name))
            }
            Some(carried) if !carried.made => {
                self.ensure_database(&carried.db)?;
                let found = self.find(&carried.db, &carried.name)?;
                // Recorded before it was made, so what is there is what we were making.
                self.make(source, (&carried.db, &carried.name), found.is_some())?;
                self.ensure_name(source.id, (db, name))
            }
            Some(_) => self.ensure_name(source.id, (db, name)),
        }
    }

    fn find(&self, db: &str, name: &str) -> Result<Option<CollectionDetails>, CarryError> {
        match self.target.describe_collection(db, name, &self.context) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_collection_missing() || error.is_database_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn adopt_or_make(&mut self, source: &SourceCollection, (db, name): (&str, &str)) -> Result<(), CarryError> {
        let Some(found) = self.find(db, name)? else {
            let carried = Carried { db: db.into(), name: name.into(), ..Carried::default() };
            self.record.put(source.id, carried);
            self.record.save()?;
            return self.make(source, (db, name), false);
        };
        let partition_key = schema::has_partition_key(&source.details.schema);
        let theirs = format!("{db}.{name} on the target {}", self.target.address());
        let ours = format!("{}.{} at the source", source.db, source.details.name);
        if found.name != name {
            return Err(CarryError::Conflict(format!(
                "{theirs} is an alias of the collection {:?}, in the way of {ours}: drop the alias, or map the \
                 collection to another name (name_mapping)",
                found.name
            )));
        }
        if let Some(difference) = schema::difference(&source.details, &found, partition_key) {
            return Err(CarryError::Conflict(format!(
                "the collection {theirs} was there before the task and has another schema than {ours} ({difference}): \
                 drop or rename one of them, or map the collection to another name (name_mapping), then resume the task"
            )));
        }
        log::info!("adopting the collection {theirs} for {ours}: it was there before the task, with the same schema");
        let carried = Carried {
            db: db.into(),
            name: name.into(),
            adopted: true,
            made: true,
            properties: found.properties,
            ..Carried::default()
        };
        self.record.put(source.id, carried);
        Ok(self.record.save()?)
    }

    fn make(&mut self, source: &SourceCollection, (db, name): (&str, &str), there: bool) -> Result<(), CarryError> {
        if !there {
            self.check_capability(source, (db, name))?;
            let partition_key = schema::has_partition_key(&source.details.schema);
            let partitions = if partition_key { source.details.num_partitions } else { 0 };
            let mut details = source.details.clone();
            details.schema = schema::for_target(&source.details.schema);
            details.name = name.into();
            self.target.create_collection(db, &details, partitions, &self.context)?;
            log::info!("created the collection {db}.{name} on the target {}", self.target.address());
        }
        self.record.change(source.id, |carried| {
            carried.made = true;
            carried.properties = source.details.properties.clone();
        });
        Ok(self.record.save()?)
    }

    /// An older server would make another collection than it is asked for, or refuse without saying which field it means.
    fn check_capability(&self, source: &SourceCollection, (db, name): (&str, &str)) -> Result<(), CarryError> {
        let told = self.target.version(&self.context)?;
        // One that is numbered otherwise has to refuse by itself.
        let Some(version) = told.as_deref().and_then(Version::parse) else { return Ok(()) };
        match unsupported(&source.details.schema, version) {
            None => Ok(()),
            Some(what) => Err(CarryError::Conflict(format!(
                "{}.{} at the source cannot be made as {db}.{name} on the target {}, a Milvus {version}: its field {what}; \
                 leave the collection out of the task, or use a newer target",
                source.db,
                source.details.name,
                self.target.address()
            ))),
        }
    }

    /// Renames when the source has.
    fn ensure_name(&mut self, id: CollectionId, (db, name): (&str, &str)) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(id).cloned() else { return Ok(()) };
        if carried.db == db && carried.name == name {
            return Ok(());
        }
        self.ensure_database(db)?;
        self.rename(id, (db, name))
    }

    /// Gives a collection of ours another name on the target.
    pub(super) fn rename(&mut self, id: CollectionId, (db, name): (&str, &str)) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(id).cloned() else { return Ok(()) };
        self.block(id)?;
        if carried.db != db {
            // A collection with aliases cannot change its database (seen on 2.3.5): they are carried again afterwards.
            self.drop_aliases(id)?;
        }
        let from = (carried.db.as_str(), carried.name.as_str());
        match self.target.rename_collection(from, (db, name), &self.context) {
            Ok(()) => {}
            // Renamed just before a crash.
            Err(error) if error.is_collection_missing() && self.find(db, name)?.is_some() => {}
            Err(error) => return Err(error.into()),
        }
        log::info!("renamed {}.{} to {db}.{name} on the target {}", from.0, from.1, self.target.address());
        self.record.change(id, |carried| {
            carried.db = db.into();
            carried.name = name.into();
        });
        Ok(self.record.save()?)
    }

    /// The source has dropped the collection: so does the target, if it is ours there.
    pub(super) fn drop_collection(&mut self, id: CollectionId) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(id).cloned() else { return Ok(()) };
        self.block(id)?;
        self.drop_aliases(id)?;
        if carried.adopted {
            log::info!("{}.{} stays on the target: it was there before the task", carried.db, carried.name);
        } else {
            match self.target.drop_collection(&carried.db, &carried.name, &self.context) {
                Ok(()) => log::info!("dropped {}.{} on the target {}", carried.db, carried.name, self.target.address()),
                Err(error) if error.is_collection_missing() || error.is_database_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.record.remove(id);
        self.record.save()?;
        self.tell(CatalogEvent::Gone(id))
    }

    fn ensure_database(&mut self, db: &str) -> Result<(), CarryError> {
        if db == DEFAULT_DATABASE || self.databases.contains(db) {
            return Ok(());
        }
        if self.target.list_databases(&self.context)?.iter().any(|found| found == db) {
            self.databases.insert(db.into());
            return Ok(());
        }
        self.record.add_database(db);
        self.record.save()?;
        match self.target.create_database(db, &self.context) {
            Ok(()) => log::info!("created the database {db} on the target {}", self.target.address()),
            Err(error) if error.is_already_there() => {}
            Err(error) => return Err(error.into()),
        }
        self.databases.insert(db.into());
        Ok(())
    }

    /// Databases that follow although they hold no collection yet.
    pub(super) fn carry_databases(&mut self, wanted: &[String]) -> Result<(), CarryError> {
        for db in wanted {
            self.ensure_database(db)?;
        }
        let gone: Vec<String> = self.record.databases().iter().filter(|db| !wanted.contains(db)).cloned().collect();
        for db in gone {
            let empty = match self.target.list_collections(&db, &self.context) {
                Ok(collections) => collections.is_empty(),
                Err(error) if error.is_database_missing() => true,
                Err(error) => return Err(error.into()),
            };
            if !empty {
                // A collection of the target's own lives there now.
                continue;
            }
            match self.target.drop_database(&db, &self.context) {
                Ok(()) => log::info!("dropped the database {db} on the target {}", self.target.address()),
                Err(error) if error.is_database_missing() => {}
                Err(error) => return Err(error.into()),
            }
            self.databases.remove(&db);
            self.record.remove_database(&db);
            self.record.save()?;
        }
        Ok(())
    }
}
