/*!
Whether anything is missing between two messages of a topic.

Within a ledger entries are numbered without gaps, so the next number proves that nothing is missing. From one ledger to the next
nothing proves it by itself, and a broker that has deleted messages goes on with what is left without a word. So the last message is
asked for once more: ledgers are deleted from the oldest on, and while that message is still there, nothing behind it is gone.
Where it is not there any more, producers' own counts of their messages tell: a jump is a gap.
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
    /// `last` has been asked for again, and was there.
    seen_again: bool,
    /// Entries have been passed over on the word of one producer's count alone: those of another may be missing.
    unproven: bool,
    /// By name, the last number of its messages, and when it was seen: a count of messages.
    producers: BTreeMap<String, (u64, u64)>,
    count: u64,
}

/// What a message says about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label<'a> {
    pub(super) entry: Entry,
    pub(super) producer: &'a str,
    /// The number of its first message.
    pub(super) sequence: u64,
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
    /// The last message must be asked for again, to be sure.
    LookAgain,
    /// Something is missing.
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
        self.awaited
    }

    /// The entry that has to come first was never read: it must be there.
    pub(super) fn must_find(&self) -> Option<Entry> {
        self.awaited.filter(|_| self.last.is_none())
    }

    /// Judges the next message.
    pub(super) fn judge(&mut self, label: Label<'_>) -> Verdict {
        let verdict = self.look_at(label);
        if verdict == Verdict::Follows {
            self.note(label);
        }
        verdict
    }

    fn look_at(&mut self, label: Label<'_>) -> Verdict {
        let entry = label.entry;
        if let Some(awaited) = self.awaited {
            return self.first(awaited, label);
        }
        let Some(last) = self.last else { return Verdict::Follows };
        if entry <= last {
            return Verdict::Known;
        }
        if last.is_followed_by(entry) {
            // A producer's message that never arrived at the broker leaves a hole in its count, too.
            return if self.unproven && self.is_jump(label) { Verdict::Gap } else { Verdict::Follows };
        }
        if self.seen_again { Verdict::Follows } else { Verdict::LookAgain }
    }

    /// The first message of a subscription.
    fn first(&mut self, awaited: Entry, label: Label<'_>) -> Verdict {
        if label.entry < awaited {
            return Verdict::Known;
        }
        let was_read = self.last.is_some();
        self.awaited = None;
        if label.entry == awaited {
            self.unproven = false;
            if was_read {
                self.seen_again = true;
                return Verdict::Known;
            }
            return Verdict::Follows;
        }
        if was_read && self.goes_on(label) {
            self.unproven = true;
            return Verdict::Follows;
        }
        Verdict::Gap
    }

    fn goes_on(&self, label: Label<'_>) -> bool {
        self.producers.get(label.producer).is_some_and(|(last, _)| last.checked_add(1) == Some(label.sequence))
    }

    fn is_jump(&self, label: Label<'_>) -> bool {
        self.producers.get(label.producer).is_some_and(|(last, _)| label.sequence > last.saturating_add(1))
    }

    fn note(&mut self, label: Label<'_>) {
        self.last = Some(label.entry);
        self.seen_again = false;
        self.count += 1;
        let last = label.sequence.saturating_add(u64::from(label.messages.max(1)) - 1);
        match self.producers.get_mut(label.producer) {
            Some(known) => *known = (last, self.count),
            None => {
                self.producers.insert(label.producer.to_owned(), (last, self.count));
            }
        }
        if self.producers.len() > PRODUCERS {
            let oldest = self.producers.iter().min_by_key(|(_, (_, seen))| *seen).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.producers.remove(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ledger: u64, entry: u64) -> Entry {
        Entry { ledger, entry }
    }

    fn label<'a>(ledger: u64, entry: u64, producer: &'a str, sequence: u64) -> Label<'a> {
        Label { entry: at(ledger, entry), producer, sequence, messages: 1 }
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
        // A hole in a count proves nothing where entries follow one another.
        assert_eq!(read(&mut topic, &[(5, 9, "a", 9)]), Verdict::Follows);
    }

    #[test]
    fn what_must_be_there() {
        assert_eq!(read(&mut Continuity::at(at(5, 2)), &[(5, 2, "a", 0)]), Verdict::Follows);
        assert_eq!(read(&mut Continuity::at(at(5, 2)), &[(5, 3, "a", 0)]), Verdict::Gap);
        assert_eq!(read(&mut Continuity::at(at(5, 2)), &[(5, 1, "a", 0), (5, 2, "a", 1)]), Verdict::Follows);
        assert_eq!(read(&mut Continuity::after(at(5, 2)), &[(5, 2, "a", 0), (5, 3, "a", 1)]), Verdict::Follows);
        assert_eq!(read(&mut Continuity::after(at(5, 2)), &[(6, 0, "a", 1)]), Verdict::Gap, "nobody has counted");
    }

    #[test]
    fn another_ledger() {
        let mut topic = Continuity::from_start();
        read(&mut topic, &[(5, 0, "a", 0), (5, 1, "b", 0)]);
        assert_eq!(read(&mut topic, &[(8, 0, "a", 1)]), Verdict::LookAgain);
        // It is there: what comes behind it is all there is, whoever wrote it.
        let (mut there, mut gone) = (topic.clone(), topic);
        assert_eq!(there.begin_again(), Some(at(5, 1)));
        assert_eq!(read(&mut there, &[(5, 1, "b", 0), (8, 0, "new", 0)]), Verdict::Follows);
        assert_eq!(read(&mut there, &[(8, 1, "a", 5)]), Verdict::Follows);
        // It is gone: the counts tell.
        gone.begin_again();
        let mut lost = gone.clone();
        assert_eq!(read(&mut lost, &[(8, 1, "a", 2)]), Verdict::Gap);
        let mut unknown = gone.clone();
        assert_eq!(read(&mut unknown, &[(8, 0, "new", 0)]), Verdict::Gap);
        assert_eq!(read(&mut gone, &[(8, 0, "a", 1), (8, 1, "b", 1)]), Verdict::Follows);
        assert_eq!(read(&mut gone, &[(8, 2, "b", 3)]), Verdict::Gap, "another producer's message was in between");
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
}
