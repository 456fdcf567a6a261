/*!
The manager's promises, with an engine that only pretends: order per task, no waiting for other tasks, restarts,
failures.
*/

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::{Gate, PATIENCE, TestServer, many_sockets, wait_for};
use milvus_cdc::internals::{Limits, ManagerError, TaskEvent, TaskId, metrics};
use serde_json::{Value, json};

fn start(folder: &Path) -> TestServer {
    TestServer::start(folder, Limits::default())
}

fn create(server: &TestServer, id: &str, collection: &str) -> Value {
    create_with(server, id, collection, json!({}))
}

fn create_with(server: &TestServer, id: &str, collection: &str, more: Value) -> Value {
    let mut data = json!({"milvus_connect_param": {"uri": "http://h:2"}, "collection_infos": [{"name": collection}]});
    data["task_id"] = id.into();
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post(&json!({"request_type": "create", "request_data": data}).to_string())
}

fn ask(server: &TestServer, request_type: &str, id: &str) -> Value {
    server.post(&json!({"request_type": request_type, "request_data": {"task_id": id}}).to_string())
}

fn task(server: &TestServer, id: &str) -> Value {
    ask(server, "get", id)["data"]["task"].clone()
}

/// (The engine pretends that the source is another server than the target.)
#[test]
fn the_opposite_of_a_task_is_created_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    create(&server, "t", "a");
    let request = json!({"request_type": "create", "request_data": {"reverse_of": "t", "task_id": "back"}}).to_string();
    let refused = server.post(&request);
    let message = refused["message"].as_str().unwrap();
    assert_eq!(refused["code"], 400);
    assert!(message.contains("the task t cannot be reversed: its target h:2 is not among the `peers`"), "{message}");
    server.engine.has_peer.store(true, Ordering::SeqCst);
    ask(&server, "delete", "t");
    create(&server, "t", "a");
    let same_target = server.post(&request)["message"].as_str().unwrap().to_owned();
    assert!(same_target.contains("duplicate with existing task"), "both write to it: {same_target}");
    assert_eq!(server.post(&request.replace("\"t\"", "\"nobody\""))["code"], 400);
    server.stop();
}

#[test]
fn restart_keeps_the_states() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    create(&server, "runs", "a");
    create(&server, "paused", "b");
    create_with(&server, "manual", "c", json!({"disable_auto_start": true}));
    ask(&server, "pause", "paused");
    assert_eq!(task(&server, "manual")["state"], "Running");
    server.stop();

    let server = start(folder.path());
    let states = |id: &str| (task(&server, id)["state"].clone(), task(&server, id)["reason"].clone());
    assert_eq!(states("runs"), (json!("Running"), Value::Null));
    assert_eq!(states("paused"), (json!("Paused"), json!("manually pause through http interface")));
    assert_eq!(states("manual"), (json!("Paused"), json!("the task is disabled auto start")));
    assert!(server.engine.runs("runs") && !server.engine.runs("paused") && !server.engine.runs("manual"));
    assert_eq!(ask(&server, "resume", "manual")["code"], 200);
    server.stop();
}

#[test]
fn a_task_that_stops_itself_stays_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    create(&server, "t", "a");
    let id = TaskId::parse("t").unwrap();
    let events = server.engine.running.lock().unwrap().get(&id).unwrap().clone();
    events.send(TaskEvent::Stopped { id: id.clone(), reason: "another schema".into() }).unwrap();
    wait_for("the stop", || task(&server, "t")["phase"] == "Stopped");
    assert_eq!(task(&server, "t")["state"], "Paused");
    assert_eq!(task(&server, "t")["reason"], "another schema");
    wait_for("joining its threads", || !server.engine.runs("t"));
    assert_eq!(ask(&server, "resume", "t")["code"], 200);
    // A message of the earlier run does not concern this one.
    let _ = events.send(TaskEvent::Stopped { id: id.clone(), reason: "late".into() });
    assert_eq!(task(&server, "t")["phase"], "Following");
    let events = server.engine.running.lock().unwrap().get(&id).unwrap().clone();
    events.send(TaskEvent::Stopped { id, reason: "this run".into() }).unwrap();
    wait_for("the stop", || task(&server, "t")["phase"] == "Stopped");
    assert_eq!(task(&server, "t")["reason"], "this run");
    server.stop();

    let server = start(folder.path());
    assert_eq!(task(&server, "t")["phase"], "Stopped");
    assert_eq!(ask(&server, "resume", "t")["code"], 200);
    assert_eq!(task(&server, "t")["phase"], "Following");
    server.stop();
}

