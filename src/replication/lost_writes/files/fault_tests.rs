use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::failpoint::walk::{self, AfterFailure, Store};
use crate::task::failback::{LostWrites, ReturnedPrimary};

/// A list of so many lines, and its counts, which are stored one after the other.
struct List {
    files: LostWritesFiles,
    counts: Option<u64>,
}

impl Store for List {
    /// The listing whose counts hold.
    type State = Option<u64>;

    fn open(folder: &Path) -> Self {
        let files = LostWritesFiles::of(folder);
        let counts = files.load().unwrap().map(|counts| counts.at_ms);
        if let Some(at) = counts {
            // The lines are those of the counts, or are not handed out.
            let page = files.page(0, usize::MAX);
            assert!(page.is_err() || page.unwrap().lines.len() as u64 == at);
        }
        List { files, counts }
    }

    fn state(&self) -> Option<u64> {
        self.counts
    }

    fn change(&mut self, to: &Option<u64>) -> Result<(), String> {
        let Some(at) = *to else { return Ok(()) };
        self.files.write((0..at).map(|number| Ok(line(number, at)))).map_err(|error| error.to_string())?;
        self.files.save(&counts(at)).map_err(|error| error.to_string())?;
        self.counts = Some(at);
        Ok(())
    }
}

fn counts(at_ms: u64) -> LostWrites {
    LostWrites {
        at_ms,
        address: "west:1".into(),
        primary: ReturnedPrimary::Same,
        unlisted: None,
        collections: Vec::new(),
        unknown: Vec::new(),
        outcome: None,
    }
}

fn line(number: u64, since: u64) -> LostLine {
    LostLine {
        number,
        collection_id: 7,
        target: "d.a".into(),
        partition: "p".into(),
        key: number.to_string(),
        channel: "c".into(),
        timestamp: 1,
        since,
        reason: "lost".into(),
        columns: Vec::new(),
        write: LineKind::Delete,
        merge: LineMerge::Undecided,
    }
}

#[test]
fn a_list_and_its_counts_survive_every_death_and_are_never_mixed() {
    walk::survives_every_death::<List>(&[Some(3), Some(5), Some(2)]);
}

#[test]
fn a_list_that_cannot_be_stored_leaves_the_counts() {
    walk::survives_every_error::<List>([&Some(3), &Some(5)], "lost-writes", AfterFailure::OldOrNew);
}

#[test]
fn lines_are_handed_out_in_parts_to_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let files = LostWritesFiles::of(folder.path());
    assert!(files.page(0, 1).unwrap_err().to_string().contains("not listed yet"));
    files.write((0..3).map(|number| Ok(line(number, 9)))).unwrap();
    files.save(&counts(9)).unwrap();
    let (mut from, mut keys) = (Some(0), Vec::new());
    while let Some(at) = from {
        let page = files.page(at, 1).unwrap();
        keys.extend(page.lines.iter().map(|line| serde_json::from_str::<LostLine>(line).unwrap().key));
        from = page.next;
    }
    assert_eq!(keys, ["0", "1", "2"]);
    files.save(&counts(10)).unwrap();
    assert!(files.page(0, 1).unwrap_err().to_string().contains("being listed again"));
    let mut rows = files.rows().unwrap();
    let places: Vec<RowPlace> = ["a", "bb"].map(|name| rows.add(&RowContent::new(name, &[])).unwrap()).into();
    rows.flush().unwrap();
    let mut reader = rows.reader().unwrap();
    let names = [1, 0].map(|index: usize| rows.read(&mut reader, places[index]).unwrap().partition);
    assert_eq!(names, ["bb", "a"]);
    for name in ["lost-writes.json", "lost-writes.jsonl", "lost-writes.part"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    rows.remove();
    assert!(!folder.path().join("lost-writes.part").exists());
}
