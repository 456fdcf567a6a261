//! Searches a topic, by consumers apart from the reader's.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::client::{Durability, EntryId, PulsarConsumer, PulsarError, ReceivedEntry, StartAt, Subscription, Taken};
use super::cluster::Cluster;
use super::position::{entry_of, message, position_of};
use crate::domain::{Channel, Position, Timestamp};
use crate::source::broker::search::{LookAt, SearchableTopic, WalkStart};
use crate::source::log::ReadTick;

/// How long to wait for messages that the broker has.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for the first message published since a moment: there may be none, since the broker's clock is not
/// ours.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// Longer ago than Milvus exists: everything.
const EVERYTHING: Duration = Duration::from_secs(10 * 365 * 86_400);
const PAUSE: Duration = Duration::from_millis(1);
/// Messages that the broker may send ahead: large ones behind the wanted ones would hold up everything that comes after
/// them on the same connection.
const AHEAD: u32 = 4;
const NAME: &str = "milvus-cdc-search";

/// A search under way.
pub(super) struct PulsarSearch<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) channel: &'a Channel,
}

impl PulsarSearch<'_> {
    /// `None`: there is no such topic.
    fn subscribe(&self, start: StartAt) -> Result<Option<PulsarConsumer>, PulsarError> {
        let name = format!("{NAME}-{}", uuid::Uuid::new_v4().simple());
        let wanted = Subscription { name: &name, durability: Durability::NonDurable, start };
        match self.cluster.subscribe(self.channel, wanted) {
            Ok(consumer) => Ok(Some(consumer)),
            Err(error) if error.is_missing_topic() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last message's position.
    pub(super) fn tail(&self) -> Result<Option<Position>, PulsarError> {
        Ok(self.end()?.map(|last| position_of(last, 0)))
    }

    /// The last entry that the topic has.
    fn end(&self) -> Result<Option<EntryId>, PulsarError> {
        let Some(consumer) = self.subscribe(StartAt::Latest)? else { return Ok(None) };
        consumer.last()
    }

    /// The first entry that the topic has.
    fn first(&self) -> Result<Option<EntryId>, PulsarError> {
        let Some(mut consumer) = self.subscribe(StartAt::Earliest)? else { return Ok(None) };
        if consumer.last()?.is_none() {
            return Ok(None);
        }
        Ok(next(&mut consumer, PATIENCE)?.map(|entry| entry.id()))
    }

    /// Shows the messages that come, up to the entry `last`. Returns the first entry. `patience`: how long to wait for
    /// it.
    fn show(
        &self,
        consumer: &mut PulsarConsumer,
        last: EntryId,
        patience: Duration,
        look: &mut LookAt<'_>,
    ) -> Result<Option<EntryId>, PulsarError> {
        let (largest, mut first) = (self.cluster.client().max_message_size(), None);
        loop {
            let wait = if first.is_none() { patience } else { PATIENCE };
            let Some(entry) = next(consumer, wait)? else {
                return if first.is_none() { Ok(None) } else { Err(consumer.stalled()) };
            };
            let id = entry.id();
            first.get_or_insert(id);
            if id > last {
                return Ok(first);
            }
            let topic = || consumer.topic().to_owned();
            let bodies = entry.bodies(largest).map_err(|source| PulsarError::Message { topic: topic(), source })?;
            for (index, body) in bodies.iter().enumerate() {
                let Some(body) = body else { continue };
                let record = message(position_of(id, index as u16), body).alone();
                if look(&record).is_break() {
                    return Ok(first);
                }
            }
            if id >= last {
                return Ok(first);
            }
        }
    }
}

impl PulsarSearch<'_> {
    /// The first message from this position on. That there is none means that the topic has gone back, so a broker that
    /// shows nothing of what it says it has is an error.
    pub(super) fn next_within(&self, position: Position, patience: Duration) -> Result<Option<ReadTick>, PulsarError> {
        let Some(end) = self.end()? else { return Ok(None) };
        let entry = entry_of(position);
        if end < entry {
            return Ok(None);
        }
        let Some(mut consumer) = self.subscribe(StartAt::Entry(entry))? else { return Ok(None) };
        let mut next = None;
        let first = self.show(&mut consumer, end, patience, &mut |record| {
            if record.position < position {
                return ControlFlow::Continue(());
            }
            next = Some(ReadTick::of(record));
            ControlFlow::Break(())
        })?;
        if first.is_none() {
            return Err(consumer.stalled());
        }
        Ok(next)
    }
}

impl SearchableTopic for PulsarSearch<'_> {
    type Error = PulsarError;

    fn missing(&self) -> PulsarError {
        PulsarError::NoTopic { topic: self.cluster.topic(self.channel) }
    }

    fn last(&mut self) -> Result<Option<Timestamp>, PulsarError> {
        let Some(end) = self.end()? else { return Ok(None) };
        let Some(mut consumer) = self.subscribe(StartAt::Entry(end))? else { return Ok(None) };
        let mut last = None;
        self.show(&mut consumer, end, PATIENCE, &mut |record| {
            last = Some(record.end);
            ControlFlow::Continue(())
        })?;
        Ok(last)
    }

    fn reaches_back_to(&mut self, position: Position) -> Result<bool, PulsarError> {
        Ok(self.first()?.is_some_and(|first| first <= entry_of(position)))
    }

    fn next_from(&mut self, position: Position) -> Result<Option<ReadTick>, PulsarError> {
        self.next_within(position, PATIENCE)
    }

    fn walk(&mut self, since: Timestamp, look: &mut LookAt<'_>) -> Result<WalkStart, PulsarError> {
        let ago = since.age();
        let (start, patience) = match ago >= EVERYTHING {
            true => (StartAt::Earliest, PATIENCE),
            false => (StartAt::Ago(ago.as_secs() + 1), FIRST_PATIENCE),
        };
        let Some(beginning) = self.first()? else {
            let is_there = self.subscribe(StartAt::Latest)?.is_some();
            return Ok(if is_there { WalkStart::First } else { WalkStart::NoTopic });
        };
        let Some(mut consumer) = self.subscribe(start)? else { return Ok(WalkStart::NoTopic) };
        let Some(last) = consumer.last()? else { return Ok(WalkStart::First) };
        let first = self.show(&mut consumer, last, patience, look)?;
        let is_whole = start == StartAt::Earliest || first.is_some_and(|first| first <= beginning);
        Ok(if is_whole { WalkStart::First } else { WalkStart::Later })
    }
}

/// Waits for the next entry; `None`: none has come in time.
fn next(consumer: &mut PulsarConsumer, patience: Duration) -> Result<Option<Box<ReceivedEntry>>, PulsarError> {
    consumer.allow(AHEAD)?;
    let deadline = Instant::now() + patience;
    loop {
        match consumer.take()? {
            Taken::Message(entry) => return Ok(Some(entry)),
            Taken::Closed => return Err(consumer.ended().unwrap_or_else(|| consumer.stalled())),
            Taken::Nothing if Instant::now() >= deadline => return Ok(None),
            Taken::Nothing => std::thread::sleep(PAUSE),
        }
    }
}