fn update(server: &TestServer, id: &str, connect: &Value) -> Value {
    let data = json!({"task_id": id, "milvus_connect_param": connect});
    server.post(&json!({"request_type": "update", "request_data": data}).to_string())
}

#[test]
fn a_new_connection_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    create(&server, "one", "a");
    let again = json!({"milvus_connect_param": {"uri": "http://h:2", "token": "root:new"}});
    let refused = create_with(&server, "one", "a", again);
    assert!(refused["code"] == 400 && refused["message"].as_str().unwrap().contains("`update` request"), "{refused}");
    assert_eq!(create(&server, "one", "a")["code"], 200, "a repeated request");

    let id = TaskId::parse("one").unwrap();
    let stopped = TaskEvent::Stopped { id: id.clone(), reason: "access denied".into() };
    server.engine.running.lock().unwrap()[&id].send(stopped).unwrap();
    wait_for("the end of the task", || task(&server, "one")["phase"] == "Stopped" && !server.engine.runs("one"));
    assert_eq!(update(&server, "one", &json!({"uri": "http://h:3"}))["code"], 400, "another target");
    assert_eq!(task(&server, "one")["phase"], "Stopped");
    assert_eq!(update(&server, "one", &json!({"token": "root:new"}))["code"], 200);
    wait_for("the task to run", || server.engine.runs("one"));
    assert_eq!(task(&server, "one")["state"], "Running");

    assert_eq!(update(&server, "one", &json!({"connect_timeout": 9}))["code"], 200);
    assert!(server.engine.runs("one"), "it was stopped and started again");
    let starts = server.engine.calls().iter().filter(|call| *call == "start one").count();
    assert_eq!(starts, 3);
    // Of the create, which looks for files of an earlier task.
    let forgotten = server.engine.calls().iter().filter(|call| *call == "forget one").count();
    assert_eq!(forgotten, 1, "its files stay");

    ask(&server, "pause", "one");
    assert_eq!(update(&server, "one", &json!({"connect_timeout": 8}))["code"], 200);
    assert!(!server.engine.runs("one"));
    server.stop();
    let journal = std::fs::read_to_string(folder.path().join("tasks.json")).unwrap();
    assert!(journal.contains("root:new"));
    let server = start(folder.path());
    assert_eq!(task(&server, "one")["milvus_connect_param"]["connect_timeout"], 8);
    assert_eq!(task(&server, "one")["state"], "Paused");
    assert!(!task(&server, "one").to_string().contains("root:new"));
    server.stop();
}

#[test]
fn a_task_whose_threads_are_gone_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    create(&server, "t", "a");
    drop(server.engine.running.lock().unwrap().remove(&TaskId::parse("t").unwrap()));
    wait_for("the stop", || task(&server, "t")["phase"] == "Stopped");
    assert!(task(&server, "t")["reason"].as_str().unwrap().contains("ended without a reason"));
    server.stop();
}

