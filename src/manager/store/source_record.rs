//! The stored form of what a task of a peer, or the opposite of another task, has beyond other tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{Channel, CollectionId, LogKind, Position, SourceSite, Timestamp};
use crate::task::noted_ends::NotedEnds;

/// What of it is none.
#[derive(Debug, thiserror::Error)]
pub enum SourceDefect {
    /// The site that it replicates from has no such name.
    #[error("source is {0:?}")]
    Site(String),
    /// The noted ends of a log are none.
    #[error("noted_ends has {0:?}")]
    NotedEnds(String),
}

/// Left out for `sourceConfig`, so that earlier versions can read a task that does not need it.
pub(super) fn site_of(source: &SourceSite) -> Option<String> {
    (*source != SourceSite::Here).then(|| source.name().to_owned())
}

/// The site of a stored task.
///
/// # Errors
/// [`SourceDefect::Site`]
pub(super) fn site(record: Option<String>) -> Result<SourceSite, SourceDefect> {
    let named = |name: String| SourceSite::named(&name).map_err(|_| SourceDefect::Site(name));
    record.map_or(Ok(SourceSite::Here), named)
}

/// Noted ends of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotedEndsRecord {
    log: String,
    at: u64,
    /// By channel the last message.
    ends: BTreeMap<String, Option<String>>,
    /// Ids at the source and on the target.
    collections: BTreeMap<i64, i64>,
}

impl From<&NotedEnds> for NotedEndsRecord {
    fn from(noted: &NotedEnds) -> Self {
        let end = |(channel, end): (&Channel, &Option<Position>)| (channel.to_string(), end.map(|end| end.to_string()));
        NotedEndsRecord {
            log: noted.log.name().to_owned(),
            at: noted.at.0,
            ends: noted.ends.iter().map(end).collect(),
            collections: noted.collections.iter().map(|(source, target)| (source.0, target.0)).collect(),
        }
    }
}

impl TryFrom<NotedEndsRecord> for NotedEnds {
    type Error = SourceDefect;

    fn try_from(record: NotedEndsRecord) -> Result<Self, SourceDefect> {
        let log = LogKind::named(&record.log).ok_or(SourceDefect::NotedEnds(record.log))?;
        let mut ends = BTreeMap::new();
        for (channel, end) in record.ends {
            let end = end.map(|end| end.parse().map_err(|_| SourceDefect::NotedEnds(end))).transpose()?;
            ends.insert(Channel::new(&channel), end);
        }
        let ids = |(source, target)| (CollectionId(source), CollectionId(target));
        let collections = record.collections.into_iter().map(ids).collect();
        Ok(NotedEnds { log, at: Timestamp(record.at), ends, collections })
    }
}
