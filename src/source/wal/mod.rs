/*!
The log of Milvus 2.6.20 and later, and of 3.x, over the public API: `DumpMessages` sends the messages of one physical
channel in the order of their ticks. `reading` reads a channel; `resume_point` says what a position means.

`FlushAll` returns where to begin: it writes a message to every channel and answers with their positions. It makes the
source seal its growing segments, so it is called only when a backfill begins or a log has a gap, once a minute at
most.
*/

mod anchors;
mod collection_start;
mod end_positions;
mod error;
mod probe;
mod question;
mod reading;
#[cfg(test)]
pub(super) mod recorded;
mod resume_point;
mod rolled_back;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::anchors::Anchors;
use self::collection_start::{BEHIND_TRUNCATION, CollectionStart, KnownPlaces, MARGIN, collection_start};
use self::end_positions::EndPositions;
use self::error::WalStartError;
use self::probe::needs_privileges;
pub(super) use self::probe::{Unusable, probe};
use self::question::{DumpReply, Questioner, TickRange};
use self::reading::{Reading, ReadingStep};
use self::resume_point::ResumePoint;
use super::clock::{ClockOrigin, Moment, SourceClock};
use super::decode::wal_message_id::{Queue, WalMessageId};
use super::log::{Log, LogAccess, LogError, ReadEnd, ReadFrom, ReadTick, Refreshed, Start, StartQuery};
use crate::domain::{Body, Channel, Position, Record, Timestamp};
use crate::milvus::wal::{self, DumpRequest, DumpStream, StreamReady};
use crate::milvus::{CallContext, Cancel, Client, Error, ErrorKind};

/// The write-ahead log of a source.
pub(super) struct Wal {
    client: Arc<Client>,
    context: CallContext,
    ready: StreamReady,
    clock: SourceClock,
    ends: Mutex<EndPositions>,
    readings: Mutex<BTreeMap<Channel, OpenChannel>>,
    anchors: Mutex<Anchors>,
    /// By channel the creation time from which on the deepest place says nothing about collections.
    silent_from: Mutex<BTreeMap<Channel, Timestamp>>,
    /// When all channels were last polled.
    polled: Mutex<Instant>,
}

/// A channel that is being read.
struct OpenChannel {
    reading: Reading,
    /// When it was last polled.
    polled: Instant,
    /// The stream of the reading's window.
    stream: Option<DumpStream>,
}

/// Limit of one call: the task's thread may be waiting for the answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// After this long without a message, `FlushAll` writes one to the channel: the source's retention (72 h by default)
/// may soon remove the last one, and a restart could not tell that nothing else was removed.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// A channel that was not polled for this long (the target is away, so nobody takes its messages) may have lost
/// messages. No source retains them for less, and a reader with many channels behind polls no more often.
const UNPOLLED: Duration = Duration::from_secs(600);
/// How often all channels are polled without a signal from any.
const POLL: Duration = Duration::from_millis(500);

impl Wal {
    /// A log that is read through this connection.
    pub(super) fn new(client: &Arc<Client>, cancel: &Cancel) -> Wal {
        let context = CallContext { timeout: CALL_TIMEOUT, cancel: cancel.clone() };
        Wal {
            client: Arc::clone(client),
            context,
            ready: StreamReady::default(),
            clock: SourceClock::default(),
            ends: Mutex::new(EndPositions::default()),
            readings: Mutex::new(BTreeMap::new()),
            anchors: Mutex::new(Anchors::default()),
            silent_from: Mutex::new(BTreeMap::new()),
            polled: Mutex::new(Instant::now()),
        }
    }