#[test]
fn a_slow_pause_blocks_its_own_task_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    create(&server, "quick", "a");
    let gate = Gate::default();
    *server.engine.stop_gate.lock().unwrap() = gate.clone();
    create(&server, "slow", "b");
    let pause = || ask(&server, "pause", "slow")["code"].clone();
    let is_paused = || task(&server, "slow")["state"] == "Paused";
    let codes: Vec<Value> = thread::scope(|scope| {
        let closed = gate.close();
        let pausers: Vec<_> = (0..4).map(|_| scope.spawn(pause)).collect();
        wait_for("a pause", is_paused);
        assert_eq!(ask(&server, "pause", "quick")["code"], 200);
        assert_eq!(ask(&server, "list", "")["code"], 200);
        let answered = pausers.iter().filter(|pauser| pauser.is_finished()).count();
        assert_eq!(answered, 0, "a pause is answered when the task has stopped");
        drop(closed);
        pausers.into_iter().map(|pauser| pauser.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 1, "{codes:?}");

    assert_eq!(ask(&server, "resume", "slow")["code"], 200);
    thread::scope(|scope| {
        let closed = gate.close();
        let pauser = scope.spawn(pause);
        wait_for("the pause", is_paused);
        let resume = scope.spawn(|| ask(&server, "resume", "slow")["code"].clone());
        drop(closed);
        assert_eq!((pauser.join().unwrap(), resume.join().unwrap()), (json!(200), json!(200)));
    });
    assert!(server.engine.runs("slow"));
    server.stop();
}

#[test]
fn a_create_that_waits_for_its_target_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    thread::scope(|scope| {
        let closed = server.engine.check_gate.close();
        let creator = scope.spawn(|| create(&server, "t", "a"));
        wait_for("the question", || server.engine.checks.load(Ordering::SeqCst) == 1);
        assert_eq!(ask(&server, "list", "")["data"]["tasks"], json!([]));
        drop(closed);
        assert_eq!(creator.join().unwrap()["code"], 200);
    });
    server.stop();
}

#[test]
fn many_creates_at_once() {
    let _turn = many_sockets();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    thread::scope(|scope| {
        let creators: Vec<_> = (0..8).map(|_| scope.spawn(|| create(&server, "same", "a"))).collect();
        for creator in creators {
            assert_eq!(creator.join().unwrap()["data"]["task_id"], "same");
        }
    });
    assert_eq!(server.engine.calls(), ["forget same", "start same"]);
    // 100 tasks are allowed.
    let accepted: usize = thread::scope(|scope| {
        let create = |index: usize| create(&server, &format!("t{index}"), &format!("c{index}"));
        let creators: Vec<_> = (0..120).map(|index| scope.spawn(move || create(index))).collect();
        let answers = creators.into_iter().map(|creator| creator.join().unwrap());
        answers.filter(|answer| answer["code"] == 200).count()
    });
    assert_eq!(accepted, 99);
    let refused = create(&server, "late", "late");
    let text = "fail to handle the create request, error: the task num has reach the limit, 100";
    assert_eq!((&refused["code"], &refused["message"]), (&json!(500), &json!(text)));
    server.stop();
}

#[test]
fn delete_waits_for_the_threads_and_removes_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let gate = server.engine.stop_gate.lock().unwrap().clone();
    let delete = || ask(&server, "delete", "t")["code"].clone();
    let is_being_deleted = || task(&server, "t")["reason"] == "the task is being deleted";
    create(&server, "t", "a");
    // What comes while it is being deleted is done after it.
    thread::scope(|scope| {
        let closed = gate.close();
        let delete = scope.spawn(delete);
        wait_for("the delete", is_being_deleted);
        let resume = scope.spawn(|| ask(&server, "resume", "t")["message"].clone());
        assert!(!delete.is_finished());
        drop(closed);
        assert_eq!(delete.join().unwrap(), 200);
        assert_eq!(resume.join().unwrap(), "fail to handle the resume request, error: not found the task, task_id: t");
    });
    create(&server, "t", "a");
    thread::scope(|scope| {
        let closed = gate.close();
        let delete = scope.spawn(delete);
        wait_for("the delete", is_being_deleted);
        let create = scope.spawn(|| create(&server, "t", "a")["code"].clone());
        drop(closed);
        assert_eq!((delete.join().unwrap(), create.join().unwrap()), (json!(200), json!(200)));
    });
    let once = ["forget t", "start t", "stop t", "forget t"];
    assert_eq!(server.engine.calls(), [&once[..], &once[..], &once[..2]].concat());
    server.stop();
}

