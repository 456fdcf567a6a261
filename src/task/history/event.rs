//! Events of a task.

use std::time::{SystemTime, UNIX_EPOCH};

/// Number of events that are kept.
pub(super) const EVENTS: usize = 200;

/// The subject of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The task was created, paused, resumed or stopped, and by whom or why.
    State,
    /// The task's phase changed, for example from catching up to following.
    Phase,
    /// A failure that is being retried.
    Retry,
    /// The failure is over.
    Recovered,
    /// A backfill waits, has started or has ended.
    Copy,
    /// The log had lost the message that was to be read next.
    Gap,
    /// Something was not replicated.
    Skip,
    /// The catalog was changed on the target.
    Catalog,
    /// The source's clock and this host's are apart, or together again.
    Clock,
    /// One collection stands still while the others go on.
    Held,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 10] = [
        EventKind::State,
        EventKind::Phase,
        EventKind::Retry,
        EventKind::Recovered,
        EventKind::Copy,
        EventKind::Gap,
        EventKind::Skip,
        EventKind::Catalog,
        EventKind::Clock,
        EventKind::Held,
    ];

    /// The kind's name in answers and in the file of events.
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
            EventKind::Clock => "clock",
            EventKind::Held => "held",
        }
    }
}

/// One event, or several equal ones counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEvent {
    /// Time of the first occurrence.
    pub first: SystemTime,
    /// Time of the last occurrence.
    pub last: SystemTime,
    /// Number of occurrences.
    pub count: u64,
    /// Subject of the event.
    pub kind: EventKind,
    /// Text for a person to read.
    pub text: String,
}

/// Milliseconds since 1970.
pub fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
