/*!
Who answers at an address: the version and the build, as the server tells them.

They are asked with the first need, and again after every loss of the connection, since a server may come back as a
newer one. What was told last stays to be shown while nobody answers.
*/

use std::fmt;

use parking_lot::Mutex;

use super::server_version::ServerVersion;

/// What a server tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerDescription {
    /// Its version.
    pub version: ServerVersion,
    /// Its commit and the time of its build; empty where it does not tell.
    pub build: String,
}

impl fmt::Display for ServerDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.build.as_str() {
            "" => write!(f, "{}", self.version),
            build => write!(f, "{} (build {build})", self.version),
        }
    }
}

/// What a client knows of its server, shared with whoever shows it.
#[derive(Debug, Default)]
pub struct KnownServer(Mutex<Knowledge>);

#[derive(Debug, Default)]
struct Knowledge {
    last: Option<ServerDescription>,
    /// The connection was not lost since.
    is_fresh: bool,
}

impl KnownServer {
    /// What was told last.
    pub fn last(&self) -> Option<ServerDescription> {
        self.0.lock().last.clone()
    }

    /// What was told since the connection is there.
    pub(super) fn fresh(&self) -> Option<ServerDescription> {
        let known = self.0.lock();
        known.last.clone().filter(|_| known.is_fresh)
    }

    /// The connection was lost: the next to answer may be of another version.
    pub(super) fn doubt(&self) {
        self.0.lock().is_fresh = false;
    }

    /// Notes what was told, and answers what was known before, if that is something else.
    pub(super) fn note(&self, told: &ServerDescription) -> Option<ServerDescription> {
        let mut known = self.0.lock();
        known.is_fresh = true;
        known.last.replace(told.clone()).filter(|before| before != told)
    }
}
