//! Aliases that a process was changing when it died. Source and target are FAKES: it must die at one certain call.

use super::fault_tests::{Between, Case, MANNERS, cases, dies_after_each_call};
use super::*;

/// Its record has it from before the call on, and the target says whether it is there.
#[test]
fn an_alias_that_a_crash_has_hidden_is_known_when_the_source_has_changed_its_mind() {
    let aliases = |case: &Case| case.methods.iter().all(|method| method.ends_with("Alias"));
    for (case, manner) in cases().iter().filter(|case| aliases(case)).flat_map(|case| MANNERS.map(|how| (case, how))) {
        let walked = dies_after_each_call(
            || Between::of(case, manner),
            |between, n| {
                between.source.become_this(case.before.clone());
                let mut watch = between.process();
                for _ in 0..3 {
                    watch.run_round(&mut vec![Hint::Anything]).unwrap();
                }
                assert!(between.is_equal(), "{}, {manner:?}, after call {n}: {:?}", case.name, between.target.done());
            },
        );
        assert!(walked > 5, "{}", case.name);
    }
}
