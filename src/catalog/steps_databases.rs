//! Databases: creating and dropping them, and carrying over their properties.

use super::agenda::DatabasePlan;
use super::error::CatalogError;
use super::steps::Steps;

impl Steps {
    /// Creates and drops databases, and carries over what users have set of those that are replicated as a whole. A
    /// server that does not tell, or does not let our user ask, keeps nothing else from being replicated.
    pub(super) fn replicate_databases(&self, plan: &DatabasePlan) -> Result<(), CatalogError> {
        let outcome = self.target.replicate_databases(&plan.wanted, &plan.unwanted);
        if outcome.as_ref().is_err_and(|error| !error.is_final() || error.is_about_task()) {
            return outcome;
        }
        for db in &plan.looks {
            let wanted = match self.source.database_properties(db) {
                Ok(Some(wanted)) => wanted,
                Ok(None) => continue,
                Err(error) => {
                    log::debug!("{error}");
                    continue;
                }
            };
            let name = self.mapping.map_database(db);
            match self.target.replicate_database_properties(&name, &wanted) {
                Err(error @ CatalogError::Target(_)) => log::debug!("{error}"),
                outcome => outcome?,
            }
        }
        outcome
    }
}
