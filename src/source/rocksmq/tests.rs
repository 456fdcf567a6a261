use super::*;
use crate::domain::Body;
use crate::source::decode::testing::rocksmq_value;

/// While nobody reads, the source writes and restarts: its memtable is in a file then, and its next message in a
/// new memtable.
#[test]
fn a_restart_of_the_source_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let channel = Channel::new("by-dev-rootcoord-dml_0");
    let source = || {
        let mut options = Options::default();
        options.create_if_missing(true);
        DB::open(&options, folder.path().join("log")).unwrap()
    };
    let put = |db: &DB, ids: Range<u64>| {
        ids.for_each(|id| db.put(keys::of(&channel, Position::at(id)), [0; 10]).unwrap());
    };
    let db = source();
    put(&db, 11..14);
    let log = RocksMq::open(&folder.path().join("log"), &folder.path().join("own"), IdleTicks::by(|| None)).unwrap();
    let read = |next| {
        assert_eq!(log.refresh().unwrap(), Refreshed::Changed);
        let mut passage = Passage::default();
        assert_eq!(
            log.collect(CollectRequest { channel: &channel, next, max_bytes: usize::MAX }, &mut passage).unwrap(),
            ReadEnd::AtTail
        );
        passage.messages.iter().map(|(position, _)| position.number()).collect::<Vec<_>>()
    };
    assert_eq!(read(ReadFrom::First), [11, 12, 13]);
    put(&db, 14..16);
    assert_eq!(read(ReadFrom::After(Position::at(13))), [14, 15]);
    put(&db, 16..19);
    drop(db);
    let db = source();
    put(&db, 19..21);
    assert_eq!(read(ReadFrom::After(Position::at(15))), [16, 17, 18, 19, 20]);
    put(&db, 21..22);
    assert_eq!(read(ReadFrom::After(Position::at(20))), [21]);
    put(&db, 22..23);
    assert_eq!(read(ReadFrom::At(Position::at(14))), [14, 15, 16, 17, 18, 19, 20, 21, 22], "who goes back");
    put(&db, 23..24);
    assert_eq!(read(ReadFrom::After(Position::at(14)))[..5], [15, 16, 17, 18, 19]);
}

#[test]
fn a_log_that_lacks_what_was_read_but_not_what_came_before_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (channel, other) = (Channel::new("by-dev-rootcoord-dml_0"), Channel::new("by-dev-rootcoord-dml_1"));
    let mut options = Options::default();
    options.create_if_missing(true);
    let db = DB::open(&options, &path).unwrap();
    (11..14).for_each(|id| db.put(keys::of(&channel, Position::at(id)), [0; 10]).unwrap());
    (1..5).for_each(|id| db.put(keys::of(&other, Position::at(id)), [0; 10]).unwrap());
    let log = RocksMq::open(&path, &folder.path().join("own"), IdleTicks::by(|| None)).unwrap();
    let tick = |id| ReadTick { position: Position::at(id), time: Timestamp(id) };
    let is_rolled_back = |id| log.is_rolled_back(&channel, tick(id)).unwrap();
    assert!(!is_rolled_back(11) && !is_rolled_back(13));
    assert!(is_rolled_back(14), "it ends before");
    db.put(keys::of(&channel, Position::at(20)), [0; 10]).unwrap();
    assert!(is_rolled_back(14), "and went on since");
    assert!(!is_rolled_back(10), "retention has removed it");
    assert!(!log.is_rolled_back(&Channel::new("by-dev-rootcoord-dml_2"), tick(3)).unwrap(), "made anew");
}

