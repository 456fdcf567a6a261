use crate::failpoint::walk::{AfterFailure, Store, survives_every_death, survives_every_error};

use super::*;

struct Saved {
    folder: std::path::PathBuf,
    checkpoint: Option<Checkpoint>,
}

impl Store for Saved {
    type State = Option<Checkpoint>;

    fn open(folder: &Path) -> Saved {
        Saved { folder: folder.to_owned(), checkpoint: load(folder).unwrap() }
    }

    fn state(&self) -> Option<Checkpoint> {
        self.checkpoint.clone()
    }

    fn change(&mut self, to: &Option<Checkpoint>) -> Result<(), String> {
        save(&self.folder, to.as_ref().unwrap()).map_err(|error| error.to_string())?;
        self.checkpoint.clone_from(to);
        Ok(())
    }
}

fn at(tick: u64) -> Option<Checkpoint> {
    let channel = ChannelRecord { position: Some(Position::at(tick).into()), time_tick: tick, ..Default::default() };
    let channels = [("a".to_owned(), channel.clone()), ("b".to_owned(), channel)].into();
    Some(Checkpoint { log: "rocksmq".into(), channels, ..Checkpoint::default() })
}

#[test]
fn the_last_saved_checkpoint_or_the_next_one_is_there_after_a_death_at_any_step() {
    survives_every_death::<Saved>(&[at(1), at(2), at(3)]);
}

#[test]
fn a_checkpoint_that_cannot_be_saved_changes_nothing() {
    survives_every_error::<Saved>([&at(1), &at(2)], FILE, AfterFailure::OldOrNew);
}
