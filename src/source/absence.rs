//! Topics of a broker that are not there: not made yet, not known yet to a broker that has just started, or deleted.

use std::time::{Duration, Instant};

use super::log::{Next, ReadEnd};

/// How often such a topic is asked for.
const POLL: Duration = Duration::from_secs(1);
/// A topic that is unknown for longer has been deleted.
const FOR_GOOD: Duration = Duration::from_secs(30);

/// Since when a topic is known not to be there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absence {
    since: Instant,
    asked: Instant,
}

impl Absence {
    /// It has been asked for just now; `before`: what was known.
    pub(super) fn noted(before: Option<Absence>) -> Absence {
        let now = Instant::now();
        Absence { since: before.map_or(now, |before| before.since), asked: now }
    }

    /// Whether asking again can wait.
    pub(super) fn is_fresh(self) -> bool {
        self.asked.elapsed() < POLL
    }

    /// Whether it has been deleted, and what was to be read with it.
    pub(super) fn is_for_good(self) -> bool {
        self.asked - self.since >= FOR_GOOD
    }

    /// How reading ends until then: the topic is empty, or not yet known to have lost what was to be read.
    pub(super) fn end(next: Next) -> ReadEnd {
        if next == Next::First { ReadEnd::AtTail } else { ReadEnd::Awaited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Position;

    #[test]
    fn a_topic_is_not_given_up_at_once() {
        let new = Absence::noted(None);
        assert!(new.is_fresh() && !new.is_for_good());
        let old = Absence { since: new.since - FOR_GOOD, asked: new.asked - POLL };
        assert!(!old.is_fresh());
        assert!(Absence::noted(Some(old)).is_for_good());
        assert_eq!(Absence::end(Next::First), ReadEnd::AtTail);
        assert_eq!(Absence::end(Next::After(Position::at(1))), ReadEnd::Awaited);
    }
}
