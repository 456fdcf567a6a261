//! Reads ahead: a thread per stream reads the next page while the current one is processed.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::error::{PageError, ScanError};
use super::key::Key;
use super::merge::{PageStream, RowEntry, RowStream};
use super::pages::{Page, Pages};
use super::server::ReadSpec;
use crate::failpoint::HandOver;
use crate::milvus::{Cancel, Error, ErrorKind, retry};
use crate::observe::thread::ThreadSpec;

/// Pages that wait to be taken. One is enough to keep the server busy, and each costs its size in memory.
const QUEUED: usize = 1;

type PageResult = Result<Option<Page>, PageError>;

/// A stream of pages. Dropping it cancels the call in flight and joins the thread.
pub struct ReadAhead {
    pages: Receiver<PageResult>,
    cancel: Cancel,
    thread: Option<JoinHandle<()>>,
    object: String,
    ended: bool,
    /// The remaining rows of a page that is taken row by row.
    rows: VecDeque<RowEntry>,
}

impl ReadAhead {
    /// Starts reading the rows behind `after`; all rows without it. A page that cannot be read is reported and read
    /// again.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn spawn(name: &str, mut spec: ReadSpec, after: Option<Key>) -> std::io::Result<ReadAhead> {
        let cancel = spec.context.cancel.part();
        spec.context.cancel = cancel.clone();
        let (pages, ending) = (Pages::new(spec, after), cancel.clone());
        let object = pages.object();
        let (sender, receiver) = bounded(QUEUED);
        let thread = ThreadSpec::helper(name).spawn(move || read(pages, &ending, &sender))?;
        Ok(ReadAhead { pages: receiver, cancel, thread: Some(thread), object, ended: false, rows: VecDeque::new() })
    }
}

fn read(mut pages: Pages, cancel: &Cancel, sender: &Sender<PageResult>) {
    // A page that cannot be read is reported, and read again for as long as somebody takes pages.
    let report = |error| match HandOver::Page.send(sender, Err(error)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    while let Ok(page) = retry(cancel, || pages.next_page(), report) {
        let is_end = page.is_none();
        if HandOver::Page.send(sender, Ok(page)).is_err() || is_end {
            return;
        }
    }
}

impl PageStream for ReadAhead {
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

impl RowStream for ReadAhead {
    fn next_entry(&mut self) -> Result<Option<RowEntry>, ScanError> {
        while self.rows.is_empty() {
            let Some(page) = self.next_page()? else { return Ok(None) };
            let entry = |(key, digest)| RowEntry { key, digest: Some(digest) };
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::{KeyField, RowLocation};
    use crate::milvus::CallContext;
    use crate::milvus::testing::unanswered;
    use crate::scan::server::{RowDetail, WholeRead};

    #[test]
    fn its_log_lines_name_the_task_that_reads() {
        let (client, callers) = unanswered();
        let spec = ReadSpec {
            client: Arc::new(client),
            context: CallContext { timeout: Duration::from_secs(30), cancel: Cancel::default() },
            place: RowLocation { db: "d".into(), collection: "c".into(), partition: String::new() },
            key: KeyField { name: "id".into(), is_int: true },
            detail: RowDetail::Keys,
            whole: WholeRead::Unnamed,
        };
        let reading = ThreadSpec::worker("copy", "one-2", 0).spawn(move || {
            let _reading = ReadAhead::spawn("copy-compare", spec, None).unwrap();
            callers.next()
        });
        assert_eq!(reading.unwrap().join().unwrap(), ("copy-compare".into(), Some("one-2".into())));
    }
}
