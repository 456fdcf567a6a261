//! Looks at the target as a whole: which server it is, and whether it still has what it was given.

use super::TargetCatalog;
use super::context::TargetContext;
use crate::catalog::error::CatalogError;
use crate::catalog::target_past;
use crate::domain::CollectionId;

impl TargetCatalog {
    /// Looks whether the target is the known server, when it is time. One that is not ends this run of the task.
    pub(in crate::catalog) fn look_at_server(&self) -> Result<(), CatalogError> {
        if !self.guard.is_due(&self.context.client) {
            return Ok(());
        }
        let recognise = |on: &TargetContext| self.guard.recognise(&on.client, &self.record, &on.call);
        match self.planning.ask(recognise) {
            Some(Err(error @ (CatalogError::OtherSource(_) | CatalogError::Record(_)))) => return Err(error),
            // A target that does not answer is reported by the step that changes something.
            Some(Err(error)) => log::debug!("{error}"),
            Some(Ok(())) => self.look_at_version(),
            None => {}
        }
        Ok(())
    }

    /// Looks whether the target was restored to an earlier time. If so, the task compares everything, and every
    /// collection of ours is to be looked at: what was made of late is missing there.
    pub(in crate::catalog) fn look_at_past(&self) -> Result<Vec<CollectionId>, CatalogError> {
        let (past, client) = (self.guard.past(), &self.context.client);
        let ask = || self.planning.ask(|on| Ok(target_past::find_missing(&on.client, &on.call)?));
        let Some(why) = past.look(client, ask)? else { return Ok(Vec::new()) };
        if self.record.is_paired() {
            // What the target lacks may have been deleted by its own users.
            self.context.reporter.held(&format!("{why}: not done, since a task replicates in the opposite direction"));
            past.settled(client)?;
            return Ok(Vec::new());
        }
        self.context.reporter.restored(&why)?;
        past.settled(client)?;
        Ok(self.record.ids())
    }

    /// The target has just stalled.
    #[cfg(test)]
    pub(in crate::catalog) fn note_stall(&self) {
        self.planning.note_stall();
    }

    #[cfg(test)]
    pub(in crate::catalog) fn is_look_due(&self) -> bool {
        self.guard.is_due(&self.context.client)
    }

    /// The task ends.
    pub(in crate::catalog) fn leave(&self) {
        if let Err(error) = self.guard.past().leave(&self.context.client) {
            log::error!("{error}");
        }
    }

    /// Asks a server that has come back which one it is: what it can do counts from its next step on.
    fn look_at_version(&self) {
        if let Some(Err(error)) = self.planning.ask(|on| Ok(on.capabilities()?)) {
            log::debug!("{error}");
        }
    }
}
