/*!
The API answers what the Go milvus-cdc answers: `contract/cases.jsonl` holds 99 requests that were sent to one, and what
must come back, in order. A case with `differs` is one where we answer something else on purpose, and says why.
*/

use std::collections::HashMap;

use crate::support::{TestServer, exchange, request};
use milvus_cdc::internals::{ChannelPosition, Limits};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "cdc")]
    path: String,
    request: String,
    /// HTTP status.
    #[serde(default = "ok")]
    status: u16,
    code: Option<u16>,
    message: Option<String>,
    /// The message only begins like this.
    #[serde(default)]
    prefix: bool,
    /// What `data` must hold; it may hold more.
    data: Option<Value>,
    /// The lists in `data` are in the order of random ids.
    #[serde(default)]
    any_order: bool,
    /// No body at all.
    #[serde(default)]
    empty: bool,
    /// Keep the answered `task_id` under this name.
    save: Option<String>,
    #[serde(rename = "differs")]
    _differs: Option<String>,
}

fn post() -> String {
    "POST".to_owned()
}

fn cdc() -> String {
    "/cdc".to_owned()
}

fn ok() -> u16 {
    200
}

#[test]
fn the_recorded_requests() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(folder.path(), Limits::default());
    let mut ids: HashMap<String, String> = HashMap::new();
    let mut count = 0;
    for line in include_str!("contract/cases.jsonl").lines() {
        let case: Case = serde_json::from_str(&fill_in(line, &ids)).unwrap();
        let answer = exchange(server.address, &request(&case.method, &case.path, &case.request));
        assert_eq!(answer.status, case.status, "{case:?} got {answer:?}");
        if case.empty {
            assert_eq!(answer.body, "", "{case:?}");
        } else if case.code.is_some() {
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            check(&case, &body);
            assert!(answer.head.contains("Content-Type: application/json"), "{answer:?}");
            if let Some(name) = &case.save {
                ids.insert(name.clone(), body["data"]["task_id"].as_str().unwrap().to_owned());
            }
        } else if case.status == 200 {
            assert!(answer.body.contains("# TYPE milvus_cdc_task_num gauge"), "{case:?}");
        } else {
            assert_eq!(answer.body, "404 page not found\n", "{case:?}");
        }
        count += usize::from(!case.name.starts_with("setup:") && !case.name.starts_with("cleanup:"));
    }
    assert_eq!(count, 95);
    server.stop();
}

fn fill_in(line: &str, ids: &HashMap<String, String>) -> String {
    ids.iter().fold(line.to_owned(), |line, (name, id)| line.replace(&format!("{{{name}}}"), id))
}

fn check(case: &Case, body: &Value) {
    assert_eq!(body["code"], json!(case.code), "{case:?} got {body}");
    let message = body.get("message").map(|message| message.as_str().unwrap());
    match (&case.message, case.prefix) {
        (Some(begin), true) => assert!(message.unwrap().starts_with(begin), "{case:?} got {body}"),
        (expected, _) => assert_eq!(message, expected.as_deref(), "{case:?} got {body}"),
    }
    assert_eq!(body.get("data").is_some(), case.code == Some(200), "{case:?} got {body}");
    if let Some(expected) = &case.data {
        assert!(holds(&body["data"], expected, case.any_order), "{case:?} got {body}");
    }
}

/// Everything that is expected is there.
fn holds(found: &Value, expected: &Value, any_order: bool) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(key, expected)| found.get(key).is_some_and(|found| holds(found, expected, any_order)))
        }
        (Value::Array(found), Value::Array(expected)) if any_order => {
            found.len() == expected.len()
                && expected.iter().all(|expected| found.iter().any(|found| holds(found, expected, any_order)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, expected)| holds(found, expected, any_order))
        }
        (found, expected) => found == expected,
    }
}

const CREATE: &str = r#"{"request_type":"create","request_data":{"task_id":"t","milvus_connect_param":
    {"uri":"http://h:1234","token":"root:Milvus","dial_config":{"server_name":"n","ca_pem_path":"a",
    "client_pem_path":"b","client_key_path":"c"}},"collection_infos":[{"name":"*"}]}}"#;

