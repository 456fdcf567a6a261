//! Checks the source's log: which kind, and how far back it reaches.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::collections::CheckedCollection;
use super::report::PreflightReport;
use crate::catalog::LoggedAnnouncement;
use crate::config::Config;
use crate::domain::{Body, Channel, LogKind, Timestamp};
use crate::milvus::{Cancel, Client, ConnectOptions};
use crate::source::{self, LogAccess, LogError, LogRetention, OpenError, OpenLog, ReadFrom, StartQuery, log_settings};

const LOG: &str = "log";
const RETENTION: &str = "retention";
const OTHER_LOG: &str = "check that sourceConfig.milvus and the log in sourceConfig are of one and the same Milvus";
/// How often, and with which pause in between, the first message of a channel is polled.
const MESSAGE_TRIES: usize = 20;
const MESSAGE_PAUSE: Duration = Duration::from_millis(100);

/// The log, opened for this check.
pub(super) struct Opened {
    log: OpenLog,
    _own: Scratch,
}

/// A temporary folder for files that opening the log creates; removed after the check.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn make() -> std::io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("milvus-cdc-check-{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The system cleans its temporary folder; nothing depends on these files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Chooses and opens the log.
pub(super) fn open(config: &Config, report: &mut PreflightReport) -> Option<Opened> {
    // A failure to connect is reported with the source.
    let client = Arc::new(Client::open(&ConnectOptions::from(&config.source.endpoint)).ok()?);
    let own = match Scratch::make() {
        Ok(own) => own,
        Err(error) => {
            let text = format!("cannot create a temporary folder: {error}");
            report.problem(LOG, text, "give this user write access to the folder named by TMPDIR, or to /tmp");
            return None;
        }
    };
    match source::open(&log_settings(&config.source), &client, &Cancel::default(), &own.0) {
        Ok(log) if let Ok(LogAccess::Denied(why)) = log.log.access() => {
            report.problem(LOG, why, "grant them at the source");
            None
        }
        Ok(log) => {
            report.good(LOG, format!("`{}` can be read: {}", log.kind.name(), log.why));
            Some(Opened { log, _own: own })
        }
        Err(error @ (OpenError::Unconfigured(_) | OpenError::Unusable(_))) => {
            report.problem(LOG, error.to_string(), "correct the setting that it names in the configuration");
            None
        }
        Err(OpenError::Unreachable(error)) => {
            let remedy = "correct the address or path in sourceConfig, start the service, or give this user the right \
                          to read it";
            report.problem(LOG, error.to_string(), remedy);
            None
        }
    }
}

/// What the log holds of the collections.
#[derive(Debug, Default)]
struct Reach {
    /// Channels that the log does not have.
    empty: Vec<String>,
    /// Collections whose creation is missing although the log reaches back further.
    unknown: Vec<String>,
    /// Number of collections whose beginning the log no longer has.
    lost: usize,
    /// Those among them that are not loaded, so that a backfill has to wait.
    unreadable: Vec<String>,
    /// The oldest message on the channel that reaches back least.
    since: Option<Timestamp>,
}

/// What comes in on the channel of users' requests.
pub(super) struct Requests<'a> {
    log: &'a OpenLog,
    channel: Channel,
    next: ReadFrom,
}

impl Requests<'_> {
    /// The databases that were created since the last call, with the marks of their requests.
    pub(super) fn created_databases(&mut self) -> Vec<LoggedAnnouncement> {
        const TURN: usize = 1 << 20;
        let (mut created, mut next) = (Vec::new(), self.next);
        let log = &self.log.log;
        let read = log.refresh().and_then(|_| {
            log.read(&self.channel, next, TURN, &mut |record| {
                next = ReadFrom::After(record.position);
                if let Body::CreateDatabase(name) = record.body {
                    created.push(LoggedAnnouncement { name, mark: record.mark });
                }
            })
        });
        self.next = next;
        if let Err(error) = read {
            log::debug!("{error}");
        }
        created
    }
}

impl Opened {
    /// Its kind.
    pub(super) fn kind(&self) -> LogKind {
        self.log.kind
    }

