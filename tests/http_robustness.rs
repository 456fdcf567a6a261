/*!
Clients that send nonsense, too much, too little or too slowly: each gets an answer or is cut off, and nobody else notices.
*/

#![allow(clippy::unwrap_used, reason = "a test that meets an error should end there")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::{Answer, PATIENCE, STOP_TIME, TestServer, connect, exchange, post_request, read_answer, request};
use milvus_cdc::api::http::{HttpServer, Limits, Response};
use serde_json::Value;

const LIST: &str = r#"{"request_type":"list"}"#;

fn server(limits: Limits) -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (TestServer::start(folder.path(), limits), folder)
}

fn code(answer: &Answer) -> u64 {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    body["code"].as_u64().unwrap()
}

fn assert_healthy(server: &TestServer) {
    let begin = Instant::now();
    let answer = exchange(server.address, &post_request(LIST));
    assert_eq!(code(&answer), 200);
    assert!(begin.elapsed() < PATIENCE / 3, "list took {:?}", begin.elapsed());
}

/// Whoever waited for a client that stalls would wait four times as long as a test does.
fn patient() -> Limits {
    Limits { request_time: 4 * PATIENCE, ..Limits::default() }
}

fn stalled(server: &TestServer, text: &str, count: usize) -> Vec<TcpStream> {
    let begin = |_| {
        let mut stream = connect(server.address);
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    (0..count).map(begin).collect()
}

#[test]
fn two_hundred_half_requests_delay_nobody() {
    let (server, _folder) = server(patient());
    let heads = stalled(&server, "POST /cdc HTTP/1.1\r\nHost: localhost\r\nContent-Le", 100);
    assert_healthy(&server);
    let bodies =
        stalled(&server, "POST /cdc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n{\"request", 100);
    for _ in 0..20 {
        assert_healthy(&server);
    }
    drop((heads, bodies));
    server.stop();
}

#[test]
fn more_than_there_are_places_for() {
    let (server, _folder) = server(Limits { connections: 8, ..patient() });
    let mut clients = stalled(&server, "POST /cdc HT", 40);
    assert_healthy(&server);
    // The oldest was cut off without an answer, which it could not have told from its own request.
    let mut rest = Vec::new();
    let end = clients[0].read_to_end(&mut rest).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)) && rest.is_empty(), "{end:?} {rest:?}");
    server.stop();
}

const LARGE_ANSWER: usize = 16 << 20;

/// A server whose answers fit into no socket's buffers.
fn large_answers(connections: usize) -> HttpServer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = |_| Response::new(200, "text/plain", vec![b'x'; LARGE_ANSWER]);
    HttpServer::start(listener, Limits { connections, ..patient() }, answer).unwrap()
}

/// A client that has seen its answer begin, and reads no more of it.
fn begun(server: &HttpServer) -> TcpStream {
    let mut stream = connect(server.address());
    stream.write_all(&request("GET", "/", "")).unwrap();
    let mut begin = [0; 15];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    stream
}

#[test]
fn who_does_not_read_the_answer_gives_way() {
    let server = large_answers(4);
    let silent: Vec<TcpStream> = (0..4).map(|_| begun(&server)).collect();
    let answer = exchange(server.address(), &request("GET", "/", ""));
    assert_eq!((answer.status, answer.body.len()), (200, LARGE_ANSWER));
    drop(silent);
    server.stop_accepting();
    server.finish(Instant::now() + PATIENCE);
}

#[test]
fn an_answer_under_way_outlives_the_stop() {
    let server = large_answers(4);
    let mut client = begun(&server);
    server.stop_accepting();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.len() >= LARGE_ANSWER, "{}", rest.len());
    server.finish(Instant::now() + PATIENCE);
}

