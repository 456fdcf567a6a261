/*!
The proof that a user has released at the source what it has not loaded any more.

Two things prove it: the request in the source's log, or time, in which the source was up, had nothing loading and
showed the same all along. Where the log does not show requests (partitions on Milvus 2.3, a source without a log),
time alone is left. Whatever disturbs the source meanwhile lets the time begin anew: a source that restarts every
minute releases nothing.
*/

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::describe::Load;
use super::load_plan::ReleaseProof;
use crate::domain::CollectionId;

/// For how long the request in the log counts although the source still shows the old state: it stands in the log
/// shortly before or after it is carried out.
const REQUEST_LEAD: Duration = Duration::from_secs(5);
/// For how long a request in the log proves a release at all: what the source shows later has another cause.
const REQUEST_VALIDITY: Duration = Duration::from_secs(60);
/// A release is told of when the log has not proven it within this time.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// Releases at the source that are not replicated yet.
pub(super) struct Releases {
    /// How long one must last where the log shows no request.
    lasting: Duration,
    requested: BTreeMap<CollectionId, Instant>,
    pending: BTreeMap<CollectionId, PendingRelease>,
}

struct PendingRelease {
    /// What the source has loaded.
    load: Load,
    since: Instant,
    is_requested: bool,
    is_told: bool,
}

impl Releases {
    pub(super) fn new(lasting: Duration) -> Releases {
        Releases { lasting, requested: BTreeMap::new(), pending: BTreeMap::new() }
    }

    /// The log shows the request to release something of the collection.
    pub(super) fn requested(&mut self, id: CollectionId, now: Instant) {
        self.requested.insert(id, now);
    }

    /// The source did not answer, or is loading something: what it shows proves nothing.
    pub(super) fn disturbed(&mut self, now: Instant) {
        self.pending.values_mut().for_each(|pending| pending.since = now);
    }

    /// The collection was described, and has as much loaded as was replicated, or more.
    pub(super) fn not_reduced(&mut self, id: CollectionId, now: Instant) {
        self.pending.remove(&id);
        self.requested.retain(|requested, at| *requested != id || now.duration_since(*at) < REQUEST_LEAD);
    }

    /// The collection was described, and has only this loaded. Answers whether a user wanted that.
    pub(super) fn reduced(&mut self, id: CollectionId, load: &Load, now: Instant) -> ReleaseProof {
        let is_requested = self.requested.get(&id).is_some_and(|at| now.duration_since(*at) < REQUEST_VALIDITY);
        let new = || PendingRelease { load: load.clone(), since: now, is_requested, is_told: false };
        let pending = self.pending.entry(id).or_insert_with(new);
        if pending.load != *load {
            *pending = new();
        }
        pending.is_requested |= is_requested;
        let has_lasted = now.duration_since(pending.since) >= self.lasting;
        if pending.is_requested || has_lasted { ReleaseProof::Proven } else { ReleaseProof::Unproven }
    }

    /// Collections whose release has lasted long enough by now: they are described again.
    pub(super) fn due(&self, now: Instant) -> Vec<CollectionId> {
        let has_lasted = |pending: &PendingRelease| now.duration_since(pending.since) >= self.lasting;
        self.pending.iter().filter(|(_, pending)| has_lasted(pending)).map(|(id, _)| *id).collect()
    }

    /// Collections that people should know to be kept loaded, with what the source has loaded of them. Each once.
    pub(super) fn untold(&mut self, now: Instant) -> Vec<(CollectionId, Load)> {
        let untold = |pending: &PendingRelease| {
            !pending.is_told && !pending.is_requested && now.duration_since(pending.since) >= TELL_AFTER
        };
        let mut told = Vec::new();
        for (id, pending) in self.pending.iter_mut().filter(|(_, pending)| untold(pending)) {
            pending.is_told = true;
            told.push((*id, pending.load.clone()));
        }
        told
    }

    /// Keeps what is known of these collections.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(CollectionId) -> bool) {
        self.pending.retain(|id, _| is_wanted(*id));
        self.requested.retain(|id, _| is_wanted(*id));
    }

    /// How long a release must last where the log shows no request.
    pub(super) fn lasting(&self) -> Duration {
        self.lasting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: CollectionId = CollectionId(7);
    const LASTING: Duration = Duration::from_secs(180);

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_request_in_the_log_proves_a_release_at_once() {
        let (mut releases, start) = (Releases::new(LASTING), Instant::now());
        assert_eq!(releases.reduced(ID, &Load::None, start), ReleaseProof::Unproven);
        releases.requested(ID, start);
        assert_eq!(releases.reduced(ID, &Load::None, start), ReleaseProof::Proven);
        assert_eq!(releases.reduced(ID, &Load::None, at(start, 90)), ReleaseProof::Proven, "the target was away");
        // The next one needs a request of its own.
        releases.not_reduced(ID, at(start, 96));
        assert_eq!(releases.reduced(ID, &Load::None, at(start, 97)), ReleaseProof::Unproven);
        // Nor is an old request one.
        releases.requested(ID, at(start, 98));
        assert_eq!(releases.reduced(ID, &Load::None, at(start, 160)), ReleaseProof::Unproven);
    }

    #[test]
    fn a_request_that_comes_before_the_release_counts_a_moment_longer() {
        let (mut releases, start) = (Releases::new(LASTING), Instant::now());
        releases.requested(ID, start);
        releases.not_reduced(ID, at(start, 1));
        assert_eq!(releases.reduced(ID, &Load::None, at(start, 2)), ReleaseProof::Proven);
    }

    #[test]
    fn without_a_request_it_must_last_undisturbed() {
        let (mut releases, start) = (Releases::new(LASTING), Instant::now());
        assert_eq!(releases.reduced(ID, &Load::None, start), ReleaseProof::Unproven);
        assert!(releases.due(at(start, 179)).is_empty());
        releases.disturbed(at(start, 179));
        assert_eq!(releases.reduced(ID, &Load::None, at(start, 180)), ReleaseProof::Unproven);
        assert_eq!(releases.due(at(start, 359)), [ID]);
        assert_eq!(releases.reduced(ID, &Load::None, at(start, 359)), ReleaseProof::Proven);
    }

    #[test]
    fn another_state_begins_anew_and_a_load_forgets_it() {
        let (mut releases, start) = (Releases::new(LASTING), Instant::now());
        let one = Load::Partitions { names: ["p".to_owned()].into(), replicas: 1 };
        releases.reduced(ID, &one, start);
        assert_eq!(releases.reduced(ID, &Load::None, at(start, 200)), ReleaseProof::Unproven);
        releases.not_reduced(ID, at(start, 201));
        assert!(releases.due(at(start, 1000)).is_empty());
        assert_eq!(releases.reduced(ID, &Load::None, at(start, 1000)), ReleaseProof::Unproven);
        releases.retain(|_| false);
        assert!(releases.due(at(start, 5000)).is_empty());
    }

    #[test]
    fn it_is_told_once_and_only_when_the_log_has_had_its_time() {
        let (mut releases, start) = (Releases::new(LASTING), Instant::now());
        releases.reduced(ID, &Load::None, start);
        assert!(releases.untold(at(start, 9)).is_empty());
        assert_eq!(releases.untold(at(start, 10)), [(ID, Load::None)]);
        assert!(releases.untold(at(start, 11)).is_empty());
    }
}
