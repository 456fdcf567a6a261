//! Events in a file, one JSON object per line. A line that a crash has torn is skipped; counts of repeated events are
//! written when the file is next rewritten, so after a crash a count may be too small.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::event::{EVENTS, EventKind, HistoryEvent, unix_ms};
use crate::storage::atomic_file;
use crate::storage::disk::DiskFile;

/// A file with this many lines is rewritten with the events that are kept.
const LINES: usize = 2 * EVENTS;

/// The file of one task.
#[derive(Debug)]
pub(super) struct EventFile {
    path: PathBuf,
    lines: usize,
    /// The file must be rewritten: it differs from the events in memory, or has become long.
    behind: bool,
}

/// One line.
#[derive(Serialize, Deserialize)]
struct EventLine<'a> {
    first_ms: u64,
    last_ms: u64,
    count: u64,
    kind: std::borrow::Cow<'a, str>,
    text: std::borrow::Cow<'a, str>,
}

impl EventLine<'_> {
    fn of(event: &HistoryEvent) -> EventLine<'_> {
        EventLine {
            first_ms: unix_ms(event.first),
            last_ms: unix_ms(event.last),
            count: event.count,
            kind: event.kind.name().into(),
            text: event.text.as_str().into(),
        }
    }

    /// `None` for a kind that is unknown to this version.
    fn event(self) -> Option<HistoryEvent> {
        let kind = EventKind::ALL.into_iter().find(|kind| kind.name() == self.kind)?;
        let time = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        let (first, last) = (time(self.first_ms), time(self.last_ms));
        Some(HistoryEvent { first, last, count: self.count, kind, text: self.text.into_owned() })
    }
}

impl EventFile {
    /// The events in the file, and the file for the events to come. A file that cannot be read counts as empty and is
    /// rewritten.
    pub(super) fn open(path: &Path) -> (VecDeque<HistoryEvent>, EventFile) {
        let text = fs::read(path).unwrap_or_default();
        let events = text
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<EventLine<'_>>(line).ok()?.event());
        let mut events: VecDeque<HistoryEvent> = events.collect();
        events.drain(..events.len().saturating_sub(EVENTS));
        (events, EventFile { path: path.to_owned(), lines: 0, behind: true })
    }

    /// Writes the last of `events`, which is new.
    pub(super) fn added(&mut self, events: &VecDeque<HistoryEvent>) -> io::Result<()> {
        if self.behind {
            return self.write(events);
        }
        let Some(event) = events.back() else { return Ok(()) };
        let outcome = self.append(event);
        self.lines += 1;
        self.behind = outcome.is_err() || self.lines >= LINES;
        outcome
    }

    fn append(&self, event: &HistoryEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(&EventLine::of(event))?;
        line.push(b'\n');
        DiskFile::open(&self.path, OpenOptions::new().append(true))?.write_all(&line)
    }

    /// The count of an event has changed.
    pub(super) fn counted(&mut self) {
        self.behind = true;
    }

    /// Rewrites the file with all events, unless it holds them already.
    pub(super) fn write(&mut self, events: &VecDeque<HistoryEvent>) -> io::Result<()> {
        if !self.behind {
            return Ok(());
        }
        let mut text = Vec::new();
        for event in events {
            serde_json::to_writer(&mut text, &EventLine::of(event))?;
            text.push(b'\n');
        }
        atomic_file::replace(&self.path, &text)?;
        (self.lines, self.behind) = (events.len(), false);
        Ok(())
    }
}

#[cfg(test)]
mod fault_tests;
