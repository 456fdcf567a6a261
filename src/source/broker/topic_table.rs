//! The topics that a task reads, by channel: being read, or missing at the brokers.

use std::collections::BTreeMap;

use super::missing_topic::MissingTopic;
use crate::domain::Channel;
use crate::source::log::{ReadEnd, ReadFrom};

/// Topics, with `T` as the state of one that is being read.
pub(in crate::source) struct TopicTable<T> {
    topics: BTreeMap<Channel, TopicState<T>>,
}

enum TopicState<T> {
    Reading(T),
    Missing(MissingTopic),
}

impl<T> Default for TopicTable<T> {
    fn default() -> TopicTable<T> {
        TopicTable { topics: BTreeMap::new() }
    }
}

impl<T> TopicTable<T> {
    /// Any channel in the table.
    pub(in crate::source) fn any(&self) -> Option<&Channel> {
        self.topics.keys().next()
    }

    /// The topic, while it is being read.
    pub(in crate::source) fn get(&self, channel: &Channel) -> Option<&T> {
        match self.topics.get(channel) {
            Some(TopicState::Reading(topic)) => Some(topic),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(in crate::source) fn get_mut(&mut self, channel: &Channel) -> Option<&mut T> {
        match self.topics.get_mut(channel) {
            Some(TopicState::Reading(topic)) => Some(topic),
            _ => None,
        }
    }

    /// The topic is being read from now on.
    pub(in crate::source) fn insert(&mut self, channel: &Channel, topic: T) {
        self.topics.insert(channel.clone(), TopicState::Reading(topic));
    }

    /// Takes a topic that is being read out of the table. How long a topic has been missing stays known.
    pub(in crate::source) fn take(&mut self, channel: &Channel) -> Option<T> {
        match self.topics.remove(channel)? {
            TopicState::Reading(topic) => Some(topic),
            missing @ TopicState::Missing(_) => {
                self.topics.insert(channel.clone(), missing);
                None
            }
        }
    }

    /// Forgets everything about a topic; returns it if it was being read.
    pub(in crate::source) fn forget(&mut self, channel: &Channel) -> Option<T> {
        match self.topics.remove(channel) {
            Some(TopicState::Reading(topic)) => Some(topic),
            _ => None,
        }
    }

    /// How reading ends for a topic that was found missing a moment ago; `None`: ask the brokers.
    pub(in crate::source) fn known_missing(&self, channel: &Channel, next: ReadFrom) -> Option<ReadEnd> {
        match self.topics.get(channel) {
            Some(TopicState::Missing(missing)) if missing.is_fresh() => Some(MissingTopic::end(next)),
            _ => None,
        }
    }

    /// The brokers do not have the topic. Returns how reading ends.
    pub(in crate::source) fn note_missing(&mut self, channel: &Channel, next: ReadFrom) -> ReadEnd {
        let before = match self.topics.get(channel) {
            Some(TopicState::Missing(missing)) => Some(*missing),
            _ => None,
        };
        let missing = MissingTopic::noted(before);
        if next != ReadFrom::First && missing.is_deleted() {
            self.topics.remove(channel);
            return ReadEnd::Gap;
        }
        self.topics.insert(channel.clone(), TopicState::Missing(missing));
        MissingTopic::end(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Position;

    #[test]
    fn a_missing_topic_stays_missing_until_it_is_read() {
        let (channel, next) = (Channel::new("by-dev-rootcoord-dml_0"), ReadFrom::At(Position::at(1)));
        let mut table = TopicTable::default();
        assert_eq!(table.known_missing(&channel, next), None, "nobody has asked yet");
        assert_eq!(table.note_missing(&channel, next), ReadEnd::Awaited);
        assert_eq!(table.known_missing(&channel, next), Some(ReadEnd::Awaited));
        assert_eq!(table.known_missing(&channel, ReadFrom::First), Some(ReadEnd::AtTail), "an empty topic");
        assert_eq!(table.take(&channel), None);
        assert!(table.known_missing(&channel, next).is_some(), "still known to be missing");
        table.insert(&channel, 7);
        assert_eq!(table.known_missing(&channel, next), None);
        assert_eq!((table.get(&channel), table.any()), (Some(&7), Some(&channel)));
        assert_eq!((table.forget(&channel), table.any()), (Some(7), None));
    }
}
