//! Walks over every step of storing something and lets it go wrong in every way. A step that is added to the code
//! later is walked over as well.

use std::fmt::Debug;
use std::path::Path;

use super::{Faults, FileFault};

/// Something that is kept in files of one folder.
pub(crate) trait Store: Sized {
    /// What is kept.
    type State: Clone + PartialEq + Debug;

    /// A process begins with what is in the folder. Damage is a panic.
    fn open(folder: &Path) -> Self;

    /// What the process holds in memory.
    fn state(&self) -> Self::State;

    /// Stores a new state: from here on it is promised to outlive the process.
    fn change(&mut self, to: &Self::State) -> Result<(), String>;
}

/// What the files must hold when only the last step of a change, syncing the folder, has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// The old state in any case.
    Old,
    /// The new one may be visible already: it is as true as the old one.
    OldOrNew,
}

/// Lets the process die at every step of these changes, in every way to die: the next process finds the last state
/// that was promised, or the one that was being stored, and goes on.
pub(crate) fn survives_every_death<S: Store>(states: &[S::State]) {
    let Some(last) = states.last() else { panic!("no states") };
    for fault in FileFault::DEATHS {
        for n in 1.. {
            let (folder, faults) = (folder(), Faults::install());
            let path = folder.path();
            let nothing = S::open(path).state();
            faults.at_file_step(n, fault);
            let (mut promised, mut wanted) = (nothing.clone(), nothing);
            let life = faults.process(|| {
                let mut store = S::open(path);
                for state in states {
                    wanted = state.clone();
                    store.change(state).unwrap();
                    promised = state.clone();
                }
            });
            let at = format!("{fault:?} at step {n}: {:?}", faults.trace().last());
            assert_eq!(life.is_err(), faults.has_struck(), "{at}");
            if life.is_ok() {
                faults.lose_power();
                assert_eq!(&S::open(path).state(), last, "what was promised is lost with the power");
                assert!(n > states.len(), "{:?}", faults.trace());
                break;
            }
            let found = S::open(path).state();
            assert!(found == promised || found == wanted, "{at}: {found:?}, neither {promised:?} nor {wanted:?}");
            S::open(path).change(last).unwrap();
            assert_eq!(&S::open(path).state(), last, "{at}: the next process does not go on");
        }
    }
}

/// Lets every step of the last of these changes fail, in every way to fail: the change fails with an error that names
/// the file and the reason, the old state stays in memory and on disk, and the change works as soon as the disk does.
pub(crate) fn survives_every_error<S: Store>(states: [&S::State; 2], file: &str, after: AfterFailure) {
    let [old, new] = states;
    for fault in FileFault::ERRORS {
        for n in 0.. {
            let (folder, faults) = (folder(), Faults::install());
            let path = folder.path();
            let mut store = S::open(path);
            store.change(old).unwrap();
            match n {
                0 => faults.at_every_file_step(fault),
                _ => faults.at_file_step(n, fault),
            }
            let outcome = store.change(new);
            faults.clear();
            let at = format!("{fault:?} at step {n}: {:?}", faults.trace());
            let Err(error) = outcome else {
                // What is left over may go wrong without harm: that step is not the last.
                if faults.has_struck() {
                    continue;
                }
                assert!(n > 2, "{at}");
                break;
            };
            let (FileFault::Fails(errno) | FileFault::FailsHalfway(errno)) = fault else { panic!("{fault:?}") };
            let reason = std::io::Error::from(errno).to_string();
            assert!(error.contains(path.join(file).to_str().unwrap()) && error.contains(&reason), "{at}: {error}");
            assert_eq!(&store.state(), old, "{at}: in memory");
            let found = S::open(path).state();
            let may_be_new = after == AfterFailure::OldOrNew && is_last_step(&faults);
            assert!(&found == old || may_be_new && &found == new, "{at}: on disk: {found:?}");
            store.change(new).unwrap();
            assert_eq!((&store.state(), &S::open(path).state()), (new, new), "{at}: work does not go on");
        }
    }
}

/// Whether the step before the cleaning up was the last one of a change.
fn is_last_step(faults: &Faults) -> bool {
    let trace = faults.trace();
    let steps = trace.iter().rev().skip_while(|step| step.starts_with("remove"));
    steps.take(1).any(|step| step.starts_with("sync folder"))
}

/// A folder for one run. In memory where the system has that: thousands of runs would wait for a disk that has no part
/// in what they show.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
