/*!
Rows that were written to a server and that it must still have: where they are missing, an earlier state of the server
was restored, with the same ids and the same identity.

Its clock tells nothing: timestamps of a restored Milvus go on at the time of day. So the newest row of each collection
is remembered, and asked for after each loss of the connection, behind which a restored server may have taken the old
one's place. A row is remembered no longer than anybody of ours may remove it.
*/

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::domain::{CollectionName, RowLocation};

/// A row is replaced by a newer one after this time: what is written in between needs no witness of its own.
const RENEWED: Duration = Duration::from_millis(200);
/// So long a row must be missing: a Milvus 2.3.5 that has just started may call a collection loaded whose rows its
/// queries do not show yet.
const SETTLING: Duration = Duration::from_secs(15);
/// Rows asked for in one go.
const AT_ONCE: usize = 8;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessRow {
    db: String,
    collection: String,
    /// An expression that matches the row alone.
    row: String,
}

impl WitnessRow {
    /// The row of a place that `expression` matches.
    pub fn new(place: &RowLocation, expression: String) -> WitnessRow {
        let RowLocation { db, collection, .. } = place.clone();
        WitnessRow { db, collection, row: expression }
    }

    /// The collection.
    pub fn name(&self) -> CollectionName {
        CollectionName::new(&self.db, &self.collection)
    }

    /// The expression that matches it.
    pub fn expression(&self) -> &str {
        &self.row
    }
}

impl std::fmt::Display for WitnessRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the row of {} with {}", self.name(), self.row)
    }
}

/// The rows remembered of one server.
#[derive(Default)]
pub struct RowWitnesses(Mutex<Witnesses>);

#[derive(Default)]
struct Witnesses {
    /// The newest row of each collection, and when it was written.
    newest: BTreeMap<CollectionName, (WitnessRow, Instant)>,
    /// Rows written before the connection was lost, until the server has shown them.
    doubted: BTreeMap<CollectionName, DoubtedRow>,
    /// The last one that was asked for: rows that the server cannot show are in doubt for long, and hide no others.
    asked: Option<CollectionName>,
}

struct DoubtedRow {
    row: WitnessRow,
    missing_since: Option<Instant>,
}

impl RowWitnesses {
    /// Whether a row that is written there now would be remembered.
    pub fn wants(&self, place: &RowLocation) -> bool {
        let name = CollectionName::new(&place.db, &place.collection);
        self.0.lock().newest.get(&name).is_none_or(|(_, at)| at.elapsed() >= RENEWED)
    }

    /// The server has acknowledged this row.
    pub fn wrote(&self, row: WitnessRow) {
        self.0.lock().newest.insert(row.name(), (row, Instant::now()));
    }

    /// Rows of this collection are about to be removed.
    pub fn forget(&self, collection: &CollectionName) {
        let mut state = self.0.lock();
        state.newest.remove(collection);
        state.doubted.remove(collection);
    }

    /// The connection was lost: an earlier state of the server may be what answers next.
    pub fn doubt(&self) {
        let mut state = self.0.lock();
        for (name, (row, _)) in std::mem::take(&mut state.newest) {
            state.doubted.entry(name).or_insert(DoubtedRow { row, missing_since: None });
        }
    }

    /// Rows that an earlier process has written.
    pub fn remember(&self, rows: Vec<WitnessRow>) {
        let doubted = rows.into_iter().map(|row| (row.name(), DoubtedRow { row, missing_since: None }));
        self.0.lock().doubted.extend(doubted);
    }

