//! Decides which columns belong to known fields. Fields are added to a collection (Milvus 2.6) and dropped (Milvus 3)
//! while rows are written.

use std::collections::BTreeSet;

use super::error::ColumnError;
use super::{field, name_of};
use crate::domain::Column;
use crate::milvus::pb::schema::CollectionSchema;
use crate::milvus::wire::{fields, number};

/// The fields that a collection has at the source and on the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFields {
    names: BTreeSet<String>,
    /// The highest field id. Ids only grow, so an unknown field with a lower id existed once and was dropped.
    newest: i64,
    dynamic: DynamicField,
}

/// Whether rows may have fields that the schema does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum DynamicField {
    /// They are in the column [`DYNAMIC`].
    #[default]
    On,
    /// That column is unknown: the source may have switched them on since (Milvus 2.6).
    Off,
}

/// The name of the column that holds the dynamic fields.
const DYNAMIC: &str = "$meta";

/// What is known about the field of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// The field exists: the column is written.
    Known,
    /// The source has dropped the field since.
    Gone,
    /// The field may have been added since.
    Unknown,
}

impl KnownFields {
    /// The fields of a schema.
    pub fn of(schema: &CollectionSchema) -> KnownFields {
        let members = schema.struct_array_fields.iter().flat_map(|list| &list.fields);
        let numbers = schema.fields.iter().chain(members).map(|field| field.fieldID);
        let lists = schema.struct_array_fields.iter().map(|list| list.fieldID);
        let names = field_names(schema);
        let dynamic = if schema.enable_dynamic_field { DynamicField::On } else { DynamicField::Off };
        KnownFields { names, newest: numbers.chain(lists).max().unwrap_or(0), dynamic }
    }

    /// Fields of these names.
    #[cfg(test)]
    pub fn named(names: &[&str]) -> KnownFields {
        KnownFields { names: names.iter().map(|&name| name.to_owned()).collect(), ..KnownFields::default() }
    }

    /// The name of the first column whose field may have been added since the schema was read.
    ///
    /// # Errors
    /// A column is damaged.
    pub fn unknown(&self, columns: &[Column]) -> Result<Option<String>, ColumnError> {
        for column in columns {
            if self.standing(column)? == Standing::Unknown {
                return Ok(Some(String::from_utf8_lossy(name_of(column)?).into_owned()));
            }
        }
        Ok(None)
    }

    /// The columns without those of dropped fields, whose values are gone at the source, too.
    ///
    /// # Errors
    /// A column is damaged.
    pub fn without_gone(&self, columns: Vec<Column>) -> Result<Vec<Column>, ColumnError> {
        let mut kept = Vec::with_capacity(columns.len());
        for column in columns {
            if self.standing(&column)? != Standing::Gone {
                kept.push(column);
            }
        }
        Ok(kept)
    }

    fn standing(&self, column: &Column) -> Result<Standing, ColumnError> {
        let name = String::from_utf8_lossy(name_of(column)?);
        // Members of a list of records are named `list[member]`.
        let name = name.split_once('[').map_or(&*name, |(list, _)| list);
        if name == DYNAMIC && self.dynamic == DynamicField::Off {
            return Ok(Standing::Unknown);
        }
        // System columns; users cannot choose such names.
        let is_own = name.is_empty() || name.starts_with('$');
        if is_own || self.names.contains(name) {
            return Ok(Standing::Known);
        }
        let number = field_number(column)?;
        Ok(if number > 0 && number < self.newest { Standing::Gone } else { Standing::Unknown })
    }
}

/// The names of a schema's fields, lists of records included, the dynamic field (`$meta`) excluded.
pub fn field_names(schema: &CollectionSchema) -> BTreeSet<String> {
    let lists = schema.struct_array_fields.iter().map(|list| list.name.clone());
    schema.fields.iter().filter(|field| !field.is_dynamic).map(|field| field.name.clone()).chain(lists).collect()
}

/// The id of a column's field; 0 if the column has none.
fn field_number(column: &Column) -> Result<i64, ColumnError> {
    for part in column.parts().iter().flat_map(|part| fields(part)) {
        let (found, bytes) = part?;
        if found == field::ID {
            return Ok(number(bytes)? as i64);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use protobuf::Message;

    use super::*;
    use crate::milvus::pb::schema::{FieldData, FieldSchema, StructArrayFieldSchema};

    fn column(field_name: &str, field_id: i64) -> Column {
        FieldData { field_name: field_name.into(), field_id, ..FieldData::default() }.write_to_bytes().unwrap().into()
    }

    #[test]
    fn columns_that_come_and_go() {
        let field = |name: &str, number| FieldSchema { name: name.into(), fieldID: number, ..FieldSchema::default() };
        let list = StructArrayFieldSchema { name: "list".into(), fieldID: 103, ..StructArrayFieldSchema::default() };
        let schema = CollectionSchema {
            fields: vec![field("id", 100), field("vec", 102), field("late", 106)],
            struct_array_fields: vec![list],
            enable_dynamic_field: true,
            ..CollectionSchema::default()
        };
        let known = KnownFields::of(&schema);
        let there = vec![column("id", 100), column("vec", 102), column("list[member]", 104), column("$meta", 105)];
        assert_eq!(known.unknown(&there).unwrap(), None);
        assert_eq!(known.without_gone(there.clone()).unwrap(), there);
        let with = |more: Column| there.iter().cloned().chain([more]).collect::<Vec<Column>>();
        // Its id is below that of an existing field: it was dropped.
        let dropped = with(column("old", 101));
        assert_eq!(known.unknown(&dropped).unwrap(), None);
        assert_eq!(known.without_gone(dropped).unwrap(), there);
        let added = with(column("new", 107));
        assert_eq!(known.unknown(&added).unwrap().as_deref(), Some("new"));
        assert_eq!(known.without_gone(added.clone()).unwrap(), added);
        let unnumbered = with(column("odd", 0));
        assert_eq!(known.unknown(&unnumbered).unwrap().as_deref(), Some("odd"));
        assert!(known.unknown(&[vec![0xff].into()]).is_err());
        let without = KnownFields::of(&CollectionSchema { enable_dynamic_field: false, ..schema });
        assert_eq!(without.unknown(&there).unwrap().as_deref(), Some("$meta"), "it may have been switched on since");
    }
}
