/*!
Decodes one channel of a queue, message after message.

A streaming node (Milvus 2.6 and later) writes a transaction's parts among other messages, and its end tells whether
they count. A part carries the time at which it was written; what it changes happens at the time of the commit. So the
parts are kept until then. Time ticks may stand between a transaction's beginning and its end: whoever resumes at such a
tick must read from the beginning on, which the tick says.

Milvus reads its own log in the same way (2.6.20, 3.0): it drops what a server without the channel has written behind a
later tick, and transactions whose writer was silent for longer than they allow.
*/

use std::collections::BTreeMap;
use std::time::Duration;

use protobuf::Message as _;

use super::envelope::Envelope;
use super::msgstream;
use super::queue_message::{QueueContent, QueueMessage};
use super::wal_kind::WalKind;
use super::wal_message::{Complete, Transactions};
use super::wal_message_id::Queue;
use crate::domain::{Body, Position, Record, Timestamp};
use crate::milvus::pb::wal::AlterWALHeader;

/// How much longer a transaction is kept when only the source's clock tells that it is abandoned: its commit may be on
/// its way into the queue, for as long as a producer tries (5 minutes in Kafka's client).
const GRACE: Duration = Duration::from_secs(600);

/// The state of decoding one channel.
#[derive(Debug)]
pub struct ChannelDecoder {
    queue: Queue,
    transactions: Transactions,
    /// Where the open transactions begin.
    begun: BTreeMap<i64, BegunTransaction>,
    /// The last tick that a streaming node has written.
    tick: Timestamp,
    /// The last tick that was passed on.
    passed_on: Timestamp,
    /// The last message, if it is such a tick.
    at_tick: Option<Position>,
}

#[derive(Debug, Clone, Copy)]
struct BegunTransaction {
    begin: Position,
    /// The time of its last message.
    last: Timestamp,
    /// How long after that it counts as abandoned; `None`: never.
    keepalive: Option<Duration>,
}

/// A message that stands behind a later time tick.
#[derive(Debug, thiserror::Error)]
#[error("a later time tick stands before it, so the source itself does not count it")]
struct BehindTick;

impl ChannelDecoder {
    /// Of a channel of this queue, from any place on that reading may begin at.
    pub fn new(queue: Queue) -> ChannelDecoder {
        ChannelDecoder {
            queue,
            transactions: Transactions::default(),
            begun: BTreeMap::new(),
            tick: Timestamp::ZERO,
            passed_on: Timestamp::ZERO,
            at_tick: None,
        }
    }

    /// Takes in the next message. `visit` gets what it completes; the last record stands at the message's position.
    pub fn take(&mut self, message: QueueMessage, visit: &mut dyn FnMut(Record)) {
        let QueueMessage { position, content } = message;
        self.at_tick = None;
        match content {
            QueueContent::MsgStream { bytes, mark } => visit(msgstream::record(position, &bytes, mark)),
            QueueContent::Damaged(error) => visit(msgstream::damaged(position, error)),
            QueueContent::Envelope(message) => self.take_envelope(&message, visit),
        }
    }

    /// A tick of this time, where the channel ends in one and has not got so far: a streaming node writes none while
    /// nothing else is written. Nothing that was written by then may be missing, by the source's clock. A message that
    /// comes later with an earlier time is still taken in: it stands behind the tick. A transaction stands where it
    /// begins, so while one is open there is no such tick.
    pub fn idle_tick(&mut self, time: Timestamp) -> Option<Record> {
        self.abandon(time.minus(GRACE));
        let position = self.at_tick.filter(|_| self.begun.is_empty() && time > self.passed_on)?;
        Some(self.pass_on(position, time))
    }

    /// Whether [`Self::idle_tick`] has something to say.
    pub fn is_idle_before(&self, time: Timestamp) -> bool {
        self.at_tick.is_some() && time > self.passed_on
    }

    /// Whether the channel ends in a tick of a streaming node.
    pub fn ends_in_tick(&self) -> bool {
        self.at_tick.is_some()
    }

    fn take_envelope(&mut self, message: &Envelope<Position>, visit: &mut dyn FnMut(Record)) {
        let (position, time) = (message.id, Timestamp(message.tick));
        if message.is_chunk {
            return visit(record(position, time, Body::Stop(CHUNK.into())));
        }
        match message.kind() {
            WalKind::TimeTick => {
                self.tick = self.tick.max(time);
                self.abandon(time);
                self.at_tick = Some(position);
                visit(self.pass_on(position, time));
            }
            _ if time < self.tick => visit(record(position, time, Body::Undecodable(BehindTick.into()))),
            WalKind::AlterWal => visit(record(position, time, self.moved(message))),
            _ => self.take_change(message, visit),
        }
    }

