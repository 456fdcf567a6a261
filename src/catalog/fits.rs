/*!
What a target that is asked by trying (Milvus Lite) can hold: why it refused, and what it dropped without a word.
*/

use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};

/// Milvus's name of a field type.
fn type_name(number: i32) -> String {
    let name = match number {
        1 => "Bool",
        2 => "Int8",
        3 => "Int16",
        4 => "Int32",
        5 => "Int64",
        10 => "Float",
        11 => "Double",
        20 => "String",
        21 => "VarChar",
        22 => "Array",
        23 => "JSON",
        24 => "Geometry",
        25 => "Text",
        26 => "Timestamptz",
        100 => "BinaryVector",
        101 => "FloatVector",
        102 => "Float16Vector",
        103 => "BFloat16Vector",
        104 => "SparseFloatVector",
        105 => "Int8Vector",
        106 => "ArrayOfVector",
        other => return format!("type {other}"),
    };
    name.into()
}

/// The fields that not every server can hold, for a person who reads why one has refused them.
pub(super) fn unusual(schema: &CollectionSchema) -> String {
    let plain = |field: &&FieldSchema| matches!(field.data_type, 1..=21 | 101) && !field.nullable;
    let named = |field: &FieldSchema| {
        let nullable = if field.nullable { "nullable " } else { "" };
        format!("{:?} ({nullable}{})", field.name, type_name(field.data_type))
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
            return lost(&format!("the type {}", type_name(field.data_type)));
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
