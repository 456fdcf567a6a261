/*!
Whether anything is missing between two messages of a topic.

Within a ledger entries are numbered without gaps, so the next number proves that nothing is missing. From one ledger to the next
nothing proves it by itself, and a broker that has deleted messages goes on with what is left without a word. So the last message is
asked for once more: ledgers are deleted from the oldest on, and if that message is still there after the doubtful one has come,
nothing between the two was gone when it came. The same is asked whenever reading begins again.

A bookie that has lost its disk can end a ledger earlier than it was written. Producers count their messages, and a jump
in a count from one ledger to the next shows that. The counts also show what a producer has sent again, because a broker that was
closing had not confirmed it: the same message stands in the topic twice then.
*/

use std::collections::BTreeMap;

use super::id::Entry;

/// Producers that are remembered: two of each run of Milvus.
const PRODUCERS: usize = 64;

/// How far a topic has been read.
#[derive(Debug, Clone, Default)]
pub(super) struct Continuity {
    /// The entry that was read last.
    last: Option<Entry>,
    /// The entry that has to come first.
    awaited: Option<Entry>,
    /// The entry that came right behind `last`, in another ledger.
    doubted: Option<Entry>,
    /// `last` has been asked for again since then, and was there.
    seen_again: bool,
    producers: BTreeMap<String, Producer>,
    /// Messages so far.
    count: u64,
}

/// How far a producer has come.
#[derive(Debug, Clone, Copy)]
struct Producer {
    /// The last number of its messages, and when that was made.
    sequence: u64,
    publish_time: u64,
    /// Which message of the topic that was.
    seen: u64,
}

/// What a message says about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label<'a> {
    pub(super) entry: Entry,
    pub(super) producer: &'a str,
    /// The number of its first message.
    pub(super) sequence: u64,
    /// By the producer's clock.
    pub(super) publish_time: u64,
    /// How many messages it is.
    pub(super) messages: u32,
}

/// What follows from a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is missing.
    Follows,
    /// It has been read before.
    Known,
    /// It follows, and says again what has been read.
    Repeated,
    /// The last message must be asked for again, to be sure.
    LookAgain,
    /// Something is missing, or may be.
    Gap,
}

impl Continuity {
    /// Of a topic from its first message on, whatever it is.
    pub(super) fn from_start() -> Continuity {
        Continuity::default()
    }

    /// Of a topic from this entry on, which must be there.
    pub(super) fn at(entry: Entry) -> Continuity {
        Continuity { awaited: Some(entry), ..Continuity::default() }
    }

    /// Of a topic from behind this entry on.
    pub(super) fn after(entry: Entry) -> Continuity {
        Continuity { last: Some(entry), awaited: Some(entry), ..Continuity::default() }
    }

    /// The subscription has to begin anew: where. `None`: with the topic's first message.
    pub(super) fn begin_again(&mut self) -> Option<Entry> {
        self.awaited = self.awaited.or(self.last);
        self.seen_again = false;
        self.awaited
    }

    /// Judges the next message.
    pub(super) fn judge(&mut self, label: Label<'_>) -> Verdict {
        let verdict = self.look_at(label);
        if verdict != Verdict::Follows {
            return verdict;
        }
        self.last = Some(label.entry);
        (self.doubted, self.seen_again) = (None, false);
        if self.is_repeated(label) {
            return Verdict::Repeated;
        }
        self.note(label);
        verdict
    }

    fn look_at(&mut self, label: Label<'_>) -> Verdict {
        let entry = label.entry;
        if let Some(awaited) = self.awaited {
            return self.first(awaited, entry);
        }
        let Some(last) = self.last else { return Verdict::Follows };
        if entry <= last {
            return Verdict::Known;
        }
        // A message that its producer has given up leaves a hole in its count, too: here it says nothing.
        if last.is_followed_by(entry) {
            return Verdict::Follows;
        }
        if self.seen_again && self.doubted == Some(entry) {
            return if self.is_jump(label) { Verdict::Gap } else { Verdict::Follows };
        }
        self.doubted = Some(entry);
        Verdict::LookAgain
    }

    /// The first message of a subscription.
    fn first(&mut self, awaited: Entry, entry: Entry) -> Verdict {
        if entry < awaited {
            return Verdict::Known;
        }
        if entry > awaited {
            return Verdict::Gap;
        }
        self.awaited = None;
        if self.last.is_none() {
            return Verdict::Follows;
        }
        self.seen_again = true;
        Verdict::Known
    }

    fn is_jump(&self, label: Label<'_>) -> bool {
        self.producers.get(label.producer).is_some_and(|it| label.sequence > it.sequence.saturating_add(1))
    }

    /// A count that begins anew goes with a later time.
    fn is_repeated(&self, label: Label<'_>) -> bool {
        let known = self.producers.get(label.producer);
        known.is_some_and(|it| label.sequence <= it.sequence && label.publish_time <= it.publish_time)
    }

