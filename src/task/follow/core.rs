/*!
The task's own thread: one loop that waits for whatever happens next.
*/

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select, tick};

use super::channel::ChannelState;
use super::checkpoint::{self, Checkpoint};
use super::copy::Copier;
use super::inspect::Repair;
use super::members::{Members, Rows};
use super::rounds::Rounds;
use super::show::Shown;
use super::status::{Board, Troubles};
use super::uncarried::Uncarried;
use crate::catalog::{ReadyCollection, Watcher};
use crate::domain::{Channel, CollectionId, LogKind, Timestamp};
use crate::journal::sealed::SealedError;
use crate::milvus::Cancel;
use crate::pipeline::Scheduler;
use crate::source::{Log, Reader, Start};
use crate::target::{Pool, WORKERS};
use crate::task::engine::{ChannelPosition, Phase, SourceLog, TaskStatus};
use crate::task::history::History;

/// An order to the task's thread.
#[derive(Debug)]
pub(super) enum Order {
    /// End: nothing may be under way after this moment.
    Stop(Instant),
}

/// Why the loop ended.
#[derive(Debug)]
pub(super) enum End {
    /// It was told to.
    Ordered,
    /// An error that needs a human.
    Failed(String),
}

/// A question to the catalog about one collection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// An answer with a generation below this stems from a look that began before the question.
    pub(super) ticket: u64,
    /// When it was last asked.
    pub(super) at: Instant,
}

/// A collection's wish that calls for it end, and whom to tell.
pub(super) type Blocks = Vec<(CollectionId, Sender<()>)>;

/// Everything of one running task.
pub(super) struct Core {
    pub(super) task: String,
    pub(super) folder: PathBuf,
    pub(super) log_kind: LogKind,
    /// Why this log is read.
    pub(super) log_why: String,
    pub(super) log: Arc<dyn Log>,
    pub(super) reader: Reader,
    pub(super) watcher: Watcher,
    pub(super) copier: Copier,
    pub(super) pool: Pool,
    pub(super) cancel: Cancel,
    pub(super) board: Arc<Board>,
    pub(super) history: Arc<History>,
    /// What has been told of late.
    pub(super) shown: Shown,
    pub(super) replicate_channel: Channel,
    pub(super) channels: BTreeMap<Channel, ChannelState>,
    pub(super) members: Members,
    pub(super) scheduler: Scheduler,
    pub(super) blocks: Blocks,
    /// Where users want collections to be read from, by channel.
    pub(super) given: BTreeMap<CollectionId, BTreeMap<Channel, Start>>,
    /// Questions to the catalog that have not been answered.
    pub(super) asked: BTreeMap<CollectionId, Question>,
    /// The next question's number.
    pub(super) ticket: u64,
    /// Collections that the catalog has made ready, while the log cannot be asked where they begin.
    pub(super) unjoined: BTreeMap<CollectionId, ReadyCollection>,
    /// The channel of users' requests is being read.
    pub(super) hints_are_read: bool,
    /// Collections to copy as soon as no call for them is under way.
    pub(super) to_copy: Vec<CollectionId>,
    /// Of a source without a log.
    pub(super) rounds: Option<Rounds>,
    /// Collections without ids whose copies fail, and since when.
    pub(super) doubts: BTreeMap<CollectionId, Instant>,
    /// Remove rows from adopted collections that the source does not have.
    pub(super) prune: bool,
    /// Whoever waits for a collection to be repaired: told by being dropped.
    pub(super) repairs: BTreeMap<CollectionId, Vec<Sender<()>>>,
    pub(super) repair_orders: Receiver<Repair>,
    pub(super) troubles: Troubles,
    pub(super) skipped: BTreeMap<String, u64>,
    pub(super) uncarried: Uncarried,
    pub(super) settled: bool,
    /// Something of the checkpoint has changed since it was written.
    pub(super) dirty: bool,
    pub(super) rows_acked: bool,
    pub(super) written: Instant,
    pub(super) failure: Option<String>,
}

/// Rows in memory, those included that wait for their tick or are under way; more are not read.
pub(super) const MEMORY: usize = 8 << 20;
/// What a busy source writes between two ticks, with room to spare: 75 MB/s make 15 MB in 0.2 s. Now and then it ticks a second late. (With 24 MiB,
/// and two messages of Pulsar's waiting instead of three, backlogs were 5 % slower.)
const BETWEEN_TICKS: usize = 32 << 20;
/// How often the checkpoint is written while rows are applied, and while only time passes.
const WRITE_BUSY: Duration = Duration::from_secs(1);
const WRITE_IDLE: Duration = Duration::from_secs(10);
/// How often status and hints are renewed.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Kept for closing down after the last call has ended.
const RESERVE: Duration = Duration::from_millis(500);
/// A longer lag is none: it is counted from 1970.
const NO_TIME: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Behind by less than this at the head of the log is following.
const FOLLOWING: Duration = Duration::from_secs(5);

