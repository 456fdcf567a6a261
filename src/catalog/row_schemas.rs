/*!
What is needed to write the rows of a collection, kept on disk: the source may be gone for good while its log is still
there, in a folder or at a broker, and then nobody else can tell what its rows look like.

One file per collection, `schemas/<id>.json`, so that a change of one among thousands writes one small file.

The crash argument: a file is written *before* the task is told of the description in it. So whatever of a collection
was ever applied was applied by a description that is on disk, or by an older one. A crash in between leaves a
description that is newer than what was applied, which is the source's own. A file that is left of a collection that is
gone means nothing: only collections that the checkpoint and the catalog's record know are read from here.
*/

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use protobuf::Message as _;
use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use super::event::ReadyCollection;
use super::schema;
use crate::domain::{Channel, CollectionId, CollectionName, PartitionId, Timestamp};
use crate::milvus::field_data::{KnownFields, Shape};
use crate::milvus::pb::schema::CollectionSchema;
use crate::pipeline::{Replacement, WritableCollection};
use crate::storage::disk;
use crate::storage::sealed_file::{self, SealedError};

const FORMAT: &str = "milvus-cdc schema";
const VERSION: u32 = 1;
const FOLDER: &str = "schemas";

/// What a collection's rows look like, and where they go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RowSchema {
    /// Database and name at the source.
    pub(super) source: CollectionName,
    /// Database and name on the target.
    pub(super) target: CollectionName,
    /// Its id on the target; 0 when it is not known.
    pub(super) target_id: i64,
    /// It was on the target before the task.
    pub(super) adopted: bool,
    /// The target generates keys where a row brings none.
    pub(super) generated_keys: bool,
    /// When it was created at the source.
    pub(super) created: Timestamp,
    /// The source's schema.
    pub(super) schema: CollectionSchema,
    /// Partitions of the source, by name.
    pub(super) partitions: BTreeMap<String, i64>,
    /// All rows go to the target's default partition.
    pub(super) ignore_partitions: bool,
    /// How long the source keeps a row.
    pub(super) ttl: Option<Duration>,
    /// The physical channels that bring its rows.
    pub(super) channels: Vec<Channel>,
}

impl RowSchema {
    /// For the task. `begins`: the source's start positions, of use to a collection that has not joined yet.
    pub(super) fn ready(
        &self,
        id: CollectionId,
        generation: u64,
        begins: BTreeMap<Channel, Vec<u8>>,
    ) -> Result<ReadyCollection, CatalogError> {
        let Some(key) = schema::key_field(&self.schema) else {
            return Err(CatalogError::Conflict(format!("the collection {} has no primary key", self.source)));
        };
        let by_key = schema::has_partition_key(&self.schema);
        // Rows of a partition that a key decides about are never passed over: it cannot be dropped.
        let known = self.partitions.iter().filter(|_| !by_key);
        let partitions: HashMap<_, _> = known.map(|(name, &id)| (PartitionId(id), name.clone())).collect();
        let info = WritableCollection {
            id,
            target_id: CollectionId(self.target_id),
            db: self.target.db.clone(),
            name: self.target.name.clone(),
            key,
            unnamed_partitions: self.ignore_partitions || by_key || partitions.is_empty(),
            partitions,
            mergeable: schema::is_mergeable(&self.schema),
            fields: KnownFields::of(&self.schema),
            shape: Shape::of(&self.schema),
            replacement: match self.generated_keys {
                true => Replacement::DeleteAndInsert,
                false => Replacement::Upsert,
            },
            ttl: self.ttl,
            upsert_until: Default::default(),
            generation,
        };
        Ok(ReadyCollection {
            info,
            source: self.source.clone(),
            channels: self.channels.clone(),
            begins,
            created: self.created,
            adopted: self.adopted,
        })
    }
}

/// The persisted form of a [`RowSchema`].
#[derive(Debug, Serialize, Deserialize)]
struct StoredSchema {
    source: (String, String),
    target: (String, String),
    target_id: i64,
    adopted: bool,
    generated_keys: bool,
    created: u64,
    /// The protobuf message, base64.
    schema: String,
    partitions: BTreeMap<String, i64>,
    ignore_partitions: bool,
    ttl_s: Option<u64>,
    channels: Vec<String>,
}

