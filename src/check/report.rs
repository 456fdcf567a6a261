//! What was found, for people and for programs.

use serde::Serialize;

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// It works, but somebody should know.
    Warning,
    /// The task would not work.
    Problem,
}

impl Level {
    /// One character for a table.
    pub fn mark(self) -> char {
        match self {
            Level::Good => '✓',
            Level::Warning => '!',
            Level::Problem => '✗',
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How good it is.
    pub level: Level,
    /// What was looked at: `source`, `target`, `log`, `retention`, `collections`, `dataDir`, `task`.
    pub about: &'static str,
    /// What was found.
    pub text: String,
    /// What to do about it; there for everything that is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Everything that was found, in the order in which it was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report(Vec<Finding>);

impl Report {
    /// It is as it should be.
    pub fn good(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { level: Level::Good, about, text: text.into(), remedy: None });
    }

    /// It works, but somebody should know, and may do something about it.
    pub fn warning(&mut self, about: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { level: Level::Warning, about, text: text.into(), remedy: Some(remedy.into()) });
    }

    /// The task would not work before something is done about it.
    pub fn problem(&mut self, about: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { level: Level::Problem, about, text: text.into(), remedy: Some(remedy.into()) });
    }

    /// All findings.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// The worst of all.
    pub fn level(&self) -> Level {
        self.0.iter().map(|finding| finding.level).max().unwrap_or(Level::Good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts() {
        let mut report = Report::default();
        assert_eq!(report.level(), Level::Good);
        report.problem("log", "no", "mend it");
        report.good("source", "yes");
        assert_eq!(report.level(), Level::Problem);
        let json = serde_json::to_value(report.findings()).unwrap();
        assert_eq!(json[0]["level"], "problem");
        assert!(json[1].get("remedy").is_none());
    }
}
