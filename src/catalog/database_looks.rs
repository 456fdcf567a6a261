/*!
When the properties of databases are looked at: a few databases in each round, in turn. The log tells of them only on
2.6, so a look is what makes the change arrive, as with everything else in the catalog.
*/

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// No database is looked at more often than this.
const INTERVAL: Duration = Duration::from_secs(5);
/// Databases that are looked at in one round.
const AT_ONCE: usize = 2;

/// When each database was looked at last.
#[derive(Debug, Default)]
pub(super) struct DatabaseLooks(BTreeMap<String, Instant>);

impl DatabaseLooks {
    /// The databases to look at now: those that were not for the longest time.
    pub(super) fn take_due<'a>(&mut self, databases: impl Iterator<Item = &'a String>, now: Instant) -> Vec<String> {
        let mut looked: Vec<(Option<Instant>, &String)> = databases.map(|db| (self.0.get(db).copied(), db)).collect();
        looked.sort();
        let is_due = |at: &Option<Instant>| at.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL);
        let due = looked.iter().filter(|(at, _)| is_due(at)).take(AT_ONCE);
        let due: Vec<String> = due.map(|(_, db)| (*db).clone()).collect();
        let known: Vec<&String> = looked.iter().map(|(_, db)| *db).collect();
        self.0.retain(|db, _| known.contains(&db));
        self.0.extend(due.iter().map(|db| (db.clone(), now)));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_has_its_turn() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let (mut looks, start) = (DatabaseLooks::default(), Instant::now());
        let mut due = |names: &[String], after: Duration| looks.take_due(names.iter(), start + after);
        assert_eq!(due(&names, Duration::ZERO), ["a", "b"]);
        assert_eq!(due(&names, Duration::ZERO), ["c"]);
        assert!(due(&names, INTERVAL / 2).is_empty());
        assert_eq!(due(&names, INTERVAL), ["a", "b"]);
        assert_eq!(due(&names[2..], INTERVAL), ["c"]);
        assert_eq!(due(&names, INTERVAL), ["a", "b"], "they have gone and come again");
    }
}
