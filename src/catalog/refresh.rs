//! Looking at the target again: what was carried over and is not there any more is carried over once more.

use super::carry::{Carrier, CarryError};
use super::look::{Load, look_by_name};
use super::record::CarriedIndex;
use crate::domain::CollectionId;

impl Carrier {
    /// Forgets what the record says of a collection and the target does not.
    pub(super) fn refresh(&mut self, id: CollectionId) -> Result<(), CarryError> {
        let Some(carried) = self.record.get(id).cloned() else { return Ok(()) };
        let found = match look_by_name(&self.target, (&carried.db, &carried.name), &self.context) {
            Ok(found) => Some(found),
            Err(error) if error.is_collection_missing() || error.is_database_missing() => None,
            Err(error) => return Err(error.into()),
        };
        self.record.change(id, |carried| match found {
            None => {
                carried.made = false;
                carried.partitions.clear();
                carried.indexes.clear();
                carried.aliases.clear();
                carried.load = Load::None;
            }
            Some(found) => {
                carried.partitions.retain(|name, _| found.partitions.contains_key(name));
                carried
                    .indexes
                    .retain(|name, index| found.indexes.get(name).map(CarriedIndex::from).as_ref() == Some(index));
                carried.aliases.retain(|alias| found.details.aliases.contains(alias));
                if found.load != carried.load {
                    carried.load = found.load;
                }
            }
        });
        Ok(self.record.save()?)
    }
}
