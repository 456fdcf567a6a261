/*!
What a server of some version can hold. An older Milvus does not refuse what it does not know: it makes another collection than
it was asked for (2.3.5 leaves `nullable` out in silence). So it is not asked.
*/

use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};
use crate::milvus::version::Version;

/// The first field that a server of this version cannot hold, with what it is and the version that can.
pub(super) fn unsupported(schema: &CollectionSchema, version: Version) -> Option<String> {
    let mut needs: Vec<(&str, &str, Version)> = Vec::new();
    for field in &schema.fields {
        needs.extend(field_needs(field).map(|(what, since)| (&*field.name, what, since)));
    }
    let vectors = schema.fields.iter().filter(|field| is_vector(field.data_type));
    needs.extend(vectors.skip(1).map(|field| (&*field.name, "a second vector", Version::new(2, 4, 0))));
    for list in &schema.struct_array_fields {
        needs.push((&list.name, "a list of records", Version::new(2, 6, 4)));
    }
    for function in &schema.functions {
        needs.push((&function.name, "a function", Version::new(2, 5, 0)));
    }
    let (name, what, since) = needs.into_iter().find(|(_, _, since)| version < *since)?;
    Some(format!("{name:?} is {what}, which Milvus has since {since}"))
}

/// Whether rows of this type are vectors.
pub(super) fn is_vector(data_type: i32) -> bool {
    (100..200).contains(&data_type)
}

fn field_needs(field: &FieldSchema) -> impl Iterator<Item = (&'static str, Version)> {
    let of_type = match field.data_type {
        102 => Some(("a float16 vector", Version::new(2, 4, 0))),
        103 => Some(("a bfloat16 vector", Version::new(2, 4, 0))),
        104 => Some(("a sparse vector", Version::new(2, 4, 0))),
        105 => Some(("an int8 vector", Version::new(2, 6, 0))),
        24 => Some(("a geometry", Version::new(2, 6, 4))),
        26 => Some(("a timestamp with time zone", Version::new(2, 6, 4))),
        25 | 27..=99 | 107..=199 => Some(("of a type of Milvus 3", Version::new(3, 0, 0))),
        _ => None,
    };
    let nullable = field.nullable.then_some(("a nullable field", Version::new(2, 5, 0)));
    [of_type, nullable].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_field_and_the_version() {
        let field = |name: &str, data_type, nullable| FieldSchema {
            name: name.into(),
            data_type,
            nullable,
            ..FieldSchema::default()
        };
        let schema = CollectionSchema {
            fields: vec![field("id", 5, false), field("half", 102, false), field("note", 21, true)],
            ..CollectionSchema::default()
        };
        let why = |version| unsupported(&schema, version);
        assert_eq!(why(Version::new(2, 3, 5)).unwrap(), "\"half\" is a float16 vector, which Milvus has since 2.4.0");
        assert_eq!(why(Version::new(2, 4, 9)).unwrap(), "\"note\" is a nullable field, which Milvus has since 2.5.0");
        assert_eq!(why(Version::new(2, 5, 0)), None);
        let two = CollectionSchema {
            fields: vec![field("a", 101, false), field("b", 100, false)],
            ..CollectionSchema::default()
        };
        assert!(unsupported(&two, Version::new(2, 3, 5)).unwrap().starts_with("\"b\" is a second vector"));
    }
}
