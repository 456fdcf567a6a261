/*!
The OpenAPI description says what the server does: every path and request type in it answers, and answers as it is
described.
*/

use std::collections::BTreeSet;

use crate::support::{Answer, TestServer, exchange, request};
use milvus_cdc::internals::{ChannelPosition, Limits};
use serde_json::{Value, json};

fn description(server: &TestServer) -> Value {
    let answer = exchange(server.address, &request("GET", "/openapi.json", ""));
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).unwrap()
}

fn follow<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}")),
        None => schema,
    }
}

/// The little of JSON Schema that the description uses for answers. Stricter than it: an object may have no properties
/// that its schema does not name.
fn fits(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let schema = follow(root, schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let errors: Vec<String> = choices.iter().filter_map(|one| fits(root, one, value, place).err()).collect();
        return if errors.len() + 1 == choices.len() { Ok(()) } else { Err(errors.join(" / ")) };
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return Err(format!("{place}: {value} is not {}", schema["const"]));
    }
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        return Err(format!("{place}: {value} is none of {choices:?}"));
    }
    let of_type = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{place}: the test does not know the type {other}"),
    };
    let matches = match &schema["type"] {
        Value::Null => true,
        Value::String(name) => of_type(name),
        names => names.as_array().unwrap().iter().any(|name| of_type(name.as_str().unwrap())),
    };
    if !matches {
        return Err(format!("{place}: {value} is no {}", schema["type"]));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(root, &schema["items"], item, &format!("{place}[{index}]"))?;
    }
    object_fits(root, schema, value, place)
}

fn object_fits(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let Some(fields) = value.as_object() else { return Ok(()) };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return Err(format!("{place}: {required} is missing in {value}"));
        }
    }
    for (key, field) in fields {
        let place = format!("{place}.{key}");
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => fits(root, schema, field, &place)?,
            (None, None) if schema.get("properties").is_some() => return Err(format!("{place} is not described")),
            (None, None) => {}
        }
    }
    Ok(())
}

fn check(root: &Value, path: &str, method: &str, answer: &Answer) {
    let responses = &root["paths"][path][method]["responses"];
    let response = responses.get(answer.status.to_string()).unwrap_or_else(|| panic!("{path}: {answer:?}"));
    let content = follow(root, response)["content"].as_object().unwrap();
    let (kind, content) = content.iter().next().unwrap();
    assert!(answer.head.contains(&format!("Content-Type: {kind}")), "{path}: {answer:?}");
    if kind == "application/json" {
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        // The description itself is described by its first key only.
        if path != "/openapi.json" {
            fits(root, &content["schema"], &body, path).unwrap();
        }
    }
}

#[test]
fn every_path_answers_as_described() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(folder.path(), Limits::default());
    let root = description(&server);
    assert_eq!(root["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut count = 0;
    for (path, methods) in root["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let body = if method == "post" { r#"{"request_type":"list"}"# } else { "" };
            let answer = exchange(server.address, &request(&method.to_uppercase(), path, body));
            assert_eq!(answer.status, 200, "{path}");
            check(&root, path, method, &answer);
            let foreign = format!("{} {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n", method.to_uppercase());
            check(&root, path, method, &exchange(server.address, foreign.as_bytes()));
            count += 1;
        }
    }
    assert_eq!(count, 7);
    server.stop();
}

