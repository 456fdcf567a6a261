/*!
Who may send commands: the token, and pages of other sites in a browser on this host.
*/

use crate::support::{Answer, TestServer, exchange};
use milvus_cdc::Config;
use milvus_cdc::internals::{Limits, Secret};

const TOKEN: &str = "t0ken-of-the-test";

fn server(token: &str, allowed: &[&str]) -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::load(None, |_| None).unwrap();
    config.api.token = Secret::new(token);
    config.api.allowed_hosts = allowed.iter().map(|name| (*name).to_owned()).collect();
    (TestServer::with(folder.path(), Limits::default(), &config), folder)
}

/// A `list` with these headers.
fn list(server: &TestServer, headers: &str) -> Answer {
    let body = r#"{"request_type":"list"}"#;
    let request = format!("POST /cdc HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    exchange(server.address, request.as_bytes())
}

#[test]
fn only_with_the_token() {
    let (server, _folder) = server(TOKEN, &[]);
    assert_eq!(list(&server, &format!("Authorization: Bearer {TOKEN}\r\n")).status, 200);
    assert_eq!(list(&server, &format!("authorization: bearer  {TOKEN}\r\n")).status, 200);
    let wrong = [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        "Authorization: Bearer wrong\r\n".to_owned(),
        format!("Authorization: Bearer {TOKEN}x\r\n"),
        format!("Authorization: Bearer {}\r\n", &TOKEN[1..]),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("Authorization: {TOKEN}\r\n"),
        format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n"),
    ];
    for headers in wrong {
        let answer = list(&server, &headers);
        assert_eq!(answer.status, 401, "{headers}");
        assert!(answer.head.contains("WWW-Authenticate: Bearer"), "{answer:?}");
        assert!(answer.body.starts_with(r#"{"code":401,"message":"#), "{answer:?}");
        assert!(!answer.body.contains(TOKEN));
    }
    // Neither does it say which paths there are.
    assert_eq!(exchange(server.address, b"GET /nowhere HTTP/1.1\r\n\r\n").status, 401);
    assert_eq!(exchange(server.address, b"GET /healthz HTTP/1.1\r\n\r\n").status, 200);
    // Neither a probe nor a stranger learns more than numbers.
    let ready = exchange(server.address, b"GET /readyz HTTP/1.1\r\n\r\n");
    assert_eq!((ready.status, ready.body.trim()), (200, r#"{"phases":{},"status":"ready","task_num":0}"#));
    server.stop();
}

#[test]
fn the_page_needs_no_token_but_our_name() {
    let (server, _folder) = server(TOKEN, &[]);
    let page = exchange(server.address, b"GET /webui HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(page.status, 200);
    let policy = page.head.lines().find_map(|line| line.strip_prefix("Content-Security-Policy: ")).unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.body.contains(TOKEN));
    assert_eq!(exchange(server.address, b"GET /webui HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 403);
    assert_eq!(exchange(server.address, b"POST /webui HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
    server.stop();
}

#[test]
fn only_under_our_names() {
    let (server, _folder) = server("", &["cdc.example.com"]);
    for host in ["localhost:8444", "LOCALHOST", "127.0.0.1:8444", "[::1]:8444", "10.1.2.3", "CDC.example.com:80"] {
        assert_eq!(list(&server, &format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8444", "localhost.evil.example", "xcdc.example.com", "", "[::1"] {
        let answer = list(&server, &format!("Host: {host}\r\n"));
        assert_eq!(answer.status, 403, "{host}");
        assert!(answer.body.contains("api.allowedHosts"), "{answer:?}");
    }
    assert_eq!(list(&server, "Host: localhost\r\nHost: evil.example\r\n").status, 403);
    assert_eq!(exchange(server.address, b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 200);
    server.stop();
}

#[test]
fn not_from_pages_of_other_sites() {
    let (server, _folder) = server(TOKEN, &[]);
    let with = |origin: &str| {
        let login = format!("Authorization: Bearer {TOKEN}\r\n");
        list(&server, &format!("Host: localhost:8444\r\n{login}Origin: {origin}\r\n"))
    };
    assert_eq!(with("http://localhost:8444").status, 200);
    for origin in ["http://evil.example", "http://localhost:3000", "http://localhost", "null", ""] {
        assert_eq!(with(origin).status, 403, "{origin}");
    }
    assert_eq!(list(&server, "Origin: http://localhost:8444\r\n").status, 403);
    server.stop();
}

#[test]
fn no_page_may_read_the_answers() {
    let (server, _folder) = server("", &[]);
    let ask = "OPTIONS /cdc HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
               Access-Control-Request-Method: POST\r\n\r\n";
    let answer = exchange(server.address, ask.as_bytes());
    assert_eq!(answer.status, 403);
    assert!(!answer.head.to_lowercase().contains("access-control"), "{answer:?}");
    let own = list(&server, "Host: localhost\r\nOrigin: http://localhost\r\n");
    assert!(own.status == 200 && !own.head.to_lowercase().contains("access-control"), "{own:?}");
    server.stop();
}
