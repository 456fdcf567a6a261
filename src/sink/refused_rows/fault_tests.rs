use super::tests::{columns, row};
use super::*;
use crate::failpoint::walk::{self, Store, folder};
use crate::failpoint::{Faults, FileFault};

impl Store for RefusedRowsFile {
    /// The keys that are set aside.
    type State = BTreeSet<i64>;

    fn open(folder: &Path) -> Self {
        RefusedRowsFile::open(folder).unwrap()
    }

    fn state(&self) -> BTreeSet<i64> {
        self.rows().iter().map(|row| row.key.parse().unwrap()).collect()
    }

    fn change(&mut self, to: &BTreeSet<i64>) -> Result<(), String> {
        let there = self.state();
        for key in to.difference(&there) {
            self.add(row(7, *key), &columns(*key)).map_err(|error| error.to_string())?;
        }
        let gone: BTreeSet<CollectionId> = there.difference(to).map(|_| CollectionId(7)).collect();
        self.forget(&gone, u64::MAX).map_err(|error| error.to_string())
    }
}

#[test]
fn a_row_that_counts_as_set_aside_outlives_every_death() {
    walk::survives_every_death::<RefusedRowsFile>(&[[1].into(), [1, 2].into(), [1, 2, 3].into(), BTreeSet::new()]);
}

/// What an error leaves behind may be there after a restart: its row was not acknowledged, and comes again.
#[test]
fn a_row_that_cannot_be_stored_is_not_set_aside() {
    for fault in FileFault::ERRORS {
        for n in 1.. {
            let (folder, faults) = (folder(), Faults::install());
            let mut store = <RefusedRowsFile as Store>::open(folder.path());
            store.change(&[1].into()).unwrap();
            faults.at_file_step(n, fault);
            let outcome = store.change(&[1, 2].into());
            let has_struck = faults.has_struck();
            faults.clear();
            let at = format!("{fault:?} at step {n}: {:?}", faults.trace());
            assert_eq!(outcome.is_err(), has_struck, "{at}");
            if has_struck {
                assert!(outcome.unwrap_err().contains(FILE), "{at}");
                assert_eq!(store.state(), [1].into(), "{at}");
            }
            store.change(&[1, 2, 3].into()).unwrap();
            assert!(<RefusedRowsFile as Store>::open(folder.path()).state().contains(&3), "{at}");
            if !has_struck {
                break;
            }
        }
    }
}
