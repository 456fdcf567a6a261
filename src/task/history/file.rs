//! Events in a file, one JSON object in each line. A line that a crash has torn is passed over; how often something came again
//! is written with the next rewriting, so after a crash such a count may be too small.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{EVENTS, Event, EventKind, unix_ms};
use crate::journal::atomic;

/// A file with this many lines is written anew with the events that count.
const LINES: usize = 2 * EVENTS;

/// The file of one task.
#[derive(Debug)]
pub(super) struct EventFile {
    path: PathBuf,
    lines: usize,
    /// It has to be written anew: something in memory differs from it, or it has become long.
    behind: bool,
}

/// One line.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    first_ms: u64,
    last_ms: u64,
    count: u64,
    kind: std::borrow::Cow<'a, str>,
    text: std::borrow::Cow<'a, str>,
}

impl Line<'_> {
    fn of(event: &Event) -> Line<'_> {
        Line {
            first_ms: unix_ms(event.first),
            last_ms: unix_ms(event.last),
            count: event.count,
            kind: event.kind.name().into(),
            text: event.text.as_str().into(),
        }
    }

    /// `None` for a kind that this version does not know.
    fn event(self) -> Option<Event> {
        let kind = EventKind::ALL.into_iter().find(|kind| kind.name() == self.kind)?;
        let time = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        let (first, last) = (time(self.first_ms), time(self.last_ms));
        Some(Event { first, last, count: self.count, kind, text: self.text.into_owned() })
    }
}

impl EventFile {
    /// The events that are there, and the file for what comes. One that cannot be read is as good as none: it is written anew.
    pub(super) fn open(path: &Path) -> (VecDeque<Event>, EventFile) {
        let text = fs::read(path).unwrap_or_default();
        let events =
            text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line<'_>>(line).ok()?.event());
        let mut events: VecDeque<Event> = events.collect();
        events.drain(..events.len().saturating_sub(EVENTS));
        (events, EventFile { path: path.to_owned(), lines: 0, behind: true })
    }

    /// Writes the last one of `events` down, which is new.
    pub(super) fn added(&mut self, events: &VecDeque<Event>) -> io::Result<()> {
        if self.behind {
            return self.write(events);
        }
        let Some(event) = events.back() else { return Ok(()) };
        let outcome = self.append(event);
        self.lines += 1;
        self.behind = outcome.is_err() || self.lines >= LINES;
        outcome
    }

    fn append(&self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line::of(event))?;
        line.push(b'\n');
        OpenOptions::new().append(true).open(&self.path)?.write_all(&line)
    }

    /// One of the events has come again.
    pub(super) fn counted(&mut self) {
        self.behind = true;
    }

    /// Writes all of them down, unless that is done.
    pub(super) fn write(&mut self, events: &VecDeque<Event>) -> io::Result<()> {
        if !self.behind {
            return Ok(());
        }
        let mut text = Vec::new();
        for event in events {
            serde_json::to_writer(&mut text, &Line::of(event))?;
            text.push(b'\n');
        }
        atomic::replace(&self.path, &text)?;
        (self.lines, self.behind) = (events.len(), false);
        Ok(())
    }
}
