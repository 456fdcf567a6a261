//! Which columns of a collection's rows it has fields for. Fields come to a collection (Milvus 2.6) and go (Milvus 3) while rows are written.

use std::collections::BTreeSet;

use super::{ColumnError, field, name_of};
use crate::milvus::pb::schema::CollectionSchema;
use crate::milvus::rows::Column;
use crate::milvus::wire::{fields, number};

/// The fields that a collection has at the source and on the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFields {
    names: BTreeSet<String>,
    /// The highest number of a field: numbers only grow, so a field that is not known and has a lower one was there once.
    newest: i64,
}

/// What becomes of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It is written.
    Known,
    /// The source has dropped its field since.
    Gone,
    /// Perhaps its field has come since.
    Unknown,
}

impl KnownFields {
    /// The fields of this schema.
    pub fn of(schema: &CollectionSchema) -> KnownFields {
        let members = schema.struct_array_fields.iter().flat_map(|list| &list.fields);
        let numbers = schema.fields.iter().chain(members).map(|field| field.fieldID);
        let lists = schema.struct_array_fields.iter().map(|list| list.fieldID);
        KnownFields { names: field_names(schema), newest: numbers.chain(lists).max().unwrap_or(0) }
    }

    /// Fields of these names.
    #[cfg(test)]
    pub fn named(names: &[&str]) -> KnownFields {
        KnownFields { names: names.iter().map(|&name| name.to_owned()).collect(), newest: 0 }
    }

    /// The name of the first column that it may have got a field for since it was looked at.
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

    /// The columns without those whose fields are gone: so are their values at the source.
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
        // A member of a list of records is named after it: `list[member]`.
        let name = name.split_once('[').map_or(&*name, |(list, _)| list);
        // The server's own columns, of which `$meta` holds what fits no field; users cannot name a field so.
        let is_own = name.is_empty() || name.starts_with('$');
        if is_own || self.names.contains(name) {
            return Ok(Standing::Known);
        }
        let number = field_number(column)?;
        Ok(if number > 0 && number < self.newest { Standing::Gone } else { Standing::Unknown })
    }
}

/// The names of a schema's fields, lists of records included. What fits no field (`$meta`) is none.
pub fn field_names(schema: &CollectionSchema) -> BTreeSet<String> {
    let lists = schema.struct_array_fields.iter().map(|list| list.name.clone());
    schema.fields.iter().filter(|field| !field.is_dynamic).map(|field| field.name.clone()).chain(lists).collect()
}

/// The number of a column's field; 0 when it does not say.
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
            ..CollectionSchema::default()
        };
        let known = KnownFields::of(&schema);
        let there = vec![column("id", 100), column("vec", 102), column("list[member]", 104), column("$meta", 105)];
        assert_eq!(known.unknown(&there).unwrap(), None);
        assert_eq!(known.without_gone(there.clone()).unwrap(), there);
        let with = |more: Column| there.iter().cloned().chain([more]).collect::<Vec<Column>>();
        // Its number is below that of a field that is there: it was there before.
        let dropped = with(column("old", 101));
        assert_eq!(known.unknown(&dropped).unwrap(), None);
        assert_eq!(known.without_gone(dropped).unwrap(), there);
        let added = with(column("new", 107));
        assert_eq!(known.unknown(&added).unwrap().as_deref(), Some("new"));
        assert_eq!(known.without_gone(added.clone()).unwrap(), added);
        let unnumbered = with(column("odd", 0));
        assert_eq!(known.unknown(&unnumbered).unwrap().as_deref(), Some("odd"));
        assert!(known.unknown(&[vec![0xff].into()]).is_err());
    }
}
