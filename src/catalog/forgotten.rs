//! Targets that forget what is loaded.

use std::collections::{BTreeMap, BTreeSet};

use super::look::Load;
use super::watcher::Watch;
use crate::domain::CollectionId;
use crate::milvus::Error;

impl Watch {
    /// Collections that were loaded on the target and are not any more, because it has been restarted and is one that forgets.
    /// They are loaded again. (On such a target a release by hand does not last.)
    pub(super) fn forgotten(&mut self) -> BTreeSet<CollectionId> {
        let found = self.look_for_forgotten();
        // A target that does not answer shows wherever something is to be changed.
        let ids = found.inspect_err(|error| log::debug!("{error}")).unwrap_or_default();
        for id in &ids {
            self.carrier.record.change(*id, |carried| carried.load = Load::None);
        }
        ids
    }

    fn look_for_forgotten(&mut self) -> Result<BTreeSet<CollectionId>, Error> {
        let carrier = &mut self.carrier;
        if !carrier.target_version()?.forgets_loads() {
            return Ok(BTreeSet::new());
        }
        let mut loaded = BTreeMap::new();
        let mut forgotten = BTreeSet::new();
        for id in carrier.record.ids() {
            let Some(carried) = carrier.record.get(id).filter(|carried| carried.load != Load::None) else { continue };
            if !loaded.contains_key(&carried.db) {
                let found = carrier.target.loaded_collections(&carried.db, &carrier.context)?;
                loaded.insert(carried.db.clone(), found);
            }
            let is_loaded = loaded.get(&carried.db).is_some_and(|found| found.contains_key(&carried.name));
            if !is_loaded && self.listed.contains_key(&id) {
                forgotten.insert(id);
            }
        }
        Ok(forgotten)
    }
}
