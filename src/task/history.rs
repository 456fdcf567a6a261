/*!
The recent past of a task: its last events, its lag over the last hour, and its rows per second.

A history belongs to the task, not to one run: pausing and resuming do not reset it. The events are kept in a file of
the task and outlive the server; the rest starts empty with it.
*/

mod curve;
mod event;
mod file;

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use self::curve::Curve;
pub use self::curve::{Point, SLOT};
use self::event::EVENTS;
pub use self::event::{EventKind, HistoryEvent, unix_ms};
use self::file::EventFile;

/// An event equal to one of the last few is counted there: a repeated event must not push all others out.
const ALIKE: usize = 8;
/// Longest text of an event, in characters.
const TEXT: usize = 500;
/// The period over which rows per second are averaged.
const RATE_TIME: Duration = Duration::from_secs(10);

/// The history of one task, shared by all threads that record events of it.
#[derive(Debug, Default)]
pub struct History {
    events: Mutex<RecentEvents>,
    curve: Mutex<Curve>,
    /// Total rows acknowledged so far, sampled once a second.
    rates: Mutex<VecDeque<(Instant, u64)>>,
}

#[derive(Debug, Default)]
struct RecentEvents {
    last: VecDeque<HistoryEvent>,
    file: Option<EventFile>,
}

impl RecentEvents {
    fn add(&mut self, event: HistoryEvent) {
        if self.last.len() == EVENTS {
            self.last.pop_front();
        }
        self.last.push_back(event);
        if let Some(file) = &mut self.file {
            log_failure(file.added(&self.last));
        }
    }

    fn save(&mut self) {
        if let Some(file) = &mut self.file {
            log_failure(file.write(&self.last));
        }
    }
}

/// Nothing depends on the file: events that cannot be written now are written with the next one.
fn log_failure(outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        log::debug!("events cannot be written to their file: {error}");
    }
}

impl History {
    /// Loads the events that an earlier process wrote to the file at `path`, and keeps the events there from now on.
    pub fn keep_in(&self, path: &Path) {
        let (before, file) = EventFile::open(path);
        let mut events = self.events.lock();
        events.file = Some(file);
        let since = std::mem::replace(&mut events.last, before);
        since.into_iter().for_each(|event| events.add(event));
    }

    /// Detaches the file: it is about to be removed, or belongs to another task.
    pub fn let_go(&self) {
        self.events.lock().file = None;
    }

    /// Records an event.
    pub fn add(&self, kind: EventKind, text: impl Into<String>) {
        let text: String = text.into();
        let text: String = text.chars().take(TEXT).collect();
        let now = SystemTime::now();
        let mut events = self.events.lock();
        let alike = events.last.iter_mut().rev().take(ALIKE).find(|event| event.kind == kind && event.text == text);
        // Changes of state and phase are recorded each time: their order matters.
        if let Some(event) = alike.filter(|event| !matches!(event.kind, EventKind::State | EventKind::Phase)) {
            event.last = now;
            event.count += 1;
            if let Some(file) = &mut events.file {
                file.counted();
            }
            return;
        }
        events.add(HistoryEvent { first: now, last: now, count: 1, kind, text });
    }

    /// The last events, oldest first.
    pub fn events(&self) -> Vec<HistoryEvent> {
        self.events.lock().last.iter().cloned().collect()
    }

    /// Records lag and rows; to be called several times a second while the task runs. `rows` is a running total of
    /// acknowledged rows, counted from any start.
    pub fn sample(&self, lag: Option<Duration>, rows: u64) {
        let now = Instant::now();
        self.curve.lock().note(unix_ms(SystemTime::now()), lag, rows);
        let mut rates = self.rates.lock();
        if rates.back().is_none_or(|(at, _)| now.duration_since(*at) >= Duration::from_secs(1)) {
            rates.push_back((now, rows));
        }
        while rates.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_TIME) {
            rates.pop_front();
        }
    }

    /// Rows per second over the last ten seconds.
    pub fn rows_per_second(&self) -> u64 {
        let rates = self.rates.lock();
        let (Some((since, before)), Some((until, rows))) = (rates.front(), rates.back()) else { return 0 };
        let elapsed = until.duration_since(*since);
        if until.elapsed() > RATE_TIME || elapsed.is_zero() {
            // No recent sample: the task is not running.
            return 0;
        }
        (rows.saturating_sub(*before) as f64 / elapsed.as_secs_f64()).round() as u64
    }

    /// The last hour, oldest first; no points for the times when the task was not running.
    pub fn curve(&self) -> Vec<Point> {
        self.curve.lock().points(unix_ms(SystemTime::now()))
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.events.get_mut().save();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_stay() {
        let history = History::default();
        for number in 0..EVENTS + 10 {
            history.add(EventKind::Catalog, format!("{number}"));
        }
        let events = history.events();
        assert_eq!((events.len(), events[0].text.as_str()), (EVENTS, "10"));
    }

    #[test]
    fn what_comes_again_is_counted() {
        let history = History::default();
        for _ in 0..1000 {
            history.add(EventKind::Retry, "no answer");
            history.add(EventKind::Recovered, "it works again");
        }
        let shown: Vec<(u64, String)> = history.events().into_iter().map(|event| (event.count, event.text)).collect();
        assert_eq!(shown, [(1000, "no answer".to_owned()), (1000, "it works again".to_owned())]);
        for _ in 0..2 {
            history.add(EventKind::State, "paused");
        }
        assert_eq!(history.events().len(), 4, "two pauses are two events");
    }

    #[test]
    fn events_outlive_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let texts = |history: &History| -> Vec<(u64, String)> {
            history.events().into_iter().map(|event| (event.count, event.text)).collect()
        };
        let first = History::default();
        first.add(EventKind::State, "created");
        first.keep_in(&path);
        first.add(EventKind::Retry, "no answer");
        first.add(EventKind::Retry, "no answer");
        // Killed: nothing is written at the end, and the last line is torn.
        std::mem::forget(first);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"{\"first_ms\":17");
        std::fs::write(&path, &bytes).unwrap();

        let second = History::default();
        second.keep_in(&path);
        assert_eq!(texts(&second), [(1, "created".to_owned()), (1, "no answer".to_owned())]);
        for number in 0..EVENTS * 3 {
            second.add(EventKind::Catalog, format!("{number}"));
        }
        second.add(EventKind::Catalog, format!("{}", EVENTS * 3 - 1));
        assert!(std::fs::metadata(&path).unwrap().len() < 2 * EVENTS as u64 * 100, "it does not grow");
        drop(second);

        let third = History::default();
        third.keep_in(&path);
        assert_eq!(third.events().len(), EVENTS);
        assert_eq!(texts(&third)[EVENTS - 1], (2, "599".to_owned()));
        third.let_go();
        std::fs::remove_file(&path).unwrap();
        third.add(EventKind::State, "deleted");
        drop(third);
        assert!(!path.exists());
    }

    #[test]
    fn a_long_text_is_cut() {
        let history = History::default();
        history.add(EventKind::Retry, "ä".repeat(TEXT * 2));
        assert_eq!(history.events()[0].text.chars().count(), TEXT);
    }

    #[test]
    fn rows_per_second() {
        let history = History::default();
        assert_eq!(history.rows_per_second(), 0);
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        history.rates.lock().extend([(ago(5), 7), (ago(1), 407)]);
        assert_eq!(history.rows_per_second(), 100);
        *history.rates.lock() = [(ago(60), 0), (ago(50), 1000)].into();
        assert_eq!(history.rows_per_second(), 0, "a task that does not run");
    }
}
