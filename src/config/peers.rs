/*!
Peers: further Milvus whose logs are in reach, described by the keys of `sourceConfig`.
*/

use std::borrow::Cow;

use super::{Address, Config, SourceConfig};
use crate::domain::{PeerName, SourceSite};

/// The section of the source.
pub(super) const SOURCE_SECTION: &str = "sourceConfig";

/// A text that names keys of `sourceConfig`, for another section with the same keys.
pub(super) fn in_section<'a>(text: &'a str, section: &str) -> Cow<'a, str> {
    if section == SOURCE_SECTION {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("sourceConfig.", &format!("{section}.")))
}

impl Config {
    /// What is configured of a site; `None` for a peer that is not configured (any more).
    pub fn site(&self, site: &SourceSite) -> Option<&SourceConfig> {
        match site {
            SourceSite::Here => Some(&self.source),
            SourceSite::Peer(name) => self.peers.get(name),
        }
    }

    /// The configuration of a server at this site.
    pub fn as_of(&self, source: &SourceConfig) -> Config {
        Config { source: source.clone(), ..self.clone() }
    }

    /// The site with this address.
    pub fn site_at(&self, address: &Address) -> Option<(SourceSite, &SourceConfig)> {
        self.sites().find(|(_, site)| site.endpoint.address.same_as(address))
    }

    /// All sites, this one first.
    pub fn sites(&self) -> impl Iterator<Item = (SourceSite, &SourceConfig)> {
        let peers = self.peers.iter().map(|(name, peer): (&PeerName, _)| (SourceSite::Peer(name.clone()), peer));
        std::iter::once((SourceSite::Here, &self.source)).chain(peers)
    }
}

impl SourceConfig {
    /// A text that names keys of `sourceConfig`, with the keys of this section.
    pub fn said<'a>(&self, text: &'a str) -> Cow<'a, str> {
        in_section(text, &self.section)
    }
}
