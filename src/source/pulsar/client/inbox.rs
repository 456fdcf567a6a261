//! Answers and messages that have come over a connection and wait to be taken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::command::{answers, kind};
use super::error::PulsarError;
use super::frame::ReceivedEntry;
use super::proto::BaseCommand;

/// Limit of one connection's waiting messages in bytes, compressed as they came; above it, nothing more is read from
/// the socket. Holds three of the largest messages (5 MiB by default) and a fourth that arrives.
pub(crate) const FULL: usize = 16 << 20;

/// Called by a connection's thread, so it must not block.
pub(crate) type Notify = Arc<dyn Fn() + Send + Sync>;

/// Filled by a connection's thread, emptied by everybody else.
pub(super) struct Inbox {
    state: Mutex<InboxState>,
    changed: Condvar,
    /// Called when messages have come or something has ended.
    notify: Notify,
}

#[derive(Default)]
struct InboxState {
    /// By request: the answer, once it has come.
    answers: BTreeMap<u64, Option<BaseCommand>>,
    consumers: BTreeMap<u64, ConsumerQueue>,
    /// Of all consumers.
    bytes: usize,
    ended: Option<PulsarError>,
}

/// The messages that wait for one consumer.
#[derive(Default)]
struct ConsumerQueue {
    messages: VecDeque<Box<ReceivedEntry>>,
    /// The broker has closed it.
    closed: bool,
}

/// What a consumer has to offer.
pub(crate) enum Taken {
    Message(Box<ReceivedEntry>),
    /// No message at the moment.
    Nothing,
    /// The broker has closed it, or the connection has ended.
    Closed,
}

impl Inbox {
    pub(super) fn new(notify: Notify) -> Inbox {
        Inbox { state: Mutex::default(), changed: Condvar::new(), notify }
    }

    /// Announces that somebody will wait for the answer to this request.
    pub(super) fn expect(&self, request: u64) {
        self.state.lock().answers.insert(request, None);
    }

    /// Waits for the answer. `None`: it did not come in time.
    pub(super) fn wait(&self, request: u64, deadline: Instant) -> Result<Option<BaseCommand>, PulsarError> {
        let mut state = self.state.lock();
        loop {
            if let Some(Some(_)) = state.answers.get(&request) {
                return Ok(state.answers.remove(&request).flatten());
            }
            let timed_out = self.changed.wait_until(&mut state, deadline).timed_out();
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            if timed_out && matches!(state.answers.get(&request), Some(None) | None) {
                state.answers.remove(&request);
                return Ok(None);
            }
        }
    }

    /// Takes in an answer, or a broker's notice that it has closed a consumer.
    pub(super) fn take_command(&self, command: BaseCommand) {
        let mut state = self.state.lock();
        if command.kind() == kind::CLOSE_CONSUMER {
            if let Some(queue) = state.consumers.get_mut(&command.close_consumer.consumer_id()) {
                queue.closed = true;
            }
            (self.notify)();
        } else if let Some(place) = answers(&command).and_then(|request| state.answers.get_mut(&request)) {
            *place = Some(command);
            self.changed.notify_all();
        }
    }

    /// Takes in a message. Drops it if its consumer is gone.
    pub(super) fn take_message(&self, message: Box<ReceivedEntry>) {
        let mut state = self.state.lock();
        let size = message.len();
        if let Some(queue) = state.consumers.get_mut(&message.consumer()) {
            queue.messages.push_back(message);
            state.bytes += size;
            (self.notify)();
        }
    }

    /// Whether to stop reading for now. While somebody waits for an answer, reading goes on: the answer is behind the
    /// messages.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.bytes >= FULL && state.answers.is_empty()
    }

    /// The connection has ended; nothing more will come.
    pub(super) fn end(&self, error: PulsarError) {
        let mut state = self.state.lock();
        state.ended.get_or_insert(error);
        self.changed.notify_all();
        (self.notify)();
    }

    /// Why the connection has ended.
    pub(super) fn ended(&self) -> Option<PulsarError> {
        self.state.lock().ended.clone()
    }

    pub(super) fn add_consumer(&self, consumer: u64) {
        self.state.lock().consumers.insert(consumer, ConsumerQueue::default());
    }

    pub(super) fn remove_consumer(&self, consumer: u64) {
        let mut state = self.state.lock();
        if let Some(queue) = state.consumers.remove(&consumer) {
            state.bytes -= queue.messages.iter().map(|message| message.len()).sum::<usize>();
        }
    }

    /// How many bytes wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().bytes
    }

    /// Whether nothing more will come for it.
    pub(super) fn is_closed(&self, consumer: u64) -> bool {
        let state = self.state.lock();
        state.ended.is_some() || state.consumers.get(&consumer).is_none_or(|queue| queue.closed)
    }

    /// The next message of a consumer.
    pub(super) fn take(&self, consumer: u64) -> Taken {
        let mut state = self.state.lock();
        let is_over = state.ended.is_some();
        let Some(queue) = state.consumers.get_mut(&consumer) else { return Taken::Closed };
        match queue.messages.pop_front() {
            Some(message) => {
                state.bytes -= message.len();
                Taken::Message(message)
            }
            None if queue.closed || is_over => Taken::Closed,
            None => Taken::Nothing,
        }
    }
}
