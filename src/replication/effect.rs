/*!
Everything that the task's thread does to the world outside its own state, as values: handlers answer effects, an
[`Executor`] carries them out. So a test can drive the real loop, look at each effect, and crash between any two.

Effects are carried out in the order in which they were answered. Some have an outcome, which comes back as an
[`Event`]: at once, from [`Executor::carry_out`], or at any later time, from [`EventSource::next_event`]. The loop
relies on the order of the effects, never on an outcome being there at once.
*/

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::backfill::BackfillJob;
use super::checkpoint::Checkpoint;
use super::event::{Event, OrderReply, Takes};
use super::log_question::LogQuestion;
use crate::catalog::Hint;
use crate::domain::{Channel, CollectionId};
use crate::sink::CallAttempt;
use crate::source::{Seek, Start};
use crate::task::collection_request::CollectionOutcome;
use crate::task::detail::TaskDetail;
use crate::task::history::EventKind;
use crate::task::status::{ChannelPosition, TaskStatus};
use crate::task::switchover::Stillness;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Effect {
    /// The log reader reads a channel from there on.
    Seek(Seek),
    /// The checkpoint is written, then the log and the status board learn that it was. Outcome: [`Event::Saved`].
    Save {
        checkpoint: Box<Checkpoint>,
        /// What must not happen unless this checkpoint is on disk.
        then: Vec<OnceSaved>,
    },
    /// A call to the target. Outcome: [`Event::Sink`].
    Send(Box<CallAttempt>),
    /// Everything that waits for a server gives up: the task ends.
    CancelCalls,
    /// The collection's calls give up: what they write is being dropped.
    CancelCallsOf(CollectionId),
    /// A backfill or a rescan is given to a free thread. Outcome: [`Event::Backfill`].
    StartBackfill(Box<BackfillJob>),
    /// The collection's running backfill gives up.
    CancelBackfill(CollectionId),
    /// The catalog looks at something soon.
    Hint(Hint),
    /// The catalog may change what it has asked for: no call of the collection is under way.
    AnswerBlock(Sender<()>),
    /// Whoever waits for a repair is told that it is through, by these being dropped.
    TellRepaired(Vec<Sender<()>>),
    /// A question to the log. Outcome: [`Event::LogAnswer`], exactly one.
    AskLog(LogQuestion),
    /// An event of the task's history.
    History { kind: EventKind, text: String },
    /// Something is counted for metrics.
    Count(Metric),
    /// What the task shows of itself.
    Publish(Box<Publication>),
}

/// What happens only after a checkpoint is on disk.
#[derive(Debug)]
pub(super) enum OnceSaved {
    /// A backfill learns where the replay over it will start.
    AnswerBackfill { reply: Sender<BTreeMap<Channel, Start>>, starts: BTreeMap<Channel, Start> },
    /// The catalog may forget why a collection has to be compared.
    AnswerCatalog(Sender<()>),
    /// A user's wish is carried out.
    AnswerOrder { reply: Sender<OrderReply>, outcome: CollectionOutcome },
    /// The collection's next backfill begins at its beginning.
    ForgetBackfillProgress(CollectionId),
    /// Nothing is kept of the collection's backfills.
    ForgetBackfillFiles(CollectionId),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// Rows that came from the target were not sent back.
    Echoes(u64),
    /// A message of this type needs nothing.
    IgnoredMessage(&'static str),
    /// A backfill has ended like this.
    BackfillEnded(&'static str),
    /// Nothing more is counted of the collection.
    CollectionDropped(CollectionId),
}

/// What a task shows of itself at one moment.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) status: TaskStatus,
    pub(super) positions: Vec<ChannelPosition>,
    pub(super) lag: Option<Duration>,
    /// How far the target is, and when users changed the source last.
    pub(super) still: Stillness,
    /// Renewed less often.
    pub(super) detail: Option<TaskDetail>,
}

/// Effects that wait to be carried out. One buffer for the whole life of a task.
#[derive(Debug, Default)]
pub(super) struct Effects(VecDeque<Effect>);

impl Effects {
    pub(super) fn push(&mut self, effect: Effect) {
        self.0.push_back(effect);
    }

    pub(super) fn pop(&mut self) -> Option<Effect> {
        self.0.pop_front()
    }

    pub(super) fn history(&mut self, kind: EventKind, text: impl Into<String>) {
        self.push(Effect::History { kind, text: text.into() });
    }
}

/// Carries effects out.
pub(super) trait Executor {
    /// Carries out an effect. The event that it answers, if any, is the outcome.
    fn carry_out(&mut self, effect: Effect) -> Option<Event>;
}

/// Where events come from.
pub(super) trait EventSource {
    /// Waits for what happens next, until a moment at the latest if one is given.
    fn next_event(&mut self, takes: Takes, until: Option<Instant>) -> Event;

    /// The time.
    fn now(&self) -> Instant;
}
