/*!
Whether the source's log goes on where the task has left it.

A source that was restored to an earlier time is the same server with the same ids: only its log shows that it has gone
back. What it lacks since was never dropped or deleted, so this is asked before anything of the task starts, and again
before a gap in the log is believed.
*/

use std::collections::BTreeMap;

use super::checkpoint::Checkpoint;
use crate::catalog::SourcePast;
use crate::domain::Channel;
use crate::source::{Log, ReadTick};

/// Shown as long as the run lasts that has found it.
pub(super) const RESTORED: &str = "the source was restored to an earlier time: its collections are compared, and what \
     only the target has stays there (`drops` decides about collections, `repair` removes rows)";

/// What is known of the log's past.
#[derive(Debug, Clone)]
pub(super) struct LogPast {
    past: SourcePast,
    /// The last tick of each channel that is known to have been read.
    read: BTreeMap<Channel, ReadTick>,
}

impl LogPast {
    /// Asks the log.
    pub(super) fn ask(log: &dyn Log, saved: &Checkpoint) -> LogPast {
        let mut asked = LogPast { past: SourcePast::Continues, read: saved.ticks() };
        if let Some(channel) = asked.read.keys().find(|channel| asked.is_rolled_back(log, channel)) {
            log::error!("{channel}: {RESTORED}");
            asked.past = SourcePast::RolledBack;
        }
        asked
    }

    pub(super) fn past(&self) -> SourcePast {
        self.past
    }

    /// A checkpoint is on disk.
    pub(super) fn saved(&mut self, checkpoint: &Checkpoint) {
        self.read = checkpoint.ticks();
    }

    /// Whether a channel that has a gap turns out to have gone back, which nothing else has shown so far.
    pub(super) fn has_gone_back(&self, log: &dyn Log, channel: &Channel) -> bool {
        self.past == SourcePast::Continues && self.is_rolled_back(log, channel)
    }

    /// A log that cannot be asked is read, and fails by itself.
    fn is_rolled_back(&self, log: &dyn Log, channel: &Channel) -> bool {
        let Some(read) = self.read.get(channel) else { return false };
        let asked = log.is_rolled_back(channel, *read).inspect_err(|error| log::debug!("{error}"));
        asked.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Position, Record, Timestamp};
    use crate::pipeline::AppliedMark;
    use crate::replication::checkpoint::{ChannelRecord, PositionRecord};
    use crate::source::{LogError, ReadEnd, ReadFrom, Refreshed, Start};

    /// A FAKE log whose channels have each message up to a number.
    struct UpTo(u64);

    impl Log for UpTo {
        fn refresh(&self) -> Result<Refreshed, LogError> {
            Ok(Refreshed::Unchanged)
        }
        fn read(&self, _: &Channel, _: ReadFrom, _: usize, _: &mut dyn FnMut(Record)) -> Result<ReadEnd, LogError> {
            Ok(ReadEnd::AtTail)
        }
        fn collection_start(
            &self,
            _: &Channel,
            _: &crate::source::StartQuery<'_>,
        ) -> Result<Option<Position>, LogError> {
            Ok(None)
        }
        fn tail(&self, _: &Channel) -> Result<Option<Position>, LogError> {
            Ok(Some(Position::at(self.0)))
        }
        fn shortly_before_tail(&self, _: &Channel) -> Result<Start, LogError> {
            unreachable!("not asked")
        }
        fn is_rolled_back(&self, _: &Channel, read: ReadTick) -> Result<bool, LogError> {
            Ok(read.position > Position::at(self.0))
        }
    }

    fn saved(ticks: &[(&str, Option<u64>)]) -> Checkpoint {
        let record = |tick: Option<u64>| {
            let mark = AppliedMark { ts: Timestamp(5), tick: tick.map(Position::at) };
            ChannelRecord {
                position: Some(PositionRecord::from(Position::at(1))),
                time_tick: 5,
                high_water_mark: [mark].into_iter().collect(),
                ..ChannelRecord::default()
            }
        };
        let channels = ticks.iter().map(|&(name, tick)| (name.to_owned(), record(tick))).collect();
        Checkpoint { channels, ..Checkpoint::default() }
    }

    #[test]
    fn a_log_that_ends_before_what_was_read_shows_a_source_that_was_restored() {
        let past = |end, ticks: &[_]| LogPast::ask(&UpTo(end), &saved(ticks)).past();
        assert_eq!(past(9, &[("a", Some(9)), ("b", Some(3))]), SourcePast::Continues);
        assert_eq!(past(8, &[("a", Some(9)), ("b", Some(3))]), SourcePast::RolledBack);
        assert_eq!(past(0, &[("a", None)]), SourcePast::Continues, "nothing of it was read");
    }

    #[test]
    fn a_gap_is_believed_once_the_log_is_known_to_have_gone_back() {
        let (a, before, after) = (Channel::new("a"), UpTo(9), UpTo(5));
        let mut past = LogPast::ask(&before, &saved(&[]));
        assert!(!past.has_gone_back(&after, &a));
        past.saved(&saved(&[("a", Some(7))]));
        assert!(past.has_gone_back(&after, &a) && !past.has_gone_back(&before, &a));
        let known = LogPast::ask(&after, &saved(&[("a", Some(7))]));
        assert!(!known.has_gone_back(&after, &a));
    }
}
