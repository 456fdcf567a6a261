use super::*;
use crate::failpoint::walk::{AfterFailure, Store, survives_every_death, survives_every_error};

struct Saved {
    files: Files,
    progress: Option<Progress>,
}

impl Store for Saved {
    type State = Option<Progress>;

    fn open(folder: &Path) -> Saved {
        let files = Files::new(folder, CollectionId(7));
        Saved { progress: files.load().unwrap(), files }
    }

    fn state(&self) -> Option<Progress> {
        self.progress.clone()
    }

    fn change(&mut self, to: &Option<Progress>) -> Result<(), String> {
        self.files.save(to.as_ref().unwrap()).map_err(|error| error.to_string())?;
        self.progress.clone_from(to);
        Ok(())
    }
}

fn up_to(key: i64) -> Option<Progress> {
    let mut progress = Progress { rows: key as u64, ..Progress::default() };
    progress.set_after(Some(&Key::Int(key)));
    progress.set_pending(&[Key::Int(key + 1), Key::Int(key + 2)]);
    Some(progress)
}

/// Pending keys that are lost would be sent again as plain inserts.
#[test]
fn the_last_saved_progress_or_the_next_one_is_there_after_a_death_at_any_step() {
    survives_every_death::<Saved>(&[up_to(1), up_to(2), up_to(3)]);
}

#[test]
fn progress_that_cannot_be_saved_changes_nothing() {
    survives_every_error::<Saved>([&up_to(1), &up_to(2)], "copies/7.json", AfterFailure::OldOrNew);
}
