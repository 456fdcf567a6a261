/*!
Decides who may send a request.

A client authenticates with the token of `api.token`. In addition, and also where no token is configured, a web page of
another site must not make a browser on this host send commands here. Two signs reveal such a page:

- `Origin`, which every browser sends with a POST, names another site than `Host`.
- `Host` is not a name of this server but the page's own name, made to resolve to this host (DNS rebinding). An IP
  address cannot be rebound, so addresses are always accepted.

Answers carry no CORS headers, so a page cannot read the answer to a request that got through.
*/

use std::net::IpAddr;

use subtle::ConstantTimeEq;

use super::http::Headers;
use crate::config::{ApiConfig, Config, Secret};

/// Accepts or rejects requests by their headers.
pub(super) struct Guard {
    token: Secret,
    /// The names of this server, in lower case.
    names: Vec<String>,
}

/// Why a request is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejection {
    #[error("the request names another host than this server; add the name to api.allowedHosts if it is one of ours")]
    Host,
    #[error("the request comes from a page of another site")]
    Origin,
    #[error("a token is needed: Authorization: Bearer <api.token>")]
    NoToken,
    #[error("the token is wrong")]
    WrongToken,
}

impl Rejection {
    /// HTTP status and `code` of the answer.
    pub(super) fn status(&self) -> u16 {
        match self {
            Rejection::Host | Rejection::Origin => 403,
            Rejection::NoToken | Rejection::WrongToken => 401,
        }
    }
}

impl Guard {
    pub(super) fn new(config: &Config) -> Self {
        let ApiConfig { token, allowed_hosts, .. } = &config.api;
        let own = host_name(&config.address).into_iter().chain(["localhost".to_owned()]);
        let allowed = allowed_hosts.iter().map(|name| name.to_ascii_lowercase());
        Guard { token: token.clone(), names: own.chain(allowed).collect() }
    }

    /// Checks site and token.
    ///
    /// # Errors
    /// [`Rejection`] when the request must not be served.
    pub(super) fn check(&self, headers: &Headers) -> Result<(), Rejection> {
        self.check_site(headers)?;
        self.check_token(headers)
    }

    /// Checks that the request names this server and does not come from another site's page.
    ///
    /// # Errors
    /// [`Rejection::Host`] or [`Rejection::Origin`].
    pub(super) fn check_site(&self, headers: &Headers) -> Result<(), Rejection> {
        let mut hosts = headers.all("host");
        // A request without `Host` does not come from a browser.
        let host = hosts.next();
        if hosts.next().is_some() || !host.is_none_or(|host| self.is_ours(host)) {
            return Err(Rejection::Host);
        }
        if !headers.all("origin").all(|origin| host.is_some_and(|host| is_same_site(origin, host))) {
            return Err(Rejection::Origin);
        }
        Ok(())
    }

    fn check_token(&self, headers: &Headers) -> Result<(), Rejection> {
        if self.token.is_empty() {
            return Ok(());
        }
        let mut given = headers.all("authorization");
        let (Some(value), None) = (given.next(), given.next()) else {
            return Err(Rejection::NoToken);
        };
        let token = match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(Rejection::NoToken),
        };
        // The time of the comparison reveals the length at most.
        let same = token.as_bytes().ct_eq(self.token.expose().as_bytes());
        if bool::from(same) { Ok(()) } else { Err(Rejection::WrongToken) }
    }

    fn is_ours(&self, host: &str) -> bool {
        host_name(host).is_some_and(|name| name.parse::<IpAddr>().is_ok() || self.names.contains(&name))
    }
}

/// The name or address in `name`, `name:port`, `address:port` or `[address]:port`, in lower case.
fn host_name(authority: &str) -> Option<String> {
    let (name, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(name, port)| (name, port.strip_prefix(':').or(non_empty(port))))?,
        None => authority.split_once(':').map_or((authority, None), |(name, port)| (name, Some(port))),
    };
    let is_port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    (is_port && !name.is_empty()).then(|| name.to_ascii_lowercase())
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A proxy may terminate TLS, so both schemes count as one site.
fn is_same_site(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for (authority, name) in [
            ("localhost", Some("localhost")),
            ("LocalHost:8444", Some("localhost")),
            ("127.0.0.1:8444", Some("127.0.0.1")),
            ("[::1]:8444", Some("::1")),
            ("[::1]", Some("::1")),
            ("", None),
            (":8444", None),
            ("::1", None),
            ("[::1]8444x", None),
            ("a:b", None),
            ("a:", None),
            ("localhost:80@evil.example", None),
        ] {
            assert_eq!(host_name(authority).as_deref(), name, "{authority}");
        }
    }

    #[test]
    fn sites() {
        assert!(is_same_site("http://localhost:8444", "localhost:8444"));
        assert!(is_same_site("https://CDC.example", "cdc.example"));
        // Another server on this host is another site.
        assert!(!is_same_site("http://localhost:3000", "localhost:8444"));
        assert!(!is_same_site("http://evil.example", "127.0.0.1:8444"));
        assert!(!is_same_site("null", "null"));
        assert!(!is_same_site("file://localhost", "localhost"));
    }
}
