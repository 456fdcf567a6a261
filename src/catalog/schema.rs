//! Schemas: what the target's collection must look like, and whether an existing one can hold the source's rows.

use crate::domain::KeyField;
use crate::milvus::DataType;
use crate::milvus::capabilities::GeneratedKeys;
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::field_data::merges_by_appending;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema, FunctionSchema};

/// Ids of user fields start here; Milvus's own fields have smaller ones.
const FIRST_USER_FIELD: i64 = 100;
/// Field of `CollectionSchema` in which a server from 2.6 on repeats the collection's properties, its own among them.
const PROPERTIES: u32 = 6;

/// The schema for the target: the source's, with ordinary keys in place of generated ones, because rows bring theirs.
pub(super) fn for_target(source: &CollectionSchema) -> CollectionSchema {
    let mut schema = source.clone();
    schema.autoID = false;
    schema.special_fields.mut_unknown_fields().remove(PROPERTIES);
    schema.fields.retain(|field| !field.is_dynamic && (field.fieldID == 0 || field.fieldID >= FIRST_USER_FIELD));
    let members = schema.struct_array_fields.iter_mut().flat_map(|list| {
        list.fieldID = 0;
        &mut list.fields
    });
    for field in schema.fields.iter_mut().chain(members) {
        field.autoID = false;
        field.fieldID = 0;
    }
    for function in &mut schema.functions {
        function.id = 0;
        function.input_field_ids.clear();
        function.output_field_ids.clear();
    }
    schema
}

/// With it a collection with autoID takes given keys.
pub(super) const TAKES_KEYS: (&str, &str) = ("allow_insert_auto_id", "true");

/// The schema to create on a target: [`for_target`], but with autoID where such a collection takes given keys, so that
/// a promoted target serves the inserts that the source did.
pub(super) fn to_create(source: &CollectionSchema, keys: GeneratedKeys) -> CollectionSchema {
    let mut schema = for_target(source);
    if keys == GeneratedKeys::MayBeGiven && has_auto_id(source) {
        schema.fields.iter_mut().filter(|field| field.is_primary_key).for_each(|field| field.autoID = true);
    }
    schema
}

/// Whether a collection with autoID takes given keys.
pub(super) fn takes_keys(details: &CollectionDetails) -> bool {
    let (property, value) = TAKES_KEYS;
    details.properties.get(property).is_some_and(|set| set.eq_ignore_ascii_case(value))
}

