//! Gaps in the log, from their discovery to where the channel goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Channels, OpenGap};
use crate::domain::Channel;
use crate::replication::effect::{Effect, Effects};
use crate::replication::log_question::LogQuestion;
use crate::replication::rewind::{Direction, Rewind};
use crate::source::{LogError, Start};

/// How often a gap is looked at again that could not be dealt with.
const GAP_AGAIN: Duration = Duration::from_secs(1);

impl Channels {
    /// What was to be read next of a channel is gone: the log is asked where it goes on. Nothing reads on there
    /// meanwhile.
    pub(in crate::replication) fn on_gap(&mut self, channel: &Channel, epoch: u64, effects: &mut Effects) {
        if !self.is_current(channel, epoch) {
            return;
        }
        self.gaps.insert(channel.clone(), OpenGap { epoch, why: None, ask_at: None });
        effects.push(Effect::AskLog(LogQuestion::AfterGap { channel: channel.clone(), epoch }));
    }

    /// Looks again at gaps that could not be dealt with.
    pub(in crate::replication) fn retry_gaps(&mut self, now: Instant, effects: &mut Effects) {
        let states = &self.states;
        self.gaps.retain(|channel, gap| states.get(channel).is_some_and(|state| state.epoch() == gap.epoch));
        for (channel, gap) in self.gaps.iter_mut().filter(|(_, gap)| gap.ask_at.is_some_and(|at| at <= now)) {
            gap.ask_at = None;
            effects.push(Effect::AskLog(LogQuestion::AfterGap { channel: channel.clone(), epoch: gap.epoch }));
        }
    }

    /// The log has answered where a channel goes on after a gap. True when the channel jumps there.
    pub(in crate::replication) fn on_gap_end(
        &mut self,
        channel: &Channel,
        epoch: u64,
        start: Result<Start, LogError>,
        now: Instant,
    ) -> bool {
        let Some(gap) = self.gaps.get_mut(channel).filter(|gap| gap.epoch == epoch) else { return false };
        let start = match start {
            Ok(start) => start,
            Err(error) => {
                gap.why = Some(error.to_string());
                gap.ask_at = Some(now + GAP_AGAIN);
                return false;
            }
        };
        self.gaps.remove(channel);
        let Some(state) = self.states.get_mut(channel).filter(|state| state.epoch() == epoch) else { return false };
        state.request(Rewind { start, replaying: BTreeMap::new(), direction: Direction::Jump });
        true
    }

    /// Gaps that cannot be dealt with.
    pub(in crate::replication) fn gap_errors(&self) -> impl Iterator<Item = &String> {
        self.gaps.values().filter_map(|gap| gap.why.as_ref())
    }
}