    /// All of them, to be kept on disk.
    pub fn rows(&self) -> Vec<WitnessRow> {
        let state = self.0.lock();
        let newest = state.newest.iter().map(|(name, (row, _))| (name.clone(), row.clone()));
        let doubted = state.doubted.iter().map(|(name, doubted)| (name.clone(), doubted.row.clone()));
        // Of two the one that is in doubt counts.
        newest.chain(doubted).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Nothing is in doubt: what is missing is being written again.
    pub fn settle(&self) {
        self.0.lock().doubted.clear();
    }

    /// Some rows in doubt, which the server is to be asked for.
    pub fn in_doubt(&self) -> Vec<WitnessRow> {
        let Witnesses { doubted, asked, .. } = &mut *self.0.lock();
        let behind = asked.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let upto = asked.as_ref().map(|asked| doubted.range(..=asked)).into_iter().flatten();
        let turn = doubted.range::<CollectionName, _>((behind, Bound::Unbounded)).chain(upto).take(AT_ONCE);
        let rows: Vec<WitnessRow> = turn.map(|(_, doubted)| doubted.row.clone()).collect();
        *asked = rows.last().map(WitnessRow::name);
        rows
    }

    /// The server has shown a row in doubt, or not. Answers whether it is certainly missing.
    pub fn note(&self, row: &WitnessRow, is_there: bool, now: Instant) -> bool {
        let mut state = self.0.lock();
        // It may have been forgotten meanwhile.
        let Some(doubted) = state.doubted.get_mut(&row.name()).filter(|doubted| doubted.row == *row) else {
            return false;
        };
        if is_there {
            state.doubted.remove(&row.name());
            return false;
        }
        let since = *doubted.missing_since.get_or_insert(now);
        now.saturating_duration_since(since) >= SETTLING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(collection: &str, key: i64) -> WitnessRow {
        let place = RowLocation::within(&CollectionName::new("default", collection), "p");
        WitnessRow::new(&place, format!("id in [{key}]"))
    }

    #[test]
    fn the_newest_row_of_each_collection_is_remembered_and_what_is_in_doubt_before_it() {
        let witnesses = RowWitnesses::default();
        let place = RowLocation::within(&CollectionName::new("default", "a"), "");
        assert!(witnesses.wants(&place));
        witnesses.wrote(row("a", 1));
        assert!(!witnesses.wants(&place), "the last one is new enough");
        witnesses.wrote(row("a", 2));
        witnesses.wrote(row("b", 3));
        assert!(witnesses.in_doubt().is_empty());
        assert_eq!(witnesses.rows(), [row("a", 2), row("b", 3)]);
        witnesses.doubt();
        witnesses.wrote(row("a", 4));
        assert_eq!(witnesses.rows(), [row("a", 2), row("b", 3)], "a restored server has the newer one");
        witnesses.doubt();
        assert_eq!(witnesses.rows(), [row("a", 2), row("b", 3)], "lost once more");
        witnesses.forget(&CollectionName::new("default", "a"));
        assert_eq!(witnesses.rows(), [row("b", 3)]);
        witnesses.settle();
        assert!(witnesses.in_doubt().is_empty() && witnesses.rows().is_empty());
    }

    #[test]
    fn every_row_in_doubt_is_asked_for_in_its_turn() {
        let witnesses = RowWitnesses::default();
        let names: Vec<String> = (0..AT_ONCE + 3).map(|number| format!("c{number:02}")).collect();
        witnesses.remember(names.iter().map(|name| row(name, 1)).collect());
        let turn = || witnesses.in_doubt().iter().map(|row| row.name().name).collect::<Vec<_>>();
        assert_eq!(turn(), names[..AT_ONCE]);
        let second = turn();
        assert_eq!((&second[..3], &second[3..]), (&names[AT_ONCE..], &names[..AT_ONCE - 3]));
        witnesses.settle();
        witnesses.remember(vec![row("a", 1)]);
        assert_eq!((turn(), turn()), (vec!["a".to_owned()], vec!["a".to_owned()]));
    }

    #[test]
    fn a_row_is_missing_once_it_was_not_shown_for_a_while() {
        let (witnesses, start) = (RowWitnesses::default(), Instant::now());
        witnesses.remember(vec![row("a", 1), row("b", 2)]);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!witnesses.note(&row("a", 1), false, start));
        assert!(!witnesses.note(&row("a", 1), false, after(14)));
        assert!(witnesses.note(&row("a", 1), false, after(15)));
        assert!(!witnesses.note(&row("b", 2), false, start) && !witnesses.note(&row("b", 2), true, after(9)));
        assert!(!witnesses.note(&row("b", 2), false, after(30)), "it was shown");
        assert!(!witnesses.note(&row("a", 9), false, after(30)), "of that nothing is known");
    }
}
