//! What failed in the catalog, and when it is tried again.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use super::error::CatalogError;
use super::event::CatalogEvent;
use super::reporter::Reporter;
use crate::domain::CollectionId;
use crate::milvus::{Backoff, Cancel};

/// What is tried again on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RetrySubject {
    /// The databases of the target, all together.
    Databases,
    /// Collections that were renamed instead of dropped, and whose time is over.
    Expired,
    /// Collections that are described together; what fails is about one of them.
    Look,
    /// One collection.
    Collection(CollectionId),
}

struct PendingRetry {
    at: Instant,
    backoff: Backoff,
    why: String,
}

/// A collection that stands still until something about it changes.
struct HeldRetry {
    at: Instant,
    pause: Duration,
}

/// The first pause before a held collection is tried again; the pauses double.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest one: a person who has mended something waits no longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

struct SourceOutage {
    why: String,
    backoff: Backoff,
}

/// Failed subjects with their backoff, and the outage of the source as a whole.
pub(super) struct Retries {
    cancel: Cancel,
    outage: Option<SourceOutage>,
    pending: BTreeMap<RetrySubject, PendingRetry>,
    held: BTreeMap<CollectionId, HeldRetry>,
    /// As last reported to the task.
    reported: Vec<String>,
}

impl Retries {
    pub(super) fn new(cancel: Cancel) -> Retries {
        Retries { cancel, outage: None, pending: BTreeMap::new(), held: BTreeMap::new(), reported: Vec::new() }
    }

    pub(super) fn is_due(&self, subject: RetrySubject) -> bool {
        let now = Instant::now();
        let is_held = |id: &CollectionId| self.held.get(id).is_some_and(|held| held.at > now);
        let may_go_on = match &subject {
            RetrySubject::Databases | RetrySubject::Expired | RetrySubject::Look => true,
            RetrySubject::Collection(id) => !is_held(id),
        };
        may_go_on && self.pending.get(&subject).is_none_or(|retry| retry.at <= now)
    }

    /// Schedules the next try of a collection that no retry can mend before something changes.
    pub(super) fn hold(&mut self, id: CollectionId) {
        self.pending.remove(&RetrySubject::Collection(id));
        let pause = self.held.get(&id).map_or(FIRST_PAUSE, |held| (held.pause * 2).min(LONGEST_PAUSE));
        self.held.insert(id, HeldRetry { at: Instant::now() + pause, pause });
    }

    /// Something has changed that may have mended these: they are tried again now.
    pub(super) fn hurry(&mut self, is_meant: impl Fn(CollectionId) -> bool) {
        for (_, held) in self.held.iter_mut().filter(|(id, _)| is_meant(**id)) {
            *held = HeldRetry { at: Instant::now(), pause: FIRST_PAUSE };
        }
    }

    /// The collections that stand still.
    pub(super) fn held(&self) -> impl Iterator<Item = CollectionId> {
        self.held.keys().copied()
    }

    /// Whether it has failed and not been done since.
    pub(super) fn is_in_trouble(&self, subject: &RetrySubject) -> bool {
        let is_held = matches!(subject, RetrySubject::Collection(id) if self.held.contains_key(id));
        is_held || self.pending.contains_key(subject)
    }

