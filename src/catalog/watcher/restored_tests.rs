//! What a look at the target brings back, and whom it does not hold up. Source and target are FAKES
//! ([`FakeMilvus`](crate::milvus::fake::FakeMilvus)): a target must have an earlier state, and one certain call fail.

use super::fault_tests::{Between, Case, collection, world};
use super::*;
use crate::domain::CollectionId;
use crate::failpoint::{CallFault, Faults};
use crate::milvus::fake::Repeats;

/// The collection keeps its id there, so nothing but a look at its parts tells.
#[test]
fn a_field_that_a_restored_target_lacks_is_added_again() {
    let before = collection(1, "books");
    let mut after = before.clone();
    let mut more = before.schema.fields[1].clone();
    (more.fieldID, more.name) = (102, "more".into());
    after.schema.fields.push(more);
    let case =
        Case { name: "field", before: world([("default", before)]), after: world([("default", after)]), methods: &[] };
    let between = Between::of(&case, Repeats::AreRefused);
    between.converge("at first");
    let mut backup = between.target.collections();
    backup.get_mut("default").unwrap().get_mut("books").unwrap().schema.fields.pop();
    between.target.become_this(backup);
    let mut watch = between.process();
    watch.run_round(&mut vec![Hint::TargetDrift(CollectionId(1))]).unwrap();
    assert!(between.is_equal(), "{:?}", between.target.done());
}

#[test]
fn a_collection_whose_imports_may_not_be_asked_for_hides_those_of_no_other() {
    let both = || world([("default", collection(1, "a")), ("default", collection(2, "b"))]);
    let case = Case { name: "imports", before: both(), after: both(), methods: &[] };
    let (faults, between) = (Faults::install(), Between::of(&case, Repeats::Succeed));
    let mut watch = between.process();
    watch.run_round(&mut vec![]).unwrap();
    between.source.imported(5, "b");
    let call = CallContext { timeout: CALL_TIMEOUT, cancel: Cancel::default() };
    let mut imports = ImportWatch::open(between.path(), between.source.client("source:1"), &call).unwrap();
    // After that of all: what belongs to `a`.
    faults.at_call("ListImportTasks", 2, CallFault::Refused(1100));
    imports.look(&watch).unwrap();
    assert!(faults.has_struck());
    let asked = faults.trace().iter().any(|method| *method == "GetQuerySegmentInfo");
    assert!(asked, "whether the rows of `b` are there: {:?}", faults.trace());
}