    /// Reads the channel of users' requests from its present end on.
    pub(super) fn requests(&self, channel: Channel) -> Requests<'_> {
        let end = self.log.log.tail(&channel).ok().flatten();
        Requests { log: &self.log, channel, next: end.map_or(ReadFrom::First, ReadFrom::After) }
    }

    /// Reports whether the log belongs to the source, which collections need a backfill, and what a pause would cost.
    pub(super) fn judge(&self, found: &[CheckedCollection], pause: Duration, report: &mut PreflightReport) {
        if self.log.kind == LogKind::Scan {
            return judge_scan(found, report);
        }
        let reach = match self.reach(found) {
            Ok(reach) => reach,
            Err(error) => {
                return report.problem(LOG, error.to_string(), "check that this user may read the whole log");
            }
        };
        if !reach.empty.is_empty() {
            let text =
                format!("the log has nothing of {}, which the source's collections live on", reach.empty.join(", "));
            report.problem(LOG, text, OTHER_LOG);
        }
        if !reach.unknown.is_empty() {
            let text = format!(
                "the log reaches back to before {} was created, and has nothing of its creation",
                reach.unknown.join(", ")
            );
            report.problem(LOG, text, OTHER_LOG);
        }
        for name in &reach.unreadable {
            let text =
                format!("{name} is not loaded, and the log no longer has its beginning: its rows cannot be copied");
            report.warning(LOG, text, "load it at the source; the task waits for it meanwhile");
        }
        self.judge_pause(&reach, found, pause, report);
    }

    fn reach(&self, found: &[CheckedCollection]) -> Result<Reach, LogError> {
        let mut reach = Reach::default();
        // Many collections share a channel, and brokers are slow to answer.
        let mut begins_at: BTreeMap<&str, Option<Timestamp>> = BTreeMap::new();
        for collection in found {
            let mut whole = true;
            for channel in &collection.channels {
                if self.log.log.tail(channel)?.is_none() {
                    whole = false;
                    if !reach.empty.iter().any(|name| name == channel.as_str()) {
                        reach.empty.push(channel.to_string());
                    }
                    continue;
                }
                let oldest = match begins_at.get(channel.as_str()) {
                    Some(oldest) => *oldest,
                    None => *begins_at.entry(channel.as_str()).or_insert(self.oldest(channel)?),
                };
                reach.since = reach.since.max(oldest);
                let reported = collection.begins.get(channel.as_str()).map(Vec::as_slice);
                let query = StartQuery { collection: collection.id, created: collection.created, reported };
                if self.log.log.collection_start(channel, &query)?.is_some() {
                    continue;
                }
                whole = false;
                // Retention removes the oldest messages first.
                let kept = oldest.is_some_and(|oldest| oldest < collection.created);
                if kept && !reach.unknown.contains(&collection.name) {
                    reach.unknown.push(collection.name.clone());
                }
            }
            if !whole {
                reach.lost += 1;
                if !collection.loaded {
                    reach.unreadable.push(collection.name.clone());
                }
            }
        }
        Ok(reach)
    }

    /// The time of the oldest message. Polled, because brokers deliver messages asynchronously.
    fn oldest(&self, channel: &Channel) -> Result<Option<Timestamp>, LogError> {
        let mut oldest = None;
        // The source serves known messages only, and cannot be asked for its first.
        if self.log.kind == LogKind::Wal {
            return Ok(None);
        }
        for _ in 0..MESSAGE_TRIES {
            self.log.log.read(channel, ReadFrom::First, 1, &mut |record| oldest = oldest.or(Some(record.begin)))?;
            if oldest.is_some() {
                break;
            }
            std::thread::sleep(MESSAGE_PAUSE);
        }
        Ok(oldest)
    }

    fn judge_pause(&self, reach: &Reach, found: &[CheckedCollection], pause: Duration, report: &mut PreflightReport) {
        let remedy = remedy_of(self.log.kind);
        let pause_text = days(pause);
        if !found.is_empty() {
            let text = match reach.lost {
                0 => "the log still has everything since the collections were created".into(),
                lost => format!(
                    "the rows of {lost} of {} collections are not in the log any more and will be copied",
                    found.len()
                ),
            };
            let back = reach.since.map(|since| format!("; it reaches back {}", days(since.age()))).unwrap_or_default();
            report.good(RETENTION, text + &back);
        }
        if reach.lost > 0 && reach.since.is_some_and(|since| since.age() < pause) {
            let text = format!(
                "a pause of {pause_text} is longer than the log reaches back: everything would be copied again"
            );
            return report.warning(RETENTION, text, remedy);
        }
        let channels = found.iter().flat_map(|collection| collection.channels.iter().cloned()).collect();
        let (fits, kept) = match self.log.log.retention(&channels) {
            LogRetention::Unknown => return,
            LogRetention::ByDefault(time) => (pause <= time, format!("keeps messages by default ({})", days(time))),
            LogRetention::For(time) => (pause <= time, format!("keeps messages ({})", days(time))),
            LogRetention::Nothing => (false, "keeps messages (only until the source has read them)".to_owned()),
            LogRetention::ForEver => (true, "keeps messages (until they are read, as far as there is room)".to_owned()),
        };
        let kind = self.log.kind.name();
        if fits {
            report.good(RETENTION, format!("a pause of {pause_text} is no longer than {kind} {kept}"));
        } else {
            report.warning(RETENTION, format!("a pause of {pause_text} is longer than {kind} {kept}"), remedy);
        }
    }
}

/// The report for a source without a log, whose rows are read in rounds.
fn judge_scan(found: &[CheckedCollection], report: &mut PreflightReport) {
    report.good(RETENTION, "no log is read, so a pause may last as long as it wants: the next round compares all rows");
    for CheckedCollection { name, .. } in found.iter().filter(|collection| !collection.loaded) {
        let text = format!("{name} is not loaded: its rows cannot be read");
        report.warning(LOG, text, "load it at the source; the task waits for it meanwhile");
    }
}

/// How to extend the retention of a log.
fn remedy_of(kind: LogKind) -> &'static str {
    match kind {
        LogKind::RocksMq => {
            "raise rocksmq.retentionTimeInMinutes and rocksmq.retentionSizeInMB in the source's milvus.yaml, and mind \
             its disk"
        }
        LogKind::Kafka => "raise retention.ms and retention.bytes of the source's topics, and mind the brokers' disks",
        LogKind::Pulsar => {
            "raise the retention of the source's namespace, and mind the bookies' disks; or set \
             sourceConfig.pulsar.subscription: durable, and read of its price in docs/sources.md"
        }
        LogKind::Wal | LogKind::Scan => "raise the retention of the source's log, and mind its disk",
    }
}

/// A duration in words, rounded.
fn days(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..60 => format!("{minutes} min"),
        60..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_say_them() {
        let told = |hours: u64| days(Duration::from_secs(hours * 3600));
        assert_eq!([told(0), told(24), told(47), told(72)], ["0 min", "24 h", "47 h", "3 days"]);
    }
}
