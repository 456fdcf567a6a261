use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::Mark;
use crate::failpoint::{CallFault, Faults};
use crate::milvus::Cancel;
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};
use crate::milvus::field_data::testing::longs;
use crate::pipeline::testing;

/// A FAKE target with a collection `default.c` that has autoID and takes given keys, with rows of these keys.
fn target(keys: &[i64]) -> Arc<FakeMilvus> {
    let target = FakeMilvus::new(Repeats::Succeed);
    let mut collection = FakeCollection::default();
    collection.set_rows(keys.iter().map(|&key| (key, 0)));
    target.put("default", "c", collection);
    target.generate_keys("default", "c");
    target
}

fn rows(keys: &[i64]) -> WriteRequest {
    let place = RowLocation { db: "default".into(), collection: "c".into(), partition: String::new() };
    WriteRequest::new(&place, vec![longs("id", keys), longs("value", keys)], keys.len())
}

fn write(target: &Arc<FakeMilvus>, write: Write, keys: &[i64]) -> Result<(), WriteError> {
    with_writer(target, None, |writer| writer.write(write, &rows(keys)))
}

fn with_writer<T>(target: &Arc<FakeMilvus>, refused: Option<RefusalOutlet>, act: impl FnOnce(&Writer) -> T) -> T {
    let client = target.client("target:1");
    let context = CallContext { timeout: Duration::from_secs(1), cancel: Cancel::default() };
    let collection = WritableCollection { replacement: Replacement::DeleteAndInsert, ..testing::collection() };
    let client = client.marked(Mark::OF_NO_COLLECTION);
    act(&Writer { client, context: &context, collection: &collection, refused })
}

/// Keys on the target, and how many rows each has.
fn counts(target: &FakeMilvus) -> BTreeMap<i64, usize> {
    target.collections()["default"]["c"].rows.iter().map(|(&key, rows)| (key, rows.len())).collect()
}

#[test]
fn rows_keep_their_keys_where_an_upsert_would_give_them_new_ones() {
    let target = target(&[1, 2]);
    write(&target, Write::Upsert, &[2, 3]).unwrap();
    assert_eq!(target.done(), ["delete id in [2,3]", "insert [2, 3]"]);
    assert_eq!(counts(&target), [(1, 1), (2, 1), (3, 1)].into());
    write(&target, Write::Insert, &[4]).unwrap();
    assert_eq!(target.done().last().unwrap(), "insert [4]");
}

/// The caller repeats it as a replacement, whichever half had failed.
#[test]
fn a_replacement_that_is_repeated_leaves_one_row_of_each_key() {
    for (method, fault) in [
        ("Delete", CallFault::Unreachable),
        ("Delete", CallFault::AnswerLost),
        ("Insert", CallFault::Unreachable),
        ("Insert", CallFault::AnswerLost),
    ] {
        let (faults, target) = (Faults::install(), target(&[1, 2]));
        faults.at_call(method, 1, fault);
        write(&target, Write::Upsert, &[2, 3]).unwrap_err();
        write(&target, Write::Upsert, &[2, 3]).unwrap();
        assert_eq!(counts(&target), [(1, 1), (2, 1), (3, 1)].into(), "{fault:?} at {method}");
    }
}

#[test]
fn an_insert_of_which_nobody_knows_is_repeated_as_a_replacement() {
    let (faults, target) = (Faults::install(), target(&[]));
    faults.at_call("Insert", 1, CallFault::AnswerLost);
    let error = write(&target, Write::Insert, &[1]).unwrap_err();
    assert!(!error.is_without_effect(), "{error}");
    write(&target, Write::Upsert, &[1]).unwrap();
    assert_eq!(counts(&target), [(1, 1)].into());
}

/// The call is let in as a whole, and refused for its size: what follows meets the limit.
#[test]
fn a_half_waits_for_the_targets_limit() {
    let (faults, target) = (Faults::install(), target(&[]));
    faults.at_call("Insert", 1, CallFault::TooLarge);
    for call in [2, 4] {
        faults.at_call("Insert", call, CallFault::RateLimited(1_000_000));
    }
    write(&target, Write::Insert, &[1, 2, 3, 4]).unwrap();
    assert_eq!(counts(&target), [(1, 1), (2, 1), (3, 1), (4, 1)].into());
    assert_eq!(target.done(), ["insert [1, 2]", "insert [3, 4]"]);
}

