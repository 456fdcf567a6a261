use super::*;
use crate::failpoint::walk::folder;
use crate::failpoint::{Faults, FileFault};

/// A reader never meets a mixture, whatever the writer met: neither content nor seal of one and the other.
#[test]
fn a_reader_finds_one_content_or_the_other_after_any_fault() {
    for fault in FileFault::DEATHS.into_iter().chain(FileFault::ERRORS) {
        for n in 1.. {
            let (folder, faults) = (folder(), Faults::install());
            let path = folder.path().join("state.json");
            save(&path, "test", 1, &"old").unwrap();
            faults.at_file_step(n, fault);
            let outcome = faults.process(|| save(&path, "test", 1, &"new, and longer than the old one"));
            let found: String = load(&path, "test", 1).unwrap().unwrap();
            assert!(["old", "new, and longer than the old one"].contains(&found.as_str()), "{fault:?} at step {n}");
            if !faults.has_struck() {
                outcome.unwrap().unwrap();
                break;
            }
        }
    }
}
