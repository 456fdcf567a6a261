//! Making, adopting, renaming and dropping collections and databases on the target.

use super::capability::unsupported;
use super::carry::{Carrier, CarryError};
use super::event::CatalogEvent;
use super::fits;
use super::look::SourceCollection;
use super::record::Carried;
use super::schema;
use crate::domain::CollectionId;
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::{Error, ErrorKind};
use crate::pipeline::columns::field_names;
use crate::target::{Verdict, verdict};
use crate::task::spec::DEFAULT_DATABASE;

impl Carrier {
    /// Sees to it that the collection is on the target under this name. The name is free of other collections of ours.
    pub(super) fn ensure_collection(
        &mut self,
        source: &SourceCollection,
        (db, name): (&str, &str),
    ) -> Result<(), CarryError> {
        if schema::uses_namespaces(&source.details) {
            return Err(CarryError::Conflict(format!(
                "the rows of {}.{} belong to namespaces, which cannot be carried over: leave it out of the task",
                source.db, source.details.name
            )));
        }
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
        let at_source = Some((source.db.clone(), source.details.name.clone()));
        let Some(found) = self.find(db, name)? else {
            let carried = Carried { db: db.into(), name: name.into(), source: at_source, ..Carried::default() };
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
        self.note(&format!(
            "adopting the collection {theirs} for {ours}: it was there before the task, with the same schema"
        ));
        let carried = Carried {
            db: db.into(),
            name: name.into(),
            source: at_source,
            adopted: true,
            made: true,
            fields: field_names(&schema::for_target(&source.details.schema)),
            properties: found.properties,
            ..Carried::default()
        };
        self.record.put(source.id, carried);
        Ok(self.record.save()?)
    }

    fn make(&mut self, source: &SourceCollection, (db, name): (&str, &str), there: bool) -> Result<(), CarryError> {
        if let Err(error) = self.create(source, (db, name), there) {
            if error.is_final() {
                self.record.remove(source.id);
                self.record.save()?;
            }
            return Err(error);
        }
        self.record.change(source.id, |carried| {
            carried.made = true;
            carried.fields = field_names(&schema::for_target(&source.details.schema));
            carried.properties = source.details.properties.clone();
        });
        Ok(self.record.save()?)
    }

    /// Makes a collection that can hold the source's rows, or none. `there`: all but the last look has been done before.
    fn create(&mut self, source: &SourceCollection, (db, name): (&str, &str), there: bool) -> Result<(), CarryError> {
        let target = self.describe_target()?;
        let cannot_hold = |why: &dyn std::fmt::Display| {
            let object = format!("{}.{}", source.db, source.details.name);
            CarryError::Conflict(format!(
                "{target} cannot hold the collection {object} of the source: {why}; leave the collection out of the task, or \
                 choose a target that can hold it"
            ))
        };
        let mut details = source.details.clone();
        details.schema = schema::for_target(&source.details.schema);
        details.name = name.into();
        // One that is numbered otherwise than Milvus has to refuse by itself.
        let unsupported = self.target_version()?.milvus().and_then(|version| unsupported(&details.schema, version));
        if let Some(what) = unsupported {
            return Err(cannot_hold(&format!("its field {what}")));
        }
        let partition_key = schema::has_partition_key(&source.details.schema);
        let partitions = if partition_key { source.details.num_partitions } else { 0 };
        let create = || self.target.create_collection(db, &details, partitions, &self.context);
        match if there { Ok(()) } else { create() } {
            Ok(()) => {}
            Err(error) if is_refused(&error) => {
                let unusual = fits::unusual(&details.schema);
                let fields = if unusual.is_empty() { unusual } else { format!(" (its fields {unusual})") };
                return Err(cannot_hold(&format!("{error}{fields}")));
            }
            Err(error) => return Err(error.into()),
        }
        let made = self.target.describe_collection(db, name, &self.context)?;
        if let Some(loss) = fits::loss(&details.schema, &made.schema) {
            self.target.drop_collection(db, name, &self.context)?;
            return Err(cannot_hold(&format!("it does not keep {loss}")));
        }
        self.note(&format!("created the collection {db}.{name} on the target {}", self.target.address()));
        Ok(())
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
        let from = (carried.db.as_str(), carried.name.as_str());
        if self.find(from.0, from.1)?.is_some() && self.is_taken(db, name)? {
            return Err(CarryError::KeepsName(format!(
                "{db}.{name} is taken on the target {}: {}.{} keeps its name there until it is free",
                self.target.address(),
                from.0,
                from.1
            )));
        }
        self.block(id)?;
        match self.rename_now(id, from, (db, name)) {
            // Whether it was done in spite of the answer shows in the old name. Rows must not wait for what may be refused for long.
            Err(CarryError::Call(error)) if !error.is_silence() && self.find(from.0, from.1)?.is_some() => {
                self.tell(CatalogEvent::Unblock(id))?;
                return Err(CarryError::KeepsName(error.to_string()));
            }
            outcome => outcome?,
        }
        self.note(&format!("renamed {}.{} to {db}.{name} on the target {}", from.0, from.1, self.target.address()));
        self.record.change(id, |carried| {
            carried.db = db.into();
            carried.name = name.into();
        });
        Ok(self.record.save()?)
    }

    /// Whether a name is seen to be taken. One that may not be looked at is left to the rename to judge.
    fn is_taken(&self, db: &str, name: &str) -> Result<bool, CarryError> {
        match self.find(db, name) {
            Err(CarryError::Call(error)) if verdict(&error) == Verdict::Stop => Ok(false),
            outcome => Ok(outcome?.is_some()),
        }
    }

    fn rename_now(&mut self, id: CollectionId, from: (&str, &str), (db, name): (&str, &str)) -> Result<(), CarryError> {
        if from.0 != db {
            // A collection with aliases cannot change its database (seen on 2.3.5): they are carried again afterwards.
            self.drop_aliases(id)?;
        }
        match self.target.rename_collection(from, (db, name), &self.context) {
            Err(error) if error.kind == ErrorKind::Unimplemented => Err(CarryError::Conflict(format!(
                "{} cannot rename {}.{} to {db}.{name}, as the source has: drop it there, then delete the task and create it again",
                self.describe_target()?,
                from.0,
                from.1
            ))),
            // Renamed just before a crash.
            Err(error) if error.is_collection_missing() && self.find(db, name)?.is_some() => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// The source has dropped the collection: so does the target, if it is ours there.
    pub(super) fn drop_collection(&mut self, id: CollectionId) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(id).cloned() else { return Ok(()) };
        self.block(id)?;
        self.drop_aliases(id)?;
        if carried.adopted {
            self.note(&format!("{}.{} stays on the target: it was there before the task", carried.db, carried.name));
        } else {
            match self.target.drop_collection(&carried.db, &carried.name, &self.context) {
                Ok(()) => self.note(&format!(
                    "dropped {}.{} on the target {}",
                    carried.db,
                    carried.name,
                    self.target.address()
                )),
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
            Ok(()) => self.note(&format!("created the database {db} on the target {}", self.target.address())),
            Err(error) if error.is_already_there() => {}
            Err(error) if error.kind == ErrorKind::Unimplemented => {
                self.record.remove_database(db);
                self.record.save()?;
                return Err(CarryError::Conflict(format!(
                    "{} has no databases, so there is no {db}: map it to {DEFAULT_DATABASE} (name_mapping), or leave it out of \
                     the task",
                    self.describe_target()?
                )));
            }
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
                Ok(()) => self.note(&format!("dropped the database {db} on the target {}", self.target.address())),
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

/// The server has understood the wish and does not have what it takes. 2000 and above: its engine does not.
fn is_refused(error: &Error) -> bool {
    verdict(error) == Verdict::Stop || matches!(error.kind, ErrorKind::Server { code: 2000..=2099, .. })
}
