/*!
Properties of a collection on the target: what differs is changed, key by key, so that one that the target refuses
holds back no other. What was refused is not recorded; it is tried with every comparison and reported once.
*/

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::context::TargetContext;
use crate::catalog::describe::SourceCollection;
use crate::catalog::error::CatalogError;
use crate::catalog::property::{self, TTL};
use crate::catalog::record::RecordEntry;
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::Capabilities;
use crate::milvus::capabilities::{PropertyRemoval, ZeroTtl};

/// Changes that were refused in this run.
#[derive(Default)]
pub(super) struct Properties {
    refused: Mutex<BTreeSet<RefusedProperty>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct RefusedProperty {
    collection: CollectionId,
    key: String,
    /// `None`: its removal.
    value: Option<String>,
}

/// How a property is removed from a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// With `AlterCollectionRequest.delete_keys`.
    Call,
    /// By a value that means the same.
    Value(&'static str),
    /// Not at all.
    Impossible,
}

/// A property to be changed.
struct PropertyChange<'a> {
    key: &'a str,
    /// `None`: it is removed.
    value: Option<&'a str>,
}

impl Properties {
    /// Sets the properties that the source has set or changed, and removes those that it has removed, of those that
    /// the task has set.
    pub(super) fn replicate(
        &self,
        context: &TargetContext,
        entry: RecordEntry<'_>,
        source: &SourceCollection,
    ) -> Result<(), CatalogError> {
        let Some(recorded) = entry.get() else { return Ok(()) };
        let wanted = property::replicated(&source.details.properties);
        let keys: BTreeSet<&String> = wanted.keys().chain(recorded.properties.keys()).collect();
        let differing = keys.into_iter().filter(|key| wanted.get(*key) != recorded.properties.get(*key));
        // A record of an earlier version has properties that do not follow any more: they are left as they are.
        let (differing, left): (Vec<&String>, Vec<&String>) = differing.partition(|key| property::is_replicated(key));
        if !left.is_empty() {
            entry.change(|recorded| recorded.properties.retain(|key, _| !left.contains(&key)));
        }
        self.retain_refused(entry.id(), &differing);
        if differing.is_empty() {
            return Ok(entry.save()?);
        }
        let found = context.client.describe_without_aliases(&recorded.name, &context.call)?.properties;
        let mut outcome = Ok(());
        for key in differing {
            let change = PropertyChange { key, value: wanted.get(key).map(String::as_str) };
            let changed = self.change(context, entry, &recorded.name, &found, &change);
            outcome = outcome.and(changed);
        }
        entry.save()?;
        outcome
    }

    /// Makes one change and records it if it is done.
    fn change(
        &self,
        context: &TargetContext,
        entry: RecordEntry<'_>,
        name: &CollectionName,
        found: &BTreeMap<String, String>,
        change: &PropertyChange<'_>,
    ) -> Result<(), CatalogError> {
        let &PropertyChange { key, value } = change;
        if !property::is_same(key, value, found.get(key).map(String::as_str)) {
            let object = format!("{name} ({key})");
            let sent = send(context, entry.id(), name, change);
            let is_refused = sent.as_ref().is_err_and(CatalogError::is_final);
            let refused = RefusedProperty { collection: entry.id(), key: key.into(), value: value.map(str::to_owned) };
            if is_refused && !self.refused.lock().insert(refused) {
                return Ok(());
            }
            match sent {
                Err(error) if is_refused => return context.reporter.skipped("properties", &object, &error),
                outcome => outcome?,
            }
            let done = if value.is_some() { "set" } else { "removed" };
            context.reporter.done(&format!("{done} the property {key} of {name}"));
        }
        entry.change(|recorded| match value {
            Some(value) => drop(recorded.properties.insert(key.into(), value.into())),
            None => drop(recorded.properties.remove(key)),
        });
        Ok(())
    }

    /// Forgets refusals of changes that are not wanted any more, so that they are reported when they are again.
    fn retain_refused(&self, id: CollectionId, differing: &[&String]) {
        self.refused.lock().retain(|refused| refused.collection != id || differing.contains(&&refused.key));
    }
}

fn send(
    context: &TargetContext,
    id: CollectionId,
    name: &CollectionName,
    change: &PropertyChange<'_>,
) -> Result<(), CatalogError> {
    let set = |value: &str| {
        let property = BTreeMap::from([(change.key.to_owned(), value.to_owned())]);
        Ok(context.marked(id).alter_collection(name, &property, &context.call)?)
    };
    let Some(value) = change.value else {
        return match removal(change.key, &context.capabilities()?) {
            Removal::Call => Ok(context.marked(id).remove_property(name, change.key, &context.call)?),
            Removal::Value(value) => set(value),
            Removal::Impossible => {
                Err(CatalogError::Conflict(format!("{} cannot remove a property", context.target()?)))
            }
        };
    };
    set(value)
}

fn removal(key: &str, can: &Capabilities) -> Removal {
    match (can.property_removal, can.zero_ttl) {
        (PropertyRemoval::ByCall, _) => Removal::Call,
        (PropertyRemoval::Ignored, ZeroTtl::MeansNone) if key == TTL => Removal::Value("0"),
        (PropertyRemoval::Ignored, _) => Removal::Impossible,
    }
}

#[cfg(test)]
mod tests;
