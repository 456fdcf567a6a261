/*!
What stands for a row's contents: 64 bits that depend on the names and values of its fields and on nothing else. Not on the order of the
fields, nor on the parts that a column came in, nor on the formatting of JSON; a null is the same as no such field, and an
empty dynamic field the same as none.

Files keep digests: a change of what is computed here needs a new version of their format (`state`).
*/

use serde_json::Value;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Digest;
use super::column::{Contents, Kind, Layout, RowColumn, RowError};
use crate::milvus::rows::Column;
use crate::milvus::wire::{fields, number, numbers};

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

/// Adds what a column says of each row. A sum, so that the order of the columns does not count.
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
            (Some(Kind::JSON), _) => {
                if !canonical_json(value, column.is_dynamic, &mut scratch) {
                    continue;
                }
                &scratch
            }
            (Some(Kind::ARRAY), _) => {
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

/// The elements of an array row, whichever way they were packed.
fn canonical_array(row: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
    for part in fields(row) {
        let (kind, array) = part?;
        for item in fields(array) {
            let (_, bytes) = item?;
            match kind {
                1..=3 | 11 => {
                    for element in numbers(bytes) {
                        out.extend_from_slice(&element?.to_le_bytes());
                    }
                }
                4 | 5 => out.extend_from_slice(bytes),
                _ => {
                    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                    out.extend_from_slice(bytes);
                }
            }
        }
    }
    Ok(())
}

/// JSON without white space and with its keys in order. False when it says nothing: an empty dynamic field.
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
