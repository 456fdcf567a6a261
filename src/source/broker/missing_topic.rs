//! A topic that the brokers do not have: not created yet, not known yet to a broker that has just started, or deleted.

use std::time::{Duration, Instant};

use crate::source::log::{ReadEnd, ReadFrom};

/// How often the brokers are asked for such a topic.
const POLL: Duration = Duration::from_secs(1);
/// A topic that stays unknown for longer has been deleted.
const DELETED_AFTER: Duration = Duration::from_secs(30);

/// Since when a topic has been missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct MissingTopic {
    since: Instant,
    asked: Instant,
}

impl MissingTopic {
    /// The brokers have just said so; `before`: the state until now.
    pub(super) fn noted(before: Option<MissingTopic>) -> MissingTopic {
        let now = Instant::now();
        MissingTopic { since: before.map_or(now, |before| before.since), asked: now }
    }

    /// Whether the last answer is recent enough to rely on.
    pub(super) fn is_fresh(self) -> bool {
        self.asked.elapsed() < POLL
    }

    /// Whether the topic has been deleted, and the messages to be read with it.
    pub(super) fn is_deleted(self) -> bool {
        self.asked - self.since >= DELETED_AFTER
    }

    /// How reading ends until then: the topic is empty, or it is not certain yet that messages are lost.
    pub(super) fn end(next: ReadFrom) -> ReadEnd {
        if next == ReadFrom::First { ReadEnd::AtTail } else { ReadEnd::Awaited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Position;

    #[test]
    fn a_missing_topic_counts_as_deleted_after_a_while_only() {
        let new = MissingTopic::noted(None);
        assert!(new.is_fresh() && !new.is_deleted());
        let old = MissingTopic { since: new.since - DELETED_AFTER, asked: new.asked - POLL };
        assert!(!old.is_fresh());
        assert!(MissingTopic::noted(Some(old)).is_deleted());
        assert_eq!(MissingTopic::end(ReadFrom::First), ReadEnd::AtTail);
        assert_eq!(MissingTopic::end(ReadFrom::After(Position::at(1))), ReadEnd::Awaited);
    }
}
