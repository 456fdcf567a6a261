/*!
The log of Milvus 2.6.20 and later, and of 3.x, over the public API: `DumpMessages` sends the messages of one physical
channel in the order of their ticks. How a channel is read is in `reading`, what a position means in `place`.

Where a log begins to be read comes from `FlushAll`, which leaves a message on every channel and answers where. It makes
the source seal what it holds, so it is called only when a copy begins or a log has a gap, and not again within a minute.
*/

mod clock;
mod decode;
mod envelope;
mod kind;
mod message_id;
mod place;
mod probe;
mod reading;
mod starts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::clock::{Clock, Moment};
use self::place::Place;
use self::reading::{Reading, Step};
use self::starts::Starts;
use super::log::{Log, LogError, Next, ReadEnd, Start};
use super::message::{Body, Record};
use crate::domain::{Channel, CollectionId, Position, Timestamp};
use crate::milvus::wal::{self, DumpRequest, DumpStream, Ready};
use crate::milvus::{CallContext, Cancel, Client, Error, ErrorKind};

pub use self::decode::{Complete, Headless, Transactions, body};
pub use self::envelope::{Answer, Broadcast, Envelope, EnvelopeError, of_message, read as read_answer};
pub use self::kind::{Kind, Place as CollectionPlace};
pub use self::message_id::{MessageId, Queue, UnknownId};
pub use self::probe::{Unusable, probe};

/// The write-ahead log of a source.
pub struct Wal {
    client: Arc<Client>,
    context: CallContext,
    ready: Ready,
    clock: Clock,
    starts: Mutex<Starts>,
    readings: Mutex<BTreeMap<Channel, Open>>,
    looked: Mutex<Instant>,
}

/// A channel that is being read.
struct Open {
    reading: Reading,
    /// When it was last looked at.
    polled: Instant,
    /// Of the reading's window.
    stream: Option<DumpStream>,
}

/// One question; the task's thread may be waiting for the answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A channel on which nothing has happened for so long gets a message from `FlushAll`: the last one may soon be removed by the
/// source's retention (72 h unless told otherwise), and a restart could not tell that nothing else was.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// A channel that was left alone for so long (nobody took what it has: the target is away) may have lost messages meanwhile. No source keeps
/// them for less; and a reader that has many channels behind does not come by more often.
const LEFT_ALONE: Duration = Duration::from_secs(600);
/// How often every channel is looked at without a sign from any.
const LOOK: Duration = Duration::from_millis(500);

impl Wal {
    /// A log that is read through this connection.
    pub(super) fn new(client: &Arc<Client>, cancel: &Cancel) -> Wal {
        let context = CallContext { timeout: CALL_TIMEOUT, cancel: cancel.clone() };
        Wal {
            client: Arc::clone(client),
            context,
            ready: Ready::default(),
            clock: Clock::default(),
            starts: Mutex::new(Starts::default()),
            readings: Mutex::new(BTreeMap::new()),
            looked: Mutex::new(Instant::now()),
        }
    }

    fn fail(&self, channel: &Channel, detail: impl std::fmt::Display) -> LogError {
        LogError { place: format!("{channel} at {}", self.client.address()), detail: detail.to_string() }
    }

    fn failed(&self, error: &Error) -> LogError {
        LogError { place: format!("at {}", self.client.address()), detail: error.to_string() }
    }

    fn now(&self) -> Result<Moment, LogError> {
        self.clock.now(&self.client, &self.context).map_err(|error| self.failed(&error))
    }

    fn open(&self, channel: &Channel, reading: &mut Reading) -> Result<DumpStream, LogError> {
        let end = reading.next_end(self.now()?.time);
        let place = reading.place();
        let start = (place.start.text.as_str(), place.start.queue.number());
        let wanted = DumpRequest { channel: channel.as_str(), start, from: reading.next_begin(), until: end };
        let stream = self.client.dump_messages(wanted, &self.ready).map_err(|error| self.fail(channel, error))?;
        reading.opened(end);
        Ok(stream)
    }

