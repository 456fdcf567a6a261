/*!
The commands beside curl, run as a user would, against a server with an engine that only pretends.
*/

#[path = "../../src/http_client/identity.rs"]
mod identity;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{TestServer, WARNED_PORT};
use identity::Identity;
use milvus_cdc::Config;
use milvus_cdc::internals::{Limits, Secret};
use serde_json::Value;

const TOKEN: &str = "t0ken-of-the-test";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-cdc"));
    for variable in ["MILVUS_CDC_URL", "MILVUS_CDC_API_TOKEN", "MILVUS_CDC_TARGET_TOKEN", "MILVUS_CDC_SOURCE_TOKEN"] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Exit code, stdout, stderr.
fn result(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    result(&command(arguments).output().unwrap())
}

fn task(address: SocketAddr, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(&["task"]);
    command.args(arguments).env("MILVUS_CDC_URL", format!("http://{address}")).env("MILVUS_CDC_API_TOKEN", TOKEN);
    result(&command.output().unwrap())
}

fn server() -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::load(None, |_| None).unwrap();
    config.api.token = Secret::new(TOKEN);
    (TestServer::with(folder.path(), Limits::default(), &config), folder)
}

#[test]
fn what_a_user_should_know_of_a_new_task_is_printed_beside_its_id() {
    let (server, _folder) = server();
    let target = format!("http://standby:{WARNED_PORT}");
    let told = task(server.address, &["create", "--target", &target, "--task-id", "one"]);
    assert_eq!(told, (Some(0), "one\n".into(), "warning: inserts without keys fail\n".into()));
}

#[test]
fn a_tasks_life() {
    let (server, _folder) = server();
    let task = |arguments: &[&str]| task(server.address, arguments);
    assert_eq!(task(&["list"]), (Some(0), "no tasks\n".into(), String::new()));
    let create = ["create", "--target", "http://standby:19530", "--task-id", "one", "--collection", "db.a"];
    assert_eq!(task(&create), (Some(0), "one\n".into(), String::new()));
    let expected = "TASK  PHASE      LAG    TARGET                REASON\n\
                    one   Following  120ms  http://standby:19530\n\
                    one: [#####---------------] 25 of 100 rows of default.books\n";
    assert_eq!(task(&["list"]).1, expected);
    let shown = task(&["get", "one"]).1;
    assert!(shown.contains("follows  db.a\n") && shown.contains("skipped  2 bulk import\n"), "{shown}");
    assert!(shown.contains("copying  [#####---------------] 25 of 100 rows of default.books\n"), "{shown}");
    let events = task(&["get", "one", "--events"]).1;
    assert!(events.contains("  state  created\n"), "{events}");
    assert_eq!(task(&["pause", "one"]).1, "paused one\n");
    assert_eq!(task(&["watch", "--count", "1"]).1.lines().nth(1).unwrap().split_whitespace().nth(1), Some("Paused"));
    let (code, out, error) = task(&["pause", "one"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(error, "milvus-cdc: fail to handle the pause request, error: the task has paused, task_id: one\n");
    assert_eq!(task(&["resume", "one"]).1, "resumed one\n");
    assert_eq!(task(&["delete", "one"]).1, "deleted one; the target keeps its data\n");
    assert_eq!(task(&["delete", "one"]).0, Some(1));
    assert_eq!(task(&["delete", "one", "--ignore-not-found"]).0, Some(0));
    server.stop();
}

#[test]
fn json_for_programs() {
    let (server, folder) = server();
    let task = |arguments: &[&str]| {
        let (code, out, error) = task(server.address, arguments);
        assert_eq!(code, Some(0), "{error}");
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines
    };
    let file = folder.path().join("task.json");
    fs::write(
        &file,
        r#"{"task_id":"x","milvus_connect_param":{"uri":"http://t:1234"},"collection_infos":[{"name":"*"}]}"#,
    )
    .unwrap();
    assert_eq!(task(&["create", "--json", "--file", file.to_str().unwrap()])[0]["task_id"], "x");
    assert_eq!(task(&["--json", "list"])[0]["tasks"][0]["task_id"], "x");
    let looks = task(&["watch", "x", "--json", "--count", "2", "--interval", "1"]);
    assert_eq!((looks.len(), &looks[1]["phase"]), (2, &Value::from("Following")));
    server.stop();
}

#[test]
fn who_may_not_and_what_is_not_there() {
    let (server, _folder) = server();
    let url = format!("http://{}", server.address);
    let (code, _, error) = run(&["task", "list", "--server", &url]);
    assert_eq!((code, error.contains("a token is needed")), (Some(1), true), "{error}");
    let (code, _, error) = run(&["task", "list", "--server", &url, "--token", "s3cret"]);
    assert_eq!((code, error.as_str()), (Some(1), "milvus-cdc: the token is wrong\n"));
    server.stop();
    let (code, _, error) = run(&["task", "list", "--server", &url]);
    assert_eq!((code, error.starts_with(&format!("milvus-cdc: cannot reach the server at {url}: "))), (Some(1), true));
    let (code, _, error) = run(&["task", "list", "--server", "ftp://x"]);
    assert_eq!(
        (code, error.contains("it must look like http://host:port or https://host")),
        (Some(2), true),
        "{error}"
    );
}

/// A proxy that speaks TLS and hands everything on to the server. It ends with the process.
fn tls_proxy(identity: &Identity, server: SocketAddr) -> SocketAddr {
    let acceptor = identity.acceptor().build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // A client that does not trust us.
            let Ok(mut stream) = acceptor.accept(socket) else { continue };
            let mut request = Vec::new();
            while !is_complete(&request) {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the request is cut short");
                request.extend_from_slice(&buffer[..read]);
            }
            let mut upstream = TcpStream::connect(server).unwrap();
            upstream.write_all(&request).unwrap();
            let mut answer = Vec::new();
            upstream.read_to_end(&mut answer).unwrap();
            stream.write_all(&answer).unwrap();
            stream.shutdown().unwrap();
        }
    });
    address
}

