/*!
What a task is asked to do: the validated form of a `create` request, as the manager keeps it and an engine runs it.

What the user gave is kept beside what follows from it, because `get` shows the request again.
*/

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::mapping::NameMapping;
use super::position::StartPosition;
use super::scope::Scope;
use crate::config::{
    Address, AddressError, DEFAULT_CONNECT_TIMEOUT, DialFiles, Endpoint, HalfMutualTls, ParsedUri, Secret, Tls,
};

/// A task's name: 1 to 64 of `A-Z a-z 0-9 _ -`, so that it is safe in file names, thread names and URLs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(String);

/// A text that is no task id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task_id must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -")]
pub struct InvalidTaskId;

impl TaskId {
    /// The longest id.
    const MAX_LENGTH: usize = 64;

    /// Takes a user's id.
    ///
    /// # Errors
    /// [`InvalidTaskId`] unless it matches `[A-Za-z0-9_-]{1,64}`.
    pub fn parse(text: &str) -> Result<Self, InvalidTaskId> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            Ok(TaskId(text.to_owned()))
        } else {
            Err(InvalidTaskId)
        }
    }

    /// A new id: 32 hexadecimal digits.
    pub fn random() -> Self {
        TaskId(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that is known about a task when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// The Milvus that is kept in step.
    pub target: TargetSpec,
    /// The collections as the request names them, for `get`.
    pub selection: Selection,
    /// Which collections follow: `selection` without what other tasks on the same target carry.
    pub scope: Scope,
    /// Databases and collections that have another name on the target.
    pub mapping: NameMapping,
    /// Where reading begins, when the request says so.
    pub start_positions: Vec<StartPosition>,
    /// Where reading the channel of operations begins, when the request says so.
    pub rpc_channel: RpcChannel,
    /// After a restart of the server the task stays paused.
    pub disable_auto_start: bool,
    /// Users, roles and privileges follow too.
    pub enable_user_role: bool,
    /// From a collection that was on the target before the task, rows that the source does not have are removed.
    pub prune: bool,
}

/// Collections as a request names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// `collection_infos`; `None` when the request had none.
    pub collection_infos: Option<Vec<CollectionInfo>>,
    /// `db_collections`; `None` when the request had none.
    pub db_collections: Option<BTreeMap<String, Vec<CollectionInfo>>>,
}

impl Selection {
    /// Every collection named, with its database.
    pub fn collections(&self) -> impl Iterator<Item = (&str, &CollectionInfo)> {
        let of_default = self.collection_infos.iter().flatten().map(|info| (DEFAULT_DATABASE, info));
        let of_databases =
            self.db_collections.iter().flatten().flat_map(|(db, infos)| infos.iter().map(|info| (db.as_str(), info)));
        of_default.chain(of_databases)
    }
}

/// The database that every Milvus has; an empty name means the same.
pub const DEFAULT_DATABASE: &str = "default";

/// One collection of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectionInfo {
    /// Its name, or `*`.
    pub name: String,
    /// Start positions per virtual channel, base64 as given; `None` when the request had none.
    pub positions: Option<BTreeMap<String, String>>,
    /// Read from the collection's birth instead of from now.
    pub use_start_position: bool,
}

/// `rpc_channel_info` of a request, empty when not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RpcChannel {
    /// The source's channel of operations.
    pub name: String,
    /// Where to begin on it, base64 as given.
    pub position: String,
}

/// The target, as it was given and as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSpec {
    given: TargetParams,
    endpoint: Endpoint,
}

/// The target as a user gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetParams {
    /// Where it is.
    pub address: TargetAddress,
    /// Bearer text (`user:password` or an API key); empty for none.
    pub token: Secret,
    /// TLS files.
    pub dial: DialFiles,
    /// Seconds that connecting may take; 0 for the default.
    pub connect_timeout_s: u32,
    /// Wanted number of channels on the target; 0 for the source's.
    pub channel_num: i64,
    /// Leave partition names out.
    pub ignore_partition: bool,
}

/// The two ways to say where a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetAddress {
    /// `uri`.
    Uri(String),
    /// The older `host`, `port` and `enable_tls`.
    HostPort {
        /// Name or address; may carry a scheme, then it is taken as the whole URI.
        host: String,
        /// TCP port.
        port: i64,
        /// TLS without files.
        enable_tls: bool,
    },
}

/// Why a target cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The address is wrong.
    #[error("the milvus address is invalid: {0}")]
    Address(#[from] AddressError),
    /// Only a part of the files for mutual TLS.
    #[error("the dial_config is incomplete: {0}")]
    Dial(#[from] HalfMutualTls),
}

impl TargetSpec {
    /// Works out where and how to connect.
    ///
    /// # Errors
    /// [`TargetError`] when the address or the TLS files make no sense.
    pub fn new(given: TargetParams) -> Result<Self, TargetError> {
        let uri = given.address.parse()?;
        let tls = Tls::from_files(&given.dial, uri.https)?;
        let connect_timeout = match given.connect_timeout_s {
            0 => DEFAULT_CONNECT_TIMEOUT,
            seconds => Duration::from_secs(seconds.into()),
        };
        let endpoint = Endpoint { address: uri.address, tls, token: given.token.clone(), connect_timeout };
        Ok(TargetSpec { given, endpoint })
    }

    /// Where and how to connect.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Host and port, for messages and comparisons.
    pub fn address(&self) -> &Address {
        &self.endpoint.address
    }

    /// The request's own words.
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
    fn task_ids() {
        for good in ["a", "my-task_1", &"x".repeat(64)] {
            assert_eq!(TaskId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "..", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(TaskId::parse(bad), Err(InvalidTaskId), "{bad}");
        }
        assert_eq!(TaskId::random().as_str().len(), 32);
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
        assert_eq!(host("m", 70000, false), Err(TargetError::Address(AddressError::Port)));
    }

    #[test]
    fn debug_shows_no_token() {
        let target = TargetSpec::new(params(TargetAddress::Uri("http://m".into()))).unwrap();
        assert!(!format!("{target:?}").contains("Milvus"), "{target:?}");
    }
}
