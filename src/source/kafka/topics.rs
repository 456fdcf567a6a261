/*!
Topics being read by one consumer. Each has a queue of its own, so that one that is far behind fills its own share of memory
and holds up no other.
*/

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Consumer, Events};
use crate::domain::{Channel, Position};
use crate::source::absence::Absence;
use crate::source::log::{Next, ReadEnd};
use crate::source::message::{Record, record};

/// Milvus writes to a topic's first partition only, however many there are.
pub(super) const PARTITION: i32 = 0;
/// How long a question to the brokers may take.
pub(super) const QUESTION: Duration = Duration::from_secs(3);

/// Topics and how far they have been read.
pub(super) struct Topics {
    consumer: Arc<Consumer>,
    topics: BTreeMap<Channel, Topic>,
    unanswered: Unanswered,
}

/// Topics about which no broker answers, because none leads them: asked about again and again they would take all of the time that
/// the others need.
#[derive(Default)]
pub(super) struct Unanswered(BTreeMap<Channel, (Instant, KafkaError)>);

/// How much longer than a question without an answer took it is not asked again.
const UNASKED: u32 = 10;

impl Unanswered {
    /// Asks, or answers as the last question about the topic ended.
    pub(super) fn ask<T>(
        &mut self,
        channel: &Channel,
        question: impl FnOnce() -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let asked = Instant::now();
        if let Some((until, error)) = self.0.get(channel)
            && asked < *until
        {
            return Err(error.clone());
        }
        let answer = question();
        match &answer {
            Ok(_) => drop(self.0.remove(channel)),
            Err(error) => {
                let until = Instant::now() + asked.elapsed() * UNASKED;
                self.0.insert(channel.clone(), (until, error.clone()));
            }
        }
        answer
    }
}

enum Topic {
    /// Being fetched.
    Open(Open),
    /// Not there.
    Absent(Absence),
}

struct Open {
    queue: PartitionQueue<Events>,
    /// The offset to be passed on next; `None`: the first there is.
    next: Option<i64>,
    /// Where the topic ended when fetching began. The broker tells of an end only when it has nothing to send, and ticks come
    /// all the time.
    end: i64,
    /// Everything that there was when fetching began has been passed on; since then, no news means the end.
    at_end: bool,
}

/// What to do with an error of a topic's queue.
enum Fault {
    AtEnd,
    Gap,
    Absent,
    Trouble(KafkaError),
}

impl Topics {
    pub(super) fn new(consumer: Arc<Consumer>) -> Topics {
        Topics { consumer, topics: BTreeMap::new(), unanswered: Unanswered::default() }
    }

    /// See [`crate::source::Log::read`].
    pub(super) fn read(
        &mut self,
        channel: &Channel,
        next: Next,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, KafkaError> {
        let wanted = offset_of(next);
        let goes_on = matches!(self.topics.get(channel), Some(Topic::Open(open)) if open.next == wanted);
        if !goes_on && let Some(end) = self.open(channel, next)? {
            return Ok(end);
        }
        let Some(Topic::Open(open)) = self.topics.get_mut(channel) else { return Ok(ReadEnd::Awaited) };
        let fault = match open.drain(channel, max_bytes, visit) {
            None => return Ok(ReadEnd::More),
            Some(fault) => fault,
        };
        let end = match fault {
            Fault::AtEnd => return Ok(if open.at_end { ReadEnd::AtTail } else { ReadEnd::Awaited }),
            Fault::Gap => ReadEnd::Gap,
            Fault::Absent => ReadEnd::Awaited,
            Fault::Trouble(error) => {
                // The library goes on behind a batch that it could not read: it is fetched again, from where reading stands.
                self.close(channel)?;
                return Err(error);
            }
        };
        self.close(channel)?;
        Ok(end)
    }

    /// Begins to fetch; or says how reading ends because that is of no use.
    fn open(&mut self, channel: &Channel, next: Next) -> Result<Option<ReadEnd>, KafkaError> {
        if let Some(Topic::Absent(absence)) = self.topics.get(channel)
            && absence.is_fresh()
        {
            return Ok(Some(Absence::end(next)));
        }
        let found = self.unanswered.ask(channel, || watermarks(&self.consumer, channel))?;
        let Some((low, high)) = found else {
            return Ok(Some(self.note_absence(channel, next)));
        };
        let is_there = match next {
            Next::First => true,
            Next::At(position) => (low..high).contains(&number(position)),
            Next::After(position) => (low..=high).contains(&(number(position).saturating_add(1))),
        };
        self.close(channel)?;
        if !is_there {
            return Ok(Some(ReadEnd::Gap));
        }
        let wanted = offset_of(next);
        let queue = fetch(&self.consumer, channel, wanted.map_or(Offset::Beginning, Offset::Offset))?;
        let at_end = wanted.unwrap_or(low) >= high;
        self.topics.insert(channel.clone(), Topic::Open(Open { queue, next: wanted, end: high, at_end }));
        Ok(None)
    }

    fn note_absence(&mut self, channel: &Channel, next: Next) -> ReadEnd {
        let before = match self.topics.get(channel) {
            Some(Topic::Absent(absence)) => Some(*absence),
            _ => None,
        };
        let absence = Absence::noted(before);
        if next != Next::First && absence.is_for_good() {
            self.topics.remove(channel);
            return ReadEnd::Gap;
        }
        self.topics.insert(channel.clone(), Topic::Absent(absence));
        Absence::end(next)
    }

    /// Some topic that is being read.
    pub(super) fn any(&self) -> Option<Channel> {
        self.topics.keys().next().cloned()
    }

    /// Ends fetching.
    pub(super) fn close(&mut self, channel: &Channel) -> Result<(), KafkaError> {
        match self.topics.remove(channel) {
            Some(Topic::Open(_)) => self.consumer.incremental_unassign(&place(channel, Offset::Invalid)?),
            _ => Ok(()),
        }
    }
}

impl Open {
    /// Passes on what there is. `None`: enough for one turn.
    fn drain(&mut self, channel: &Channel, max_bytes: usize, visit: &mut dyn FnMut(Record)) -> Option<Fault> {
        let mut passed = 0;
        while passed < max_bytes {
            let message = match self.queue.poll(Duration::ZERO) {
                None => return Some(Fault::AtEnd),
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.at_end = true;
                    continue;
                }
                Some(Err(error)) => return Some(fault(error)),
            };
            let offset = message.offset();
            match self.next {
                // Of a compressed batch that begins earlier.
                Some(next) if offset < next => continue,
                Some(next) if offset > next => {
                    log::warn!(
                        "{channel}: offsets {next} to {} hold no messages (the broker passes over them)",
                        offset - 1
                    );
                }
                _ => {}
            }
            let payload = Bytes::copy_from_slice(message.payload().unwrap_or_default());
            passed += payload.len();
            self.next = Some(offset + 1);
            self.at_end |= offset + 1 >= self.end;
            visit(record(Position::at(offset as u64), &payload));
        }
        None
    }
}