impl From<&RowSchema> for StoredSchema {
    fn from(rows: &RowSchema) -> Self {
        let pair = |name: &CollectionName| (name.db.clone(), name.name.clone());
        StoredSchema {
            source: pair(&rows.source),
            target: pair(&rows.target),
            target_id: rows.target_id,
            adopted: rows.adopted,
            generated_keys: rows.generated_keys,
            created: rows.created.0,
            // Encoding into memory cannot fail but for a missing required field, and proto3 has none.
            schema: STANDARD.encode(rows.schema.write_to_bytes().unwrap_or_default()),
            partitions: rows.partitions.clone(),
            ignore_partitions: rows.ignore_partitions,
            ttl_s: rows.ttl.map(|ttl| ttl.as_secs()),
            channels: rows.channels.iter().map(ToString::to_string).collect(),
        }
    }
}

impl StoredSchema {
    /// `None`: the schema in it is no schema.
    fn decoded(self) -> Option<RowSchema> {
        let bytes = STANDARD.decode(&self.schema).ok()?;
        Some(RowSchema {
            source: CollectionName::new(self.source.0, self.source.1),
            target: CollectionName::new(self.target.0, self.target.1),
            target_id: self.target_id,
            adopted: self.adopted,
            generated_keys: self.generated_keys,
            created: Timestamp(self.created),
            schema: CollectionSchema::parse_from_bytes(&bytes).ok()?,
            partitions: self.partitions,
            ignore_partitions: self.ignore_partitions,
            ttl: self.ttl_s.map(Duration::from_secs),
            channels: self.channels.iter().map(|name| Channel::new(name)).collect(),
        })
    }
}

/// The files of a task.
#[derive(Debug)]
pub(super) struct RowSchemas {
    folder: PathBuf,
    /// As they are on disk, of those that were looked at; `None`: what a failed write has left.
    on_disk: Mutex<BTreeMap<i64, Option<RowSchema>>>,
}

impl RowSchemas {
    /// Those of the task with this folder.
    pub(super) fn of(task_folder: &Path) -> RowSchemas {
        RowSchemas { folder: task_folder.join(FOLDER), on_disk: Mutex::default() }
    }

    fn path(&self, id: CollectionId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// Reads what is known of a collection; `None` when an earlier version has followed it, which kept nothing.
    ///
    /// # Errors
    /// The file is there and cannot be used.
    pub(super) fn load(&self, id: CollectionId) -> Result<Option<RowSchema>, SealedError> {
        let path = self.path(id);
        let Some(stored) = sealed_file::load::<StoredSchema>(&path, FORMAT, VERSION)? else { return Ok(None) };
        let damaged = || SealedError::Damaged { path, what: "the schema in it cannot be decoded".into() };
        stored.decoded().map(Some).ok_or_else(damaged)
    }

    /// Writes what is known of a collection, unless the file says so already.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn save(&self, id: CollectionId, rows: &RowSchema) -> Result<(), SealedError> {
        let mut on_disk = self.on_disk.lock();
        // One that is damaged is written again.
        let known = on_disk.entry(id.0).or_insert_with(|| self.load(id).ok().flatten());
        if known.as_ref() == Some(rows) {
            return Ok(());
        }
        *known = None;
        let unwritable = |source| SealedError::Io { path: self.path(id), action: "written", source };
        disk::create_folders(&self.folder).map_err(unwritable)?;
        sealed_file::save(&self.path(id), FORMAT, VERSION, &StoredSchema::from(rows))?;
        *known = Some(rows.clone());
        Ok(())
    }

    /// The collection is the task's no more. What cannot be removed is left, and means nothing.
    pub(super) fn forget(&self, id: CollectionId) {
        self.on_disk.lock().remove(&id.0);
        if let Err(error) = disk::remove(&self.path(id)) {
            log::debug!("{}: {error}", self.path(id).display());
        }
    }
}

