/*!
The thread that reads a log and pushes what it finds. It knows nothing of collections: it reads the channels that it is
told to, from where it is told to, in small turns so that no channel starves another.
*/

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::log::{Log, LogError, ReadEnd};
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
    /// Reading fails, and is tried again until [`ReaderEvent::Recovered`].
    Failing(LogError),
    /// Reading works again.
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
/// One channel's turn.
const TURN_BYTES: usize = 1 << 20;
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Turns on the way to the task: with [`TURN_BYTES`] this bounds the memory.
const QUEUED_TURNS: usize = 2;

/// Starts a reader thread.
///
/// # Errors
/// The system gives no more threads.
pub fn spawn(name: &str, log: Arc<dyn Log>) -> std::io::Result<Reader> {
    // A seek must never wait for room behind events that nobody takes: commands are few and small.
    let (command_sender, commands) = bounded(1024);
    let (events, event_receiver) = bounded(QUEUED_TURNS);
    let turn = Turn { log, events, cursors: BTreeMap::new(), failing: false };
    let thread = std::thread::Builder::new().name(format!("log-{name}")).spawn(move || turn.run(&commands))?;
    Ok(Reader { commands: command_sender, events: event_receiver, thread: Some(thread) })
}

struct Cursor {
    epoch: u64,
    /// The last message read, or the one to begin with.
    at: Option<Position>,
    /// `at` has been passed on already.
    passed: bool,
    at_tail: bool,
}

struct Turn {
    log: Arc<dyn Log>,
    events: Sender<ReaderEvent>,
    cursors: BTreeMap<Channel, Cursor>,
    failing: bool,
}

/// Whoever takes the events has gone.
struct Closed;

impl Turn {
    fn run(mut self, commands: &Receiver<ReaderCommand>) {
        let mut wait = Duration::ZERO;
        loop {
            // Without a channel to read there is nothing to look for.
            let command = match self.cursors.is_empty() {
                true => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => commands.recv_timeout(wait),
            };
            match command {
                Ok(command) => {
                    self.obey(command);
                    wait = Duration::ZERO;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            wait = match self.read_all() {
                Ok(Ok(true)) => Duration::ZERO,
                Ok(Ok(false)) => POLL,
                Ok(Err(error)) => {
                    if self.report_failure(error).is_err() {
                        return;
                    }
                    RETRY
                }
                Err(Closed) => return,
            };
        }
    }

    fn obey(&mut self, command: ReaderCommand) {
        let ReaderCommand::Seek(seeks) = command;
        for Seek { channel, from, epoch } in seeks {
            self.cursors.insert(channel, Cursor { epoch, at: from, passed: false, at_tail: false });
        }
    }

    /// One turn for every channel that may have something. True when there is more to read at once.
    fn read_all(&mut self) -> Result<Result<bool, LogError>, Closed> {
        let fresh = match self.log.refresh() {
            Ok(fresh) => fresh,
            Err(error) => return Ok(Err(error)),
        };
        if std::mem::take(&mut self.failing) {
            self.send(ReaderEvent::Recovered)?;
        }
        let channels: Vec<Channel> = self.cursors.keys().cloned().collect();
        let mut more = false;
        for channel in channels {
            let idle = self.cursors.get(&channel).is_none_or(|cursor| cursor.at_tail);
            if idle && !fresh {
                continue;
            }
            match self.read_turn(&channel)? {
                Ok(ReadEnd::More) => more = true,
                Ok(ReadEnd::AtTail | ReadEnd::Gap) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(more))
    }

    fn read_turn(&mut self, channel: &Channel) -> Result<Result<ReadEnd, LogError>, Closed> {
        let Some(cursor) = self.cursors.get_mut(channel) else { return Ok(Ok(ReadEnd::AtTail)) };
        let (from, epoch) = (cursor.at, cursor.epoch);
        let mut records = Vec::new();
        let outcome = self.log.read(channel, from, TURN_BYTES, &mut |record: Record| {
            let position = record.position;
            if !(cursor.passed && from == Some(position)) {
                records.push(record);
            }
            cursor.at = Some(position);
        });
        cursor.passed |= !records.is_empty();
        let at_tail = matches!(outcome, Ok(ReadEnd::AtTail));
        let news = at_tail != cursor.at_tail;
        cursor.at_tail = at_tail;
        if matches!(outcome, Ok(ReadEnd::Gap)) {
            self.cursors.remove(channel);
            self.send(ReaderEvent::Gap { channel: channel.clone(), epoch })?;
        } else if !records.is_empty() || news {
            self.send(ReaderEvent::Records { channel: channel.clone(), epoch, records, at_tail })?;
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
