/*!
Topics being read, each by a non-durable subscription of its own: it begins where we say, and leaves nothing behind.
*/

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::command::{From, Subscription};
use super::consumer::Consumer;
use super::continuity::{Continuity, Label, Verdict};
use super::error::PulsarError;
use super::frame::Received;
use super::id::Entry;
use super::inbox::Taken;
use super::session::Session;
use crate::domain::{Channel, Position};
use crate::source::absence::Absence;
use crate::source::log::{Next, ReadEnd};
use crate::source::message::{Record, record};

/// Topics and how far they have been read.
pub(super) struct Topics {
    session: Arc<Session>,
    topics: BTreeMap<Channel, Topic>,
}

/// Messages that the broker may send ahead. The first ones come when it has read about so many, of whatever size.
const AHEAD: u32 = 32;

enum Topic {
    Open(Box<Open>),
    /// Not there.
    Absent(Absence),
}

struct Open {
    /// `None`: it has ended, and a new one goes on.
    consumer: Option<Consumer>,
    continuity: Continuity,
    next: Next,
    /// Where the topic ended when the consumer was made: up to there messages are on their way.
    end: Option<Entry>,
    /// All of them have been passed on; since then, no news means the end.
    at_end: bool,
}

/// How a turn ended.
enum Turn {
    End(ReadEnd),
    /// The consumer has to begin again.
    Anew,
}

impl Topics {
    pub(super) fn new(session: Arc<Session>) -> Topics {
        Topics { session, topics: BTreeMap::new() }
    }

