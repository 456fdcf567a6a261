//! Databases on the target.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::context::TargetContext;
use crate::catalog::error::CatalogError;
use crate::catalog::record::CatalogRecord;
use crate::domain::Mark;
use crate::milvus::ErrorKind;
use crate::task::spec::DEFAULT_DATABASE;

/// Databases that were found or created on the target in this run.
#[derive(Default)]
pub(super) struct Databases {
    known: Mutex<BTreeSet<String>>,
}

impl Databases {
    /// The `wanted` ones that were neither found nor created yet.
    pub(super) fn unknown(&self, wanted: &BTreeSet<String>) -> BTreeSet<String> {
        wanted.difference(&self.known.lock()).cloned().collect()
    }

    /// None of them is known to be there any more.
    pub(super) fn forget(&self) {
        self.known.lock().clear();
    }

    /// Creates a database unless it exists.
    pub(super) fn ensure(&self, context: &TargetContext, record: &CatalogRecord, db: &str) -> Result<(), CatalogError> {
        if db == DEFAULT_DATABASE || self.known.lock().contains(db) {
            return Ok(());
        }
        if !context.client.list_databases(&context.call)?.iter().any(|found| found == db) {
            create(context, record, db)?;
        }
        self.known.lock().insert(db.into());
        Ok(())
    }

    /// Creates the `wanted` databases, and drops those of the `unwanted` that are empty. One that the target refuses
    /// for good keeps no other waiting.
    pub(super) fn replicate(
        &self,
        context: &TargetContext,
        record: &CatalogRecord,
        wanted: &BTreeSet<String>,
        unwanted: &BTreeSet<String>,
    ) -> Result<(), CatalogError> {
        let mut refused = Ok(());
        let created = wanted.iter().map(|db| self.ensure(context, record, db));
        for outcome in created.chain(unwanted.iter().map(|db| self.drop_if_empty(context, record, db))) {
            match outcome {
                Err(error) if error.is_final() && !error.is_about_task() => refused = refused.and(Err(error)),
                outcome => outcome?,
            }
        }
        refused
    }

    fn drop_if_empty(&self, context: &TargetContext, record: &CatalogRecord, db: &str) -> Result<(), CatalogError> {
        let is_empty = match context.client.list_collections(db, &context.call) {
            Ok(collections) => collections.is_empty(),
            Err(error) if error.is_database_missing() => true,
            Err(error) => return Err(error.into()),
        };
        // A collection that is not ours lives there now.
        if !is_empty {
            return Ok(());
        }
        match context.client.marked(Mark::OF_NO_COLLECTION).drop_database(db, &context.call) {
            Ok(()) => {
                let address = context.client.address();
                context.reporter.done(&format!("dropped the database {db} on the target {address}"));
            }
            Err(error) if error.is_database_missing() => {}
            Err(error) => return Err(error.into()),
        }
        self.known.lock().remove(db);
        record.remove_database(db);
        record.save()?;
        Ok(())
    }
}

fn create(context: &TargetContext, record: &CatalogRecord, db: &str) -> Result<(), CatalogError> {
    record.add_database(db);
    record.save()?;
    match context.client.marked(Mark::OF_NO_COLLECTION).create_database(db, &context.call) {
        Ok(()) => {
            let address = context.client.address();
            context.reporter.done(&format!("created the database {db} on the target {address}"));
        }
        Err(error) if error.is_already_there() => {}
        Err(error) if error.kind == ErrorKind::Unimplemented => {
            record.remove_database(db);
            record.save()?;
            return Err(CatalogError::Conflict(format!(
                "{} has no databases, so {db} cannot be created: map it to {DEFAULT_DATABASE} (name_mapping), or \
                 leave it out of the task",
                context.target()?
            )));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
