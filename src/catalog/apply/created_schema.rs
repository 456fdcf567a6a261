/*!
What a server kept of the schema that it was asked to create.

Milvus Lite tells no Milvus version, so what it can hold is found by trying: why it refused, or what it dropped
silently.
*/

use crate::milvus::DataType;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};

/// The fields that not every server can hold, as text for the refusal's message.
pub(super) fn unusual(schema: &CollectionSchema) -> String {
    let plain = |field: &&FieldSchema| is_basic(DataType::of(field.data_type)) && !field.nullable;
    let named = |field: &FieldSchema| {
        let nullable = if field.nullable { "nullable " } else { "" };
        format!("{:?} ({nullable}{})", field.name, DataType::of(field.data_type))
    };
    schema.fields.iter().filter(|field| !plain(field)).map(named).collect::<Vec<String>>().join(", ")
}

/// Types that every server has had from the beginning.
fn is_basic(data_type: DataType) -> bool {
    use DataType::*;
    matches!(data_type, Bool | Int8 | Int16 | Int32 | Int64 | Float | Double | String | VarChar | FloatVector)
}

/// The first part of the requested schema that the created collection lacks; `None` when everything that rows depend
/// on was kept.
pub(super) fn loss(wanted: &CollectionSchema, found: &CollectionSchema) -> Option<String> {
    if wanted.enable_dynamic_field && !found.enable_dynamic_field {
        return Some("the dynamic field".into());
    }
    for field in &wanted.fields {
        let lost = |what: &str| Some(format!("{what} of the field {:?}", field.name));
        let Some(kept) = found.fields.iter().find(|kept| kept.name == field.name) else { return lost("all") };
        if (kept.data_type, kept.element_type) != (field.data_type, field.element_type) {
            return lost(&format!("the type {}", DataType::of(field.data_type)));
        }
        if field.nullable && !kept.nullable {
            return lost("`nullable`");
        }
        if (field.is_primary_key, field.is_partition_key) != (kept.is_primary_key, kept.is_partition_key) {
            return lost("the part as a key");
        }
        // Of the parameters only this one shapes rows; Milvus Lite 3 drops others, such as the length of an array's
        // strings.
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

    fn field(name: &str, data_type: DataType) -> FieldSchema {
        FieldSchema { name: name.into(), data_type: data_type.code(), ..Default::default() }
    }

    fn schema(fields: Vec<FieldSchema>) -> CollectionSchema {
        CollectionSchema { fields, ..Default::default() }
    }

    #[test]
    fn what_a_server_dropped() {
        let dim = |value: &str| KeyValuePair { key: "dim".into(), value: value.into(), ..Default::default() };
        let vector =
            |params: Vec<KeyValuePair>| FieldSchema { type_params: params, ..field("v", DataType::FloatVector) };
        let wanted = schema(vec![field("id", DataType::Int64), vector(vec![dim("8")])]);
        let more = KeyValuePair { key: "mmap.enabled".into(), ..Default::default() };
        assert_eq!(loss(&wanted, &schema(vec![field("id", DataType::Int64), vector(vec![more, dim("8")])])), None);
        assert!(
            loss(&wanted, &schema(vec![field("id", DataType::Int64), vector(vec![dim("9")])]))
                .unwrap()
                .contains("dimension")
        );
        assert!(loss(&wanted, &schema(vec![field("id", DataType::Int64)])).unwrap().contains("\"v\""));
        let nullable = schema(vec![FieldSchema { nullable: true, ..field("n", DataType::Int64) }]);
        assert!(loss(&nullable, &schema(vec![field("n", DataType::Int64)])).unwrap().contains("nullable"));
    }

    #[test]
    fn unusual_fields_are_named() {
        let asked = schema(vec![
            field("id", DataType::Int64),
            field("b", DataType::BinaryVector),
            FieldSchema { nullable: true, ..field("n", DataType::VarChar) },
        ]);
        assert_eq!(unusual(&asked), "\"b\" (BinaryVector), \"n\" (nullable VarChar)");
    }
}
