//! What a server says it is.

use std::fmt;

use super::client::{CallContext, Client};
use super::error::{Error, ErrorKind};
use super::methods;
use super::pb::api::GetVersionRequest;
use super::version::Version;

/// The answer to `GetVersion`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerVersion(Option<String>);

impl ServerVersion {
    /// The server's own words, such as `v2.3.5` or `milvus_lite-3.2.2`; `None` for one that does not know the question.
    pub fn new(told: Option<&str>) -> ServerVersion {
        ServerVersion(told.map(str::to_owned))
    }

    /// The version of a Milvus. `None` for what is none (Milvus Lite counts on its own) or does not tell.
    pub fn milvus(&self) -> Option<Version> {
        Version::parse(self.0.as_deref()?)
    }

    /// Whether it forgets what is loaded when it restarts, as Milvus Lite does from 3 on.
    pub fn forgets_loads(&self) -> bool {
        self.0.as_deref().is_some_and(|text| text.starts_with("milvus_lite"))
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("a server that does not tell its version, as Milvus Lite before 3"))
    }
}

impl Client {
    /// Asks for the version.
    ///
    /// # Errors
    /// Any failed call; not knowing the call is an answer.
    pub fn version(&self, context: &CallContext) -> Result<ServerVersion, Error> {
        match self.call("GetVersion", "", &methods::GET_VERSION, &GetVersionRequest::new(), context) {
            Ok(answer) => Ok(ServerVersion(Some(answer.version))),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(ServerVersion(None)),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_servers_tell_them() {
        assert_eq!(ServerVersion::new(Some("v2.3.5-lite")).milvus(), Some(Version::new(2, 3, 5)));
        assert_eq!(ServerVersion::new(Some("milvus_lite-3.2.2")).milvus(), None);
        assert_eq!(ServerVersion::new(None).milvus(), None);
        assert!(ServerVersion::new(Some("milvus_lite-3.2.2")).forgets_loads());
        assert!(!ServerVersion::new(Some("v2.3.5-lite")).forgets_loads());
    }
}
