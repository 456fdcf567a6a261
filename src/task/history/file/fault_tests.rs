use super::*;
use crate::failpoint::walk::folder;
use crate::failpoint::{Faults, FileFault};

fn event(number: u64) -> HistoryEvent {
    let at = UNIX_EPOCH + Duration::from_millis(number);
    HistoryEvent { first: at, last: at, count: 1, kind: EventKind::ALL[0], text: format!("event {number}") }
}

/// Five events, written one by one; how many calls have said that theirs is written.
fn tell(path: &Path, written: &mut usize) -> io::Result<()> {
    let (mut events, mut file) = EventFile::open(path);
    for number in events.len()..5 {
        events.push_back(event(number as u64));
        file.added(&events)?;
        *written = number + 1;
    }
    Ok(())
}

fn texts(path: &Path) -> Vec<String> {
    EventFile::open(path).0.into_iter().map(|event| event.text).collect()
}

fn first(count: usize) -> Vec<String> {
    (0..count as u64).map(|number| event(number).text).collect()
}

/// Without `fsync` for each: what a power failure takes is missed by people only. What is there is right.
#[test]
fn the_events_up_to_the_last_or_the_one_before_are_there_after_a_death_at_any_step() {
    for fault in FileFault::DEATHS {
        for n in 1.. {
            let (folder, faults) = (folder(), Faults::install());
            let path = folder.path().join("events.jsonl");
            let mut written = 0;
            faults.at_file_step(n, fault);
            let life = faults.process(|| tell(&path, &mut written).unwrap());
            if life.is_ok() {
                assert_eq!(texts(&path), first(5));
                assert!(n > 5);
                break;
            }
            let (found, at) = (texts(&path), format!("{fault:?} at {:?}", faults.trace().last()));
            let survivor = matches!(fault, FileFault::Crash | FileFault::CrashHalfway);
            let least = if survivor { written } else { written.min(1) };
            assert!((least..=written + 1).contains(&found.len()), "{at}: {found:?}");
            assert_eq!(found, first(found.len()), "{at}");
            tell(&path, &mut written).unwrap();
            assert_eq!(texts(&path), first(5), "{at}");
        }
    }
}

#[test]
fn an_event_that_cannot_be_written_is_written_with_the_next_one() {
    for fault in FileFault::ERRORS {
        for n in 1.. {
            let (folder, faults) = (folder(), Faults::install());
            let path = folder.path().join("events.jsonl");
            let (mut events, mut file) = EventFile::open(&path);
            faults.at_file_step(n, fault);
            for number in 0..5 {
                events.push_back(event(number));
                let _ = file.added(&events);
            }
            let has_struck = faults.has_struck();
            faults.clear();
            events.push_back(event(5));
            file.added(&events).unwrap();
            assert_eq!(texts(&path), first(6), "{fault:?} at step {n}");
            if !has_struck {
                break;
            }
        }
    }
}
