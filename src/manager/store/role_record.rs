//! The stored form of a task's role. A role of a later version is refused, as everything is that is not known.

use serde::{Deserialize, Serialize};

use crate::domain::{InvalidTaskId, TaskId};
use crate::task::failback::{Failback, FailbackIntent, FailbackStep, LostWritesPlan, Rebuild};
use crate::task::failover::{DrainedChannel, DrainedLog, FailoverReport, IncompleteCollection};
use crate::task::role::{Epoch, Failover, Handover, Insistence, Reversed, Role, RoleState};
use crate::task::switchover::{FinalComparison, Switchover, SwitchoverReport, SwitchoverStep};

/// A role with its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleRecord {
    epoch: u64,
    role: PartRecord,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "is", rename_all = "snake_case")]
enum PartRecord {
    Forward,
    FailingOver { since_ms: u64, forced: bool, last_sign_ms: Option<u64> },
    FailedOver { report: ReportRecord },
    FailingBack { failback: FailbackRecord, report: ReportRecord },
    Reversed { by: String, since_ms: u64, report: ReportRecord },
    Switching { since_ms: u64, step: SwitchingRecord, quiet_ms: u64, comparison: ComparisonRecord },
    SwitchedOver { by: String, since_ms: u64, report: SwitchedRecord },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum SwitchingRecord {
    Opening,
    Draining { by: String },
    Comparing { by: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ComparisonRecord {
    None,
    Keys,
    Rows,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchedRecord {
    at_ms: u64,
    applied_ms: u64,
    last_change_ms: Option<u64>,
    comparison: ComparisonRecord,
    compared: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailbackRecord {
    since_ms: u64,
    step: StepRecord,
    only_list: bool,
    lost_writes: LostWritesPlan,
    rebuild: bool,
    drained_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StepRecord {
    Listing,
    Merging,
    Reversing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportRecord {
    at_ms: u64,
    acknowledged_ms: Option<u64>,
    read_ms: Option<u64>,
    last_sign_ms: Option<u64>,
    /// Why the log was not read to its end; none: it was.
    log_in_part: Option<String>,
    /// Collection and why.
    incomplete: Vec<(String, String)>,
    unknown_collections: usize,
    /// Channel and how far it was acknowledged.
    channels: Vec<(String, u64)>,
}

impl RoleRecord {
    /// `None` for a task whose role has never changed, so that earlier versions can read it.
    pub(super) fn of(state: &RoleState) -> Option<RoleRecord> {
        (*state != RoleState::default())
            .then(|| RoleRecord { epoch: state.epoch.0, role: PartRecord::from(&state.role) })
    }
}

impl TryFrom<RoleRecord> for RoleState {
    type Error = InvalidTaskId;

    fn try_from(record: RoleRecord) -> Result<Self, InvalidTaskId> {
        Ok(RoleState { role: record.role.try_into()?, epoch: Epoch(record.epoch) })
    }
}

impl From<&Role> for PartRecord {
    fn from(role: &Role) -> Self {
        match role {
            Role::Forward => PartRecord::Forward,
            Role::FailingOver(Failover { since_ms, insistence, last_sign_ms }) => PartRecord::FailingOver {
                since_ms: *since_ms,
                forced: *insistence == Insistence::Forced,
                last_sign_ms: *last_sign_ms,
            },
            Role::FailedOver(report) => PartRecord::FailedOver { report: ReportRecord::from(report.as_ref()) },
            Role::FailingBack(failback, report) => PartRecord::FailingBack {
                failback: FailbackRecord::from(failback),
                report: ReportRecord::from(report.as_ref()),
            },
            Role::Switching(switchover) => PartRecord::Switching {
                since_ms: switchover.since_ms,
                step: SwitchingRecord::from(&switchover.step),
                quiet_ms: switchover.quiet_ms,
                comparison: switchover.comparison.into(),
            },
            Role::Reversed(reversed) => {
                let (by, since_ms) = (reversed.by.to_string(), reversed.since_ms);
                match &reversed.handover {
                    Handover::FailedOver(report) => PartRecord::Reversed { by, since_ms, report: report.into() },
                    Handover::SwitchedOver(report) => PartRecord::SwitchedOver { by, since_ms, report: report.into() },
                }
            }
        }
    }
}

impl TryFrom<PartRecord> for Role {
    type Error = InvalidTaskId;

    fn try_from(record: PartRecord) -> Result<Self, InvalidTaskId> {
        Ok(match record {
            PartRecord::Forward => Role::Forward,
            PartRecord::FailingOver { since_ms, forced, last_sign_ms } => {
                let insistence = if forced { Insistence::Forced } else { Insistence::Patient };
                Role::FailingOver(Failover { since_ms, insistence, last_sign_ms })
            }
            PartRecord::FailedOver { report } => Role::FailedOver(Box::new(report.into())),
            PartRecord::FailingBack { failback, report } => Role::FailingBack(failback.into(), Box::new(report.into())),
            PartRecord::Reversed { by, since_ms, report } => {
                let handover = Handover::FailedOver(report.into());
                Role::Reversed(Box::new(Reversed { by: TaskId::parse(&by)?, since_ms, handover }))
            }
            PartRecord::SwitchedOver { by, since_ms, report } => {
                let handover = Handover::SwitchedOver(report.into());
                Role::Reversed(Box::new(Reversed { by: TaskId::parse(&by)?, since_ms, handover }))
            }
            PartRecord::Switching { since_ms, step, quiet_ms, comparison } => {
                let (step, comparison) = (step.try_into()?, comparison.into());
                Role::Switching(Switchover { since_ms, step, quiet_ms, comparison })
            }
        })
    }
}

impl From<&Failback> for FailbackRecord {
    fn from(failback: &Failback) -> Self {
        FailbackRecord {
            since_ms: failback.since_ms,
            step: match failback.step {
                FailbackStep::Listing => StepRecord::Listing,
                FailbackStep::Merging => StepRecord::Merging,
                FailbackStep::Reversing => StepRecord::Reversing,
            },
            only_list: failback.intent == FailbackIntent::List,
            lost_writes: failback.plan,
            rebuild: failback.rebuild == Rebuild::Ordered,
            drained_ms: failback.drained_ms,
        }
    }
}

impl From<FailbackRecord> for Failback {
    fn from(record: FailbackRecord) -> Self {
        Failback {
            since_ms: record.since_ms,
            step: match record.step {
                StepRecord::Listing => FailbackStep::Listing,
                StepRecord::Merging => FailbackStep::Merging,
                StepRecord::Reversing => FailbackStep::Reversing,
            },
            intent: if record.only_list { FailbackIntent::List } else { FailbackIntent::GoOn },
            plan: record.lost_writes,
            rebuild: if record.rebuild { Rebuild::Ordered } else { Rebuild::Refused },
            drained_ms: record.drained_ms,
        }
    }
}

impl From<&SwitchoverStep> for SwitchingRecord {
    fn from(step: &SwitchoverStep) -> Self {
        match step {
            SwitchoverStep::Opening => SwitchingRecord::Opening,
            SwitchoverStep::Draining(by) => SwitchingRecord::Draining { by: by.to_string() },
            SwitchoverStep::Comparing(by) => SwitchingRecord::Comparing { by: by.to_string() },
        }
    }
}

impl TryFrom<SwitchingRecord> for SwitchoverStep {
    type Error = InvalidTaskId;

    fn try_from(record: SwitchingRecord) -> Result<Self, InvalidTaskId> {
        Ok(match record {
            SwitchingRecord::Opening => SwitchoverStep::Opening,
            SwitchingRecord::Draining { by } => SwitchoverStep::Draining(TaskId::parse(&by)?),
            SwitchingRecord::Comparing { by } => SwitchoverStep::Comparing(TaskId::parse(&by)?),
        })
    }
}

impl From<FinalComparison> for ComparisonRecord {
    fn from(comparison: FinalComparison) -> Self {
        match comparison {
            FinalComparison::Nothing => ComparisonRecord::None,
            FinalComparison::Keys => ComparisonRecord::Keys,
            FinalComparison::Rows => ComparisonRecord::Rows,
        }
    }
}

impl From<ComparisonRecord> for FinalComparison {
    fn from(record: ComparisonRecord) -> Self {
        match record {
            ComparisonRecord::None => FinalComparison::Nothing,
            ComparisonRecord::Keys => FinalComparison::Keys,
            ComparisonRecord::Rows => FinalComparison::Rows,
        }
    }
}

impl From<&SwitchoverReport> for SwitchedRecord {
    fn from(report: &SwitchoverReport) -> Self {
        let SwitchoverReport { at_ms, applied_ms, last_change_ms, comparison, compared } = *report;
        SwitchedRecord { at_ms, applied_ms, last_change_ms, comparison: comparison.into(), compared }
    }
}

impl From<SwitchedRecord> for SwitchoverReport {
    fn from(record: SwitchedRecord) -> Self {
        let SwitchedRecord { at_ms, applied_ms, last_change_ms, comparison, compared } = record;
        SwitchoverReport { at_ms, applied_ms, last_change_ms, comparison: comparison.into(), compared }
    }
}

impl From<&FailoverReport> for ReportRecord {
    fn from(report: &FailoverReport) -> Self {
        ReportRecord {
            at_ms: report.at_ms,
            acknowledged_ms: report.acknowledged_ms,
            read_ms: report.read_ms,
            last_sign_ms: report.last_sign_ms,
            log_in_part: match &report.log {
                DrainedLog::ToItsEnd => None,
                DrainedLog::InPart(why) => Some(why.clone()),
            },
            incomplete: report.incomplete.iter().map(|one| (one.collection.clone(), one.why.clone())).collect(),
            unknown_collections: report.unknown_collections,
            channels: report.channels.iter().map(|one| (one.channel.clone(), one.acknowledged_ms)).collect(),
        }
    }
}

impl From<ReportRecord> for FailoverReport {
    fn from(record: ReportRecord) -> Self {
        let incomplete = |(collection, why)| IncompleteCollection { collection, why };
        let channel = |(channel, acknowledged_ms)| DrainedChannel { channel, acknowledged_ms };
        FailoverReport {
            at_ms: record.at_ms,
            acknowledged_ms: record.acknowledged_ms,
            read_ms: record.read_ms,
            last_sign_ms: record.last_sign_ms,
            log: record.log_in_part.map_or(DrainedLog::ToItsEnd, DrainedLog::InPart),
            incomplete: record.incomplete.into_iter().map(incomplete).collect(),
            unknown_collections: record.unknown_collections,
            channels: record.channels.into_iter().map(channel).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> [Role; 9] {
        let report = FailoverReport {
            at_ms: 9,
            acknowledged_ms: Some(5),
            read_ms: None,
            last_sign_ms: Some(7),
            log: DrainedLog::InPart("gone".into()),
            incomplete: vec![IncompleteCollection { collection: "d.a".into(), why: "paused".into() }],
            unknown_collections: 2,
            channels: vec![DrainedChannel { channel: "dml_0".into(), acknowledged_ms: 5 }],
        };
        let drained = FailoverReport { log: DrainedLog::ToItsEnd, ..report.clone() };
        let failover = Failover { since_ms: 3, insistence: Insistence::Forced, last_sign_ms: Some(2) };
        let by = TaskId::parse("back").unwrap();
        let comparison = FinalComparison::Rows;
        let switching = |step| Role::Switching(Switchover { since_ms: 5, step, quiet_ms: 900, comparison });
        let switched = SwitchoverReport { at_ms: 7, applied_ms: 6, last_change_ms: Some(5), comparison, compared: 4 };
        let failback = Failback {
            since_ms: 4,
            step: FailbackStep::Merging,
            intent: FailbackIntent::GoOn,
            plan: LostWritesPlan::Merge,
            rebuild: Rebuild::Ordered,
            drained_ms: Some(6),
        };
        [
            Role::Forward,
            Role::FailingOver(failover),
            Role::FailedOver(Box::new(report)),
            Role::FailedOver(Box::new(drained)),
            Role::FailingBack(failback, Box::default()),
            Role::Reversed(Box::new(Reversed {
                handover: Handover::FailedOver(FailoverReport::default()),
                by: by.clone(),
                since_ms: 8,
            })),
            switching(SwitchoverStep::Opening),
            switching(SwitchoverStep::Comparing(by.clone())),
            Role::Reversed(Box::new(Reversed { handover: Handover::SwitchedOver(switched), by, since_ms: 7 })),
        ]
    }

    #[test]
    fn every_role_survives_the_file() {
        for role in roles() {
            let state = RoleState { role, epoch: Epoch(4) };
            let text = serde_json::to_string(&RoleRecord::of(&state).unwrap()).unwrap();
            let read: RoleRecord = serde_json::from_str(&text).unwrap();
            assert_eq!(RoleState::try_from(read), Ok(state), "{text}");
        }
        assert_eq!(RoleRecord::of(&RoleState::default()), None);
    }

    #[test]
    fn files_of_this_version_stay_readable() {
        let texts = roles().map(|role| serde_json::to_string(&PartRecord::from(&role)).unwrap());
        assert_eq!(texts[0], r#"{"is":"forward"}"#);
        assert_eq!(texts[1], r#"{"is":"failing_over","since_ms":3,"forced":true,"last_sign_ms":2}"#);
        assert_eq!(
            texts[2],
            concat!(
                r#"{"is":"failed_over","report":{"at_ms":9,"acknowledged_ms":5,"read_ms":null,"last_sign_ms":7,"#,
                r#""log_in_part":"gone","incomplete":[["d.a","paused"]],"unknown_collections":2,"#,
                r#""channels":[["dml_0",5]]}}"#
            )
        );
        let failback = r#"{"is":"failing_back","failback":{"since_ms":4,"step":"merging","only_list":false,"#;
        assert!(
            texts[4].starts_with(&format!(r#"{failback}"lost_writes":"merge","rebuild":true,"drained_ms":6}},"#)),
            "{}",
            texts[4]
        );
        assert!(texts[5].starts_with(r#"{"is":"reversed","by":"back","since_ms":8,"report":{"#), "{}", texts[5]);
        assert_eq!(
            texts[7],
            r#"{"is":"switching","since_ms":5,"step":{"comparing":{"by":"back"}},"quiet_ms":900,"comparison":"rows"}"#
        );
        assert_eq!(
            texts[8],
            concat!(
                r#"{"is":"switched_over","by":"back","since_ms":7,"report":{"at_ms":7,"applied_ms":6,"#,
                r#""last_change_ms":5,"comparison":"rows","compared":4}}"#
            )
        );
        serde_json::from_str::<PartRecord>(r#"{"is":"reverse"}"#).unwrap_err();
    }
}