impl Core {
    /// Runs until told to stop or until an error needs a human.
    pub(super) fn run(mut self, orders: &Receiver<Order>) -> End {
        let heartbeat = tick(HEARTBEAT);
        if !self.hints_are_read {
            self.read_replicate_channel();
        }
        loop {
            self.work();
            if let Some(reason) = self.failure.take() {
                self.close(Instant::now() + RESERVE * 4);
                return End::Failed(reason);
            }
            let records = if self.has_room() { self.reader.events().clone() } else { never() };
            let (catalog, calls, copies) =
                (self.watcher.events().clone(), self.pool.events().clone(), self.copier.events().clone());
            let repairs = self.repair_orders.clone();
            select! {
                recv(orders) -> order => {
                    let deadline = match order {
                        Ok(Order::Stop(deadline)) => deadline,
                        Err(_) => Instant::now() + RESERVE * 4,
                    };
                    self.close(deadline);
                    return End::Ordered;
                }
                recv(calls) -> event => match event {
                    Ok(event) => self.on_call(event),
                    Err(_) => self.fail("the threads that write to the target have ended"),
                },
                recv(catalog) -> event => match event {
                    Ok(event) => self.on_catalog(event),
                    Err(_) => self.fail("the catalog watcher has ended"),
                },
                recv(records) -> event => match event {
                    Ok(event) => self.on_log(event),
                    Err(_) => self.fail("the log reader has ended"),
                },
                recv(copies) -> event => match event {
                    Ok(event) => self.on_copy(event),
                    Err(_) => self.fail("the copying thread has ended"),
                },
                recv(repairs) -> repair => match repair {
                    Ok(repair) => self.on_repair(repair),
                    Err(_) => self.repair_orders = never(),
                },
                recv(heartbeat) -> _ => self.on_heartbeat(),
            }
        }
    }

    /// Stops the task with a reason. The first one counts.
    pub(super) fn fail(&mut self, reason: &str) {
        self.failure.get_or_insert_with(|| reason.to_owned());
    }

    /// Whether more may be read. While not every hand has a call, what waits for its tick must be allowed to grow, or the tick
    /// would never be read; far beyond what usually comes between two ticks only when nothing else is left in memory.
    fn has_room(&self) -> bool {
        let (queued, calls) = (self.scheduler.bytes(), self.scheduler.calls());
        let waiting = self.channels.values().map(|channel| channel.pending.bytes()).sum::<usize>();
        let idle_hands = calls == 0 || (calls < WORKERS && waiting < BETWEEN_TICKS);
        queued < MEMORY && (queued + waiting < MEMORY || idle_hands)
    }

    /// Everything that can be done without waiting.
    fn work(&mut self) {
        self.dispatch();
        self.answer_blocks();
        self.start_copies();
        self.rewind_channels();
        let mut advanced = false;
        for channel in self.channels.values_mut() {
            advanced |= channel.advance();
        }
        if advanced {
            self.dirty = true;
            self.members.forget_truncated(|channel| Some(self.channels.get(channel)?.acked.after));
        }
    }

    fn on_heartbeat(&mut self) {
        self.ask_about_unknown();
        self.join_waiting();
        self.compare_half_truncated();
        self.retry_gaps();
        self.start_rounds();
        if !self.hints_are_read {
            self.read_replicate_channel();
        }
        let due = if self.rows_acked { WRITE_BUSY } else { WRITE_IDLE };
        if self.dirty && self.written.elapsed() >= due {
            self.write_checkpoint();
        }
        self.show();
    }

    /// Writes the checkpoint. While it cannot be written nothing new is applied beyond the bounds on disk.
    pub(super) fn write_checkpoint(&mut self) -> bool {
        self.written = Instant::now();
        let outcome = self.save();
        let trouble = outcome.err().map(|error| error.to_string());
        if let Some(why) = trouble.as_ref().filter(|why| self.troubles.disk.as_ref() != Some(why)) {
            log::error!("{why}");
        }
        self.troubles.disk = trouble;
        if self.troubles.disk.is_none() {
            self.dirty = false;
            self.rows_acked = false;
            self.board.saved();
        }
        self.troubles.disk.is_none()
    }

