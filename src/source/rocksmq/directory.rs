//! Telling for microseconds whether the primary has written anything since the last look.

use std::path::Path;

/// The newest write-ahead log: changes whenever it grows or a new one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Newest {
    /// The `.log` file's number; they grow.
    pub(super) number: u64,
    size: u64,
}

impl Newest {
    /// Looks at the folder.
    pub(super) fn of(path: &Path) -> std::io::Result<Newest> {
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
        Ok(Newest { number: newest.0, size: newest.1 })
    }
}
