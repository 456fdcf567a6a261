//! What the catalog's calls bear, and what it makes of marks. Source and target are FAKES
//! ([`FakeMilvus`](crate::milvus::fake::FakeMilvus)).

use super::fault_tests::{Between, Case, cases};
use super::*;
use crate::domain::{CollectionId, CollectionRef, Mark};
use crate::milvus::fake::Repeats;

/// So whoever reads the target's log knows it for ours.
#[test]
fn every_step_bears_the_mark_of_the_sources_collection() {
    for case in &cases() {
        let between = Between::of(case, Repeats::Succeed);
        between.converge(case.name);
        between.assert_all_is_ours(case.name);
        let marked = between.target.marked();
        for method in case.methods {
            assert!(marked.iter().any(|(marked, _)| marked == method), "{}: {method} in {marked:?}", case.name);
        }
        let ids: Vec<i64> = [&case.before, &case.after]
            .into_iter()
            .flat_map(|world| world.values().flat_map(|names| names.values().map(|collection| collection.id)))
            .collect();
        for (method, mark) in marked {
            let of_database = method.ends_with("Database");
            let of_collection = ids.iter().any(|id| mark.is_of(CollectionId(*id)));
            assert_eq!(of_collection, !of_database, "{}: {method} bears {mark:?}", case.name);
        }
    }
}

/// The request stands in the source's log because another direction brought it there.
#[test]
fn a_release_that_came_from_the_target_is_no_wish_of_a_user() {
    let is_release = |case: &Case| case.methods == ["ReleaseCollection"];
    let case = cases().into_iter().find(is_release).unwrap();
    let between = Between::of(&case, Repeats::Succeed);
    let there = CollectionId(between.target.collections()["default"]["books"].id);
    let mut watch = between.process_that_releases_after(Duration::from_secs(3600));
    let mut release = |mark: Option<Mark>| {
        let collection = CollectionRef::Id(CollectionId(1));
        for _ in 0..3 {
            watch.run_round(&mut vec![Hint::Release { collection: collection.clone(), mark }]).unwrap();
        }
        between.target.collections()["default"]["books"].is_loaded
    };
    assert!(release(Some(Mark::of_catalog(there))));
    assert!(!release(Some(Mark::of_catalog(CollectionId(there.0 + 1)))), "that of a third server is handed on");
}