/// Requests about a running task's collections, rows and target, each with the code of its answer.
fn about_parts() -> [(&'static str, Value, u16); 15] {
    [
        ("refused_rows", json!({"task_id": "one"}), 200),
        ("refused_rows", json!({"task_id": "one", "action": "apply"}), 200),
        ("refused_rows", json!({"task_id": "one", "action": "drop"}), 400),
        ("refused_rows", json!({"task_id": 1}), 500),
        ("pause", json!({"task_id": "one", "collection": "books"}), 200),
        ("resume", json!({"task_id": "one", "collection": "default.books"}), 200),
        ("resync", json!({"task_id": "one", "collection": "default.books"}), 200),
        ("resync", json!({"task_id": "one", "collection": "default.none"}), 400),
        ("resync", json!({"task_id": "one"}), 400),
        ("resync", json!({"collection": 1}), 500),
        ("update", json!({"task_id": "one", "milvus_connect_param": {"token": "root:new"}}), 200),
        ("update", json!({"task_id": "one"}), 400),
        ("update", json!({"task_id": "one", "milvus_connect_param": {"uri": "http://other:1"}}), 400),
        ("update", json!({"task_id": "none", "milvus_connect_param": {"token": "x"}}), 400),
        ("update", json!({"task_id": "one", "milvus_connect_param": 5}), 500),
    ]
}

/// Requests about a task's role, in this order, each with the code of its answer. It ends as it has begun.
fn about_the_role() -> [(&'static str, Value, u16); 19] {
    [
        ("failover", json!({"task_id": "one", "dry_run": true}), 200),
        ("failover", json!({"task_id": "one", "action": "cancel"}), 400),
        ("failover", json!({"task_id": "one"}), 200),
        ("failover", json!({"task_id": "one", "action": "status"}), 200),
        ("pair", json!({"task_id": "one"}), 200),
        ("pause", json!({"task_id": "one"}), 400),
        ("get", json!({"task_id": "one"}), 200),
        ("failover", json!({"task_id": "one", "action": "cancel"}), 200),
        ("failover", json!({"task_id": "one", "action": "stop"}), 400),
        ("failover", json!({"force": 1}), 500),
        ("pair", json!({"task_id": "none"}), 400),
        ("failback", json!({"task_id": "one", "action": "status"}), 200),
        ("failback", json!({"task_id": "one"}), 400),
        ("failback", json!({"task_id": "one", "lost_writes": "x"}), 400),
        ("failback", json!({"task_id": "one", "action": "export"}), 500),
        ("failback", json!({"dry_run": "x"}), 500),
        ("switchover", json!({"task_id": "one", "action": "status"}), 200),
        ("switchover", json!({"task_id": "one", "verify": "rows", "quiet_s": 5}), 400),
        ("switchover", json!({"task_id": "one", "quiet_s": "x"}), 500),
    ]
}

#[test]
fn every_request_is_answered_as_described() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(folder.path(), Limits::default());
    let position = ChannelPosition { channel: "by-dev-dml_0".into(), message_id: vec![1; 8], time_tick: 1 << 40 };
    server.engine.positions.lock().unwrap().push(position);
    let root = description(&server);
    let target = json!({"uri": "http://t:1234"});
    let everything = json!([{"name": "*"}]);
    let one = json!({"task_id": "one"});
    let requests = [
        ("create", json!({"task_id": "one", "milvus_connect_param": target, "collection_infos": everything}), 200),
        ("create", json!({"milvus_connect_param": target, "collection_infos": everything}), 400),
        ("create", json!({"milvus_connect_param": target, "collection_infos": everything, "on_refused": "x"}), 400),
        ("create", json!({"milvus_connect_param": target, "collection_infos": everything, "on_drop": "archive"}), 400),
        ("create", json!({"milvus_connect_param": target, "collection_infos": everything, "drop_after_hours": 5}), 400),
        ("create", json!({}), 400),
        ("create", json!({"milvus_connect_param": 5}), 500),
        ("get", one.clone(), 200),
        ("get", json!({"task_id": "one", "details": true, "events": true}), 200),
        ("list", json!({}), 200),
        ("list", json!({"details": true}), 200),
        ("list", json!({"details": 1}), 500),
        ("check", json!({"milvus_connect_param": target, "collection_infos": everything}), 200),
        ("check", json!({"milvus_connect_param": target, "collection_infos": everything, "pause_hours": -1}), 400),
        ("check", json!({}), 400),
        ("position", one.clone(), 200),
        ("verify", json!({"task_id": "one", "action": "status"}), 200),
        ("verify", json!({"task_id": "one", "keys_only": true}), 200),
        ("verify", json!({"task_id": "one", "sample": 10}), 400),
        ("verify", json!({"task_id": "one", "action": "cancel"}), 200),
        ("verify", json!({"task_id": "none"}), 400),
        ("verify", json!({"sample": "x"}), 500),
        ("repair", json!({"task_id": "one"}), 200),
        ("repair", json!({"task_id": "one", "action": "no"}), 400),
        ("drops", json!({"task_id": "one"}), 200),
        ("drops", json!({"task_id": "one", "action": "confirm"}), 200),
        ("drops", json!({"task_id": "one", "action": "drop"}), 400),
        ("drops", json!({"task_id": 1}), 500),
    ];
    let later = [
        ("pause", one.clone(), 200),
        ("resync", json!({"task_id": "one", "collection": "default.books"}), 400),
        ("verify", one.clone(), 400),
        ("drops", one.clone(), 400),
        ("refused_rows", one.clone(), 200),
        ("refused_rows", json!({"task_id": "one", "action": "apply"}), 400),
        ("pause", one.clone(), 400),
        ("get", one.clone(), 200),
        ("resume", one.clone(), 200),
        ("maintenance", json!({"operation": "set_log_level", "params": {"log_level": "info"}}), 200),
        ("delete", one, 200),
        ("get", json!({"task_id": "none"}), 400),
        ("position", json!({}), 200),
    ];
    let mut types = BTreeSet::new();
    for (request_type, data, code) in requests.into_iter().chain(about_parts()).chain(about_the_role()).chain(later) {
        let body = json!({"request_type": request_type, "request_data": data}).to_string();
        let answer = exchange(server.address, &request("POST", "/cdc", &body));
        assert!(answer.body.starts_with(&format!("{{\"code\":{code},")), "{body}: {answer:?}");
        check(&root, "/cdc", "post", &answer);
        types.insert(request_type.to_owned());
    }
    let kinds = root.pointer("/components/schemas/Request/oneOf").unwrap().as_array().unwrap();
    let name_of = |kind: &Value| kind["properties"]["request_type"]["const"].as_str().unwrap().to_owned();
    let described: BTreeSet<String> = kinds.iter().map(name_of).collect();
    assert_eq!(described, types);
    server.stop();
}
