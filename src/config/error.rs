/*!
Errors of the configuration: one line each that names the file, the line, the key and what is allowed.
*/

use std::io;
use std::path::{Path, PathBuf};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or a file that it names, cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A value in the file or in the environment is invalid.
    #[error("{place}: {message}")]
    Wrong {
        /// File and line, or the variable's name.
        place: String,
        /// The key, the problem, and what is allowed.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn at(path: &Path, line: u64, message: String) -> Self {
        let place = if line == 0 { path.display().to_string() } else { format!("{}:{line}", path.display()) };
        ConfigError::Wrong { place, message }
    }

    pub(super) fn in_variable(name: &str, message: String) -> Self {
        ConfigError::Wrong { place: name.to_owned(), message }
    }

    /// From an error of the YAML parser, reworded where users are likely to meet it.
    pub(super) fn from_yaml(path: &Path, text: &str, error: &serde_saphyr::Error) -> Self {
        let error = error.without_snippet();
        let line = error.location().map_or(0, |location| location.line());
        let message = match error {
            serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => unknown_key(field, expected),
            serde_saphyr::Error::DuplicateMappingKey { .. } => {
                format!("{}: the key is given twice", key_at(text, line))
            }
            serde_saphyr::Error::SerdeInvalidType { .. } | serde_saphyr::Error::Unexpected { .. } => {
                format!(
                    "{}: a value of the wrong shape (a section is a list of `key: value` lines, a value is one word, \
                     number or quoted text)",
                    key_at(text, line)
                )
            }
            other => one_line(&other.to_string()),
        };
        ConfigError::at(path, line, message)
    }
}

fn unknown_key(field: &str, expected: &[&str]) -> String {
    let field = one_line(field);
    let allowed = expected.join(", ");
    match nearest(&field, expected) {
        Some(nearest) => {
            format!("unknown key `{field}`: did you mean `{nearest}`? (allowed here: {allowed})")
        }
        None => format!("unknown key `{field}` (allowed here: {allowed})"),
    }
}

/// The key in this line, for errors that do not name one.
fn key_at(text: &str, line: u64) -> String {
    let line = usize::try_from(line).ok().and_then(|line| text.lines().nth(line.checked_sub(1)?)).unwrap_or_default();
    match line.split_once(':') {
        Some((key, _)) => format!("`{}`", one_line(key.trim().trim_start_matches("- "))),
        None => "the value".to_owned(),
    }
}

/// Replaces control characters: a message is one line and must not control the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The allowed word that is most similar to a misspelt one, if any is similar enough.
pub(super) fn nearest<'a>(word: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace(['_', '-'], "");
    let distances = allowed.iter().map(|candidate| (edit_distance(&word, &candidate.to_lowercase()), *candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may differ, or two (a swap counts as two), but never all of them.
    let limit = (candidate.len() / 3).max(2).min(candidate.len().saturating_sub(1));
    (distance <= limit).then_some(candidate)
}

fn edit_distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, from) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (index, to) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn suggestions() {
        let keys = ["address", "dataDir", "maxTaskNum", "logLevel"];
        assert_eq!(nearest("adress", &keys), Some("address"));
        assert_eq!(nearest("data_dir", &keys), Some("dataDir"));
        assert_eq!(nearest("loglevel", &keys), Some("logLevel"));
        assert_eq!(nearest("metaStoreConfig", &keys), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
