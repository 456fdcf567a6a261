//! Asking a server which one it is.

use super::capabilities::Capabilities;
use super::client::{CallContext, Client};
use super::error::{Error, ErrorKind};
use super::known_server::ServerDescription;
use super::methods;
use super::pb::api::GetVersionRequest;
use super::server_version::ServerVersion;

impl Client {
    /// The server's version and build; asked unless it has told since the connection was there.
    ///
    /// # Errors
    /// A call failed.
    pub fn describe_server(&self, context: &CallContext) -> Result<ServerDescription, Error> {
        if let Some(known) = self.known_server().fresh() {
            return Ok(known);
        }
        let version = self.version(context)?;
        let build = match self.introduce(context) {
            Ok(server) => build_of(&server.git_commit, &server.build_time),
            Err(error) if error.kind == ErrorKind::Unimplemented => String::new(),
            Err(error) => return Err(error),
        };
        let told = ServerDescription { version, build };
        if let Some(before) = self.known_server().note(&told) {
            log::info!("the server at {} is {told} now; it was {before}", self.address());
        }
        Ok(told)
    }

    /// Asks for the version.
    ///
    /// # Errors
    /// The call failed. A server without the call is no error.
    fn version(&self, context: &CallContext) -> Result<ServerVersion, Error> {
        match self.call("", &methods::GET_VERSION, &GetVersionRequest::new(), context) {
            Ok(answer) => Ok(ServerVersion::of(&answer.version)),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(ServerVersion::default()),
            Err(error) => Err(error),
        }
    }

    /// What the server can do.
    ///
    /// # Errors
    /// The server was to be asked who it is, and did not answer.
    pub fn capabilities(&self, context: &CallContext) -> Result<Capabilities, Error> {
        Ok(Capabilities::of(&self.describe_server(context)?.version))
    }
}

fn build_of(commit: &str, time: &str) -> String {
    [commit, time].into_iter().map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Mark;
    use crate::failpoint::{CallFault, Faults};
    use crate::milvus::Cancel;
    use crate::milvus::capabilities::GeneratedKeys;
    use crate::milvus::fake::{FakeMilvus, Repeats};

    #[test]
    fn a_server_is_asked_again_when_the_connection_was_lost() {
        let (faults, server) = (Faults::install(), FakeMilvus::new(Repeats::Succeed));
        let client = server.client("target:1");
        let context = CallContext { timeout: Duration::from_secs(1), cancel: Cancel::default() };
        let keys = || client.capabilities(&context).map(|can| can.generated_keys);
        let asked = || faults.trace().iter().filter(|call| call.starts_with("GetVersion")).count();
        server.tells_version("v2.5.4");
        assert_eq!((keys().unwrap(), keys().unwrap()), (GeneratedKeys::OnlyGenerated, GeneratedKeys::OnlyGenerated));
        assert_eq!(asked(), 1);
        server.tells_version("2.6.20");
        faults.at_call("CreateDatabase", 1, CallFault::Unreachable);
        client.marked(Mark::OF_NO_COLLECTION).create_database("a", &context).unwrap_err();
        assert_eq!(client.known_server().last().unwrap().version.to_string(), "v2.5.4", "shown while nobody answers");
        assert_eq!((keys().unwrap(), asked()), (GeneratedKeys::MayBeGiven, 2));
        assert_eq!(client.known_server().last().unwrap().to_string(), "2.6.20");
    }

    #[test]
    fn a_build_is_what_is_told_of_it() {
        assert_eq!(build_of("91f1ca6", " 2026-07-24 "), "91f1ca6, 2026-07-24");
        assert_eq!([build_of("", "then"), build_of("", "")], ["then", ""]);
    }
}
