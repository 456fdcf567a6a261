//! Counting the calls of a task's two connections.

use std::sync::Arc;

use crate::milvus::{Error, ErrorKind, Observer};
use crate::observe::metrics;

/// Which connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Target,
}

/// Counts for metrics.
#[derive(Debug)]
pub(super) struct CallMetrics {
    task: String,
    side: Side,
}

impl CallMetrics {
    pub(super) fn new(task: &str, side: Side) -> Arc<CallMetrics> {
        Arc::new(CallMetrics { task: task.into(), side })
    }
}

/// Calls that change nothing. Everything else that the target acknowledges is counted as carried out.
const QUESTIONS: [&str; 11] = [
    "Connect",
    "GetVersion",
    "ReplicateMessage",
    "ListDatabases",
    "ShowCollections",
    "DescribeCollection",
    "ShowPartitions",
    "DescribeIndex",
    "GetLoadState",
    "GetReplicas",
    "Query",
];

impl Observer for CallMetrics {
    fn ended(&self, method: &'static str, error: Option<&Error>) {
        match error {
            None if self.side == Side::Target && !QUESTIONS.contains(&method) => metrics::call_done(&self.task, method),
            None => {}
            // We have given it up ourselves.
            Some(error) if error.kind == ErrorKind::Cancelled || error.is_answer() => {}
            Some(error) => {
                let side = match self.side {
                    Side::Source => "source",
                    Side::Target => "target",
                };
                metrics::call_failed(&self.task, side, error.kind.name());
            }
        }
    }
}
