//! Why no place to begin reading at could be found.

use super::super::decode::envelope::EnvelopeError;
use crate::domain::CollectionId;
use crate::milvus::Error;

/// No place to begin at.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalStartError {
    #[error(transparent)]
    Call(#[from] Error),
    #[error("FlushAll: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("FlushAll returned no position for this channel (only for {0})")]
    UnknownChannel(String),
    #[error("FlushAll returned no positions: the source is not Milvus 2.6.8 or later, or it has no channels yet")]
    NoChannels,
    #[error("DumpMessages did not answer the question where collection {0} begins")]
    Unanswered(CollectionId),
    #[error("the task is stopping")]
    Stopping,
}