#[test]
fn a_milvus_lite_is_truncated_key_by_key() {
    for (version, is_by_keys) in [("milvus_lite-3.2.2", true), ("2.6.20", false)] {
        let target = target(&[1, 2]);
        target.tells_version(version);
        let outcome = with_writer(&target, None, |writer| writer.truncate(rows(&[]).place(), &writer.collection.key));
        let is_deleted = target.done().iter().any(|step| step.starts_with("delete"));
        assert_eq!(is_deleted, is_by_keys, "{version}: {outcome:?}, {:?}", target.done());
    }
}

/// Whoever writes the file to the target must not bring back what the source has changed since.
#[test]
fn a_row_that_is_set_aside_ends_with_the_next_change_of_its_key() {
    let (faults, target) = (Faults::install(), target(&[]));
    let folder = tempfile::tempdir().unwrap();
    let file = RefusedRowsFile::open(folder.path()).unwrap();
    let outlet = || Some(RefusalOutlet { file: &file, channel: "", latest: Timestamp(0) });
    let set_aside = || file.rows().into_iter().map(|row| row.key).collect::<Vec<_>>();
    for key in 1..=4_i64 {
        faults.at_call("Insert", 1, CallFault::Refused(1100));
        with_writer(&target, outlet(), |writer| writer.write(Write::Insert, &rows(&[key]))).unwrap();
    }
    assert_eq!(set_aside(), ["1", "2", "3", "4"]);
    with_writer(&target, outlet(), |writer| writer.write(Write::Insert, &rows(&[2, 9]))).unwrap();
    assert_eq!(set_aside(), ["1", "3", "4"]);
    let place = rows(&[]).place().clone();
    with_writer(&target, outlet(), |writer| writer.delete(&place, "id", &Keys::Int(vec![1, 8]))).unwrap();
    assert_eq!(set_aside(), ["3", "4"]);
    with_writer(&target, outlet(), |writer| writer.truncate(&place, &writer.collection.key)).unwrap();
    assert!(set_aside().is_empty());
}

/// The source does not have the old row any more; whoever applies the file puts the new one in its place.
#[test]
fn a_row_that_is_refused_as_a_replacement_is_set_aside_and_its_old_one_is_gone() {
    let (faults, target) = (Faults::install(), target(&[1, 2, 3]));
    let folder = tempfile::tempdir().unwrap();
    let file = RefusedRowsFile::open(folder.path()).unwrap();
    let outlet = RefusalOutlet { file: &file, channel: "", latest: Timestamp(0) };
    // All of them; the first half; the first of it.
    (1..=3).for_each(|call| faults.at_call("Insert", call, CallFault::Refused(1100)));
    with_writer(&target, Some(outlet), |writer| writer.write(Write::Upsert, &rows(&[1, 2, 3, 4]))).unwrap();
    assert_eq!(file.rows().into_iter().map(|row| row.key).collect::<Vec<_>>(), ["1"]);
    assert_eq!(counts(&target), [(2, 1), (3, 1), (4, 1)].into(), "{:?}", target.done());
}

/// Where nothing is set aside, the collection is held: the others must not be missing meanwhile.
#[test]
fn a_row_that_is_refused_as_a_replacement_costs_no_other_one() {
    for (refused, replaced) in [([1, 2, 3], [2, 3, 4]), ([1, 3, 5], [1, 2, 3])] {
        let (faults, target) = (Faults::install(), target(&[1, 2, 3]));
        refused.into_iter().for_each(|call| faults.at_call("Insert", call, CallFault::Refused(1100)));
        let error = write(&target, Write::Upsert, &[1, 2, 3, 4]).unwrap_err();
        assert!(matches!(error, WriteError::Partly(_)), "{error:?}");
        assert_eq!(counts(&target), replaced.map(|key| (key, 1)).into(), "{:?}", target.done());
    }
}
