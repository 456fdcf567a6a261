//! A connection to where nobody answers, and who makes calls on it.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Client, ConnectOptions, Error, Observer};
use crate::observe::thread::current_task;

/// How long a test waits for what should come at once: its threads share two cores with much else.
const PATIENCE: Duration = Duration::from_secs(30);

/// The threads that have made a call, by their names and tasks.
pub(crate) struct Callers(Receiver<(String, Option<String>)>);

struct Watching(Sender<(String, Option<String>)>);

/// A client whose calls all fail.
pub(crate) fn unanswered() -> (Client, Callers) {
    let endpoint = ConnectOptions {
        address: "127.0.0.1:1".into(),
        token: String::new(),
        tls: None,
        connect_timeout: Duration::from_millis(1),
    };
    let (sender, callers) = bounded(64);
    (Client::open(&endpoint).unwrap().observed(Arc::new(Watching(sender))), Callers(callers))
}

impl Callers {
    /// Waits for the next call: the thread's name, and the task that its log lines name.
    pub(crate) fn next(&self) -> (String, Option<String>) {
        self.0.recv_timeout(PATIENCE).unwrap()
    }
}

impl Observer for Watching {
    fn ended(&self, _: &'static str, _: Option<&Error>) {
        let thread = std::thread::current();
        let caller = (thread.name().unwrap_or_default().to_owned(), current_task().map(|task| task.to_string()));
        // Later calls tell nothing new.
        let _ = self.0.try_send(caller);
    }
}