    /// Reads until `max_bytes` have come or nothing more is there at the moment.
    fn drain(
        &self,
        channel: &Channel,
        Open { reading, stream, .. }: &mut Open,
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
                        return Err(self.fail(channel, "DumpMessages ended before its time"));
                    }
                    reading.ended()
                }
                wal::Next::Nothing => return self.at_rest(channel, reading),
                wal::Next::Broken(why) => return self.broken(channel, reading, why, visit),
            };
            match step {
                Step::Next => {}
                Step::Gap(why) => {
                    log::error!("{}", self.fail(channel, why));
                    self.starts.lock().forget();
                    return Ok(ReadEnd::Gap);
                }
                Step::Nonsense(why) => return Err(self.fail(channel, why)),
            }
            if bytes >= max_bytes {
                return Ok(ReadEnd::More);
            }
        }
    }

    /// A server that shuts down may end a stream as if all had been sent. A real end comes with a tick behind the window.
    /// (What passes for one because its window is over meanwhile shows with the next window: see `Reading::next_begin`.)
    fn is_early(&self, reading: &Reading) -> Result<bool, LogError> {
        if !reading.ends_after(self.now()?.time) {
            return Ok(false);
        }
        // What we count on from may have been long on its way.
        let now = self.clock.ask(&self.client, &self.context).map_err(|error| self.failed(&error))?;
        Ok(now.told && reading.ends_after(now.time))
    }

    fn at_rest(&self, channel: &Channel, reading: &mut Reading) -> Result<ReadEnd, LogError> {
        let now = self.now()?.time;
        if let Some(silent) = reading.hung(now) {
            return Err(self.fail(
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
            self.starts.lock().mark(&self.client, &self.context);
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
        Err(self.fail(channel, error))
    }
}

impl Log for Wal {
    fn refresh(&self) -> Result<bool, LogError> {
        let mut looked = self.looked.lock();
        let due = looked.elapsed() >= LOOK;
        if due {
            *looked = Instant::now();
        }
        Ok(self.ready.take() || due)
    }

    fn read(
        &self,
        channel: &Channel,
        next: Next,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let wanted = match next {
            Next::At(position) | Next::After(position) => Place::of(position),
            Next::First => None,
        };
        let wanted = wanted.ok_or_else(|| self.fail(channel, "there is no such place to read from"))?;
        let known = self.readings.lock().remove(channel);
        let mut open = known.filter(|open| *open.reading.place() == wanted).unwrap_or_else(|| Open {
            reading: Reading::at(wanted),
            polled: Instant::now(),
            stream: None,
        });
        if open.polled.elapsed() > LEFT_ALONE {
            // The next window begins with the message that has to be there.
            open.stream = None;
            open.reading.close();
        }
        open.polled = Instant::now();
        let before = open.reading.place().clone();
        let end = self.drain(channel, &mut open, max_bytes, &mut |record| {
            // A copy that heals this must not begin before it: it would be read again, and healed again.
            if matches!(record.body, Body::Compare { .. }) {
                self.starts.lock().forget();
            }
            visit(record);
        });
        if *open.reading.place() != before
            && let Some(tick) = open.reading.tick()
        {
            visit(tick);
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

    fn birth(
        &self,
        channel: &Channel,
        collection: CollectionId,
        created: Timestamp,
        begins: Option<&[u8]>,
    ) -> Result<Option<Position>, LogError> {
        let Some(begins) = begins.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        let queue = self.starts.lock().queue(&self.client, &self.context).map_err(|error| self.fail(channel, error))?;
        let found = starts::birth(&self.client, &self.context, channel, (queue, begins), (collection, created));
        found.map_err(|error| self.fail(channel, error))
    }

    /// A position to compare with: nobody but the source knows its last message.
    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError> {
        let now = self.clock.ask(&self.client, &self.context).map_err(|error| self.fail(channel, error))?;
        Ok(Some(place::behind(now.time.0)))
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        let place = self.starts.lock().place(&self.client, &self.context, channel);
        let place = place.map_err(|error| self.fail(channel, error))?;
        Ok(Start { position: place.position(), after: Timestamp(place.passed) })
    }
}