    fn save(&self) -> Result<(), SealedError> {
        let checkpoint = Checkpoint {
            log: self.log_kind.name().into(),
            channels: self.channels.iter().map(|(name, channel)| (name.to_string(), channel.record())).collect(),
            collections: self.members.records(),
            skipped: self.skipped.clone(),
            truncated: self.members.truncated(),
            uncarried: self.uncarried.records(),
        };
        checkpoint::save(&self.folder, &checkpoint)?;
        self.log.saved(&checkpoint.needed());
        Ok(())
    }

    /// Ends everything: waits for the calls under way, cancels them when time runs out, and writes the last checkpoint.
    fn close(&mut self, deadline: Instant) {
        // The catalog may wait for an answer; it must not wait for us while we wait for it.
        self.blocks.clear();
        let patience = deadline.checked_sub(RESERVE * 2).unwrap_or(deadline);
        while self.scheduler.calls() > 0 {
            let now = Instant::now();
            if now >= patience {
                self.cancel.cancel();
            }
            if now >= deadline {
                log::warn!("{} calls to the target have not ended in time", self.scheduler.calls());
                break;
            }
            match self.pool.events().recv_timeout(HEARTBEAT) {
                Ok(event) => self.on_call(event),
                Err(_) => continue,
            }
        }
        self.cancel.cancel();
        for channel in self.channels.values_mut() {
            channel.advance();
            channel.settle_bound();
        }
        self.write_checkpoint();
        self.show();
    }

    fn show(&mut self) {
        let troubles = self.troubles.retried();
        let waiting = self.copier.waiting();
        let uncarried = self.uncarried_reasons();
        let reasons: Vec<String> = troubles.iter().cloned().chain(waiting).chain(uncarried).collect();
        let lag = self.lag(!troubles.is_empty());
        let phase = self.phase(!troubles.is_empty(), lag);
        // A channel that is read from its beginning names no time before its first tick.
        let lag = lag.filter(|lag| *lag < NO_TIME);
        self.tell(phase, lag, &troubles);
        let status = TaskStatus {
            phase,
            lag_ms: lag.map(|lag| lag.as_millis() as u64),
            skipped: self.skipped.clone(),
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            source_log: Some(SourceLog { kind: self.log_kind.name(), why: self.log_why.clone() }),
        };
        self.board.show(status);
        self.board.show_positions(positions(self.log_kind, &self.channels));
    }

    fn phase(&self, troubled: bool, lag: Option<Duration>) -> Phase {
        if troubled {
            Phase::Retrying
        } else if !self.settled {
            Phase::Connecting
        } else if self.copier.is_copying() {
            Phase::Copying
        } else if self.rounds.is_some() {
            if lag.is_some() { Phase::Following } else { Phase::CatchingUp }
        } else if self.channels.values().all(|channel| channel.at_tail) && lag.is_none_or(|lag| lag < FOLLOWING) {
            Phase::Following
        } else {
            Phase::CatchingUp
        }
    }

    /// How far the target is behind the source: the age of the oldest acknowledged tick. Ticks of a channel stop when its last
    /// collection is dropped; such a channel counts only while something of it is still to be done. While something
    /// fails, silence proves nothing and every channel counts.
    fn lag(&self, troubled: bool) -> Option<Duration> {
        if !self.settled && self.channels.is_empty() {
            return None;
        }
        if let Some(rounds) = &self.rounds {
            return self.settled.then(|| rounds.lag(&self.members)).flatten();
        }
        let live = self.live_channels();
        let counts = |name: &Channel, channel: &ChannelState| {
            troubled
                || live.contains(name)
                || !channel.at_tail
                || !channel.progress.is_idle()
                || !channel.pending.is_empty()
        };
        let oldest = self
            .channels
            .iter()
            .filter(|(name, channel)| counts(name, channel))
            .map(|(_, channel)| channel.acked.after)
            .min();
        let now = Timestamp::now().physical_ms();
        Some(Duration::from_millis(oldest.map_or(0, |oldest| now.saturating_sub(oldest.physical_ms()))))
    }

    /// The channels that collections live on: they have ticks, or should have.
    fn live_channels(&self) -> std::collections::BTreeSet<Channel> {
        let following = self.members.iter().filter(|(_, member)| matches!(member.rows, Rows::Joined(_)));
        following.flat_map(|(_, member)| member.channels()).collect()
    }
}

/// Positions as the API shows them.
fn positions(kind: LogKind, channels: &BTreeMap<Channel, ChannelState>) -> Vec<ChannelPosition> {
    let shown = |(name, channel): (&Channel, &ChannelState)| {
        Some(ChannelPosition {
            channel: name.to_string(),
            message_id: kind.message_id(channel.acked.position?),
            time_tick: channel.acked.after.0,
        })
    };
    channels.iter().filter_map(shown).collect()
}