#[test]
fn what_a_task_shows() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(folder.path(), Limits::default());
    assert_eq!(server.post(CREATE), json!({"code": 200, "data": {"task_id": "t"}}));
    let get = server.post(r#"{"request_type":"get","request_data":{"TASK_ID":"t"}}"#);
    let task = &get["data"]["task"];
    assert_eq!(task, &get["data"]["Task"]);
    assert_eq!(
        (&task["phase"], &task["lag_ms"], &task["skipped"]),
        (&json!("Following"), &json!(120), &json!({"bulk import": 2}))
    );
    assert!(task.get("reason").is_none());
    let dial = json!({"server_name": "n", "ca_pem_path": "a", "client_pem_path": "b", "client_key_path": "c"});
    assert_eq!(task["milvus_connect_param"]["dial_config"], dial);
    assert!(!get.to_string().contains("Milvus"), "{get}");
    server.post(r#"{"request_type":"pause","request_data":{"task_id":"t"}}"#);
    let task = &server.post(r#"{"request_type":"get","request_data":{"task_id":"t"}}"#)["data"]["task"];
    assert_eq!((&task["phase"], &task["lag_ms"]), (&json!("Paused"), &Value::Null));
    assert_eq!(task["skipped"], json!({"bulk import": 2}));
    server.stop();
}

#[test]
fn positions() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(folder.path(), Limits::default());
    *server.engine.positions.lock().unwrap() = vec![ChannelPosition {
        channel: "by-dev-rootcoord-dml_0".into(),
        message_id: vec![0; 8],
        time_tick: (1_795_329_392_305 << 18) + 5,
    }];
    server.post(CREATE);
    let expected = json!([{
        "collection_id": -1,
        "channel_name": "by-dev-rootcoord-dml_0",
        "time": 1_795_329_392_305_u64,
        "tt": 470_634_828_216_664_064_u64,
        "msg_id": "ChZieS1kZXYtcm9vdGNvb3JkLWRtbF8wEggAAAAAAAAAAA==",
    }]);
    let position = |id: &str| {
        let answer = server.post(&format!(r#"{{"request_type":"position","request_data":{{"task_id":"{id}"}}}}"#));
        answer["data"].clone()
    };
    assert_eq!(position("t")["positions"], expected);
    assert_eq!(position("")["positions"], expected);
    assert_eq!(position("other"), json!({"positions": null, "op_positions": null, "target_positions": null}));
    server.post(r#"{"request_type":"pause","request_data":{"task_id":"t"}}"#);
    assert_eq!(position("t")["positions"], expected);
    server.stop();
}

#[test]
fn what_only_this_server_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(folder.path(), Limits::default());
    let refused = |connect: &str, more: &str| {
        let answer = server.post(&format!(
            r#"{{"request_type":"create","request_data":{{"milvus_connect_param":{connect},
                "collection_infos":[{{"name":"a"}}]{more}}}}}"#
        ));
        assert_eq!(answer["code"], 400, "{answer}");
        let message = answer["message"].as_str().unwrap().to_owned();
        message.replace("fail to handle the create request, error: ", "")
    };
    let half = refused(r#"{"uri":"http://h","dial_config":{"ca_pem_path":"a"}}"#, "");
    assert!(half.starts_with("the dial_config is incomplete"), "{half}");
    let source = refused(r#"{"host":"localhost","port":19530}"#, "");
    assert!(source.contains("is the source itself"), "{source}");
    let id = refused(r#"{"uri":"http://h"}"#, r#","task_id":"../x""#);
    assert!(id.starts_with("the task_id must be"), "{id}");
    let uri = refused(r#"{"uri":"http://root:s3cret@h:1"}"#, "");
    assert!(uri.starts_with("the milvus address is invalid") && !uri.contains("s3cret"), "{uri}");
    server.stop();
}
