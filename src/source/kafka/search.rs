/*!
Looking for places in a topic: where a collection begins, and where a copy's replay must begin. The brokers find a moment
by their messages' own timestamps; from there on the messages are read, and their ticks count.

A searcher has its own consumer, made when it is needed, so that reading goes on undisturbed.
*/

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Consumer, serve};
use super::topics::{Topics, at_time, watermarks};
use crate::domain::{Channel, CollectionId, Position, Timestamp};
use crate::source::log::{Next, ReadEnd, Start};
use crate::source::message::{Body, Record};

/// A tick names a moment a little past, and a collection's first ones may be older than the collection.
const MARGIN: Duration = Duration::from_secs(10);
/// How far back from the end a copy's replay starts, as with every kind of log.
const COPY_MARGIN: Duration = Duration::from_secs(5);
/// By how much to look further back when the broker's clock has misled us.
const STEP: u32 = 8;
/// How much is read at once.
const PAGE_BYTES: usize = 1 << 20;
/// How long to wait for messages that the broker has.
const PATIENCE: Duration = Duration::from_secs(5);

/// A search under way.
pub(super) struct Search<'a> {
    pub(super) consumer: &'a Arc<Consumer>,
    pub(super) topics: &'a mut Topics,
    pub(super) channel: &'a Channel,
}

/// What to do after a message.
enum Look {
    On,
    Enough,
}

impl Search<'_> {
    /// See [`crate::source::Log::birth`].
    pub(super) fn birth(
        &mut self,
        collection: CollectionId,
        created: Timestamp,
    ) -> Result<Option<Position>, KafkaError> {
        let mut margin = MARGIN;
        loop {
            let Some((low, high)) = watermarks(self.consumer, self.channel)? else {
                // Its collection is there: the brokers have yet to learn of the topic, or somebody has deleted it.
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
            };
            let from = self.some_time_before(created, margin, (low, high))?;
            let (found, first_tick) = self.find_birth(from, high, collection, created)?;
            // A first tick before the collection's creation shows that we began early enough.
            if found.is_some() || from <= low || first_tick.is_some_and(|tick| tick < created) {
                return Ok(found);
            }
            margin = margin.saturating_mul(STEP);
        }
    }

    fn some_time_before(
        &self,
        moment: Timestamp,
        margin: Duration,
        (low, high): (i64, i64),
    ) -> Result<i64, KafkaError> {
        let early = moment.minus(margin).physical_ms();
        Ok(at_time(self.consumer, self.channel, early)?.unwrap_or(high).max(low))
    }

    /// Its `CreateCollection` at or behind `from`, and the first tick there.
    fn find_birth(
        &mut self,
        from: i64,
        high: i64,
        collection: CollectionId,
        created: Timestamp,
    ) -> Result<(Option<Position>, Option<Timestamp>), KafkaError> {
        let late = created.plus(MARGIN);
        let (mut found, mut first_tick) = (None, None);
        self.walk(from, high, &mut |record| {
            match record.body {
                Body::CreateCollection(id) if id == collection => found = Some(record.position),
                Body::Tick => drop(first_tick.get_or_insert(record.end)),
                _ => {}
            }
            let is_past = matches!(record.body, Body::Tick) && record.end > late;
            if found.is_some() || is_past { Look::Enough } else { Look::On }
        })?;
        Ok((found, first_tick))
    }

    /// See [`crate::source::Log::shortly_before_tail`].
    pub(super) fn shortly_before_tail(&mut self) -> Result<Start, KafkaError> {
        let everything = Start { position: None, after: Timestamp::ZERO };
        let mut margin = COPY_MARGIN * 3;
        loop {
            let Some((low, high)) = watermarks(self.consumer, self.channel)? else { return Ok(everything) };
            let Some(newest) = self.newest_tick(low, high)? else { return Ok(everything) };
            let after = newest.minus(COPY_MARGIN);
            let from = self.some_time_before(newest, margin, (low, high))?;
            if from <= low {
                return Ok(everything);
            }
            // What is later than `after` was not even asked for when a tick so much older was written.
            if let Some((position, tick)) = self.first_tick(from, high)?
                && tick <= after.minus(COPY_MARGIN)
            {
                return Ok(Start { position: Some(position), after });
            }
            margin = margin.saturating_mul(STEP);
        }
    }

    /// The last tick, or nearly: looked for from further and further back.
    fn newest_tick(&mut self, low: i64, high: i64) -> Result<Option<Timestamp>, KafkaError> {
        let mut back = 16;
        loop {
            let from = (high - back).max(low);
            let mut newest = None;
            self.walk(from, high, &mut |record| {
                if matches!(record.body, Body::Tick) {
                    newest = Some(record.end);
                }
                Look::On
            })?;
            if newest.is_some() || from == low {
                return Ok(newest);
            }
            back = back.saturating_mul(i64::from(STEP));
        }
    }

    fn first_tick(&mut self, from: i64, high: i64) -> Result<Option<(Position, Timestamp)>, KafkaError> {
        let mut first = None;
        self.walk(from, high, &mut |record| match record.body {
            Body::Tick => {
                first = Some((record.position, record.end));
                Look::Enough
            }
            _ => Look::On,
        })?;
        Ok(first)
    }

    /// Shows the messages from `from` to before `high`, until `look` has had enough.
    fn walk(&mut self, from: i64, high: i64, look: &mut dyn FnMut(&Record) -> Look) -> Result<(), KafkaError> {
        if from >= high {
            return Ok(());
        }
        let outcome = self.walk_open(from, high, look);
        // Or the rest of the topic would be fetched for nobody.
        self.topics.close(self.channel)?;
        outcome
    }

    fn walk_open(&mut self, from: i64, high: i64, look: &mut dyn FnMut(&Record) -> Look) -> Result<(), KafkaError> {
        let mut next = Next::At(Position::at(from as u64));
        let mut last_news = Instant::now();
        let mut done = false;
        while !done && last_news.elapsed() < PATIENCE {
            let mut came = false;
            let end = self.topics.read(self.channel, next, PAGE_BYTES, &mut |record| {
                came = true;
                next = Next::After(record.position);
                done = done || matches!(look(&record), Look::Enough) || record.position.number() as i64 + 1 >= high;
            })?;
            match end {
                ReadEnd::More => {}
                // Retention has overtaken us: nothing older is left.
                ReadEnd::AtTail | ReadEnd::Gap => return Ok(()),
                ReadEnd::Awaited => std::thread::sleep(Duration::from_millis(1)),
            }
            if came {
                last_news = Instant::now();
            }
            serve(self.consumer);
        }
        if done { Ok(()) } else { Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut)) }
    }
}
