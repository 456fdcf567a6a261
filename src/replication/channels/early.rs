//! Inserts that are sent before their tick, on channels that are caught up.

use std::sync::Arc;

use super::{Channels, LaneRules};
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::pipeline::{Decision, WritableCollection};

impl Channels {
    /// The next early call of any channel. Nothing of what has been released can start.
    pub(super) fn next_early(
        &mut self,
        applicable: impl Fn(CollectionId) -> Option<Arc<WritableCollection>>,
        question: u64,
        now: Timestamp,
    ) -> Decision {
        let Channels { states, lanes, troubled, .. } = self;
        // At the end of the log: nothing is far behind.
        let caught_up = states.iter().filter(|(_, state)| state.is_read_out() && state.buffer().may_send_early());
        let channels: Vec<Channel> = caught_up.map(|(channel, _)| channel.clone()).collect();
        for channel in channels {
            let Some(state) = states.get_mut(&channel) else { continue };
            let mut buffer = std::mem::take(state.buffer_mut());
            let untroubled = |id| applicable(id).filter(|_| !troubled.has(id));
            let rules = LaneRules { states, applicable: untroubled, question, now };
            let step = lanes.next_early(&channel, &mut buffer, &rules);
            if let Some(state) = states.get_mut(&channel) {
                *state.buffer_mut() = buffer;
            }
            if !matches!(step, Decision::Idle) {
                return step;
            }
        }
        Decision::Idle
    }
}
