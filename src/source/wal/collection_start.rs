/*!
Finds the message that created a collection.

Servers from 2.6 on do not report where a collection begins in the log. Its creation time is known, and messages of a
time can be asked for; what is needed is a place before them to begin at. Several are tried, the cheapest first.
*/

use std::time::Duration;

use super::error::WalStartError;
use super::question::{DumpReply, Questioner, TickRange};
use super::resume_point::ResumePoint;
use crate::domain::{Body, CollectionId, Position};
use crate::source::decode::envelope::Envelope;
use crate::source::decode::wal_kind::WalKind;
use crate::source::decode::wal_message;
use crate::source::decode::wal_message_id::{Queue, WalMessageId};
use crate::source::log::StartQuery;

/// A collection's creation time and the tick of its `CreateCollection` may differ by this. (On 2.6.20 and 3.0 they were
/// the same but for a few of the counter's units.)
pub(super) const MARGIN: Duration = Duration::from_secs(3);
/// How long a place that is close to the creation may take.
const CLOSE: Duration = Duration::from_secs(5);
/// How long the oldest place may take: the server reads through all messages up to the creation.
const FAR: Duration = Duration::from_secs(20);

/// Reading from here on begins behind the truncation point of Woodpecker: what lies before it has been flushed.
pub(super) const BEHIND_TRUNCATION: &str = "CAAQAA==";
/// Pulsar's oldest message.
const OLDEST_OF_PULSAR: &str = "CP///////////wEQ////////////ARj///////////8BIP///////////wE=";

/// A place to search from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SearchPlace {
    /// The id that reading begins at.
    pub(super) id: String,
    /// The number of its queue.
    pub(super) queue: i32,
    /// What it is, for the log line about a search in vain.
    pub(super) what: &'static str,
    patience: Duration,
    /// Silence there means that the messages have been deleted.
    may_be_deleted: bool,
    /// Nothing lies before it: what is silent here is silent for every later collection.
    is_deepest: bool,
}

impl SearchPlace {
    fn of(id: &WalMessageId, what: &'static str) -> SearchPlace {
        let may_be_deleted = id.queue == Queue::Woodpecker;
        let queue = id.queue.number();
        SearchPlace { id: id.text.clone(), queue, what, patience: CLOSE, may_be_deleted, is_deepest: false }
    }

    fn oldest(queue: Queue, id: &str, what: &'static str) -> SearchPlace {
        let queue = queue.number();
        SearchPlace { id: id.into(), queue, what, patience: FAR, may_be_deleted: false, is_deepest: false }
    }

    fn deepest(self) -> SearchPlace {
        SearchPlace { is_deepest: true, ..self }
    }
}

/// The known places from which a collection's beginning may be found.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownPlaces<'a> {
    pub(super) queue: Queue,
    /// The start position that the source reports.
    pub(super) reported: Option<&'a WalMessageId>,
    /// A place that was read before the collection was created.
    pub(super) earlier: Option<&'a ResumePoint>,
    /// The deepest place said nothing when it was asked about a collection that is not younger.
    pub(super) deepest_is_silent: bool,
}

impl KnownPlaces<'_> {
    /// All of them, in the order in which they are tried.
    pub(super) fn in_turn(self) -> Vec<SearchPlace> {
        let reported = self.reported.map(|id| SearchPlace::of(id, "the reported start position"));
        let earlier = self.earlier.map(|place| SearchPlace::of(&place.start, "a place that was read earlier"));
        let deepest =
            deepest_places(self.queue).into_iter().filter(|place| !place.is_deepest || !self.deepest_is_silent);
        reported.into_iter().chain(earlier).chain(deepest).collect()
    }
}

/// Where the oldest messages of a queue are found, in the order in which they are tried.
pub(super) fn deepest_places(queue: Queue) -> Vec<SearchPlace> {
    let oldest = |id| SearchPlace::oldest(queue, id, "the oldest message").deepest();
    match queue {
        Queue::RocksMq | Queue::Kafka => vec![oldest("0")],
        Queue::Pulsar => vec![oldest(OLDEST_OF_PULSAR)],
        Queue::Woodpecker => vec![
            SearchPlace::oldest(queue, BEHIND_TRUNCATION, "the truncation point"),
            SearchPlace::of(&WalMessageId::first_of_woodpecker(), "the first entry").deepest(),
        ],
    }
}

/// Where a collection begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CollectionStart {
    /// Its `CreateCollection`.
    At(Position),
    /// It cannot be reached.
    Unreachable {
        /// What each of the places answered.
        why: String,
        /// Whether the deepest place was asked and said nothing.
        deepest_is_silent: bool,
    },
}

/// The position of the collection's `CreateCollection`, searched from each of the `places` in turn.
pub(super) fn collection_start(
    questioner: Questioner<'_>,
    query: &StartQuery<'_>,
    places: &[SearchPlace],
) -> Result<CollectionStart, WalStartError> {
    let (from, until) = (query.created.minus(MARGIN).0, query.created.plus(MARGIN).0);
    search(places, query.collection, |place| {
        let start = (place.id.as_str(), place.queue);
        let range = TickRange { from, until, patience: place.patience };
        let reply = questioner.find(start, range, |message| creates(message, query.collection))?;
        // A server that is silent about everything hangs, and is asked again later.
        if matches!(reply, DumpReply::Silence) && !place.may_be_deleted && !questioner.is_served(start)? {
            return Err(WalStartError::Unanswered(query.collection));
        }
        Ok(reply)
    })
}

