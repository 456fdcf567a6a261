use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;
use crate::config::{DialFiles, Secret};
use crate::domain::{Channel, CollectionId, LogKind, Position, SourceSite, Timestamp};
use crate::task::definition::TaskState;
use crate::task::drops::OnDrop;
use crate::task::mapping::{DatabaseMapping, NameMapping};
use crate::task::noted_ends::NotedEnds;
use crate::task::position::start_positions;
use crate::task::refused_rows::OnRefused;
use crate::task::role::RoleState;
use crate::task::scope::{Scope, ScopePattern};
use crate::task::spec::{
    LoadPolicy, RpcChannel, SelectedCollection, Selection, TargetAddress, TargetParams, TargetSpec, TaskSpec,
};

pub(super) fn task(id: &str, state: TaskState) -> TaskDefinition {
    let info = SelectedCollection {
        name: "hs1".into(),
        positions: Some(BTreeMap::from([("p_0_7v0".into(), "EgIBAg==".into())])),
        use_start_position: true,
    };
    let databases =
        BTreeMap::from([("d\n\"2\"".to_owned(), vec![SelectedCollection { name: "*".into(), ..info.clone() }])]);
    let selection = Selection { collection_infos: Some(vec![info.clone()]), db_collections: Some(databases) };
    let target = TargetParams {
        address: TargetAddress::HostPort { host: "m".into(), port: 19531, enable_tls: true },
        token: Secret::new("root:Milvus"),
        dial: DialFiles { server_name: "n".into(), server_pem_path: "/pem".into(), ..DialFiles::default() },
        connect_timeout_s: 10,
        channel_num: 4,
        ignore_partition: true,
    };
    let mapping = DatabaseMapping {
        source_db: "default".into(),
        target_db: "other".into(),
        collections: BTreeMap::from([("hs1".into(), "hs2".into())]),
    };
    let positions = selection.collections().flat_map(|(_, info)| start_positions(info).unwrap()).collect();
    let noted = NotedEnds {
        log: LogKind::Pulsar,
        at: Timestamp(9),
        ends: [(Channel::new("c"), Some(Position::pair(7, 5))), (Channel::new("d"), None)].into(),
        collections: [(CollectionId(3), CollectionId(4))].into(),
    };
    let spec = TaskSpec {
        source: SourceSite::named("east").unwrap(),
        noted_ends: Some(Arc::new(noted)),
        target: TargetSpec::new(target).unwrap(),
        scope: Scope::of(&selection).without(vec![ScopePattern::new("d", "*")]),
        selection,
        mapping: NameMapping::new(vec![mapping]),
        start_positions: positions,
        rpc_channel: RpcChannel { name: "by-dev-replicate-msg".into(), position: String::new() },
        disable_auto_start: true,
        enable_user_role: true,
        prune: true,
        on_refused: OnRefused::SetAside,
        on_drop: OnDrop::Rename { hours: 5 },
        load: LoadPolicy::LoadOnly,
    };
    TaskDefinition { id: TaskId::parse(id).unwrap(), spec: Arc::new(spec), state, role: RoleState::default() }
}

fn opened(folder: &Path) -> Vec<TaskDefinition> {
    FileJournal::open(folder).unwrap().tasks().unwrap()
}

/// A folder whose journal holds the tasks `a`, `b` and `c`.
fn filled() -> (tempfile::TempDir, Vec<TaskDefinition>) {
    let folder = tempfile::tempdir().unwrap();
    let tasks = vec![
        task("a", TaskState::Running),
        task("b", TaskState::paused("by hand")),
        task("c", TaskState::stopped("the target is full".into())),
    ];
    let mut journal = FileJournal::open(folder.path()).unwrap();
    for task in &tasks {
        journal.put(task).unwrap();
    }
    (folder, tasks)
}

fn open_error(folder: &Path) -> String {
    FileJournal::open(folder).err().expect("a damaged journal was accepted").to_string()
}