#[test]
fn a_log_whose_folder_goes_or_goes_back_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (path, own, backup) = (folder.path().join("log"), folder.path().join("own"), folder.path().join("backup"));
    let mut options = Options::default();
    options.create_if_missing(true);
    let write = |path: &Path| DB::open(&options, path).unwrap().put(b"a", b"b").unwrap();
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    write(&path);
    copy(&path, &backup);
    (0..3).for_each(|_| write(&path));
    let log = RocksMq::open(&path, &own, IdleTicks::by(|| None)).unwrap();
    assert_eq!(log.refresh().unwrap(), Refreshed::Changed);
    write(&path);
    assert_eq!(log.refresh().unwrap(), Refreshed::Changed, "the source was restarted");
    // In the same folder, with the same identity.
    for file in std::fs::read_dir(&path).unwrap().map(Result::unwrap) {
        if file.file_name() != "IDENTITY" && file.file_name() != "LOCK" {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    copy(&backup, &path);
    assert_eq!(log.refresh().unwrap(), Refreshed::Replaced, "an older copy of it");
    let log = RocksMq::open(&path, &own, IdleTicks::by(|| None)).unwrap();
    assert_eq!(log.refresh().unwrap(), Refreshed::Changed);
    std::fs::remove_dir_all(&path).unwrap();
    assert_eq!(log.refresh().unwrap(), Refreshed::Replaced);
    let missing = RocksMq::open(&path, &own, IdleTicks::by(|| None)).err().unwrap().to_string();
    assert!(missing.contains("restart the source"), "{missing}");
}

/// Milvus 2.5, then 2.6 in its place: a tick of each, and nothing behind them.
#[test]
fn an_upgraded_source_goes_on_and_idles_by_its_clock() {
    let folder = tempfile::tempdir().unwrap();
    let channel = Channel::new("by-dev-rootcoord-dml_0");
    let mut options = Options::default();
    options.create_if_missing(true);
    let db = DB::open(&options, folder.path().join("log")).unwrap();
    let put = |id, value: &[u8]| db.put(keys::of(&channel, Position::at(id)), value).unwrap();
    put(11, &[0x0a, 0x05, 0x08, 0xb0, 0x09, 0x18, 0x07]);
    let idle = IdleTicks::by(|| Some(Timestamp::at_ms(5000)));
    let log = RocksMq::open(&folder.path().join("log"), &folder.path().join("own"), idle).unwrap();
    let read = |next| {
        let mut read = Vec::new();
        let end = log.read(&channel, next, usize::MAX, &mut |record| {
            assert!(matches!(record.body, Body::Tick { .. }), "{record:?}");
            read.push((record.position.number(), record.end));
        });
        assert_eq!(end.unwrap(), ReadEnd::AtTail);
        read
    };
    assert_eq!(log.refresh().unwrap(), Refreshed::Changed);
    assert_eq!(read(ReadFrom::First), [(11, Timestamp(7))]);
    assert_eq!(log.refresh().unwrap(), Refreshed::Unchanged, "2.5 ticks by itself");
    put(12, &rocksmq_value(&[("_v", "1"), ("_t", "1"), ("_tt", "z"), ("_lcs", "")], b""));
    assert_eq!(log.refresh().unwrap(), Refreshed::Changed);
    assert_eq!(read(ReadFrom::After(Position::at(11))), [(12, Timestamp(35))]);
    assert_eq!(log.refresh().unwrap(), Refreshed::Changed, "for the sake of time");
    let all = ReadFrom::After(Position::at(12));
    assert_eq!(read(all), [(12, Timestamp::at_ms(4000))]);
    assert_eq!((log.refresh().unwrap(), read(all)), (Refreshed::Unchanged, vec![]));
}

#[test]
fn a_large_message_holds_nothing_but_itself() {
    let mut passage = Passage::default();
    let values = [vec![1; 17], vec![2; 5_000_000], vec![3; SMALL - 1]];
    for (at, value) in (1..).zip(&values) {
        passage.add(Position::at(at), value);
    }
    assert_eq!((passage.bytes, passage.buffer.len()), (5_000_016 + SMALL, 16 + SMALL));
    let bytes = Bytes::from(passage.buffer);
    let read = passage.messages.into_iter().map(|(position, stored)| (position, stored.message(&bytes)));
    let expected = (1..).zip(values).map(|(at, value)| (Position::at(at), Bytes::from(value)));
    assert_eq!(read.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}
