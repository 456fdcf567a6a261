/*!
The definition of a task: the validated form of a `create` request, as the manager keeps it and an engine runs it.

The request's own values stand beside what follows from them, because `get` shows the request again.
*/

use std::sync::Arc;
use std::time::Duration;

use super::drops::OnDrop;
use super::mapping::NameMapping;
use super::noted_ends::NotedEnds;
use super::position::StartPosition;
use super::refused_rows::OnRefused;
use super::scope::Scope;
pub use super::selection::{DEFAULT_DATABASE, SelectedCollection, Selection};
use crate::config::{
    Address, AddressError, DEFAULT_CONNECT_TIMEOUT, DialFiles, Endpoint, HalfMutualTls, ParsedUri, Secret, Tls,
};
use crate::domain::SourceSite;

/// Everything that a task needs to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// The site that it replicates from.
    pub source: SourceSite,
    /// Where collections that both sides had are read from: of the opposite of another task.
    pub noted_ends: Option<Arc<NotedEnds>>,
    /// The Milvus that the task writes to.
    pub target: TargetSpec,
    /// The collections as the request names them, for `get`.
    pub selection: Selection,
    /// The replicated collections: `selection` without those that other tasks replicate to the same target.
    pub scope: Scope,
    /// Databases and collections that have another name on the target.
    pub mapping: NameMapping,
    /// Where reading starts, for channels of which the request says so.
    pub start_positions: Vec<StartPosition>,
    /// Where reading the replicate channel starts, if the request says so.
    pub rpc_channel: RpcChannel,
    /// The task stays paused after a restart of the server.
    pub disable_auto_start: bool,
    /// Users, roles and privileges are replicated too.
    pub enable_user_role: bool,
    /// Rows that the source does not have are removed from collections that were on the target before the task.
    pub prune: bool,
    /// What becomes of collections that the source drops.
    pub on_drop: OnDrop,
    /// What becomes of rows that the target refuses for good.
    pub on_refused: OnRefused,
    /// Which of the source's load states follow.
    pub load: LoadPolicy,
}

/// Which of the source's load states follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadPolicy {
    /// Loads, and what a user has released.
    #[default]
    Follow,
    /// Loads alone.
    LoadOnly,
    /// None: the target is loaded and released by its own users.
    Ignore,
}

impl LoadPolicy {
    /// All, in the order in which they are documented.
    pub const ALL: [LoadPolicy; 3] = [LoadPolicy::Follow, LoadPolicy::LoadOnly, LoadPolicy::Ignore];

    /// As requests and files have it.
    pub fn name(self) -> &'static str {
        match self {
            LoadPolicy::Follow => "follow",
            LoadPolicy::LoadOnly => "load_only",
            LoadPolicy::Ignore => "ignore",
        }
    }

    /// The policy of this name.
    pub fn named(name: &str) -> Option<LoadPolicy> {
        LoadPolicy::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// `rpc_channel_info` of a request, empty when not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RpcChannel {
    /// Name of the source's replicate channel.
    pub name: String,
    /// Position to start at, base64 as given.
    pub position: String,
}

/// The target, as given and as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSpec {
    given: TargetParams,
    endpoint: Endpoint,
}

/// The target as a request gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetParams {
    /// Address of the target.
    pub address: TargetAddress,
    /// Bearer text (`user:password` or an API key); empty for none.
    pub token: Secret,
    /// TLS files.
    pub dial: DialFiles,
    /// Connect timeout in seconds; 0 for the default.
    pub connect_timeout_s: u32,
    /// Number of channels on the target; 0 for as many as at the source.
    pub channel_num: i64,
    /// Write rows without partition names.
    pub ignore_partition: bool,
}

/// The two forms of a target's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetAddress {
    /// `uri`.
    Uri(String),
    /// The older `host`, `port` and `enable_tls`.
    HostPort {
        /// Host name or IP address; with a scheme it is taken as the whole URI.
        host: String,
        /// TCP port.
        port: i64,
        /// TLS without files.
        enable_tls: bool,
    },
}

