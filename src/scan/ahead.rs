//! Reading ahead: a thread per stream reads the next pages while the one before is worked on.

use std::collections::VecDeque;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::ScanError;
use super::key::Key;
use super::merge::{Entry, Left, Right};
use super::pages::{Page, PageError, Pages};
use super::server::Target;
use crate::milvus::{Cancel, Error, ErrorKind};
use crate::target::Backoff;

/// Pages that wait to be taken. One is enough to keep the server busy, and each costs its weight in memory.
const QUEUED: usize = 1;

type Answer = Result<Option<Page>, PageError>;

/// A stream of pages. Dropping it ends the call under way and joins the thread.
pub struct ReadAhead {
    pages: Receiver<Answer>,
    cancel: Cancel,
    thread: Option<JoinHandle<()>>,
    object: String,
    ended: bool,
    /// Rows of the page that is being taken row by row.
    rows: VecDeque<Entry>,
}

impl ReadAhead {
    /// Starts reading the rows behind `after`; all without it. A page that cannot be read is told of and tried again, for as long as somebody asks.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn spawn(name: &str, mut target: Target, after: Option<Key>) -> std::io::Result<ReadAhead> {
        let cancel = target.context.cancel.part();
        target.context.cancel = cancel.clone();
        let (pages, ending) = (Pages::new(target, after), cancel.clone());
        let object = pages.object();
        let (sender, receiver) = bounded(QUEUED);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || read(pages, &ending, &sender))?;
        Ok(ReadAhead { pages: receiver, cancel, thread: Some(thread), object, ended: false, rows: VecDeque::new() })
    }
}

fn read(mut pages: Pages, cancel: &Cancel, sender: &Sender<Answer>) {
    let mut backoff = Backoff::default();
    loop {
        let answer = pages.next_page();
        let (is_end, failed) = (matches!(answer, Ok(None)), answer.is_err());
        if sender.send(answer).is_err() || is_end {
            return;
        }
        if !failed {
            backoff = Backoff::default();
        } else if cancel.sleep(backoff.wait()) {
            return;
        }
    }
}

impl Left for ReadAhead {
    fn next_page(&mut self) -> Result<Option<Page>, ScanError> {
        if self.ended {
            return Ok(None);
        }
        match self.pages.recv() {
            Ok(answer) => {
                self.ended = matches!(answer, Ok(None));
                Ok(answer?)
            }
            // Cancelled.
            Err(_) => Err(PageError::Call(Error {
                method: "Query",
                address: String::new(),
                object: self.object(),
                kind: ErrorKind::Cancelled,
                detail: String::new(),
            })
            .into()),
        }
    }

    fn object(&self) -> String {
        self.object.clone()
    }
}

impl Right for ReadAhead {
    fn next_entry(&mut self) -> Result<Option<Entry>, ScanError> {
        while self.rows.is_empty() {
            let Some(page) = self.next_page()? else { return Ok(None) };
            let entry = |(key, digest)| Entry { key, digest: Some(digest) };
            self.rows = page.keys.into_iter().zip(page.digests).map(entry).collect();
        }
        Ok(self.rows.pop_front())
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.pages = bounded(0).1;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a thread that reads ahead panicked");
        }
    }
}
