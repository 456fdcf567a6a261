/*!
Where a Milvus answers, and how to talk to it: the same for the source (from the config file) and for targets (from
`create`), so that the gRPC client knows one type only.
*/

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;

/// Milvus' own port, used when an address names none.
const DEFAULT_PORT: u16 = 19530;
/// The port of hosted services, used when an `https` address names none.
const DEFAULT_TLS_PORT: u16 = 443;
/// How long a connection may take when nothing else was asked for.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A Milvus to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Whether and how the connection is encrypted.
    pub tls: Tls,
    /// What goes into the `authorization` header (before base64): `user:password` or an API key. Empty: no header.
    pub token: Secret,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

/// Host and port, without a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Off,
    /// The server proves itself with a certificate that the system trusts.
    System {
        /// The name that its certificate must carry, when it is not the host's.
        server_name: Option<String>,
    },
    /// The server proves itself with a certificate of the given authority.
    Server {
        /// PEM file of the authority (`server_pem_path`).
        ca: PathBuf,
        /// The name that its certificate must carry, when it is not the host's.
        server_name: Option<String>,
    },
    /// Both sides prove themselves.
    Mutual {
        /// PEM file of the authority (`ca_pem_path`).
        ca: PathBuf,
        /// PEM file of our certificate (`client_pem_path`).
        client: PathBuf,
        /// PEM file of our private key (`client_key_path`).
        key: PathBuf,
        /// The name that its certificate must carry, when it is not the host's.
        server_name: Option<String>,
    },
}

/// The TLS files as a user names them; an empty string stands for "not given".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DialFiles {
    /// The name that the server's certificate must carry.
    pub server_name: String,
    /// The authority for server-only TLS.
    pub server_pem_path: String,
    /// The authority for mutual TLS.
    pub ca_pem_path: String,
    /// Our certificate for mutual TLS.
    pub client_pem_path: String,
    /// Our key for mutual TLS.
    pub client_key_path: String,
}

/// A text that is no address of a Milvus. Never repeats the text, which may carry a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither http nor https.
    #[error("the scheme must be http or https")]
    Scheme,
    /// `user:password@host` would end up in logs.
    #[error("credentials do not belong into an address: use token, or username and password")]
    Credentials,
    /// Nothing between the scheme and the port.
    #[error("the host is missing")]
    NoHost,
    /// Characters that no host has.
    #[error("the host holds characters that no host has")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// Something after the port.
    #[error("an address ends after the port, a path is not expected")]
    Path,
}

/// Three files make mutual TLS; some of them were missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mutual TLS needs the CA file, the client certificate and the client key; one or two of them are missing")]
pub struct HalfMutualTls;

/// An address together with the scheme's wish for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedUri {
    /// Host and port.
    pub address: Address,
    /// The scheme was `https`.
    pub https: bool,
}

impl ParsedUri {
    /// Reads `http://host:port`, `https://host:port` or `host:port`; the port may be left out.
    ///
    /// # Errors
    /// What is wrong with the text, without the text.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (https, rest) = match text.split_once("://") {
            None => (false, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return Err(AddressError::Scheme),
        };
        if rest.contains('@') {
            return Err(AddressError::Credentials);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(AddressError::Path);
        }
        let (host, port) = split_port(rest)?;
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        if host.contains(|c: char| c.is_whitespace() || c.is_control() || "\"\\<>[]".contains(c)) {
            return Err(AddressError::Host);
        }
        let default = if https { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
        let port = match port {
            None => default,
            Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or(AddressError::Port)?,
        };
        Ok(ParsedUri { address: Address { host: host.to_owned(), port }, https })
    }
}

