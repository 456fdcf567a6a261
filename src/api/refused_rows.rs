//! The request `refused_rows`: rows that a target refuses for good, and what a user decides about them.

use serde_json::{Map, Value, json};

use crate::domain::Timestamp;
use crate::task::refused_rows::{RefusedRow, RefusedRowsDecision};

/// What a user may decide.
pub(super) const DECISIONS: [(&str, RefusedRowsDecision); 2] =
    [("apply", RefusedRowsDecision::Apply), ("discard", RefusedRowsDecision::Discard)];

/// The answer: what is set aside, or what was decided about. The rows' contents are in the task's file alone.
pub(super) fn shown(rows: &[RefusedRow]) -> Map<String, Value> {
    let one = |row: &RefusedRow| {
        json!({
            "collection_id": row.collection_id,
            "target": row.target,
            "partition": row.partition,
            "key": row.key,
            "channel": row.channel,
            "time": Timestamp(row.timestamp).physical_ms(),
            "since": row.since_ms,
            "reason": row.reason,
        })
    };
    Map::from_iter([("refused_rows".to_owned(), rows.iter().map(one).collect())])
}

#[cfg(test)]
mod tests {
    use super::super::decision::DecisionParams;
    use super::*;

    #[test]
    fn actions() {
        let decision = |action: &str| {
            let request = json!({"task_id": "a", "action": action});
            DecisionParams::decode(request.as_object(), &DECISIONS).map(|params| params.decision)
        };
        assert_eq!((decision("").unwrap(), decision("list").unwrap()), (None, None));
        assert_eq!(decision("apply").unwrap(), Some(RefusedRowsDecision::Apply));
        assert_eq!(decision("discard").unwrap(), Some(RefusedRowsDecision::Discard));
        assert!(decision("drop").unwrap_err().to_string().contains("list, apply, discard"));
    }
}
