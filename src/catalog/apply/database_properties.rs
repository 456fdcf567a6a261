/*!
Properties of a database on the target: those that a user has set at the source, key by key, as with collections
([`super::properties`]). Limits and nodes of the source do not follow, and nothing that would stop the writing there.
*/

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::context::TargetContext;
use crate::catalog::error::CatalogError;
use crate::catalog::property;
use crate::catalog::record::CatalogRecord;
use crate::domain::Mark;
use crate::milvus::capabilities::PropertyRemoval;
use crate::milvus::{Error, ErrorKind, RetryPolicy, retry_policy};

/// Changes that were refused in this run, by database and key.
#[derive(Default)]
pub(super) struct DatabaseProperties {
    refused: Mutex<BTreeSet<(String, String)>>,
}

impl DatabaseProperties {
    /// Sets what the source has set or changed of database `db` on the target, and removes what it has removed, of what
    /// the task has set.
    pub(super) fn replicate(
        &self,
        context: &TargetContext,
        record: &CatalogRecord,
        db: &str,
        source: &BTreeMap<String, String>,
    ) -> Result<(), CatalogError> {
        let (wanted, mut recorded) = (property::replicated(source), record.database_properties(db));
        if wanted == recorded {
            return Ok(());
        }
        let found = match context.client.database_properties(db, &context.call) {
            Ok(found) => found.unwrap_or_default(),
            // It is made first.
            Err(error) if error.is_database_missing() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let keys: BTreeSet<&String> = wanted.keys().chain(recorded.keys()).collect();
        let differing = keys.into_iter().filter(|key| wanted.get(*key) != recorded.get(*key));
        for key in differing.cloned().collect::<Vec<String>>() {
            let value = wanted.get(&key).map(String::as_str);
            let is_there = property::is_same(&key, value, found.get(&key).map(String::as_str));
            if !is_there && !self.change(context, db, &key, value)? {
                continue;
            }
            match value {
                Some(value) => drop(recorded.insert(key, value.to_owned())),
                None => drop(recorded.remove(&key)),
            }
        }
        record.set_database_properties(db, recorded);
        Ok(record.save()?)
    }

    /// Makes one change; false if the target refuses it for good, which is reported once.
    fn change(&self, context: &TargetContext, db: &str, key: &str, value: Option<&str>) -> Result<bool, CatalogError> {
        let why = match send(context, db, key, value)? {
            Sent::Done => {
                let done = if value.is_some() { "set" } else { "removed" };
                context.reporter.done(&format!("{done} the property {key} of the database {db}"));
                return Ok(true);
            }
            Sent::Refused(why) => why,
        };
        if self.refused.lock().insert((db.to_owned(), key.to_owned())) {
            context.reporter.skipped("database properties", &format!("{db} ({key})"), &why)?;
        }
        Ok(false)
    }
}

/// What became of a change.
enum Sent {
    Done,
    /// For good: why.
    Refused(String),
}

fn send(context: &TargetContext, db: &str, key: &str, value: Option<&str>) -> Result<Sent, CatalogError> {
    let set: BTreeMap<String, String> = value.map(|value| (key.to_owned(), value.to_owned())).into_iter().collect();
    let removed: Vec<String> = if set.is_empty() { vec![key.to_owned()] } else { Vec::new() };
    if !removed.is_empty() && context.capabilities()?.property_removal == PropertyRemoval::Ignored {
        return Ok(Sent::Refused(format!("{} cannot remove a property", context.target()?)));
    }
    let is_refused = |error: &Error| error.kind == ErrorKind::Unimplemented || retry_policy(error) == RetryPolicy::Stop;
    match context.client.marked(Mark::OF_NO_COLLECTION).alter_database(db, &set, removed, &context.call) {
        Ok(()) => Ok(Sent::Done),
        Err(error) if is_refused(&error) => Ok(Sent::Refused(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::apply::testing::Bench;
    use crate::catalog::event::CatalogEvent;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// What the database has after each state of the source's.
    fn after(bench: &Bench, states: &[&[(&str, &str)]]) -> Vec<BTreeMap<String, String>> {
        let properties = DatabaseProperties::default();
        let one = |source: &&[(&str, &str)]| {
            properties.replicate(&bench.context, &bench.record, "default", &map(source)).unwrap();
            bench.target.database("default")
        };
        states.iter().map(one).collect()
    }

    #[test]
    fn what_users_set_follows_and_goes_again() {
        let bench = Bench::of("2.6.20");
        bench.target.set_database("default", map(&[("theirs", "1")]));
        let limits = ("database.diskQuota.mb", "10");
        let deny = ("database.force.deny.writing", "true");
        let states: [&[(&str, &str)]; 3] =
            [&[("timezone", "Asia/Tokyo"), limits, deny], &[("timezone", "Asia/Tokyo"), ("x", "2")], &[]];
        let found = after(&bench, &states);
        assert_eq!(found[0], map(&[("theirs", "1"), ("timezone", "Asia/Tokyo")]));
        assert_eq!(found[1], map(&[("theirs", "1"), ("timezone", "Asia/Tokyo"), ("x", "2")]));
        assert_eq!(found[2], map(&[("theirs", "1")]), "what is the target's own stays");
        let steps = bench.target.done();
        after(&bench, &[&[]]);
        assert_eq!(bench.target.done(), steps, "nothing is asked for twice");
    }

    #[test]
    fn a_target_that_cannot_is_named_once() {
        let bench = Bench::of("v2.3.5");
        after(&bench, &[&[("timezone", "Asia/Tokyo")], &[("timezone", "Asia/Tokyo")]]);
        let skipped = bench.events.try_iter().filter(|event| matches!(event, CatalogEvent::Skipped { .. })).count();
        assert_eq!(skipped, 1);
        assert!(bench.record.database_properties("default").is_empty());
    }
}
