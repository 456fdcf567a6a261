//! The role of a task, and how it came to it, as answers have it.

use serde_json::{Map, Value, json};

use crate::task::failover::{DrainedLog, FailoverReport};
use crate::task::role::{Handover, Role, RoleState};
use crate::task::switchover::SwitchoverReport;

/// A role as answers have it.
pub(super) fn role(role: &RoleState) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("state".into(), role.name().into());
    data.insert("epoch".into(), role.epoch.0.into());
    let by = match &role.role {
        Role::Reversed(reversed) => Some(&reversed.by),
        Role::Switching(switchover) => switchover.step.by(),
        _ => None,
    };
    let report = match &role.role {
        Role::Reversed(reversed) => match &reversed.handover {
            Handover::FailedOver(report) => of_failover(report),
            Handover::SwitchedOver(report) => of_switchover(report),
        },
        _ => role.report().map_or(Value::Null, of_failover),
    };
    data.insert("report".into(), report);
    if let Some(by) = by {
        data.insert("by".into(), by.as_str().into());
    }
    data
}

fn of_failover(report: &FailoverReport) -> Value {
    let incomplete = report.incomplete.iter().map(|one| json!({"collection": one.collection, "why": one.why}));
    let channels = report.channels.iter();
    let channels = channels.map(|one| json!({"channel": one.channel, "acknowledged_ms": one.acknowledged_ms}));
    json!({
        "sentence": report.sentence(),
        "at_ms": report.at_ms,
        "acknowledged_ms": report.acknowledged_ms,
        "read_ms": report.read_ms,
        "last_sign_ms": report.last_sign_ms,
        "log_read_to_end": report.log == DrainedLog::ToItsEnd,
        "incomplete": incomplete.collect::<Vec<_>>(),
        "unknown_collections": report.unknown_collections,
        "channels": channels.collect::<Vec<_>>(),
    })
}

fn of_switchover(report: &SwitchoverReport) -> Value {
    json!({
        "sentence": report.sentence(),
        "at_ms": report.at_ms,
        "applied_ms": report.applied_ms,
        "last_change_ms": report.last_change_ms,
        "verify": report.comparison.name(),
        "compared": report.compared,
    })
}
