/*!
What goes beyond the Go server: details and events of a task, and a check before a task.
*/

use crate::support::{TestServer, WARNED_PORT, wait_for};
use milvus_cdc::internals::{ChannelPosition, Limits, TaskEvent, TaskId};
use serde_json::{Value, json};

fn server() -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (TestServer::start(folder.path(), Limits::default()), folder)
}

fn ask(server: &TestServer, request_type: &str, data: &Value) -> Value {
    server.post(&json!({"request_type": request_type, "request_data": data}).to_string())
}

fn create_data(port: u16) -> Value {
    let target = json!({"uri": format!("http://t:{port}")});
    json!({"task_id": "one", "milvus_connect_param": target, "collection_infos": [{"name": "*"}]})
}

fn events(server: &TestServer) -> Vec<String> {
    let answer = ask(server, "get", &json!({"task_id": "one", "events": true}));
    let events = answer["data"]["task"]["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| format!("{}: {}", event["kind"].as_str().unwrap(), event["text"].as_str().unwrap()))
        .collect()
}

#[test]
fn events_tell_every_change_of_state_with_its_cause() {
    let (server, folder) = server();
    ask(&server, "create", &create_data(2));
    ask(&server, "pause", &json!({"task_id": "one"}));
    ask(&server, "resume", &json!({"task_id": "one"}));
    let id = TaskId::parse("one").unwrap();
    let sender = server.engine.running.lock().unwrap()[&id].clone();
    sender.send(TaskEvent::Stopped { id, reason: "the target is full".into() }).unwrap();
    wait_for("the stop", || !server.engine.runs("one"));
    let newest_first = [
        "state: stopped: the target is full",
        "phase: Connecting → Following",
        "state: running",
        "state: paused: manually pause through http interface",
        "phase: Connecting → Following",
        "state: created",
    ];
    let told = events(&server);
    // The engine tells its own before or after the manager's `running`.
    let sorted = |lines: &[String]| {
        let mut lines = lines.to_vec();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&told), sorted(&newest_first.map(str::to_owned)));
    assert_eq!((told[0].as_str(), told[5].as_str()), (newest_first[0], newest_first[5]));
    server.stop();
    let server = TestServer::start(folder.path(), Limits::default());
    assert_eq!(events(&server), ["state: the server has started"], "they live in memory");
    server.stop();
}

#[test]
fn details_only_where_they_are_asked_for() {
    let (server, _folder) = server();
    let position = ChannelPosition { channel: "by-dev-dml_0".into(), message_id: vec![1; 8], time_tick: 1000 << 18 };
    server.engine.positions.lock().unwrap().push(position);
    ask(&server, "create", &create_data(2));
    let plain = ask(&server, "get", &json!({"task_id": "one"}))["data"]["task"].clone();
    assert!(plain.get("details").is_none() && plain.get("events").is_none(), "{plain}");
    let details = ask(&server, "get", &json!({"task_id": "one", "details": true}))["data"]["task"]["details"].clone();
    assert_eq!(details["copies"], json!([{"collection": "default.books", "rows": 25, "total": 100, "waiting": null}]));
    assert_eq!(details["collections"][0]["id"], "7");
    let source = &details["servers"]["source"];
    assert_eq!([&source["version"], &source["build"]], ["2.6.20", "91f1ca6"]);
    assert!(source["means"][0].as_str().is_some_and(|told| told.starts_with("no test runs")), "{source}");
    assert_eq!(details["servers"]["target"], Value::Null);
    assert_eq!(details["lag_curve"]["points"][0][1], 120);
    let short = ask(&server, "list", &json!({"details": true}))["data"]["tasks"][0]["details"].clone();
    assert!(short["copies"].is_array() && short.get("collections").is_none(), "{short}");
    ask(&server, "pause", &json!({"task_id": "one"}));
    let paused = ask(&server, "get", &json!({"task_id": "one", "details": true}))["data"]["task"]["details"].clone();
    let channel = json!({"name": "by-dev-dml_0", "acknowledged_time": 1000, "at_end": false, "collections": null});
    assert_eq!(paused["channels"], json!([channel]), "where a paused task stands is read from its files");
    server.stop();
}

