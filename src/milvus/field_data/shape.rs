/*!
Converts columns from the form in a log to the form that clients write, where the two differ (Milvus 2.5 and later).
Most fields have one form; collections without other fields pass through unchanged.

| field | in the log (and in what a query answers) | as users write it |
|---|---|---|
| nullable | values for all rows, fillers where null | values of the rows that are not null, `valid_data` for all |
| geometry | well-known binary | well-known text |
| timestamptz | microseconds since 1970 | ISO 8601 text |
| list of records | a column per member, `struct[member]` | one column with its members inside |
| computed by a function | a column, for some functions | none: the server computes it |
*/

use std::collections::{BTreeMap, BTreeSet};

use protobuf::Message;

use super::decode::decode;
use super::error::ColumnError;
use super::pick::{is_compact, pick_scalars, pick_vectors};
use super::{geometry, name_of, timestamp};
use crate::domain::Column;
use crate::milvus::data_type::DataType;
use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data as Scalars;
use crate::milvus::pb::schema::{CollectionSchema, FieldData, StringArray, StructArrayField};

/// The fields of a collection whose columns must be converted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    nullable: BTreeSet<String>,
    /// Geometry, timestamptz, molecules.
    texts: BTreeSet<String>,
    structs: BTreeSet<String>,
    computed: BTreeSet<String>,
}

impl Shape {
    /// The fields of a schema whose columns must be converted.
    pub fn of(schema: &CollectionSchema) -> Shape {
        let mut shape = Shape::default();
        for field in &schema.fields {
            if field.is_function_output {
                shape.computed.insert(field.name.clone());
                continue;
            }
            if field.nullable {
                shape.nullable.insert(field.name.clone());
            }
            let data_type = DataType::of(field.data_type);
            if matches!(data_type, DataType::Geometry | DataType::Timestamptz | DataType::Molecule) {
                shape.texts.insert(field.name.clone());
            }
        }
        shape.structs = schema.struct_array_fields.iter().map(|field| field.name.clone()).collect();
        shape
    }

    /// Whether no column needs conversion.
    pub fn is_plain(&self) -> bool {
        *self == Shape::default()
    }

    /// The columns in the form that clients write; those that have it already are unchanged.
    ///
    /// # Errors
    /// A column is damaged, or a value cannot be converted.
    pub fn written(&self, columns: Vec<Column>, rows: usize) -> Result<Vec<Column>, ColumnError> {
        if self.is_plain() {
            return Ok(columns);
        }
        let mut written = Vec::with_capacity(columns.len());
        let mut structs: BTreeMap<String, StructArrayField> = BTreeMap::new();
        for column in columns {
            let name = String::from_utf8_lossy(name_of(&column)?).into_owned();
            if self.computed.contains(&name) {
                continue;
            }
            if let Some((list, member)) = self.member(&name) {
                let mut data = decode(&column)?;
                data.field_name = member.to_owned();
                structs.entry(list.to_owned()).or_default().fields.push(data);
            } else if self.nullable.contains(&name) || self.texts.contains(&name) {
                written
                    .push(rewritten(decode(&column)?, self.nullable.contains(&name), rows)?.write_to_bytes()?.into());
            } else {
                written.push(column);
            }
        }
        for (field_name, members) in structs {
            let field = Some(Field::StructArrays(members));
            let list = FieldData { type_: DataType::ArrayOfStruct.code(), field_name, field, ..FieldData::default() };
            written.push(list.write_to_bytes()?.into());
        }
        Ok(written)
    }

    /// The list of records and the member that a column's name refers to.
    fn member<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str)> {
        let (list, member) = name.strip_suffix(']')?.split_once('[')?;
        self.structs.contains(list).then_some((list, member))
    }
}

fn rewritten(mut data: FieldData, nullable: bool, rows: usize) -> Result<FieldData, ColumnError> {
    if nullable {
        compact(&mut data, rows)?;
    }
    let name = data.field_name.clone();
    if let Some(Field::Scalars(scalars)) = &mut data.field {
        let unwritable = |why: String| ColumnError::Unwritable(name.clone(), why);
        let texts: Option<Vec<String>> = match &scalars.data {
            Some(Scalars::GeometryData(shapes)) => {
                let texts: Result<_, _> = shapes.data.iter().map(|shape| geometry::to_text(shape)).collect();
                Some(texts.map_err(unwritable)?)
            }
            Some(Scalars::TimestamptzData(times)) => {
                Some(times.data.iter().map(|&time| timestamp::to_text(time)).collect())
            }
            Some(Scalars::MolData(_)) => {
                return Err(unwritable(
                    "the log stores molecules in a form that only the source itself can read".into(),
                ));
            }
            _ => None,
        };
        let array = |data| StringArray { data, ..StringArray::default() };
        match (&scalars.data, texts) {
            (Some(Scalars::GeometryData(_)), Some(texts)) => {
                scalars.data = Some(Scalars::GeometryWktData(array(texts)))
            }
            (_, Some(texts)) => scalars.data = Some(Scalars::StringData(array(texts))),
            (_, None) => {}
        }
    }
    Ok(data)
}

/// Leaves the values of the rows that are not null, and says of every row whether it is. Two such columns may be put
/// one behind the other.
fn compact(data: &mut FieldData, rows: usize) -> Result<(), ColumnError> {
    let opaque = || ColumnError::Opaque(data.field_name.clone());
    if data.valid_data.is_empty() {
        data.valid_data = vec![true; rows];
        return Ok(());
    }
    let there: Vec<usize> =
        data.valid_data.iter().enumerate().filter(|(_, valid)| **valid).map(|(index, _)| index).collect();
    if data.field.is_none() || is_compact(data, there.len()).ok_or_else(opaque)? {
        return Ok(());
    }
    let all = data.valid_data.len();
    let kept = match data.field.as_ref() {
        Some(Field::Scalars(scalars)) => pick_scalars(scalars, &there).map(Field::Scalars),
        Some(Field::Vectors(vectors)) => pick_vectors(vectors, all, &there).map(Field::Vectors),
        Some(Field::StructArrays(_)) | None => None,
    };
    data.field = Some(kept.ok_or_else(opaque)?);
    Ok(())
}
