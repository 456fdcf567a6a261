use std::fs;

use crossbeam_channel::bounded;
use rustix::io::Errno;

use super::{Faults, FileFault, HandOver, HandOverFault};
use crate::observe::thread::ThreadSpec;
use crate::storage::atomic_file::replace;

#[test]
fn the_nth_step_fails_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let faults = Faults::install();
    replace(&path, b"old").unwrap();
    faults.at_file_step(3, FileFault::Fails(Errno::NOSPC));
    assert_eq!(replace(&path, b"new").unwrap_err().raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    assert!(faults.has_struck());
    assert_eq!(fs::read(&path).unwrap(), b"old");
    replace(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_full_disk_stays_full_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::install();
    faults.at_every_file_step(FileFault::Fails(Errno::NOSPC));
    for _ in 0..3 {
        replace(&folder.path().join("a"), b"x").unwrap_err();
    }
    faults.clear();
    replace(&folder.path().join("a"), b"x").unwrap();
}

#[test]
fn a_dead_process_does_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    struct WritesAtItsEnd<'a>(&'a std::path::Path);
    impl Drop for WritesAtItsEnd<'_> {
        fn drop(&mut self) {
            let _ = replace(self.0, b"after death");
        }
    }
    let faults = Faults::install();
    faults.at_file_step(1, FileFault::Crash);
    let life = || {
        let _at_its_end = WritesAtItsEnd(&two);
        replace(&one, b"x")
    };
    faults.process(life).unwrap_err();
    assert!(!one.exists() && !two.exists());
    faults.process(life).unwrap().unwrap();
    assert!(one.exists() && two.exists(), "the next process lives");
}

/// What a program without `fsync` would lose is lost here, too.
#[test]
fn a_power_failure_takes_what_was_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let write = |content: &str| {
        use std::io::Write as _;
        let options = fs::OpenOptions::new().write(true).create(true).truncate(true).clone();
        let mut file = crate::storage::disk::DiskFile::open(&path, &options).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    };
    let faults = Faults::install();
    write("x").sync().unwrap();
    faults.lose_power();
    assert!(!path.exists(), "its folder was not synced");
    write("x").sync().unwrap();
    replace(&folder.path().join("b"), b"y").unwrap();
    faults.lose_power();
    assert_eq!(fs::read(&path).unwrap(), b"x", "the folder was synced with another file of it");
    write("longer");
    faults.at_file_step(1, FileFault::ContentLoss);
    faults.process(|| replace(&path, b"z")).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"");
    replace(&path, b"for good").unwrap();
    faults.lose_power();
    assert_eq!(fs::read(&path).unwrap(), b"for good");
}

#[test]
fn half_of_a_write_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let faults = Faults::install();
    let halves = (1..).map_while(|n| {
        faults.at_file_step(n, FileFault::CrashHalfway);
        let outcome = faults.process(|| replace(&path, b"whole"));
        let temporary = fs::read(folder.path().join("a.tmp")).unwrap_or_default();
        outcome.is_err().then_some(temporary)
    });
    assert_eq!(halves.filter(|content| content == b"wh").count(), 1);
    assert_eq!(fs::read(&path).unwrap(), b"whole");
}

#[test]
fn another_test_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::install();
    faults.at_every_file_step(FileFault::Fails(Errno::IO));
    let path = folder.path().join("a");
    let other = path.clone();
    std::thread::spawn(move || replace(&other, b"x")).join().unwrap().unwrap();
    replace(&path, b"x").unwrap_err();
    drop(faults);
    replace(&path, b"x").unwrap();
}

#[test]
fn a_hand_over_waits_fails_or_dies() {
    let faults = Faults::install();
    let (sender, receiver) = bounded(9);
    faults.at_hand_over(HandOver::SinkReport, 2, HandOverFault::Closed);
    for (channel, value) in [(HandOver::SinkReport, 1), (HandOver::SinkCall, 2), (HandOver::SinkReport, 3)] {
        assert_eq!(channel.send(&sender, value).is_ok(), value != 3);
    }
    faults.at_hand_over(HandOver::Page, 1, HandOverFault::Crash);
    faults.process(|| HandOver::Page.send(&sender, 4)).unwrap_err();
    let gate = faults.pause_at(HandOver::LogEvent, 1);
    let below = ThreadSpec::of_server("below").spawn(move || HandOver::LogEvent.send(&sender, 5)).unwrap();
    gate.wait_until_reached();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
    gate.open();
    below.join().unwrap().unwrap();
    assert_eq!(receiver.recv(), Ok(5));
}
