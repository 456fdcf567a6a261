use super::tests::task;
use super::*;
use crate::failpoint::walk::{AfterFailure, Store, survives_every_death, survives_every_error};
use crate::task::definition::TaskState;

impl Store for FileJournal {
    type State = Vec<TaskDefinition>;

    fn open(folder: &Path) -> FileJournal {
        FileJournal::open(folder).unwrap()
    }

    fn state(&self) -> Vec<TaskDefinition> {
        self.tasks().unwrap()
    }

    fn change(&mut self, to: &Vec<TaskDefinition>) -> Result<(), String> {
        let before = self.state();
        for gone in before.iter().filter(|task| to.iter().all(|other| other.id != task.id)) {
            self.remove(&gone.id).map_err(|error| error.to_string())?;
        }
        for new in to.iter().filter(|task| !before.contains(task)) {
            self.put(new).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Each differs from the one before by one task: put, put, changed, removed.
fn states() -> [Vec<TaskDefinition>; 4] {
    let (a, b) = (task("a", TaskState::Running), task("b", TaskState::Running));
    let paused = task("a", TaskState::paused("by hand"));
    [vec![a.clone()], vec![a, b.clone()], vec![paused, b.clone()], vec![b]]
}

#[test]
fn a_task_is_there_or_not_after_a_death_at_any_step() {
    survives_every_death::<FileJournal>(&states());
}

#[test]
fn a_change_that_cannot_be_written_is_no_change() {
    let [one, two, changed, removed] = states();
    for states in [[&one, &two], [&two, &changed], [&changed, &removed]] {
        survives_every_error::<FileJournal>(states, FILE_NAME, AfterFailure::Old);
    }
}