#[test]
fn one_target_by_two_names() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let at = |id: &str, uri: &str| create_with(&server, id, "a", json!({"milvus_connect_param": {"uri": uri}}));
    assert_eq!(at("short", "http://milvus:2")["code"], 200);
    let answer = at("long", "http://milvus.example.org:2");
    let text =
        "fail to handle the create request, error: the collection name is duplicate with existing task, [default.a]";
    assert_eq!((&answer["code"], &answer["message"]), (&json!(400), &json!(text)));
    assert_eq!(at("other", "http://other.example.org:2")["code"], 200);
    assert_eq!(at("port", "http://milvus.example.org:3")["code"], 200);
    // Each of four has visited its target before any of them is there; still they do not miss each other.
    let visits = || server.engine.checks.load(Ordering::SeqCst);
    let before = visits();
    let codes: Vec<Value> = thread::scope(|scope| {
        let closed = server.engine.check_gate.close();
        let uris = ["http://m:2", "http://m.a:2", "http://m.b:2", "http://m.c:2"];
        let creators: Vec<_> = uris.iter().map(|uri| scope.spawn(|| at("", uri)["code"].clone())).collect();
        wait_for("four visits", || visits() == before + 4);
        drop(closed);
        creators.into_iter().map(|creator| creator.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 1, "{codes:?}");
    assert_eq!(visits(), before + 4, "a create visits its target once");
    server.stop();
}

#[test]
fn a_new_task_takes_over_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    server.engine.refuse_forget.store(true, Ordering::SeqCst);
    let answer = create(&server, "x", "a");
    let text = "fail to handle the create request, error: fail to delete the task files, task_id: x: \
        checkpoint: cannot be removed";
    assert_eq!((&answer["code"], &answer["message"]), (&json!(500), &json!(text)));
    assert_eq!(ask(&server, "get", "x")["code"], 400);
    server.engine.refuse_forget.store(false, Ordering::SeqCst);
    assert_eq!(create(&server, "x", "a")["code"], 200);
    // One that is there keeps its files.
    assert_eq!(create(&server, "x", "a")["code"], 200);
    assert_eq!(server.engine.calls(), ["forget x", "forget x", "start x"]);
    server.stop();
    // As does one that goes on after a restart.
    let server = start(folder.path());
    assert_eq!(server.engine.calls(), ["start x"]);
    server.stop();
}

#[test]
fn a_deleted_task_leaves_no_series() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    create(&server, "counted", "a");
    metrics::call_done("counted", "CreateCollection");
    let shown = || metrics::render(&[], &[]).unwrap().contains("\"counted\"");
    assert!(shown());
    assert_eq!(ask(&server, "delete", "counted")["code"], 200);
    assert!(!shown());
    server.stop();
}