    fn pass_on(&mut self, position: Position, time: Timestamp) -> Record {
        self.passed_on = self.passed_on.max(time);
        let resume = self.begun.values().map(|begun| begun.begin).fold(position, Position::min);
        record(position, time, Body::Tick { resume: Some(resume) })
    }

    fn take_change(&mut self, message: &Envelope<Position>, visit: &mut dyn FnMut(Record)) {
        let (position, time) = (message.id, Timestamp(message.tick));
        match self.transactions.take(message) {
            Ok(Some(Complete { tick, bodies, mark })) => {
                let begun = message.txn.and_then(|txn| self.begun.remove(&txn));
                // Reading again must bring all of it.
                let begin = begun.map_or(position, |begun| begun.begin);
                bodies.into_iter().for_each(|body| visit(Record { mark, ..record(begin, Timestamp(tick), body) }));
                if begun.is_some() {
                    visit(record(position, time, Body::Part));
                }
            }
            Ok(None) => {
                self.note(message);
                let is_undone = message.kind() == WalKind::Rollback;
                visit(record(position, time, if is_undone { Body::Ignored("RollbackTxn") } else { Body::Part }));
            }
            // It has begun before the place where reading began, which is one that brings whole everything that is
            // needed: so it is not.
            Err(_) => visit(record(position, time, Body::Part)),
        }
    }

    /// Notes that a transaction has begun, goes on, or is undone.
    fn note(&mut self, message: &Envelope<Position>) {
        let Some(txn) = message.txn else { return };
        let last = Timestamp(message.tick);
        match message.kind() {
            WalKind::Begin => {
                let ms = u64::try_from(message.txn_keepalive_ms).ok().filter(|ms| *ms > 0);
                let begun = BegunTransaction { begin: message.id, last, keepalive: ms.map(Duration::from_millis) };
                // A producer may send it twice.
                self.begun.entry(txn).or_insert(begun);
            }
            WalKind::Rollback => drop(self.begun.remove(&txn)),
            _ => {
                if let Some(begun) = self.begun.get_mut(&txn) {
                    begun.last = begun.last.max(last);
                }
            }
        }
    }

    /// Drops the transactions that the source does not let commit after this time.
    fn abandon(&mut self, time: Timestamp) {
        let Self { begun, transactions, .. } = self;
        begun.retain(|&txn, open| {
            let is_open = open.keepalive.is_none_or(|keepalive| open.last.plus(keepalive) >= time);
            if !is_open {
                log::debug!("the transaction {txn} that begins at {} was abandoned by its writer", open.begin);
                transactions.forget(txn);
            }
            is_open
        });
    }

    /// What follows from the source's saying where it goes on writing.
    fn moved(&self, message: &Envelope<Position>) -> Body {
        let target = match AlterWALHeader::parse_from_bytes(&message.header) {
            Ok(header) => header.target_wal_name,
            Err(error) => return Body::Undecodable(error.into()),
        };
        if target == self.queue.number() {
            return Body::Ignored("AlterWAL");
        }
        let to = Queue::numbered(target);
        let (from, to_name) = (self.queue.name(), to.map_or("another queue", Queue::name));
        let set = match to {
            Some(Queue::RocksMq) => "sourceConfig.rocksmq.path to its folder, or sourceConfig.log",
            Some(Queue::Kafka) => "sourceConfig.kafka.address to its brokers, or sourceConfig.log",
            Some(Queue::Pulsar) => "sourceConfig.pulsar.address to its brokers, or sourceConfig.log",
            _ => "sourceConfig.log",
        };
        Body::Stop(format!(
            "the source has moved its log from {from} to {to_name} and writes nothing here any more: set {set} to \
             `wal` (Milvus 2.6.20 and later), take out what names the old queue, delete the task and create it again \
             (its rows are compared, none is doubled)"
        ))
    }
}

const CHUNK: &str = "the source's log has a message in several pieces, which cannot be read from its queue: set \
     sourceConfig.log to `wal`, delete the task and create it again (its rows are compared, none is doubled)";

fn record(position: Position, time: Timestamp, body: Body) -> Record {
    Record { position, begin: time, end: time, mark: None, body }
}

#[cfg(test)]
mod tests;
