//! Where reading can begin: at the end, as `FlushAll` tells it, and where a collection was made.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::decode;
use super::envelope::{self, Answer, Envelope, EnvelopeError};
use super::kind::Kind;
use super::message_id::{MessageId, Queue};
use super::place::Place;
use crate::domain::{Channel, CollectionId, Position, Timestamp};
use crate::milvus::wal::{DumpRequest, Next, Ready};
use crate::milvus::{CallContext, Client, Error};
use crate::source::message::Body;

/// How long the places of one `FlushAll` are good for: a copy that begins later only has a little more replayed over it.
const FRESH: Duration = Duration::from_secs(60);

/// What the last `FlushAll` told.
#[derive(Debug, Default)]
pub(super) struct Starts {
    told: Option<(Instant, BTreeMap<String, Place>)>,
    queue: Option<Queue>,
    /// When [`Starts::mark`] last tried.
    marked: Option<Instant>,
}

/// No place to begin at.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Call(#[from] Error),
    #[error("FlushAll: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("FlushAll has told nothing of this channel: it told of {0}")]
    UnknownChannel(String),
    #[error("FlushAll has told of no channel: the source is no Milvus 2.6.8 or later, or it has none yet")]
    NoChannels,
    #[error("{0}")]
    Birth(String),
}

impl Starts {
    /// The channel's end, as it was a minute ago at the most.
    pub(super) fn place(
        &mut self,
        client: &Client,
        context: &CallContext,
        channel: &Channel,
    ) -> Result<Place, StartError> {
        let places = self.fresh(client, context)?;
        places
            .get(channel.as_str())
            .cloned()
            .ok_or_else(|| StartError::UnknownChannel(places.keys().map(String::as_str).collect::<Vec<_>>().join(", ")))
    }

    /// The queue that the source keeps its log in.
    pub(super) fn queue(&mut self, client: &Client, context: &CallContext) -> Result<Queue, StartError> {
        if let Some(queue) = self.queue {
            return Ok(queue);
        }
        self.fresh(client, context)?;
        self.queue.ok_or(StartError::NoChannels)
    }

    /// Leaves a message on every channel, so that positions move on where nothing happens. Tried every few minutes at the most.
    pub(super) fn mark(&mut self, client: &Client, context: &CallContext) {
        const PAUSE: Duration = Duration::from_secs(600);
        if self.marked.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        self.marked = Some(Instant::now());
        self.told = None;
        if let Err(error) = self.fresh(client, context) {
            log::warn!("positions of idle channels cannot be renewed now: {error}");
        }
    }

    /// What was told may lie before a gap.
    pub(super) fn forget(&mut self) {
        self.told = None;
    }

    fn fresh(&mut self, client: &Client, context: &CallContext) -> Result<&BTreeMap<String, Place>, StartError> {
        if self.told.as_ref().is_none_or(|(at, _)| at.elapsed() > FRESH) {
            let asked = Instant::now();
            let answer = client.flush_all(context)?;
            let mut places = BTreeMap::new();
            for (channel, message) in &answer.flush_all_msgs {
                let Envelope { tick, last_confirmed: start, .. } = envelope::of_message(message)?;
                self.queue = Some(start.queue);
                places.insert(Envelope::pchannel(channel).to_owned(), Place { passed: tick, witness: tick, start });
            }
            if places.is_empty() {
                return Err(StartError::NoChannels);
            }
            log::info!("the source has sealed its growing segments and told the end of {} channels", places.len());
            self.told = Some((asked, places));
        }
        Ok(self.told.as_ref().map(|(_, places)| places).unwrap_or(&NONE))
    }
}

static NONE: BTreeMap<String, Place> = BTreeMap::new();

/// What a collection was made at, and the first message about it, may differ by this.
const MARGIN: Duration = Duration::from_secs(3);

/// Looks for the message that made a collection, from where the source says that it stands. `None` when the log does not have it
/// any more.
pub(super) fn birth(
    client: &Client,
    context: &CallContext,
    channel: &Channel,
    (queue, begins): (Queue, &[u8]),
    (collection, created): (CollectionId, Timestamp),
) -> Result<Option<Position>, StartError> {
    let Some(start) = MessageId::from_position(queue, begins) else { return Ok(None) };
    let (from, until) = (created.minus(MARGIN).0, created.plus(MARGIN).0);
    let wanted = DumpRequest { channel: channel.as_str(), start: (&start.text, queue.number()), from, until };
    let mut stream = client.dump_messages(wanted, &Ready::default())?;
    let deadline = Instant::now() + context.timeout + MARGIN;
    loop {
        match stream.poll() {
            Next::Answer(answer) => {
                let Answer::Message(message) = envelope::read(&answer)? else { continue };
                if is_birth(&message, collection) {
                    let place = Place { passed: message.tick - 1, witness: message.tick, start };
                    return Ok(place.position());
                }
            }
            Next::End => return Ok(None),
            Next::Broken(why) => return Err(client.dump_failed(channel.as_str(), why).into()),
            Next::Nothing if Instant::now() > deadline => {
                return Err(StartError::Birth(format!(
                    "DumpMessages does not answer where collection {collection} begins"
                )));
            }
            Next::Nothing => {
                if context.cancel.sleep(Duration::from_millis(5)) {
                    return Err(StartError::Birth("the task is stopping".into()));
                }
            }
        }
    }
}

fn is_birth(message: &Envelope, collection: CollectionId) -> bool {
    message.kind() == Kind::CreateCollection
        && matches!(decode::body(message), Ok(Body::CreateCollection(id)) if id == collection)
}
