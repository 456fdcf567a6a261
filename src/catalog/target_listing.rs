//! What the target lists, and what has changed there since: somebody else may have mended what holds a collection.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::error::CatalogError;
use crate::domain::CollectionName;
use crate::milvus::{CallContext, Client};

/// Time between two listings.
const INTERVAL: Duration = Duration::from_secs(20);
/// The same while somebody is waited for who mends something.
const INTERVAL_HELD: Duration = Duration::from_secs(2);

/// Whether a listing is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Routine,
    Held,
}

/// The target's listing of some databases.
#[derive(Default)]
pub(super) struct TargetListing {
    listed: BTreeMap<CollectionName, i64>,
    databases: BTreeSet<String>,
    at: Option<Instant>,
}

impl TargetListing {
    /// Lists these databases when it is time. Answers the names that stand for something else since the last listing;
    /// `None` when it was not time.
    pub(super) fn renew(
        &mut self,
        databases: BTreeSet<String>,
        urgency: Urgency,
        client: &Client,
        call: &CallContext,
    ) -> Result<Option<BTreeSet<CollectionName>>, CatalogError> {
        let now = Instant::now();
        let interval = if urgency == Urgency::Held { INTERVAL_HELD } else { INTERVAL };
        if databases.is_empty() || self.at.is_some_and(|at| now.saturating_duration_since(at) < interval) {
            return Ok(None);
        }
        self.at = Some(now);
        let mut listed = BTreeMap::new();
        for db in &databases {
            match client.list_collections(db, call) {
                Ok(found) => {
                    listed.extend(found.into_iter().map(|it| (CollectionName::new(db, it.name), it.id)));
                }
                Err(error) if error.is_database_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(self.replace(databases, listed)))
    }

    /// The id that a name stands for; `None` when it is not listed.
    pub(super) fn id_of(&self, name: &CollectionName) -> Option<i64> {
        self.listed.get(name).copied()
    }

    fn replace(
        &mut self,
        databases: BTreeSet<String>,
        listed: BTreeMap<CollectionName, i64>,
    ) -> BTreeSet<CollectionName> {
        let before = std::mem::replace(&mut self.listed, listed);
        let known = std::mem::replace(&mut self.databases, databases);
        let names: BTreeSet<&CollectionName> = before.keys().chain(self.listed.keys()).collect();
        let is_compared = |name: &CollectionName| known.contains(&name.db) && self.databases.contains(&name.db);
        let changed = |name: &&CollectionName| is_compared(name) && before.get(*name) != self.listed.get(*name);
        names.into_iter().filter(changed).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_went_came_or_stands_for_another_is_a_change() {
        let name = |name: &str| CollectionName::new("d", name);
        let listing = |ids: &[(&str, i64)]| ids.iter().map(|(of, id)| (name(of), *id)).collect::<BTreeMap<_, _>>();
        let mut target = TargetListing::default();
        let mut replace = |ids: &[(&str, i64)]| target.replace(BTreeSet::from(["d".into()]), listing(ids));
        assert!(replace(&[("a", 1), ("b", 2)]).is_empty(), "nothing was known before");
        assert!(replace(&[("a", 1), ("b", 2)]).is_empty());
        assert_eq!(replace(&[("a", 1), ("b", 3)]), BTreeSet::from([name("b")]));
        assert_eq!(replace(&[("c", 4), ("b", 3)]), BTreeSet::from([name("a"), name("c")]));
    }
}
