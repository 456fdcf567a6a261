/*!
The thread that reads a log and passes on what it finds. It knows nothing of collections: it reads the channels that it
is told to, from where it is told to, in small turns so that no channel starves another.
*/

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded, never};

use super::log::{Log, LogError, ReadEnd, ReadFrom, Refreshed};
use crate::domain::{Body, Channel, Position, Record};
use crate::failpoint::HandOver;
use crate::observe::thread::ThreadSpec;

/// An order to the reader.
#[derive(Debug)]
pub enum ReaderCommand {
    /// Read these channels from there on. A channel that is being read already continues at the new place.
    Seek(Vec<Seek>),
}

/// Where to read a channel from.
#[derive(Debug, Clone)]
pub struct Seek {
    /// The channel.
    pub channel: Channel,
    /// The first message to read, which must still exist; `None`: the first that the channel still has.
    pub from: Option<Position>,
    /// Comes back with every event, so that events from before the seek are recognised as stale.
    pub epoch: u64,
}

/// What the reader reports.
#[derive(Debug)]
pub enum ReaderEvent {
    /// Consecutive messages.
    Records {
        /// Their channel.
        channel: Channel,
        /// The epoch of the seek that they follow from.
        epoch: u64,
        /// In the order of the log.
        records: Vec<Record>,
        /// The log had no more at that moment.
        at_tail: bool,
    },
    /// Retention has removed the message to be read next; the channel is not read any further.
    Gap {
        /// The channel.
        channel: Channel,
        /// The epoch of the seek that it follows from.
        epoch: u64,
    },
    /// Reading at least one channel fails, and is retried until [`ReaderEvent::Recovered`].
    Failing(LogError),
    /// Every channel can be read again.
    Recovered,
    /// The log was deleted, or another one has taken its place: it must be opened again. No channel is read any
    /// further.
    Replaced,
}

/// Consecutive events. Ticks of all channels come at about the same time, and each hand-over wakes up two threads: so
/// those of one pass are handed over together.
#[derive(Debug)]
pub struct ReaderBatch {
    first: ReaderEvent,
    rest: Vec<ReaderEvent>,
}

/// A running reader thread. Ends when dropped or when nobody takes its events any more.
pub struct LogReader {
    commands: Sender<ReaderCommand>,
    batches: Receiver<ReaderBatch>,
    /// The rest of the last batch.
    taken: VecDeque<ReaderEvent>,
    thread: Option<JoinHandle<()>>,
}

impl LogReader {
    /// Takes what it has sent. Answers the first event; the others come from [`Self::next_taken`].
    pub fn take(&mut self, batch: ReaderBatch) -> ReaderEvent {
        self.taken = batch.rest.into();
        batch.first
    }

    /// The next event of what was taken last.
    pub fn next_taken(&mut self) -> Option<ReaderEvent> {
        self.taken.pop_front()
    }

    /// Gives the reader an order.
    pub fn send(&self, command: ReaderCommand) {
        // Fails only when the thread has ended, which the closed event channel shows as well.
        let _ = HandOver::LogCommand.send(&self.commands, command);
    }

    /// Where its events arrive, one or several at once.
    pub fn batches(&self) -> &Receiver<ReaderBatch> {
        &self.batches
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        // With both ends gone, the thread waits neither for a command nor for room.
        self.commands = bounded(0).0;
        self.batches = bounded(0).1;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the log reader thread panicked");
        }
    }
}

/// How often an idle log is polled.
const POLL: Duration = Duration::from_millis(20);
/// How often a log that gives wakeups is polled all the same: some changes, such as a lost broker, give none.
const POLL_BESIDE_WAKEUPS: Duration = Duration::from_millis(100);
/// Pause after a wakeup, so that one pass reads all channels: they tick at about the same time.
const GATHER: Duration = Duration::from_millis(5);
/// How much of one channel a turn reads.
const TURN_BYTES: usize = 1 << 20;
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Batches between reader and task. The reader holds one more while it waits, which is enough: a task that takes none
/// has megabytes queued.
const QUEUED_BATCHES: usize = 0;

/// Starts a reader thread.
///
/// # Errors
/// The system gives no more threads.
pub fn spawn(name: &str, log: Arc<dyn Log>) -> std::io::Result<LogReader> {
    // A seek must never wait for room behind events that nobody takes: commands are few and small.
    let (command_sender, commands) = bounded(1024);
    let (batch_sender, batches) = bounded(QUEUED_BATCHES);
    let wakeups = log.wakeups();
    let poll = if wakeups.is_some() { POLL_BESIDE_WAKEUPS } else { POLL };
    let wakeups = wakeups.unwrap_or_else(never);
    let (cursors, gathered) = (BTreeMap::new(), GatheredTicks::default());
    let state = ReaderThread { log, wakeups, poll, batches: batch_sender, gathered, cursors, failing: false };
    let thread = ThreadSpec::of_task("log", name).spawn(move || state.run(&commands))?;
    Ok(LogReader { commands: command_sender, batches, taken: VecDeque::new(), thread: Some(thread) })
}

