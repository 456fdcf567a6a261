//! The findings of a check.

use serde::Serialize;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// The task would work, but a person should know.
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

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Severity.
    pub level: Level,
    /// What was checked: `source`, `target`, `log`, `retention`, `collections`, `dataDir`, `task`.
    pub about: &'static str,
    /// What was found.
    pub text: String,
    /// What to do about it; present unless the level is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// All findings, in the order of the checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreflightReport(Vec<Finding>);

impl PreflightReport {
    /// Adds a good finding.
    pub fn good(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { level: Level::Good, about, text: text.into(), remedy: None });
    }

    /// Adds a warning.
    pub fn warning(&mut self, about: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { level: Level::Warning, about, text: text.into(), remedy: Some(remedy.into()) });
    }

    /// Adds a problem.
    pub fn problem(&mut self, about: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { level: Level::Problem, about, text: text.into(), remedy: Some(remedy.into()) });
    }

    /// All findings.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// The highest severity of all findings.
    pub fn level(&self) -> Level {
        self.0.iter().map(|finding| finding.level).max().unwrap_or(Level::Good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts() {
        let mut report = PreflightReport::default();
        assert_eq!(report.level(), Level::Good);
        report.problem("log", "no", "mend it");
        report.good("source", "yes");
        assert_eq!(report.level(), Level::Problem);
        let json = serde_json::to_value(report.findings()).unwrap();
        assert_eq!(json[0]["level"], "problem");
        assert!(json[1].get("remedy").is_none());
    }
}
