/*!
The requests `verify` and `repair`: they start a comparison, or show how far it has come, and end it. It takes as long as the rows take to be
read, so the answer comes at once and the result with a later request.
*/

use serde_json::{Map, Value, json};

use super::decode::{Object, Problems};
use super::error::ApiError;
use crate::task::verify::{
    CollectionReport, CountVerdict, Depth, Outcome, Report, RowDifference, VerifyRequest, VerifyState, VerifyView,
};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerifyParams {
    pub(super) task_id: String,
    pub(super) action: Action,
    pub(super) request: VerifyRequest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Status,
    Cancel,
}

impl VerifyParams {
    /// Decodes and judges. `repair` is the request's type.
    pub(super) fn decode(data: Option<&Map<String, Value>>, repair: bool) -> Result<Result<Self, ApiError>, String> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let task_id = root.text("task_id", &mut problems);
        let action = root.text("action", &mut problems);
        let keys_only = root.flag("keys_only", &mut problems);
        let sample = root.integer("sample", &mut problems);
        let dry_run = root.flag("dry_run", &mut problems);
        problems.or(())?;
        let action = match action.as_str() {
            "" | "start" => Action::Start,
            "status" => Action::Status,
            "cancel" => Action::Cancel,
            other => return Ok(Err(ApiError::client(format!("invalid action: {other} (start, status, cancel)")))),
        };
        let depth = match (keys_only, u64::try_from(sample)) {
            (false, Ok(0)) => Depth::Rows,
            (true, Ok(0)) => Depth::Keys,
            (false, Ok(rows)) => Depth::Sample(rows),
            (true, Ok(_)) => return Ok(Err(ApiError::client("keys_only and sample exclude each other"))),
            (_, Err(_)) => return Ok(Err(ApiError::client("sample must be a number of rows"))),
        };
        let request = VerifyRequest { depth, repair: repair && !dry_run };
        Ok(Ok(VerifyParams { task_id, action, request }))
    }
}

/// The `data` of the answer.
pub(super) fn shown(view: Option<&VerifyView>) -> Map<String, Value> {
    let mut data = Map::new();
    let Some(view) = view else {
        data.insert("state".into(), "none".into());
        return data;
    };
    let (state, outcome) = match &view.state {
        VerifyState::Running => ("running", None),
        VerifyState::Cancelled => ("cancelled", None),
        VerifyState::Done(outcome) => ("done", Some(outcome)),
    };
    let (depth, sample) = match view.request.depth {
        Depth::Rows => ("rows", 0),
        Depth::Keys => ("keys", 0),
        Depth::Sample(rows) => ("sample", rows),
    };
    let progress = &view.progress;
    data.insert("state".into(), state.into());
    data.insert("depth".into(), depth.into());
    data.insert("sample".into(), sample.into());
    data.insert("repair".into(), view.request.repair.into());
    data.insert(
        "progress".into(),
        json!({
            "doing": progress.doing,
            "collections": progress.collections,
            "of_collections": progress.of_collections,
            "rows": progress.rows,
            "of_rows": progress.of_rows,
        }),
    );
    data.insert("result".into(), outcome.map_or(Value::Null, |outcome| result(outcome)));
    data
}

fn result(outcome: &Outcome) -> Value {
    let mut result = report(&outcome.report);
    if let Some(before) = &outcome.before {
        result["before"] = report(before);
    }
    result
}

fn report(report: &Report) -> Value {
    let verdict = match (report.differs(), report.is_incomplete()) {
        (true, _) => "different",
        (false, true) => "not compared",
        (false, false) => "equal",
    };
    json!({
        "verdict": verdict,
        "reason": report.failure,
        "collections": report.collections.iter().map(collection).collect::<Vec<_>>(),
    })
}

fn collection(report: &CollectionReport) -> Value {
    let counts = &report.counts;
    let name = |(db, name): &(String, String)| format!("{db}.{name}");
    json!({
        "source": name(&report.source),
        "target": name(&report.target),
        "equal": !report.differs() && report.failure.is_none(),
        "reason": report.failure,
        "catalog": report.catalog.iter().map(|found| json!({"what": found.what, "difference": found.difference})).collect::<Vec<_>>(),
        "source_count": counts.source,
        "target_count": counts.target,
        "counts_differ": counts.verdict == CountVerdict::Different,
        "counts_unsettled": counts.verdict == CountVerdict::Unsettled,
        "compared": counts.compared,
        "missing": counts.missing,
        "extra": counts.extra,
        "different": counts.different,
        "misplaced": counts.misplaced,
        "unsettled": counts.unsettled,
        "first": report.first.iter().map(row).collect::<Vec<_>>(),
    })
}

/// The key as text: an int64 is more than many readers of JSON hold.
fn row(row: &RowDifference) -> Value {
    json!({"key": row.key.to_string(), "partition": row.partition, "kind": row.kind.name()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(data: &Value, repair: bool) -> Result<VerifyParams, String> {
        VerifyParams::decode(data.as_object(), repair).unwrap().map_err(|error| error.message)
    }

    #[test]
    fn requests() {
        let plain = params(&json!({"task_id": "a"}), false).unwrap();
        assert_eq!(plain.request, VerifyRequest { depth: Depth::Rows, repair: false });
        assert_eq!(plain.action, Action::Start);
        let repair = params(&json!({"task_id": "a", "sample": 5}), true).unwrap();
        assert_eq!(repair.request, VerifyRequest { depth: Depth::Sample(5), repair: true });
        let dry =
            params(&json!({"task_id": "a", "dry_run": true, "keys_only": true, "action": "status"}), true).unwrap();
        assert_eq!((dry.request.repair, dry.request.depth, dry.action), (false, Depth::Keys, Action::Status));
        assert!(params(&json!({"sample": -1}), false).is_err());
        assert!(params(&json!({"sample": 1, "keys_only": true}), false).is_err());
        assert!(params(&json!({"action": "stop"}), false).unwrap_err().contains("cancel"));
        assert!(VerifyParams::decode(json!({"sample": "many"}).as_object(), false).is_err());
    }

    #[test]
    fn nothing_yet() {
        assert_eq!(Value::from(shown(None)), json!({"state": "none"}));
    }
}
