//! What the task's thread tells: changes to the history, details to the board.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::core::{Core, MEMORY};
use super::members::{Member, Rows};
use crate::observe::metrics;
use crate::task::detail::{ChannelDetail, CollectionDetail, RowsFrom, TaskDetail};
use crate::task::engine::Phase;
use crate::task::history::EventKind;

/// What has been told of late, so that only changes are told.
#[derive(Debug)]
pub(super) struct Shown {
    phase: Phase,
    /// Another phase than the one told, and since when.
    changing: Option<(Phase, Instant)>,
    troubles: BTreeSet<String>,
    detailed: Instant,
}

/// A phase that lasts shorter is not worth an event: a busy task goes to and fro between two of them.
const SETTLED: Duration = Duration::from_secs(2);
/// How often details are renewed.
const DETAILS: Duration = Duration::from_secs(1);

impl Shown {
    pub(super) fn new() -> Shown {
        let now = Instant::now();
        let detailed = now.checked_sub(DETAILS).unwrap_or(now);
        Shown { phase: Phase::Connecting, changing: None, troubles: BTreeSet::new(), detailed }
    }

    /// The phase to tell now, if another one has settled.
    fn settled(&mut self, phase: Phase) -> Option<(Phase, Phase)> {
        if phase == self.phase {
            self.changing = None;
            return None;
        }
        match self.changing {
            Some((changing, since)) if changing == phase && since.elapsed() >= SETTLED => {
                self.changing = None;
                Some((std::mem::replace(&mut self.phase, phase), phase))
            }
            Some((changing, _)) if changing == phase => None,
            _ => {
                self.changing = Some((phase, Instant::now()));
                None
            }
        }
    }
}

impl Core {
    /// Tells what has changed since the last time.
    pub(super) fn tell(&mut self, phase: Phase, lag: Option<Duration>, troubles: &[String]) {
        if let Some((before, now)) = self.shown.settled(phase) {
            self.history.add(EventKind::Phase, format!("{} → {}", before.name(), now.name()));
        }
        let troubles: BTreeSet<String> = troubles.iter().cloned().collect();
        for why in troubles.difference(&self.shown.troubles) {
            self.history.add(EventKind::Retry, why.as_str());
        }
        if troubles.is_empty() && !self.shown.troubles.is_empty() {
            self.history.add(EventKind::Recovered, "nothing fails any more");
        }
        self.shown.troubles = troubles;
        self.history.sample(lag, metrics::rows_of(&self.task));
        if self.shown.detailed.elapsed() >= DETAILS {
            self.shown.detailed = Instant::now();
            self.board.show_detail(self.detail());
        }
    }

    fn detail(&self) -> TaskDetail {
        let live: Vec<_> = self.members.iter().map(|(_, member)| member.channels()).collect();
        let channels = self.channels.iter().map(|(name, state)| ChannelDetail {
            name: name.to_string(),
            acknowledged_ms: state.acked.after.physical_ms(),
            at_end: state.at_tail,
            collections: live.iter().filter(|channels| channels.contains(name)).count(),
        });
        TaskDetail {
            channels: channels.collect(),
            collections: self.members.iter().map(|(id, member)| collection(id.0, member)).collect(),
            copies: self.copier.progress(),
            queue_bytes: self.scheduler.bytes(),
            queue_limit: MEMORY,
            // The board's.
            checkpoint_age: None,
        }
    }
}

fn collection(id: i64, member: &Member) -> CollectionDetail {
    let ready = member.ready.as_ref();
    CollectionDetail {
        id,
        source: ready.map(|ready| format!("{}.{}", ready.source.0, ready.source.1)),
        target: ready.map(|ready| format!("{}.{}", ready.info.db, ready.info.name)),
        rows_from: match member.rows {
            Rows::Joined(_) => RowsFrom::Log,
            Rows::Copying { .. } => RowsFrom::Copy,
            Rows::Scanned => RowsFrom::Scan,
        },
        channels: member.channels().iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_phase_that_lasts_is_told() {
        let mut shown = Shown::new();
        assert_eq!(shown.settled(Phase::Following), None);
        assert_eq!(shown.settled(Phase::Connecting), None);
        assert_eq!(shown.settled(Phase::Following), None);
        shown.changing = Some((Phase::Following, Instant::now().checked_sub(SETTLED).unwrap()));
        assert_eq!(shown.settled(Phase::Following), Some((Phase::Connecting, Phase::Following)));
        assert_eq!(shown.settled(Phase::Following), None);
    }
}
