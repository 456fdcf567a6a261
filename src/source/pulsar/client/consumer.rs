//! A subscription to one topic while this client is connected to it.

use std::sync::Arc;

use super::command::{self, Subscription};
use super::connection::BrokerConnection;
use super::error::{EndCause, PulsarError};
use super::id::EntryId;
use super::inbox::Taken;

/// A consumer. Closed when dropped; a durable subscription stays where it is.
pub(crate) struct PulsarConsumer {
    connection: Arc<BrokerConnection>,
    number: u64,
    topic: String,
    /// How many messages the broker may send ahead. More are permitted once half of them have been taken.
    ahead: u32,
    /// Permits that the broker has left.
    permitted: u32,
}

impl PulsarConsumer {
    /// Subscribes.
    pub(super) fn subscribe(
        connection: &Arc<BrokerConnection>,
        topic: String,
        wanted: Subscription<'_>,
    ) -> Result<PulsarConsumer, PulsarError> {
        let number = connection.number();
        connection.inbox().add_consumer(number);
        let consumer = PulsarConsumer { connection: Arc::clone(connection), number, topic, ahead: 0, permitted: 0 };
        connection.ask("to subscribe", |request| command::subscribe(&consumer.topic, wanted, number, request))?;
        Ok(consumer)
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Lets the broker send this many messages ahead of those taken. Each may have megabytes, and the broker reads as
    /// many at once: keep it small where few are wanted, or where an answer is expected on the same connection.
    pub(crate) fn allow(&mut self, ahead: u32) -> Result<(), PulsarError> {
        self.ahead = ahead;
        if self.permitted <= ahead / 2 {
            self.connection.send(&command::flow(self.number, ahead - self.permitted))?;
            self.permitted = ahead;
        }
        Ok(())
    }

    /// The next message.
    pub(crate) fn take(&mut self) -> Result<Taken, PulsarError> {
        let taken = self.connection.inbox().take(self.number);
        if let Taken::Message(message) = &taken {
            self.permitted = self.permitted.saturating_sub(message.message_count());
            self.allow(self.ahead)?;
        }
        Ok(taken)
    }

    /// How many bytes of its connection's messages wait in memory.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.connection.inbox().waiting()
    }

    /// The broker has closed it, or the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.inbox().is_closed(self.number)
    }

    /// Why the connection has ended, if it has.
    pub(crate) fn ended(&self) -> Option<PulsarError> {
        self.connection.inbox().ended()
    }

    /// The error of a broker that does not send the messages that it has.
    pub(crate) fn stalled(&self) -> PulsarError {
        let source = EndCause::Stalled { topic: self.topic.clone() };
        PulsarError::Ended { address: self.connection.address().to_owned(), source }
    }

    /// The topic's last entry; `None` if it is empty.
    pub(crate) fn last(&self) -> Result<Option<EntryId>, PulsarError> {
        let question = "which entry of a topic is the last";
        let answer = self.connection.ask(question, |request| command::last_id(self.number, request))?;
        let answer = answer.last_id_response.into_option().ok_or_else(|| self.connection.malformed())?;
        let last = EntryId::of_wire(&answer.last);
        Ok((!last.is_none()).then_some(last))
    }

    /// Acknowledges this entry and those before it, for a durable subscription.
    pub(crate) fn acknowledge(&self, entry: EntryId) -> Result<(), PulsarError> {
        self.connection.send(&command::ack(self.number, entry))
    }

    /// Ends a durable subscription for good.
    pub(crate) fn unsubscribe(self) -> Result<(), PulsarError> {
        self.connection.ask("to unsubscribe", |request| command::unsubscribe(self.number, request)).map(drop)
    }
}

impl Drop for PulsarConsumer {
    fn drop(&mut self) {
        let inbox = self.connection.inbox();
        inbox.remove_consumer(self.number);
        // If this cannot be sent, the connection has ended, and the consumer with it.
        let request = self.connection.number();
        let _ = self.connection.send(&command::close_consumer(self.number, request));
    }
}