/// Why a target cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetSpecError {
    /// The address is invalid.
    #[error("the milvus address is invalid: {0}")]
    Address(#[from] AddressError),
    /// Some of the files for mutual TLS are missing.
    #[error("the dial_config is incomplete: {0}")]
    Dial(#[from] HalfMutualTls),
}

impl TargetSpec {
    /// Derives the endpoint from the request's values.
    ///
    /// # Errors
    /// [`TargetSpecError`] when the address is invalid or the TLS files are incomplete.
    pub fn new(given: TargetParams) -> Result<Self, TargetSpecError> {
        let uri = given.address.parse()?;
        let tls = Tls::from_files(&given.dial, uri.scheme)?;
        let connect_timeout = match given.connect_timeout_s {
            0 => DEFAULT_CONNECT_TIMEOUT,
            seconds => Duration::from_secs(seconds.into()),
        };
        let endpoint = Endpoint { address: uri.address, tls, token: given.token.clone(), connect_timeout };
        Ok(TargetSpec { given, endpoint })
    }

    /// The Milvus of a configured site as a target.
    pub fn of_site(endpoint: &Endpoint) -> Self {
        let given = TargetParams {
            address: TargetAddress::Uri(endpoint.uri()),
            token: endpoint.token.clone(),
            dial: endpoint.tls.files(),
            connect_timeout_s: u32::try_from(endpoint.connect_timeout.as_secs()).unwrap_or(u32::MAX),
            channel_num: 0,
            ignore_partition: false,
        };
        TargetSpec { given, endpoint: endpoint.clone() }
    }

    /// The endpoint to connect to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Host and port, for messages and comparisons.
    pub fn address(&self) -> &Address {
        &self.endpoint.address
    }

    /// The request's own values.
    pub fn given(&self) -> &TargetParams {
        &self.given
    }
}

impl TargetAddress {
    fn parse(&self) -> Result<ParsedUri, AddressError> {
        match self {
            TargetAddress::Uri(uri) => ParsedUri::parse(uri),
            TargetAddress::HostPort { host, .. } if host.contains("://") => ParsedUri::parse(host),
            TargetAddress::HostPort { host, port, enable_tls } => {
                let port = u16::try_from(*port).ok().filter(|port| *port != 0).ok_or(AddressError::Port)?;
                // An IPv6 address needs its brackets before the port can follow.
                let host =
                    if host.contains(':') { format!("[{}]", host.trim_matches(['[', ']'])) } else { host.clone() };
                let scheme = if *enable_tls { "https" } else { "http" };
                ParsedUri::parse(&format!("{scheme}://{host}:{port}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(address: TargetAddress) -> TargetParams {
        TargetParams {
            address,
            token: Secret::new("root:Milvus"),
            dial: DialFiles::default(),
            connect_timeout_s: 0,
            channel_num: 0,
            ignore_partition: false,
        }
    }

    #[test]
    fn both_forms_of_an_address_lead_to_the_same_endpoint() {
        let uri = TargetSpec::new(params(TargetAddress::Uri("https://m:19531".into()))).unwrap();
        let host = |host: &str, port, enable_tls| {
            TargetSpec::new(params(TargetAddress::HostPort { host: host.into(), port, enable_tls }))
        };
        assert_eq!(host("m", 19531, true).unwrap().endpoint(), uri.endpoint());
        // A host that is a URI is taken as it is and the port is ignored.
        assert_eq!(host("https://m:19531", 1, false).unwrap().endpoint(), uri.endpoint());
        assert_eq!(host("::1", 1, false).unwrap().address().to_string(), "[::1]:1");
        assert_eq!(host("m", 70000, false), Err(TargetSpecError::Address(AddressError::Port)));
    }

    #[test]
    fn a_site_as_a_target_is_what_a_request_for_it_would_be() {
        let mut given = params(TargetAddress::Uri("https://m:19531".into()));
        given.dial = DialFiles { ca_pem_path: "a".into(), client_pem_path: "b".into(), ..DialFiles::default() };
        given.dial.client_key_path = "c".into();
        given.connect_timeout_s = 7;
        for dial in [given.dial.clone(), DialFiles::default()] {
            let target = TargetSpec::new(TargetParams { dial, ..given.clone() }).unwrap();
            let site = TargetSpec::of_site(target.endpoint());
            assert_eq!(TargetSpec::new(site.given().clone()).as_ref(), Ok(&site));
            assert_eq!(site.endpoint(), target.endpoint());
        }
        let plain = TargetSpec::new(params(TargetAddress::Uri("http://[::1]:5".into()))).unwrap();
        assert_eq!(TargetSpec::of_site(plain.endpoint()).given().address, plain.given().address);
    }

    #[test]
    fn debug_shows_no_token() {
        let target = TargetSpec::new(params(TargetAddress::Uri("http://m".into()))).unwrap();
        assert!(!format!("{target:?}").contains("Milvus"), "{target:?}");
    }
}
