//! Searches a topic, with a consumer apart from the reader's, so that reading goes on undisturbed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{KafkaConsumer, consumer, serve};
use super::topics::{KafkaTopics, at_time, watermarks};
use crate::config::KafkaConfig;
use crate::domain::{Channel, Position, Timestamp};
use crate::source::broker::search::{LookAt, SearchableTopic, WalkStart};
use crate::source::log::ReadTick;
use crate::source::log::{ReadEnd, ReadFrom};

/// How much is read at once.
const PAGE_BYTES: usize = 1 << 20;
/// How long to wait for messages that the broker has.
const PATIENCE: Duration = Duration::from_secs(5);

/// A consumer for searches, and the topics that it reads.
pub(super) struct KafkaSearcher {
    consumer: Arc<KafkaConsumer>,
    topics: KafkaTopics,
}

impl KafkaSearcher {
    pub(super) fn new(config: &KafkaConfig) -> Result<KafkaSearcher, KafkaError> {
        let consumer = consumer(config)?;
        let topics = KafkaTopics::new(Arc::clone(&consumer));
        Ok(KafkaSearcher { consumer, topics })
    }

    /// A search of one topic.
    pub(super) fn topic<'a>(&'a mut self, channel: &'a Channel) -> KafkaSearch<'a> {
        KafkaSearch { consumer: &self.consumer, topics: &mut self.topics, channel }
    }
}

/// A search under way.
pub(super) struct KafkaSearch<'a> {
    consumer: &'a Arc<KafkaConsumer>,
    topics: &'a mut KafkaTopics,
    channel: &'a Channel,
}

impl SearchableTopic for KafkaSearch<'_> {
    type Error = KafkaError;

    fn missing(&self) -> KafkaError {
        KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)
    }

    fn last(&mut self) -> Result<Option<Timestamp>, KafkaError> {
        let Some((low, high)) = watermarks(self.consumer, self.channel)? else { return Ok(None) };
        let mut last = None;
        self.show((high - 1).max(low), high, &mut |record| {
            last = Some(record.end);
            ControlFlow::Continue(())
        })?;
        Ok(last)
    }

    fn reaches_back_to(&mut self, position: Position) -> Result<bool, KafkaError> {
        let found = watermarks(self.consumer, self.channel)?;
        Ok(found.is_some_and(|(low, high)| low < high && position >= Position::at(low as u64)))
    }

    fn next_from(&mut self, position: Position) -> Result<Option<ReadTick>, KafkaError> {
        let Some((low, high)) = watermarks(self.consumer, self.channel)? else { return Ok(None) };
        let mut next = None;
        self.show((position.number() as i64).max(low), high, &mut |record| {
            next = Some(ReadTick::of(record));
            ControlFlow::Break(())
        })?;
        Ok(next)
    }

    fn walk(&mut self, since: Timestamp, look: &mut LookAt<'_>) -> Result<WalkStart, KafkaError> {
        let Some((low, high)) = watermarks(self.consumer, self.channel)? else { return Ok(WalkStart::NoTopic) };
        let from = at_time(self.consumer, self.channel, since.physical_ms())?.unwrap_or(high).max(low);
        self.show(from, high, look)?;
        Ok(if from <= low { WalkStart::First } else { WalkStart::Later })
    }
}

impl KafkaSearch<'_> {
    /// Shows the messages from offset `from` to before `high`, until `look` breaks off.
    fn show(&mut self, from: i64, high: i64, look: &mut LookAt<'_>) -> Result<(), KafkaError> {
        if from >= high {
            return Ok(());
        }
        let outcome = self.read_to(from, high, look);
        // The consumer would fetch the rest of the topic for nobody.
        self.topics.close(self.channel)?;
        outcome
    }

    fn read_to(&mut self, from: i64, high: i64, look: &mut LookAt<'_>) -> Result<(), KafkaError> {
        let mut next = ReadFrom::At(Position::at(from as u64));
        let mut last_arrival = Instant::now();
        let mut done = false;
        while !done && last_arrival.elapsed() < PATIENCE {
            let mut arrived = false;
            let end = self.topics.read(self.channel, next, PAGE_BYTES, &mut |message| {
                let record = message.alone();
                arrived = true;
                next = ReadFrom::After(record.position);
                done = done || look(&record).is_break() || record.position.number() as i64 + 1 >= high;
            })?;
            match end {
                ReadEnd::More => {}
                // Retention has overtaken the search: nothing older is left.
                ReadEnd::AtTail | ReadEnd::Gap => return Ok(()),
                ReadEnd::Awaited => std::thread::sleep(Duration::from_millis(1)),
            }
            if arrived {
                last_arrival = Instant::now();
            }
            serve(self.consumer);
        }
        if done { Ok(()) } else { Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut)) }
    }
}
