/*!
The stored form of a task. The types are separate from the program's types, which may change without changing the file.

Unknown fields are refused, because dropping one would lose information of another version.
*/

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::role_record::RoleRecord;
use super::source_record::{self, NotedEndsRecord, SourceDefect};
use crate::config::{DialFiles, Secret};
use crate::domain::{InvalidTaskId, TaskId};
use crate::task::definition::{TaskDefinition, TaskState};
use crate::task::drops::OnDrop;
use crate::task::mapping::{DatabaseMapping, NameMapping};
use crate::task::noted_ends::NotedEnds;
use crate::task::position::{PositionError, start_positions};
use crate::task::refused_rows::OnRefused;
use crate::task::role::RoleState;
use crate::task::scope::{Scope, ScopePattern};
use crate::task::spec::{
    LoadPolicy, RpcChannel, SelectedCollection, Selection, TargetAddress, TargetParams, TargetSpec, TargetSpecError,
    TaskSpec,
};

/// One task. No `Debug`: it contains the target's token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskRecord {
    pub(super) task_id: String,
    state: StateRecord,
    target: TargetRecord,
    collection_infos: Option<Vec<SelectionRecord>>,
    db_collections: Option<BTreeMap<String, Vec<SelectionRecord>>>,
    /// Patterns (database, collection) that other tasks replicate.
    excluded: Vec<(String, String)>,
    name_mapping: Vec<MappingRecord>,
    rpc_channel_name: String,
    rpc_channel_position: String,
    disable_auto_start: bool,
    enable_user_role: bool,
    #[serde(default)]
    prune: bool,
    /// Empty for the default, and not written then, so that earlier versions can read the file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    on_drop: String,
    /// The same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    on_refused: String,
    /// Left out for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drop_after_hours: Option<u32>,
    /// Left out for the default, so that an older version reads a task that does not need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load: Option<String>,
    /// Left out as long as it has never changed. An earlier version must not run a task of which it does not know that
    /// its target has taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<RoleRecord>,
    /// Left out for `sourceConfig`. An earlier version must not run a task of a peer as one of its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Left out where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noted_ends: Option<NotedEndsRecord>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "is", rename_all = "snake_case")]
