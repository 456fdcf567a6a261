/*!
What the target's load state shall be, from what the source has loaded and what was replicated of it before.

A load follows at once. What a source has less than before is another matter: a server that crashed, restarts or has
lost a query node shows less, too, and whoever releases a standby for that cuts off its readers in the very hour for
which it is kept. So less is replicated only with a proof that a user wanted it ([`super::releases`]).
*/

use std::collections::BTreeSet;

use super::describe::{Load, LoadProgress, SourceCollection};
use crate::task::spec::LoadPolicy;

/// Whether a user is known to have released what the source has not loaded any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReleaseProof {
    /// The source's log shows the request, or it has lasted for long at a source that is up.
    Proven,
    /// It may be a crash, a restart or a lost query node.
    Unproven,
}

/// The load state that the target shall have.
pub(super) fn wanted(recorded: &Load, source: &SourceCollection, policy: LoadPolicy, proof: ReleaseProof) -> Load {
    match (policy, proof) {
        (LoadPolicy::Ignore, _) => recorded.clone(),
        (LoadPolicy::Follow, ReleaseProof::Proven) if is_reduced(recorded, source) => source.load.clone(),
        (LoadPolicy::Follow | LoadPolicy::LoadOnly, _) => grown(recorded, source),
    }
}

/// Whether the source has less loaded than was replicated: nothing, fewer partitions, or another number of replicas,
/// which only a release brings about. Not while it is loading: then it shows less than it will have.
pub(super) fn is_reduced(recorded: &Load, source: &SourceCollection) -> bool {
    if source.load_progress == LoadProgress::Underway {
        return false;
    }
    match (recorded, &source.load) {
        (Load::None, _) => false,
        (_, Load::None) => true,
        (before, now) if replicas(before) != replicas(now) => true,
        (Load::Whole { .. }, Load::Partitions { .. }) => true,
        (_, Load::Whole { .. }) => false,
        (Load::Partitions { names, .. }, Load::Partitions { names: loaded, .. }) => {
            !existing(names, source).is_subset(loaded)
        }
    }
}

/// What was loaded before, and what the source has loaded besides.
fn grown(recorded: &Load, source: &SourceCollection) -> Load {
    match (recorded, &source.load) {
        (Load::None, now) => now.clone(),
        (Load::Partitions { replicas, .. }, Load::Whole { .. }) => Load::Whole { replicas: *replicas },
        (Load::Partitions { names, replicas }, Load::Partitions { names: loaded, .. }) => {
            let names = existing(names, source).union(loaded).cloned().collect();
            Load::Partitions { names, replicas: *replicas }
        }
        (before, _) => before.clone(),
    }
}

/// Those that the source has not dropped.
fn existing(names: &BTreeSet<String>, source: &SourceCollection) -> BTreeSet<String> {
    names.iter().filter(|name| source.partitions.contains_key(*name)).cloned().collect()
}

/// The number of replicas; 0 of what is not loaded.
pub(super) fn replicas(load: &Load) -> i32 {
    match load {
        Load::None => 0,
        Load::Whole { replicas } | Load::Partitions { replicas, .. } => *replicas,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CollectionId, CollectionName};

    fn source(load: Load) -> SourceCollection {
        SourceCollection {
            id: CollectionId(7),
            name: CollectionName::new("default", "a"),
            details: Default::default(),
            partitions: [("p", 1), ("q", 2), ("r", 3)].map(|(name, id)| (name.to_owned(), id)).into(),
            indexes: Default::default(),
            load,
            load_progress: LoadProgress::Settled,
        }
    }

    fn whole(replicas: i32) -> Load {
        Load::Whole { replicas }
    }

    fn parts(names: &[&str]) -> Load {
        Load::Partitions { names: names.iter().map(|name| (*name).to_owned()).collect(), replicas: 1 }
    }

    #[test]
    fn loads_follow_at_once_and_releases_with_a_proof() {
        use LoadPolicy::{Follow, Ignore, LoadOnly};
        use ReleaseProof::{Proven, Unproven};
        // Replicated before, at the source now; then: with a proof, without, load only, ignored.
        let cases = [
            (Load::None, whole(2), whole(2), whole(2), whole(2), Load::None),
            (Load::None, parts(&["p"]), parts(&["p"]), parts(&["p"]), parts(&["p"]), Load::None),
            (whole(1), whole(1), whole(1), whole(1), whole(1), whole(1)),
            (whole(1), Load::None, Load::None, whole(1), whole(1), whole(1)),
            (whole(1), parts(&["p"]), parts(&["p"]), whole(1), whole(1), whole(1)),
            (whole(2), whole(1), whole(1), whole(2), whole(2), whole(2)),
            (parts(&["p"]), whole(1), whole(1), whole(1), whole(1), parts(&["p"])),
            (
                parts(&["p"]),
                parts(&["p", "q"]),
                parts(&["p", "q"]),
                parts(&["p", "q"]),
                parts(&["p", "q"]),
                parts(&["p"]),
            ),
            (parts(&["p"]), parts(&["q"]), parts(&["q"]), parts(&["p", "q"]), parts(&["p", "q"]), parts(&["p"])),
            (parts(&["p", "gone"]), parts(&["p"]), parts(&["p"]), parts(&["p"]), parts(&["p"]), parts(&["p", "gone"])),
            (parts(&["p"]), Load::None, Load::None, parts(&["p"]), parts(&["p"]), parts(&["p"])),
        ];
        for (recorded, now, proven, unproven, load_only, ignored) in cases {
            let source = source(now);
            let told = format!("{recorded:?} {:?}", source.load);
            assert_eq!(wanted(&recorded, &source, Follow, Proven), proven, "{told}");
            assert_eq!(wanted(&recorded, &source, Follow, Unproven), unproven, "{told}");
            assert_eq!(wanted(&recorded, &source, LoadOnly, Proven), load_only, "{told}");
            assert_eq!(wanted(&recorded, &source, Ignore, Proven), ignored, "{told}");
        }
    }

    #[test]
    fn a_source_that_is_loading_releases_nothing_whatever_is_proven() {
        for now in [Load::None, parts(&["p"]), whole(1)] {
            let loading = SourceCollection { load_progress: LoadProgress::Underway, ..source(now) };
            assert!(!is_reduced(&whole(2), &loading));
            assert_eq!(wanted(&whole(2), &loading, LoadPolicy::Follow, ReleaseProof::Proven), whole(2));
        }
    }
}
