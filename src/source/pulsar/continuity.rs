/*!
Detects missing messages between two entries of a topic.

Within a ledger, entries are numbered without gaps, so the next number proves that nothing is missing. From one ledger
to the next nothing proves it by itself, and a broker that has deleted messages silently continues with the rest. So the
last entry is asked for once more: brokers delete ledgers from the oldest on, and if that entry still exists after the
doubtful one has come, nothing between the two was gone when it came. The same happens whenever reading begins again.

A bookie that has lost its disk can end a ledger earlier than it was written. Producers number their messages, and a
jump in a count from one ledger to the next shows that. The counts also show what a producer has sent again because a
closing broker had not confirmed it: then the topic holds the same message twice.
*/

use std::collections::BTreeMap;

use super::client::EntryId;

/// Producers that are remembered: each run of Milvus has two.
const PRODUCERS: usize = 64;

/// How far a topic has been read.
#[derive(Debug, Clone, Default)]
pub(super) struct Continuity {
    /// The entry that was read last.
    last: Option<EntryId>,
    /// The entry that has to come first.
    awaited: Option<EntryId>,
    /// The entry that came right after `last`, in another ledger.
    doubted: Option<EntryId>,
    /// `last` has been asked for again since then, and still exists.
    seen_again: bool,
    producers: BTreeMap<String, ProducerCount>,
    /// Entries so far.
    count: u64,
}

/// How far a producer has counted.
#[derive(Debug, Clone, Copy)]
struct ProducerCount {
    /// Its last message's number, and when that was published.
    sequence: u64,
    publish_time: u64,
    /// Which entry of the topic that was.
    seen: u64,
}

/// What an entry says about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label<'a> {
    pub(super) entry: EntryId,
    pub(super) producer: &'a str,
    /// The number of its first message.
    pub(super) sequence: u64,
    /// By the producer's clock, in ms.
    pub(super) publish_time: u64,
    /// How many messages it holds.
    pub(super) messages: u32,
}

/// How an entry continues a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuation {
    /// Nothing is missing before it.
    Follows,
    /// It has been read before.
    Known,
    /// It follows, and repeats messages that have been read: the producer sent them again.
    Resent,
    /// To be sure, the last entry must be asked for again.
    Recheck,
    /// Messages are missing, or may be.
    Gap,
}

impl Continuity {
    /// Of a topic from its first message on, whatever it is.
    pub(super) fn from_start() -> Continuity {
        Continuity::default()
    }

    /// Of a topic from this entry on, which must be there.
    pub(super) fn at(entry: EntryId) -> Continuity {
        Continuity { awaited: Some(entry), ..Continuity::default() }
    }

    /// Of a topic from behind this entry on.
    pub(super) fn after(entry: EntryId) -> Continuity {
        Continuity { last: Some(entry), awaited: Some(entry), ..Continuity::default() }
    }

    /// Where a new subscription has to begin. `None`: at the topic's first message.
    pub(super) fn begin_again(&mut self) -> Option<EntryId> {
        self.awaited = self.awaited.or(self.last);
        self.seen_again = false;
        self.awaited
    }

    /// Judges the next entry.
    pub(super) fn judge(&mut self, label: Label<'_>) -> Continuation {
        let continuation = self.look_at(label);
        if continuation != Continuation::Follows {
            return continuation;
        }
        self.last = Some(label.entry);
        (self.doubted, self.seen_again) = (None, false);
        if self.is_resent(label) {
            return Continuation::Resent;
        }
        self.note(label);
        continuation
    }

    fn look_at(&mut self, label: Label<'_>) -> Continuation {
        let entry = label.entry;
        if let Some(awaited) = self.awaited {
            return self.first(awaited, entry);
        }
        let Some(last) = self.last else { return Continuation::Follows };
        if entry <= last {
            return Continuation::Known;
        }
        // A message that its producer gave up leaves a hole in the count as well, so the count proves nothing here.
        if last.is_followed_by(entry) {
            return Continuation::Follows;
        }
        if self.seen_again && self.doubted == Some(entry) {
            return if self.is_jump(label) { Continuation::Gap } else { Continuation::Follows };
        }
        self.doubted = Some(entry);
        Continuation::Recheck
    }