/// Whether a collection's rows belong to namespaces (Milvus 2.6 and later). Such rows cannot be replicated: requests
/// name the namespace beside the columns, and the column that the server derives from it may not be written.
pub(crate) fn uses_namespaces(details: &CollectionDetails) -> bool {
    const FIELD: &str = "$namespace_id";
    const PROPERTY: &str = "namespace.enabled";
    details.schema.enable_namespace
        || details.schema.fields.iter().any(|field| field.name == FIELD)
        || details.properties.get(PROPERTY).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The first difference between two collections that matters for rows.
pub(crate) fn difference(wanted: &CollectionDetails, found: &CollectionDetails) -> Option<String> {
    match (has_auto_id(&wanted.schema), has_auto_id(&found.schema)) {
        (_, false) => {}
        (false, true) => return Some("the target generates its keys (autoID)".into()),
        (true, true) if takes_keys(found) => {}
        (true, true) => {
            let (property, value) = TAKES_KEYS;
            return Some(format!(
                "the target generates its keys (autoID) and takes none, which from Milvus 2.6.3 on it does with the \
                 property {property} set to {value}"
            ));
        }
    }
    if let Some(difference) = schemas_differ(&wanted.schema, &found.schema) {
        return Some(difference);
    }
    // Servers without ids choose the number of partitions themselves.
    let is_chosen = wanted.id != 0 && found.id != 0;
    if has_partition_key(&wanted.schema) && is_chosen && wanted.num_partitions != found.num_partitions {
        return Some(format!("{} partitions against {}", found.num_partitions, wanted.num_partitions));
    }
    None
}

/// What has changed between two descriptions of one name; `None` when rows of either schema fit the other.
pub(super) fn change(before: &CollectionSchema, now: &CollectionSchema) -> Option<String> {
    if has_auto_id(before) != has_auto_id(now) {
        return Some("only one of them generates its keys".into());
    }
    schemas_differ(before, now)
}

/// Whether the server makes the keys.
pub(crate) fn has_auto_id(schema: &CollectionSchema) -> bool {
    schema.autoID || schema.fields.iter().any(|field| field.autoID)
}

fn schemas_differ(wanted: &CollectionSchema, found: &CollectionSchema) -> Option<String> {
    let (wanted, found) = (for_target(wanted), for_target(found));
    if wanted.enable_dynamic_field != found.enable_dynamic_field {
        return Some("only one of them has a dynamic field".into());
    }
    if let Some(difference) = fields_differ(&wanted.fields, &found.fields) {
        return Some(difference);
    }
    let lists = |schema: &CollectionSchema| -> Vec<String> {
        schema.struct_array_fields.iter().map(|list| list.name.clone()).collect()
    };
    if lists(&wanted) != lists(&found) {
        return Some("their struct arrays differ".into());
    }
    for (wanted, found) in wanted.struct_array_fields.iter().zip(&found.struct_array_fields) {
        if let Some(difference) = fields_differ(&wanted.fields, &found.fields) {
            return Some(format!("in {:?}: {difference}", wanted.name));
        }
    }
    let same = wanted.functions.iter().map(function_essence).eq(found.functions.iter().map(function_essence));
    (!same).then(|| "their functions differ".into())
}

fn fields_differ(wanted: &[FieldSchema], found: &[FieldSchema]) -> Option<String> {
    if wanted.len() != found.len() {
        return Some(format!("{} fields against {}", found.len(), wanted.len()));
    }
    let (wanted, found) = wanted.iter().zip(found).find(|(wanted, found)| !hold_the_same(wanted, found))?;
    Some(field_difference(wanted, found))
}

/// How two fields differ, theirs first.
fn field_difference(wanted: &FieldSchema, found: &FieldSchema) -> String {
    let name = &wanted.name;
    if found.name != *name {
        return format!("field {:?} stands where {name:?} should", found.name);
    }
    if (found.data_type, found.element_type) != (wanted.data_type, wanted.element_type) {
        let types = [found, wanted].map(|field| type_name(field.data_type, field.element_type));
        return format!("field {name:?} has type {} against {}", types[0], types[1]);
    }
    let value = |field: &FieldSchema, key: &str| {
        field.type_params.iter().find(|pair| pair.key == key).map(|pair| pair.value.clone())
    };
    let differing = wanted.type_params.iter().find_map(|pair| {
        let theirs = value(found, &pair.key).filter(|theirs| *theirs != pair.value)?;
        Some(format!("field {name:?} has {} {theirs} against {}", pair.key, pair.value))
    });
    differing.unwrap_or_else(|| {
        let flags = [
            ("is the primary key", found.is_primary_key != wanted.is_primary_key),
            ("is the partition key", found.is_partition_key != wanted.is_partition_key),
            ("is nullable", found.nullable != wanted.nullable),
            ("has that default value", found.default_value != wanted.default_value),
        ];
        let flag = flags.iter().find(|(_, differs)| *differs).map_or("is as described", |(what, _)| what);
        format!("field {name:?} {flag} on one side only")
    })
}

/// A type's name, with that of its elements.
fn type_name(data_type: i32, element_type: i32) -> String {
    match element_type {
        0 => DataType::of(data_type).to_string(),
        element => format!("{} of {}", DataType::of(data_type), DataType::of(element)),
    }
}

/// Whether two fields hold the same values. A parameter of only one of them is one that the other's server does not
/// keep.
fn hold_the_same(a: &FieldSchema, b: &FieldSchema) -> bool {
    let other = |key: &str| b.type_params.iter().find(|pair| pair.key == key);
    essence(a) == essence(b)
        && a.type_params.iter().all(|mine| other(&mine.key).is_none_or(|other| other.value == mine.value))
}

/// The parts of a field that decide which values it holds.
#[derive(PartialEq)]
struct Essence<'a> {
    name: &'a str,
    types: (i32, i32),
    keys: (bool, bool),
    nullable: bool,
    default_value: &'a [u8],
}

fn essence(field: &FieldSchema) -> Essence<'_> {
    Essence {
        name: &field.name,
        types: (field.data_type, field.element_type),
        keys: (field.is_primary_key, field.is_partition_key),
        nullable: field.nullable,
        default_value: &field.default_value,
    }
}

fn function_essence(function: &FunctionSchema) -> (&str, i32, &[String], &[String]) {
    (&function.name, function.type_, &function.input_field_names, &function.output_field_names)
}

/// The primary key's field; `None` for a schema without one, which Milvus does not create.
pub(crate) fn key_field(schema: &CollectionSchema) -> Option<KeyField> {
    let field = schema.fields.iter().find(|field| field.is_primary_key)?;
    Some(KeyField { name: field.name.clone(), is_int: DataType::of(field.data_type) == DataType::Int64 })
}

/// Whether a partition key assigns rows to partitions.
pub(crate) fn has_partition_key(schema: &CollectionSchema) -> bool {
    schema.fields.iter().any(|field| field.is_partition_key)
}

