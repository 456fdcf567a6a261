/*!
Looking for places in a topic, by readers of their own.
*/

use std::time::{Duration, Instant};

use super::command::{From, Subscription};
use super::consumer::Consumer;
use super::error::PulsarError;
use super::frame::Received;
use super::id::Entry;
use super::inbox::Taken;
use super::session::Session;
use crate::domain::{Channel, Position, Timestamp};
use crate::source::message::{Record, record};
use crate::source::search::{Look, Searched};

/// How long to wait for messages that the broker has.
const PATIENCE: Duration = Duration::from_secs(5);
/// A broker that was asked for what is later than its last message sends nothing: its clock is not ours.
const NOTHING: Duration = Duration::from_secs(1);
/// Longer ago than there is Milvus: everything.
const EVERYTHING: Duration = Duration::from_secs(10 * 365 * 86_400);
const PAUSE: Duration = Duration::from_millis(1);
/// Messages that the broker may send ahead: behind those that are looked for there may be large ones, which would hold up all that comes
/// after them on the same connection.
const AHEAD: u32 = 4;
const NAME: &str = "milvus-cdc-search";

/// A search under way.
pub(super) struct Search<'a> {
    pub(super) session: &'a Session,
    pub(super) channel: &'a Channel,
}

impl Search<'_> {
    /// `None`: there is no such topic.
    fn subscribe(&self, from: From) -> Result<Option<Consumer>, PulsarError> {
        let name = format!("{NAME}-{}", uuid::Uuid::new_v4().simple());
        let wanted = Subscription { name: &name, durable: false, from };
        match self.session.subscribe(self.channel, wanted) {
            Ok(consumer) => Ok(Some(consumer)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last message's position.
    pub(super) fn tail(&self) -> Result<Option<Position>, PulsarError> {
        let Some(consumer) = self.subscribe(From::Latest)? else { return Ok(None) };
        Ok(consumer.last()?.map(|last| last.position(0)))
    }

    /// The first entry that there is.
    fn first(&self) -> Result<Option<Entry>, PulsarError> {
        let Some(mut consumer) = self.subscribe(From::Earliest)? else { return Ok(None) };
        if consumer.last()?.is_none() {
            return Ok(None);
        }
        let message = next(&mut consumer, PATIENCE)?;
        Ok(message.map(|message| Entry::of_wire(&message.command.message_id)))
    }

    /// Shows what comes, up to an entry. Answers what came first.
    fn show(
        &self,
        consumer: &mut Consumer,
        last: Entry,
        patience: Duration,
        look: &mut dyn FnMut(&Record) -> Look,
    ) -> Result<Option<Entry>, PulsarError> {
        let (largest, mut first) = (self.session.config().max_message_size, None);
        loop {
            let wait = if first.is_none() { patience } else { PATIENCE };
            let Some(message) = next(consumer, wait)? else {
                return if first.is_none() { Ok(None) } else { Err(consumer.silence()) };
            };
            let entry = Entry::of_wire(&message.command.message_id);
            first.get_or_insert(entry);
            if entry > last {
                return Ok(first);
            }
            let topic = || consumer.topic().to_owned();
            let bodies = if message.is_marker() { Ok(Vec::new()) } else { message.bodies(largest) };
            let bodies = bodies.map_err(|error| PulsarError::Message { topic: topic(), error })?;
            for (index, body) in bodies.iter().enumerate() {
                let Some(body) = body else { continue };
                if look(&record(entry.position(index as u16), body)) == Look::Enough {
                    return Ok(first);
                }
            }
            if entry >= last {
                return Ok(first);
            }
        }
    }
}

impl Searched for Search<'_> {
    type Error = PulsarError;

    fn absent(&self) -> PulsarError {
        PulsarError::NoTopic { topic: self.session.topic(self.channel) }
    }

    fn last(&mut self) -> Result<Option<Timestamp>, PulsarError> {
        let Some(consumer) = self.subscribe(From::Latest)? else { return Ok(None) };
        let Some(end) = consumer.last()? else { return Ok(None) };
        drop(consumer);
        let Some(mut consumer) = self.subscribe(From::Entry(end))? else { return Ok(None) };
        let mut last = None;
        self.show(&mut consumer, end, PATIENCE, &mut |record| {
            last = Some(record.end);
            Look::On
        })?;
        Ok(last)
    }

    fn walk(&mut self, since: Timestamp, look: &mut dyn FnMut(&Record) -> Look) -> Result<Option<bool>, PulsarError> {
        let ago = since.age();
        let (from, patience) = match ago >= EVERYTHING {
            true => (From::Earliest, PATIENCE),
            false => (From::Ago(ago.as_secs() + 1), NOTHING),
        };
        let Some(beginning) = self.first()? else {
            return Ok(self.subscribe(From::Latest)?.map(|_| true));
        };
        let Some(mut consumer) = self.subscribe(from)? else { return Ok(None) };
        let Some(last) = consumer.last()? else { return Ok(Some(true)) };
        let first = self.show(&mut consumer, last, patience, look)?;
        Ok(Some(from == From::Earliest || first.is_some_and(|first| first <= beginning)))
    }
}

/// Waits for the next message; `None`: none has come in time.
fn next(consumer: &mut Consumer, patience: Duration) -> Result<Option<Box<Received>>, PulsarError> {
    consumer.allow(AHEAD)?;
    let deadline = Instant::now() + patience;
    loop {
        match consumer.take()? {
            Taken::Message(message) => return Ok(Some(message)),
            Taken::Closed => return Err(consumer.ended().unwrap_or_else(|| consumer.silence())),
            Taken::Nothing if Instant::now() >= deadline => return Ok(None),
            Taken::Nothing => std::thread::sleep(PAUSE),
        }
    }
}
