/*!
The endpoint of a Milvus: its address, TLS, login and timeout. The source (from the config file) and the targets (from
`create`) share the type.
*/

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;

/// Port of Milvus, for addresses without a port.
const DEFAULT_PORT: u16 = 19530;
/// Port of hosted services, for `https` addresses without a port.
const DEFAULT_TLS_PORT: u16 = 443;
/// Connect timeout unless a request or the file names another.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A Milvus to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port.
    pub address: Address,
    /// TLS of the connection.
    pub tls: Tls,
    /// Value of the `authorization` header before base64: `user:password` or an API key. Empty for no header.
    pub token: Secret,
    /// Longest time for connecting.
    pub connect_timeout: Duration,
}

/// Host and port, without a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// TLS of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// No TLS.
    Off,
    /// The server's certificate must be trusted by the system.
    System {
        /// Name in the server's certificate, if it differs from the host.
        server_name: Option<String>,
    },
    /// The server's certificate must be signed by the given authority.
    Server {
        /// PEM file of the authority (`server_pem_path`).
        ca: PathBuf,
        /// Name in the server's certificate, if it differs from the host.
        server_name: Option<String>,
    },
    /// Both sides present certificates.
    Mutual {
        /// PEM file of the authority (`ca_pem_path`).
        ca: PathBuf,
        /// PEM file of our certificate (`client_pem_path`).
        client: PathBuf,
        /// PEM file of our private key (`client_key_path`).
        key: PathBuf,
        /// Name in the server's certificate, if it differs from the host.
        server_name: Option<String>,
    },
}

/// The TLS files as a user names them; an empty string means "not given".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DialFiles {
    /// Name in the server's certificate.
    pub server_name: String,
    /// PEM file of the authority for server-only TLS.
    pub server_pem_path: String,
    /// PEM file of the authority for mutual TLS.
    pub ca_pem_path: String,
    /// PEM file of our certificate for mutual TLS.
    pub client_pem_path: String,
    /// PEM file of our key for mutual TLS.
    pub client_key_path: String,
}

/// Why a text is no address of a Milvus. The error never repeats the text, which may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The scheme is neither `http` nor `https`.
    #[error("the scheme must be http or https")]
    Scheme,
    /// The address contains `user:password@`, which would appear in logs.
    #[error("credentials do not belong into an address: use token, or username and password")]
    Credentials,
    /// No host between the scheme and the port.
    #[error("the host is missing")]
    NoHost,
    /// The host contains characters that are not allowed.
    #[error("the host contains characters that are not allowed")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// Something follows the port.
    #[error("an address ends after the port, a path is not allowed")]
    Path,
}

/// Some of the three files for mutual TLS are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mutual TLS needs the CA file, the client certificate and the client key; one or two of them are missing")]
pub struct HalfMutualTls;

/// The scheme of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`, or none: no TLS unless files ask for it.
    Http,
    /// `https`
    Https,
}

/// An address with its scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedUri {
    /// Host and port.
    pub address: Address,
    /// The scheme.
    pub scheme: Scheme,
}

impl ParsedUri {
    /// Parses `http://host:port`, `https://host:port` or `host:port`; the port may be omitted.
    ///
    /// # Errors
    /// [`AddressError`] when the text is no such address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Http, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
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
        let default = match scheme {
            Scheme::Http => DEFAULT_PORT,
            Scheme::Https => DEFAULT_TLS_PORT,
        };
        let port = match port {
            None => default,
            Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or(AddressError::Port)?,
        };
        Ok(ParsedUri { address: Address { host: host.to_owned(), port }, scheme })
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
    /// Whether both name the same listener, as far as the texts show: case and the names of the local host do not
    /// matter.
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

impl Endpoint {
    /// The address with its scheme.
    pub fn uri(&self) -> String {
        let scheme = if self.tls.is_on() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

impl Tls {
    /// The TLS that files and scheme ask for: files for server-only TLS first, then those for mutual TLS, then `https`.
    ///
    /// # Errors
    /// [`HalfMutualTls`] when some but not all files for mutual TLS are given.
    pub fn from_files(files: &DialFiles, scheme: Scheme) -> Result<Self, HalfMutualTls> {
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
        Ok(match scheme {
            Scheme::Https => Tls::System { server_name },
            Scheme::Http => Tls::Off,
        })
    }

    /// The files that ask for it.
    pub fn files(&self) -> DialFiles {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let named = |server_name: &Option<String>| DialFiles {
            server_name: server_name.clone().unwrap_or_default(),
            ..DialFiles::default()
        };
        match self {
            Tls::Off => DialFiles::default(),
            Tls::System { server_name } => named(server_name),
            Tls::Server { ca, server_name } => DialFiles { server_pem_path: text(ca), ..named(server_name) },
            Tls::Mutual { ca, client, key, server_name } => DialFiles {
                ca_pem_path: text(ca),
                client_pem_path: text(client),
                client_key_path: text(key),
                ..named(server_name)
            },
        }
    }

    /// Whether the connection uses TLS.
    pub fn is_on(&self) -> bool {
        !matches!(self, Tls::Off)
    }
}

/// The value of the `authorization` header: a token wins over `username:password`; empty if neither is given.
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

    fn parsed(text: &str) -> (String, u16, Scheme) {
        let uri = ParsedUri::parse(text).unwrap();
        (uri.address.host, uri.address.port, uri.scheme)
    }

    #[test]
    fn addresses_in_all_their_forms() {
        assert_eq!(parsed("http://127.0.0.1:19531"), ("127.0.0.1".into(), 19531, Scheme::Http));
        assert_eq!(parsed("HTTPS://Milvus.example:443/"), ("Milvus.example".into(), 443, Scheme::Https));
        assert_eq!(parsed("milvus"), ("milvus".into(), 19530, Scheme::Http));
        assert_eq!(parsed("https://in03.example.com"), ("in03.example.com".into(), 443, Scheme::Https));
        assert_eq!(parsed("http://[::1]:5"), ("::1".into(), 5, Scheme::Http));
        assert_eq!(parsed("[::1]"), ("::1".into(), 19530, Scheme::Http));
    }

    #[test]
    fn texts_that_are_no_address() {
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
        assert_eq!(Tls::from_files(&files, Scheme::Http), Ok(Tls::Off));
        assert_eq!(Tls::from_files(&files, Scheme::Https), Ok(Tls::System { server_name: Some("m".into()) }));
        files.ca_pem_path = "ca".into();
        files.client_key_path = "key".into();
        assert_eq!(Tls::from_files(&files, Scheme::Https), Err(HalfMutualTls));
        files.client_pem_path = "pem".into();
        assert!(matches!(Tls::from_files(&files, Scheme::Http), Ok(Tls::Mutual { .. })));
        files.server_pem_path = "server".into();
        assert!(matches!(Tls::from_files(&files, Scheme::Http), Ok(Tls::Server { .. })));
    }

    #[test]
    fn a_token_wins_over_a_password() {
        assert_eq!(bearer_text("t", "u", "p"), Secret::new("t"));
        assert_eq!(bearer_text("", "u", "p"), Secret::new("u:p"));
        assert!(bearer_text("", "", "").is_empty());
    }
}