    /// The first message of a subscription.
    fn first(&mut self, awaited: EntryId, entry: EntryId) -> Continuation {
        if entry < awaited {
            return Continuation::Known;
        }
        if entry > awaited {
            return Continuation::Gap;
        }
        self.awaited = None;
        if self.last.is_none() {
            return Continuation::Follows;
        }
        self.seen_again = true;
        Continuation::Known
    }

    fn is_jump(&self, label: Label<'_>) -> bool {
        self.producers.get(label.producer).is_some_and(|it| label.sequence > it.sequence.saturating_add(1))
    }

    /// A producer that counts anew does so at a later time.
    fn is_resent(&self, label: Label<'_>) -> bool {
        let known = self.producers.get(label.producer);
        known.is_some_and(|it| label.sequence <= it.sequence && label.publish_time <= it.publish_time)
    }

    fn note(&mut self, label: Label<'_>) {
        self.count += 1;
        let sequence = label.sequence.saturating_add(u64::from(label.messages.max(1)) - 1);
        let now = ProducerCount { sequence, publish_time: label.publish_time, seen: self.count };
        match self.producers.get_mut(label.producer) {
            Some(known) => *known = now,
            None => {
                self.producers.insert(label.producer.to_owned(), now);
            }
        }
        if self.producers.len() > PRODUCERS {
            let oldest = self.producers.iter().min_by_key(|(_, producer)| producer.seen).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.producers.remove(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ledger: u64, entry: u64) -> EntryId {
        EntryId { ledger, entry }
    }

    fn label<'a>(ledger: u64, entry: u64, producer: &'a str, sequence: u64) -> Label<'a> {
        Label { entry: at(ledger, entry), producer, sequence, publish_time: 1000 + sequence, messages: 1 }
    }

    fn read(continuity: &mut Continuity, labels: &[(u64, u64, &str, u64)]) -> Continuation {
        let mut continuation = Continuation::Follows;
        for (ledger, entry, producer, sequence) in labels {
            continuation = continuity.judge(label(*ledger, *entry, producer, *sequence));
        }
        continuation
    }

    #[test]
    fn from_the_start_everything_follows() {
        let mut topic = Continuity::from_start();
        assert_eq!(read(&mut topic, &[(5, 7, "a", 3), (5, 8, "b", 0)]), Continuation::Follows);
        assert_eq!(read(&mut topic, &[(5, 8, "b", 0)]), Continuation::Known);
        assert_eq!(read(&mut topic, &[(5, 9, "a", 9)]), Continuation::Follows);
    }

    #[test]
    fn what_must_be_there() {
        assert_eq!(read(&mut Continuity::at(at(5, 2)), &[(5, 2, "a", 0)]), Continuation::Follows);
        assert_eq!(read(&mut Continuity::at(at(5, 2)), &[(5, 3, "a", 0)]), Continuation::Gap);
        assert_eq!(read(&mut Continuity::at(at(5, 2)), &[(5, 1, "a", 0), (5, 2, "a", 1)]), Continuation::Follows);
        assert_eq!(read(&mut Continuity::after(at(5, 2)), &[(5, 2, "a", 0), (5, 3, "a", 1)]), Continuation::Follows);
        assert_eq!(read(&mut Continuity::after(at(5, 2)), &[(6, 0, "a", 1)]), Continuation::Gap);
    }

    #[test]
    fn another_ledger() {
        let mut topic = Continuity::from_start();
        read(&mut topic, &[(5, 0, "a", 0), (5, 1, "b", 0)]);
        assert_eq!(read(&mut topic, &[(8, 0, "new", 0)]), Continuation::Recheck);
        let (mut there, mut gone) = (topic.clone(), topic.clone());
        assert_eq!(there.begin_again(), Some(at(5, 1)));
        assert_eq!(read(&mut there, &[(5, 1, "b", 0), (8, 0, "new", 0), (8, 1, "a", 1)]), Continuation::Follows);
        gone.begin_again();
        assert_eq!(read(&mut gone, &[(8, 0, "new", 0)]), Continuation::Gap);
        // Another one than the doubtful one is doubtful itself.
        topic.begin_again();
        assert_eq!(read(&mut topic, &[(5, 1, "b", 0), (9, 0, "a", 1)]), Continuation::Recheck);
    }