fn fault(error: KafkaError) -> Fault {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Fault::Gap,
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition,
        ) => Fault::Absent,
        _ => Fault::Trouble(error),
    }
}

/// Whether the topic is unknown, and not the brokers out of reach.
fn is_absent(error: &KafkaError) -> bool {
    matches!(fault(error.clone()), Fault::Absent)
}

fn number(position: Position) -> i64 {
    i64::try_from(position.number()).unwrap_or(i64::MAX)
}

fn offset_of(next: Next) -> Option<i64> {
    match next {
        Next::First => None,
        Next::At(position) => Some(number(position)),
        Next::After(position) => Some(number(position).saturating_add(1)),
    }
}

fn place(channel: &Channel, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(channel.as_str(), PARTITION, offset)?;
    Ok(list)
}

/// Assigns a topic to the consumer, with a queue of its own. The queue comes first, or what arrives early would go elsewhere.
fn fetch(consumer: &Arc<Consumer>, channel: &Channel, from: Offset) -> Result<PartitionQueue<Events>, KafkaError> {
    let mut queue = consumer
        .split_partition_queue(channel.as_str(), PARTITION)
        .ok_or_else(|| KafkaError::Subscription(format!("{channel} is no name of a topic")))?;
    queue.set_nonempty_callback(consumer.client().context().waker());
    consumer.incremental_assign(&place(channel, from)?)?;
    Ok(queue)
}

/// The first offset and the one behind the last; `None` when there is no such topic.
pub(super) fn watermarks(consumer: &Consumer, channel: &Channel) -> Result<Option<(i64, i64)>, KafkaError> {
    match consumer.fetch_watermarks(channel.as_str(), PARTITION, QUESTION) {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first message whose Kafka timestamp is not before this, in milliseconds; `None`: all are.
pub(super) fn at_time(consumer: &Consumer, channel: &Channel, ms: u64) -> Result<Option<i64>, KafkaError> {
    let time = Offset::Offset(i64::try_from(ms).unwrap_or(i64::MAX));
    let found = consumer.offsets_for_times(place(channel, time)?, QUESTION)?;
    let Some(found) = found.find_partition(channel.as_str(), PARTITION) else { return Ok(None) };
    found.error()?;
    Ok(match found.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_took_long_is_not_asked_again_at_once() {
        let (slow, other) = (Channel::new("a"), Channel::new("b"));
        let mut unanswered = Unanswered::default();
        let fails = || {
            std::thread::sleep(Duration::from_millis(200));
            Err::<(), _>(KafkaError::Canceled)
        };
        assert!(unanswered.ask(&slow, fails).is_err());
        let asked_again = unanswered.ask(&slow, || Ok(()));
        assert_eq!(asked_again, Err(KafkaError::Canceled));
        assert_eq!(unanswered.ask(&other, || Ok(())), Ok(()));
        unanswered.0.values_mut().for_each(|(until, _)| *until = Instant::now());
        assert_eq!(unanswered.ask(&slow, || Ok(())), Ok(()), "after a while it is");
        assert!(unanswered.0.is_empty());
    }
}
