//! Versions of Milvus.

use std::fmt;

/// A version as far as it matters: `v2.3.5-lite` is 2.3.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl Version {
    pub(crate) const fn new(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    /// From what a server calls itself; `None` for a build without a number.
    pub(crate) fn parse(text: &str) -> Option<Version> {
        let mut parts = text.trim().trim_start_matches('v').splitn(3, '.');
        let digits = |part: &str| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse().ok()
        };
        let (major, minor) = (digits(parts.next()?)?, digits(parts.next()?)?);
        Some(Version { major, minor, patch: parts.next().and_then(digits).unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_call_themselves() {
        for (text, version) in [
            ("v2.3.5-lite", Some(Version::new(2, 3, 5))),
            ("2.4.13-hotfix", Some(Version::new(2, 4, 13))),
            ("v2.6.0-rc1", Some(Version::new(2, 6, 0))),
            ("3.0", Some(Version::new(3, 0, 0))),
            ("master-20251101", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version::new(2, 10, 0) > Version::new(2, 9, 9));
    }
}
