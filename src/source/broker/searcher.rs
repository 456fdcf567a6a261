//! Connections for searches, apart from those of the reader and closed again soon: an answer must not wait behind
//! messages.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the connections are kept without being used.
const KEPT: Duration = Duration::from_secs(20);

/// A searcher that is made when it is needed. Searches take turns.
pub(in crate::source) struct SearcherSlot<S> {
    kept: Mutex<Option<KeptSearcher<S>>>,
}

struct KeptSearcher<S> {
    searcher: S,
    used: Instant,
}

impl<S> Default for SearcherSlot<S> {
    fn default() -> SearcherSlot<S> {
        SearcherSlot { kept: Mutex::new(None) }
    }
}

impl<S> SearcherSlot<S> {
    /// Searches, with a searcher that `make` makes unless there is one.
    ///
    /// # Errors
    /// Those of the two functions.
    pub(in crate::source) fn search<T, E>(
        &self,
        make: impl FnOnce() -> Result<S, E>,
        search: impl FnOnce(&mut S) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut slot = self.kept.lock();
        let kept = match &mut *slot {
            Some(kept) => kept,
            none => none.insert(KeptSearcher { searcher: make()?, used: Instant::now() }),
        };
        let outcome = search(&mut kept.searcher);
        kept.used = Instant::now();
        outcome
    }

    /// Closes the connections of a searcher that has not been used for a while. Never waits for a search.
    pub(in crate::source) fn close_idle(&self) {
        if let Some(mut slot) = self.kept.try_lock()
            && slot.as_ref().is_some_and(|kept| kept.used.elapsed() > KEPT)
        {
            *slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_searcher_is_closed() {
        let slot = SearcherSlot::default();
        let search = || slot.search(|| Ok::<_, ()>(0), |uses| Ok((*uses += 1, *uses).1)).unwrap();
        assert_eq!((search(), search()), (1, 2), "kept");
        slot.close_idle();
        assert_eq!(search(), 3);
        slot.kept.lock().as_mut().unwrap().used -= KEPT * 2;
        slot.close_idle();
        assert_eq!(search(), 1, "made anew");
        assert_eq!(slot.search(|| Ok(0), |_| Err::<(), _>("no")), Err("no"));
    }
}
