//! What the catalog reports: events to the task, lines to its history and to the log.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::error::CatalogError;
use super::event::{CallsInFlight, CatalogEvent, TargetLoss};
use crate::domain::CollectionId;
use crate::failpoint::HandOver;
use crate::task::history::{EventKind, History};

/// How long calls of one collection may hold up a change of it, and with it the catalog.
const PATIENCE: Duration = Duration::from_secs(5);

/// The line to the task. Cloning shares it.
#[derive(Clone)]
pub(super) struct Reporter {
    events: Sender<CatalogEvent>,
    history: Arc<History>,
}

impl Reporter {
    pub(super) fn new(events: Sender<CatalogEvent>, history: Arc<History>) -> Reporter {
        Reporter { events, history }
    }

    pub(super) fn send(&self, event: CatalogEvent) -> Result<(), CatalogError> {
        HandOver::CatalogEvent.send(&self.events, event).map_err(|_| CatalogError::Stopping)
    }

    /// A part of an object cannot be replicated: it is counted, named, and tried again only after it has changed.
    pub(super) fn skipped(&self, what: &str, object: &dyn Display, why: &dyn Display) -> Result<(), CatalogError> {
        log::warn!("{what} of {object} cannot be replicated: {why}");
        self.send(CatalogEvent::Skipped { what: what.to_owned(), why: format!("{object}: {why}") })
    }

    /// A step is done on the target.
    pub(super) fn done(&self, text: &str) {
        log::info!("{text}");
        self.history.add(EventKind::Catalog, text);
    }

    /// A drop is held: a user must decide.
    pub(super) fn held(&self, text: &str) {
        log::error!("{text}");
        self.history.add(EventKind::Skip, text);
    }

    /// Asks for a comparison of the collection's rows. Answers whether the task will make it whatever happens.
    pub(super) fn compare(&self, id: CollectionId) -> Result<bool, CatalogError> {
        let (answer, answered): (Sender<()>, Receiver<()>) = bounded(1);
        self.send(CatalogEvent::Compare(id, answer))?;
        Ok(answered.recv().is_ok())
    }

    /// The target was restored to an earlier time: the task compares everything.
    ///
    /// # Errors
    /// [`CatalogError::Stopping`]: that is not on disk.
    pub(super) fn restored(&self, why: &str) -> Result<(), CatalogError> {
        log::error!("{why}");
        self.history.add(EventKind::Catalog, why);
        let (noted, answered): (Sender<()>, Receiver<()>) = bounded(1);
        self.send(CatalogEvent::TargetRestored(noted))?;
        answered.recv().map_err(|_| CatalogError::Stopping)
    }

    /// Tells that the collection was lost on the target.
    ///
    /// # Errors
    /// [`CatalogError::Busy`]: the task could not note it on disk. Nothing may be put in its place before.
    pub(super) fn lost(&self, id: CollectionId, loss: TargetLoss) -> Result<(), CatalogError> {
        let (noted, answered): (Sender<()>, Receiver<()>) = bounded(1);
        self.send(CatalogEvent::Lost { id, loss, noted })?;
        answered.recv().map_err(|_| CatalogError::Busy(id))
    }

    /// Waits until no call for the collection is in flight; none is started before the next `Ready`, `Dropped` or
    /// `Unblock`.
    ///
    /// # Errors
    /// [`CatalogError::Busy`]: calls are being repeated for long. They go on, and so does everything else.
    pub(super) fn block(&self, id: CollectionId) -> Result<(), CatalogError> {
        match self.ask_to_block(id, CallsInFlight::Awaited)?.recv_timeout(PATIENCE) {
            Ok(()) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(CatalogError::Stopping),
            Err(RecvTimeoutError::Timeout) => {
                self.send(CatalogEvent::Unblock(id))?;
                Err(CatalogError::Busy(id))
            }
        }
    }

    /// The same before the collection, or a part of it, is dropped: its calls need not be waited for, and may last as
    /// long as what is dropped is there.
    pub(super) fn block_for_drop(&self, id: CollectionId) -> Result<(), CatalogError> {
        self.ask_to_block(id, CallsInFlight::Cancelled)?.recv().map_err(|_| CatalogError::Stopping)
    }

    fn ask_to_block(&self, id: CollectionId, calls: CallsInFlight) -> Result<Receiver<()>, CatalogError> {
        let (answer, answered) = bounded(1);
        self.send(CatalogEvent::Block { id, calls, answer })?;
        Ok(answered)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::observe::thread::ThreadSpec;

    const ID: CollectionId = CollectionId(7);

    #[test]
    fn calls_that_do_not_end_hold_up_a_change_no_longer_than_its_patience() {
        let (events, received) = unbounded();
        let outcome = Reporter::new(events, Arc::new(History::default())).block(ID);
        assert!(matches!(outcome, Err(CatalogError::Busy(ID))));
        let told: Vec<CatalogEvent> = received.try_iter().collect();
        let [CatalogEvent::Block { calls: CallsInFlight::Awaited, .. }, CatalogEvent::Unblock(ID)] = &told[..] else {
            panic!("{told:?}")
        };
    }

    #[test]
    fn a_drop_ends_the_calls_of_what_is_dropped() {
        let (events, received) = unbounded();
        let reporter = Reporter::new(events, Arc::new(History::default()));
        let blocks = ThreadSpec::of_server("blocks").spawn(move || reporter.block_for_drop(ID)).unwrap();
        let event = received.recv_timeout(Duration::from_secs(30)).unwrap();
        let CatalogEvent::Block { id: ID, calls: CallsInFlight::Cancelled, answer } = event else {
            panic!("{event:?}")
        };
        answer.send(()).unwrap();
        blocks.join().unwrap().unwrap();
    }
}
