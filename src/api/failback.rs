/*!
The request `failback`: what becomes of a primary that was given up and is back. Its log may take a while to be read, so
a beginning is answered at once, and a later request gets what was found.
*/

use serde_json::{Map, Value, json};

use super::decode::{Object, Problems};
use super::error::{ApiError, RequestError};
use super::role::role;
use crate::manager::{FailbackOrder, TaskView};
use crate::task::failback::{
    AfterListing, Failback, FailbackIntent, FailbackOutcome, FailbackStep, LostLines, LostWrites, LostWritesPlan,
    Rebuild,
};
use crate::task::role::Role;

/// The fields of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailbackParams {
    pub(super) task_id: String,
    pub(super) action: FailbackAction,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailbackAction {
    /// To look.
    Status,
    /// Lines of the list, from this place on.
    Export(u64),
    /// To do it.
    Order(FailbackOrder),
}

impl FailbackParams {
    /// Decodes and validates a request.
    ///
    /// # Errors
    /// [`RequestError`] when a field has the wrong type or an invalid value.
    pub(super) fn decode(data: Option<&Map<String, Value>>) -> Result<Self, RequestError> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let task_id = root.text("task_id", &mut problems);
        let action = root.text("action", &mut problems);
        let lost_writes = root.text("lost_writes", &mut problems);
        let rebuild = root.flag("rebuild", &mut problems);
        let dry_run = root.flag("dry_run", &mut problems);
        let from = root.integer("from", &mut problems);
        problems.or(()).map_err(RequestError::Decode)?;
        let plan = match lost_writes.as_str() {
            "" | "ask" => LostWritesPlan::Ask,
            "merge" => LostWritesPlan::Merge,
            "discard" => LostWritesPlan::Discard,
            other => return Err(ApiError::client(format!("invalid lost_writes: {other} (ask, merge, discard)")).into()),
        };
        let rebuild = if rebuild { Rebuild::Ordered } else { Rebuild::Refused };
        let begin = |intent| FailbackAction::Order(FailbackOrder::Begin { intent, plan, rebuild });
        let action = match action.as_str() {
            "" | "begin" if dry_run => begin(FailbackIntent::List),
            "" | "begin" => begin(FailbackIntent::GoOn),
            "list" => begin(FailbackIntent::List),
            "status" => FailbackAction::Status,
            "cancel" => FailbackAction::Order(FailbackOrder::Cancel),
            "export" => FailbackAction::Export(u64::try_from(from).unwrap_or_default()),
            other => {
                let why = format!("invalid action: {other} (begin, list, status, cancel, export)");
                return Err(ApiError::client(why).into());
            }
        };
        Ok(FailbackParams { task_id, action })
    }
}

/// The `data` of an answer to `failback`.
pub(super) fn shown(view: &TaskView, writes: Option<&LostWrites>) -> Map<String, Value> {
    let mut data = role(&view.role);
    data.insert("lost_writes".into(), writes.map_or(Value::Null, lost_writes));
    if let Role::FailingBack(failback, _) = &view.role.role {
        let Failback { since_ms, step, intent, plan, rebuild, .. } = failback;
        let step = match step {
            FailbackStep::Listing => "listing",
            FailbackStep::Merging => "merging",
            FailbackStep::Reversing => "reversing",
        };
        data.insert("step".into(), step.into());
        data.insert("since_ms".into(), (*since_ms).into());
        data.insert("only_list".into(), (*intent == FailbackIntent::List).into());
        data.insert("plan".into(), json!(plan));
        data.insert("rebuild".into(), (*rebuild == Rebuild::Ordered).into());
        data.insert("waiting_for".into(), json!(view.status.reason));
    }
    data
}

/// The `data` of an answer with lines.
pub(super) fn exported(page: LostLines) -> Map<String, Value> {
    Map::from_iter([("lines".to_owned(), json!(page.lines)), ("next".to_owned(), json!(page.next))])
}

fn lost_writes(writes: &LostWrites) -> Value {
    let collections = writes.collections.iter().map(|one| {
        json!({
            "collection": one.collection, "target": one.target, "puts": one.puts, "deletes": one.deletes,
            "mergeable": one.mergeable, "undecided": one.undecided, "same": one.same,
        })
    });
    let unknown = writes.unknown.iter().map(|one| json!({"collection": one.collection, "why": one.why}));
    let would = |plan| match writes.lead_to(plan, Rebuild::Refused) {
        AfterListing::Merge => json!({"possible": true, "writes": writes.mergeable(), "why_not": null}),
        AfterListing::End(FailbackOutcome::Refused(why)) => json!({"possible": false, "writes": 0, "why_not": why}),
        AfterListing::End(_) => json!({"possible": true, "writes": 0, "why_not": null}),
    };
    let outcome = match &writes.outcome {
        None => Value::Null,
        Some(outcome) => {
            let is = match outcome {
                FailbackOutcome::Refused(_) => "refused",
                FailbackOutcome::Settled(_) => "settled",
                FailbackOutcome::Merged { .. } => "merged",
            };
            json!({"is": is, "sentence": writes.outcome_sentence()})
        }
    };
    json!({
        "at_ms": writes.at_ms,
        "uri": writes.address,
        "primary": writes.primary,
        "sentence": writes.sentence(),
        "unlisted": writes.unlisted,
        "keys": writes.keys(),
        "mergeable": writes.mergeable(),
        "undecided": writes.undecided(),
        "collections": collections.collect::<Vec<_>>(),
        "unknown": unknown.collect::<Vec<_>>(),
        "would": {"ask": would(LostWritesPlan::Ask), "merge": would(LostWritesPlan::Merge),
            "discard": would(LostWritesPlan::Discard)},
        "outcome": outcome,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(data: Value) -> Result<FailbackAction, String> {
        FailbackParams::decode(data.as_object()).map(|params| params.action).map_err(|error| error.to_string())
    }

    #[test]
    fn requests() {
        let begin = |intent, plan, rebuild| Ok(FailbackAction::Order(FailbackOrder::Begin { intent, plan, rebuild }));
        use FailbackIntent::{GoOn, List};
        use LostWritesPlan::{Ask, Discard, Merge};
        assert_eq!(action(json!({"task_id": "a"})), begin(GoOn, Ask, Rebuild::Refused), "asks");
        assert_eq!(action(json!({"lost_writes": "merge"})), begin(GoOn, Merge, Rebuild::Refused));
        let rebuilt = json!({"action": "begin", "lost_writes": "discard", "rebuild": true});
        assert_eq!(action(rebuilt), begin(GoOn, Discard, Rebuild::Ordered));
        assert_eq!(action(json!({"dry_run": true, "lost_writes": "merge"})), begin(List, Merge, Rebuild::Refused));
        assert_eq!(action(json!({"action": "list"})), begin(List, Ask, Rebuild::Refused));
        assert_eq!(action(json!({"action": "status", "dry_run": true})), Ok(FailbackAction::Status));
        assert_eq!(action(json!({"action": "export", "from": 7})), Ok(FailbackAction::Export(7)));
        assert_eq!(action(json!({"action": "cancel"})), Ok(FailbackAction::Order(FailbackOrder::Cancel)));
        assert!(action(json!({"action": "stop"})).unwrap_err().contains("begin, list, status, cancel, export"));
        assert!(action(json!({"lost_writes": "all"})).unwrap_err().contains("ask, merge, discard"));
    }
}
