/*!
The brake on rows: where a source has no log, nothing shows whether rows that it lacks were deleted, or whether it was
restored to an earlier time, or emptied. So when most of a collection vanishes between two rounds, none of it is removed
on the target before a user has asked for a comparison. The source may also be emptied while it is read: then it is
counted once more before a mass is removed.

Nor is a row removed that the source may have without showing it, since a partition of its collection may have been
loaded just before.
*/

use super::attempt::{Attempt, Interruption};
use super::job::Against;
use crate::milvus::RowVisibility;

/// Fewer rows are never a mass.
const MASS: u64 = 100;

/// Whether so much has vanished that nobody may have deleted it. `known`: what was brought to the target; `counted`:
/// what the source has now.
fn is_mass(known: u64, counted: u64) -> bool {
    let vanished = known.saturating_sub(counted);
    vanished >= MASS && vanished > counted
}

/// What one attempt may remove.
pub(super) struct RemovalBrake {
    /// Whether the source showed all of its rows when the attempt began.
    visibility: RowVisibility,
    /// Rows that the attempt has removed, with those that it is about to.
    removed: u64,
}

impl RemovalBrake {
    pub(super) fn new(visibility: RowVisibility) -> RemovalBrake {
        RemovalBrake { visibility, removed: 0 }
    }

    /// Lets so many rows be removed that the page just read lacks, or interrupts the attempt.
    pub(super) fn admit(&mut self, rows: u64, known: u64, attempt: &Attempt<'_>) -> Result<(), Interruption> {
        if self.visibility == RowVisibility::Unproven {
            return Err(Interruption::Wait(format!(
                "{} has been known for a few seconds only: a row that it does not show is removed once its partitions \
                 have been seen loaded for longer",
                attempt.name()
            )));
        }
        self.removed += rows;
        if self.removed < MASS || !attempt.is_braked() {
            return Ok(());
        }
        // The page was read before this count: it lacks nothing that went later.
        attempt.refuse_mass_removal(known, attempt.count()?)
    }
}

impl Attempt<'_> {
    /// Whether a mass stays: not where a comparison was asked for, and rows that expire go together.
    fn is_braked(&self) -> bool {
        self.job.against != Against::Target && self.job.info.ttl.is_none()
    }

    /// Refuses a round that would remove most of a collection. `known` as in the file of the round before.
    pub(super) fn refuse_mass_removal(&self, known: u64, counted: Option<u64>) -> Result<(), Interruption> {
        let Some(counted) = counted.filter(|counted| self.is_braked() && is_mass(known, *counted)) else {
            return Ok(());
        };
        Err(Interruption::Hopeless(format!(
            "{} has {counted} rows at the source, and had {known} when it was read last: so many are not removed on \
             the target by themselves. If the source was restored to an earlier time, or emptied by mistake, bring the \
             rows back there: the collection goes on by itself. If they were deleted, let it be compared \
             (`milvus-cdc task resync`), which removes them",
            self.name()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_and_not_a_few() {
        for (known, counted, expected) in
            [(0, 0, false), (99, 0, false), (100, 0, true), (200, 100, false), (201, 100, true), (100, 500, false)]
        {
            assert_eq!(is_mass(known, counted), expected, "{known} {counted}");
        }
    }
}
