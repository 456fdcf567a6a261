/*!
A task as it is written: types of their own, so that the program's types can change without changing the file.

A field that this version does not know is refused, because dropping it would lose what another version meant by it.
*/

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{DialFiles, Secret};
use crate::task::definition::{TaskDefinition, TaskState};
use crate::task::mapping::{DatabaseMapping, NameMapping};
use crate::task::position::start_positions;
use crate::task::scope::{Scope, ScopePattern};
use crate::task::spec::{
    CollectionInfo, RpcChannel, Selection, TargetAddress, TargetParams, TargetSpec, TaskId, TaskSpec,
};

/// One task. No `Debug`: it holds the target's token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskRecord {
    pub(super) task_id: String,
    state: StateRecord,
    target: TargetRecord,
    collection_infos: Option<Vec<CollectionRecord>>,
    db_collections: Option<BTreeMap<String, Vec<CollectionRecord>>>,
    /// Patterns (database, collection) that other tasks carry.
    excluded: Vec<(String, String)>,
    name_mapping: Vec<MappingRecord>,
    rpc_channel_name: String,
    rpc_channel_position: String,
    disable_auto_start: bool,
    enable_user_role: bool,
    #[serde(default)]
    prune: bool,
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
struct CollectionRecord {
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
        }
    }
}

impl TryFrom<TaskRecord> for TaskDefinition {
    type Error = String;

    fn try_from(record: TaskRecord) -> Result<Self, String> {
        let id = TaskId::parse(&record.task_id).map_err(|error| error.to_string())?;
        let selection = Selection {
            collection_infos: record.collection_infos.map(collection_infos),
            db_collections: record
                .db_collections
                .map(|databases| databases.into_iter().map(|(db, infos)| (db, collection_infos(infos))).collect()),
        };
        let mut positions = Vec::new();
        for (_, info) in selection.collections() {
            positions.extend(start_positions(info).map_err(|error| error.to_string())?);
        }
        let excluded = record.excluded.iter().map(|(db, collection)| ScopePattern::new(db, collection)).collect();
        let spec = TaskSpec {
            target: TargetSpec::new(record.target.into()).map_err(|error| error.to_string())?,
            scope: Scope::of(&selection).without(excluded),
            selection,
            mapping: NameMapping::new(record.name_mapping.into_iter().map(DatabaseMapping::from).collect()),
            start_positions: positions,
            rpc_channel: RpcChannel { name: record.rpc_channel_name, position: record.rpc_channel_position },
            disable_auto_start: record.disable_auto_start,
            enable_user_role: record.enable_user_role,
            prune: record.prune,
        };
        Ok(TaskDefinition { id, spec: Arc::new(spec), state: record.state.into() })
    }
}

impl From<&TaskState> for StateRecord {
    fn from(state: &TaskState) -> Self {
        match state {
            TaskState::Running => StateRecord::Running,
            TaskState::Paused { reason, stopped } => StateRecord::Paused { reason: reason.clone(), stopped: *stopped },
        }
    }
}

impl From<StateRecord> for TaskState {
    fn from(record: StateRecord) -> Self {
        match record {
            StateRecord::Running => TaskState::Running,
            StateRecord::Paused { reason, stopped } => TaskState::Paused { reason, stopped },
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

fn collection_records(infos: &[CollectionInfo]) -> Vec<CollectionRecord> {
    let record = |CollectionInfo { name, positions, use_start_position }| CollectionRecord {
        name,
        positions,
        use_start_position,
    };
    infos.iter().cloned().map(record).collect()
}

fn collection_infos(records: Vec<CollectionRecord>) -> Vec<CollectionInfo> {
    let info = |CollectionRecord { name, positions, use_start_position }| CollectionInfo {
        name,
        positions,
        use_start_position,
    };
    records.into_iter().map(info).collect()
}

fn pattern_names(pattern: &ScopePattern) -> (String, String) {
    (pattern.database.to_string(), pattern.collection.to_string())
}