#[test]
fn everything_comes_back() {
    let (folder, tasks) = filled();
    assert_eq!(opened(folder.path()), tasks);
    let text = fs::read_to_string(folder.path().join(FILE_NAME)).unwrap();
    for state in [
        r#""state":{"is":"running"}"#,
        r#""state":{"is":"paused","reason":"by hand","stopped":false}"#,
        r#""state":{"is":"paused","reason":"the target is full","stopped":true}"#,
    ] {
        assert!(text.contains(state), "{state} is not in {text}");
    }
    let mode = fs::metadata(folder.path().join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut journal = FileJournal::open(folder.path()).unwrap();
    journal.remove(&tasks[1].id).unwrap();
    let changed = TaskDefinition { state: TaskState::Running, ..tasks[2].clone() };
    journal.put(&changed).unwrap();
    assert_eq!(opened(folder.path()), [tasks[0].clone(), changed]);
}

#[test]
fn cut_at_every_byte() {
    let (folder, _) = filled();
    let path = folder.path().join(FILE_NAME);
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = open_error(folder.path());
        assert!(error.starts_with(&format!("{}: damaged at byte ", path.display())), "{error}");
        assert_eq!(fs::read(&path).unwrap(), &bytes[..length], "the damaged file was touched");
    }
}

#[test]
fn flip_every_byte() {
    let (folder, _) = filled();
    let path = folder.path().join(FILE_NAME);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x04;
        fs::write(&path, &flipped).unwrap();
        let error = open_error(folder.path());
        assert!(error.contains("damaged at byte") || error.contains("written in format"), "{error}");
        assert!(!error.contains("root:Milvus"), "{error}");
    }
}

#[test]
fn the_intact_part_is_rescued_and_usable() {
    let (folder, tasks) = filled();
    let path = folder.path().join(FILE_NAME);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"task_id\":\"b\"", "\"task_id\":\"x\"")).unwrap();
    let good = folder.path().join("tasks.json.good-1");
    let error = open_error(folder.path());
    assert!(error.contains("(line 3)") && error.contains("2 intact task(s)"), "{error}");
    assert!(error.contains(good.to_str().unwrap()), "{error}");
    // A restart reports the same and writes no second file.
    assert_eq!(open_error(folder.path()), error);
    assert_eq!(fs::metadata(&good).unwrap().permissions().mode() & 0o777, 0o600);
    fs::rename(&good, &path).unwrap();
    assert_eq!(opened(folder.path()), [tasks[0].clone(), tasks[2].clone()]);
}

#[test]
fn a_left_over_temporary_file_is_harmless() {
    let (folder, tasks) = filled();
    fs::write(folder.path().join("tasks.json.tmp"), "{\"form").unwrap();
    assert_eq!(opened(folder.path()), tasks);
}

#[test]
fn a_failed_write_changes_nothing() {
    let (folder, tasks) = filled();
    let mut journal = FileJournal::open(folder.path()).unwrap();
    // Root may write to read-only folders, but nobody can replace a folder by a file.
    let block = folder.path().join("tasks.json.tmp");
    fs::create_dir(&block).unwrap();
    let error = journal.put(&task("d", TaskState::Running)).unwrap_err().to_string();
    assert!(error.contains("tasks.json: cannot be written:"), "{error}");
    assert!(journal.remove(&tasks[0].id).is_err());
    assert_eq!(journal.tasks().unwrap(), tasks);
    assert_eq!(opened(folder.path()), tasks);
    fs::remove_dir(&block).unwrap();
    journal.remove(&tasks[0].id).unwrap();
    assert_eq!(opened(folder.path()), tasks[1..]);
}

#[test]
fn an_invalid_task_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut value = serde_json::to_value(TaskRecord::from(&task("a", TaskState::Running))).unwrap();
    value["new_field"] = "x".into();
    fs::write(folder.path().join(FILE_NAME), format::encode([value.to_string().as_str()])).unwrap();
    let error = open_error(folder.path());
    assert!(error.contains("the task `a` is invalid: unknown field `new_field`"), "{error}");

    let text = serde_json::to_string(&TaskRecord::from(&task("a", TaskState::Running))).unwrap();
    fs::write(folder.path().join(FILE_NAME), format::encode([text.as_str(), text.as_str()])).unwrap();
    assert!(open_error(folder.path()).contains("the task `a` is invalid: it occurs twice"));
}
