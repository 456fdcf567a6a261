/*!
`GET /webui`: the status page. One HTML document that loads nothing from elsewhere, assembled at compile time from the
files in `webui/`. It sends requests to `/cdc` like any other client; the page itself needs no token.

Only its own scripts and styles may run: every answer carries a new nonce, and the content security policy allows
nothing else.
*/

use std::sync::LazyLock;

use super::http::Response;

const TYPE: &str = "text/html; charset=utf-8";

/// In order of use: each may use those before it.
const SCRIPTS: [&str; 8] = [
    include_str!("webui/base.js"),
    include_str!("webui/curve.js"),
    include_str!("webui/tasks.js"),
    include_str!("webui/detail.js"),
    include_str!("webui/drops.js"),
    include_str!("webui/failover.js"),
    include_str!("webui/switchover.js"),
    include_str!("webui/app.js"),
];

static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("webui/page.html")
        .replacen("\nSTYLE\n", &format!("\n{}", include_str!("webui/style.css")), 1)
        .replacen("\nSCRIPT\n", &format!("\n{}", SCRIPTS.join("\n")), 1)
        .replacen("VERSION", env!("CARGO_PKG_VERSION"), 1)
});

/// The answer with the page.
pub(super) fn page() -> Response {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Response::new(200, TYPE, PAGE.replace("nonce=\"NONCE\"", &format!("nonce=\"{nonce}\"")).into_bytes())
        .with("Content-Security-Policy", policy)
        .with("X-Content-Type-Options", "nosniff")
        .with("X-Frame-Options", "DENY")
        .with("Referrer-Policy", "no-referrer")
        .with("Cache-Control", "no-store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_asks_nobody_else() {
        let text = String::from_utf8(page().body).unwrap();
        for left in ["STYLE\n", "SCRIPT\n", "NONCE", ">VERSION<"] {
            assert!(!text.contains(left), "{left} is still there");
        }
        // The names of XML's own vocabularies are the only addresses in it.
        let addresses = text.match_indices("http").map(|(at, _)| &text[at..(at + 40).min(text.len())]);
        let outside: Vec<&str> = addresses
            .filter(|at| at.starts_with("http://") || at.starts_with("https://"))
            .filter(|at| !at.starts_with("http://www.w3.org/") && !at.starts_with("http://standby:19530"))
            .collect();
        assert!(outside.is_empty(), "{outside:?}");
        assert!(!text.contains("innerHTML"), "answers must stay text");
    }

    #[test]
    fn every_answer_has_a_nonce_of_its_own() {
        let nonce = || {
            let text = String::from_utf8(page().body).unwrap();
            text.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
        };
        assert_ne!(nonce(), nonce());
    }
}
