//! A recorded server behind `wal`, which is FAKE: its `DumpMessages` answers come from memory, byte by byte as they
//! were recorded, and are read in windows as ever. Where a collection begins is looked up, not asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::reading::{Reading, ReadingStep};
use super::resume_point::{self, ResumePoint};
use crate::domain::{Body, Channel, CollectionId, Position, Record, Timestamp};
use crate::source::decode::envelope::{self, DumpAnswer, Envelope};
use crate::source::decode::wal_kind::WalKind;
use crate::source::decode::wal_message;
use crate::source::decode::wal_message_id::WalMessageId;
use crate::source::log::{Log, LogError, ReadEnd, ReadFrom, Refreshed, Start, StartQuery};

/// One answer.
pub(in crate::source) struct RecordedAnswer {
    bytes: Bytes,
    tick: u64,
    /// Where it stands; of a part of a transaction where that begins.
    begins: u128,
    last_confirmed: WalMessageId,
    /// The collection whose creation it is.
    creates: Option<CollectionId>,
}

/// By channel, in the order of their ticks.
pub(in crate::source) type RecordedAnswers = Arc<BTreeMap<Channel, Vec<RecordedAnswer>>>;

/// Reads recorded answers.
pub(in crate::source) struct RecordedWal {
    answers: RecordedAnswers,
    readings: Mutex<BTreeMap<Channel, RecordedWindow>>,
}

/// A window that is being read.
struct RecordedWindow {
    reading: Reading,
    /// Its answers that are still to come, by their index.
    left: std::vec::IntoIter<usize>,
}

impl RecordedWal {
    /// Each channel's answers, as they were written to a file: each behind its length.
    pub(in crate::source) fn answers(files: impl Iterator<Item = (Channel, Bytes)>) -> RecordedAnswers {
        Arc::new(files.map(|(channel, file)| (channel, of_file(file))).collect())
    }

    pub(in crate::source) fn new(answers: RecordedAnswers) -> RecordedWal {
        RecordedWal { answers, readings: Mutex::default() }
    }

    fn of(&self, channel: &Channel) -> &[RecordedAnswer] {
        self.answers.get(channel).map_or(&[], Vec::as_slice)
    }

    /// Behind everything: the end of the last window.
    fn end(&self) -> u64 {
        self.answers.values().flatten().map(|answer| answer.tick).max().unwrap_or(0) + 1
    }

    /// A window from the reading's place on, to the end.
    fn open(&self, channel: &Channel, mut reading: Reading) -> RecordedWindow {
        let begin = reading.next_begin();
        let start = reading.place().start.pack().unwrap();
        let answers = self.of(channel).iter().enumerate();
        let sent = answers.filter(|(_, answer)| answer.begins >= start && answer.tick >= begin);
        let left = sent.map(|(index, _)| index).collect::<Vec<_>>().into_iter();
        reading.opened(self.end());
        RecordedWindow { reading, left }
    }
}

fn of_file(file: Bytes) -> Vec<RecordedAnswer> {
    let (mut rest, mut answers, mut begun) = (file, Vec::new(), BTreeMap::new());
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest.split_to(4)[..].try_into().unwrap());
        let bytes = rest.split_to(size as usize);
        let DumpAnswer::Message(message) = envelope::read(&bytes).unwrap() else { panic!("no message") };
        let place = message.id.pack().unwrap();
        let begins = match message.txn {
            Some(txn) if message.kind() == WalKind::Begin => *begun.entry(txn).or_insert(place),
            Some(txn) => begun[&txn],
            None => place,
        };
        let (tick, creates) = (message.tick, created_by(&message));
        answers.push(RecordedAnswer { bytes, tick, begins, last_confirmed: message.last_confirmed, creates });
    }
    answers
}

fn created_by(message: &Envelope) -> Option<CollectionId> {
    match wal_message::body(message) {
        Ok(Body::CreateCollection(id)) if !message.is_of_control() => Some(id),
        _ => None,
    }
}

impl Log for RecordedWal {
    fn refresh(&self) -> Result<Refreshed, LogError> {
        Ok(Refreshed::Unchanged)
    }

    fn read(
        &self,
        channel: &Channel,
        next: ReadFrom,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let position = next.position().expect("a task begins at a collection's creation");
        let known = self.readings.lock().remove(channel);
        let known = known.filter(|known| known.reading.place().position() == Some(position));
        let begin = || self.open(channel, Reading::at(ResumePoint::of(position).unwrap()));
        let mut window = known.unwrap_or_else(begin);
        let before = window.reading.place().clone();
        let (mut bytes, mut end) = (0, ReadEnd::AtTail);
        for index in window.left.by_ref() {
            let answer = &self.of(channel)[index];
            match window.reading.take(&answer.bytes, visit) {
                ReadingStep::Next => {}
                ReadingStep::Gap(why) | ReadingStep::Malformed(why) => panic!("{channel}: {why}"),
            }
            bytes += answer.bytes.len();
            if bytes >= max_bytes {
                end = ReadEnd::More;
                break;
            }
        }
        if end == ReadEnd::AtTail {
            assert_eq!(window.reading.ended(), ReadingStep::Next, "{channel}");
        }
        if *window.reading.place() != before {
            visit(window.reading.tick().unwrap());
        }
        self.readings.lock().insert(channel.clone(), window);
        Ok(end)
    }

    fn collection_start(&self, channel: &Channel, query: &StartQuery<'_>) -> Result<Option<Position>, LogError> {
        let found = self.of(channel).iter().find(|answer| answer.creates == Some(query.collection));
        let place = |answer: &RecordedAnswer| ResumePoint {
            passed: answer.tick - 1,
            witness: answer.tick,
            start: answer.last_confirmed.clone(),
        };
        Ok(found.and_then(|answer| place(answer).position()))
    }

    fn tail(&self, _: &Channel) -> Result<Option<Position>, LogError> {
        Ok(Some(resume_point::behind(self.end())))
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        let last = self.of(channel).last().map_or(0, |answer| answer.tick);
        Ok(Start { position: None, after: Timestamp(last) })
    }
}
