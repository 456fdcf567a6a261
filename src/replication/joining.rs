//! A collection that the catalog has described and whose beginning the log is asked for.

use crate::catalog::ReadyCollection;

/// One that has not joined yet.
#[derive(Debug)]
pub(super) struct Joining {
    ready: ReadyCollection,
    /// The number of the question to the log whose answer is awaited.
    question: Option<u64>,
    /// Why the last answer was none.
    error: Option<String>,
    /// The catalog is changing names: it does not join before that is through.
    is_blocked: bool,
}

impl Joining {
    pub(super) fn new(ready: ReadyCollection) -> Joining {
        Joining { ready, question: None, error: None, is_blocked: false }
    }

    /// The catalog describes it again.
    pub(super) fn on_ready(&mut self, ready: ReadyCollection) {
        // An answer about what it was before must not count. (One that is as good now must: the catalog may describe
        // it more often than the log answers.)
        if !begin_alike(&self.ready, &ready) {
            self.question = None;
        }
        self.ready = ready;
        self.is_blocked = false;
    }

    pub(super) fn ready(&self) -> &ReadyCollection {
        &self.ready
    }

    /// Whether the log may be asked.
    pub(super) fn may_ask(&self) -> bool {
        !self.is_blocked
    }

    /// The log is asked with this question.
    pub(super) fn ask(&mut self, question: u64) {
        self.question = Some(question);
    }

    /// Whether this question's answer is awaited.
    pub(super) fn awaits(&self, question: u64) -> bool {
        self.question == Some(question)
    }

    /// The log cannot answer now.
    pub(super) fn failed(&mut self, error: String) {
        self.question = None;
        self.error = Some(error);
    }

    pub(super) fn error(&self) -> Option<&String> {
        self.error.as_ref()
    }

    /// The catalog changes names. An answer that comes meanwhile does not count.
    pub(super) fn block(&mut self) {
        self.is_blocked = true;
        self.question = None;
    }

    /// The catalog has not changed it.
    pub(super) fn unblock(&mut self) {
        self.is_blocked = false;
    }
}

/// Whether what the log is asked about a collection is the same by both descriptions.
fn begin_alike(one: &ReadyCollection, other: &ReadyCollection) -> bool {
    let asked = |ready: &ReadyCollection| (ready.created, ready.adopted);
    asked(one) == asked(other) && one.channels == other.channels && one.begins == other.begins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Channel, CollectionId};
    use crate::replication::model;

    fn ready(channel: &str) -> ReadyCollection {
        ReadyCollection { channels: vec![Channel::new(channel)], ..model::ready(CollectionId(7), 0) }
    }

    #[test]
    fn an_answer_about_what_it_was_before_does_not_count() {
        let mut joining = Joining::new(ready("c"));
        joining.ask(1);
        joining.on_ready(ready("c"));
        assert!(joining.awaits(1), "nothing has changed");
        joining.on_ready(ready("d"));
        assert!(!joining.awaits(1) && joining.may_ask());
    }

    #[test]
    fn what_the_catalog_renames_does_not_join_meanwhile() {
        let mut joining = Joining::new(ready("c"));
        joining.ask(1);
        joining.block();
        assert!(!joining.awaits(1) && !joining.may_ask());
        joining.unblock();
        assert!(joining.may_ask());
        joining.block();
        joining.on_ready(ready("c"));
        assert!(joining.may_ask());
    }
}
