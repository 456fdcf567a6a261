//! A collection as the catalog carried it over.

use std::sync::Arc;

use super::row_source::RowSource;
use crate::catalog::ReadyCollection;
use crate::domain::{Channel, CollectionName};
use crate::pipeline::WritableCollection;

/// What the catalog told of a collection.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) info: Arc<WritableCollection>,
    pub(super) source: CollectionName,
    pub(super) channels: Vec<Channel>,
    /// It was on the target before the task.
    pub(super) adopted: bool,
}

impl Described {
    /// With what only the task knows: where the collection's rows come from.
    pub(super) fn new(ready: ReadyCollection, rows: &RowSource) -> Described {
        let ReadyCollection { info, source, channels, adopted, .. } = ready;
        Described { info: Arc::new(with_upserts(info, rows)), source, channels, adopted }
    }

    /// The same when the rows come from elsewhere.
    pub(super) fn with_rows(&self, rows: &RowSource) -> Described {
        Described { info: Arc::new(with_upserts((*self.info).clone(), rows)), ..self.clone() }
    }
}

/// The positions up to which rows go in as upserts are the task's own; the catalog does not know them.
fn with_upserts(mut info: WritableCollection, rows: &RowSource) -> WritableCollection {
    info.upsert_until = match rows {
        RowSource::Streaming(channels) => {
            channels.iter().filter_map(|(channel, it)| Some((channel.clone(), it.upsert_until?))).collect()
        }
        RowSource::Backfill { .. } | RowSource::Rescan => Default::default(),
    };
    info
}
