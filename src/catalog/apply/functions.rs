/*!
Functions that a collection gets or loses at the source after the target's was made, or whose parameters change (Milvus
2.6 and later).

A function that searches compute, too (BM25, MinHash), comes and goes with its field, in one call of Milvus 3. Any other
fills a field that is there. A function that the target keeps does no harm: it goes on to fill its field.
*/

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::dropped_fields;
use super::refusal::{cannot, carried_out, is_refusal};
use super::schema_change::SchemaChange;
use crate::catalog::error::CatalogError;
use crate::milvus::FunctionType;
use crate::milvus::capabilities::SchemaAlteration;
use crate::milvus::pb::schema::FunctionSchema;

/// What the record holds of a function: its name, and what tells whether its parameters have changed. (Another hash
/// after an update of the compiler only costs a look at the target.)
pub(super) fn parts(function: &FunctionSchema) -> [String; 2] {
    let mut hasher = DefaultHasher::new();
    essence(function).hash(&mut hasher);
    [format!("function {}", function.name), format!("{}{:016x}", settings_of(&function.name), hasher.finish())]
}

fn settings_of(name: &str) -> String {
    format!("settings of function {name}: ")
}

/// What a function does.
#[derive(PartialEq, Hash)]
struct FunctionEssence<'a> {
    kind: i32,
    inputs: &'a [String],
    outputs: &'a [String],
    params: BTreeSet<(&'a str, &'a str)>,
}

fn essence(function: &FunctionSchema) -> FunctionEssence<'_> {
    FunctionEssence {
        kind: function.type_,
        inputs: &function.input_field_names,
        outputs: &function.output_field_names,
        params: function.params.iter().map(|pair| (&*pair.key, &*pair.value)).collect(),
    }
}

fn owns_its_field(function: &FunctionSchema) -> bool {
    FunctionType::of(function.type_).owns_its_field()
}

/// Whether the source has changed it since it was compared last.
fn is_altered(function: &FunctionSchema, before: &BTreeSet<String>) -> bool {
    let [_, now] = parts(function);
    let settings = settings_of(&function.name);
    before.iter().any(|part| part.starts_with(&settings) && *part != now)
}

/// Drops on the target the functions that the source had and does not have any more, and those that can be altered
/// only by making them again.
pub(super) fn drop_gone(change: &mut SchemaChange<'_>) -> Result<(), CatalogError> {
    let again = dropped_fields::made_again(&change.source.details, &change.before);
    let mut has_dropped = false;
    for there in &change.found.functions {
        if !change.before.contains(&format!("function {}", there.name)) {
            continue;
        }
        match change.wanted.functions.iter().find(|function| function.name == there.name) {
            None => has_dropped |= drop_or_keep(change, there)?,
            Some(now) if owns_its_field(there) || owns_its_field(now) => {
                let has_new_field = there.output_field_names.iter().any(|field| again.contains(field));
                if essence(now) != essence(there) && is_altered(now, &change.before) || has_new_field {
                    drop_to_make_again(change, there)?;
                    has_dropped = true;
                }
            }
            Some(_) => {}
        }
    }
    if has_dropped { change.look_again() } else { Ok(()) }
}

fn drop_or_keep(change: &SchemaChange<'_>, function: &FunctionSchema) -> Result<bool, CatalogError> {
    let SchemaChange { context, id, name, .. } = change;
    let what = format!("the function {} of {name}", function.name);
    let with_field = owns_its_field(function);
    let outcome = match with_field {
        true if change.can_remove()? => {
            context.block_for_drop_of_part(*id)?;
            Some(context.marked(*id).drop_function_field(name, &function.name, &context.call))
        }
        true => None,
        false => Some(context.marked(*id).drop_function(name, &function.name, &context.call)),
    };
    let why = match outcome {
        Some(Ok(())) => {
            context.reporter.done(&format!("dropped {what}"));
            return Ok(true);
        }
        Some(Err(error)) if is_refusal(&error) => format!(" ({error})"),
        Some(Err(error)) => return Err(error.into()),
        None => String::new(),
    };
    let object = format!("{:?} of {name}", function.name);
    context.reporter.skipped(
        "dropped function",
        &object,
        &format!("it stays on the target and fills its field{why}"),
    )?;
    Ok(false)
}

