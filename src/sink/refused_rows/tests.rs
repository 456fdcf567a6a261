use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::milvus::field_data::testing::longs;

pub(super) fn row(collection_id: i64, key: i64) -> RefusedRow {
    RefusedRow {
        number: 0,
        collection_id,
        target: "d.c".into(),
        partition: "p".into(),
        key: key.to_string(),
        channel: "dml_0".into(),
        timestamp: 7,
        since_ms: 5,
        reason: "too long".into(),
    }
}

pub(super) fn columns(key: i64) -> Vec<Column> {
    vec![longs("id", &[key]), longs("version", &[1])]
}

fn keys(store: &RefusedRowsFile) -> Vec<String> {
    store.rows().into_iter().map(|row| row.key).collect()
}

#[test]
fn rows_are_found_again_with_their_columns() {
    let folder = tempfile::tempdir().unwrap();
    let store = RefusedRowsFile::open(folder.path()).unwrap();
    assert!(store.rows().is_empty() && !folder.path().join(FILE).exists());
    for key in [1, 2, 1] {
        store.add(row(7, key), &columns(key)).unwrap();
    }
    assert_eq!(keys(&store), ["2", "1"], "a row that is refused again takes the place of its earlier line");
    let again = RefusedRowsFile::open(folder.path()).unwrap();
    assert_eq!((again.rows(), again.amount()), (store.rows(), store.amount()));
    let content = fs::read(folder.path().join(FILE)).unwrap();
    let last: Line = serde_json::from_slice(whole_lines(&content).last().unwrap()).unwrap();
    let decoded: Vec<Column> =
        last.columns.iter().map(|column| bytes::Bytes::from(STANDARD.decode(column).unwrap()).into()).collect();
    assert_eq!(decoded, columns(1));
    let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "rows are for the owner alone");
}

#[test]
fn a_decision_is_about_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = RefusedRowsFile::open(folder.path()).unwrap();
    [(7, 1), (8, 2), (7, 3)].into_iter().for_each(|(id, key)| store.add(row(id, key), &columns(key)).unwrap());
    let seen = store.rows().last().unwrap().number;
    store.add(row(7, 1), &columns(1)).unwrap();
    store.forget(&[CollectionId(7)].into(), seen).unwrap();
    assert_eq!(keys(&store), ["2", "1"], "what came later stays");
    let again = RefusedRowsFile::open(folder.path()).unwrap();
    assert_eq!(again.rows(), store.rows());
    again.forget(&[CollectionId(7), CollectionId(8)].into(), u64::MAX).unwrap();
    assert!(again.rows().is_empty() && RefusedRowsFile::open(folder.path()).unwrap().rows().is_empty());
    again.add(row(7, 9), &columns(9)).unwrap();
    assert_eq!(keys(&RefusedRowsFile::open(folder.path()).unwrap()), ["9"]);
}

#[test]
fn a_full_file_takes_nothing_but_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let store = RefusedRowsFile::open(folder.path()).unwrap();
    (0..MAX_ROWS as i64).for_each(|key| store.add(row(7, key), &columns(key)).unwrap());
    let full = store.add(row(7, -1), &columns(-1)).unwrap_err();
    assert!(matches!(full, RefusedRowsFileError::Full { rows: MAX_ROWS, .. }) && full.to_string().contains("discard"));
    store.add(row(7, 5), &columns(5)).unwrap();
    assert_eq!(store.rows().len(), MAX_ROWS);
}

#[test]
fn stale_lines_make_room_for_large_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = RefusedRowsFile::open(folder.path()).unwrap();
    let large = || vec![longs("id", &vec![i64::MAX; 1 << 20])];
    for _ in 0..12 {
        store.add(row(7, 1), &large()).unwrap();
    }
    assert_eq!(store.rows().len(), 1);
    assert!(store.amount().bytes <= MAX_BYTES);
}

#[test]
fn only_a_torn_last_line_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    RefusedRowsFile::open(folder.path()).unwrap().add(row(7, 1), &columns(1)).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], &whole[..9]].concat()).unwrap();
    let store = RefusedRowsFile::open(folder.path()).unwrap();
    assert_eq!(keys(&store), ["1"]);
    store.add(row(7, 2), &columns(2)).unwrap();
    assert_eq!(keys(&RefusedRowsFile::open(folder.path()).unwrap()), ["1", "2"]);
    fs::write(&path, [b"{}\n", &whole[..]].concat()).unwrap();
    assert!(RefusedRowsFile::open(folder.path()).unwrap_err().to_string().contains("line 1 is damaged"));
}

#[test]
fn a_later_change_of_its_key_ends_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = RefusedRowsFile::open(folder.path()).unwrap();
    [(7, 1), (8, 1), (7, 3)].into_iter().for_each(|(id, key)| store.add(row(id, key), &columns(key)).unwrap());
    store.outdate(CollectionId(7), |key| key == "1").unwrap();
    let left: Vec<(i64, String)> = store.rows().into_iter().map(|row| (row.collection_id, row.key)).collect();
    assert_eq!(left, [(8, "1".into()), (7, "3".into())]);
    assert_eq!(RefusedRowsFile::open(folder.path()).unwrap().rows(), store.rows());
    assert!(store.has_of(CollectionId(7)) && !store.has_of(CollectionId(9)));
}
