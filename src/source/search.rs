/*!
Looking for places in a broker's topic: where a collection begins, and where a copy's replay must begin. Brokers find a moment by
their messages' own timestamps, roughly; from there on the messages are read, and their ticks count.
*/

use std::time::Duration;

use super::log::{BIRTH_MARGIN, COPY_MARGIN, Start};
use super::message::{Body, Record};
use crate::domain::{CollectionId, Position, Timestamp};

/// How far back from the end the newest tick is looked for at first.
const NEWEST: Duration = Duration::from_secs(1);
/// By how much to look further back when a broker's clock has misled us.
const STEP: u32 = 8;

/// What to do after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    On,
    Enough,
}

/// A topic that is searched.
pub(super) trait Searched {
    /// What may go wrong.
    type Error;

    /// Its collection is there, so it must be: the brokers have yet to learn of it, or somebody has deleted it.
    fn absent(&self) -> Self::Error;

    /// The timestamp of the last message.
    fn last(&mut self) -> Result<Option<Timestamp>, Self::Error>;

    /// Shows the messages from about this moment on, up to what is the last one now, until `look` has had enough. Answers whether it
    /// began with the first that there is; `None`: there is no such topic.
    fn walk(&mut self, since: Timestamp, look: &mut dyn FnMut(&Record) -> Look) -> Result<Option<bool>, Self::Error>;
}

/// See [`super::Log::birth`].
pub(super) fn birth<T: Searched>(
    topic: &mut T,
    collection: CollectionId,
    created: Timestamp,
) -> Result<Option<Position>, T::Error> {
    let late = created.plus(BIRTH_MARGIN);
    let mut margin = BIRTH_MARGIN;
    loop {
        let (mut found, mut first_tick) = (None, None);
        let walked = topic.walk(created.minus(margin), &mut |record| {
            match record.body {
                Body::CreateCollection(id) if id == collection => found = Some(record.position),
                Body::Tick => drop(first_tick.get_or_insert(record.end)),
                _ => {}
            }
            let is_past = matches!(record.body, Body::Tick) && record.end > late;
            if found.is_some() || is_past { Look::Enough } else { Look::On }
        })?;
        let is_whole = walked.ok_or_else(|| topic.absent())?;
        // A first tick before the collection's creation shows that we began early enough.
        if found.is_some() || is_whole || first_tick.is_some_and(|tick| tick < created) {
            return Ok(found);
        }
        margin = margin.saturating_mul(STEP);
    }
}

/// See [`super::Log::shortly_before_tail`].
pub(super) fn shortly_before_tail<T: Searched>(topic: &mut T) -> Result<Start, T::Error> {
    let everything = Start { position: None, after: Timestamp::ZERO };
    let Some(newest) = newest_tick(topic)? else { return Ok(everything) };
    let after = newest.minus(COPY_MARGIN);
    let mut margin = COPY_MARGIN * 3;
    loop {
        let mut first = None;
        let walked = topic.walk(newest.minus(margin), &mut |record| match record.body {
            Body::Tick => {
                first = Some((record.position, record.end));
                Look::Enough
            }
            _ => Look::On,
        })?;
        if walked != Some(false) {
            return Ok(everything);
        }
        // What is later than `after` was not even asked for when a tick so much older was written.
        if let Some((position, tick)) = first
            && tick <= after.minus(COPY_MARGIN)
        {
            return Ok(Start { position: Some(position), after });
        }
        margin = margin.saturating_mul(STEP);
    }
}

/// The last tick, or nearly: looked for from further and further back.
fn newest_tick<T: Searched>(topic: &mut T) -> Result<Option<Timestamp>, T::Error> {
    let Some(last) = topic.last()? else { return Ok(None) };
    let mut back = NEWEST;
    loop {
        let mut newest = None;
        let walked = topic.walk(last.minus(back), &mut |record| {
            if matches!(record.body, Body::Tick) {
                newest = Some(record.end);
            }
            Look::On
        })?;
        if newest.is_some() || walked != Some(false) {
            return Ok(newest);
        }
        back = back.saturating_mul(STEP);
    }
}