    fn note(&mut self, label: Label<'_>) {
        self.count += 1;
        let sequence = label.sequence.saturating_add(u64::from(label.messages.max(1)) - 1);
        let now = Producer { sequence, publish_time: label.publish_time, seen: self.count };
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

    fn at(ledger: u64, entry: u64) -> Entry {
        Entry { ledger, entry }
    }

    fn label<'a>(ledger: u64, entry: u64, producer: &'a str, sequence: u64) -> Label<'a> {
        Label { entry: at(ledger, entry), producer, sequence, publish_time: 1000 + sequence, messages: 1 }
    }

    fn read(continuity: &mut Continuity, labels: &[(u64, u64, &str, u64)]) -> Verdict {
        let mut verdict = Verdict::Follows;
        for (ledger, entry, producer, sequence) in labels {
            verdict = continuity.judge(label(*ledger, *entry, producer, *sequence));
        }
        verdict
    }

    #[test]
    fn from_the_start_everything_follows() {
        let mut topic = Continuity::from_start();
        assert_eq!(read(&mut topic, &[(5, 7, "a", 3), (5, 8, "b", 0)]), Verdict::Follows);
        assert_eq!(read(&mut topic, &[(5, 8, "b", 0)]), Verdict::Known);
        assert_eq!(read(&mut topic, &[(5, 9, "a", 9)]), Verdict::Follows);
    }

    #[test]
    fn what_must_be_there() {
        assert_eq!(read(&mut Continuity::at(at(5, 2)), &[(5, 2, "a", 0)]), Verdict::Follows);
        assert_eq!(read(&mut Continuity::at(at(5, 2)), &[(5, 3, "a", 0)]), Verdict::Gap);
        assert_eq!(read(&mut Continuity::at(at(5, 2)), &[(5, 1, "a", 0), (5, 2, "a", 1)]), Verdict::Follows);
        assert_eq!(read(&mut Continuity::after(at(5, 2)), &[(5, 2, "a", 0), (5, 3, "a", 1)]), Verdict::Follows);
        assert_eq!(read(&mut Continuity::after(at(5, 2)), &[(6, 0, "a", 1)]), Verdict::Gap);
    }

    #[test]
    fn another_ledger() {
        let mut topic = Continuity::from_start();
        read(&mut topic, &[(5, 0, "a", 0), (5, 1, "b", 0)]);
        assert_eq!(read(&mut topic, &[(8, 0, "new", 0)]), Verdict::LookAgain);
        let (mut there, mut gone) = (topic.clone(), topic.clone());
        assert_eq!(there.begin_again(), Some(at(5, 1)));
        assert_eq!(read(&mut there, &[(5, 1, "b", 0), (8, 0, "new", 0), (8, 1, "a", 1)]), Verdict::Follows);
        gone.begin_again();
        assert_eq!(read(&mut gone, &[(8, 0, "new", 0)]), Verdict::Gap);
        // Another one than the doubtful one is doubtful itself.
        topic.begin_again();
        assert_eq!(read(&mut topic, &[(5, 1, "b", 0), (9, 0, "a", 1)]), Verdict::LookAgain);
    }

    #[test]
    fn a_ledger_that_ended_too_early() {
        let mut topic = Continuity::from_start();
        read(&mut topic, &[(5, 0, "a", 0), (8, 0, "a", 3)]);
        topic.begin_again();
        assert_eq!(read(&mut topic, &[(5, 0, "a", 0), (8, 0, "a", 3)]), Verdict::Gap);
    }

    #[test]
    fn what_is_sent_again() {
        let mut topic = Continuity::from_start();
        read(&mut topic, &[(5, 0, "a", 7), (5, 1, "b", 3), (5, 2, "b", 4)]);
        assert_eq!(read(&mut topic, &[(5, 3, "b", 3)]), Verdict::Repeated);
        assert_eq!(read(&mut topic, &[(5, 4, "b", 4)]), Verdict::Repeated);
        assert_eq!(read(&mut topic, &[(5, 5, "b", 5)]), Verdict::Follows);
        let anew = Label { publish_time: 9999, ..label(5, 6, "a", 0) };
        assert_eq!(topic.judge(anew), Verdict::Follows, "it counts anew");
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
    enum Event {
        Write,
        NewLedger,
        /// The oldest closed ledger goes.
        Delete,
        Read,
        /// The connection is lost.
        BeginAgain,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => Just(Event::Write),
            2 => Just(Event::NewLedger),
            2 => Just(Event::Delete),
            6 => Just(Event::Read),
            1 => Just(Event::BeginAgain),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Whatever the broker deletes and whenever: what is read has no hole, or a gap is told.
        #[test]
        fn nothing_is_passed_over_in_silence(events in proptest::collection::vec(event(), 0..120)) {
            let mut all: Vec<Entry> = Vec::new();
            let (mut first_kept, mut ledger, mut entry) = (0, 0, 0);
            let mut topic = Continuity::from_start();
            let (mut cursor, mut seen): (Option<Entry>, Vec<Entry>) = (None, Vec::new());
            for event in events {
                match event {
                    Event::Write => {
                        all.push(at(ledger, entry));
                        entry += 1;
                    }
                    Event::NewLedger => (ledger, entry) = (ledger + 3, 0),
                    Event::Delete => {
                        let oldest = all.get(first_kept).map_or(ledger, |oldest| oldest.ledger);
                        if oldest < ledger {
                            first_kept = all.iter().position(|it| it.ledger > oldest).unwrap_or(all.len());
                        }
                    }
                    Event::BeginAgain => cursor = topic.begin_again(),
                    Event::Read => {
                        // What is at or behind the cursor and still there.
                        let Some(next) = all[first_kept..].iter().find(|it| cursor.is_none_or(|from| **it >= from)) else {
                            continue;
                        };
                        cursor = Some(at(next.ledger, next.entry + 1));
                        let sequence = all.iter().position(|it| it == next).unwrap_or(0) as u64;
                        match topic.judge(label(next.ledger, next.entry, "a", sequence)) {
                            Verdict::Follows => seen.push(*next),
                            Verdict::Known | Verdict::Repeated => {}
                            Verdict::LookAgain => cursor = topic.begin_again(),
                            Verdict::Gap => break,
                        }
                    }
                }
            }
            let begin = seen.first().and_then(|first| all.iter().position(|it| it == first)).unwrap_or(0);
            prop_assert_eq!(&all[begin..begin + seen.len()], &seen[..]);
        }
    }
}
