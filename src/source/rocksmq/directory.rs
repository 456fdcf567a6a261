//! Telling for microseconds whether the primary has written anything since the last look.

use std::path::Path;

/// Changes whenever the newest write-ahead log grows or a new one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) u64);

impl Fingerprint {
    /// Looks at the folder: the newest `.log` file's number and size.
    pub(super) fn of(path: &Path) -> std::io::Result<Fingerprint> {
        let mut newest = (0u64, 0u64);
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            if number >= newest.0 {
                // A log that the primary removes between listing and asking is not the newest.
                let Ok(metadata) = entry.metadata() else { continue };
                newest = (number, metadata.len());
            }
        }
        Ok(Fingerprint((newest.0 << 40) ^ newest.1))
    }
}