#[test]
fn who_stalls_is_cut_off() {
    let limits = Limits { request_time: Duration::from_secs(1), ..Limits::default() };
    let (server, _folder) = server(limits);
    let mut head = stalled(&server, "POST /cdc HTTP/1.1\r\nHo", 1).remove(0);
    let mut body = stalled(&server, "POST /cdc HTTP/1.1\r\nContent-Length: 50\r\n\r\n{", 1).remove(0);
    // A byte now and then does not help: it is cut off while they still come.
    let mut dripping = stalled(&server, "POST", 1).remove(0);
    let mut drips = dripping.try_clone().unwrap();
    let dripper = std::thread::spawn(move || {
        while drips.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(read_answer(&mut head).status, 408);
    let answer = read_answer(&mut body);
    assert_eq!((answer.status, code(&answer)), (200, 500));
    assert!(
        answer.body.contains("fail to read the request body, error: the body did not arrive in time"),
        "{answer:?}"
    );
    assert_eq!(read_answer(&mut dripping).status, 408);
    dripping.shutdown(Shutdown::Both).unwrap();
    dripper.join().unwrap();
    server.stop();
}

#[test]
fn a_body_that_is_too_large() {
    let (server, _folder) = server(Limits::default());
    for length in [1024 * 1024 + 1, 20 * 1024 * 1024] {
        let answer = exchange(server.address, &post_request(&"x".repeat(length)));
        assert_eq!((answer.status, code(&answer)), (200, 500));
        assert!(answer.body.contains("the body is larger than 1048576 bytes"), "{}", answer.body);
    }
    let mut chunked = b"POST /cdc HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..30 {
        chunked.extend_from_slice(format!("10000\r\n{}\r\n", "x".repeat(0x10000)).as_bytes());
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    assert!(exchange(server.address, &chunked).body.contains("larger than"));
    // Just what is allowed is read, and found to be no JSON.
    let answer = exchange(server.address, &post_request(&"x".repeat(1024 * 1024)));
    assert!(answer.body.contains("fail to unmarshal the request"), "{}", answer.body);
    server.stop();
}

#[test]
fn nonsense_gets_an_answer() {
    let (server, _folder) = server(Limits::default());
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep_data =
        format!(r#"{{"request_type":"list","request_data":{{"a":{}1{}}}}}"#, "[".repeat(500), "]".repeat(500));
    for body in [deep.as_bytes(), deep_data.as_bytes(), b"{\"request_type\":\"\xff\xfe\"}", b"{\"a\":1e999}", b"\0"] {
        let mut bytes = format!("POST /cdc HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        let answer = exchange(server.address, &bytes);
        assert_eq!((answer.status, code(&answer)), (200, 500));
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        assert_eq!(code(&exchange(server.address, &request(method, "/cdc", LIST))), 405);
    }
    for bytes in [&b"\x16\x03\x01\x02\x00\r\n\r\n"[..], b"GET /cdc HTTP/3.0\r\n\r\n", b"nonsense\r\n\r\n"] {
        let answer = exchange(server.address, bytes);
        assert_eq!((answer.status, code(&answer)), (400, 400));
    }
    assert_eq!(exchange(server.address, &request("POST", "/cdc", "")).status, 200);
    assert_healthy(&server);
    server.stop();
}

#[test]
fn health_and_other_paths() {
    let (server, _folder) = server(Limits::default());
    let answer = exchange(server.address, &request("GET", "/healthz", ""));
    assert_eq!((answer.status, answer.body.trim()), (200, r#"{"status":"ok"}"#));
    assert_eq!(exchange(server.address, &request("GET", "/healthz?verbose", "")).status, 200);
    assert_eq!(exchange(server.address, &request("POST", "/healthz", "")).status, 405);
    assert_eq!(exchange(server.address, &request("GET", "/debug/pprof", "")).status, 404);
    server.stop();
}

#[test]
fn stopping_cuts_off_who_is_not_done() {
    let (server, _folder) = server(patient());
    let _half = stalled(&server, "POST /cdc HT", 20);
    let begin = Instant::now();
    let address = server.address;
    server.stop();
    assert!(begin.elapsed() < STOP_TIME, "took {:?}", begin.elapsed());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_scrape() {
    let (server, _folder) = server(Limits::default());
    let create = r#"{"request_type":"create","request_data":{"task_id":"scraped",
        "milvus_connect_param":{"uri":"http://t:1234"},"collection_infos":[{"name":"*"}]}}"#;
    assert_eq!(code(&exchange(server.address, &post_request(create))), 200);
    // What a client invents is not a label: it could invent for ever.
    exchange(server.address, &post_request(r#"{"request_type":"invented"}"#));
    let answer = exchange(server.address, &request("GET", "/metrics", ""));
    assert!(answer.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", answer.head);
    for line in [
        "# TYPE milvus_cdc_request_latency histogram",
        "# TYPE milvus_cdc_request_total counter",
        r#"milvus_cdc_request_total{request_status="success",request_type="create"} "#,
        r#"milvus_cdc_request_total{request_status="total",request_type="unknown"} "#,
        r#"milvus_cdc_request_latency_bucket{request_type="create",le="128"} "#,
        r#"milvus_cdc_task_state{task_id="scraped"} 1"#,
        r#"milvus_cdc_task_phase{phase="Following",task_id="scraped"} 1"#,
        r#"milvus_cdc_task_lag_seconds{task_id="scraped"} 0.12"#,
        r#"milvus_cdc_skipped_total{reason="bulk import",task_id="scraped"} 2"#,
    ] {
        assert!(answer.body.lines().any(|known| known.starts_with(line)), "{line} is not in {}", answer.body);
    }
    assert!(!answer.body.contains("invented"));
    assert_eq!(exchange(server.address, &request("GET", "/cdc/metrics", "")).status, 200);
    let ready: Value = serde_json::from_str(&exchange(server.address, &request("GET", "/readyz", "")).body).unwrap();
    let task = serde_json::json!({"task_id": "scraped", "phase": "Following", "lag_ms": 120, "reason": null});
    let expected = serde_json::json!({"status": "ready", "task_num": 1, "phases": {"Following": 1}, "tasks": [task]});
    assert_eq!(ready, expected);
    assert_eq!(exchange(server.address, &request("POST", "/metrics", "")).status, 405);
    server.stop();
}