    #[test]
    fn a_ledger_that_ended_too_early() {
        let mut topic = Continuity::from_start();
        read(&mut topic, &[(5, 0, "a", 0), (8, 0, "a", 3)]);
        topic.begin_again();
        assert_eq!(read(&mut topic, &[(5, 0, "a", 0), (8, 0, "a", 3)]), Continuation::Gap);
    }

    #[test]
    fn what_is_sent_again() {
        let mut topic = Continuity::from_start();
        read(&mut topic, &[(5, 0, "a", 7), (5, 1, "b", 3), (5, 2, "b", 4)]);
        assert_eq!(read(&mut topic, &[(5, 3, "b", 3)]), Continuation::Resent);
        assert_eq!(read(&mut topic, &[(5, 4, "b", 4)]), Continuation::Resent);
        assert_eq!(read(&mut topic, &[(5, 5, "b", 5)]), Continuation::Follows);
        let anew = Label { publish_time: 9999, ..label(5, 6, "a", 0) };
        assert_eq!(topic.judge(anew), Continuation::Follows, "it counts anew");
    }

    #[test]
    fn few_producers_are_remembered() {
        let mut topic = Continuity::from_start();
        for number in 0..200 {
            read(&mut topic, &[(1, number, &format!("producer-{number}"), 0)]);
        }
        assert_eq!(topic.producers.len(), PRODUCERS);
        assert!(topic.producers.contains_key("producer-199"));
    }

    #[derive(Debug, Clone, Copy)]
    enum BrokerEvent {
        Write,
        NewLedger,
        /// The oldest closed ledger goes.
        Delete,
        Read,
        /// The connection is lost.
        BeginAgain,
    }

    fn event() -> impl Strategy<Value = BrokerEvent> {
        prop_oneof![
            6 => Just(BrokerEvent::Write),
            2 => Just(BrokerEvent::NewLedger),
            2 => Just(BrokerEvent::Delete),
            6 => Just(BrokerEvent::Read),
            1 => Just(BrokerEvent::BeginAgain),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Whatever the broker deletes and when: what is read has no hole, or a gap is reported.
        #[test]
        fn nothing_is_passed_over_in_silence(events in proptest::collection::vec(event(), 0..120)) {
            let mut all: Vec<EntryId> = Vec::new();
            let (mut first_kept, mut ledger, mut entry) = (0, 0, 0);
            let mut topic = Continuity::from_start();
            let (mut cursor, mut seen): (Option<EntryId>, Vec<EntryId>) = (None, Vec::new());
            for event in events {
                match event {
                    BrokerEvent::Write => {
                        all.push(at(ledger, entry));
                        entry += 1;
                    }
                    BrokerEvent::NewLedger => (ledger, entry) = (ledger + 3, 0),
                    BrokerEvent::Delete => {
                        let oldest = all.get(first_kept).map_or(ledger, |oldest| oldest.ledger);
                        if oldest < ledger {
                            first_kept = all.iter().position(|it| it.ledger > oldest).unwrap_or(all.len());
                        }
                    }
                    BrokerEvent::BeginAgain => cursor = topic.begin_again(),
                    BrokerEvent::Read => {
                        // What is at or behind the cursor and still there.
                        let mut kept = all[first_kept..].iter();
                        let Some(next) = kept.find(|it| cursor.is_none_or(|from| **it >= from)) else { continue };
                        cursor = Some(at(next.ledger, next.entry + 1));
                        let sequence = all.iter().position(|it| it == next).unwrap_or(0) as u64;
                        match topic.judge(label(next.ledger, next.entry, "a", sequence)) {
                            Continuation::Follows => seen.push(*next),
                            Continuation::Known | Continuation::Resent => {}
                            Continuation::Recheck => cursor = topic.begin_again(),
                            Continuation::Gap => break,
                        }
                    }
                }
            }
            let begin = seen.first().and_then(|first| all.iter().position(|it| it == first)).unwrap_or(0);
            prop_assert_eq!(&all[begin..begin + seen.len()], &seen[..]);
        }
    }
}
