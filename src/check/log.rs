//! The source's log: which one, and how far back it reaches.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::collections::Found;
use super::report::Report;
use crate::config::Config;
use crate::domain::{Channel, LogKind, Timestamp};
use crate::milvus::{Cancel, Client};
use crate::source::{self, Keeps, LogError, Next, OpenError, OpenLog};
use crate::task::runner::{endpoint, log_settings};

const LOG: &str = "log";
const RETENTION: &str = "retention";
const ANOTHERS: &str = "see that sourceConfig.milvus and the log in sourceConfig are of one and the same Milvus";
/// How often, and after which pause, a channel is asked for its first message.
const MESSAGE_TRIES: usize = 20;
const MESSAGE_PAUSE: Duration = Duration::from_millis(100);

/// The log, opened for the check alone.
pub(super) struct Opened {
    log: OpenLog,
    _own: Scratch,
}

/// A folder for what opening the log leaves behind; gone with the check.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> std::io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("milvus-cdc-check-{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is in the folder for temporary files: what cannot be removed now is removed there some day.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Chooses and opens the log.
pub(super) fn open(config: &Config, report: &mut Report) -> Option<Opened> {
    // A connection that cannot be made at all is told with the source.
    let client = Arc::new(Client::open(&endpoint(&config.source.endpoint)).ok()?);
    let own = match Scratch::make() {
        Ok(own) => own,
        Err(error) => {
            let text = format!("no folder for temporary files: {error}");
            report.problem(LOG, text, "let this user write the folder that TMPDIR names, or /tmp");
            return None;
        }
    };
    match source::open(&log_settings(config), &client, &Cancel::default(), &own.0) {
        Ok(log) => {
            report.good(LOG, format!("`{}` can be read: {}", log.kind.name(), log.why));
            Some(Opened { log, _own: own })
        }
        Err(error @ (OpenError::Unconfigured(_) | OpenError::Unusable(_))) => {
            report.problem(LOG, error.to_string(), "set what it names in the configuration");
            None
        }
        Err(OpenError::Unreachable(error)) => {
            let remedy =
                "correct the place in sourceConfig, start what is there, or give this user the right to read it";
            report.problem(LOG, error.to_string(), remedy);
            None
        }
    }
}

/// What the log has of the collections.
#[derive(Debug, Default)]
struct Reach {
    /// Channels of which the log has nothing.
    empty: Vec<String>,
    /// Collections whose creation it does not have, though it reaches back further.
    unknown: Vec<String>,
    /// Collections whose beginning it no longer has.
    lost: usize,
    /// Those among them that cannot be copied now.
    unreadable: Vec<String>,
    /// The oldest message on the channel that reaches back least.
    since: Option<Timestamp>,
}

impl Opened {
    /// Whether the log is the source's, what must be copied because it is gone, and what a pause would cost.
    pub(super) fn judge(&self, found: &[Found], pause: Duration, report: &mut Report) {
        if self.log.kind == LogKind::Scan {
            return judge_scan(found, report);
        }
        let reach = match self.reach(found) {
            Ok(reach) => reach,
            Err(error) => {
                return report.problem(LOG, error.to_string(), "see that this user may read all of the log");
            }
        };
        if !reach.empty.is_empty() {
            let text =
                format!("the log has nothing of {}, which the source's collections live on", reach.empty.join(", "));
            report.problem(LOG, text, ANOTHERS);
        }
        if !reach.unknown.is_empty() {
            let text = format!(
                "the log reaches back to before {} was created, and has nothing of its creation",
                reach.unknown.join(", ")
            );
            report.problem(LOG, text, ANOTHERS);
        }
        for name in &reach.unreadable {
            let text =
                format!("{name} is not loaded, and the log no longer has its beginning: its rows cannot be copied");
            report.warning(LOG, text, "load it at the source; the task waits for it meanwhile");
        }
        self.judge_pause(&reach, found, pause, report);
    }

    fn reach(&self, found: &[Found]) -> Result<Reach, LogError> {
        let mut reach = Reach::default();
        // Many collections share a channel, and a broker may take its time.
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
                let begins = collection.begins.get(channel.as_str()).map(Vec::as_slice);
                let oldest = match begins_at.get(channel.as_str()) {
                    Some(oldest) => *oldest,
                    None => *begins_at.entry(channel.as_str()).or_insert(self.oldest(channel)?),
                };
                reach.since = reach.since.max(oldest);
                if self.log.log.birth(channel, collection.id, collection.created, begins)?.is_some() {
                    continue;
                }
                whole = false;
                // What a log forgets, it forgets from its oldest message on.
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

    /// The time of the oldest message. A broker hands messages over when it has them, not when it is asked.
    fn oldest(&self, channel: &Channel) -> Result<Option<Timestamp>, LogError> {
        let mut oldest = None;
        // A source tells of messages that one knows of, not of its first.
        if self.log.kind == LogKind::Wal {
            return Ok(None);
        }
        for _ in 0..MESSAGE_TRIES {
            self.log.log.read(channel, Next::First, 1, &mut |record| oldest = oldest.or(Some(record.begin)))?;
            if oldest.is_some() {
                break;
            }
            std::thread::sleep(MESSAGE_PAUSE);
        }
        Ok(oldest)
    }

    fn judge_pause(&self, reach: &Reach, found: &[Found], pause: Duration, report: &mut Report) {
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
        let (fits, kept) = match self.log.log.keeps(&channels) {
            Keeps::Unknown => return,
            Keeps::ByDefault(time) => (pause <= time, format!("keeps messages by default ({})", days(time))),
            Keeps::For(time) => (pause <= time, format!("keeps messages ({})", days(time))),
            Keeps::Nothing => (false, "keeps messages (only until the source has read them)".to_owned()),
            Keeps::ForEver => (true, "keeps messages (until they are read, as far as there is room)".to_owned()),
        };
        let kind = self.log.kind.name();
        if fits {
            report.good(RETENTION, format!("a pause of {pause_text} is no longer than {kind} {kept}"));
        } else {
            report.warning(RETENTION, format!("a pause of {pause_text} is longer than {kind} {kept}"), remedy);
        }
    }
}

/// Without a log every row is read again and again.
fn judge_scan(found: &[Found], report: &mut Report) {
    report.good(RETENTION, "no log is read, so a pause may last as long as it wants: the next round compares all rows");
    for Found { name, .. } in found.iter().filter(|collection| !collection.loaded) {
        let text = format!("{name} is not loaded: its rows cannot be read");
        report.warning(LOG, text, "load it at the source; the task waits for it meanwhile");
    }
}

/// What to do for a log to keep messages longer.
fn remedy_of(kind: LogKind) -> &'static str {
    match kind {
        LogKind::RocksMq => {
            "raise rocksmq.retentionTimeInMinutes and rocksmq.retentionSizeInMB in the source's milvus.yaml, and mind its disk"
        }
        LogKind::Kafka => "raise retention.ms and retention.bytes of the source's topics, and mind the brokers' disks",
        LogKind::Pulsar => {
            "raise the retention of the source's namespace, and mind the bookies' disks; or set sourceConfig.pulsar.subscription: \
             durable, and read of its price in docs/sources.md"
        }
        LogKind::Wal | LogKind::Scan => "raise the retention of the source's log, and mind its disk",
    }
}

/// A time as people say it.
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
