//! What fails at the moment and is tried again.

use std::collections::BTreeSet;

/// The errors of a task that belong to no collection and no channel.
#[derive(Debug, Default)]
pub(super) struct ActiveErrors {
    /// Of the catalog watcher, which says itself when they are over.
    catalog: Vec<String>,
    /// Of the log's reader, likewise.
    log: Option<String>,
}

impl ActiveErrors {
    /// The catalog fails with these, and with no others. New ones are logged.
    pub(super) fn set_catalog(&mut self, errors: Vec<String>) {
        for why in errors.iter().filter(|why| !self.catalog.contains(why)) {
            log::warn!("{why}");
        }
        self.catalog = errors;
    }

    pub(super) fn set_log(&mut self, why: Option<String>) {
        self.log = why;
    }

    /// Why the log cannot be read.
    pub(super) fn log(&self) -> Option<&String> {
        self.log.as_ref()
    }

    /// Everything that fails and is tried again, these and `others`, each once.
    pub(super) fn all<'a>(&'a self, others: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
        self.catalog.iter().chain(&self.log).chain(others).cloned().collect()
    }
}
