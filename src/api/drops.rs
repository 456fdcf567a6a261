//! The request `drops`: what a task holds instead of dropping it, and what a user decides about it.

use serde_json::{Map, Value, json};

use crate::task::drops::{DropDecision, DropsView, HeldDrop, HeldKind, SetAside};

/// What a user may decide.
pub(super) const DECISIONS: [(&str, DropDecision); 2] =
    [("confirm", DropDecision::Confirm), ("discard", DropDecision::Discard)];

/// The answer: what is held, or what was decided about, and what is kept under another name.
pub(super) fn shown(drops: &DropsView) -> Map<String, Value> {
    let one = |drop: &HeldDrop| {
        let kind = match drop.kind {
            HeldKind::Collection => "collection",
            HeldKind::Database => "database",
        };
        json!({
            "kind": kind,
            "source": drop.source,
            "target": drop.target,
            "collection_id": drop.id,
            "since": drop.since_ms,
        })
    };
    let aside = |one: &SetAside| json!({"source": one.source, "target": one.target, "until": one.until_ms});
    Map::from_iter([
        ("drops".to_owned(), drops.held.iter().map(one).collect()),
        ("set_aside".to_owned(), drops.set_aside.iter().map(aside).collect()),
    ])
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
        assert_eq!(decision("confirm").unwrap(), Some(DropDecision::Confirm));
        assert_eq!(decision("discard").unwrap(), Some(DropDecision::Discard));
        assert!(decision("drop").unwrap_err().to_string().contains("list, confirm, discard"));
    }
}
