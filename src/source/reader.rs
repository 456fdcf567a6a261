/*!
The thread that reads a log and pushes what it finds. It knows nothing of collections: it reads the channels that it is
told to, from where it is told to, in small turns so that no channel starves another.
*/

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded, never};

use super::log::{Log, LogError, Next, ReadEnd};
use super::message::Record;
use crate::domain::{Channel, Position};

/// What the reader is told.
#[derive(Debug)]
pub enum ReaderCommand {
    /// Read these channels from there on. A channel that is read already goes on from the new place.
    Seek(Vec<Seek>),
}

/// Where to read a channel from.
#[derive(Debug, Clone)]
pub struct Seek {
    /// Which channel.
    pub channel: Channel,
    /// First message to read, which must still be there; `None`: the channel's first, whatever it is.
    pub from: Option<Position>,
    /// Comes back with every event, so that what was on the way before the seek is recognised as stale.
    pub epoch: u64,
}

/// What the reader reports.
#[derive(Debug)]
pub enum ReaderEvent {
    /// Messages that follow one another.
    Records {
        /// Of which channel.
        channel: Channel,
        /// Of the seek that they follow from.
        epoch: u64,
        /// In the order of the log.
        records: Vec<Record>,
        /// The log had no more at that moment.
        at_tail: bool,
    },
    /// What was to be read next has been removed by retention; the channel is not read any further.
    Gap {
        /// Of which channel.
        channel: Channel,
        /// Of the seek that it follows from.
        epoch: u64,
    },
    /// Reading fails, of one channel at least, and is tried again until [`ReaderEvent::Recovered`].
    Failing(LogError),
    /// Reading works again, of every channel.
    Recovered,
}

/// A running reader thread. Ends when dropped or when nobody takes its events any more.
pub struct Reader {
    commands: Sender<ReaderCommand>,
    events: Receiver<ReaderEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Tells the reader something.
    pub fn send(&self, command: ReaderCommand) {
        // Fails only when the thread has ended, which the closed event channel shows as well.
        let _ = self.commands.send(command);
    }

    /// Where its events arrive.
    pub fn events(&self) -> &Receiver<ReaderEvent> {
        &self.events
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Both ends gone: the thread neither waits for a command nor for room.
        self.commands = bounded(0).0;
        self.events = bounded(0).1;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the log reader panicked");
        }
    }
}

/// How often an idle log is looked at.
const POLL: Duration = Duration::from_millis(20);
/// The same where the log gives word: for what it gives none of, such as a broker that has gone away.
const POLL_BESIDE_NEWS: Duration = Duration::from_millis(100);
/// After word of something new the rest is waited for: all channels tick at about the same time.
const GATHER: Duration = Duration::from_millis(5);
/// One channel's turn.
const TURN_BYTES: usize = 1 << 20;
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Turns on the way to the task. One waits in the reader's hand, which is enough: the task has megabytes queued when it takes none.
const QUEUED_TURNS: usize = 0;

/// Starts a reader thread.
///
/// # Errors
/// The system gives no more threads.
pub fn spawn(name: &str, log: Arc<dyn Log>) -> std::io::Result<Reader> {
    // A seek must never wait for room behind events that nobody takes: commands are few and small.
    let (command_sender, commands) = bounded(1024);
    let (events, event_receiver) = bounded(QUEUED_TURNS);
    let news = log.news();
    let poll = if news.is_some() { POLL_BESIDE_NEWS } else { POLL };
    let news = news.unwrap_or_else(never);
    let turn = Turn { log, news, poll, events, cursors: BTreeMap::new(), failing: false };
    let thread = std::thread::Builder::new().name(format!("log-{name}")).spawn(move || turn.run(&commands))?;
    Ok(Reader { commands: command_sender, events: event_receiver, thread: Some(thread) })
}

struct Cursor {
    epoch: u64,
    next: Next,
    at_tail: bool,
    /// Reading it has failed; not to be tried before.
    retry_at: Option<Instant>,
}

impl Cursor {
    /// Whether there may be something to read. `fresh`: the log has changed.
    fn is_due(&self, fresh: bool) -> bool {
        match self.retry_at {
            Some(at) => Instant::now() >= at,
            None => fresh || !self.at_tail,
        }
    }
}

