/*!
Which properties of a collection are replicated, and when two servers have the same.

Everything that a user sets is, but for two kinds of properties (docs/operating.md names them). Servers set some
themselves, as marks of what they are doing: on another server such a mark means something that is not so. Others make
sense only where they were set: limits protect that server, and would slow down or stop the replication itself;
replicas and resource groups depend on the nodes there.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long rows live, in seconds.
pub(super) const TTL: &str = "collection.ttl.seconds";

/// Properties that servers set or need themselves. A dot at the end stands for all that begin so.
const MADE_BY_SERVERS: [&str; 8] = [
    // Set while a truncation runs (2.6). Left behind, it would turn compaction off for good.
    "collection.on.truncating",
    // Milvus's own replication: such a collection refuses ordinary writes.
    "replicate.",
    // The key belongs to the server's key management.
    "cipher.",
    // The task sets it itself on a target that takes given keys so.
    "allow_insert_auto_id",
    // 3.0 gives them to every collection, and refuses every change of them.
    "namespace.sharding.enabled",
    "max_field_id",
    // A request to change the schema, as is the next one.
    "dynamicfield.enabled",
    "collection.description",
];

/// Properties that make sense only at the source.
const OF_THE_SOURCE: [&str; 13] = [
    "collection.insertRate.",
    "collection.upsertRate.",
    "collection.deleteRate.",
    "collection.bulkLoadRate.",
    "collection.queryRate.",
    "collection.searchRate.",
    "collection.diskProtection.",
    "partition.diskProtection.",
    "collection.replica.number",
    "collection.resource_groups",
    "load_priority",
    "database.",
    // Users, roles and policies are not replicated: without them nobody could read a row.
    "rls.",
];

/// What every collection has from 2.6 on unless a user sets another value: it means the same as none.
const TIME_ZONE: (&str, &str) = ("timezone", "UTC");

/// Whether a property follows.
pub(super) fn is_replicated(key: &str) -> bool {
    let mut others = MADE_BY_SERVERS.iter().chain(&OF_THE_SOURCE);
    !others.any(|other| key == *other || other.ends_with('.') && key.starts_with(other))
}

/// Those of a collection's properties that follow.
pub(super) fn replicated(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let follows = |(key, value): &(&String, &String)| is_replicated(key) && (key.as_str(), value.as_str()) != TIME_ZONE;
    properties.iter().filter(follows).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What of a collection's properties its counterpart has, too, of those that follow.
pub(super) fn common(wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut common = replicated(wanted);
    common.retain(|key, value| is_same(key, Some(value.as_str()), found.get(key).map(String::as_str)));
    common
}

/// Whether two values of a property mean the same.
pub(super) fn is_same(key: &str, one: Option<&str>, other: Option<&str>) -> bool {
    let is_default = |value: &str| key == TTL && lives_for(value) == Some(0) || (key, value) == TIME_ZONE;
    let meant = |value: Option<&str>| value.filter(|value| !is_default(value)).map(str::to_owned);
    meant(one) == meant(other)
}

/// The seconds that a TTL stands for; 0 for one that is switched off.
fn lives_for(value: &str) -> Option<i64> {
    value.trim().parse::<i64>().ok().map(|seconds| seconds.max(0))
}

/// How long the rows of a collection with these properties live; `None`: for ever.
pub(crate) fn ttl(properties: &BTreeMap<String, String>) -> Option<Duration> {
    let seconds = properties.get(TTL).and_then(|value| lives_for(value)).filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.unsigned_abs()))
}

/// How the properties of a collection differ from those of its counterpart, as text.
pub(super) fn differences(source: &BTreeMap<String, String>, target: &BTreeMap<String, String>) -> Vec<String> {
    let keys: BTreeSet<&String> = source.keys().chain(target.keys()).filter(|key| is_replicated(key)).collect();
    let differs = |key: &String| {
        let (here, there) = (source.get(key).map(String::as_str), target.get(key).map(String::as_str));
        if is_same(key, here, there) {
            return None;
        }
        let shown = |value: Option<&str>| value.map_or("not set".into(), |value| format!("{value:?}"));
        Some(format!("{key} is {} at the source and {} on the target", shown(here), shown(there)))
    };
    keys.into_iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_users_set_follows() {
        for key in [TTL, "mmap.enabled", "partitionkey.isolation", "collection.autocompaction.enabled", "timezone", "x"]
        {
            assert!(is_replicated(key), "{key}");
        }
    }

    #[test]
    fn what_servers_make_and_what_is_about_the_source_does_not() {
        for key in [
            "collection.on.truncating",
            "namespace.sharding.enabled",
            "max_field_id",
            "replicate.id",
            "replicate.endTS",
            "cipher.ezID",
            "allow_insert_auto_id",
            "dynamicfield.enabled",
            "collection.description",
            "collection.insertRate.max.mb",
            "collection.insertRate.min.mb",
            "collection.upsertRate.max.mb",
            "collection.deleteRate.max.mb",
            "collection.bulkLoadRate.max.mb",
            "collection.queryRate.max.qps",
            "collection.searchRate.min.vps",
            "collection.diskProtection.diskQuota.mb",
            "partition.diskProtection.diskQuota.mb",
            "collection.replica.number",
            "collection.resource_groups",
            "load_priority",
            "database.force.deny.writing",
            "rls.enabled",
        ] {
            assert!(!is_replicated(key), "{key}");
        }
        assert_eq!(replicated(&map(&[(TTL, "5"), ("cipher.key", "k")])), map(&[(TTL, "5")]));
        let found = map(&[(TTL, "5"), ("x", "1"), ("cipher.key", "k")]);
        assert_eq!(common(&map(&[(TTL, "5"), ("x", "2"), ("cipher.key", "k")]), &found), map(&[(TTL, "5")]));
    }

    #[test]
    fn a_ttl_that_is_off_is_none() {
        for off in [None, Some("0"), Some("-1")] {
            assert!(is_same(TTL, off, None) && is_same(TTL, Some("0"), off), "{off:?}");
            assert!(!is_same(TTL, off, Some("60")), "{off:?}");
        }
        assert!(!is_same("x", Some("0"), None));
    }

    #[test]
    fn differences_name_both_values() {
        let source = map(&[(TTL, "60"), ("mmap.enabled", "true"), ("collection.replica.number", "2")]);
        let target = map(&[(TTL, "60"), ("timezone", "UTC"), ("x", "1")]);
        let expected = [
            "mmap.enabled is \"true\" at the source and not set on the target",
            "x is not set at the source and \"1\" on the target",
        ];
        assert_eq!(differences(&source, &target), expected);
    }

    #[test]
    fn the_time_zone_that_every_collection_is_given_is_none() {
        let (given, none) = (map(&[("timezone", "UTC")]), map(&[]));
        assert_eq!(replicated(&given), none);
        assert!(differences(&given, &none).is_empty() && differences(&none, &given).is_empty());
        let set = map(&[("timezone", "Asia/Tokyo")]);
        assert_eq!(replicated(&set), set);
        assert_eq!((differences(&set, &given).len(), differences(&none, &set).len()), (1, 1));
    }

    #[test]
    fn how_long_rows_live() {
        let ttl = |value: &str| ttl(&BTreeMap::from([(TTL.to_owned(), value.to_owned())])).map(|ttl| ttl.as_secs());
        assert_eq!([ttl("25"), ttl(" 1 "), ttl("0"), ttl("-1"), ttl("soon")], [Some(25), Some(1), None, None, None]);
        assert_eq!(super::ttl(&BTreeMap::new()), None);
    }
}
