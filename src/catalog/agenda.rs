/*!
What the catalog is to do next, step by step: hints and drops first, then what is new, then what else differs, and the
tours last. There is one step about each subject at most; what is wanted again meanwhile goes into it.

A step that cannot begin yet, because another one is busy with a part of it, stays where it is and keeps later ones from
what it needs. So two steps about the same object never change places, and none waits for ever.
*/

use std::collections::{BTreeMap, BTreeSet};

use super::object_locks::{CatalogObject, LockedObjects, ObjectLocks};
use super::periodic_describe::DescribeDepth;
use super::retries::RetrySubject;
use crate::domain::CollectionId;

/// How much of what was replicated is looked for on the target first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TargetLook {
    /// Nothing.
    None,
    /// The collection itself.
    Presence,
    /// Every part of it.
    Parts,
}

/// What is to be done about databases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DatabasePlan {
    /// To be created on the target.
    pub(super) wanted: BTreeSet<String>,
    /// To be dropped there if they are empty.
    pub(super) unwanted: BTreeSet<String>,
    /// Databases of the source whose properties are to be looked at.
    pub(super) looks: BTreeSet<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CatalogStep {
    /// A listed collection is described, and replicated if it differs.
    Visit {
        id: CollectionId,
        depth: DescribeDepth,
        look: TargetLook,
    },
    /// Collections are described; those that differ are visited.
    Look(BTreeSet<CollectionId>),
    /// A collection that the source has dropped goes.
    Drop(CollectionId),
    /// A collection that the source has dropped is left to the target's user.
    Keep(CollectionId),
    Databases(DatabasePlan),
    /// What was renamed instead of dropped goes when its time is over.
    DropExpired,
}

impl CatalogStep {
    /// What it is about.
    pub(super) fn subject(&self) -> RetrySubject {
        match self {
            CatalogStep::Visit { id, .. } | CatalogStep::Drop(id) | CatalogStep::Keep(id) => {
                RetrySubject::Collection(*id)
            }
            CatalogStep::Look(_) => RetrySubject::Look,
            CatalogStep::Databases(_) => RetrySubject::Databases,
            CatalogStep::DropExpired => RetrySubject::Expired,
        }
    }

    /// The one step that does what is wanted now and was wanted before.
    fn after(self, before: CatalogStep) -> CatalogStep {
        match (before, self) {
            (CatalogStep::Visit { depth: one, look: first, .. }, CatalogStep::Visit { id, depth, look }) => {
                CatalogStep::Visit { id, depth: depth.max(one), look: look.max(first) }
            }
            (CatalogStep::Look(before), CatalogStep::Look(mut now)) => {
                now.extend(before);
                CatalogStep::Look(now)
            }
            (CatalogStep::Databases(before), CatalogStep::Databases(mut now)) => {
                now.looks.extend(before.looks);
                CatalogStep::Databases(now)
            }
            (_, now) => now,
        }
    }
}

/// What goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StepPriority {
    /// Hints, drops, databases.
    Hinted,
    /// Collections that the target does not have yet.
    New,
    /// What differs, or may have been changed since the last run.
    Outdated,
    /// Nothing calls for it but its turn.
    Tour,
}

/// Where a step stands on the agenda.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StepPlace {
    pub(super) priority: StepPriority,
    number: u64,
}

/// A step on the agenda.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedStep {
    pub(super) step: CatalogStep,
    pub(super) place: StepPlace,
    /// What it was found to need beyond what shows before it begins.
    pub(super) needs: BTreeSet<CatalogObject>,
}

/// Steps that have not begun.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    waiting: BTreeMap<StepPlace, PlannedStep>,
    places: BTreeMap<RetrySubject, StepPlace>,
    /// The next place.
    next: u64,
}

/// So many steps that wait for others are passed over in search of one that can begin.
const MOST_PASSED_OVER: usize = 100;

impl Agenda {
    /// Puts a step on the agenda.
    pub(super) fn add(&mut self, step: CatalogStep, priority: StepPriority) {
        self.next += 1;
        let place = StepPlace { priority, number: self.next };
        self.put(PlannedStep { step, place, needs: BTreeSet::new() });
    }

    /// Puts a step back in its place that found another one in its way.
    pub(super) fn put_back(&mut self, planned: PlannedStep, needs: BTreeSet<CatalogObject>) {
        let subject = planned.step.subject();
        let since = self.remove(&subject);
        self.put(PlannedStep { needs: planned.needs.into_iter().chain(needs).collect(), ..planned });
        if let Some(since) = since {
            self.put(since);
        }
    }

    fn put(&mut self, mut planned: PlannedStep) {
        let subject = planned.step.subject();
        if let Some(before) = self.remove(&subject) {
            planned.place = planned.place.min(before.place);
            planned.step = planned.step.after(before.step);
            planned.needs.extend(before.needs);
        }
        self.places.insert(subject, planned.place);
        self.waiting.insert(planned.place, planned);
    }

    /// Takes a step off.
    pub(super) fn remove(&mut self, subject: &RetrySubject) -> Option<PlannedStep> {
        let place = self.places.remove(subject)?;
        self.waiting.remove(&place)
    }

    /// Takes the first step that can begin. `objects`: what a step needs from the start; `None` while steps of its kind
    /// have no room.
    pub(super) fn next(
        &mut self,
        locks: &ObjectLocks,
        objects: impl Fn(&PlannedStep) -> Option<BTreeSet<CatalogObject>>,
    ) -> Option<(PlannedStep, LockedObjects)> {
        let mut kept: BTreeSet<CatalogObject> = BTreeSet::new();
        let (mut begins, mut passed_over) = (None, 0);
        for planned in self.waiting.values() {
            let Some(mut needed) = objects(planned) else { continue };
            needed.extend(planned.needs.iter().cloned());
            if !needed.iter().any(|object| kept.iter().any(|other| other.overlaps(object)))
                && let Ok(locked) = locks.try_lock(needed.clone())
            {
                begins = Some((planned.step.subject(), locked));
                break;
            }
            kept.extend(needed);
            passed_over += 1;
            if passed_over == MOST_PASSED_OVER {
                break;
            }
        }
        let (subject, locked) = begins?;
        Some((self.remove(&subject)?, locked))
    }

