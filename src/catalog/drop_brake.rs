/*!
The brake on drops: when much vanishes at once, nothing is dropped on the target before a user has said so.

One collection that disappears was dropped by somebody; most of them within a minute are a mistake, a script gone wrong,
or a source that has lost its metadata. So a drop waits until nothing else has vanished for a while, and when more than
half vanish together, all of them are held.
*/

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What vanishes within this time vanishes at once.
const WINDOW: Duration = Duration::from_secs(60);
/// A drop waits until nothing else has vanished for so long: whoever drops everything takes a moment for each.
const QUIET: Duration = Duration::from_secs(2);
/// Where collections come and go all the time, a drop waits no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Fewer are never a mass.
const MASS: usize = 3;

/// What is to become of drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrakeState {
    /// They may be carried out, each in its time.
    Released,
    /// Too much has vanished at once: they are to be held.
    Engaged,
}

/// Objects of one kind that have vanished of late.
pub(super) struct DropBrake<K> {
    vanished: BTreeMap<K, Instant>,
}

impl<K> Default for DropBrake<K> {
    fn default() -> Self {
        DropBrake { vanished: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> DropBrake<K> {
    /// Takes note of what is `missing` now; `present` are those that are not.
    pub(super) fn count(&mut self, missing: &[K], present: usize, now: Instant) -> BrakeState {
        self.vanished.retain(|key, at| now.duration_since(*at) < WINDOW || missing.contains(key));
        for key in missing {
            self.vanished.entry(key.clone()).or_insert(now);
        }
        let recent = self.vanished.values().filter(|at| now.duration_since(**at) < WINDOW).count();
        if recent >= MASS && recent > present { BrakeState::Engaged } else { BrakeState::Released }
    }

    /// It is back, or what is missing of it is held or decided: it has not vanished.
    pub(super) fn forget(&mut self, key: &K) {
        self.vanished.remove(key);
    }

    /// Whether so little has vanished of late that a drop which the log shows need not wait for what vanishes next.
    pub(super) fn is_calm(&self, now: Instant) -> bool {
        self.vanished.values().filter(|at| now.duration_since(**at) < WINDOW).count() < MASS
    }

    /// Whether nothing speaks against carrying out a drop now. `present` as in [`Self::count`].
    pub(super) fn is_due(&self, key: &K, present: usize, now: Instant) -> bool {
        // Too few for a mass, whatever vanishes next.
        if self.vanished.len() + present < MASS {
            return true;
        }
        let Some(at) = self.vanished.get(key) else { return false };
        let is_quiet = self.vanished.values().all(|at| now.duration_since(*at) >= QUIET);
        is_quiet || now.duration_since(*at) >= LONGEST_WAIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_that_vanishes_goes_after_a_moment() {
        let (mut brake, start) = (DropBrake::default(), Instant::now());
        assert_eq!(brake.count(&["a"], 9, start), BrakeState::Released);
        assert!(!brake.is_due(&"a", 9, start));
        assert!(brake.is_due(&"a", 9, start + QUIET));
        assert!(!brake.is_due(&"b", 9, start + QUIET), "never counted");
    }

    #[test]
    fn of_two_collections_nothing_is_a_mass() {
        let (mut brake, start) = (DropBrake::default(), Instant::now());
        assert_eq!(brake.count(&["a", "b"], 0, start), BrakeState::Released);
        assert!(brake.is_due(&"a", 0, start) && brake.is_due(&"b", 0, start));
    }

    #[test]
    fn most_of_them_within_a_minute_are_held_however_they_go() {
        let (mut brake, start) = (DropBrake::default(), Instant::now());
        assert_eq!(brake.count(&["a", "b", "c"], 3, start), BrakeState::Released, "half");
        assert_eq!(brake.count(&["a", "b", "c", "d"], 2, start + SECOND), BrakeState::Engaged);
        let mut one_by_one = DropBrake::default();
        let names = ["a", "b", "c", "d"];
        for (at, present) in (1..=4).zip([3, 2, 1, 0]) {
            let now = start + 10 * SECOND * at;
            // Those before have been dropped meanwhile.
            let state = one_by_one.count(&names[at as usize - 1..at as usize], present, now);
            assert_eq!(state == BrakeState::Engaged, at >= 3, "{at}");
        }
    }

    #[test]
    fn a_script_that_takes_its_time_is_waited_for_and_steady_change_is_not() {
        let (mut brake, start) = (DropBrake::default(), Instant::now());
        for at in 0..20_u32 {
            let missing: Vec<u32> = (0..=at).collect();
            brake.count(&missing, 1000, start + SECOND * at);
            let now = start + SECOND * at;
            assert_eq!(brake.is_due(&0, 1000, now), at >= 10, "{at}");
        }
    }

    #[test]
    fn what_the_log_shows_waits_only_where_much_vanishes() {
        let (mut brake, start) = (DropBrake::default(), Instant::now());
        brake.count(&["a"], 9, start);
        brake.count(&["b"], 8, start + SECOND);
        assert!(brake.is_calm(start + SECOND));
        brake.count(&["c"], 7, start + SECOND);
        assert!(!brake.is_calm(start + SECOND), "the third within a minute");
        brake.count(&[], 7, start + WINDOW);
        assert!(brake.is_calm(start + WINDOW));
    }

    #[test]
    fn what_is_back_or_long_gone_does_not_count() {
        let (mut brake, start) = (DropBrake::default(), Instant::now());
        brake.count(&["a", "b"], 2, start);
        brake.forget(&"a");
        assert_eq!(brake.count(&["b", "c"], 1, start), BrakeState::Released);
        let later = start + WINDOW;
        assert_eq!(brake.count(&["d"], 1, later), BrakeState::Released, "a minute has passed");
    }
}
