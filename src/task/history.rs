/*!
What has happened to a task lately: its last events, its lag over the last hour, and how fast rows arrive.

It belongs to the task, not to one run of it: a pause and a resume leave it as it is. It lives in memory; after a restart of the server
it begins anew, and the log has what was before.
*/

mod curve;

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use self::curve::Curve;
pub use self::curve::{Point, SLOT, SLOTS};

/// So many events are kept.
pub const EVENTS: usize = 200;
/// An event like one of the last few is counted there: what comes again and again must not push everything else out.
const ALIKE: usize = 8;
/// The longest text of an event, in characters.
const TEXT: usize = 500;
/// Rows per second are told over this time.
const RATE_TIME: Duration = Duration::from_secs(10);

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was created, paused, resumed or stopped, and by whom or why.
    State,
    /// It does something else now, such as following instead of catching up.
    Phase,
    /// Something failed and is tried again.
    Retry,
    /// Nothing fails any more.
    Recovered,
    /// Rows are copied, wait for it, or have been.
    Copy,
    /// The log no longer had what was to be read next.
    Gap,
    /// Something was not carried over.
    Skip,
    /// Something of the catalog was changed on the target.
    Catalog,
}

impl EventKind {
    /// Every kind there is.
    pub const ALL: [EventKind; 8] = [
        EventKind::State,
        EventKind::Phase,
        EventKind::Retry,
        EventKind::Recovered,
        EventKind::Copy,
        EventKind::Gap,
        EventKind::Skip,
        EventKind::Catalog,
    ];

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::State => "state",
            EventKind::Phase => "phase",
            EventKind::Retry => "retry",
            EventKind::Recovered => "recovered",
            EventKind::Copy => "copy",
            EventKind::Gap => "gap",
            EventKind::Skip => "skip",
            EventKind::Catalog => "catalog",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it happened first.
    pub first: SystemTime,
    /// When it happened last.
    pub last: SystemTime,
    /// How often.
    pub count: u64,
    /// What it is about.
    pub kind: EventKind,
    /// For a person to read.
    pub text: String,
}

/// Shared by all who have something to tell about one task.
#[derive(Debug, Default)]
pub struct History {
    events: Mutex<VecDeque<Event>>,
    curve: Mutex<Curve>,
    /// All rows so far, once a second.
    rates: Mutex<VecDeque<(Instant, u64)>>,
}

impl History {
    /// Something has happened.
    pub fn add(&self, kind: EventKind, text: impl Into<String>) {
        let text: String = text.into();
        let text: String = text.chars().take(TEXT).collect();
        let now = SystemTime::now();
        let mut events = self.events.lock();
        let alike = events.iter_mut().rev().take(ALIKE).find(|event| event.kind == kind && event.text == text);
        // A change of state is told each time: their order is what one wants to know.
        if let Some(event) = alike.filter(|event| !matches!(event.kind, EventKind::State | EventKind::Phase)) {
            event.last = now;
            event.count += 1;
            return;
        }
        if events.len() == EVENTS {
            events.pop_front();
        }
        events.push_back(Event { first: now, last: now, count: 1, kind, text });
    }

    /// The last events, the oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().iter().cloned().collect()
    }

    /// Notes how it is now; to be called several times a second while the task runs. `rows` are all that the target has
    /// acknowledged so far, whatever that began with.
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
            // Nobody has noted anything for a while: the task does not run.
            return 0;
        }
        (rows.saturating_sub(*before) as f64 / elapsed.as_secs_f64()).round() as u64
    }

    /// The last hour, the oldest first; nothing for the times when the task did not run.
    pub fn curve(&self) -> Vec<Point> {
        self.curve.lock().points(unix_ms(SystemTime::now()))
    }
}

/// Milliseconds since 1970.
pub fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
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
    fn a_long_text_is_cut() {
        let history = History::default();
        history.add(EventKind::Retry, "ä".repeat(TEXT * 2));
        assert_eq!(history.events()[0].text.chars().count(), TEXT);
    }

    #[test]
    fn rows_per_second() {
        let history = History::default();
        assert_eq!(history.rows_per_second(), 0);
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        history.rates.lock().extend([(ago(5), 7), (ago(1), 407)]);
        assert_eq!(history.rows_per_second(), 100);
        *history.rates.lock() = [(ago(60), 0), (ago(50), 1000)].into();
        assert_eq!(history.rows_per_second(), 0, "a task that does not run");
    }
}
