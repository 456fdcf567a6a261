use super::*;
use crate::failpoint::walk::folder;
use crate::failpoint::{Faults, FileFault};

fn make(data_dir: &Path) -> PathBuf {
    let folder = data_dir.join(TASKS).join("t");
    fs::create_dir_all(folder.join("copies")).unwrap();
    for file in ["checkpoint.json", "catalog.json", "copies/1.json"] {
        fs::write(folder.join(file), "x").unwrap();
    }
    folder
}

fn is_whole(folder: &Path) -> bool {
    ["checkpoint.json", "catalog.json", "copies/1.json"].iter().all(|file| folder.join(file).exists())
}

#[test]
fn a_folder_is_whole_or_gone_after_a_death_at_any_step() {
    for fault in FileFault::DEATHS {
        for n in 1.. {
            let (data_dir, faults) = (folder(), Faults::install());
            let folder = make(data_dir.path());
            faults.at_file_step(n, fault);
            let life = faults.process(|| remove(&folder).unwrap());
            if life.is_ok() {
                faults.lose_power();
                assert!(!folder.exists(), "what was reported as removed came back");
                assert!(n > 3, "{:?}", faults.trace());
                break;
            }
            remove_leftovers(data_dir.path());
            assert!(is_whole(&folder) || !folder.exists(), "{fault:?} at {:?}", faults.trace().last());
            remove(&folder).unwrap();
            assert_eq!(fs::read_dir(data_dir.path().join(TASKS)).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_folder_that_cannot_be_removed_is_whole_or_out_of_the_way() {
    for fault in FileFault::ERRORS {
        for n in 1.. {
            let (data_dir, faults) = (folder(), Faults::install());
            let folder = make(data_dir.path());
            faults.at_file_step(n, fault);
            let outcome = remove(&folder);
            if !faults.has_struck() {
                outcome.unwrap();
                break;
            }
            outcome.unwrap_err();
            assert!(is_whole(&folder) || !folder.exists(), "{fault:?} at {:?}", faults.trace().last());
            remove(&folder).unwrap();
            assert_eq!(fs::read_dir(data_dir.path().join(TASKS)).unwrap().count(), 0);
        }
    }
}
