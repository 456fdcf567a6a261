/*!
What a target can hold. An older server may take a schema that it does not understand (2.3.5 makes fields of any type number and
drops `nullable` in silence), so the version is asked before anything is made, and what was made is looked at afterwards.
*/

use crate::milvus::ServerVersion;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};

/// A release of Milvus: major and minor version.
type Release = (u32, u32);

/// Name of a field type, and the first Milvus that has it. Of types that came later than this program only the number is known,
/// and that no release known to it has them.
fn data_type(number: i32) -> (String, Release) {
    const OLDEST: Release = (2, 2);
    let (name, since) = match number {
        1 => ("Bool", OLDEST),
        2 => ("Int8", OLDEST),
        3 => ("Int16", OLDEST),
        4 => ("Int32", OLDEST),
        5 => ("Int64", OLDEST),
        10 => ("Float", OLDEST),
        11 => ("Double", OLDEST),
        20 => ("String", OLDEST),
        21 => ("VarChar", OLDEST),
        22 => ("Array", (2, 3)),
        23 => ("JSON", OLDEST),
        24 => ("Geometry", (2, 6)),
        25 => ("Text", (3, 0)),
        26 => ("Timestamptz", (2, 6)),
        100 => ("BinaryVector", OLDEST),
        101 => ("FloatVector", OLDEST),
        102 => ("Float16Vector", (2, 4)),
        103 => ("BFloat16Vector", (2, 4)),
        104 => ("SparseFloatVector", (2, 4)),
        105 => ("Int8Vector", (2, 6)),
        106 => ("ArrayOfVector", (2, 6)),
        200 => ("ArrayOfStruct", (2, 6)),
        other => return (format!("type {other}"), (3, 0)),
    };
    (name.into(), since)
}

/// Whether rows of this type are vectors.
pub(super) fn is_vector(data_type: i32) -> bool {
    (100..200).contains(&data_type)
}

/// What of the schema a Milvus of this version does not have, for a person to read; `None` when nothing is known against it.
pub(super) fn obstacle(schema: &CollectionSchema, version: &ServerVersion) -> Option<String> {
    const NULLABLE: Release = (2, 5);
    const SEVERAL_VECTORS: Release = (2, 4);
    let here = version.milvus()?;
    let needs = |what: String, since: Release| {
        (here < since).then(|| format!("{what} needs Milvus {}.{} or later", since.0, since.1))
    };
    for field in &schema.fields {
        let (name, since) = data_type(field.data_type);
        let named = |what: &str| format!("the field {:?} ({what})", field.name);
        let missing = needs(named(&name), since)
            .or_else(|| field.nullable.then(|| needs(named(&format!("nullable {name}")), NULLABLE)).flatten());
        if missing.is_some() {
            return missing;
        }
    }
    let vectors = schema.fields.iter().filter(|field| is_vector(field.data_type));
    let second = vectors.skip(1).map(|field| format!("the field {:?} (a second vector)", field.name)).next()?;
    needs(second, SEVERAL_VECTORS)
}

/// The fields that not every server can hold, for a person who reads why one has refused them.
pub(super) fn unusual(schema: &CollectionSchema) -> String {
    let plain = |field: &&FieldSchema| matches!(field.data_type, 1..=21 | 101) && !field.nullable;
    let named = |field: &FieldSchema| {
        let nullable = if field.nullable { "nullable " } else { "" };
        format!("{:?} ({nullable}{})", field.name, data_type(field.data_type).0)
    };
    schema.fields.iter().filter(|field| !plain(field)).map(named).collect::<Vec<String>>().join(", ")
}

