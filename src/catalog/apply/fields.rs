//! Fields that a collection gets (Milvus 2.6) or loses (Milvus 3) after it was created on the target.

use super::context::TargetContext;
use super::refusal::is_refusal;
use super::schema_change::{PartRemoval, SchemaChange};
use super::{dropped_fields, functions, schema_changes};
use crate::catalog::describe::SourceCollection;
use crate::catalog::error::CatalogError;
use crate::catalog::record::RecordEntry;
use crate::catalog::schema;
use crate::domain::CollectionName;
use crate::milvus::Error;
use crate::milvus::ErrorKind;
use crate::milvus::field_data::field_names;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema, StructArrayFieldSchema};
use crate::task::drops::OnDrop;

/// Carries over what the source has changed in the schema, before the task learns that rows of it can be applied.
pub(super) fn replicate(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
    on_drop: OnDrop,
) -> Result<(), CatalogError> {
    let Some(replicated) = entry.get() else { return Ok(()) };
    let wanted = schema::for_target(&source.details.schema);
    let names = field_names(&wanted);
    let parts = schema_changes::compared_parts(&wanted, &source.details);
    if replicated.fields == names && replicated.schema_parts == parts {
        return Ok(());
    }
    let removal = PartRemoval::of(replicated.is_ours(), on_drop);
    let name = &replicated.name;
    let found = context.client.describe_without_aliases(name, &context.call)?.schema;
    let before = replicated.schema_parts;
    let mut change = SchemaChange { context, id: entry.id(), name, source, wanted: &wanted, found, before, removal };
    functions::drop_gone(&mut change)?;
    dropped_fields::replicate(&mut change, &replicated.fields)?;
    // A field's index goes with it; one that is there all the same is found.
    let again = dropped_fields::made_again(&source.details, &change.before);
    entry.change(|replicated| replicated.indexes.retain(|_, index| !again.contains(&index.field)));
    schema_changes::replicate(&change)?;
    add_missing(&change)?;
    functions::add_and_alter(&change)?;
    entry.change(|replicated| {
        replicated.fields = names;
        replicated.schema_parts = parts;
    });
    Ok(entry.save()?)
}

/// Adds the fields that the source has got, but for those that come with a function.
fn add_missing(change: &SchemaChange<'_>) -> Result<(), CatalogError> {
    let SchemaChange { context, id, name, wanted, .. } = change;
    let found = field_names(&change.found);
    let with_function = functions::with_their_fields(change);
    let comes_later = |field: &FieldSchema| with_function.iter().any(|(_, output)| **output == field.name);
    let is_missing = |field: &&FieldSchema| !found.contains(&field.name) && !comes_later(field);
    let fields: Vec<&FieldSchema> = wanted.fields.iter().filter(is_missing).collect();
    let lists: Vec<&StructArrayFieldSchema> =
        wanted.struct_array_fields.iter().filter(|list| !found.contains(&list.name)).collect();
    if fields.is_empty() && lists.is_empty() {
        return Ok(());
    }
    check_version(context, name, &fields)?;
    context.reporter.block(*id)?;
    for field in fields {
        let outcome = context.marked(*id).add_field(name, field, &context.call);
        settle(context, name, &Added { what: "field", name: &field.name, since: "2.6.0" }, outcome)?;
    }
    for list in lists {
        let outcome = context.marked(*id).add_struct_array(name, list, &context.call);
        settle(context, name, &Added { what: "struct array", name: &list.name, since: "3.0.0" }, outcome)?;
    }
    Ok(())
}

/// An older Milvus drops what it does not know silently, so its version decides.
fn check_version(context: &TargetContext, name: &CollectionName, fields: &[&FieldSchema]) -> Result<(), CatalogError> {
    let fields = fields.iter().map(|&field| field.clone()).collect();
    let schema = CollectionSchema { fields, ..CollectionSchema::default() };
    match context.capabilities()?.unsupported(&schema) {
        Some(what) => Err(cannot_add(context, name, &format!("its field {what}"))),
        None => Ok(()),
    }
}

/// What is added to a collection.
struct Added<'a> {
    what: &'static str,
    name: &'a str,
    /// The first Milvus that can do it.
    since: &'static str,
}

fn settle(
    context: &TargetContext,
    name: &CollectionName,
    added: &Added<'_>,
    outcome: Result<(), Error>,
) -> Result<(), CatalogError> {
    let Added { what, name: field, since } = added;
    match outcome {
        Ok(()) => context.reporter.done(&format!("added the {what} {field} to {name}")),
        Err(error) if is_refusal(&error) => {
            let why = match error.kind {
                ErrorKind::Unimplemented => format!("adding the {what} {field:?} needs Milvus {since} or later"),
                _ => format!("{what} {field:?}: {error}"),
            };
            return Err(cannot_add(context, name, &why));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn cannot_add(context: &TargetContext, name: &CollectionName, why: &str) -> CatalogError {
    match context.target() {
        Ok(target) => CatalogError::Conflict(format!(
            "{target} cannot hold what the source has added to {name}: {why}; leave the collection out of the task, or \
             choose a target that can hold it"
        )),
        Err(error) => error.into(),
    }
}