    /// See [`crate::source::Log::read`].
    pub(super) fn read(
        &mut self,
        channel: &Channel,
        next: Next,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, PulsarError> {
        let goes_on = matches!(self.topics.get(channel), Some(Topic::Open(open)) if open.next == next);
        if !goes_on && !matches!(self.topics.get(channel), Some(Topic::Absent(_))) {
            self.topics.insert(channel.clone(), Topic::Open(Box::new(Open::new(next))));
        }
        if let Some(end) = self.subscribe(channel, next)? {
            return Ok(end);
        }
        let Some(Topic::Open(open)) = self.topics.get_mut(channel) else { return Ok(ReadEnd::Awaited) };
        match open.drain(self.session.config().max_message_size, max_bytes, visit)? {
            Turn::End(ReadEnd::Gap) => {
                self.topics.remove(channel);
                Ok(ReadEnd::Gap)
            }
            Turn::End(end) => Ok(end),
            Turn::Anew => {
                let ended = open.consumer.take().and_then(|consumer| consumer.ended());
                ended.map_or(Ok(ReadEnd::Awaited), Err)
            }
        }
    }

    /// Sees that there is a consumer; or says how reading ends because there is nothing to read.
    fn subscribe(&mut self, channel: &Channel, next: Next) -> Result<Option<ReadEnd>, PulsarError> {
        match self.topics.get_mut(channel) {
            Some(Topic::Open(open)) if open.consumer.is_some() => return Ok(None),
            Some(Topic::Absent(absence)) if absence.is_fresh() => return Ok(Some(Absence::end(next))),
            _ => {}
        }
        let mut open = match self.topics.remove(channel) {
            Some(Topic::Open(open)) => open,
            Some(absent) => {
                self.topics.insert(channel.clone(), absent);
                Box::new(Open::new(next))
            }
            None => Box::new(Open::new(next)),
        };
        match open.begin(&self.session, channel) {
            Ok(true) => {
                self.topics.insert(channel.clone(), Topic::Open(open));
                Ok(None)
            }
            Ok(false) => {
                self.topics.remove(channel);
                Ok(Some(ReadEnd::Gap))
            }
            Err(error) if error.is_absence() => Ok(Some(self.note_absence(channel, next))),
            Err(error) => {
                // What is known of producers is wanted when it works again.
                self.topics.insert(channel.clone(), Topic::Open(open));
                Err(error)
            }
        }
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
}

impl Open {
    fn new(next: Next) -> Open {
        let continuity = match next {
            Next::First => Continuity::from_start(),
            Next::At(position) => Continuity::at(Entry::of(position)),
            Next::After(position) => Continuity::after(Entry::of(position)),
        };
        Open { consumer: None, continuity, next, end: None, at_end: false }
    }

    /// Subscribes. False: what has to be there is certainly gone.
    fn begin(&mut self, session: &Session, channel: &Channel) -> Result<bool, PulsarError> {
        let name = format!("milvus-cdc-reader-{}", uuid::Uuid::new_v4().simple());
        let awaited = self.continuity.begin_again();
        let from = awaited.map_or(From::Earliest, From::Entry);
        let consumer = session.subscribe(channel, Subscription { name: &name, durable: false, from })?;
        self.end = consumer.last()?;
        if let Some(wanted) = awaited
            && self.end.is_none_or(|end| end < wanted)
        {
            return Ok(false);
        }
        self.at_end = match (self.end, self.next) {
            (None, _) => true,
            (Some(end), Next::After(last)) => Entry::of(last) >= end,
            (Some(_), _) => false,
        };
        let consumer = self.consumer.insert(consumer);
        consumer.allow(AHEAD)?;
        Ok(true)
    }

    /// Passes on what there is.
    fn drain(&mut self, largest: usize, max_bytes: usize, visit: &mut dyn FnMut(Record)) -> Result<Turn, PulsarError> {
        let mut passed = 0;
        while passed < max_bytes {
            let Some(consumer) = &mut self.consumer else { return Ok(Turn::Anew) };
            let message = match consumer.take() {
                Ok(Taken::Message(message)) => message,
                Ok(Taken::Closed) => return Ok(Turn::Anew),
                Ok(Taken::Nothing) => {
                    return Ok(Turn::End(if self.at_end { ReadEnd::AtTail } else { ReadEnd::Awaited }));
                }
                // The connection has ended, and the message that was taken is lost, and so would be each one that waits behind it.
                Err(error) => {
                    self.consumer = None;
                    return Err(error);
                }
            };
            let entry = Entry::of_wire(&message.command.message_id);
            // Before it counts as read: one that cannot be opened is asked for again.
            let bodies = match self.open(&message, largest) {
                Ok(bodies) => bodies,
                Err(error) => {
                    self.consumer = None;
                    return Err(error);
                }
            };
            let verdict = self.continuity.judge(label(&message, entry));
            match verdict {
                Verdict::Follows | Verdict::Repeated => {}
                Verdict::Known => continue,
                Verdict::LookAgain => return Ok(Turn::Anew),
                Verdict::Gap => return Ok(Turn::End(ReadEnd::Gap)),
            }
            self.at_end |= self.end.is_none_or(|end| entry >= end);
            if verdict == Verdict::Repeated {
                continue;
            }
            for (index, body) in bodies.iter().enumerate() {
                let position = entry.position(index as u16);
                if let Some(body) = body.as_ref().filter(|_| is_wanted(self.next, position)) {
                    passed += body.len();
                    self.next = Next::After(position);
                    visit(record(position, body));
                }
            }
        }
        Ok(Turn::End(ReadEnd::More))
    }

    fn open(&self, message: &Received, largest: usize) -> Result<Vec<Option<Bytes>>, PulsarError> {
        if message.is_marker() {
            return Ok(Vec::new());
        }
        let topic = || self.consumer.as_ref().map_or("", Consumer::topic).to_owned();
        message.bodies(largest).map_err(|error| PulsarError::Message { topic: topic(), error })
    }
}

fn label(message: &Received, entry: Entry) -> Label<'_> {
    let metadata = &message.metadata;
    Label {
        entry,
        producer: metadata.producer(),
        sequence: metadata.sequence(),
        publish_time: metadata.publish_time(),
        messages: message.messages(),
    }
}

/// Whether a position is not in front of what is to be read next.
fn is_wanted(next: Next, position: Position) -> bool {
    match next {
        Next::First => true,
        Next::At(first) => position >= first,
        Next::After(last) => position > last,
    }
}
