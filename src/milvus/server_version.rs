//! The version that a server reports.

use std::fmt;

use super::version::{Version, build_date};

/// The response to `GetVersion`: a text such as `v2.3.5` or `milvus_lite-3.2.2`; `None` for a server without that call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerVersion(Option<String>);

impl ServerVersion {
    /// The version of a server that reports this text.
    pub fn of(text: &str) -> ServerVersion {
        ServerVersion(Some(text.to_owned()))
    }

    /// The version of a server that reports this text, or none.
    #[cfg(test)]
    pub(crate) fn new(text: Option<&str>) -> ServerVersion {
        ServerVersion(text.map(str::to_owned))
    }

    /// What the server reports; empty for one without the call.
    pub fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The version of a Milvus. `None` for Milvus Lite, which has its own numbering, and for servers that report none.
    pub(super) fn milvus(&self) -> Option<Version> {
        Version::parse(self.0.as_deref()?)
    }

    /// The date of a nightly build of a line or of `master`, such as 20260724.
    pub(super) fn build_date(&self) -> Option<u32> {
        build_date(self.0.as_deref()?)
    }

    /// Whether it is a Milvus Lite from 3 on.
    pub(super) fn is_lite_3(&self) -> bool {
        self.0.as_deref().is_some_and(|text| text.starts_with("milvus_lite"))
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("a server that does not tell its version, as Milvus Lite before 3"))
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
        assert!(ServerVersion::new(Some("milvus_lite-3.2.2")).is_lite_3());
        assert!(!ServerVersion::new(Some("v2.3.5-lite")).is_lite_3());
    }
}