    /// Keeps the retries of the databases and of these collections. Answers those that are held no more.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(CollectionId) -> bool) -> Vec<CollectionId> {
        let gone = self.held.extract_if(.., |id, _| !is_wanted(*id)).map(|(id, _)| id).collect();
        self.pending.retain(|subject, _| match subject {
            RetrySubject::Databases | RetrySubject::Expired | RetrySubject::Look => true,
            RetrySubject::Collection(id) => is_wanted(*id),
        });
        gone
    }

    /// Nothing is tried of it at present: what failed before is no trouble any more.
    pub(super) fn pass_over(&mut self, subject: RetrySubject) {
        self.pending.remove(&subject);
    }

    /// Schedules a retry of what failed and reports what no retry can mend. Fails when the task is stopping.
    pub(super) fn settle(
        &mut self,
        subject: RetrySubject,
        object: &dyn Display,
        outcome: Result<(), CatalogError>,
        reporter: &Reporter,
    ) -> Result<(), CatalogError> {
        let is_of_one = matches!(subject, RetrySubject::Collection(_));
        match outcome {
            Ok(()) => {
                self.pending.remove(&subject);
                if let RetrySubject::Collection(id) = subject {
                    self.held.remove(&id);
                }
            }
            Err(CatalogError::Stopping) => return Err(CatalogError::Stopping),
            Err(error) if self.cancel.is_cancelled() => {
                log::debug!("cancelled: {error}");
                return Err(CatalogError::Stopping);
            }
            // A database that the target refuses keeps its own collections waiting, and no others.
            Err(error) if error.is_final() && (is_of_one || error.is_about_task()) => {
                reporter.send(CatalogEvent::Fatal(error.to_string()))?
            }
            Err(error) => {
                let mut backoff = self.pending.remove(&subject).map(|retry| retry.backoff).unwrap_or_default();
                let why = format!("{object}: {error}");
                log::debug!("{why}; will be retried");
                self.pending.insert(subject, PendingRetry { at: Instant::now() + backoff.wait(), backoff, why });
            }
        }
        Ok(())
    }

    /// The source could not be listed. Answers how long to wait before the next try.
    pub(super) fn source_failed(&mut self, error: &CatalogError) -> Duration {
        let mut backoff = self.outage.take().map(|outage| outage.backoff).unwrap_or_default();
        let pause = backoff.wait();
        self.outage = Some(SourceOutage { why: error.to_string(), backoff });
        pause
    }

    pub(super) fn source_answered(&mut self) {
        self.outage = None;
    }

    /// Tells the task what fails at present, when that has changed.
    pub(super) fn report(&mut self, reporter: &Reporter) -> Result<(), CatalogError> {
        let outage = self.outage.iter().map(|outage| &outage.why);
        let failing: Vec<String> = outage.chain(self.pending.values().map(|retry| &retry.why)).cloned().collect();
        if failing != self.reported {
            self.reported.clone_from(&failing);
            reporter.send(CatalogEvent::Trouble(failing))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crossbeam_channel::{Receiver, unbounded};

    use super::*;
    use crate::task::history::History;

    const SUBJECT: RetrySubject = RetrySubject::Collection(CollectionId(7));

    fn line() -> (Reporter, Receiver<CatalogEvent>) {
        let (events, received) = unbounded();
        (Reporter::new(events, Arc::new(History::default())), received)
    }

    fn refused() -> CatalogError {
        CatalogError::RenameRefused("taken".into())
    }

    #[test]
    fn a_failure_waits_for_its_time_and_is_reported_once() {
        let ((reporter, received), mut retries) = (line(), Retries::new(Cancel::default()));
        assert!(retries.is_due(SUBJECT));
        retries.settle(SUBJECT, &"default.a", Err(refused()), &reporter).unwrap();
        assert!(!retries.is_due(SUBJECT) && retries.is_due(RetrySubject::Databases));
        for _ in 0..2 {
            retries.report(&reporter).unwrap();
        }
        let told: Vec<CatalogEvent> = received.try_iter().collect();
        assert!(matches!(&told[..], [CatalogEvent::Trouble(failing)] if failing == &["default.a: taken"]), "{told:?}");
        retries.settle(SUBJECT, &"default.a", Ok(()), &reporter).unwrap();
        retries.report(&reporter).unwrap();
        assert!(matches!(received.try_recv(), Ok(CatalogEvent::Trouble(failing)) if failing.is_empty()));
    }

    #[test]
    fn what_a_retry_cannot_mend_is_told_at_once() {
        let ((reporter, received), mut retries) = (line(), Retries::new(Cancel::default()));
        retries.settle(SUBJECT, &"default.a", Err(CatalogError::Conflict("other schema".into())), &reporter).unwrap();
        assert!(matches!(received.try_recv(), Ok(CatalogEvent::Fatal(why)) if why == "other schema"));
        assert!(retries.is_due(SUBJECT));
        let databases = RetrySubject::Databases;
        retries.settle(databases, &"databases", Err(CatalogError::Conflict("none".into())), &reporter).unwrap();
        assert!(received.try_recv().is_err() && !retries.is_due(databases), "it is tried again");
    }

    #[test]
    fn what_is_held_is_tried_again_with_growing_pauses_or_when_something_changes() {
        let ((reporter, received), mut retries) = (line(), Retries::new(Cancel::default()));
        retries.settle(SUBJECT, &"default.a", Err(refused()), &reporter).unwrap();
        let id = CollectionId(7);
        for pause in [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4] {
            retries.hold(id);
            assert_eq!(retries.held.get(&id).map(|held| held.pause), Some(pause));
        }
        retries.report(&reporter).unwrap();
        assert!(received.try_recv().is_err(), "it is told by itself, and nothing else fails");
        (0..20).for_each(|_| retries.hold(id));
        assert_eq!(retries.held.get(&id).map(|held| held.pause), Some(LONGEST_PAUSE));
        assert!(!retries.is_due(SUBJECT) && retries.is_due(RetrySubject::Databases));
        retries.hurry(|other| other != id);
        assert!(!retries.is_due(SUBJECT));
        retries.hurry(|other| other == id);
        assert!(retries.is_due(SUBJECT) && retries.held().eq([id]));
        retries.settle(SUBJECT, &"default.a", Ok(()), &reporter).unwrap();
        assert_eq!(retries.held().count(), 0);
    }

    #[test]
    fn an_outage_ends_with_an_answer_and_a_dropped_collection_is_not_retried() {
        let ((reporter, received), mut retries) = (line(), Retries::new(Cancel::default()));
        retries.source_failed(&refused());
        retries.settle(SUBJECT, &"default.a", Err(refused()), &reporter).unwrap();
        retries.report(&reporter).unwrap();
        assert!(matches!(received.try_recv(), Ok(CatalogEvent::Trouble(failing)) if failing.len() == 2));
        retries.source_answered();
        retries.hold(CollectionId(8));
        assert_eq!(retries.retain(|_| false), [CollectionId(8)]);
        retries.report(&reporter).unwrap();
        assert!(matches!(received.try_recv(), Ok(CatalogEvent::Trouble(failing)) if failing.is_empty()));
    }

    #[test]
    fn a_cancelled_task_stops_instead_of_retrying() {
        let ((reporter, _received), cancel) = (line(), Cancel::default());
        let mut retries = Retries::new(cancel.clone());
        cancel.cancel();
        let outcome = retries.settle(SUBJECT, &"default.a", Err(refused()), &reporter);
        assert!(matches!(outcome, Err(CatalogError::Stopping)));
    }
}
