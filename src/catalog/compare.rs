//! The differences between a collection and its counterpart, as text.

use std::collections::BTreeSet;

use super::describe::{Load, SourceCollection};
use super::{property, schema};
use crate::milvus::catalog::Index;
use crate::task::spec::LoadPolicy;

/// Differences as pairs: the part that differs, and how. Numbers of replicas are not compared: the target may have
/// fewer query nodes.
pub(crate) fn differences(
    source: &SourceCollection,
    target: &SourceCollection,
    ignore_partitions: bool,
    policy: LoadPolicy,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let by_key = schema::has_partition_key(&source.details.schema);
    found.extend(schema::difference(&source.details, &target.details).map(|how| ("schema", how)));
    let properties = property::differences(&source.details.properties, &target.details.properties);
    found.extend(properties.into_iter().map(|how| ("property", how)));
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
    let shown = |load: &Load| if ignore_partitions { load.clone().without_partitions() } else { load.clone() };
    if load_differs(&shown(&source.load), &shown(&target.load), policy) {
        found.push(("load state", format!("it is {} at the source and {} on the target", source.load, target.load)));
    }
    found
}

/// How two indexes differ. Not counted: parameters without a value, which Milvus Lite leaves out, and the field's own
/// dimension, which it adds.
fn parameters(source: &Index, target: &Index) -> Option<String> {
    if source.field != target.field {
        return Some(format!("it is of {:?} at the source and of {:?} on the target", source.field, target.field));
    }
    let set =
        |index: &Index, key: &str| index.params.get(key).filter(|value| !matches!(value.as_str(), "" | "{}")).cloned();
    let other =
        names(source.params.keys(), target.params.keys()).into_iter().filter(|&key| key != "dim").filter_map(|key| {
            let (here, there) = (set(source, key), set(target, key));
            let shown = |value: Option<String>| value.unwrap_or_else(|| "not set".into());
            (here != there)
                .then(|| format!("{key} is {} at the source and {} on the target", shown(here), shown(there)))
        });
    Some(other.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
}

fn names<'a>(
    one: impl IntoIterator<Item = &'a String>,
    other: impl IntoIterator<Item = &'a String>,
) -> BTreeSet<&'a String> {
    one.into_iter().chain(other).collect()
}

/// Whether the target's load state is another than the task would make it.
fn load_differs(source: &Load, target: &Load, policy: LoadPolicy) -> bool {
    match policy {
        LoadPolicy::Follow => loaded(source) != loaded(target),
        LoadPolicy::LoadOnly => match (loaded(source), loaded(target)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wanted), Some(found)) => !wanted.is_subset(&found),
        },
        LoadPolicy::Ignore => false,
    }
}

/// The partitions that are loaded; `None`: all.
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
    fn parameters_are_compared_one_by_one() {
        let milvus = index(&[("index_type", "IVF_FLAT"), ("params", "{\"nlist\":8}")]);
        let other = index(&[("index_type", "IVF_FLAT"), ("metric_type", "L2")]);
        assert_eq!(parameters(&milvus, &milvus), None);
        let expected = "metric_type is not set at the source and L2 on the target, \
                        params is {\"nlist\":8} at the source and not set on the target";
        assert_eq!(parameters(&milvus, &other).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_loaded_on_the_target_only_differs_where_releases_follow() {
        let part = |name: &str| Load::Partitions { names: [name.to_owned()].into(), replicas: 1 };
        let whole = || Load::Whole { replicas: 1 };
        for (source, target, differing) in [
            (whole(), whole(), [false, false, false]),
            (whole(), part("p"), [true, true, false]),
            (part("p"), whole(), [true, false, false]),
            (Load::None, whole(), [true, false, false]),
            (part("q"), part("p"), [true, true, false]),
        ] {
            let found = LoadPolicy::ALL.map(|policy| load_differs(&source, &target, policy));
            assert_eq!(found, differing, "{source:?} {target:?}");
        }
    }

    #[test]
    fn the_form_that_milvus_lite_shows_them_in_is_no_difference() {
        let (milvus, lite) =
            (index(&[("index_type", "FLAT"), ("params", "{}")]), index(&[("index_type", "FLAT"), ("dim", "8")]));
        assert_eq!(parameters(&milvus, &lite), None);
    }
}