fn drop_to_make_again(change: &SchemaChange<'_>, function: &FunctionSchema) -> Result<(), CatalogError> {
    let SchemaChange { context, id, name, .. } = change;
    let what = format!("changed the function {:?}", function.name);
    if !change.can_remove()? {
        return Err(cannot(context, name, &what, None));
    }
    context.block_for_drop_of_part(*id)?;
    let outcome = context.marked(*id).drop_function_field(name, &function.name, &context.call);
    carried_out(context, name, &what, outcome)
}

/// The functions that the target lacks and that bring their fields with them, with the names of those.
pub(super) fn with_their_fields<'a>(change: &SchemaChange<'a>) -> Vec<(&'a FunctionSchema, &'a String)> {
    let there = |field: &String| change.found.fields.iter().any(|it| it.name == *field);
    let lacking = |function: &&FunctionSchema| !change.found.functions.iter().any(|it| it.name == function.name);
    let new = change.wanted.functions.iter().filter(lacking).filter(|function| owns_its_field(function));
    new.filter_map(|function| match &*function.output_field_names {
        [field] if !there(field) => Some((function, field)),
        _ => None,
    })
    .collect()
}

/// Adds and alters functions on the target whose fields are there, or come with them.
pub(super) fn add_and_alter(change: &SchemaChange<'_>) -> Result<(), CatalogError> {
    let with_field = with_their_fields(change);
    for function in &change.wanted.functions {
        let there = change.found.functions.iter().find(|it| it.name == function.name);
        match (there, with_field.iter().find(|(it, _)| it.name == function.name)) {
            (Some(there), _) => alter(change, function, there)?,
            (None, Some((_, field))) => add_with_field(change, function, field)?,
            (None, None) => add(change, function)?,
        }
    }
    Ok(())
}

fn alter(change: &SchemaChange<'_>, function: &FunctionSchema, there: &FunctionSchema) -> Result<(), CatalogError> {
    let SchemaChange { context, id, name, .. } = change;
    if essence(function) == essence(there) || !is_altered(function, &change.before) {
        return Ok(());
    }
    let what = format!("changed the function {:?}", function.name);
    carried_out(context, name, &what, context.marked(*id).alter_function(name, function, &context.call))?;
    context.reporter.done(&format!("altered the function {} of {name}", function.name));
    Ok(())
}

fn add(change: &SchemaChange<'_>, function: &FunctionSchema) -> Result<(), CatalogError> {
    let SchemaChange { context, id, name, .. } = change;
    let what = format!("the function {:?}", function.name);
    // None takes such a function without its field.
    if owns_its_field(function) {
        return Err(cannot(context, name, &what, None));
    }
    carried_out(context, name, &what, context.marked(*id).add_function(name, function, &context.call))?;
    context.reporter.done(&format!("added the function {} to {name}", function.name));
    Ok(())
}

fn add_with_field(change: &SchemaChange<'_>, function: &FunctionSchema, output: &str) -> Result<(), CatalogError> {
    let SchemaChange { context, id, name, .. } = change;
    let what = format!("the function {:?}", function.name);
    let field = change.wanted.fields.iter().find(|field| field.name == output);
    let (Some(field), SchemaAlteration::ByCall) = (field, context.capabilities()?.schema_alteration) else {
        return Err(cannot(context, name, &what, None));
    };
    context.reporter.block(*id)?;
    let index = change.source.indexes.values().find(|index| index.field == output);
    let outcome = context.marked(*id).add_function_field(name, function, (field, index), &context.call);
    carried_out(context, name, &what, outcome)?;
    context.reporter.done(&format!("added the function {} with its field {output} to {name}", function.name));
    Ok(())
}

#[cfg(test)]
mod tests;
