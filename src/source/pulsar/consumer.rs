//! A subscription to one topic, as long as it lasts.

use std::sync::Arc;

use super::command::{self, Subscription};
use super::connection::Connection;
use super::error::PulsarError;
use super::id::Entry;
use super::inbox::Taken;

/// A consumer. Dropping it closes it; a durable subscription stays where it is.
pub(super) struct Consumer {
    connection: Arc<Connection>,
    number: u64,
    topic: String,
    /// How many messages the broker may send ahead. More are allowed when half of them have been taken.
    ahead: u32,
    /// Messages that may still come without our asking for more.
    permitted: u32,
}

impl Consumer {
    /// Subscribes.
    pub(super) fn subscribe(
        connection: &Arc<Connection>,
        topic: String,
        wanted: Subscription<'_>,
    ) -> Result<Consumer, PulsarError> {
        let number = connection.number();
        connection.inbox().add_consumer(number);
        let consumer = Consumer { connection: Arc::clone(connection), number, topic, ahead: 0, permitted: 0 };
        connection.ask("our subscribing", |request| command::subscribe(&consumer.topic, wanted, number, request))?;
        Ok(consumer)
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Lets messages come, so many ahead of those that are taken. They may be of megabytes each, and the broker reads as many at once: where
    /// few are wanted, or an answer of its own is to come soon, this should be little.
    pub(super) fn allow(&mut self, ahead: u32) -> Result<(), PulsarError> {
        self.ahead = ahead;
        if self.permitted <= ahead / 2 {
            self.connection.send(&command::flow(self.number, ahead - self.permitted))?;
            self.permitted = ahead;
        }
        Ok(())
    }

    /// The next message.
    pub(super) fn take(&mut self) -> Result<Taken, PulsarError> {
        let taken = self.connection.inbox().take(self.number);
        if let Taken::Message(message) = &taken {
            self.permitted = self.permitted.saturating_sub(message.messages());
            self.allow(self.ahead)?;
        }
        Ok(taken)
    }

    /// How many bytes of its connection's messages wait in memory.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.connection.inbox().waiting()
    }

    /// The broker has closed it, or the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.inbox().is_closed(self.number)
    }

    /// Why nothing comes any more, if the connection has ended.
    pub(super) fn ended(&self) -> Option<PulsarError> {
        self.connection.inbox().ended()
    }

    /// The error of a broker that does not send what it has.
    pub(super) fn silence(&self) -> PulsarError {
        let detail = format!("no more messages of {} come", self.topic);
        PulsarError::Ended { address: self.connection.address().to_owned(), detail }
    }

    /// The topic's last entry; `None` when it has none.
    pub(super) fn last(&self) -> Result<Option<Entry>, PulsarError> {
        let question = "where a topic ends";
        let answer = self.connection.ask(question, |request| command::last_id(self.number, request))?;
        let answer = answer.last_id_response.into_option().ok_or_else(|| self.connection.nonsense())?;
        let last = Entry::of_wire(&answer.last);
        Ok((!last.is_none()).then_some(last))
    }

    /// Of a durable subscription: this entry and those before it are not needed any more.
    pub(super) fn acknowledge(&self, entry: Entry) -> Result<(), PulsarError> {
        self.connection.send(&command::ack(self.number, entry))
    }

    /// Ends a durable subscription for good.
    pub(super) fn unsubscribe(self) -> Result<(), PulsarError> {
        self.connection.ask("our unsubscribing", |request| command::unsubscribe(self.number, request)).map(drop)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let inbox = self.connection.inbox();
        inbox.remove_consumer(self.number);
        // Where it cannot be sent, the connection has ended and the consumer with it.
        let request = self.connection.number();
        let _ = self.connection.send(&command::close_consumer(self.number, request));
    }
}
