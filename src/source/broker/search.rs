/*!
Searches a broker's topic for a place: where a collection begins, and where the replay of a backfill must begin.
Brokers find a moment only roughly, by the messages' own timestamps; from there on the messages are read, and their
ticks count.
*/

use std::ops::ControlFlow;
use std::time::Duration;

use crate::domain::{Body, Position, Record, Timestamp};
use crate::source::log::{COLLECTION_START_MARGIN, COPY_MARGIN, ReadTick, Start, StartQuery};

/// How far back from the end the search for the newest tick begins.
const NEWEST: Duration = Duration::from_secs(1);
/// Factor by which a search moves further back when the broker's clock has misled it.
const STEP: u32 = 8;

/// Looks at a message and tells whether to go on to the next.
pub(in crate::source) type LookAt<'a> = dyn FnMut(&Record) -> ControlFlow<()> + 'a;

/// Where a walk through a topic began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum WalkStart {
    /// At the first message that the topic has.
    First,
    /// At a later one.
    Later,
    /// There is no such topic.
    NoTopic,
}

/// A topic that can be searched.
pub(in crate::source) trait SearchableTopic {
    /// How a search fails.
    type Error;

    /// The topic must exist, since its collection does: the brokers have yet to learn of it, or somebody has deleted
    /// it.
    fn missing(&self) -> Self::Error;

    /// The timestamp of the last message.
    fn last(&mut self) -> Result<Option<Timestamp>, Self::Error>;

    /// Whether the topic still reaches back to this position.
    fn reaches_back_to(&mut self, position: Position) -> Result<bool, Self::Error>;

    /// The first message at this position or behind it.
    fn next_from(&mut self, position: Position) -> Result<Option<ReadTick>, Self::Error>;