/// Whether the columns of two messages can be merged by appending.
pub(crate) fn is_mergeable(schema: &CollectionSchema) -> bool {
    schema.struct_array_fields.is_empty() && schema.fields.iter().all(|field| merges_by_appending(field.data_type))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::milvus::pb::common::KeyValuePair;

    fn details(fields: Vec<FieldSchema>) -> CollectionDetails {
        CollectionDetails {
            id: 1,
            name: "c".into(),
            schema: CollectionSchema { fields, ..Default::default() },
            shards: 1,
            consistency: 1,
            properties: BTreeMap::new(),
            aliases: BTreeSet::new(),
            num_partitions: 16,
            created: 0,
            channels: vec![],
            begins: BTreeMap::new(),
        }
    }

    fn key() -> FieldSchema {
        FieldSchema { name: "id".into(), data_type: DataType::Int64.code(), is_primary_key: true, ..Default::default() }
    }

    fn generated_key() -> FieldSchema {
        FieldSchema { autoID: true, ..key() }
    }

    fn vector(dim: &str) -> FieldSchema {
        let dim = KeyValuePair { key: "dim".into(), value: dim.into(), ..Default::default() };
        FieldSchema {
            name: "v".into(),
            data_type: DataType::FloatVector.code(),
            type_params: vec![dim],
            ..Default::default()
        }
    }

    #[test]
    fn namespaces_show_in_three_ways() {
        let plain = details(vec![key(), vector("8")]);
        assert!(!uses_namespaces(&plain));
        let mut flagged = plain.clone();
        flagged.schema.enable_namespace = true;
        let mut set = plain.clone();
        set.properties.insert("namespace.enabled".into(), "True".into());
        let mut named = plain;
        named.schema.fields.push(FieldSchema { name: "$namespace_id".into(), ..Default::default() });
        assert!([flagged, set, named].iter().all(uses_namespaces));
    }

    #[test]
    fn auto_ids_become_ordinary_keys() {
        let source = details(vec![generated_key(), vector("8")]);
        let target = details(for_target(&source.schema).fields);
        assert_eq!(difference(&source, &target), None);
        assert!(difference(&source, &source).unwrap().contains("allow_insert_auto_id set to true"));
        let mut takes_keys = source.clone();
        takes_keys.properties.insert("allow_insert_auto_id".into(), "True".into());
        assert_eq!(difference(&source, &takes_keys), None);
        assert!(difference(&target, &takes_keys).is_some(), "only the target generates its keys");
    }

    #[test]
    fn auto_ids_stay_where_given_keys_are_taken() {
        let source = details(vec![generated_key(), vector("8")]).schema;
        let made = |source, keys| has_auto_id(&to_create(source, keys));
        assert!(made(&source, GeneratedKeys::MayBeGiven) && !made(&source, GeneratedKeys::OnlyGenerated));
        assert!(!made(&details(vec![key()]).schema, GeneratedKeys::MayBeGiven));
    }

    #[test]
    fn properties_within_the_schema_do_not_follow() {
        let mut source = details(vec![key()]).schema;
        let property = b"\x0a\x0cmax_field_id\x12\x03108".to_vec();
        source.special_fields.mut_unknown_fields().add_length_delimited(PROPERTIES, property);
        source.special_fields.mut_unknown_fields().add_varint(99, 1);
        let target = for_target(&source);
        assert!(target.special_fields.unknown_fields().get(PROPERTIES).is_none());
        assert!(target.special_fields.unknown_fields().get(99).is_some(), "what newer servers add stays");
    }

    #[test]
    fn changes_under_one_name() {
        let before = details(vec![generated_key(), vector("8")]).schema;
        assert_eq!(change(&before, &before), None);
        assert!(change(&before, &details(vec![key(), vector("8")]).schema).is_some());
        assert!(change(&before, &details(vec![generated_key(), vector("9")]).schema).unwrap().contains("\"v\""));
    }

    #[test]
    fn differences_that_matter() {
        let source = details(vec![key(), vector("8")]);
        assert!(difference(&source, &details(vec![key(), vector("9")])).unwrap().contains("\"v\""));
        assert!(difference(&source, &details(vec![key()])).is_some());
        let fewer = |source: &CollectionDetails| CollectionDetails { num_partitions: 8, ..source.clone() };
        assert_eq!(difference(&source, &fewer(&source)), None);
        let by_key = details(vec![key(), FieldSchema { is_partition_key: true, name: "p".into(), ..key() }]);
        assert!(difference(&by_key, &fewer(&by_key)).is_some());
        let without_ids = CollectionDetails { id: 0, ..fewer(&by_key) };
        assert_eq!(difference(&by_key, &without_ids), None);
        let nullable = FieldSchema { nullable: true, ..vector("8") };
        assert!(difference(&source, &details(vec![key(), nullable])).is_some());
    }
}
