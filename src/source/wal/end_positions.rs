//! The ends of the channels, as `FlushAll` returns them: where a backfill's replay begins.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::error::WalStartError;
use super::resume_point::ResumePoint;
use crate::domain::Channel;
use crate::milvus::{CallContext, Client};
use crate::source::decode::envelope::{self, Envelope};
use crate::source::decode::wal_message_id::Queue;

/// How long the positions of one `FlushAll` are used: a backfill that begins later only replays a little more.
const FRESH: Duration = Duration::from_secs(60);

/// What the last `FlushAll` returned.
#[derive(Debug, Default)]
pub(super) struct EndPositions {
    known: Option<KnownEnds>,
    queue: Option<Queue>,
    /// When [`EndPositions::renew_idle`] was last tried.
    renewed: Option<Instant>,
}

#[derive(Debug)]
struct KnownEnds {
    asked: Instant,
    ends: BTreeMap<String, ResumePoint>,
}

impl EndPositions {
    /// The channel's end, at most a minute ago.
    pub(super) fn of(
        &mut self,
        client: &Client,
        context: &CallContext,
        channel: &Channel,
    ) -> Result<ResumePoint, WalStartError> {
        let ends = &self.fresh(client, context)?.ends;
        ends.get(channel.as_str()).cloned().ok_or_else(|| {
            let known: Vec<&str> = ends.keys().map(String::as_str).collect();
            WalStartError::UnknownChannel(known.join(", "))
        })
    }

    /// Every channel's end as last asked for.
    pub(super) fn known(&self) -> impl Iterator<Item = (&str, &ResumePoint)> {
        self.known.iter().flat_map(|known| known.ends.iter().map(|(channel, end)| (channel.as_str(), end)))
    }

    /// The queue that the source keeps its log in.
    pub(super) fn queue(&mut self, client: &Client, context: &CallContext) -> Result<Queue, WalStartError> {
        if let Some(queue) = self.queue {
            return Ok(queue);
        }
        self.fresh(client, context)?;
        self.queue.ok_or(WalStartError::NoChannels)
    }

    /// Makes the source write a message to every channel, so that the positions of idle channels advance. Does so every
    /// ten minutes at most.
    pub(super) fn renew_idle(&mut self, client: &Client, context: &CallContext) {
        const PAUSE: Duration = Duration::from_secs(600);
        if self.renewed.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        self.renewed = Some(Instant::now());
        self.known = None;
        if let Err(error) = self.fresh(client, context) {
            log::warn!("cannot renew the positions of idle channels, will retry: {error}");
        }
    }

    /// Forgets the positions, because they may lie before a gap.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// A channel of the source's goes on in this queue now: what is known counts in the one before, unless it was asked
    /// for since.
    pub(super) fn queue_changed(&mut self, queue: Queue) {
        let mut ends = self.known.iter().flat_map(|known| known.ends.values());
        if self.queue != Some(queue) || ends.any(|end| end.start.queue != queue) {
            (self.known, self.queue) = (None, None);
        }
    }

    fn fresh(&mut self, client: &Client, context: &CallContext) -> Result<&KnownEnds, WalStartError> {
        let known = match self.known.take() {
            Some(known) if known.asked.elapsed() <= FRESH => known,
            _ => self.ask(client, context)?,
        };
        Ok(self.known.insert(known))
    }

    fn ask(&mut self, client: &Client, context: &CallContext) -> Result<KnownEnds, WalStartError> {
        let asked = Instant::now();
        let answer = client.flush_all(context)?;
        let mut ends = BTreeMap::new();
        for (channel, message) in &answer.flush_all_msgs {
            let Envelope { tick, last_confirmed: start, .. } = envelope::of_message(message)?;
            self.queue = Some(start.queue);
            let end = ResumePoint { passed: tick, witness: tick, start };
            ends.insert(Envelope::pchannel(channel).to_owned(), end);
        }
        if ends.is_empty() {
            return Err(WalStartError::NoChannels);
        }
        log::info!("FlushAll sealed the growing segments; got the end positions of {} channels", ends.len());
        Ok(KnownEnds { asked, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_that_moves_to_the_same_queue_forgets_nothing_more() {
        let mut ends = EndPositions { queue: Some(Queue::Pulsar), ..EndPositions::default() };
        ends.queue_changed(Queue::Woodpecker);
        assert_eq!(ends.queue, None);
        let known = || KnownEnds { asked: Instant::now(), ends: BTreeMap::new() };
        (ends.queue, ends.known) = (Some(Queue::Woodpecker), Some(known()));
        ends.queue_changed(Queue::Woodpecker);
        assert!(ends.known.is_some(), "the next channel comes to the same move");
    }
}
