/*!
Collections in trouble: a call of each has failed and is tried again until it ends.

A call that has failed waits here, not in a thread that writes: the others need the threads. It keeps its place in its
lane, so nothing that shares a key with it overtakes it. Nothing new of its collection starts before all its failed
calls have ended, and at most half of the threads make calls again.
*/

use std::collections::BTreeMap;
use std::time::Instant;

use crate::domain::{Channel, CollectionId};
use crate::pipeline::CallId;
use crate::sink::{CallAttempt, PostponedCall, TargetReach, WORKERS};

/// Threads that may be busy with calls that have failed before.
const REPEATING_WORKERS: usize = WORKERS / 2;

/// The calls that have failed and have not ended.
#[derive(Debug, Default)]
pub(super) struct TroubledCalls {
    by_collection: BTreeMap<CollectionId, Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    /// The last failure; `None` when calls only wait for their turn.
    why: Option<String>,
    reach: TargetReach,
    calls: BTreeMap<CallId, CallPlace>,
}

/// Where a call is that has failed.
#[derive(Debug)]
enum CallPlace {
    /// Here, until it is due.
    Waiting { attempt: Box<CallAttempt>, due: Instant },
    /// A thread makes it again.
    Repeated,
}

impl TroubledCalls {
    /// A call is to be tried again.
    pub(super) fn postpone(&mut self, postponed: PostponedCall) {
        let PostponedCall { attempt, due, failure } = postponed;
        let trouble = self.by_collection.entry(attempt.call().collection.id).or_default();
        if let Some(failure) = failure {
            trouble.why = Some(failure.why);
            trouble.reach = failure.reach;
        }
        trouble.calls.insert(attempt.call().id, CallPlace::Waiting { attempt: Box::new(attempt), due });
    }

    /// Whether a call of the collection has failed and has not ended.
    pub(super) fn has(&self, id: CollectionId) -> bool {
        self.by_collection.contains_key(&id)
    }

    /// The collections in trouble.
    pub(super) fn collections(&self) -> impl Iterator<Item = CollectionId> {
        self.by_collection.keys().copied()
    }

    /// Why a collection's calls fail, when that is about the collection; `None` for others.
    pub(super) fn own_failure(&self, id: CollectionId) -> Option<&str> {
        let trouble = self.by_collection.get(&id).filter(|trouble| trouble.reach == TargetReach::Answers)?;
        Some(trouble.why.as_deref().unwrap_or("the target limits the rate of its rows"))
    }

    /// A call has ended, or is not made any more.
    pub(super) fn ended(&mut self, id: CollectionId, call: CallId) {
        if let Some(trouble) = self.by_collection.get_mut(&id) {
            trouble.calls.remove(&call);
            if trouble.calls.is_empty() {
                self.by_collection.remove(&id);
            }
        }
    }

    /// The calls of a collection that wait to be tried again.
    pub(super) fn waiting_of(&self, id: CollectionId) -> Vec<CallId> {
        let calls = self.by_collection.get(&id).into_iter().flat_map(|trouble| &trouble.calls);
        calls.filter(|(_, place)| matches!(place, CallPlace::Waiting { .. })).map(|(call, _)| *call).collect()
    }

    /// These calls are not made any more.
    pub(super) fn forget(&mut self, calls: &[CallId]) {
        self.by_collection.retain(|_, trouble| {
            calls.iter().for_each(|call| drop(trouble.calls.remove(call)));
            !trouble.calls.is_empty()
        });
    }

    /// The call that has been due for longest on a channel that is open, if a thread may make it.
    pub(super) fn take_due(&mut self, is_open: impl Fn(&Channel) -> bool, now: Instant) -> Option<CallAttempt> {
        let (due, id, call) = self.next_waiting(is_open)?;
        if due > now {
            return None;
        }
        let place = self.by_collection.get_mut(&id)?.calls.get_mut(&call)?;
        match std::mem::replace(place, CallPlace::Repeated) {
            CallPlace::Waiting { attempt, .. } => Some(*attempt),
            CallPlace::Repeated => None,
        }
    }