#[test]
fn failures_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    create(&server, "t", "a");
    let block = folder.path().join("tasks.json.tmp");
    std::fs::create_dir(&block).unwrap();
    for (request_type, text) in [("pause", "fail to update the task state, task_id: t: "), ("delete", "fail to ")] {
        let answer = ask(&server, request_type, "t");
        assert_eq!(answer["code"], 500);
        assert!(answer["message"].as_str().unwrap().contains(text), "{answer}");
        assert!(answer["message"].as_str().unwrap().contains("tasks.json: cannot be written"), "{answer}");
    }
    assert_eq!(create(&server, "u", "b")["code"], 500);
    assert_eq!(task(&server, "t")["state"], "Running");
    assert!(server.engine.runs("t") && !server.engine.runs("u"));
    std::fs::remove_dir(&block).unwrap();

    server.engine.refuse_start.store(true, Ordering::SeqCst);
    let answer = create(&server, "u", "b");
    let text =
        "fail to handle the create request, error: fail to start the task, task_id: u: checkpoint: cannot be read";
    assert_eq!(answer["message"], text);
    assert_eq!(ask(&server, "get", "u")["code"], 400);
    assert_eq!(ask(&server, "pause", "t")["code"], 200);
    assert_eq!(ask(&server, "resume", "t")["code"], 500);
    assert_eq!(task(&server, "t")["reason"], "manually pause through http interface");

    server.engine.refuse_forget.store(true, Ordering::SeqCst);
    assert_eq!(ask(&server, "delete", "t")["code"], 500);
    assert_eq!(task(&server, "t")["state"], "Paused");
    server.engine.refuse_forget.store(false, Ordering::SeqCst);
    assert_eq!(ask(&server, "delete", "t")["code"], 200);
    server.stop();
    assert_eq!(start(folder.path()).post(r#"{"request_type":"list"}"#)["data"]["tasks"], json!([]));
}

#[test]
fn stopping_stops_all_tasks_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    for index in 0..10 {
        create(&server, &format!("t{index}"), &format!("c{index}"));
    }
    let engine = server.engine.clone();
    let gate = engine.stop_gate.lock().unwrap().clone();
    thread::scope(|scope| {
        let closed = gate.close();
        scope.spawn(|| server.stop());
        // None of them goes on before all of them are there.
        wait_for("every stop", || engine.calls().iter().filter(|call| call.starts_with("stop ")).count() == 10);
        drop(closed);
    });
    assert!(engine.running.lock().unwrap().is_empty());
}

#[test]
fn who_asks_while_the_server_ends_gets_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    create(&server, "t", "a");
    let (engine, manager) = (server.engine.clone(), server.manager.clone());
    let gate = engine.stop_gate.lock().unwrap().clone();
    let (sender, answers) = mpsc::channel();
    thread::scope(|scope| {
        let closed = gate.close();
        scope.spawn(|| server.stop());
        wait_for("the stop", || engine.calls().contains(&"stop t".to_owned()));
        for _ in 0..8 {
            let (manager, sender) = (manager.clone(), sender.clone());
            thread::spawn(move || sender.send(manager.list().map(|_| ())));
        }
        drop(closed);
    });
    for _ in 0..8 {
        let answer = answers.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(answer, Err(ManagerError::ShuttingDown)), "{answer:?}");
    }
}

/// Threads that do whatever comes to mind to the same few tasks. The engine itself fails the test when a task is
/// started twice or forgotten while it runs.
#[test]
fn whatever_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    *server.engine.stop_time.lock().unwrap() = Duration::from_millis(3);
    let ids = ["a", "b", "c"];
    thread::scope(|scope| {
        for seed in 0..8_usize {
            let server = &server;
            scope.spawn(move || {
                // A fixed walk per thread; how the threads interleave differs from run to run.
                for step in 0..60 {
                    let number = (seed + 1) * 7_919 + step * 104_729;
                    let id = ids[number % ids.len()];
                    let answer = match number / ids.len() % 5 {
                        0 | 1 => create(server, id, id),
                        2 => ask(server, "pause", id),
                        3 => ask(server, "resume", id),
                        _ => ask(server, "delete", id),
                    };
                    assert!(answer["code"] == 200 || answer["code"] == 400, "{answer}");
                }
            });
        }
    });
    let list = server.post(r#"{"request_type":"list"}"#)["data"]["tasks"].clone();
    let states = |list: &Value| -> Vec<(String, bool)> {
        let task = |task: &Value| (task["task_id"].as_str().unwrap().to_owned(), task["state"] == "Running");
        list.as_array().unwrap().iter().map(task).collect()
    };
    for id in ids {
        let should_run = states(&list).contains(&(id.to_owned(), true));
        assert_eq!(server.engine.runs(id), should_run, "{id}: {list}");
    }
    server.stop();
    // What was answered is what was stored.
    let server = start(folder.path());
    assert_eq!(states(&server.post(r#"{"request_type":"list"}"#)["data"]["tasks"]), states(&list));
    server.stop();
}
