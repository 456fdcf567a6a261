//! Versions of Milvus.

use std::fmt;

/// A version of Milvus without its suffix: `v2.3.5-lite` is 2.3.5. A nightly build of a line (`2.6-20260724-91f1ca6`)
/// is later than the line's releases: its date stands in place of the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// Version `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    /// The date of a nightly build, such as 20260724.
    pub fn nightly(self) -> Option<u32> {
        (self.patch >= FIRST_DATE).then_some(self.patch)
    }

    /// Parses a reported version; `None` for other numberings (Milvus Lite, builds without a number).
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.trim().trim_start_matches('v').splitn(3, '.');
        let digits = |part: &str| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..end)?.parse().ok()
        };
        let (major, minor) = (digits(parts.next()?)?, parts.next()?);
        let patch = parts.next().and_then(digits).or_else(|| build_date(minor)).unwrap_or(0);
        Some(Version { major, minor: digits(minor)?, patch })
    }
}

/// No patch is as large as this, and no date earlier.
const FIRST_DATE: u32 = 20_000_000;

/// The date in the name of a nightly build: `2.6-20260724-91f1ca6`, `master-20260724-91f1ca6`. What has a patch number
/// is a release, whatever follows (`2.6.20-20260701-91f1ca6`).
pub(super) fn build_date(name: &str) -> Option<u32> {
    let (line, build) = name.split_once('-')?;
    let date = build.split('-').next().filter(|part| part.len() == 8 && line.split('.').count() < 3)?;
    date.parse().ok().filter(|date| *date >= FIRST_DATE)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.nightly().is_some() { '-' } else { '.' };
        write!(f, "{}.{}{separator}{}", self.major, self.minor, self.patch)
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
            ("2.6-20260724-91f1ca6", Some(Version::new(2, 6, 20_260_724))),
            ("v3.0-20260724-91f1ca6-amd64", Some(Version::new(3, 0, 20_260_724))),
            ("2.6.20-20260701-91f1ca6", Some(Version::new(2, 6, 20))),
            ("2.6-dev-91f1ca6", Some(Version::new(2, 6, 0))),
            ("milvus_lite-3.2.2", None),
            ("master-20251101", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version::new(2, 10, 0) > Version::new(2, 9, 9));
        let nightly = Version::new(2, 6, 20_260_724);
        assert!(nightly > Version::new(2, 6, 99) && nightly < Version::new(2, 7, 0));
        assert_eq!(nightly.to_string(), "2.6-20260724");
        assert_eq!(build_date("master-20260724-91f1ca6"), Some(20_260_724));
        for release in ["milvus_lite-3.2.2", "2.6.20-20260701-91f1ca6", "v2.6.20-20260701"] {
            assert_eq!(build_date(release), None, "{release}");
        }
    }
}