    fn channel_error(&self, channel: &Channel, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LogError {
        LogError::new(format!("{channel} at {}", self.client.address()), cause)
    }

    fn clock_error(&self, error: Error) -> LogError {
        LogError::new(format!("at {}", self.client.address()), error)
    }

    fn now(&self) -> Result<Moment, LogError> {
        self.clock.now(&self.client, &self.context).map_err(|error| self.clock_error(error))
    }

    fn open(&self, channel: &Channel, reading: &mut Reading) -> Result<DumpStream, LogError> {
        let end = reading.next_end(self.now()?.time);
        let place = reading.place();
        let start = (place.start.text.as_str(), place.start.queue.number());
        let wanted = DumpRequest { channel: channel.as_str(), start, from: reading.next_begin(), until: end };
        let stream =
            self.client.dump_messages(wanted, &self.ready).map_err(|error| self.channel_error(channel, error))?;
        reading.opened(end);
        Ok(stream)
    }

    /// Reads until `max_bytes` have come or nothing more is there at the moment.
    fn drain(
        &self,
        channel: &Channel,
        OpenChannel { reading, stream, .. }: &mut OpenChannel,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let mut bytes = 0;
        loop {
            let open = match stream {
                Some(open) => open,
                None => stream.insert(self.open(channel, reading)?),
            };
            let step = match open.poll() {
                wal::Next::Answer(answer) => {
                    bytes += answer.len();
                    reading.take(&answer, visit)
                }
                wal::Next::End => {
                    *stream = None;
                    if self.is_early(reading)? {
                        return Err(self.channel_error(channel, "DumpMessages ended before the end of the window"));
                    }
                    reading.ended()
                }
                wal::Next::Nothing => return self.at_rest(channel, reading),
                wal::Next::Broken(why) => return self.broken(channel, reading, why, visit),
            };
            match step {
                ReadingStep::Next => {}
                ReadingStep::Gap(why) => return Ok(self.gap(channel, why)),
                ReadingStep::Malformed(why) => return Err(self.channel_error(channel, why)),
            }
            if bytes >= max_bytes {
                return Ok(ReadEnd::More);
            }
        }
    }

    fn gap(&self, channel: &Channel, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ReadEnd {
        log::warn!("gap in the log: {}", self.channel_error(channel, why));
        self.ends.lock().forget();
        self.anchors.lock().forget(channel);
        ReadEnd::Gap
    }

    /// The source has moved its log to another queue (`AlterWAL`), and its messages go on there. Collections that are
    /// created from now on are searched for there.
    fn moved(&self, channel: &Channel, queue: Queue) {
        log::info!("{channel}: the source keeps its log in {} now", queue.name());
        self.ends.lock().queue_changed(queue);
        self.silent_from.lock().remove(channel);
    }

    /// What FlushAll answered precedes every collection that is created later.
    fn note_ends(&self) {
        let (ends, mut anchors) = (self.ends.lock(), self.anchors.lock());
        ends.known().for_each(|(channel, place)| anchors.note(&Channel::new(channel), place));
    }

    fn questioner<'a>(&'a self, channel: &'a Channel) -> Questioner<'a> {
        Questioner { client: &self.client, context: &self.context, channel }
    }

    /// Whether the place of a reading that hangs has been deleted: the same question from the truncation point on is
    /// answered. If it is not, the server hangs.
    fn is_deleted(&self, channel: &Channel, reading: &Reading) -> Result<bool, LogError> {
        let witness = reading.place().witness;
        let range = TickRange { from: witness, until: witness, patience: CALL_TIMEOUT };
        let start = (BEHIND_TRUNCATION, Queue::Woodpecker.number());
        let reply = self.questioner(channel).find(start, range, |_| false);
        Ok(!matches!(reply.map_err(|error| self.channel_error(channel, error))?, DumpReply::Silence))
    }

    /// Whether the server ended the stream before the end of the window, as it may when it shuts down. A regular end
    /// comes only once the source's clock is past the window. (An early end that goes unnoticed, because the window is
    /// over meanwhile, shows with the next window: see `Reading::next_begin`.)
    fn is_early(&self, reading: &Reading) -> Result<bool, LogError> {
        if !reading.ends_after(self.now()?.time) {
            return Ok(false);
        }
        // The answer that the clock extrapolates from may have been on its way for long.
        let now = self.clock.ask(&self.client, &self.context).map_err(|error| self.clock_error(error))?;
        Ok(now.origin == ClockOrigin::Source && reading.ends_after(now.time))
    }

    fn at_rest(&self, channel: &Channel, reading: &mut Reading) -> Result<ReadEnd, LogError> {
        let now = self.now()?.time;
        if let Some(silent) = reading.hung(now) {
            if reading.may_be_deleted() && self.is_deleted(channel, reading)? {
                return Ok(self.gap(channel, "Woodpecker no longer has the message at which reading stopped"));
            }
            return Err(self.channel_error(
                channel,
                format!(
                    "DumpMessages has said nothing for {} s: the channel may be gone, or its server hangs",
                    silent.as_secs()
                ),
            ));
        }
        if !reading.is_near(now) {
            return Ok(ReadEnd::Awaited);
        }
        if reading.idle() > IDLE {
            self.ends.lock().renew_idle(&self.client, &self.context);
        }
        Ok(ReadEnd::AtTail)
    }

    fn broken(
        &self,
        channel: &Channel,
        reading: &Reading,
        why: wal::Interrupted,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let error = self.client.dump_failed(channel.as_str(), why);
        if error.kind == ErrorKind::TooLarge
            && let Some(tick) = reading.tick()
        {
            let why = format!("a message of the source's log is larger than this client takes: {error}");
            visit(Record { body: Body::Stop(why), ..tick });
        }
        Err(self.channel_error(channel, error))
    }
}

impl Log for Wal {
    fn refresh(&self) -> Result<Refreshed, LogError> {
        let mut polled = self.polled.lock();
        let due = polled.elapsed() >= POLL;
        if due {
            *polled = Instant::now();
        }
        Ok(Refreshed::changed_if(self.ready.take() || due))
    }

    fn read(
        &self,
        channel: &Channel,
        next: ReadFrom,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let wanted = match next {
            ReadFrom::At(position) | ReadFrom::After(position) => ResumePoint::of(position),
            ReadFrom::First => None,
        };
        let wanted = wanted.ok_or_else(|| self.channel_error(channel, "the stored position is not one of this log"))?;
        let known = self.readings.lock().remove(channel);
        let mut open = known.filter(|open| *open.reading.place() == wanted).unwrap_or_else(|| {
            self.anchors.lock().note(channel, &wanted);
            OpenChannel { reading: Reading::at(wanted), polled: Instant::now(), stream: None }
        });
        if open.polled.elapsed() > UNPOLLED {
            // The next window begins with the message that has to be there.
            open.stream = None;
            open.reading.close();
        }
        open.polled = Instant::now();
        let before = open.reading.place().clone();
        let end = self.drain(channel, &mut open, max_bytes, &mut |record| {
            // The backfill that repairs this must not replay from before it: it would be read, and repaired, again.
            if matches!(record.body, Body::Compare { .. }) {
                self.ends.lock().forget();
            }
            visit(record);
        });
        if *open.reading.place() != before
            && let Some(tick) = open.reading.tick()
        {
            self.anchors.lock().note(channel, open.reading.place());
            visit(tick);
        }
        if open.reading.place().start.queue != before.start.queue {
            self.moved(channel, open.reading.place().start.queue);
        }
        match &end {
            Ok(ReadEnd::Gap) => return end,
            Err(_) => {
                open.stream = None;
                open.reading.close();
            }
            Ok(_) => {}
        }
        self.readings.lock().insert(channel.clone(), open);
        end
    }

    fn collection_start(&self, channel: &Channel, query: &StartQuery<'_>) -> Result<Option<Position>, LogError> {
        let queue =
            self.ends.lock().queue(&self.client, &self.context).map_err(|error| self.channel_error(channel, error))?;
        self.note_ends();
        let reported = query.reported.filter(|bytes| !bytes.is_empty());
        let reported = reported.and_then(|bytes| WalMessageId::from_position(queue, bytes));
        let earlier = self.anchors.lock().before(channel, query.created.minus(MARGIN)).cloned();
        let deepest_is_silent = self.silent_from.lock().get(channel).is_some_and(|from| query.created >= *from);
        let known = KnownPlaces { queue, reported: reported.as_ref(), earlier: earlier.as_ref(), deepest_is_silent };
        let found = collection_start(self.questioner(channel), query, &known.in_turn());
        match found.map_err(|error| self.channel_error(channel, error))? {
            CollectionStart::At(position) => {
                // The next collection was created later: its search begins here.
                if let Some(place) = ResumePoint::of(position) {
                    self.anchors.lock().note(channel, &place);
                }
                Ok(Some(position))
            }
            CollectionStart::Unreachable { why, deepest_is_silent } => {
                log::info!("the creation of collection {} is not found on {channel}: {why}", query.collection);
                if deepest_is_silent {
                    // Deleted entries are so for all; a long log is too long for whatever was created later.
                    let from = if queue == Queue::Woodpecker { Timestamp::ZERO } else { query.created };
                    self.silent_from.lock().insert(channel.clone(), from);
                    self.anchors.lock().forget(channel);
                }
                Ok(None)
            }
        }
    }

    /// A position for comparisons: only the source knows its last message.
    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError> {
        let now = self.clock.ask(&self.client, &self.context).map_err(|error| self.channel_error(channel, error))?;
        Ok(Some(resume_point::behind(now.time.0)))
    }

    /// Asks for the ends of the channels: the call that a user may lack the privilege for, and that nothing but a
    /// backfill or a search needs.
    fn access(&self) -> Result<LogAccess, LogError> {
        if !self.client.has_credentials() {
            return Ok(LogAccess::Granted);
        }
        match self.ends.lock().queue(&self.client, &self.context) {
            Ok(_) => Ok(LogAccess::Granted),
            Err(WalStartError::Call(error)) if error.kind == ErrorKind::Denied => {
                Ok(LogAccess::Denied(needs_privileges(&error)))
            }
            Err(error) => Err(LogError::new(format!("at {}", self.client.address()), error)),
        }
    }

    fn is_rolled_back(&self, channel: &Channel, read: ReadTick) -> Result<bool, LogError> {
        let Some(place) = ResumePoint::of(read.position) else { return Ok(false) };
        let answer = rolled_back::is_rolled_back(self.questioner(channel), &place);
        answer.map_err(|error| self.channel_error(channel, error))
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        let place = self.ends.lock().of(&self.client, &self.context, channel);
        let place = place.map_err(|error| self.channel_error(channel, error))?;
        Ok(Start { position: place.position(), after: Timestamp(place.passed) })
    }
}
