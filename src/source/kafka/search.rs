/*!
Looking for places in a topic. A searcher has its own consumer, made when it is needed, so that reading goes on undisturbed.
*/

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Consumer, serve};
use super::topics::{Topics, at_time, watermarks};
use crate::domain::{Channel, Position, Timestamp};
use crate::source::log::{Next, ReadEnd};
use crate::source::message::Record;
use crate::source::search::{Look, Searched};

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

impl Searched for Search<'_> {
    type Error = KafkaError;

    fn absent(&self) -> KafkaError {
        KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)
    }

    fn last(&mut self) -> Result<Option<Timestamp>, KafkaError> {
        let Some((low, high)) = watermarks(self.consumer, self.channel)? else { return Ok(None) };
        let mut last = None;
        self.show((high - 1).max(low), high, &mut |record| {
            last = Some(record.end);
            Look::On
        })?;
        Ok(last)
    }

    fn walk(&mut self, since: Timestamp, look: &mut dyn FnMut(&Record) -> Look) -> Result<Option<bool>, KafkaError> {
        let Some((low, high)) = watermarks(self.consumer, self.channel)? else { return Ok(None) };
        let from = at_time(self.consumer, self.channel, since.physical_ms())?.unwrap_or(high).max(low);
        self.show(from, high, look)?;
        Ok(Some(from <= low))
    }
}

impl Search<'_> {
    /// Shows the messages from `from` to before `high`, until `look` has had enough.
    fn show(&mut self, from: i64, high: i64, look: &mut dyn FnMut(&Record) -> Look) -> Result<(), KafkaError> {
        if from >= high {
            return Ok(());
        }
        let outcome = self.show_open(from, high, look);
        // Or the rest of the topic would be fetched for nobody.
        self.topics.close(self.channel)?;
        outcome
    }

    fn show_open(&mut self, from: i64, high: i64, look: &mut dyn FnMut(&Record) -> Look) -> Result<(), KafkaError> {
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
