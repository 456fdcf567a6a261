//! What a user wants of one collection of a running task, and what comes of it.

/// What is to become of the collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionWish {
    /// It stands still until it is resumed, also after a restart.
    Pause,
    /// It goes on: one that was paused is compared; one that is held is tried again now.
    Resume,
    /// Its rows are compared with the source's, and mended.
    Resync,
}

/// What has come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionOutcome {
    /// It stands still.
    Paused,
    /// It stands still, but calls that began before have not ended.
    Pausing,
    /// It goes on: what it missed is compared.
    Resumed,
    /// It was not paused but held, and is tried again now.
    TriedAgain,
    /// Its rows are being compared.
    Comparing,
}

impl CollectionOutcome {
    /// The outcome's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            CollectionOutcome::Paused => "paused",
            CollectionOutcome::Pausing => "pausing",
            CollectionOutcome::Resumed => "resumed",
            CollectionOutcome::TriedAgain => "tried again",
            CollectionOutcome::Comparing => "comparing",
        }
    }
}

/// Why a wish about a collection is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectionRefused {
    /// The task has no collection of this name.
    #[error("the task has no collection {name}; it has {known}")]
    Unknown {
        /// As asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Pause of one that is paused.
    #[error("{0} is paused already: resume it, or leave it")]
    AlreadyPaused(String),
    /// Resume of one that is neither paused nor held.
    #[error("{name} is neither paused nor held but {stage}: to compare its rows, use the request `resync`")]
    NotPaused {
        /// Database and name at the source.
        name: String,
        /// What it is.
        stage: &'static str,
    },
    /// Comparison of one that is paused.
    #[error("{0} is paused: resume it, then its rows are compared")]
    Paused(String),
    /// Comparison of one that has not joined.
    #[error("{0} has not been taken in yet, and all its rows come when it is: see its state and the task's reason")]
    NotJoined(String),
    /// The task has no connection to its servers now.
    #[error("the task is connecting to its servers: see its reason, and ask again when it is connected")]
    NotConnected,
    /// The wish could not be stored.
    #[error(
        "the task's checkpoint cannot be written, so this would not outlive a restart: see the task's reason, free \
         its disk, and ask again"
    )]
    NotStored,
}

/// Names that an error lists; more are counted.
const NAMED: usize = 20;

impl CollectionRefused {
    /// No collection of this name is among `known`.
    pub fn unknown(name: &str, mut known: Vec<String>) -> CollectionRefused {
        known.sort();
        known.dedup();
        let more = known.len().saturating_sub(NAMED);
        known.truncate(NAMED);
        let known = match (known.is_empty(), more) {
            (true, _) => "none yet".to_owned(),
            (false, 0) => known.join(", "),
            (false, more) => format!("{} and {more} more", known.join(", ")),
        };
        CollectionRefused::Unknown { name: name.to_owned(), known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_those_that_there_are() {
        let text = |names: Vec<String>| CollectionRefused::unknown("d.x", names).to_string();
        assert_eq!(text(Vec::new()), "the task has no collection d.x; it has none yet");
        assert_eq!(text(vec!["d.b".into(), "d.a".into()]), "the task has no collection d.x; it has d.a, d.b");
        let many = text((0..NAMED + 2).map(|number| format!("d.c{number:02}")).collect());
        assert!(many.ends_with("d.c19 and 2 more"), "{many}");
    }
}
