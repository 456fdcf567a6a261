//! The lag and the rows of the last hour, in slots of half a minute.

use std::collections::VecDeque;
use std::time::Duration;

/// Length of one slot.
pub const SLOT: Duration = Duration::from_secs(30);
/// Number of slots in an hour.
pub const SLOTS: usize = 120;

const SLOT_MS: u64 = SLOT.as_millis() as u64;

/// One slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Start of the slot, in milliseconds since 1970.
    pub at_ms: u64,
    /// Largest lag in the slot; `None` where it was unknown.
    pub lag: Option<Duration>,
    /// Rows acknowledged during the slot.
    pub rows: u64,
}

#[derive(Debug, Default)]
pub(super) struct Curve {
    points: VecDeque<Point>,
    /// Total rows at the last sample; `None` before the first.
    rows_before: Option<u64>,
}

impl Curve {
    pub(super) fn note(&mut self, now_ms: u64, lag: Option<Duration>, rows: u64) {
        let at_ms = now_ms / SLOT_MS * SLOT_MS;
        let new = self.rows_before.replace(rows).map_or(0, |before| rows.saturating_sub(before));
        match self.points.back_mut().filter(|point| point.at_ms == at_ms) {
            Some(point) => {
                point.lag = point.lag.max(lag);
                point.rows += new;
            }
            None => self.points.push_back(Point { at_ms, lag, rows: new }),
        }
        self.forget(now_ms);
    }

    pub(super) fn points(&mut self, now_ms: u64) -> Vec<Point> {
        self.forget(now_ms);
        self.points.iter().copied().collect()
    }

    fn forget(&mut self, now_ms: u64) {
        let oldest = (now_ms / SLOT_MS * SLOT_MS).saturating_sub((SLOTS as u64 - 1) * SLOT_MS);
        // The second condition is for a clock that was set back.
        while self.points.front().is_some_and(|point| point.at_ms < oldest) || self.points.len() > SLOTS {
            self.points.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Option<Duration> {
        Some(Duration::from_millis(milliseconds))
    }

    #[test]
    fn the_worst_of_each_slot() {
        let mut curve = Curve::default();
        curve.note(1_000, None, 5);
        curve.note(2_000, ms(300), 7);
        curve.note(3_000, ms(200), 7);
        curve.note(31_000, ms(100), 10);
        let points = curve.points(31_000);
        assert_eq!(points, [Point { at_ms: 0, lag: ms(300), rows: 2 }, Point { at_ms: 30_000, lag: ms(100), rows: 3 }]);
    }

    #[test]
    fn an_hour_and_no_more() {
        let mut curve = Curve::default();
        for slot in 0..500 {
            curve.note(slot * SLOT_MS, ms(slot), 0);
        }
        assert_eq!(curve.points(499 * SLOT_MS).len(), SLOTS);
        // Not running for half an hour leaves a hole, not a line.
        assert_eq!(curve.points(559 * SLOT_MS).len(), SLOTS / 2);
        assert_eq!(curve.points(10_000 * SLOT_MS).len(), 0);
    }

    #[test]
    fn a_clock_set_back_does_not_fill_the_memory() {
        let mut curve = Curve::default();
        for slot in (0..1000).rev() {
            curve.note(slot * SLOT_MS, None, 0);
        }
        assert!(curve.points(0).len() <= SLOTS);
    }
}
