/*!
The requests `verify` and `repair`: they start a comparison, show its progress and result, or cancel it. Reading all
rows takes long, so a start is answered at once, and a later request gets the result.
*/

use serde_json::{Map, Value, json};

use super::decode::{Object, Problems};
use super::error::{ApiError, RequestError};
use crate::verify::{
    CatalogDifference, CollectionReport, CountVerdict, Depth, RowDifference, VerifyOutcome, VerifyReport,
    VerifyRequest, VerifyState, VerifyView,
};

/// The fields of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerifyParams {
    pub(super) task_id: String,
    pub(super) action: Action,
    pub(super) request: VerifyRequest,
}

/// The request's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// `verify`
    Compare,
    /// `repair`: write what differs to the target, unless it is a dry run.
    Repair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Status,
    Cancel,
}

impl VerifyParams {
    /// Decodes and validates a request.
    ///
    /// # Errors
    /// [`RequestError`] when a field has the wrong type or an invalid value, or fields exclude each other.
    pub(super) fn decode(data: Option<&Map<String, Value>>, intent: Intent) -> Result<Self, RequestError> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let task_id = root.text("task_id", &mut problems);
        let action = root.text("action", &mut problems);
        let keys_only = root.flag("keys_only", &mut problems);
        let sample = root.integer("sample", &mut problems);
        let dry_run = root.flag("dry_run", &mut problems);
        problems.or(()).map_err(RequestError::Decode)?;
        let action = match action.as_str() {
            "" | "start" => Action::Start,
            "status" => Action::Status,
            "cancel" => Action::Cancel,
            other => return Err(ApiError::client(format!("invalid action: {other} (start, status, cancel)")).into()),
        };
        let depth = match (keys_only, u64::try_from(sample)) {
            (false, Ok(0)) => Depth::Rows,
            (true, Ok(0)) => Depth::Keys,
            (false, Ok(rows)) => Depth::Sample(rows),
            (true, Ok(_)) => return Err(ApiError::client("keys_only and sample exclude each other").into()),
            (_, Err(_)) => return Err(ApiError::client("sample must be a number of rows").into()),
        };
        let request = VerifyRequest { depth, repair: intent == Intent::Repair && !dry_run };
        Ok(VerifyParams { task_id, action, request })
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

fn result(outcome: &VerifyOutcome) -> Value {
    let mut result = report(&outcome.report);
    if let Some(before) = &outcome.before {
        result["before"] = report(before);
    }
    result
}

fn report(report: &VerifyReport) -> Value {
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
    json!({
        "source": report.source.to_string(),
        "target": report.target.to_string(),
        "equal": !report.differs() && report.failure.is_none(),
        "reason": report.failure,
        "catalog": report.catalog.iter().map(catalog).collect::<Vec<_>>(),
        "source_count": counts.source,
        "target_count": counts.target,
        "counts_differ": counts.verdict == CountVerdict::Different,
        "counts_unsettled": counts.verdict == CountVerdict::Unsettled,
        "compared": counts.compared,
        "missing": counts.missing,
        "extra": counts.extra,
        "outlived": counts.outlived,
        "different": counts.different,
        "misplaced": counts.misplaced,
        "unsettled": counts.unsettled,
        "first": report.first.iter().map(row).collect::<Vec<_>>(),
    })
}

fn catalog(found: &CatalogDifference) -> Value {
    json!({"what": found.what, "difference": found.difference})
}

/// The key as text: many JSON parsers cannot hold an int64.
fn row(row: &RowDifference) -> Value {
    json!({"key": row.key.to_string(), "partition": row.partition, "kind": row.kind.name()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(data: &Value, intent: Intent) -> Result<VerifyParams, String> {
        VerifyParams::decode(data.as_object(), intent).map_err(|error| match error {
            RequestError::Refused(error) => error.message,
            RequestError::Decode(problems) => panic!("{problems}"),
        })
    }

    #[test]
    fn requests() {
        let plain = params(&json!({"task_id": "a"}), Intent::Compare).unwrap();
        assert_eq!(plain.request, VerifyRequest { depth: Depth::Rows, repair: false });
        assert_eq!(plain.action, Action::Start);
        let repair = params(&json!({"task_id": "a", "sample": 5}), Intent::Repair).unwrap();
        assert_eq!(repair.request, VerifyRequest { depth: Depth::Sample(5), repair: true });
        let dry =
            params(&json!({"task_id": "a", "dry_run": true, "keys_only": true, "action": "status"}), Intent::Repair)
                .unwrap();
        assert_eq!((dry.request.repair, dry.request.depth, dry.action), (false, Depth::Keys, Action::Status));
        assert!(params(&json!({"sample": -1}), Intent::Compare).is_err());
        assert!(params(&json!({"sample": 1, "keys_only": true}), Intent::Compare).is_err());
        assert!(params(&json!({"action": "stop"}), Intent::Compare).unwrap_err().contains("cancel"));
        let decoded = VerifyParams::decode(json!({"sample": "many"}).as_object(), Intent::Compare);
        assert!(matches!(decoded, Err(RequestError::Decode(_))));
    }

    #[test]
    fn nothing_yet() {
        assert_eq!(Value::from(shown(None)), json!({"state": "none"}));
    }
}
