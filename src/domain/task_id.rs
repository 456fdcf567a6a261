//! The id of a task.

use std::fmt;

/// A task's name: 1 to 64 of `A-Z a-z 0-9 _ -`, so that it is safe in file names, thread names and URLs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(String);

/// A text that is no task id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task_id must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -")]
pub struct InvalidTaskId;

impl TaskId {
    /// The longest id.
    const MAX_LENGTH: usize = 64;

    /// Takes a user's id.
    ///
    /// # Errors
    /// [`InvalidTaskId`] unless it matches `[A-Za-z0-9_-]{1,64}`.
    pub fn parse(text: &str) -> Result<Self, InvalidTaskId> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            Ok(TaskId(text.to_owned()))
        } else {
            Err(InvalidTaskId)
        }
    }

    /// A new id: 32 hexadecimal digits.
    pub fn random() -> Self {
        TaskId(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The id of the task in the opposite direction, unless a user gives another: that of `a` is `a-reverse`, and that
    /// of `a-reverse` is `a`.
    pub fn reversed(&self) -> TaskId {
        const REVERSE: &str = "-reverse";
        match self.0.strip_suffix(REVERSE) {
            Some(original) if !original.is_empty() => TaskId(original.to_owned()),
            _ => {
                let kept = self.0.len().min(Self::MAX_LENGTH - REVERSE.len());
                TaskId(format!("{}{REVERSE}", &self.0[..kept]))
            }
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids() {
        for good in ["a", "my-task_1", &"x".repeat(64)] {
            assert_eq!(TaskId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "..", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(TaskId::parse(bad), Err(InvalidTaskId), "{bad}");
        }
        assert_eq!(TaskId::random().as_str().len(), 32);
        let long = TaskId::parse(&"x".repeat(64)).unwrap();
        for id in [TaskId::parse("a").unwrap(), TaskId::parse("-reverse").unwrap(), TaskId::random()] {
            assert_eq!(id.reversed().reversed(), id);
        }
        assert!(TaskId::parse(long.reversed().as_str()).is_ok_and(|id| id != long));
    }
}