    /// Whether everything has begun.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CollectionName;

    fn visit(id: i64) -> CatalogStep {
        CatalogStep::Visit { id: CollectionId(id), depth: DescribeDepth::Whole, look: TargetLook::None }
    }

    fn name(name: &str) -> CatalogObject {
        CatalogObject::Name(CollectionName::new("d", name))
    }

    /// What begins, one after the other, if nothing ends: each about itself and the names that it is given.
    fn begin(agenda: &mut Agenda, names: &[(i64, &str)], count: usize) -> Vec<(CatalogStep, LockedObjects)> {
        let locks = ObjectLocks::default();
        let objects = |planned: &PlannedStep| {
            let RetrySubject::Collection(id) = planned.step.subject() else { return Some(BTreeSet::new()) };
            let own = names.iter().filter(|(of, _)| *of == id.0).map(|(_, of)| name(of));
            Some(own.chain([CatalogObject::Collection(id)]).collect())
        };
        (0..count).map_while(|_| agenda.next(&locks, objects)).map(|(planned, locked)| (planned.step, locked)).collect()
    }

    fn steps(begun: Vec<(CatalogStep, LockedObjects)>) -> Vec<CatalogStep> {
        begun.into_iter().map(|(step, _)| step).collect()
    }

    #[test]
    fn hints_go_first_and_tours_last_each_in_the_order_in_which_they_came() {
        let mut agenda = Agenda::default();
        for (id, priority) in [
            (1, StepPriority::Tour),
            (2, StepPriority::Outdated),
            (3, StepPriority::New),
            (4, StepPriority::Outdated),
            (5, StepPriority::Hinted),
        ] {
            agenda.add(visit(id), priority);
        }
        agenda.add(visit(1), StepPriority::Hinted);
        assert_eq!(steps(begin(&mut agenda, &[], 9)), [5, 1, 3, 2, 4].map(visit));
        assert!(agenda.is_empty());
    }

    #[test]
    fn there_is_one_step_about_a_collection_which_does_all_that_is_wanted() {
        let mut agenda = Agenda::default();
        let id = CollectionId(1);
        let looks = CatalogStep::Visit { id, depth: DescribeDepth::IfChanged, look: TargetLook::Parts };
        agenda.add(looks, StepPriority::Hinted);
        agenda.add(visit(1), StepPriority::Tour);
        let both = CatalogStep::Visit { id, depth: DescribeDepth::Whole, look: TargetLook::Parts };
        assert_eq!(steps(begin(&mut agenda, &[], 9)), [both]);
        agenda.add(visit(1), StepPriority::Outdated);
        agenda.add(CatalogStep::Drop(id), StepPriority::Hinted);
        assert_eq!(steps(begin(&mut agenda, &[], 9)), [CatalogStep::Drop(id)]);
    }

    #[test]
    fn there_is_one_look_at_all_whose_turn_it_is() {
        let (mut agenda, look) =
            (Agenda::default(), |ids: &[i64]| CatalogStep::Look(ids.iter().map(|id| CollectionId(*id)).collect()));
        agenda.add(look(&[1, 2]), StepPriority::Tour);
        agenda.add(visit(2), StepPriority::Tour);
        agenda.add(look(&[2, 3]), StepPriority::Tour);
        assert_eq!(steps(begin(&mut agenda, &[], 9)), [look(&[1, 2, 3]), visit(2)]);
    }

    #[test]
    fn a_step_that_must_wait_keeps_its_place_and_what_it_needs() {
        let (mut agenda, names) = (Agenda::default(), [(1, "a"), (2, "b"), (3, "a"), (3, "b"), (4, "b"), (5, "c")]);
        (1..=5).for_each(|id| agenda.add(visit(id), StepPriority::New));
        // The fourth has a name in common with the third, which waits for the first two.
        assert_eq!(steps(begin(&mut agenda, &names, 3)), [visit(1), visit(2), visit(5)]);
        assert_eq!(steps(begin(&mut agenda, &names, 9)), [visit(3)]);
        assert_eq!(steps(begin(&mut agenda, &names, 9)), [visit(4)]);
    }

    #[test]
    fn what_is_put_back_goes_first_again_with_what_it_was_found_to_need() {
        let mut agenda = Agenda::default();
        (1..=3).for_each(|id| agenda.add(visit(id), StepPriority::New));
        let (first, locked) = agenda.next(&ObjectLocks::default(), |_| Some(BTreeSet::new())).unwrap();
        drop(locked);
        // A hint about it came meanwhile.
        agenda.add(visit(1), StepPriority::New);
        agenda.put_back(first, [name("b")].into());
        let begun = begin(&mut agenda, &[(2, "b")], 9);
        assert_eq!(steps(begun), [visit(1), visit(3)], "the second waits for the name");
    }

    #[test]
    fn steps_without_room_keep_nothing_from_others() {
        let mut agenda = Agenda::default();
        (1..=2).for_each(|id| agenda.add(visit(id), StepPriority::Tour));
        let begun = agenda.next(&ObjectLocks::default(), |planned| (planned.step == visit(2)).then(BTreeSet::new));
        assert_eq!(begun.map(|(planned, _)| planned.step), Some(visit(2)));
    }
}