enum StateRecord {
    Running,
    Paused { reason: String, stopped: bool },
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetRecord {
    address: AddressRecord,
    token: String,
    server_name: String,
    server_pem_path: String,
    ca_pem_path: String,
    client_pem_path: String,
    client_key_path: String,
    connect_timeout_s: u32,
    channel_num: i64,
    ignore_partition: bool,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum AddressRecord {
    Uri(String),
    HostPort { host: String, port: i64, enable_tls: bool },
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectionRecord {
    name: String,
    positions: Option<BTreeMap<String, String>>,
    use_start_position: bool,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingRecord {
    source_db: String,
    target_db: String,
    collections: BTreeMap<String, String>,
}

impl From<&TaskDefinition> for TaskRecord {
    fn from(task: &TaskDefinition) -> Self {
        let spec = &task.spec;
        TaskRecord {
            task_id: task.id.to_string(),
            state: StateRecord::from(&task.state),
            target: TargetRecord::from(spec.target.given()),
            collection_infos: spec.selection.collection_infos.as_deref().map(collection_records),
            db_collections: spec
                .selection
                .db_collections
                .as_ref()
                .map(|databases| databases.iter().map(|(db, infos)| (db.clone(), collection_records(infos))).collect()),
            excluded: spec.scope.excluded().iter().map(pattern_names).collect(),
            name_mapping: spec.mapping.databases().iter().map(MappingRecord::from).collect(),
            rpc_channel_name: spec.rpc_channel.name.clone(),
            rpc_channel_position: spec.rpc_channel.position.clone(),
            disable_auto_start: spec.disable_auto_start,
            enable_user_role: spec.enable_user_role,
            prune: spec.prune,
            on_drop: if spec.on_drop == OnDrop::default() { String::new() } else { spec.on_drop.name().into() },
            on_refused: match spec.on_refused {
                OnRefused::Hold => String::new(),
                OnRefused::SetAside => spec.on_refused.name().into(),
            },
            drop_after_hours: spec.on_drop.hours(),
            load: (spec.load != LoadPolicy::default()).then(|| spec.load.name().to_owned()),
            role: RoleRecord::of(&task.role),
            source: source_record::site_of(&spec.source),
            noted_ends: spec.noted_ends.as_deref().map(NotedEndsRecord::from),
        }
    }
}

/// Why a stored task is invalid.
#[derive(Debug, thiserror::Error)]
pub enum TaskDefect {
    /// The JSON has an unknown or missing field, or a value of the wrong type. Values are not shown: they may be
    /// secrets.
    #[error("{0}")]
    Json(String),
    /// Two tasks have the same id.
    #[error("it occurs twice")]
    Duplicate,
    /// The id is no task id.
    #[error(transparent)]
    Id(#[from] InvalidTaskId),
    /// What a drop does is not one of the values of this version.
    #[error("on_drop is {0:?}")]
    OnDrop(String),
    /// What becomes of refused rows is not one of the values of this version.
    #[error("on_refused is {0:?}")]
    OnRefused(String),
    /// Its load policy is none of this version's.
    #[error("unknown load policy {0:?}")]
    Load(String),
    /// Where it replicates from is invalid.
    #[error(transparent)]
    Source(#[from] SourceDefect),
    /// A start position is invalid.
    #[error(transparent)]
    Position(#[from] PositionError),
    /// The target is invalid.
    #[error(transparent)]
    Target(#[from] TargetSpecError),
}

impl TryFrom<TaskRecord> for TaskDefinition {
    type Error = TaskDefect;

    fn try_from(record: TaskRecord) -> Result<Self, TaskDefect> {
        let id = TaskId::parse(&record.task_id)?;
        let selection = Selection {
            collection_infos: record.collection_infos.map(collection_infos),
            db_collections: record
                .db_collections
                .map(|databases| databases.into_iter().map(|(db, infos)| (db, collection_infos(infos))).collect()),
        };
        let mut positions = Vec::new();
        for (_, info) in selection.collections() {
            positions.extend(start_positions(info)?);
        }
        let excluded = record.excluded.iter().map(|(db, collection)| ScopePattern::new(db, collection)).collect();
        let spec = TaskSpec {
            source: source_record::site(record.source)?,
            noted_ends: record.noted_ends.map(NotedEnds::try_from).transpose()?.map(Arc::new),
            target: TargetSpec::new(record.target.into())?,
            scope: Scope::of(&selection).without(excluded),
            selection,
            mapping: NameMapping::new(record.name_mapping.into_iter().map(DatabaseMapping::from).collect()),
            start_positions: positions,
            rpc_channel: RpcChannel { name: record.rpc_channel_name, position: record.rpc_channel_position },
            disable_auto_start: record.disable_auto_start,
            enable_user_role: record.enable_user_role,
            prune: record.prune,
            on_refused: OnRefused::named(&record.on_refused).ok_or(TaskDefect::OnRefused(record.on_refused))?,
            on_drop: on_drop(record.on_drop, record.drop_after_hours)?,
            load: record.load.as_deref().map_or(Ok(LoadPolicy::default()), load_policy)?,
        };
        let role = record.role.map(RoleState::try_from).transpose()?.unwrap_or_default();
        Ok(TaskDefinition { id, spec: Arc::new(spec), state: record.state.into(), role })
    }
}

fn on_drop(name: String, hours: Option<u32>) -> Result<OnDrop, TaskDefect> {
    let on_drop = OnDrop::named(&name).and_then(|on_drop| hours.map_or(Some(on_drop), |hours| on_drop.keeping(hours)));
    on_drop.ok_or(TaskDefect::OnDrop(name))
}

fn load_policy(name: &str) -> Result<LoadPolicy, TaskDefect> {
    LoadPolicy::named(name).ok_or_else(|| TaskDefect::Load(name.to_owned()))
}

impl From<&TaskState> for StateRecord {
    fn from(state: &TaskState) -> Self {
        match state {
            TaskState::Running => StateRecord::Running,
            TaskState::Paused { reason } => StateRecord::Paused { reason: reason.clone(), stopped: false },
            TaskState::Stopped { reason } => StateRecord::Paused { reason: reason.clone(), stopped: true },
        }
    }
}

impl From<StateRecord> for TaskState {
    fn from(record: StateRecord) -> Self {
        match record {
            StateRecord::Running => TaskState::Running,
            StateRecord::Paused { reason, stopped: false } => TaskState::Paused { reason },
            StateRecord::Paused { reason, stopped: true } => TaskState::Stopped { reason },
        }
    }
}

impl From<&TargetParams> for TargetRecord {
    fn from(target: &TargetParams) -> Self {
        let address = match target.address.clone() {
            TargetAddress::Uri(uri) => AddressRecord::Uri(uri),
            TargetAddress::HostPort { host, port, enable_tls } => AddressRecord::HostPort { host, port, enable_tls },
        };
        let dial = target.dial.clone();
        TargetRecord {
            address,
            token: target.token.expose().to_owned(),
            server_name: dial.server_name,
            server_pem_path: dial.server_pem_path,
            ca_pem_path: dial.ca_pem_path,
            client_pem_path: dial.client_pem_path,
            client_key_path: dial.client_key_path,
            connect_timeout_s: target.connect_timeout_s,
            channel_num: target.channel_num,
            ignore_partition: target.ignore_partition,
        }
    }
}

impl From<TargetRecord> for TargetParams {
    fn from(record: TargetRecord) -> Self {
        let address = match record.address {
            AddressRecord::Uri(uri) => TargetAddress::Uri(uri),
            AddressRecord::HostPort { host, port, enable_tls } => TargetAddress::HostPort { host, port, enable_tls },
        };
        TargetParams {
            address,
            token: Secret::new(record.token),
            dial: DialFiles {
                server_name: record.server_name,
                server_pem_path: record.server_pem_path,
                ca_pem_path: record.ca_pem_path,
                client_pem_path: record.client_pem_path,
                client_key_path: record.client_key_path,
            },
            connect_timeout_s: record.connect_timeout_s,
            channel_num: record.channel_num,
            ignore_partition: record.ignore_partition,
        }
    }
}

impl From<&DatabaseMapping> for MappingRecord {
    fn from(mapping: &DatabaseMapping) -> Self {
        let DatabaseMapping { source_db, target_db, collections } = mapping.clone();
        MappingRecord { source_db, target_db, collections }
    }
}

impl From<MappingRecord> for DatabaseMapping {
    fn from(record: MappingRecord) -> Self {
        let MappingRecord { source_db, target_db, collections } = record;
        DatabaseMapping { source_db, target_db, collections }
    }
}

fn collection_records(infos: &[SelectedCollection]) -> Vec<SelectionRecord> {
    let record = |SelectedCollection { name, positions, use_start_position }| SelectionRecord {
        name,
        positions,
        use_start_position,
    };
    infos.iter().cloned().map(record).collect()
}

fn collection_infos(records: Vec<SelectionRecord>) -> Vec<SelectedCollection> {
    let info = |SelectionRecord { name, positions, use_start_position }| SelectedCollection {
        name,
        positions,
        use_start_position,
    };
    records.into_iter().map(info).collect()
}

fn pattern_names(pattern: &ScopePattern) -> (String, String) {
    (pattern.database.to_string(), pattern.collection.to_string())
}
