//! Fields that a collection gets (Milvus 2.6) or loses (Milvus 3) after it was carried over.

use super::capability::unsupported;
use super::carry::{Carrier, CarryError};
use super::look::SourceCollection;
use super::schema;
use crate::milvus::ErrorKind;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};
use crate::pipeline::columns::field_names;
use crate::target::{Verdict, verdict};

impl Carrier {
    /// Adds the fields that the source has got since, before rows that have values for them are told to be ready.
    pub(super) fn carry_fields(&mut self, source: &SourceCollection) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(source.id).cloned() else { return Ok(()) };
        let wanted = schema::for_target(&source.details.schema);
        let names = field_names(&wanted);
        if carried.fields == names {
            return Ok(());
        }
        let object = format!("{}.{}", carried.db, carried.name);
        let there = self.target.describe_collection(&carried.db, &carried.name, &self.context)?;
        let there = field_names(&there.schema);
        let missing: Vec<&FieldSchema> = wanted.fields.iter().filter(|field| !there.contains(&field.name)).collect();
        if let Some(list) = wanted.struct_array_fields.iter().find(|list| !there.contains(&list.name)) {
            let why = format!("a list of records, {:?}, cannot be added to a collection that is there", list.name);
            return Err(self.cannot_add(&object, &why)?);
        }
        if !missing.is_empty() {
            self.can_add(&object, &missing)?;
            self.block(source.id)?;
        }
        for field in missing {
            self.add_field((&carried.db, &carried.name), field)?;
        }
        for dropped in carried.fields.difference(&names) {
            self.skip(
                "dropped field",
                &format!("{dropped:?} of {object}"),
                &"it stays on the target, empty in new rows",
            )?;
        }
        self.record.change(source.id, |carried| carried.fields = names);
        Ok(self.record.save()?)
    }

    /// An older Milvus leaves out what it does not know, without a word.
    fn can_add(&mut self, object: &str, fields: &[&FieldSchema]) -> Result<(), CarryError> {
        let fields = fields.iter().map(|&field| field.clone()).collect();
        let schema = CollectionSchema { fields, ..CollectionSchema::default() };
        let version = self.target_version()?.milvus();
        match version.and_then(|version| unsupported(&schema, version)) {
            Some(what) => Err(self.cannot_add(object, &format!("its field {what}"))?),
            None => Ok(()),
        }
    }

    fn add_field(&mut self, (db, name): (&str, &str), field: &FieldSchema) -> Result<(), CarryError> {
        let object = format!("{db}.{name}");
        match self.target.add_field(db, name, field, &self.context) {
            Ok(()) => self.note(&format!("added the field {} to {object}", field.name)),
            Err(error) if error.kind == ErrorKind::Unimplemented => {
                let why = format!("it cannot add the field {:?}, which Milvus can since 2.6.0", field.name);
                return Err(self.cannot_add(&object, &why)?);
            }
            Err(error) if verdict(&error) == Verdict::Stop => {
                return Err(self.cannot_add(&object, &format!("field {:?}: {error}", field.name))?);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn cannot_add(&mut self, object: &str, why: &str) -> Result<CarryError, CarryError> {
        let target = self.describe_target()?;
        Ok(CarryError::Conflict(format!(
            "{target} cannot hold what the source has added to {object}: {why}; leave the collection out of the task, or choose a \
             target that can hold it"
        )))
    }
}
