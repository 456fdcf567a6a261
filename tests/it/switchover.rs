//! The request `switchover`, with an engine that only pretends: what is refused, and that nothing has happened then.

use std::sync::atomic::Ordering;

use crate::support::TestServer;
use milvus_cdc::internals::Limits;
use serde_json::{Value, json};

fn ask(server: &TestServer, request_type: &str, more: &Value) -> Value {
    let mut data = json!({"task_id": "t"});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post(&json!({"request_type": request_type, "request_data": data}).to_string())
}

#[test]
fn a_task_that_is_not_in_step_does_not_begin() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(folder.path(), Limits::default());
    let definition = json!({"milvus_connect_param": {"uri": "http://h:2"}, "collection_infos": [{"name": "a"}]});
    assert_eq!(ask(&server, "create", &definition)["code"], 200);
    let why = |server: &TestServer| {
        let told = ask(server, "switchover", &json!({"dry_run": true}))["data"].clone();
        assert_eq!((&told["state"], &told["epoch"], &told["possible"]), (&json!("forward"), &json!(0), &json!(false)));
        told["why_not"].as_str().unwrap().to_owned()
    };
    let all = why(&server);
    for part in ["the source source:1 does not answer", "is not among the `peers`", "1 drops are held: decide"] {
        assert!(all.contains(part), "{all}");
    }
    server.engine.source_answers.store(true, Ordering::SeqCst);
    server.engine.has_peer.store(true, Ordering::SeqCst);
    let held = why(&server);
    assert_eq!(held, "the task is not in step: 1 drops are held: decide about them by `drops`");
    let refused = ask(&server, "switchover", &json!({"quiet_s": 1, "verify": "rows"}));
    assert_eq!(refused["code"], 400, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains(&format!("the sites cannot change places now: {held}")));
    assert_eq!(ask(&server, "pair", &json!({}))["data"]["switchover"]["why_not"], json!([held]));
    for wrong in [json!({"action": "cancel"}), json!({"verify": "all"}), json!({"quiet_s": 0}), json!({"task_id": "x"})]
    {
        assert_eq!(ask(&server, "switchover", &wrong)["code"], 400, "{wrong}");
    }
    assert_eq!(ask(&server, "switchover", &json!({"action": "status"}))["data"]["epoch"], 0);
    server.stop();
}
