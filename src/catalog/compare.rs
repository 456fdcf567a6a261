//! What differs between a collection and its counterpart, for a person to read.

use std::collections::BTreeSet;

use super::look::{Load, SourceCollection};
use super::schema;
use crate::milvus::catalog::Index;

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
            (Some(one), Some(other)) => {
                found.extend(parameters(one, other).map(|how| ("index", format!("{name:?}: {how}"))))
            }
            (None, None) => {}
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
    // A server without partitions shows none, not even the first one.
    let have_partitions = !source.partitions.is_empty() && !target.partitions.is_empty();
    if !ignore_partitions && !by_key && have_partitions {
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

/// What two indexes do not have in common. That a Milvus Lite leaves out parameters with nothing in them, and puts in the
/// field's own dimension, is no difference.
fn parameters(source: &Index, target: &Index) -> Option<String> {
    if source.field != target.field {
        return Some(format!("it is of {:?} at the source and of {:?} on the target", source.field, target.field));
    }
    let set =
        |index: &Index, key: &str| index.params.get(key).filter(|value| !matches!(value.as_str(), "" | "{}")).cloned();
    let other =
        names(source.params.keys(), target.params.keys()).into_iter().filter(|&key| key != "dim").filter_map(|key| {
            let (here, there) = (set(source, key), set(target, key));
            let told = |value: Option<String>| value.unwrap_or_else(|| "not set".into());
            (here != there).then(|| format!("{key} is {} at the source and {} on the target", told(here), told(there)))
        });
    Some(other.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn index(params: &[(&str, &str)]) -> Index {
        let params = params.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Index { name: "i".into(), field: "vec".into(), params }
    }

    #[test]
    fn parameters_are_told_one_by_one() {
        let milvus = index(&[("index_type", "IVF_FLAT"), ("params", "{\"nlist\":8}")]);
        let other = index(&[("index_type", "IVF_FLAT"), ("metric_type", "L2")]);
        assert_eq!(parameters(&milvus, &milvus), None);
        let told = "metric_type is not set at the source and L2 on the target, params is {\"nlist\":8} at the source and not set on the target";
        assert_eq!(parameters(&milvus, &other).as_deref(), Some(told));
    }

    #[test]
    fn how_a_milvus_lite_tells_them_is_no_difference() {
        let (milvus, lite) =
            (index(&[("index_type", "FLAT"), ("params", "{}")]), index(&[("index_type", "FLAT"), ("dim", "8")]));
        assert_eq!(parameters(&milvus, &lite), None);
    }
}
