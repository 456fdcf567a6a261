/*!
Fields that the source has dropped from a collection (Milvus 3), or dropped and made again under the same name.

They are dropped on a target that can do it, as far as drops follow. Elsewhere they stay, empty in new rows, where the
target takes rows without them; where it does not, the collection is held. A field of the same name with another id is
another field: its rows from before have no value at the source, and on the target they would keep those of the first.
*/

use std::collections::BTreeSet;

use super::refusal::{hold, is_refusal};
use super::schema_change::SchemaChange;
use crate::catalog::error::CatalogError;
use crate::milvus::Error;
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::field_data::field_names;

/// The fields with their ids, as texts for the record. Servers without ids number fields as they like.
pub(super) fn numbered_fields(details: &CollectionDetails) -> Vec<String> {
    if details.id == 0 {
        return Vec::new();
    }
    let lists = details.schema.struct_array_fields.iter().map(|list| (&list.name, list.fieldID));
    let fields = details.schema.fields.iter().map(|field| (&field.name, field.fieldID));
    fields.chain(lists).filter(|(_, id)| *id > 0).map(|(name, id)| format!("{}{id}", number_of(name))).collect()
}

/// What the record says of a field's id, without the id.
fn number_of(field: &str) -> String {
    format!("field {field} has the id ")
}

/// The fields whose name stands for another field than when the schema was compared last.
pub(super) fn made_again(details: &CollectionDetails, before: &BTreeSet<String>) -> BTreeSet<String> {
    let now: BTreeSet<String> = numbered_fields(details).into_iter().collect();
    let names = field_names(&details.schema);
    let is_another = |name: &String| {
        let number = number_of(name);
        let of_it = |parts: &BTreeSet<String>| parts.iter().find(|part| part.starts_with(&number)).cloned();
        let (before, now) = (of_it(before), of_it(&now));
        before.is_some() && now.is_some() && before != now
    };
    names.into_iter().filter(is_another).collect()
}

/// Drops on the target what the source has dropped of the fields that both had.
pub(super) fn replicate(change: &mut SchemaChange<'_>, had: &BTreeSet<String>) -> Result<(), CatalogError> {
    let wanted = field_names(change.wanted);
    let again = made_again(&change.source.details, &change.before);
    let there = field_names(&change.found);
    let gone: Vec<(&String, Successor)> = had
        .difference(&wanted)
        .map(|name| (name, Successor::None))
        .chain(again.iter().map(|name| (name, Successor::SameName)))
        .filter(|(name, _)| there.contains(*name))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let can_remove = change.can_remove()?;
    if can_remove {
        change.context.block_for_drop_of_part(change.id)?;
    }
    for (field, successor) in gone {
        let refusal = if can_remove { drop_one(change, field)? } else { None };
        if !can_remove || refusal.is_some() {
            keep(change, field, successor, refusal)?;
        }
    }
    change.look_again()
}

/// Whether the source has another field of a dropped one's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Successor {
    None,
    SameName,
}

/// The error of a target that refuses it.
fn drop_one(change: &SchemaChange<'_>, field: &str) -> Result<Option<Error>, CatalogError> {
    let SchemaChange { context, id, name, .. } = change;
    match context.marked(*id).drop_field(name, field, &context.call) {
        Ok(()) => context.reporter.done(&format!("dropped the field {field} of {name}")),
        Err(error) if is_refusal(&error) => return Ok(Some(error)),
        Err(error) => return Err(error.into()),
    }
    Ok(None)
}

/// Leaves a dropped field on the target, if rows without it can be written.
fn keep(
    change: &SchemaChange<'_>,
    field: &str,
    successor: Successor,
    refusal: Option<Error>,
) -> Result<(), CatalogError> {
    let SchemaChange { context, name, .. } = change;
    let refusal = refusal.as_ref();
    if successor == Successor::SameName {
        return Err(hold(context, name, refusal, |target| {
            format!(
                "the source has another field {field:?} in {name} now, and {target} keeps the first with its values"
            )
        }));
    }
    if !is_optional(change, field) {
        return Err(hold(context, name, refusal, |target| {
            format!("the source has dropped the field {field:?} of {name}, and {target} takes no rows without it")
        }));
    }
    let why = refusal.map(|error| format!(" ({error})")).unwrap_or_default();
    let object = format!("{field:?} of {name}");
    context.reporter.skipped("dropped field", &object, &format!("it stays on the target, empty in new rows{why}"))
}

/// Whether the target takes rows that do not have this field.
fn is_optional(change: &SchemaChange<'_>, name: &str) -> bool {
    let field = change.found.fields.iter().find(|field| field.name == name);
    let list = change.found.struct_array_fields.iter().find(|list| list.name == name);
    field.is_some_and(|field| field.nullable || !field.default_value.is_empty() || field.is_function_output)
        || list.is_some_and(|list| list.nullable)
}

#[cfg(test)]
mod tests;