    /// When a thread may make a call again.
    pub(super) fn next_due(&self, is_open: impl Fn(&Channel) -> bool) -> Option<Instant> {
        self.next_waiting(is_open).map(|(due, ..)| due)
    }

    fn next_waiting(&self, is_open: impl Fn(&Channel) -> bool) -> Option<(Instant, CollectionId, CallId)> {
        let calls = || self.by_collection.iter().flat_map(|(&id, it)| it.calls.iter().map(move |call| (id, call)));
        let repeated = calls().filter(|(_, (_, place))| matches!(place, CallPlace::Repeated)).count();
        let waiting = calls().filter_map(|(id, (&call, place))| match place {
            CallPlace::Waiting { attempt, due } => is_open(&attempt.call().channel).then_some((*due, id, call)),
            CallPlace::Repeated => None,
        });
        waiting.min().filter(|_| repeated < REPEATING_WORKERS)
    }

    /// Why calls have failed.
    pub(super) fn errors(&self) -> impl Iterator<Item = &String> {
        self.by_collection.values().filter_map(|trouble| trouble.why.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::{Keys, Mark, RowLocation, Timestamp};
    use crate::pipeline::{Call, Work};
    use crate::replication::model::ready;
    use crate::sink::CallFailure;

    const A: CollectionId = CollectionId(1);
    const B: CollectionId = CollectionId(2);

    fn failed(id: CollectionId, call: u64, due: Instant) -> PostponedCall {
        let call = Call {
            id: CallId(call),
            collection: Arc::new(ready(id, 0).info),
            place: RowLocation { db: "d".into(), collection: "c".into(), partition: String::new() },
            work: Work::Delete(Keys::Int(vec![1])),
            channel: Channel::new("c"),
            mark: Mark::OF_NO_COLLECTION,
            latest: Timestamp(1),
        };
        let failure =
            CallFailure { why: format!("{id} is over its quota"), is_missing: false, reach: TargetReach::Answers };
        CallAttempt::first(call).postponed(due, Some(failure))
    }

    fn take(calls: &mut TroubledCalls, now: Instant) -> Option<u64> {
        calls.take_due(|_| true, now).map(|attempt| attempt.call().id.0)
    }

    #[test]
    fn half_of_the_threads_repeat_what_has_been_due_for_longest() {
        let (mut calls, start) = (TroubledCalls::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for (call, due) in [(1, 3), (2, 1), (3, 2)] {
            calls.postpone(failed(A, call, at(due)));
        }
        calls.postpone(failed(B, 4, at(4)));
        assert_eq!((calls.next_due(|_| true), calls.next_due(|_| false)), (Some(at(1)), None));
        assert_eq!(take(&mut calls, at(0)), None, "none is due");
        assert_eq!((take(&mut calls, at(9)), take(&mut calls, at(9))), (Some(2), Some(3)));
        assert_eq!(
            (take(&mut calls, at(9)), calls.next_due(|_| true)),
            (None, None),
            "the others need the other threads"
        );
        calls.postpone(failed(A, 2, at(20)));
        assert_eq!(take(&mut calls, at(9)), Some(1));
        calls.ended(A, CallId(3));
        assert_eq!(take(&mut calls, at(9)), Some(4), "one collection does not keep another from being tried");
    }

    #[test]
    fn a_trouble_is_over_with_its_last_call() {
        let (mut calls, now) = (TroubledCalls::default(), Instant::now());
        (1..=3).for_each(|call| calls.postpone(failed(A, call, now)));
        calls.postpone(failed(B, 4, now));
        assert_eq!(calls.errors().collect::<Vec<_>>(), ["1 is over its quota", "2 is over its quota"]);
        calls.ended(A, CallId(1));
        assert_eq!(calls.waiting_of(A), [CallId(2), CallId(3)]);
        assert_eq!(take(&mut calls, now), Some(2));
        assert_eq!(calls.waiting_of(A), [CallId(3)]);
        calls.forget(&[CallId(3), CallId(4)]);
        assert!(calls.has(A) && !calls.has(B));
        calls.ended(A, CallId(2));
        assert!(!calls.has(A) && calls.errors().next().is_none());
    }
}
