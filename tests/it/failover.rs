//! A task's role, with an engine that only pretends: what runs in it, what a restart finds, and what is refused.

use std::sync::atomic::Ordering;

use crate::support::{TestServer, wait_for};
use milvus_cdc::internals::{DrainedLog, Epoch, FailoverReport, Limits, TaskEvent, TaskId};
use serde_json::{Value, json};

fn start(folder: &tempfile::TempDir) -> TestServer {
    TestServer::start(folder.path(), Limits::default())
}

fn ask(server: &TestServer, request_type: &str, more: &Value) -> Value {
    let mut data = json!({"task_id": "t"});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post(&json!({"request_type": request_type, "request_data": data}).to_string())
}

fn create(server: &TestServer) {
    assert_eq!(ask(server, "create", &definition())["code"], 200);
}

fn definition() -> Value {
    json!({"milvus_connect_param": {"uri": "http://h:2"}, "collection_infos": [{"name": "a"}]})
}

fn state(server: &TestServer) -> Value {
    ask(server, "failover", &json!({"action": "status"}))["data"].clone()
}

fn report() -> FailoverReport {
    FailoverReport {
        at_ms: 9,
        acknowledged_ms: Some(5_000),
        last_sign_ms: Some(7_000),
        log: DrainedLog::InPart("it is gone".into()),
        ..FailoverReport::default()
    }
}

/// The drain that was begun in this epoch ends.
fn drained(server: &TestServer, epoch: u64) {
    let id = TaskId::parse("t").unwrap();
    let events = server.engine.running.lock().unwrap().get(&id).unwrap().clone();
    // A run that was stopped meanwhile takes no events any more.
    let _ = events.send(TaskEvent::Drained { id, epoch: Epoch(epoch), report: Box::new(report()) });
}

#[test]
fn a_failed_over_task_runs_nothing_whatever_is_asked_of_it_and_however_often_it_is_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    create(&server);
    assert_eq!(ask(&server, "failover", &json!({}))["data"]["state"], "failing_over");
    assert_eq!(server.engine.calls().last().unwrap(), "drain t in epoch 1");
    assert_eq!(ask(&server, "failover", &json!({}))["data"]["epoch"], 1, "again");
    drained(&server, 1);
    wait_for("the end of the failover", || state(&server)["state"] == "failed_over");
    let over = state(&server);
    assert_eq!((&over["epoch"], &over["report"]["acknowledged_ms"]), (&json!(2), &json!(5_000)));
    let sentence = over["report"]["sentence"].as_str().unwrap();
    assert!(sentence.contains("may be missing") && sentence.contains("2.0 s of writes if it died then"), "{sentence}");
    server.stop();
    for _ in 0..2 {
        let server = start(&folder);
        server.engine.source_answers.store(true, Ordering::SeqCst);
        assert_eq!(state(&server)["report"], over["report"], "it is kept");
        for (request, more) in [
            ("resume", json!({})),
            ("pause", json!({})),
            ("failover", json!({"action": "cancel"})),
            ("update", json!({"milvus_connect_param": {"token": "root:new"}})),
            ("create", definition()),
            ("drops", json!({})),
            ("refused_rows", json!({"action": "apply"})),
            ("verify", json!({})),
            ("pause", json!({"collection": "default.a"})),
        ] {
            let refused = ask(&server, request, &more);
            let message = refused["message"].as_str().unwrap_or_default();
            assert!(message.contains("nothing of its source is applied any more"), "{request}: {refused}");
        }
        let visits = server.engine.checks.load(Ordering::SeqCst);
        assert_eq!(visits, 1, "by `create`, which tells only then: nobody is asked about a connection");
        assert_eq!(ask(&server, "refused_rows", &json!({}))["data"]["refused_rows"][0]["key"], "17", "to be read");
        assert_eq!((&over["possible"], &over["why_not"]), (&json!(false), &json!("the task has failed over")));
        assert_eq!(ask(&server, "failover", &json!({"force": true}))["data"]["report"], over["report"]);
        let task = ask(&server, "get", &json!({}))["data"]["task"].clone();
        assert_eq!((&task["state"], &task["role"]["state"]), (&json!("Paused"), &json!("failed_over")));
        assert!(task["reason"].as_str().unwrap().contains(sentence));
        assert!(!server.engine.calls().iter().any(|call| call.starts_with("start") || call.starts_with("drain")));
        server.stop();
    }
    let server = start(&folder);
    assert_eq!(ask(&server, "delete", &json!({}))["code"], 200, "only that is left to do");
    server.stop();
}

