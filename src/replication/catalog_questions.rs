//! Questions to the catalog about single collections.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::effect::{Effect, Effects};
use crate::catalog::Hint;
use crate::domain::CollectionId;

/// How long an answer is waited for before the question is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Questions that have not been answered.
#[derive(Debug)]
pub(super) struct CatalogQuestions {
    asked: BTreeMap<CollectionId, CatalogQuestion>,
    /// The next question's number.
    next: u64,
}

/// A question about one collection.
#[derive(Debug, Clone, Copy)]
struct CatalogQuestion {
    /// Answers with a lower `generation` come from a describe issued before the question; they do not answer it.
    number: u64,
    /// When it was last asked.
    at: Instant,
}

impl Default for CatalogQuestions {
    fn default() -> Self {
        CatalogQuestions { asked: BTreeMap::new(), next: 1 }
    }
}

impl CatalogQuestions {
    /// The number that the next question will have.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Asks the catalog to describe a collection, in a describe that begins after this moment.
    pub(super) fn ask(&mut self, id: CollectionId, now: Instant, effects: &mut Effects) {
        let question = CatalogQuestion { number: self.next, at: now };
        self.next += 1;
        self.asked.insert(id, question);
        // One that finds no room is asked again.
        effects.push(Effect::Hint(Hint::Collection(id, question.number)));
    }

    pub(super) fn is_asked(&self, id: CollectionId) -> bool {
        self.asked.contains_key(&id)
    }

    /// The catalog has described a collection, after every question up to `generation`.
    pub(super) fn answered(&mut self, id: CollectionId, generation: u64) {
        if self.asked.get(&id).is_some_and(|question| question.number <= generation) {
            self.asked.remove(&id);
        }
    }

    /// The collection is gone.
    pub(super) fn forget(&mut self, id: CollectionId) {
        self.asked.remove(&id);
    }

    /// Repeats questions that were not answered.
    pub(super) fn repeat(&mut self, now: Instant, effects: &mut Effects) {
        for (id, question) in &mut self.asked {
            if now.saturating_duration_since(question.at) > ASK_AGAIN {
                question.at = now;
                effects.push(Effect::Hint(Hint::Collection(*id, question.number)));
            }
        }
    }
}