/// How far a channel has been read.
struct Cursor {
    epoch: u64,
    next: ReadFrom,
    at_tail: bool,
    /// Reading has failed and is not retried before.
    retry_at: Option<Instant>,
}

impl Cursor {
    /// Whether there may be something to read.
    fn is_due(&self, refreshed: Refreshed) -> bool {
        match self.retry_at {
            Some(at) => Instant::now() >= at,
            None => refreshed == Refreshed::Changed || !self.at_tail,
        }
    }
}

/// Events of a pass that have nothing but ticks, and wait for the others.
#[derive(Default)]
struct GatheredTicks {
    events: Vec<ReaderEvent>,
    /// Records in them.
    records: usize,
}

/// So many ticks wait for others at most: a backlog of ticks alone is handed over in parts.
const MOST_GATHERED: usize = 256;

impl GatheredTicks {
    /// Adds an event. Answers what is to be handed over now.
    fn add(&mut self, event: ReaderEvent) -> Option<ReaderBatch> {
        let is_tick = |record: &Record| matches!(record.body, Body::Tick { .. });
        let is_gathered = match &event {
            ReaderEvent::Records { records, .. } => {
                self.records += records.len();
                self.records < MOST_GATHERED && records.iter().all(is_tick)
            }
            _ => false,
        };
        self.events.push(event);
        if is_gathered { None } else { self.take() }
    }

    fn take(&mut self) -> Option<ReaderBatch> {
        self.records = 0;
        let mut events = std::mem::take(&mut self.events).into_iter();
        Some(ReaderBatch { first: events.next()?, rest: events.collect() })
    }
}

struct ReaderThread {
    log: Arc<dyn Log>,
    wakeups: Receiver<()>,
    poll: Duration,
    batches: Sender<ReaderBatch>,
    gathered: GatheredTicks,
    cursors: BTreeMap<Channel, Cursor>,
    /// [`ReaderEvent::Failing`] was sent last.
    failing: bool,
}

/// What the reader does before it looks at the log again.
#[derive(Clone, Copy)]
enum Pause {
    None,
    UntilWakeup,
    AfterFailure,
}

/// What came of one channel's turn.
enum ChannelTurn {
    Read(ReadEnd),
    Failed(LogError),
}

/// Nobody takes the events any more.
struct Abandoned;

