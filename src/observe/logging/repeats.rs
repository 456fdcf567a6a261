/*!
Logs a repeated warning or error once and then counts it: once a minute, a line says how often it came again.
*/

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::Level;

use super::line::LogLine;

/// How long the same words are only counted.
const QUIET: Duration = Duration::from_secs(60);
/// Different events that are remembered. More of them at once are told each time: there is no memory without bounds.
const REMEMBERED: usize = 256;

/// What was told lately.
#[derive(Debug, Default)]
pub(super) struct Repeats(BTreeMap<LogLine, Told>);

#[derive(Debug)]
struct Told {
    at: Instant,
    /// How often it came since.
    again: u64,
}

impl Repeats {
    /// What to tell now: events that were only counted until now, and this one unless it was told lately.
    pub(super) fn admit(&mut self, event: LogLine, now: Instant) -> Vec<LogLine> {
        let mut tell = self.expired(now);
        if event.level > Level::Warn {
            tell.push(event);
            return tell;
        }
        if let Some(told) = self.0.get_mut(&event) {
            told.again += 1;
            return tell;
        }
        if self.0.len() < REMEMBERED {
            self.0.insert(event.clone(), Told { at: now, again: 0 });
        }
        tell.push(event);
        tell
    }

    /// Takes out what is older than a minute; what came again meanwhile is told with its number, and counted anew.
    fn expired(&mut self, now: Instant) -> Vec<LogLine> {
        let old = |told: &Told| now.duration_since(told.at) >= QUIET;
        let again: Vec<LogLine> = self
            .0
            .iter()
            .filter(|(_, told)| old(told) && told.again > 0)
            .map(|(event, told)| event.clone().with("repeated", told.again))
            .collect();
        self.0.retain(|_, told| !old(told) || told.again > 0);
        for told in self.0.values_mut().filter(|told| old(told)) {
            *told = Told { at: now, again: 0 };
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use log::Record;

    use super::*;
    use crate::observe::logging::LogFormat;

    fn event(level: Level, message: &str) -> LogLine {
        LogLine::new(&Record::builder().level(level).args(format_args!("{message}")).build(), None)
    }

    fn lines(events: &[LogLine]) -> Vec<String> {
        let cut = |line: String| line.split_once("[\"").map(|(_, rest)| rest.to_owned()).unwrap();
        events.iter().map(|event| cut(event.line(UNIX_EPOCH, LogFormat::Text))).collect()
    }

    #[test]
    fn once_and_then_counted() {
        let mut repeats = Repeats::default();
        let begin = Instant::now();
        let mut told = Vec::new();
        // 25 times within two minutes, every five seconds.
        for step in 0..25 {
            told.extend(repeats.admit(event(Level::Warn, "down"), begin + Duration::from_secs(5 * step)));
        }
        assert_eq!(lines(&told), ["down\"]", "down\"] [repeated=11]", "down\"] [repeated=12]"]);
    }

    #[test]
    fn what_stops_is_forgotten() {
        let mut repeats = Repeats::default();
        let begin = Instant::now();
        for _ in 0..3 {
            repeats.admit(event(Level::Error, "down"), begin);
        }
        let told = repeats.admit(event(Level::Info, "up"), begin + QUIET);
        assert_eq!(lines(&told), ["down\"] [repeated=2]", "up\"]"]);
        assert_eq!(repeats.admit(event(Level::Info, "up"), begin + QUIET * 3).len(), 1);
        assert!(repeats.0.is_empty());
        assert_eq!(repeats.admit(event(Level::Error, "down"), begin + QUIET * 3).len(), 1);
    }

    #[test]
    fn what_is_no_trouble_is_always_told() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        assert!((0..3).all(|_| repeats.admit(event(Level::Info, "x"), now).len() == 1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        for number in 0..REMEMBERED * 2 {
            assert_eq!(repeats.admit(event(Level::Warn, &number.to_string()), now).len(), 1);
        }
        assert_eq!(repeats.0.len(), REMEMBERED);
    }
}
