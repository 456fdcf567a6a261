use super::tests::{read_all, write};
use super::*;
use crate::failpoint::walk::folder;
use crate::failpoint::{Faults, FileFault};

/// The marks that were promised to be on disk.
type Marks = Vec<(i64, DigestFileMark)>;

/// Rows of the longer file: some blocks.
const ROWS: i64 = 9_000;

/// Goes on at the last mark, or begins, as a round does.
fn build(path: &Path, marks: &mut Marks) -> Result<(), DigestFileError> {
    let (mut writer, from) = match marks.last().cloned() {
        Some((rows, mark)) => (DigestFileWriter::resume(path, 8, mark)?, rows),
        None => {
            let mut writer = DigestFileWriter::create(path, 8)?;
            writer.begin_section("p", 1)?;
            (writer, 0)
        }
    };
    for key in from..ROWS {
        if key % 3_000 == 0 && key > from {
            let mark = writer.sync()?;
            // A mark counts when it is in the progress file, which is in the same folder.
            crate::storage::atomic_file::replace(&path.with_extension("json"), b"mark").unwrap();
            marks.push((key, mark));
        }
        writer.push(&Key::Int(key), key as u64)?;
    }
    writer.begin_section("q", 2)?;
    writer.finish()
}

fn rows(path: &Path) -> (u64, Vec<RowEntry>) {
    (DigestFileReader::open(path).unwrap().unwrap().round(), read_all(path).unwrap())
}

#[test]
fn the_old_file_or_the_new_one_is_there_after_a_death_at_any_step() {
    for fault in FileFault::DEATHS {
        for n in 1.. {
            let (folder, faults) = (folder(), Faults::install());
            let path = folder.path().join("1.rows");
            write(&path, 10);
            let old = rows(&path);
            let mut marks = Marks::new();
            faults.at_file_step(n, fault);
            let life = faults.process(|| build(&path, &mut marks).unwrap());
            let at = format!("{fault:?} at step {n}: {:?}", faults.trace().last());
            if life.is_ok() {
                faults.lose_power();
                assert_eq!(rows(&path).0, 8);
                assert!(n > 8, "{at}");
                break;
            }
            let found = rows(&path);
            if found.0 == 8 {
                assert_eq!(found.1.len(), ROWS as usize, "{at}");
                continue;
            }
            assert_eq!(found, old, "{at}");
            build(&path, &mut marks).unwrap_or_else(|error| panic!("{at}: {error}"));
            let (round, entries) = rows(&path);
            let expected = (0..ROWS).map(|key| RowEntry { key: Key::Int(key), digest: Some(key as u64) });
            assert_eq!((round, entries), (8, expected.collect()), "{at}");
        }
    }
}

#[test]
fn an_error_at_any_step_names_the_file_and_leaves_the_old_one() {
    for fault in FileFault::ERRORS {
        for n in 1.. {
            let (folder, faults) = (folder(), Faults::install());
            let path = folder.path().join("1.rows");
            write(&path, 10);
            let old = rows(&path);
            let mut marks = Marks::new();
            let build_beside = |marks: &mut Marks| {
                let mut writer = DigestFileWriter::create(&path, 8)?;
                writer.begin_section("p", 1)?;
                (0..ROWS).try_for_each(|key| writer.push(&Key::Int(key), 1))?;
                marks.push((ROWS, writer.sync()?));
                writer.begin_section("q", 2)?;
                writer.finish()
            };
            faults.at_file_step(n, fault);
            let outcome = build_beside(&mut marks);
            if !faults.has_struck() {
                outcome.unwrap();
                break;
            }
            faults.clear();
            let (error, at) = (outcome.unwrap_err().to_string(), format!("{fault:?} at {:?}", faults.trace().last()));
            let named = error.contains("1.rows: cannot be") || error.contains("1.building: cannot be written");
            assert!(named, "{at}: {error}");
            assert!(rows(&path) == old || faults.trace().last().unwrap().starts_with("sync folder"), "{at}");
            build_beside(&mut marks).unwrap();
            assert_eq!(rows(&path).0, 8, "{at}");
        }
    }
}
