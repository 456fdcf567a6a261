//! What the target's row of a key says about a lost write of it. Pure.

use super::index::{Before, LeftOfKey, LostKey};
use crate::verify::RowDigests;

/// What becomes of a lost write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The target has the same row, or as little: it is not lost.
    Same,
    /// The target lacks the key, which was new: a merge writes it.
    Mergeable,
    /// Only a user can say whose write counts.
    Undecided,
}

/// `there`: the rows of the key on the target.
pub(super) fn judge(key: &LostKey, there: &RowDigests) -> Judgement {
    match (key.latest.what, key.before, there.is_empty()) {
        (LeftOfKey::Row { digest, .. }, ..) if there.contains(&digest) => Judgement::Same,
        (LeftOfKey::Row { .. }, Before::Absent, true) => Judgement::Mergeable,
        (LeftOfKey::Deleted, _, true) => Judgement::Same,
        // The target may have deleted it since, or written it, or has the row of before the failover.
        (LeftOfKey::Row { .. } | LeftOfKey::Deleted, ..) => Judgement::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::RowPlace;
    use super::super::index::{LoggedWrite, LostIndex, PutKind};
    use super::*;
    use crate::domain::{Channel, CollectionId, Timestamp};
    use crate::scan::Key;

    fn judged(writes: &[LeftOfKey], there: &[u64]) -> Judgement {
        let mut index = LostIndex::default();
        for (ts, what) in (1..).zip(writes) {
            let write = LoggedWrite { ts: Timestamp(ts), channel: Channel::new("c"), what: *what };
            index.add(CollectionId(1), Key::Int(1), write);
        }
        judge(&index.collections()[&CollectionId(1)][&Key::Int(1)], &there.iter().copied().collect())
    }

    fn row(digest: u64, how: PutKind) -> LeftOfKey {
        LeftOfKey::Row { digest, place: RowPlace { offset: 0, len: 1 }, how }
    }

    #[test]
    fn only_what_was_new_and_is_lacking_is_merged_without_asking() {
        use Judgement::{Mergeable, Same, Undecided};
        let (insert, upsert) = (row(7, PutKind::Insert), row(7, PutKind::Upsert));
        assert_eq!(judged(&[insert], &[]), Mergeable);
        assert_eq!(judged(&[insert, row(8, PutKind::Upsert)], &[]), Mergeable);
        assert_eq!(judged(&[insert], &[9]), Undecided, "the target has written it as well");
        assert_eq!(judged(&[insert], &[9, 7]), Same, "drained, though the checkpoint does not say so");
        assert_eq!(judged(&[upsert], &[]), Undecided, "the target may have deleted it");
        assert_eq!(judged(&[LeftOfKey::Deleted, insert], &[]), Undecided);
        assert_eq!(judged(&[LeftOfKey::Deleted], &[]), Same);
        assert_eq!(judged(&[LeftOfKey::Deleted], &[9]), Undecided, "the row of before, or a newer one");
        assert_eq!(judged(&[insert, LeftOfKey::Deleted], &[]), Same, "it came and went");
    }
}