/// What a server has dropped of the schema that it was asked for; `None` when it has kept all that rows depend on.
pub(super) fn loss(wanted: &CollectionSchema, found: &CollectionSchema) -> Option<String> {
    if wanted.enable_dynamic_field && !found.enable_dynamic_field {
        return Some("the dynamic field".into());
    }
    for field in &wanted.fields {
        let lost = |what: &str| Some(format!("{what} of the field {:?}", field.name));
        let Some(kept) = found.fields.iter().find(|kept| kept.name == field.name) else { return lost("all") };
        if (kept.data_type, kept.element_type) != (field.data_type, field.element_type) {
            return lost(&format!("the type {}", data_type(field.data_type).0));
        }
        if field.nullable && !kept.nullable {
            return lost("`nullable`");
        }
        if (field.is_primary_key, field.is_partition_key) != (kept.is_primary_key, kept.is_partition_key) {
            return lost("the part as a key");
        }
        // Of the parameters only this one shapes rows; Milvus Lite 3 drops others, such as the length of an array's strings.
        if param(kept, "dim") != param(field, "dim") {
            return lost("the dimension");
        }
    }
    None
}

fn param<'a>(field: &'a FieldSchema, key: &str) -> Option<&'a str> {
    field.type_params.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::pb::common::KeyValuePair;

    fn field(name: &str, data_type: i32) -> FieldSchema {
        FieldSchema { name: name.into(), data_type, ..Default::default() }
    }

    fn schema(fields: Vec<FieldSchema>) -> CollectionSchema {
        CollectionSchema { fields, ..Default::default() }
    }

    #[test]
    fn old_servers_do_not_get_new_fields() {
        let old = ServerVersion::new(Some("v2.3.5"));
        let new = ServerVersion::new(Some("v2.6.20"));
        for (number, name) in
            [(102, "Float16Vector"), (104, "SparseFloatVector"), (26, "Timestamptz"), (199, "type 199")]
        {
            let asked = schema(vec![field("id", 5), field("it", number)]);
            let why = obstacle(&asked, &old).unwrap();
            assert!(why.contains("\"it\"") && why.contains(name), "{why}");
        }
        let nullable = schema(vec![FieldSchema { nullable: true, ..field("n", 21) }]);
        assert!(obstacle(&nullable, &old).unwrap().contains("Milvus 2.5"));
        assert_eq!(obstacle(&nullable, &new), None);
        let two = schema(vec![field("a", 101), field("b", 100)]);
        assert!(obstacle(&two, &old).unwrap().contains("\"b\""));
        assert_eq!(obstacle(&two, &new), None);
        assert_eq!(obstacle(&schema(vec![field("a", 101), field("j", 23)]), &old), None);
        let lite = ServerVersion::new(Some("milvus_lite-3.2.2"));
        assert_eq!(obstacle(&nullable, &lite), None, "a server that counts on its own is asked by trying");
    }

    #[test]
    fn what_a_server_dropped() {
        let dim = |value: &str| KeyValuePair { key: "dim".into(), value: value.into(), ..Default::default() };
        let vector = |params: Vec<KeyValuePair>| FieldSchema { type_params: params, ..field("v", 101) };
        let wanted = schema(vec![field("id", 5), vector(vec![dim("8")])]);
        let more = KeyValuePair { key: "mmap.enabled".into(), ..Default::default() };
        assert_eq!(loss(&wanted, &schema(vec![field("id", 5), vector(vec![more, dim("8")])])), None);
        assert!(loss(&wanted, &schema(vec![field("id", 5), vector(vec![dim("9")])])).unwrap().contains("dimension"));
        assert!(loss(&wanted, &schema(vec![field("id", 5)])).unwrap().contains("\"v\""));
        let nullable = schema(vec![FieldSchema { nullable: true, ..field("n", 5) }]);
        assert!(loss(&nullable, &schema(vec![field("n", 5)])).unwrap().contains("nullable"));
    }

    #[test]
    fn unusual_fields_are_named() {
        let asked = schema(vec![field("id", 5), field("b", 100), FieldSchema { nullable: true, ..field("n", 21) }]);
        assert_eq!(unusual(&asked), "\"b\" (BinaryVector), \"n\" (nullable VarChar)");
    }
}