#[test]
fn what_a_user_should_know_is_in_the_answer_to_create() {
    let (server, _folder) = server();
    let answer = ask(&server, "create", &create_data(WARNED_PORT));
    assert_eq!(answer["data"], json!({"task_id": "one", "warnings": ["inserts without keys fail"]}));
    let mut other = create_data(2);
    other["task_id"] = json!("two");
    assert_eq!(ask(&server, "create", &other)["data"], json!({"task_id": "two"}));
}

#[test]
fn a_check_finds_what_a_create_would_meet() {
    let (server, _folder) = server();
    let check = |data: &Value| ask(&server, "check", data)["data"].clone();
    let fine = check(&create_data(2));
    assert_eq!(fine["ok"], true);
    assert_eq!(fine["findings"][0]["text"], "pretended, for a pause of 24 h");
    let mut longer = create_data(1);
    longer["pause_hours"] = 72.into();
    let wrong = check(&longer);
    assert_eq!(wrong["ok"], false);
    assert_eq!(wrong["findings"][0]["text"], "pretended, for a pause of 72 h");
    assert_eq!(
        wrong["findings"][1],
        json!({"level": "problem", "about": "target", "text": "nothing answers", "remedy": "start it"})
    );
    assert_eq!(ask(&server, "list", &json!({}))["data"]["tasks"], json!([]), "a check makes nothing");
    let mut recovery = create_data(2);
    recovery["dr"] = true.into();
    assert_eq!(check(&recovery)["findings"][1]["about"], "way back");
    ask(&server, "create", &create_data(2));
    let about_known = check(&recovery)["findings"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&about_known["level"], &about_known["about"]),
        (&json!("good"), &json!("task")),
        "of a task that exists"
    );
    recovery["dr"] = 5.into();
    assert_eq!(ask(&server, "check", &recovery)["code"], 500);
    let known = check(&create_data(2));
    let last = |report: &Value| report["findings"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((known["ok"].as_bool(), last(&known)["level"].as_str()), (Some(true), Some("warning")));
    let mut other = create_data(2);
    other["task_id"] = "two".into();
    let taken = check(&other);
    assert_eq!((taken["ok"].as_bool(), last(&taken)["about"].as_str()), (Some(false), Some("task")));
    assert!(last(&taken)["text"].as_str().unwrap().contains("duplicate"), "{taken}");
    server.stop();
}

#[test]
fn what_a_task_has_set_aside_is_shown_while_it_does_not_run() {
    let (server, folder) = server();
    ask(&server, "create", &create_data(2));
    ask(&server, "pause", &json!({"task_id": "one"}));
    let shown = |server: &TestServer| {
        let details = ask(server, "get", &json!({"task_id": "one", "details": true}));
        let rows = ask(server, "refused_rows", &json!({"task_id": "one"}));
        (details["data"]["task"]["details"]["refused_rows"]["rows"].clone(), rows["data"]["refused_rows"].clone())
    };
    let (count, rows) = shown(&server);
    assert_eq!((count, rows[0]["key"].clone()), (json!(1), json!("17")));
    let applied = ask(&server, "refused_rows", &json!({"task_id": "one", "action": "apply"}));
    assert_eq!(applied["code"], 400);
    assert!(applied["message"].as_str().unwrap().contains("only a running task applies or discards them"), "{applied}");
    server.stop();
    let server = TestServer::start(folder.path(), Limits::default());
    assert_eq!(shown(&server).0, 1, "after a restart");
    server.stop();
}

#[test]
fn check_says_of_an_id_that_is_taken_what_create_says() {
    let (server, _folder) = server();
    ask(&server, "create", &create_data(2));
    let mut other = create_data(2);
    assert_eq!(ask(&server, "create", &other)["code"], 200, "the same request again");
    other["collection_infos"][0]["name"] = "books".into();
    let created = ask(&server, "create", &other);
    assert_eq!(created["code"], 400);
    let checked = ask(&server, "check", &other);
    let findings = checked["data"]["findings"].as_array().unwrap();
    let problem = findings.iter().find(|finding| finding["level"] == "problem").unwrap();
    let text = problem["text"].as_str().unwrap();
    assert!(text.contains("differ from what it was created with: collection_infos."), "{text}");
    assert!(created["message"].as_str().unwrap().ends_with(text), "{created}");
    server.stop();
}
