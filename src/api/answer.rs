/*!
Tasks and positions as the API shows them. Answers are built from what may be shown, so secrets never get in.
*/

use serde_json::{Map, Value, json};

use super::role::role;
use crate::config::DialFiles;
use crate::domain::Timestamp;
use crate::manager::TaskView;
use crate::task::definition::TaskState;
use crate::task::position::MsgPosition;
use crate::task::role::RoleState;
use crate::task::spec::{SelectedCollection, TargetAddress, TargetParams};
use crate::task::status::ChannelPosition;

/// Replaces the Go server's collection id: our positions belong to channels, which carry any number of collections.
const NO_SINGLE_COLLECTION: i64 = -1;

/// The `Task` object.
pub(super) fn task(view: &TaskView) -> Value {
    let selection = &view.spec.selection;
    let databases = selection.db_collections.as_ref().map(|databases| {
        databases.iter().map(|(db, infos)| (db.clone(), collections(infos))).collect::<Map<String, Value>>()
    });
    let mut task = json!({
        "task_id": view.id.as_str(),
        "source": view.spec.source.name(),
        "milvus_connect_param": target(view.spec.target.given()),
        "kafka_connect_param": {"address": "", "topic": "", "enable_sasl": false, "sasl": {}},
        "collection_infos": selection.collection_infos.as_deref().map(collections),
        "db_collections": databases,
        "state": match view.state {
            TaskState::Running => "Running",
            TaskState::Paused { .. } | TaskState::Stopped { .. } => "Paused",
        },
        "phase": view.status.phase.name(),
        "lag_ms": view.status.lag_ms,
        "skipped": view.status.skipped,
    });
    if let Some(reason) = view.status.reason.as_deref().filter(|reason| !reason.is_empty()) {
        task["reason"] = reason.into();
    }
    if let Some(counts) = view.status.collections {
        task["collections"] =
            counts.named().into_iter().map(|(stage, count)| (stage.to_owned(), json!(count))).collect();
    }
    if view.role != RoleState::default() {
        let mut role = role(&view.role);
        role.extend(view.switchover.waiting_for.as_ref().map(|what| ("waiting_for".to_owned(), json!(what))));
        task["role"] = role.into();
    }
    if let Some(log) = &view.status.source_log {
        task["source_log"] = json!({"kind": log.kind, "why": log.why});
    }
    task
}

fn target(target: &TargetParams) -> Value {
    let (uri, host, port, enable_tls) = match &target.address {
        TargetAddress::Uri(uri) => (uri.as_str(), "", 0, false),
        TargetAddress::HostPort { host, port, enable_tls } => ("", host.as_str(), *port, *enable_tls),
    };
    json!({
        "uri": uri,
        "host": host,
        "port": port,
        "enable_tls": enable_tls,
        "dial_config": dial(&target.dial),
        "channel_num": target.channel_num,
        "ignore_partition": target.ignore_partition,
        "connect_timeout": target.connect_timeout_s,
    })
}

fn dial(files: &DialFiles) -> Value {
    let all = [
        ("server_name", &files.server_name),
        ("server_pem_path", &files.server_pem_path),
        ("ca_pem_path", &files.ca_pem_path),
        ("client_pem_path", &files.client_pem_path),
        ("client_key_path", &files.client_key_path),
    ];
    let given = all.into_iter().filter(|(_, path)| !path.is_empty());
    given.map(|(key, path)| (key.to_owned(), Value::from(path.as_str()))).collect::<Map<_, _>>().into()
}

fn collections(infos: &[SelectedCollection]) -> Value {
    let one = |info: &SelectedCollection| {
        json!({
            "name": info.name,
            "positions": info.positions,
            "use_start_position": info.use_start_position,
        })
    };
    infos.iter().map(one).collect()
}

/// The `Position` objects; `null` when there are none.
pub(super) fn positions(positions: &[ChannelPosition]) -> Value {
    let one = |position: &ChannelPosition| {
        let time = Timestamp(position.time_tick).physical_ms();
        let message = MsgPosition {
            channel_name: position.channel.clone(),
            message_id: position.message_id.clone(),
            timestamp: position.time_tick,
        };
        json!({
            "collection_id": NO_SINGLE_COLLECTION,
            "channel_name": position.channel,
            "time": time,
            "tt": Timestamp::at_ms(time + 1).0,
            "msg_id": message.to_base64(),
        })
    };
    if positions.is_empty() { Value::Null } else { positions.iter().map(one).collect() }
}
