/*!
The server that a connection is known to lead to.

A connection that was lost and is there again may lead to another server: one that was reinstalled, or that has taken
over the address. gRPC connects again by itself, so nobody would notice, and what is written next would go there. So
after a loss the server is recognised before anything else is asked of it.
*/

use parking_lot::Mutex;

/// What a client remembers of its server.
#[derive(Debug, Default)]
pub(super) struct ExpectedServer {
    state: Mutex<Expectation>,
}

#[derive(Debug, Default)]
struct Expectation {
    /// When the server made its database `default`. `None`: any server will do.
    created: Option<u64>,
    /// Nobody knows who answers next.
    is_lost: bool,
}

/// A call that is made whoever answers: it changes nothing, and asks who that is or what is there.
const RECOGNISING: [&str; 4] = ["Connect", "GetVersion", "ListDatabases", "ShowCollections"];

impl ExpectedServer {
    /// From now on only the server that was set up then will do; `None`: any.
    pub(super) fn expect(&self, created: Option<u64>) {
        *self.state.lock() = Expectation { created, is_lost: false };
    }

    /// Nobody has answered: the next one to answer may be another server.
    pub(super) fn lose(&self) {
        let mut state = self.state.lock();
        state.is_lost = state.created.is_some();
    }

    /// Whether the server has not been recognised since the connection was lost.
    pub(super) fn is_lost(&self) -> bool {
        self.state.lock().is_lost
    }

    /// Whether the server must be recognised before a call of this method.
    pub(super) fn must_be_asked_before(&self, method: &str) -> bool {
        self.is_lost() && !RECOGNISING.contains(&method)
    }

    /// Whether the server that was set up at `seen` is the expected one, which is not lost any more then. One that
    /// does not tell is.
    pub(super) fn recognise(&self, seen: Option<u64>) -> bool {
        let mut state = self.state.lock();
        let is_other = seen.is_some() && state.created.is_some() && seen != state.created;
        state.is_lost &= is_other;
        !is_other
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::domain::Mark;
    use crate::failpoint::{CallFault, Faults};
    use crate::milvus::fake::{FakeMilvus, Repeats};
    use crate::milvus::{CallContext, Cancel};

    #[test]
    fn nothing_is_sent_to_another_server_after_a_loss() {
        let (faults, server) = (Faults::install(), FakeMilvus::new(Repeats::Succeed));
        let client = server.client("target:1");
        let context = CallContext { timeout: Duration::from_secs(1), cancel: Cancel::default() };
        let create = |name: &str| client.marked(Mark::OF_NO_COLLECTION).create_database(name, &context);
        let known = client.describe_databases(&context).unwrap().server_created;
        assert!(known.is_some());
        client.expect_server(known);
        create("a").unwrap();
        faults.at_call("CreateDatabase", 1, CallFault::Unreachable);
        create("b").unwrap_err();
        assert!(client.has_lost_server());
        create("b").unwrap();
        assert!(!client.has_lost_server(), "it is the same one");
        faults.at_call("CreateDatabase", 1, CallFault::Unreachable);
        create("c").unwrap_err();
        client.expect_server(known.map(|created| created + 1));
        faults.at_call("CreateDatabase", 1, CallFault::AnswerLost);
        create("c").unwrap_err();
        let refused = create("d").unwrap_err();
        assert!(refused.to_string().contains("another server answers"), "{refused}");
        assert!(!server.done().contains(&"create database d".to_owned()), "{:?}", server.done());
        assert!(client.describe_databases(&context).is_ok(), "who it is can be asked");
        client.expect_server(known);
        create("d").unwrap();
    }

    #[test]
    fn a_server_that_nobody_expects_is_asked_nothing() {
        let (faults, server) = (Faults::install(), FakeMilvus::new(Repeats::Succeed));
        let client = server.client("target:1");
        let context = CallContext { timeout: Duration::from_secs(1), cancel: Cancel::default() };
        faults.at_call("CreateDatabase", 1, CallFault::Unreachable);
        client.marked(Mark::OF_NO_COLLECTION).create_database("a", &context).unwrap_err();
        assert!(!client.has_lost_server());
        client.marked(Mark::OF_NO_COLLECTION).create_database("a", &context).unwrap();
        assert!(!faults.trace().contains(&"ListDatabases".to_owned()), "{:?}", faults.trace());
    }
}