    /// Shows the messages from about this moment on, up to the last at the time of the call, until `look` breaks off.
    fn walk(&mut self, since: Timestamp, look: &mut LookAt<'_>) -> Result<WalkStart, Self::Error>;
}

/// See [`crate::source::Log::collection_start`].
pub(in crate::source) fn collection_start<T: SearchableTopic>(
    topic: &mut T,
    query: &StartQuery<'_>,
) -> Result<Option<Position>, T::Error> {
    let late = query.created.plus(COLLECTION_START_MARGIN);
    let mut margin = COLLECTION_START_MARGIN;
    loop {
        let (mut found, mut first_tick) = (None, None);
        let began = topic.walk(query.created.minus(margin), &mut |record| {
            match record.body {
                Body::CreateCollection(id) if id == query.collection => found = Some(record.position),
                Body::Tick { .. } => drop(first_tick.get_or_insert(record.end)),
                _ => {}
            }
            let is_past = matches!(record.body, Body::Tick { .. }) && record.end > late;
            // What stops the task stops the search: behind it there is nothing that can be read.
            if found.is_some() || is_past || matches!(record.body, Body::Stop(_)) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if began == WalkStart::NoTopic {
            return Err(topic.missing());
        }
        // A first tick before the collection's creation proves that the walk began early enough.
        let is_early = began == WalkStart::First || first_tick.is_some_and(|tick| tick < query.created);
        if found.is_some() || is_early {
            return Ok(found);
        }
        margin = margin.saturating_mul(STEP);
    }
}

/// See [`crate::source::Log::shortly_before_tail`].
pub(in crate::source) fn shortly_before_tail<T: SearchableTopic>(topic: &mut T) -> Result<Start, T::Error> {
    let Some(newest) = newest_tick(topic)? else { return everything(topic) };
    let after = newest.minus(COPY_MARGIN);
    let mut margin = COPY_MARGIN * 3;
    loop {
        let mut first = None;
        let began = topic.walk(newest.minus(margin), &mut |record| match record.body {
            Body::Tick { resume } => {
                first = Some((record.position, resume, record.end));
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        })?;
        if began != WalkStart::Later {
            return everything(topic);
        }
        // Writes later than `after` had not even been requested when a tick so much older was written.
        if let Some((position, resume, tick)) = first
            && tick <= after.minus(COPY_MARGIN)
        {
            let position = match resume {
                Some(resume) if topic.reaches_back_to(resume)? => resume,
                _ => position,
            };
            return Ok(Start { position: Some(position), after });
        }
        margin = margin.saturating_mul(STEP);
    }
}

/// See [`crate::source::Log::is_rolled_back`]. What stands in the tick's place and is later than the tick was written
/// since: the topic goes on from where it was restored.
pub(in crate::source) fn is_rolled_back<T: SearchableTopic>(topic: &mut T, read: ReadTick) -> Result<bool, T::Error> {
    match topic.next_from(read.position)? {
        Some(next) if next.position == read.position => Ok(next.time > read.time),
        // Else retention has removed it, with all that came before.
        Some(_) | None => topic.reaches_back_to(read.position),
    }
}

/// All that the topic has, beginning with its first message by name: what is removed until it is read must be missed.
fn everything<T: SearchableTopic>(topic: &mut T) -> Result<Start, T::Error> {
    let mut position = None;
    topic.walk(Timestamp::ZERO, &mut |record| {
        position = Some(record.position);
        ControlFlow::Break(())
    })?;
    Ok(Start { position, after: Timestamp::ZERO })
}

/// The last tick, or one shortly before: searched for from further and further back.
fn newest_tick<T: SearchableTopic>(topic: &mut T) -> Result<Option<Timestamp>, T::Error> {
    let Some(last) = topic.last()? else { return Ok(None) };
    let mut back = NEWEST;
    loop {
        let mut newest = None;
        let began = topic.walk(last.minus(back), &mut |record| {
            match record.body {
                Body::Tick { .. } => newest = Some(record.end),
                Body::Stop(_) => return ControlFlow::Break(()),
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        if newest.is_some() || began != WalkStart::Later {
            return Ok(newest);
        }
        back = back.saturating_mul(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A FAKE topic: the messages that it has, with their times. No broker can be made to lose and to give out numbers
    /// again at will.
    struct Messages(&'static [(u64, u64)]);

    impl SearchableTopic for Messages {
        type Error = std::convert::Infallible;

        fn missing(&self) -> Self::Error {
            unreachable!("it is there")
        }
        fn last(&mut self) -> Result<Option<Timestamp>, Self::Error> {
            Ok(self.0.last().map(|(_, time)| Timestamp(*time)))
        }
        fn reaches_back_to(&mut self, position: Position) -> Result<bool, Self::Error> {
            Ok(self.0.first().is_some_and(|(first, _)| Position::at(*first) <= position))
        }
        fn next_from(&mut self, position: Position) -> Result<Option<ReadTick>, Self::Error> {
            let placed = |&(at, time)| ReadTick { position: Position::at(at), time: Timestamp(time) };
            Ok(self.0.iter().map(placed).find(|next| next.position >= position))
        }
        fn walk(&mut self, _: Timestamp, _: &mut LookAt<'_>) -> Result<WalkStart, Self::Error> {
            unreachable!("not asked")
        }
    }

    #[test]
    fn a_topic_that_lacks_what_was_read_but_not_what_came_before_is_rolled_back() {
        let read = ReadTick { position: Position::at(8), time: Timestamp(80) };
        let is_rolled_back = |messages| is_rolled_back(&mut Messages(messages), read).unwrap();
        assert!(!is_rolled_back(&[(7, 70), (8, 80), (9, 90)]));
        assert!(!is_rolled_back(&[(7, 70), (8, 75)]), "the message that an idle channel's tick stands at");
        assert!(is_rolled_back(&[(6, 60), (7, 70)]), "it ends before");
        assert!(is_rolled_back(&[(7, 70), (8, 200), (9, 210)]), "and went on since, in the same place");
        assert!(is_rolled_back(&[(7, 70), (20, 200)]), "or in another one");
        assert!(!is_rolled_back(&[(9, 90)]) && !is_rolled_back(&[]), "retention has removed it");
    }
}
