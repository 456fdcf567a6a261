/*!
Clients that send nonsense, too much, too little or too slowly: each gets an answer or is cut off, and nobody else
notices.
*/

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{
    Answer, PATIENCE, TestServer, connect, exchange, many_sockets, post_request, read_answer, request,
};
use milvus_cdc::internals::{HttpServer, Limits, Response};
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
    // A client reads for a quarter of the time that one that stalls is waited for (`patient`).
    assert_eq!(code(&exchange(server.address, &post_request(LIST))), 200);
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

/// Without an answer, which a client could not tell from one to a request of its own.
fn assert_cut_off(client: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = client.read_to_end(&mut rest).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)) && rest.is_empty(), "{end:?} {rest:?}");
}

#[test]
fn two_hundred_half_requests_delay_nobody() {
    let _turn = many_sockets();
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
    assert_cut_off(&mut clients[0]);
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
fn heads_that_are_understood_differently_by_others_are_refused() {
    let (server, _folder) = server(Limits::default());
    for lines in [
        "Content-Length : 5",
        "Transfer-Encoding : chunked",
        "Host : evil",
        "A: b\0c",
        "A: b\r\n folded: c",
        ": empty",
        "A: b\nContent-Length: 5",
    ] {
        let answer = exchange(server.address, format!("POST /cdc HTTP/1.1\r\n{lines}\r\n\r\nhello").as_bytes());
        assert_eq!((answer.status, code(&answer)), (400, 400), "{lines:?}");
    }
    let answer = exchange(server.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!((answer.status, code(&answer)), (400, 400));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert_eq!(exchange(server.address, many.as_bytes()).status, 431);
    let behind_an_empty_line = [&b"\r\n"[..], &post_request(LIST)].concat();
    assert_eq!(code(&exchange(server.address, &behind_an_empty_line)), 200);
    assert_healthy(&server);
    server.stop();
}

#[test]
fn an_announced_length_costs_nothing() {
    let (server, _folder) = server(Limits::default());
    for path in ["/cdc", "/nowhere"] {
        let announced = format!("POST {path} HTTP/1.1\r\nContent-Length: 1000000000000000\r\n\r\nx");
        let mut client = connect(server.address);
        client.write_all(announced.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_answer(&mut client).status, if path == "/cdc" { 200 } else { 404 });
    }
    assert_healthy(&server);
    server.stop();
}

#[test]
fn whole_requests_between_half_ones_are_answered_while_those_hang() {
    let (server, _folder) = server(patient());
    let request = post_request(LIST);
    let (begin, rest) = request.split_at(request.len() - 5);
    for place in (0..40).step_by(8) {
        let mut clients: Vec<TcpStream> = (0..40).map(|_| connect(server.address)).collect();
        for (at, client) in clients.iter_mut().enumerate() {
            client.write_all(if at == place { &request } else { begin }).unwrap();
        }
        assert_eq!(code(&read_answer(&mut clients.remove(place))), 200);
        // The others were neither cut off nor answered meanwhile: each goes on where it stopped.
        for client in &mut clients {
            client.write_all(rest).unwrap();
            assert_eq!(code(&read_answer(client)), 200);
        }
    }
    server.stop();
}

/// Descriptors of this process for each connection that the server at this port has accepted, by the sockets that
/// they name.
fn descriptors(port: u16) -> BTreeMap<String, usize> {
    const LISTENS: &str = "0A";
    let accepted = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // One without an inode is closed, and nobody's any more.
        let is_accepted = words[1].ends_with(&format!(":{port:04X}")) && words[3] != LISTENS && words[9] != "0";
        is_accepted.then(|| (format!("socket:[{}]", words[9]), 0))
    };
    let mut sockets: BTreeMap<String, usize> = accepted.lines().skip(1).filter_map(socket).collect();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        // One may be closed since it was listed.
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        if let Some(count) = sockets.get_mut(&*link.to_string_lossy()) {
            *count += 1;
        }
    }
    sockets
}

fn await_descriptors(port: u16, what: &str, is_it: impl Fn(&BTreeMap<String, usize>) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_it(&descriptors(port)) {
        assert!(Instant::now() < deadline, "{what}: {:?}", descriptors(port));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_slow_body_holds_two_descriptors() {
    let _turn = many_sockets();
    let (server, _folder) = server(patient());
    let half = "POST /cdc HTTP/1.1\r\nContent-Length: 2000\r\n\r\n{\"request";
    let bodies = stalled(&server, half, patient().connections);
    let port = server.address.port();
    // The thread's and the one by which it is cut off; no connection has more, and none is refused.
    await_descriptors(port, "two for each", |open| {
        open.len() == bodies.len() && open.values().all(|count| *count == 2)
    });
    drop(bodies);
    await_descriptors(port, "none afterwards", |open| open.values().all(|count| *count == 0));
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
    let mut half = stalled(&server, "POST /cdc HT", 20);
    let address = server.address;
    server.stop();
    // While the clients are there, nobody else gets the port.
    assert!(TcpStream::connect(address).is_err());
    half.iter_mut().for_each(assert_cut_off);
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
