//! A collection whose schema has changed at the source, on both sides.

use std::collections::BTreeSet;

use super::context::TargetContext;
use crate::catalog::describe::SourceCollection;
use crate::catalog::error::CatalogError;
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::Error;
use crate::milvus::capabilities::SchemaAlteration;
use crate::milvus::pb::schema::CollectionSchema;
use crate::task::drops::OnDrop;

/// What the steps that carry a changed schema over share.
pub(super) struct SchemaChange<'a> {
    pub(super) context: &'a TargetContext,
    pub(super) id: CollectionId,
    /// Its name on the target.
    pub(super) name: &'a CollectionName,
    pub(super) source: &'a SourceCollection,
    /// The schema that the target should have.
    pub(super) wanted: &'a CollectionSchema,
    /// The schema that it has.
    pub(super) found: CollectionSchema,
    /// What was compared last.
    pub(super) before: BTreeSet<String>,
    pub(super) removal: PartRemoval,
}

/// Whether what the source has dropped of a collection goes from the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartRemoval {
    Follows,
    /// The collection was there before the task, or the task keeps what is dropped.
    IsKept,
}

impl PartRemoval {
    pub(super) fn of(is_ours: bool, on_drop: OnDrop) -> PartRemoval {
        match (is_ours, on_drop) {
            (true, OnDrop::Follow) => PartRemoval::Follows,
            (false, _) | (true, OnDrop::Keep | OnDrop::Rename { .. }) => PartRemoval::IsKept,
        }
    }
}

impl SchemaChange<'_> {
    /// Whether parts of the schema can be dropped on the target, and may be.
    pub(super) fn can_remove(&self) -> Result<bool, Error> {
        let is_possible = self.context.capabilities()?.schema_alteration == SchemaAlteration::ByCall;
        Ok(is_possible && self.removal == PartRemoval::Follows)
    }

    /// Reads again what the target has.
    pub(super) fn look_again(&mut self) -> Result<(), CatalogError> {
        self.found = self.context.client.describe_without_aliases(self.name, &self.context.call)?.schema;
        Ok(())
    }
}
