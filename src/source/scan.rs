//! A source without a log: it has no channels, so nothing is ever read. Its rows are compared instead (`task::follow`).

use super::log::{Log, LogError, Next, ReadEnd, Start};
use super::message::Record;
use crate::domain::{Channel, CollectionId, Position, Timestamp};

/// The log that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoLog;

impl Log for NoLog {
    fn refresh(&self) -> Result<bool, LogError> {
        Ok(false)
    }

    fn read(
        &self,
        _channel: &Channel,
        _next: Next,
        _max_bytes: usize,
        _visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        Ok(ReadEnd::AtTail)
    }

    fn birth(
        &self,
        _channel: &Channel,
        _collection: CollectionId,
        _created: Timestamp,
        _begins: Option<&[u8]>,
    ) -> Result<Option<Position>, LogError> {
        Ok(None)
    }

    fn tail(&self, _channel: &Channel) -> Result<Option<Position>, LogError> {
        Ok(None)
    }

    fn shortly_before_tail(&self, _channel: &Channel) -> Result<Start, LogError> {
        Ok(Start { position: None, after: Timestamp::ZERO })
    }
}