/// What is known of a collection in a task's folder, for whoever writes its rows while the task does not run; `None`
/// when nothing is.
///
/// # Errors
/// The file is there and cannot be used.
pub fn stored_collection(task_folder: &Path, id: CollectionId) -> Result<Option<ReadyCollection>, SealedError> {
    let Some(rows) = RowSchemas::of(task_folder).load(id)? else { return Ok(None) };
    // What cannot be written was never followed.
    Ok(rows.ready(id, 0, BTreeMap::new()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failpoint::walk::{AfterFailure, Store, survives_every_death, survives_every_error};
    use crate::milvus::pb::schema::FieldSchema;

    const ID: CollectionId = CollectionId(7);

    fn rows(partition: &str) -> RowSchema {
        let key = FieldSchema { name: "id".into(), fieldID: 100, is_primary_key: true, data_type: 5, ..<_>::default() };
        RowSchema {
            source: CollectionName::new("d", "a"),
            target: CollectionName::new("e", "b"),
            target_id: 9,
            adopted: true,
            generated_keys: true,
            created: Timestamp(5),
            schema: CollectionSchema { name: "a".into(), fields: vec![key], ..CollectionSchema::default() },
            partitions: [(partition.to_owned(), 3)].into(),
            ignore_partitions: false,
            ttl: Some(Duration::from_secs(60)),
            channels: vec![Channel::new("dml_0")],
        }
    }

    #[test]
    fn what_is_read_again_is_what_the_task_was_told() {
        let folder = tempfile::tempdir().unwrap();
        RowSchemas::of(folder.path()).save(ID, &rows("p")).unwrap();
        let found = RowSchemas::of(folder.path()).load(ID).unwrap().unwrap();
        assert_eq!(found, rows("p"));
        let (told, again) = (rows("p").ready(ID, 4, <_>::default()), found.ready(ID, 4, <_>::default()));
        let (told, again) = (told.unwrap(), again.unwrap());
        assert_eq!(told.info, again.info);
        assert_eq!((told.source, told.channels, told.created), (again.source, again.channels, again.created));
        assert_eq!(again.info.partitions.get(&PartitionId(3)).map(String::as_str), Some("p"));
    }

    #[test]
    fn a_damaged_file_is_refused_and_written_again_by_the_next_description() {
        let folder = tempfile::tempdir().unwrap();
        let schemas = RowSchemas::of(folder.path());
        schemas.save(ID, &rows("p")).unwrap();
        std::fs::write(schemas.path(ID), "x").unwrap();
        let schemas = RowSchemas::of(folder.path());
        schemas.load(ID).unwrap_err();
        schemas.save(ID, &rows("p")).unwrap();
        assert_eq!(schemas.load(ID).unwrap(), Some(rows("p")));
        schemas.forget(ID);
        assert_eq!(schemas.load(ID).unwrap(), None);
        schemas.forget(ID);
        schemas.save(ID, &rows("p")).unwrap();
        assert_eq!(schemas.load(ID).unwrap(), Some(rows("p")), "it is written though nothing has changed");
    }

    #[test]
    fn a_file_of_this_version_stays_readable() {
        let folder = tempfile::tempdir().unwrap();
        let schemas = RowSchemas::of(folder.path());
        schemas.save(ID, &rows("p")).unwrap();
        assert_eq!(
            std::fs::read_to_string(schemas.path(ID)).unwrap().lines().nth(1).unwrap(),
            concat!(
                r#"{"source":["d","a"],"target":["e","b"],"target_id":9,"adopted":true,"generated_keys":true,"#,
                r#""created":5,"#,
                r#""schema":"CgFhIgoIZBICaWQYASgF","partitions":{"p":3},"ignore_partitions":false,"ttl_s":60,"#,
                r#""channels":["dml_0"]}"#
            )
        );
    }

    /// The partition's name of the description that is kept.
    struct Kept {
        schemas: RowSchemas,
        partition: Option<String>,
    }

    impl Store for Kept {
        type State = Option<String>;

        fn open(folder: &Path) -> Kept {
            let schemas = RowSchemas::of(folder);
            let found = schemas.load(ID).unwrap();
            Kept { schemas, partition: found.and_then(|rows| rows.partitions.into_keys().next()) }
        }

        fn state(&self) -> Option<String> {
            self.partition.clone()
        }

        fn change(&mut self, to: &Option<String>) -> Result<(), String> {
            let Some(partition) = to else { return Ok(()) };
            self.schemas.save(ID, &rows(partition)).map_err(|error| error.to_string())?;
            self.partition.clone_from(to);
            Ok(())
        }
    }

    #[test]
    fn a_death_at_any_step_leaves_one_of_two_descriptions() {
        survives_every_death::<Kept>(&["p", "q", "r"].map(|name| Some(name.to_owned())));
    }

    #[test]
    fn a_description_that_cannot_be_written_is_written_by_the_next_try() {
        let [old, new] = ["p", "q"].map(|name| Some(name.to_owned()));
        survives_every_error::<Kept>([&old, &new], "schemas/7.json", AfterFailure::OldOrNew);
    }
}
