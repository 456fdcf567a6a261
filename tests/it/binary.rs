/*!
The binary itself: what it prints, how it ends, and that nobody else can use its folder meanwhile.
*/

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, exchange, post_request, request};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-cdc"));
    command
        .args(arguments)
        .env_remove("MILVUS_CDC_SOURCE_TOKEN")
        .env_remove("MILVUS_CDC_API_TOKEN")
        .stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn config(folder: &Path, address: &str) -> PathBuf {
    let path = folder.join("cdc.yaml");
    fs::write(&path, format!("address: {address}\ndataDir: {}\n", folder.join("data").display())).unwrap();
    path
}

/// A running server, killed when the test fails.
struct Server {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStderr>>,
    address: SocketAddr,
}

impl Server {
    fn start(config: &Path) -> Self {
        let mut child = command(&["--config", config.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().unwrap().contains("serving on http://")).unwrap().unwrap();
        let address = line.split("http://").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        Server { child, lines, address }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server did not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_version_and_mistakes() {
    let help = output(&["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && text.contains("Exit codes:") && text.contains("--config <FILE>"), "{text}");
    let version = String::from_utf8(output(&["--version"]).stdout).unwrap();
    assert_eq!(version.trim(), concat!("milvus-cdc ", env!("CARGO_PKG_VERSION")));
    assert_eq!(output(&["--confg", "x"]).status.code(), Some(2));
}

#[test]
fn a_wrong_config_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cdc.yaml");
    fs::write(&path, "address: 127.0.0.1:0\nmaxTaskNumm: 5\n").unwrap();
    let output = output(&["--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    let begin = format!("milvus-cdc: {}:2: unknown key `maxTaskNumm`: did you mean `maxTaskNum`?", path.display());
    assert!(text.starts_with(&begin) && text.lines().count() == 1, "{text}");
}

#[test]
fn signals_end_it_well() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Server::start(&config(folder.path(), "127.0.0.1:0"));
        assert_eq!(exchange(server.address, &request("GET", "/healthz", "")).status, 200);
        // A terminal that closes does not end it.
        server.signal("HUP");
        assert!(server.lines.next().unwrap().unwrap().contains("SIGHUP: configuration reloaded"));
        server.signal(signal);
        assert_eq!(server.exit_code(), Some(0));
    }
}

#[test]
fn a_second_server_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "127.0.0.1:0");
    let server = Server::start(&path);
    let second = output(&["--config", path.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(3));
    assert!(stderr(&second).contains("in use by another milvus-cdc"), "{}", stderr(&second));

    let other = tempfile::tempdir().unwrap();
    let taken = config(other.path(), &server.address.to_string());
    let third = output(&["--config", taken.to_str().unwrap()]);
    assert_eq!(third.status.code(), Some(3));
    assert!(stderr(&third).contains(&format!("cannot listen on {}", server.address)), "{}", stderr(&third));
}

#[test]
fn a_damaged_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "127.0.0.1:0");
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data/tasks.json"), "").unwrap();
    let output = output(&["--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("tasks.json: damaged at byte 0 (line 1): the file ends prematurely"));
}

#[test]
fn the_log_level_changes_at_run_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&config(folder.path(), "127.0.0.1:0"));
    let set = |level: &str| {
        let body =
            r#"{"request_type":"maintenance","request_data":{"operation":"set_log_level","params":{"log_level":"L"}}}"#;
        let answer = exchange(server.address, &post_request(&body.replace("\"L\"", &format!("\"{level}\""))));
        assert!(answer.body.contains(&format!("set log level to {level}")), "{answer:?}");
    };
    set("debug");
    assert!(server.lines.next().unwrap().unwrap().contains("log level set to"));
    set("FATAL");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    let rest: Vec<String> = server.lines.by_ref().map(|line| line.unwrap()).collect();
    assert!(rest.iter().all(|line| line.contains("[DEBUG]")), "{rest:?}");
}

#[test]
fn sighup_takes_over_level_and_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "127.0.0.1:0");
    let before = fs::read_to_string(&path).unwrap();
    let mut server = Server::start(&path);
    let mut after = |text: &str| {
        fs::write(&path, format!("{before}{text}")).unwrap();
        server.signal("HUP");
        server.lines.next().unwrap().unwrap()
    };
    let line = after("logLevel: debug\nmaxTaskNum: 5\nmaxNameLength: 3\n");
    assert!(line.contains("reloaded\"] [logLevel=debug] [maxTaskNum=5] [maxNameLength=3]"), "{line}");
    let wrong = after("maxTaskNum: 0\n");
    assert!(wrong.contains("[ERROR]") && wrong.contains("cdc.yaml:3: `maxTaskNum`"), "{wrong}");
    let more = after("maxNameLength: 3\nlogFormat: json\n");
    assert!(more.contains("reloaded"), "{more}");
    assert!(server.lines.next().unwrap().unwrap().contains("take effect after a restart"));
    let create = r#"{"request_type":"create","request_data":{"milvus_connect_param":{"uri":"http://127.0.0.1:1"},
        "collection_infos":[{"name":"long"}]}}"#;
    let answer = exchange(server.address, &post_request(create));
    assert!(answer.body.contains("whose length exceeds 3 characters"), "{answer:?}");
}

#[test]
fn the_log_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "127.0.0.1:0");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}logFormat: json\n")).unwrap();
    let mut server = Server::start(&path);
    server.signal("TERM");
    let line: serde_json::Value = serde_json::from_str(&server.lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((line["level"].as_str(), line["module"].as_str()), (Some("INFO"), Some("server")));
    assert_eq!(line["message"], "SIGTERM received, stopping");
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

/// What the server says until it serves.
fn said_at_start(config: &Path) -> Vec<String> {
    let mut child = command(&["--config", config.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let serves = line.contains("serving on http://");
        said.push(line);
        if serves {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn listening_for_everybody_needs_a_yes_and_is_said() {
    let folder = tempfile::tempdir().unwrap();
    // The local host under a name that cannot be told from others without looking it up.
    let path = config(folder.path(), "\"[::ffff:127.0.0.1]:0\"");
    let refused = output(&["--config", path.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("api.allowUnauthenticated"), "{}", stderr(&refused));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}api: {{allowUnauthenticated: true}}\n")).unwrap();
    let said = said_at_start(&path);
    assert!(said[0].contains("[WARN]") && said[0].contains("is open to everyone"), "{said:?}");
    fs::write(&path, format!("{text}api: {{token: s3cret}}\n")).unwrap();
    let said = said_at_start(&path);
    assert!(!said.iter().any(|line| line.contains("[WARN]") || line.contains("s3cret")), "{said:?}");
}

#[test]
fn keys_of_the_go_server_are_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "127.0.0.1:0");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        format!("{text}metaStoreConfig:\n  storeType: etcd\n  etcd:\n    address: [a]\nbatchMode: true\n"),
    )
    .unwrap();
    let said = said_at_start(&path);
    for (key, line) in [("metaStoreConfig", 3), ("batchMode", 7)] {
        let named =
            said.iter().any(|said| said.contains("[WARN]") && said.contains(&format!("`{key}` in line {line}")));
        assert!(named, "{key}: {said:?}");
    }
    let validated = output(&["config", "validate", "--config", path.to_str().unwrap()]);
    let told = String::from_utf8(validated.stdout).unwrap();
    assert!(
        told.starts_with("line 3: `metaStoreConfig` has no effect: tasks and positions are kept in dataDir"),
        "{told}"
    );
    assert!(told.ends_with("the configuration is valid\n"), "{told}");
}
