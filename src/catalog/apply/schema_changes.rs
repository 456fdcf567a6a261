/*!
What the source has changed in a collection's schema since the target's was made, fields and functions aside: the
dynamic field switched on, limits of fields raised (Milvus 2.5 and 2.6).

What the target cannot do holds the collection, with what to do about it: rows that need the change would be refused one
by one, and what its readers were promised would be missing.
*/

use std::collections::{BTreeMap, BTreeSet};

use super::context::TargetContext;
use super::dropped_fields::numbered_fields;
use super::functions;
use super::refusal::{cannot, carried_out};
use super::schema_change::SchemaChange;
use crate::catalog::error::CatalogError;
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::capabilities::LaterDynamicField;
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};

/// The type parameters that bound a field's values and can be raised.
const LIMITS: [&str; 2] = ["max_length", "max_capacity"];
/// The property that switches the dynamic field on.
const DYNAMIC_FIELD: &str = "dynamicfield.enabled";

/// What of a schema, besides the names of its fields, was compared with the target's: as texts, for the record.
/// `wanted`: the schema as the target is to have it.
pub(super) fn compared_parts(wanted: &CollectionSchema, details: &CollectionDetails) -> BTreeSet<String> {
    let dynamic = wanted.enable_dynamic_field.then(|| "dynamic field".to_owned());
    let limits = wanted
        .fields
        .iter()
        .flat_map(|field| limits(field).into_iter().map(|(limit, value)| format!("{limit} {value} of {}", field.name)));
    let functions = wanted.functions.iter().flat_map(functions::parts);
    dynamic.into_iter().chain(functions).chain(limits).chain(numbered_fields(details)).collect()
}

/// Switches the dynamic field on and raises limits where the source's schema has more.
pub(super) fn replicate(change: &SchemaChange<'_>) -> Result<(), CatalogError> {
    let SchemaChange { context, id, name, wanted, found, .. } = change;
    if wanted.enable_dynamic_field && !found.enable_dynamic_field {
        switch_on_dynamic_field(context, *id, name)?;
    }
    for field in &wanted.fields {
        if let Some(there) = found.fields.iter().find(|there| there.name == field.name) {
            raise_limits(context, *id, name, (field, there))?;
        }
    }
    Ok(())
}

fn switch_on_dynamic_field(
    context: &TargetContext,
    id: CollectionId,
    name: &CollectionName,
) -> Result<(), CatalogError> {
    const WHAT: &str = "the dynamic field";
    // An older server takes the property for one of the user's.
    if context.capabilities()?.later_dynamic_field == LaterDynamicField::Impossible {
        return Err(cannot(context, name, WHAT, None));
    }
    let on = BTreeMap::from([(DYNAMIC_FIELD.to_owned(), "true".to_owned())]);
    carried_out(context, name, WHAT, context.marked(id).alter_collection(name, &on, &context.call))?;
    if !context.client.describe_collection(name, &context.call)?.schema.enable_dynamic_field {
        return Err(cannot(context, name, WHAT, None));
    }
    context.reporter.done(&format!("switched on the dynamic field of {name}"));
    Ok(())
}

/// Raises what bounds the values of a field. A limit that the source has lowered stays: the target's rows were written
/// within the higher one. One that the target does not tell it does not keep.
fn raise_limits(
    context: &TargetContext,
    id: CollectionId,
    name: &CollectionName,
    (wanted, found): (&FieldSchema, &FieldSchema),
) -> Result<(), CatalogError> {
    let there = limits(found);
    let is_raised = |(limit, value): &(&str, u64)| there.get(limit).is_some_and(|there| there < value);
    let raised: Vec<(&str, u64)> = limits(wanted).into_iter().filter(is_raised).collect();
    for (limit, value) in raised {
        let what = format!("{limit} {value} of the field {:?}", wanted.name);
        let set = BTreeMap::from([(limit.to_owned(), value.to_string())]);
        carried_out(context, name, &what, context.marked(id).alter_field(name, &wanted.name, &set, &context.call))?;
        context.reporter.done(&format!("set {what} of {name}"));
    }
    Ok(())
}

fn limits(field: &FieldSchema) -> BTreeMap<&'static str, u64> {
    let value = |limit: &'static str| {
        let set = field.type_params.iter().find(|pair| pair.key == limit)?;
        Some((limit, set.value.parse().ok()?))
    };
    LIMITS.into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests;