impl ReaderThread {
    fn run(mut self, commands: &Receiver<ReaderCommand>) {
        let mut pause = Pause::None;
        loop {
            match self.next_command(commands, pause) {
                Ok(command) => {
                    self.obey(command);
                    pause = Pause::None;
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            let read = self.read_all();
            let gathered = self.gathered.take();
            pause = match read.and_then(|pause| self.hand_over(gathered).map(|()| pause)) {
                Ok(pause) => pause,
                Err(Abandoned) => return,
            };
        }
    }

    /// Pauses, unless there is a command.
    fn next_command(&self, commands: &Receiver<ReaderCommand>, pause: Pause) -> Result<ReaderCommand, TryRecvError> {
        if self.cursors.is_empty() {
            // Without a channel to read, only a command can give work.
            return commands.recv().map_err(|_| TryRecvError::Disconnected);
        }
        let mut select = Select::new();
        select.recv(commands);
        // Only wait here: `try_recv` below takes the command, and the log's `refresh` takes the wakeup.
        match pause {
            Pause::None => {}
            Pause::UntilWakeup => {
                let wakeup = select.recv(&self.wakeups);
                if select.ready_timeout(self.poll) == Ok(wakeup) {
                    std::thread::sleep(GATHER);
                }
            }
            Pause::AfterFailure => drop(select.ready_timeout(RETRY)),
        }
        commands.try_recv()
    }

    fn obey(&mut self, command: ReaderCommand) {
        let ReaderCommand::Seek(seeks) = command;
        for Seek { channel, from, epoch } in seeks {
            let next = from.map_or(ReadFrom::First, ReadFrom::At);
            self.cursors.insert(channel, Cursor { epoch, next, at_tail: false, retry_at: None });
        }
    }

    /// One turn for every channel that may have something. Returns how long to pause before the next pass.
    fn read_all(&mut self) -> Result<Pause, Abandoned> {
        let refreshed = match self.log.refresh() {
            Ok(Refreshed::Replaced) => {
                self.cursors.clear();
                self.send(ReaderEvent::Replaced)?;
                return Ok(Pause::UntilWakeup);
            }
            Ok(refreshed) => refreshed,
            Err(error) => {
                self.report_failure(error)?;
                return Ok(Pause::AfterFailure);
            }
        };
        let due = self.cursors.iter().filter(|(_, cursor)| cursor.is_due(refreshed));
        let channels: Vec<Channel> = due.map(|(channel, _)| channel.clone()).collect();
        let mut pause = Pause::UntilWakeup;
        for channel in channels {
            match self.read_turn(&channel)? {
                ChannelTurn::Read(ReadEnd::More) => pause = Pause::None,
                ChannelTurn::Read(_) => {}
                // One channel's failure does not hold up the others.
                ChannelTurn::Failed(error) => self.report_failure(error)?,
            }
        }
        if self.failing && self.cursors.values().all(|cursor| cursor.retry_at.is_none()) {
            self.failing = false;
            self.send(ReaderEvent::Recovered)?;
        }
        Ok(pause)
    }

    fn read_turn(&mut self, channel: &Channel) -> Result<ChannelTurn, Abandoned> {
        let Some(cursor) = self.cursors.get_mut(channel) else { return Ok(ChannelTurn::Read(ReadEnd::AtTail)) };
        let (next, epoch) = (cursor.next, cursor.epoch);
        let mut records = Vec::new();
        let outcome = self.log.read(channel, next, TURN_BYTES, &mut |record: Record| {
            cursor.next = ReadFrom::After(record.position);
            records.push(record);
        });
        let at_tail = matches!(outcome, Ok(ReadEnd::AtTail));
        let tail_changed = at_tail != cursor.at_tail;
        cursor.at_tail = at_tail;
        cursor.retry_at = outcome.is_err().then(|| Instant::now() + RETRY);
        if !records.is_empty() || tail_changed {
            self.send(ReaderEvent::Records { channel: channel.clone(), epoch, records, at_tail })?;
        }
        if matches!(outcome, Ok(ReadEnd::Gap)) {
            self.cursors.remove(channel);
            self.send(ReaderEvent::Gap { channel: channel.clone(), epoch })?;
        }
        Ok(outcome.map_or_else(ChannelTurn::Failed, ChannelTurn::Read))
    }

    fn report_failure(&mut self, error: LogError) -> Result<(), Abandoned> {
        if std::mem::replace(&mut self.failing, true) {
            return Ok(());
        }
        self.send(ReaderEvent::Failing(error))
    }

    /// Sends an event, or keeps it until the end of the pass.
    fn send(&mut self, event: ReaderEvent) -> Result<(), Abandoned> {
        let batch = self.gathered.add(event);
        self.hand_over(batch)
    }

    fn hand_over(&self, batch: Option<ReaderBatch>) -> Result<(), Abandoned> {
        let Some(batch) = batch else { return Ok(()) };
        HandOver::LogEvent.send(&self.batches, batch).map_err(|_| Abandoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn records(channel: &str, count: usize, body: impl Fn() -> Body) -> ReaderEvent {
        let at = Timestamp(1);
        let record = |_| Record { position: Position::at(1), begin: at, end: at, mark: None, body: body() };
        let records = (0..count).map(record).collect();
        ReaderEvent::Records { channel: Channel::new(channel), epoch: 1, records, at_tail: true }
    }

    fn ticks(channel: &str, count: usize) -> ReaderEvent {
        records(channel, count, || Body::Tick { resume: None })
    }

    /// The channels in the order in which the task takes them.
    fn channels(batch: Option<ReaderBatch>) -> Vec<String> {
        let mut reader =
            LogReader { commands: bounded(0).0, batches: bounded(0).1, taken: VecDeque::new(), thread: None };
        let first = batch.map(|batch| reader.take(batch));
        let events = first.into_iter().chain(std::iter::from_fn(|| reader.next_taken()));
        let name = |event| match event {
            ReaderEvent::Records { channel, .. } | ReaderEvent::Gap { channel, .. } => channel.to_string(),
            other => format!("{other:?}"),
        };
        events.map(name).collect()
    }

    #[test]
    fn ticks_of_one_pass_are_handed_over_together_and_all_else_takes_them_along_at_once() {
        let mut gathered = GatheredTicks::default();
        assert!(gathered.take().is_none(), "nothing wakes up for nothing");
        assert!(gathered.add(ticks("a", 1)).is_none() && gathered.add(ticks("b", 2)).is_none());
        assert!(gathered.add(ticks("c", 0)).is_none(), "the end of a channel");
        assert_eq!(channels(gathered.take()), ["a", "b", "c"], "at the end of the pass");
        assert!(gathered.add(ticks("a", 1)).is_none());
        let hint = || Body::CatalogHint(None);
        assert_eq!(channels(gathered.add(records("b", 1, hint))), ["a", "b"]);
        assert!(gathered.add(ticks("a", 1)).is_none());
        let gap = ReaderEvent::Gap { channel: Channel::new("b"), epoch: 1 };
        assert_eq!(channels(gathered.add(gap)), ["a", "b"]);
        assert_eq!(channels(gathered.add(ReaderEvent::Recovered)), ["Recovered"]);
        assert!(gathered.take().is_none());
    }

    #[test]
    fn a_backlog_of_ticks_is_handed_over_in_parts() {
        let mut gathered = GatheredTicks::default();
        assert!(gathered.add(ticks("a", MOST_GATHERED / 2)).is_none());
        assert_eq!(channels(gathered.add(ticks("b", MOST_GATHERED / 2))), ["a", "b"]);
        assert!(gathered.add(ticks("c", 1)).is_none(), "counted anew");
        assert_eq!(channels(gathered.add(ticks("d", MOST_GATHERED * 9))), ["c", "d"]);
    }
}
