//! Where a task reads from: the source of this server, or a peer that the configuration names.

use std::fmt;

use super::task_id::TaskId;

/// A site that the configuration describes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum SourceSite {
    /// `sourceConfig`.
    #[default]
    Here,
    /// One of `peers`.
    Peer(PeerName),
}

/// The name of a peer: 1 to 64 of `A-Z a-z 0-9 _ -`, and not `here`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerName(String);

/// A text that is no name of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a peer's name must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -, and not `{HERE}`")]
pub struct InvalidPeerName;

/// The name of `sourceConfig` where sites are named.
const HERE: &str = "here";

impl PeerName {
    /// Takes a name of the configuration.
    ///
    /// # Errors
    /// [`InvalidPeerName`]
    pub fn parse(text: &str) -> Result<PeerName, InvalidPeerName> {
        // The same alphabet, for the same reasons.
        let is_name = TaskId::parse(text).is_ok() && text != HERE;
        is_name.then(|| PeerName(text.to_owned())).ok_or(InvalidPeerName)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SourceSite {
    /// `here`, or the name of a peer.
    pub fn name(&self) -> &str {
        match self {
            SourceSite::Here => HERE,
            SourceSite::Peer(peer) => peer.as_str(),
        }
    }

    /// The site with this name.
    ///
    /// # Errors
    /// [`InvalidPeerName`]
    pub fn named(text: &str) -> Result<SourceSite, InvalidPeerName> {
        if text == HERE { Ok(SourceSite::Here) } else { PeerName::parse(text).map(SourceSite::Peer) }
    }
}

impl fmt::Display for SourceSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(SourceSite::named("here"), Ok(SourceSite::Here));
        let east = SourceSite::named("east").unwrap();
        assert_eq!((east.name(), east == SourceSite::Here), ("east", false));
        for bad in ["", "a.b", "a b"] {
            assert_eq!(SourceSite::named(bad), Err(InvalidPeerName), "{bad}");
        }
        assert_eq!(PeerName::parse("here"), Err(InvalidPeerName));
    }
}
