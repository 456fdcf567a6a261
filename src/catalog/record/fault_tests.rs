use super::*;
use crate::failpoint::walk::{AfterFailure, Store, folder, survives_every_death, survives_every_error};

/// The record with the collections that it had when it was last saved.
struct Saved {
    record: CatalogRecord,
    collections: BTreeMap<i64, ReplicatedCollection>,
}

impl Store for Saved {
    type State = BTreeMap<i64, ReplicatedCollection>;

    fn open(folder: &Path) -> Saved {
        let record = CatalogRecord::open(folder).unwrap();
        let collections = record.state.lock().content.collections.clone();
        Saved { record, collections }
    }

    fn state(&self) -> BTreeMap<i64, ReplicatedCollection> {
        self.collections.clone()
    }

    /// As the catalog does: what is changed in memory is saved with the next call at the latest.
    fn change(&mut self, to: &BTreeMap<i64, ReplicatedCollection>) -> Result<(), String> {
        self.record
            .ids()
            .into_iter()
            .filter(|id| !to.contains_key(&id.0))
            .for_each(|id| self.record.entry(id).remove());
        to.iter().for_each(|(&id, carried)| self.record.entry(CollectionId(id)).put(carried.clone()));
        self.record.save().map_err(|error| error.to_string())?;
        self.collections.clone_from(to);
        Ok(())
    }
}

fn collections<const N: usize>(ids: [i64; N]) -> BTreeMap<i64, ReplicatedCollection> {
    ids.map(|id| {
        (id, ReplicatedCollection { name: CollectionName::new("default", format!("c{id}")), ..Default::default() })
    })
    .into()
}

#[test]
fn what_was_recorded_is_there_after_a_death_at_any_step() {
    survives_every_death::<Saved>(&[collections([1]), collections([1, 2]), collections([2]), collections([])]);
}

#[test]
fn a_record_that_cannot_be_saved_stays_as_it_was() {
    survives_every_error::<Saved>([&collections([1]), &collections([1, 2])], "catalog.json", AfterFailure::OldOrNew);
}

/// Nothing new is recorded: the first failure must not count as saved.
#[test]
fn what_could_not_be_saved_is_saved_with_the_next_call() {
    use crate::failpoint::{Faults, FileFault};
    let folder = folder();
    let faults = Faults::install();
    let record = CatalogRecord::open(folder.path()).unwrap();
    record.add_database("d");
    faults.at_every_file_step(FileFault::ERRORS[0]);
    record.save().unwrap_err();
    faults.clear();
    record.save().unwrap();
    assert!(CatalogRecord::open(folder.path()).unwrap().databases().contains("d"));
}
