//! Versions of Milvus.

use std::fmt;

/// A version as far as it matters: `v2.3.5-lite` is 2.3.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// The version of these numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    /// From what a server calls itself; `None` for what is not numbered as Milvus is (Milvus Lite, builds without a number).
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.trim().trim_start_matches('v').splitn(3, '.');
        let digits = |part: &str| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..end)?.parse().ok()
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
            ("2.6.20", Some(Version::new(2, 6, 20))),
            ("v2.6.0-rc1", Some(Version::new(2, 6, 0))),
            ("3.0", Some(Version::new(3, 0, 0))),
            ("milvus_lite-3.2.2", None),
            ("master-20251101", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version::new(2, 10, 0) > Version::new(2, 9, 9));
    }
}