struct Turn {
    log: Arc<dyn Log>,
    news: Receiver<()>,
    poll: Duration,
    events: Sender<ReaderEvent>,
    cursors: BTreeMap<Channel, Cursor>,
    failing: bool,
}

/// What the reader does before it looks at the log again.
#[derive(Clone, Copy)]
enum Pause {
    None,
    UntilNews,
    AfterFailure,
}

/// Whoever takes the events has gone.
struct Closed;

impl Turn {
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
            pause = match self.read_all() {
                Ok(Ok(true)) => Pause::None,
                Ok(Ok(false)) => Pause::UntilNews,
                Ok(Err(error)) => {
                    if self.report_failure(error).is_err() {
                        return;
                    }
                    Pause::AfterFailure
                }
                Err(Closed) => return,
            };
        }
    }

    /// Pauses, unless there is a command.
    fn next_command(&self, commands: &Receiver<ReaderCommand>, pause: Pause) -> Result<ReaderCommand, TryRecvError> {
        if self.cursors.is_empty() {
            // Without a channel to read there is nothing to look for.
            return commands.recv().map_err(|_| TryRecvError::Disconnected);
        }
        let mut something = Select::new();
        something.recv(commands);
        // Only waited for: what is there is taken from the commands' channel, or by the log's refresh.
        match pause {
            Pause::None => {}
            Pause::UntilNews => {
                let news = something.recv(&self.news);
                if something.ready_timeout(self.poll) == Ok(news) {
                    std::thread::sleep(GATHER);
                }
            }
            Pause::AfterFailure => drop(something.ready_timeout(RETRY)),
        }
        commands.try_recv()
    }

    fn obey(&mut self, command: ReaderCommand) {
        let ReaderCommand::Seek(seeks) = command;
        for Seek { channel, from, epoch } in seeks {
            let next = from.map_or(Next::First, Next::At);
            self.cursors.insert(channel, Cursor { epoch, next, at_tail: false, retry_at: None });
        }
    }

    /// One turn for every channel that may have something. True when there is more to read at once.
    fn read_all(&mut self) -> Result<Result<bool, LogError>, Closed> {
        let fresh = match self.log.refresh() {
            Ok(fresh) => fresh,
            Err(error) => return Ok(Err(error)),
        };
        let due = self.cursors.iter().filter(|(_, cursor)| cursor.is_due(fresh));
        let channels: Vec<Channel> = due.map(|(channel, _)| channel.clone()).collect();
        let mut more = false;
        for channel in channels {
            match self.read_turn(&channel)? {
                Ok(end) => more |= end == ReadEnd::More,
                // One channel's trouble does not hold up the others.
                Err(error) => self.report_failure(error)?,
            }
        }
        if self.failing && self.cursors.values().all(|cursor| cursor.retry_at.is_none()) {
            self.failing = false;
            self.send(ReaderEvent::Recovered)?;
        }
        Ok(Ok(more))
    }

    fn read_turn(&mut self, channel: &Channel) -> Result<Result<ReadEnd, LogError>, Closed> {
        let Some(cursor) = self.cursors.get_mut(channel) else { return Ok(Ok(ReadEnd::AtTail)) };
        let (next, epoch) = (cursor.next, cursor.epoch);
        let mut records = Vec::new();
        let outcome = self.log.read(channel, next, TURN_BYTES, &mut |record: Record| {
            cursor.next = Next::After(record.position);
            records.push(record);
        });
        let at_tail = matches!(outcome, Ok(ReadEnd::AtTail));
        let news = at_tail != cursor.at_tail;
        cursor.at_tail = at_tail;
        cursor.retry_at = outcome.is_err().then(|| Instant::now() + RETRY);
        let gap = matches!(outcome, Ok(ReadEnd::Gap));
        if !records.is_empty() || news {
            self.send(ReaderEvent::Records { channel: channel.clone(), epoch, records, at_tail })?;
        }
        if gap {
            self.cursors.remove(channel);
            self.send(ReaderEvent::Gap { channel: channel.clone(), epoch })?;
        }
        Ok(outcome)
    }

    fn report_failure(&mut self, error: LogError) -> Result<(), Closed> {
        if std::mem::replace(&mut self.failing, true) {
            return Ok(());
        }
        self.send(ReaderEvent::Failing(error))
    }

    fn send(&self, event: ReaderEvent) -> Result<(), Closed> {
        self.events.send(event).map_err(|_| Closed)
    }
}
