//! Schemas: what the target's looks like, and whether one that is there already will do.

use crate::milvus::catalog::CollectionDetails;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema, FunctionSchema};
use crate::pipeline::KeyField;
use crate::pipeline::columns::merges_by_appending;

/// The field's number that Milvus starts user fields at: smaller ones are its own.
const FIRST_USER_FIELD: i64 = 100;

/// The schema for the target: the same, but keys that the source makes up become ordinary ones, since they are given.
pub(super) fn for_target(source: &CollectionSchema) -> CollectionSchema {
    let mut schema = source.clone();
    schema.autoID = false;
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

/// Whether its rows belong to namespaces (Milvus 2.6 and later). Requests name a row's namespace beside its columns, and the column that
/// the server makes of that may not be written: so such rows cannot be carried over.
pub(crate) fn uses_namespaces(details: &CollectionDetails) -> bool {
    const FIELD: &str = "$namespace_id";
    const PROPERTY: &str = "namespace.enabled";
    details.schema.enable_namespace
        || details.schema.fields.iter().any(|field| field.name == FIELD)
        || details.properties.get(PROPERTY).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Where two collections differ in a way that matters for rows; `None` when they do not.
pub(crate) fn difference(wanted: &CollectionDetails, found: &CollectionDetails, partition_key: bool) -> Option<String> {
    if has_auto_id(&found.schema) {
        return Some("its keys are made by the target (autoID)".into());
    }
    if let Some(difference) = schemas_differ(&wanted.schema, &found.schema) {
        return Some(difference);
    }
    // Servers without ids choose the number themselves.
    let chosen = wanted.id != 0 && found.id != 0;
    if partition_key && chosen && wanted.num_partitions != found.num_partitions {
        return Some(format!("{} partitions against {}", found.num_partitions, wanted.num_partitions));
    }
    None
}

/// What has changed between two looks at one name; `None` when rows of the one fit the other.
pub(super) fn change(before: &CollectionSchema, now: &CollectionSchema) -> Option<String> {
    if has_auto_id(before) != has_auto_id(now) {
        return Some("only one of them makes its own keys".into());
    }
    schemas_differ(before, now)
}

fn has_auto_id(schema: &CollectionSchema) -> bool {
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
        return Some("their fields of records differ".into());
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
    Some(format!("field {:?} differs from {:?}", found.name, wanted.name))
}

/// Whether two fields hold the same values. A parameter that only one of them names is one that the other's server does not keep.
fn hold_the_same(a: &FieldSchema, b: &FieldSchema) -> bool {
    let other = |key: &str| b.type_params.iter().find(|pair| pair.key == key);
    essence(a) == essence(b)
        && a.type_params.iter().all(|mine| other(&mine.key).is_none_or(|other| other.value == mine.value))
}

/// What of a field is the same wherever it holds the same values.
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

/// The primary key; `None` for a schema without one, which Milvus does not make.
pub(crate) fn key_field(schema: &CollectionSchema) -> Option<KeyField> {
    const INT64: i32 = 5;
    let field = schema.fields.iter().find(|field| field.is_primary_key)?;
    Some(KeyField { name: field.name.clone(), is_int: field.data_type == INT64 })
}

/// Whether rows find their partition by a key.
pub(crate) fn has_partition_key(schema: &CollectionSchema) -> bool {
    schema.fields.iter().any(|field| field.is_partition_key)
}

/// Whether columns of two messages may be put one behind the other.
pub(super) fn is_mergeable(schema: &CollectionSchema) -> bool {
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

    fn key(auto: bool) -> FieldSchema {
        FieldSchema { name: "id".into(), data_type: 5, is_primary_key: true, autoID: auto, ..Default::default() }
    }

    fn vector(dim: &str) -> FieldSchema {
        let dim = KeyValuePair { key: "dim".into(), value: dim.into(), ..Default::default() };
        FieldSchema { name: "v".into(), data_type: 101, type_params: vec![dim], ..Default::default() }
    }

    #[test]
    fn namespaces_show_in_three_ways() {
        let plain = details(vec![key(false), vector("8")]);
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
        let source = details(vec![key(true), vector("8")]);
        let target = details(for_target(&source.schema).fields);
        assert_eq!(difference(&source, &target, false), None);
        assert!(difference(&source, &source, false).is_some(), "a target that makes its own keys");
    }

    #[test]
    fn changes_under_one_name() {
        let before = details(vec![key(true), vector("8")]).schema;
        assert_eq!(change(&before, &before), None);
        assert!(change(&before, &details(vec![key(false), vector("8")]).schema).is_some());
        assert!(change(&before, &details(vec![key(true), vector("9")]).schema).unwrap().contains("\"v\""));
    }

    #[test]
    fn differences_that_matter() {
        let source = details(vec![key(false), vector("8")]);
        assert!(difference(&source, &details(vec![key(false), vector("9")]), false).unwrap().contains("\"v\""));
        assert!(difference(&source, &details(vec![key(false)]), false).is_some());
        let fewer = CollectionDetails { num_partitions: 8, ..source.clone() };
        assert_eq!(difference(&source, &fewer, false), None);
        assert!(difference(&source, &fewer, true).is_some());
        let without_ids = CollectionDetails { id: 0, ..fewer };
        assert_eq!(difference(&source, &without_ids, true), None);
        let nullable = FieldSchema { nullable: true, ..vector("8") };
        assert!(difference(&source, &details(vec![key(false), nullable]), false).is_some());
    }
}