pub(super) fn split_port(rest: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(inner) = rest.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or(AddressError::Host)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(AddressError::Port),
        };
    }
    match rest.rsplit_once(':') {
        None => Ok((rest, None)),
        Some((host, _)) if host.contains(':') => Err(AddressError::Host),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

impl Address {
    /// The same listener as far as the text tells: case and the names of the local host do not matter.
    pub fn same_as(&self, other: &Address) -> bool {
        self.port == other.port && self.canonical_host() == other.canonical_host()
    }

    fn canonical_host(&self) -> String {
        let host = self.host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        match host {
            "localhost" | "::1" | "0.0.0.0" | "::" => "127.0.0.1".to_owned(),
            other => other.to_owned(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Tls {
    /// What the files and the scheme ask for: files for server-only TLS first, then the mutual triple, then `https`.
    ///
    /// # Errors
    /// [`HalfMutualTls`] when some but not all files of the triple were given.
    pub fn from_files(files: &DialFiles, https: bool) -> Result<Self, HalfMutualTls> {
        let server_name = Some(files.server_name.clone()).filter(|name| !name.is_empty());
        let triple = [&files.ca_pem_path, &files.client_pem_path, &files.client_key_path];
        let given = triple.iter().filter(|path| !path.is_empty()).count();
        if given != 0 && given != triple.len() {
            return Err(HalfMutualTls);
        }
        if !files.server_pem_path.is_empty() {
            return Ok(Tls::Server { ca: PathBuf::from(&files.server_pem_path), server_name });
        }
        if given == triple.len() {
            let [ca, client, key] = triple.map(PathBuf::from);
            return Ok(Tls::Mutual { ca, client, key, server_name });
        }
        Ok(if https { Tls::System { server_name } } else { Tls::Off })
    }

    /// Encrypted in whichever way.
    pub fn is_on(&self) -> bool {
        !matches!(self, Tls::Off)
    }
}

/// The text for the `authorization` header: a token wins over `username:password`; both empty is no header.
pub fn bearer_text(token: &str, username: &str, password: &str) -> Secret {
    if !token.is_empty() {
        Secret::new(token)
    } else if username.is_empty() && password.is_empty() {
        Secret::default()
    } else {
        Secret::new(format!("{username}:{password}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, u16, bool) {
        let uri = ParsedUri::parse(text).unwrap();
        (uri.address.host, uri.address.port, uri.https)
    }

    #[test]
    fn addresses_in_all_their_forms() {
        assert_eq!(parsed("http://127.0.0.1:19531"), ("127.0.0.1".into(), 19531, false));
        assert_eq!(parsed("HTTPS://Milvus.example:443/"), ("Milvus.example".into(), 443, true));
        assert_eq!(parsed("milvus"), ("milvus".into(), 19530, false));
        assert_eq!(parsed("https://in03.example.com"), ("in03.example.com".into(), 443, true));
        assert_eq!(parsed("http://[::1]:5"), ("::1".into(), 5, false));
        assert_eq!(parsed("[::1]"), ("::1".into(), 19530, false));
    }

    #[test]
    fn what_is_no_address() {
        for (text, error) in [
            ("ftp://a:1", AddressError::Scheme),
            ("http://root:Milvus@h:1", AddressError::Credentials),
            ("http://:19530", AddressError::NoHost),
            ("", AddressError::NoHost),
            ("http://h:0", AddressError::Port),
            ("http://h:65536", AddressError::Port),
            ("http://h:", AddressError::Port),
            ("http://h:1/db", AddressError::Path),
            ("http://a b:1", AddressError::Host),
            ("::1", AddressError::Host),
            ("[::1", AddressError::Host),
        ] {
            assert_eq!(ParsedUri::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_local_host_has_many_names() {
        let address = |host: &str| Address { host: host.into(), port: 1 };
        assert!(address("LOCALHOST").same_as(&address("127.0.0.1")));
        assert!(address("::1").same_as(&address("localhost")));
        assert!(!address("milvus-a").same_as(&address("milvus-b")));
        assert!(!address("h").same_as(&Address { host: "h".into(), port: 2 }));
    }

    #[test]
    fn tls_from_files() {
        let mut files = DialFiles { server_name: "m".into(), ..DialFiles::default() };
        assert_eq!(Tls::from_files(&files, false), Ok(Tls::Off));
        assert_eq!(Tls::from_files(&files, true), Ok(Tls::System { server_name: Some("m".into()) }));
        files.ca_pem_path = "ca".into();
        files.client_key_path = "key".into();
        assert_eq!(Tls::from_files(&files, true), Err(HalfMutualTls));
        files.client_pem_path = "pem".into();
        assert!(matches!(Tls::from_files(&files, false), Ok(Tls::Mutual { .. })));
        files.server_pem_path = "server".into();
        assert!(matches!(Tls::from_files(&files, false), Ok(Tls::Server { .. })));
    }

    #[test]
    fn a_token_wins_over_a_password() {
        assert_eq!(bearer_text("t", "u", "p"), Secret::new("t"));
        assert_eq!(bearer_text("", "u", "p"), Secret::new("u:p"));
        assert!(bearer_text("", "", "").is_empty());
    }
}
