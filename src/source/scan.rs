//! A source without a log: it has no channels, so nothing is ever read. The task compares rows instead.

use super::log::{Log, LogError, ReadEnd, ReadFrom, Refreshed, Start, StartQuery};
use crate::domain::{Channel, Position, Record, Timestamp};

/// An empty log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoLog;

impl Log for NoLog {
    fn refresh(&self) -> Result<Refreshed, LogError> {
        Ok(Refreshed::Unchanged)
    }

    fn read(
        &self,
        _channel: &Channel,
        _next: ReadFrom,
        _max_bytes: usize,
        _visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        Ok(ReadEnd::AtTail)
    }

    fn collection_start(&self, _channel: &Channel, _query: &StartQuery<'_>) -> Result<Option<Position>, LogError> {
        Ok(None)
    }

    fn tail(&self, _channel: &Channel) -> Result<Option<Position>, LogError> {
        Ok(None)
    }

    fn shortly_before_tail(&self, _channel: &Channel) -> Result<Start, LogError> {
        Ok(Start { position: None, after: Timestamp::ZERO })
    }
}
