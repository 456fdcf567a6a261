//! Going round: what no listing and no hint shows is found by describing one collection after the other.

use std::ops::Bound;
use std::time::Duration;

use super::carry::CarryError;
use super::watcher::{LISTING, Watch};
use crate::domain::CollectionId;

/// In this time every collection is described once: what no listing and no hint shows (aliases, properties).
const TOUR: Duration = Duration::from_millis(1200);
/// No more than so many are described in a second: with thousands of collections the tour takes longer, instead of keeping the source busy.
const MOST_PER_SECOND: f64 = 125.0;
/// In this time every collection is looked at wholly once: what even the tour does not show, should a hint be lost.
const DEEP_TOUR: Duration = Duration::from_secs(60);

/// Where the tour is.
#[derive(Default)]
pub(super) struct Tour {
    /// The collection described last.
    at: Option<CollectionId>,
    /// How many descriptions are due, in parts.
    due: f64,
    /// Steps since the beginning; every so many are a deep look.
    steps: u64,
}

/// How many of so many collections are described between two listings.
fn per_round(count: usize) -> f64 {
    let all_in_time = count as f64 * (LISTING.as_secs_f64() / TOUR.as_secs_f64()).min(1.0);
    all_in_time.min(LISTING.as_secs_f64() * MOST_PER_SECOND)
}

impl Watch {
    /// Describes the next few collections; every now and then looks at them wholly.
    pub(super) fn tour(&mut self) -> Result<(), CarryError> {
        let count = self.listed.len();
        self.tour.due += per_round(count);
        self.tour.due = self.tour.due.min(count as f64);
        let rounds_to_deep = (DEEP_TOUR.as_secs_f64() / TOUR.as_secs_f64()) as u64;
        while self.tour.due >= 1.0 {
            self.tour.due -= 1.0;
            self.tour.steps += 1;
            let behind = self.tour.at.and_then(|at| self.listed.range((Bound::Excluded(at), Bound::Unbounded)).next());
            let Some((&id, (db, name))) = behind.or_else(|| self.listed.iter().next()) else { break };
            self.tour.at = Some(id);
            let Some(seen) = self.seen.get(&id) else { continue };
            let deep = (self.tour.steps / count.max(1) as u64 + self.tour.steps).is_multiple_of(rounds_to_deep);
            let changed = match self.source.describe_collection(db, name, &self.context) {
                Ok(details) => details != seen.details,
                Err(error) if error.is_collection_missing() || error.is_database_missing() => false,
                Err(error) => {
                    self.fails_at_source(id, error)?;
                    continue;
                }
            };
            if deep || changed {
                self.carry(id)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a tour of so many collections takes, in seconds.
    fn tour(count: usize) -> f64 {
        count as f64 / per_round(count) * LISTING.as_secs_f64()
    }

    #[test]
    fn a_hundred_in_a_second_or_so_and_thousands_without_haste() {
        assert!((tour(1) - 1.2).abs() < 0.01 && (tour(100) - 1.2).abs() < 0.01);
        assert!((tour(1000) - 8.0).abs() < 0.01 && (tour(10_000) - 80.0).abs() < 0.01);
    }
}
