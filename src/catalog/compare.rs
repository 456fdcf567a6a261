//! What differs between a collection and its counterpart, for a person to read.

use std::collections::BTreeSet;

use super::look::{Load, SourceCollection};
use super::schema;

/// Differences as pairs of what and how. Replicas do not count: a target may have too few nodes for them.
pub(crate) fn differences(
    source: &SourceCollection,
    target: &SourceCollection,
    ignore_partitions: bool,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let by_key = schema::has_partition_key(&source.details.schema);
    found.extend(schema::difference(&source.details, &target.details, by_key).map(|how| ("schema", how)));
    for name in names(source.indexes.keys(), target.indexes.keys()) {
        match (source.indexes.get(name), target.indexes.get(name)) {
            (Some(_), None) => found.push(("index", format!("{name:?} is missing"))),
            (None, Some(_)) => found.push(("index", format!("{name:?} is on the target only"))),
            (one, other) if one != other => found.push(("index", format!("{name:?} has other parameters"))),
            _ => {}
        }
    }
    for name in names(&source.details.aliases, &target.details.aliases) {
        let is_missing = source.details.aliases.contains(name);
        match (is_missing, target.details.aliases.contains(name)) {
            (true, true) => {}
            (true, false) => found.push(("alias", format!("{name:?} is missing"))),
            _ => found.push(("alias", format!("{name:?} is on the target only"))),
        }
    }
    if !ignore_partitions && !by_key {
        for name in names(source.partitions.keys(), target.partitions.keys()) {
            match (source.partitions.contains_key(name), target.partitions.contains_key(name)) {
                (true, true) => {}
                (true, false) => found.push(("partition", format!("{name:?} is missing"))),
                _ => found.push(("partition", format!("{name:?} is on the target only"))),
            }
        }
    }
    if loaded(&source.load) != loaded(&target.load) {
        found.push(("load state", format!("it is {} at the source and {} on the target", source.load, target.load)));
    }
    found
}

fn names<'a>(
    one: impl IntoIterator<Item = &'a String>,
    other: impl IntoIterator<Item = &'a String>,
) -> BTreeSet<&'a String> {
    one.into_iter().chain(other).collect()
}

/// What is loaded, however often; `None`: all of it.
fn loaded(load: &Load) -> Option<BTreeSet<String>> {
    match load {
        Load::Whole { .. } => None,
        Load::Partitions { names, .. } => Some(names.clone()),
        Load::None => Some(BTreeSet::new()),
    }
}