fn search(
    places: &[SearchPlace],
    collection: CollectionId,
    mut ask: impl FnMut(&SearchPlace) -> Result<DumpReply, WalStartError>,
) -> Result<CollectionStart, WalStartError> {
    let mut in_vain: Vec<String> = Vec::new();
    let mut deepest_is_silent = false;
    for place in places {
        match ask(place)? {
            DumpReply::Found(message) => {
                // The server finds it from its own last confirmed id on, wherever the search began.
                let start = message.last_confirmed.clone();
                let found = ResumePoint { passed: message.tick - 1, witness: message.tick, start };
                return found.position().map(CollectionStart::At).ok_or(WalStartError::Unanswered(collection));
            }
            DumpReply::NotThere => in_vain.push(format!("it does not come after {}", place.what)),
            DumpReply::Silence => {
                deepest_is_silent |= place.is_deepest;
                in_vain.push(format!("nothing came from {} for {} s", place.what, place.patience.as_secs()));
            }
        }
    }
    if in_vain.is_empty() {
        in_vain.push("nothing came from the oldest message when an earlier collection was searched for".to_owned());
    }
    Ok(CollectionStart::Unreachable { why: in_vain.join(", "), deepest_is_silent })
}

/// Whether the message is the creation of the collection on one of its own channels.
fn creates(message: &Envelope, collection: CollectionId) -> bool {
    message.kind() == WalKind::CreateCollection
        && !message.is_of_control()
        && matches!(wal_message::body(message), Ok(Body::CreateCollection(id)) if id == collection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn places(queue: Queue) -> KnownPlaces<'static> {
        KnownPlaces { queue, reported: None, earlier: None, deepest_is_silent: false }
    }

    fn what(places: &[SearchPlace]) -> Vec<&'static str> {
        places.iter().map(|place| place.what).collect()
    }

    fn woodpecker(tick: u64) -> ResumePoint {
        ResumePoint { passed: tick, witness: tick, start: WalMessageId::first_of_woodpecker() }
    }

    #[test]
    fn the_cheapest_place_is_tried_first_and_the_deepest_last() {
        let (earlier, reported) = (woodpecker(7), WalMessageId::first_of_woodpecker());
        let all = KnownPlaces { earlier: Some(&earlier), reported: Some(&reported), ..places(Queue::Woodpecker) };
        let expected =
            ["the reported start position", "a place that was read earlier", "the truncation point", "the first entry"];
        assert_eq!(what(&all.in_turn()), expected);
        assert_eq!(what(&KnownPlaces { deepest_is_silent: true, ..all }.in_turn()), &expected[..3]);
        for (queue, id) in [(Queue::RocksMq, "0"), (Queue::Kafka, "0"), (Queue::Pulsar, OLDEST_OF_PULSAR)] {
            let places = places(queue).in_turn();
            assert_eq!((places.len(), places[0].id.as_str()), (1, id));
        }
    }

    #[test]
    fn what_cannot_be_reached_is_told_place_by_place() {
        let places = places(Queue::Woodpecker).in_turn();
        let reply = |place: &SearchPlace| match place.id.as_str() {
            BEHIND_TRUNCATION => Ok(DumpReply::NotThere),
            _ => Ok(DumpReply::Silence),
        };
        let told = search(&places, CollectionId(1), reply).unwrap();
        let why = "it does not come after the truncation point, nothing came from the first entry for 5 s";
        assert_eq!(told, CollectionStart::Unreachable { why: why.into(), deepest_is_silent: true });
        let hangs = search(&places, CollectionId(1), |_| Err(WalStartError::Unanswered(CollectionId(1))));
        assert!(hangs.is_err(), "asked again later, and not copied");
    }

    #[test]
    fn a_log_that_is_too_long_is_read_through_once() {
        let all = places(Queue::Kafka);
        let told = search(&all.in_turn(), CollectionId(1), |_| Ok(DumpReply::Silence)).unwrap();
        let why = "nothing came from the oldest message for 20 s".to_owned();
        assert_eq!(told, CollectionStart::Unreachable { why, deepest_is_silent: true });
        let later = KnownPlaces { deepest_is_silent: true, ..all }.in_turn();
        let told = search(&later, CollectionId(2), |_| panic!("nothing is asked")).unwrap();
        let CollectionStart::Unreachable { why, deepest_is_silent: false } = told else { panic!("{told:?}") };
        assert!(why.contains("when an earlier collection was searched for"), "{why}");
    }

    #[test]
    fn what_is_found_is_read_from_its_own_last_confirmed_id() {
        let places = places(Queue::Woodpecker).in_turn();
        let place = Timestamp(9).0;
        let found = search(&places, CollectionId(1), |_| Ok(DumpReply::Found(Box::new(created_at(place))))).unwrap();
        let CollectionStart::At(position) = found else { panic!("{found:?}") };
        let start = WalMessageId { queue: Queue::Woodpecker, text: "CAwQ2QI=".into() };
        assert_eq!(ResumePoint::of(position), Some(ResumePoint { passed: place - 1, witness: place, start }));
    }

    fn created_at(tick: u64) -> Envelope {
        let id = WalMessageId { queue: Queue::Woodpecker, text: "CAwQ2QI=".into() };
        Envelope {
            last_confirmed: id.clone(),
            id,
            number: 5,
            tick,
            vchannel: String::new(),
            header: Vec::new(),
            txn: None,
            broadcast: None,
            encrypted: false,
            replicated: false,
            mark: None,
            is_chunk: false,
            txn_keepalive_ms: 0,
            payload: bytes::Bytes::new(),
        }
    }
}