/// A GET, or as much body as was announced.
fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

#[test]
fn over_tls() {
    let (server, folder) = server();
    let (identity, other) = (Identity::new(), Identity::new());
    let authority = identity.save(folder.path());
    let url = format!("https://{}", tls_proxy(&identity, server.address));
    let run = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("MILVUS_CDC_URL", &url).env("MILVUS_CDC_API_TOKEN", TOKEN).env("SSL_CERT_FILE", &authority);
        result(&command.output().unwrap())
    };
    assert_eq!(run(&["health"]), (Some(0), "ok\n".into(), String::new()));
    assert_eq!(run(&["task", "list"]), (Some(0), "no tasks\n".into(), String::new()));
    let create = ["task", "create", "--target", "http://standby:19530", "--task-id", "one"];
    assert_eq!(run(&create), (Some(0), "one\n".into(), String::new()));
    // Any other command than `health` fails likewise.
    let (code, out, error) = run(&["task", "list", "--token", "s3cret"]);
    assert_eq!((code, out.as_str(), error.as_str()), (Some(1), "", "milvus-cdc: the token is wrong\n"));
    let untrusted = format!("https://{}", tls_proxy(&other, server.address));
    for words in [&["task", "list"][..], &["health"], &["verify", "one"]] {
        let (code, out, error) = run(&[words, &["--server", &untrusted]].concat());
        let expected = format!(
            "milvus-cdc: cannot reach the server at {untrusted}: the server's certificate is refused: self-signed \
             certificate; if an authority of your own has signed it, name that one's PEM file in SSL_CERT_FILE\n"
        );
        let failed = if words[0] == "verify" { Some(2) } else { Some(1) };
        assert_eq!((code, out.as_str(), error.replace("self signed", "self-signed")), (failed, "", expected));
    }
    let other_name = url.replace("127.0.0.1", "localhost");
    let (code, _, error) = run(&["health", "--server", &other_name]);
    assert_eq!((code, error.to_ascii_lowercase().contains("hostname mismatch")), (Some(1), true), "{error}");
    server.stop();
}