#[test]
fn a_failover_goes_on_at_its_step_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    create(&server);
    ask(&server, "failover", &json!({}));
    server.stop();
    let server = start(&folder);
    assert_eq!(server.engine.calls(), ["drain t in epoch 1"]);
    drained(&server, 1);
    wait_for("the end of the failover", || state(&server)["state"] == "failed_over");
    server.stop();
}

#[test]
fn what_insists_is_noted_and_what_was_given_up_follows_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    create(&server);
    ask(&server, "pause", &json!({}));
    assert_eq!(ask(&server, "failover", &json!({}))["data"]["forced"], false, "of a paused task, too");
    assert_eq!(ask(&server, "resume", &json!({}))["code"], 400);
    let forced = ask(&server, "failover", &json!({"force": true}));
    assert_eq!((&forced["data"]["forced"], &forced["data"]["epoch"]), (&json!(true), &json!(2)));
    assert_eq!(server.engine.calls().last().unwrap(), "drain t in epoch 2");
    drained(&server, 1);
    assert_eq!(ask(&server, "failover", &json!({"action": "cancel"}))["data"]["state"], "forward");
    assert_eq!(server.engine.calls().last().unwrap(), "start t");
    assert_eq!(state(&server)["epoch"], 3, "the drain of an earlier role concludes nothing");
    assert_eq!(ask(&server, "failover", &json!({"action": "cancel"}))["code"], 400);
    server.stop();
    let server = start(&folder);
    assert_eq!((&server.engine.calls()[..], &state(&server)["epoch"]), (&["start t".to_owned()][..], &json!(3)));
    server.stop();
}

#[test]
fn a_source_that_answers_is_given_up_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    create(&server);
    server.engine.source_answers.store(true, Ordering::SeqCst);
    let dry = ask(&server, "failover", &json!({"dry_run": true}))["data"].clone();
    assert!(dry["possible"] == false && dry["why_not"].as_str().unwrap().contains("source:1 answers"), "{dry}");
    let refused = ask(&server, "failover", &json!({}));
    assert_eq!(refused["code"], 400);
    let told = state(&server);
    assert_eq!((&told["state"], &told["possible"]), (&json!("forward"), &json!(false)), "{told}");
    assert_eq!(ask(&server, "failover", &json!({"dry_run": true, "force": true}))["data"]["possible"], true);
    assert_eq!(state(&server)["state"], "forward", "a dry run changes nothing");
    let pair = ask(&server, "pair", &json!({}))["data"].clone();
    assert_eq!((&pair["sites"][0]["role"], &pair["sites"][1]["role"]), (&json!("primary"), &json!("standby")));
    assert_eq!(pair["switchover"]["possible"], false);
    assert_eq!(ask(&server, "failover", &json!({"force": true}))["data"]["state"], "failing_over");
    server.stop();
}

/// What is not on disk has not happened: the journal's folder cannot be written while the drain ends.
#[test]
fn a_failover_that_cannot_be_stored_is_not_concluded() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    create(&server);
    ask(&server, "failover", &json!({}));
    let journal = folder.path().join("tasks.json");
    let kept = std::fs::read(&journal).unwrap();
    // A folder in the file's place cannot be replaced, whoever asks (permissions do not stop root).
    std::fs::remove_file(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    std::fs::write(journal.join("x"), "x").unwrap();
    let drains = || server.engine.calls().iter().filter(|call| call.starts_with("drain")).count();
    drained(&server, 1);
    wait_for("another drain", || drains() == 2);
    assert_eq!(state(&server)["state"], "failing_over");
    std::fs::remove_dir_all(&journal).unwrap();
    std::fs::write(&journal, kept).unwrap();
    std::fs::set_permissions(&journal, std::fs::Permissions::from_mode(0o600)).unwrap();
    drained(&server, 1);
    wait_for("the end of the failover", || state(&server)["state"] == "failed_over");
    server.stop();
}
