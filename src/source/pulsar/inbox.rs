//! What has come over a connection and waits for whoever wants it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::command::{answers, kind};
use super::error::PulsarError;
use super::frame::Received;
use crate::milvus::pb::pulsar::BaseCommand;
use crate::source::news::News;

/// Messages of one connection that may wait in memory, in bytes as they came; more are not read from the socket. Three of Milvus's largest, and a
/// fourth that comes.
pub(super) const FULL: usize = 16 << 20;

/// Shared by a connection's thread, which fills it, and everybody else.
pub(super) struct Inbox {
    content: Mutex<Content>,
    changed: Condvar,
    /// Messages have come.
    news: News,
}

#[derive(Default)]
struct Content {
    /// By request: the answer, once it has come.
    answers: BTreeMap<u64, Option<BaseCommand>>,
    consumers: BTreeMap<u64, Waiting>,
    /// Of all consumers.
    bytes: usize,
    ended: Option<PulsarError>,
}

/// What waits for one consumer.
#[derive(Default)]
struct Waiting {
    messages: VecDeque<Box<Received>>,
    /// The broker has closed it.
    closed: bool,
}

/// What a consumer has.
pub(super) enum Taken {
    Message(Box<Received>),
    /// Nothing at the moment.
    Nothing,
    /// The broker has closed it, or the connection has ended.
    Closed,
}

impl Inbox {
    pub(super) fn new(news: News) -> Inbox {
        Inbox { content: Mutex::default(), changed: Condvar::new(), news }
    }

    /// An answer to this request will be waited for.
    pub(super) fn expect(&self, request: u64) {
        self.content.lock().answers.insert(request, None);
    }

    /// Waits for the answer. `None`: it has not come in time.
    pub(super) fn wait(&self, request: u64, deadline: Instant) -> Result<Option<BaseCommand>, PulsarError> {
        let mut content = self.content.lock();
        loop {
            if let Some(Some(_)) = content.answers.get(&request) {
                return Ok(content.answers.remove(&request).flatten());
            }
            let timed_out = self.changed.wait_until(&mut content, deadline).timed_out();
            if let Some(error) = &content.ended {
                return Err(error.clone());
            }
            if timed_out && matches!(content.answers.get(&request), Some(None) | None) {
                content.answers.remove(&request);
                return Ok(None);
            }
        }
    }

    /// An answer to a request that somebody waits for, or a broker's word that a consumer is closed.
    pub(super) fn take_command(&self, command: BaseCommand) {
        let mut content = self.content.lock();
        if command.kind() == kind::CLOSE_CONSUMER {
            if let Some(waiting) = content.consumers.get_mut(&command.close_consumer.consumer_id()) {
                waiting.closed = true;
            }
            self.news.give();
        } else if let Some(place) = answers(&command).and_then(|request| content.answers.get_mut(&request)) {
            *place = Some(command);
            self.changed.notify_all();
        }
    }

    /// A message. Those of consumers that are gone are dropped.
    pub(super) fn take_message(&self, message: Box<Received>) {
        let mut content = self.content.lock();
        let size = message.len();
        if let Some(waiting) = content.consumers.get_mut(&message.command.consumer_id()) {
            waiting.messages.push_back(message);
            content.bytes += size;
            self.news.give();
        }
    }

    /// Whether no more should be read for now. An answer that somebody waits for stands behind the messages and is read in any case.
    pub(super) fn is_full(&self) -> bool {
        let content = self.content.lock();
        content.bytes >= FULL && content.answers.is_empty()
    }

    /// The connection has ended; nothing will come any more.
    pub(super) fn end(&self, error: PulsarError) {
        let mut content = self.content.lock();
        content.ended.get_or_insert(error);
        self.changed.notify_all();
        self.news.give();
    }

    /// Why the connection has ended.
    pub(super) fn ended(&self) -> Option<PulsarError> {
        self.content.lock().ended.clone()
    }

    pub(super) fn add_consumer(&self, consumer: u64) {
        self.content.lock().consumers.insert(consumer, Waiting::default());
    }

    pub(super) fn remove_consumer(&self, consumer: u64) {
        let mut content = self.content.lock();
        if let Some(waiting) = content.consumers.remove(&consumer) {
            content.bytes -= waiting.messages.iter().map(|message| message.len()).sum::<usize>();
        }
    }

    /// How many bytes wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.content.lock().bytes
    }

    /// Nothing will come for it any more.
    pub(super) fn is_closed(&self, consumer: u64) -> bool {
        let content = self.content.lock();
        content.ended.is_some() || content.consumers.get(&consumer).is_none_or(|waiting| waiting.closed)
    }

    /// The next message of a consumer.
    pub(super) fn take(&self, consumer: u64) -> Taken {
        let mut content = self.content.lock();
        let is_over = content.ended.is_some();
        let Some(waiting) = content.consumers.get_mut(&consumer) else { return Taken::Closed };
        match waiting.messages.pop_front() {
            Some(message) => {
                content.bytes -= message.len();
                Taken::Message(message)
            }
            None if waiting.closed || is_over => Taken::Closed,
            None => Taken::Nothing,
        }
    }
}