#[test]
fn a_server_that_speaks_no_tls() {
    let folder = tempfile::tempdir().unwrap();
    // It waits for the rest of what it takes for the head of a request.
    let limits = Limits { request_time: Duration::from_millis(200), ..Limits::default() };
    let server = TestServer::start(folder.path(), limits);
    let (code, _, error) = run(&["health", "--server", &format!("https://{}", server.address)]);
    let hint = format!("; a server without TLS is reached at http://{}\n", server.address);
    assert_eq!((code, error.ends_with(&hint)), (Some(1), true), "{error}");
    server.stop();
}

#[test]
fn health_is_for_probes_without_a_token() {
    let (server, _folder) = server();
    let url = format!("http://{}", server.address);
    assert_eq!(run(&["health", "--server", &url]), (Some(0), "ok\n".into(), String::new()));
    server.stop();
    let (code, out, error) = run(&["health", "--server", &url]);
    assert_eq!((code, out.as_str(), error.contains("cannot reach the server")), (Some(1), "", true), "{error}");
}

#[test]
fn a_check_without_any_server_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cdc.yaml");
    let text =
        "sourceConfig:\n  milvus: {uri: \"http://127.0.0.1:1\", connectTimeout: 1}\n  rocksmq: {path: /nowhere}\n";
    fs::write(&path, format!("dataDir: {}/data\n{text}", folder.path().display())).unwrap();
    let config = path.to_str().unwrap();
    let check = ["check", "--config", config, "--target", "http://127.0.0.1:2", "--connect-timeout", "1"];
    let (code, out, error) = run(&check);
    assert_eq!((code, error.as_str()), (Some(1), ""), "{out}");
    for line in ["✗  source ", "✗  target ", "✗  log ", "✓  dataDir "] {
        assert!(out.lines().any(|shown| shown.starts_with(line)), "{line} is not in {out}");
    }
    let (code, json, _) = run(&[&check[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["ok"]), (Some(1), &Value::from(false)));
    let problems = json["findings"].as_array().unwrap().iter().filter(|one| one["level"] != "good");
    assert!(problems.clone().count() == 3 && problems.clone().all(|one| one["remedy"].is_string()), "{json}");
    let (code, _, error) = run(&["check", "--config", config, "--target", "ftp://x"]);
    assert_eq!((code, error.contains("the milvus address is invalid")), (Some(2), true), "{error}");
}

#[test]
fn help_shows_no_token() {
    let output = command(&["task", "create", "--help"])
        .env("MILVUS_CDC_API_TOKEN", "s3cret")
        .env("MILVUS_CDC_TARGET_TOKEN", "s3cret")
        .output()
        .unwrap();
    let (code, out, _) = result(&output);
    assert_eq!(code, Some(0));
    assert!(out.contains("MILVUS_CDC_TARGET_TOKEN") && !out.contains("s3cret"), "{out}");
}

#[test]
fn the_configuration_is_shown_and_judged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cdc.yaml");
    let path_text = path.to_str().unwrap();
    fs::write(&path, "maxTaskNum: 7\napi:\n  token: s3cret\n").unwrap();
    let (code, out, _) = run(&["config", "show", "--config", path_text]);
    assert_eq!(code, Some(0));
    let line = |key: &str| out.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert_eq!(line("maxTaskNum").split_whitespace().collect::<Vec<_>>()[1..], ["7", &format!("{path_text}:1")]);
    assert!(line("api.token ").contains("(hidden)") && !out.contains("s3cret"), "{out}");
    let (_, json, _) = run(&["config", "--config", path_text, "show", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["key"], "address");
    assert_eq!(run(&["config", "validate", "--config", path_text]).1, "the configuration is valid\n");
    fs::write(&path, "maxTaskNum: 0\n").unwrap();
    let (code, _, error) = run(&["config", "validate", "--config", path_text]);
    assert_eq!((code, error.contains("`maxTaskNum`: `0` is not allowed")), (Some(2), true), "{error}");
}

#[test]
fn completions() {
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef milvus-cdc"), ("fish", "complete -c milvus-cdc")] {
        let (code, out, _) = run(&["completions", shell]);
        assert_eq!((code, out.contains(word)), (Some(0), true), "{shell}");
    }
}
