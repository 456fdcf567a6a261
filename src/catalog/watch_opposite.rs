//! Nothing is compared before it is known whether a task in the opposite direction runs.

use std::time::{Duration, Instant};

use super::error::CatalogError;
use super::event::Hint;
use super::opposite::{LoggedAnnouncement, OppositeAdmission};
use super::watch::{CatalogWatch, LISTING_INTERVAL};

/// How often an answer is looked for.
const POLL: Duration = Duration::from_millis(100);

impl CatalogWatch {
    /// Judges what the log and the last listing show of such a task. Hints are of no use before anything is
    /// compared: the first comparison is of everything.
    pub(super) fn admit(&mut self, hints: &mut Vec<Hint>) -> Result<OppositeAdmission, CatalogError> {
        let created = |hint: &Hint| match hint {
            Hint::DatabaseCreated { db, mark } => Some(LoggedAnnouncement { name: db.clone(), mark: *mark }),
            _ => None,
        };
        let logged: Vec<LoggedAnnouncement> = hints.iter().filter_map(created).collect();
        hints.retain(|hint| !matches!(hint, Hint::DatabaseCreated { .. }));
        let has_begun = self.opposite.is_granted();
        let is_listed = has_begun && !self.opposite.is_unmarked();
        let listed = is_listed.then(|| self.steps.source.announcements());
        let outcome = self.opposite.round(listed, &logged, Instant::now());
        if self.opposite.is_met() {
            self.steps.target.meet_opposite()?;
        }
        match outcome {
            Ok(OppositeAdmission::Granted) => Ok(OppositeAdmission::Granted),
            // Rows are under way: the next run begins with the question.
            Err(CatalogError::Unprotected(why)) if has_begun => Err(CatalogError::OtherSource(why)),
            outcome => {
                // What is under way is told nothing twice: its hints wait for the next round.
                if !has_begun {
                    hints.clear();
                }
                outcome
            }
        }
    }

    /// Takes back what the task has announced: it ends.
    pub(super) fn leave(&mut self) {
        self.opposite.leave();
        self.steps.target.leave();
    }

    /// Compares, if the task may replicate. Answers how long to wait for the next round.
    pub(super) fn run_admitted(
        &mut self,
        admission: OppositeAdmission,
        hints: &mut Vec<Hint>,
    ) -> Result<Duration, CatalogError> {
        match admission {
            OppositeAdmission::Granted => self.compare(hints).map(|()| LISTING_INTERVAL),
            OppositeAdmission::Pending => Ok(POLL),
        }
    }
}
