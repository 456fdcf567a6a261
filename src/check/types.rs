//! Field types, and since when Milvus has them.

use super::version::Version;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};

/// Types (`DataType` of Milvus) that came after 2.2, with the first version that takes them. One that is in neither list is not known here.
const SINCE: [(i32, &str, Version); 5] = [
    (22, "Array", Version::new(2, 3, 2)),
    (102, "Float16Vector", Version::new(2, 4, 0)),
    (103, "BFloat16Vector", Version::new(2, 4, 0)),
    (104, "SparseFloatVector", Version::new(2, 4, 0)),
    (105, "Int8Vector", Version::new(2, 6, 0)),
];
/// Types that every version in question has: numbers, strings, JSON, binary and float vectors.
const ALWAYS: [i32; 12] = [1, 2, 3, 4, 5, 10, 11, 20, 21, 23, 100, 101];

/// What of a schema a server of this version cannot hold, and what nobody here knows.
pub(super) fn missing(schema: &CollectionSchema, version: Version) -> Vec<String> {
    let of_field = |field: &FieldSchema| match SINCE.iter().find(|(number, ..)| *number == field.data_type) {
        Some((_, name, since)) => {
            (version < *since).then(|| format!("field {:?} is of type {name}, which came with {since}", field.name))
        }
        None if ALWAYS.contains(&field.data_type) => None,
        None => Some(format!("field {:?} is of type {}, which is not known here", field.name, field.data_type)),
    };
    schema.fields.iter().filter_map(of_field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_server_lacks() {
        let field = |name: &str, data_type| FieldSchema { name: name.into(), data_type, ..Default::default() };
        let fields = vec![field("id", 5), field("vec", 101), field("sparse", 104)];
        let mut schema = CollectionSchema { fields, ..Default::default() };
        let told = missing(&schema, Version::new(2, 3, 5));
        assert_eq!(told, [r#"field "sparse" is of type SparseFloatVector, which came with 2.4.0"#]);
        assert!(missing(&schema, Version::new(2, 5, 1)).is_empty());
        schema.fields.push(field("new", 999));
        assert!(missing(&schema, Version::new(9, 0, 0))[0].contains("not known here"));
    }
}
