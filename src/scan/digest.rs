/*!
Digests of rows: 64 bits that depend on the names and values of a row's fields alone. The order of the fields, the parts
of a column and the formatting of JSON do not matter; a null equals an absent field, and an empty dynamic field equals
none.

Digest files store digests: a change of this computation needs a new version of their format (`digest_file`).
*/

use serde_json::Value;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::column::{Contents, RowColumn, RowError};
use super::value_kind::{Layout, ValueKind};
use crate::domain::Column;
use crate::milvus::wire::{fields, number, numbers};

/// Stands for the contents of a row. Two rows with the same digest are taken as equal; two different rows have the
/// same one once in 10^19 pairs.
pub type Digest = u64;

/// The dynamic field's name, whatever a server calls it.
const DYNAMIC: &str = "$meta";

/// The digests of `rows` rows, in their order.
///
/// # Errors
/// A column is damaged.
pub fn digest(columns: &[Column], rows: usize) -> Result<Vec<Digest>, RowError> {
    let mut digests = vec![0; rows];
    for column in columns {
        add(&RowColumn::read(column, rows)?, "", &mut digests)?;
    }
    Ok(digests)
}

/// Adds the contribution of a column to each row. A sum, so that the order of the columns does not matter.
fn add(column: &RowColumn<'_>, prefix: &str, digests: &mut [Digest]) -> Result<(), RowError> {
    let name = if column.is_dynamic { DYNAMIC } else { &column.name };
    let (kind, layout, values) = match &column.contents {
        Contents::Values { kind, layout, values, .. } => (*kind, *layout, values),
        Contents::Structs(columns) => {
            let prefix = format!("{prefix}{name}.");
            return columns.iter().try_for_each(|column| add(column, &prefix, digests));
        }
    };
    let seed = xxh3_64(format!("{prefix}{name}").as_bytes());
    let mut scratch = Vec::new();
    let each = column.each(values, digests.len());
    for (digest, value) in digests.iter_mut().zip(each) {
        let Some(value) = value else { continue };
        scratch.clear();
        let bytes: &[u8] = match (kind, layout) {
            (Some(ValueKind::JSON), _) => {
                if !canonical_json(value, column.is_dynamic, &mut scratch) {
                    continue;
                }
                &scratch
            }
            (Some(ValueKind::ARRAY), _) => {
                canonical_array(value, &mut scratch)?;
                &scratch
            }
            (_, Layout::Varints) => {
                scratch.extend_from_slice(&number(value)?.to_le_bytes());
                &scratch
            }
            _ => value,
        };
        *digest = digest.wrapping_add(xxh3_64_with_seed(bytes, seed));
    }
    Ok(())
}

/// The elements of an array, whether packed or not.
fn canonical_array(row: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
    for part in fields(row) {
        let (kind, array) = part?;
        for item in fields(array) {
            let (_, bytes) = item?;
            match ValueKind::Scalars(kind).layout(0) {
                Layout::Varints => {
                    for element in numbers(bytes) {
                        out.extend_from_slice(&element?.to_le_bytes());
                    }
                }
                Layout::Fixed(_) => out.extend_from_slice(bytes),
                Layout::Delimited => {
                    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                    out.extend_from_slice(bytes);
                }
            }
        }
    }
    Ok(())
}

/// JSON without white space and with sorted keys. Returns false for an empty dynamic field, which contributes nothing.
fn canonical_json(text: &[u8], is_dynamic: bool, out: &mut Vec<u8>) -> bool {
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Object(object)) if is_dynamic && object.is_empty() => return false,
        Ok(Value::Null) if is_dynamic => return false,
        Ok(value) => write_json(&value, out),
        Err(_) => out.extend_from_slice(text),
    }
    !(is_dynamic && out.is_empty())
}

fn write_json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            out.push(b'{');
            for (key, value) in entries {
                out.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
                out.push(b':');
                write_json(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write_json(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        plain => out.extend_from_slice(plain.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests;
