//! A target that is put back to an earlier state. It is a FAKE ([`FakeMilvus`]); the same with real servers stands in
//! `tests/e2e/test_identity.py`.

use super::*;
use crate::domain::{CollectionName, Mark};
use crate::failpoint::walk::folder;
use crate::failpoint::{CallFault, Faults};
use crate::milvus::Cancel;
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};

fn context() -> CallContext {
    CallContext { timeout: Duration::from_secs(1), cancel: Cancel::default() }
}

fn row(key: i64) -> WitnessRow {
    WitnessRow::new(&RowLocation::within(&CollectionName::new("default", "c"), ""), format!("id in [{key}]"))
}

fn look(past: &TargetPast, client: &Client) -> Result<Option<String>, SealedError> {
    past.look(client, || Some(find_missing(client, &context()).map_err(CatalogError::Target)))
}

#[test]
fn what_a_task_has_written_is_looked_for_after_a_loss_and_by_the_next_process() {
    let (faults, server, folder) = (Faults::install(), FakeMilvus::new(Repeats::Succeed), folder());
    server.put("default", "c", FakeCollection { id: 70, ..FakeCollection::default() });
    let (client, past) = (server.client("target:1"), TargetPast::open(folder.path()).unwrap());
    let asked = || faults.trace().iter().filter(|call| *call == "Query").count();
    look(&past, &client).unwrap();
    client.witnesses().wrote(row(1));
    look(&past, &client).unwrap();
    assert_eq!(asked(), 0, "nothing was lost");
    past.leave(&client).unwrap();
    let (client, past) = (server.client("target:1"), TargetPast::open(folder.path()).unwrap());
    assert_eq!(look(&past, &client).unwrap(), None, "it may not be shown yet");
    assert_eq!((asked(), client.witnesses().rows()), (1, vec![row(1)]));
    faults.at_call("DropCollection", 1, CallFault::Unreachable);
    let name = CollectionName::new("default", "c");
    client.marked(Mark::OF_NO_COLLECTION).drop_collection(&name, &context()).unwrap_err();
    assert!(client.witnesses().rows().is_empty(), "it may have been carried out");
}

#[test]
fn a_target_stays_restored_until_the_task_has_taken_note() {
    let (server, folder) = (FakeMilvus::new(Repeats::Succeed), folder());
    let client = server.client("target:1");
    let path = folder.path().join("target_rows.json");
    let why = restored(&client, &row(1));
    let found = StoredPast { rows: Vec::new(), restored: Some(why.clone()) };
    sealed_file::save(&path, FORMAT, VERSION, &found).unwrap();
    for _ in 0..2 {
        let past = TargetPast::open(folder.path()).unwrap();
        assert_eq!(look(&past, &client).unwrap().as_ref(), Some(&why));
        past.leave(&client).unwrap();
    }
    TargetPast::open(folder.path()).unwrap().settled(&client).unwrap();
    assert_eq!(look(&TargetPast::open(folder.path()).unwrap(), &client).unwrap(), None);
}
