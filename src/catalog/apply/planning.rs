/*!
What the planning of steps asks the target. Every hint, and every look at the source, waits for the answer, so a target
that stalls is waited for once, and then left alone for a while: what it says is found out later, and what the source
says is not late.
*/

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::context::TargetContext;
use crate::catalog::error::CatalogError;
use crate::milvus::{CallContext, Error};

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// A failure that came sooner was no stall.
const STALL: Duration = Duration::from_secs(1);
/// For how long nothing is asked after a stall.
const PAUSE: Duration = Duration::from_secs(15);

/// The connection for such questions.
pub(super) struct PlanningCalls {
    context: TargetContext,
    silent_until: Mutex<Option<Instant>>,
}

impl PlanningCalls {
    pub(super) fn of(context: &TargetContext) -> PlanningCalls {
        let call = CallContext { timeout: PATIENCE, ..context.call.clone() };
        let context = TargetContext::new(context.client.clone(), call, context.reporter.clone());
        PlanningCalls { context, silent_until: Mutex::new(None) }
    }

    /// Asks, unless the target has stalled of late: `None`.
    pub(super) fn ask<T>(
        &self,
        ask: impl FnOnce(&TargetContext) -> Result<T, CatalogError>,
    ) -> Option<Result<T, CatalogError>> {
        let asked = Instant::now();
        if !self.may_ask(asked) {
            return None;
        }
        let outcome = ask(&self.context);
        let is_silence = outcome.as_ref().err().and_then(CatalogError::call).is_some_and(Error::is_silence);
        self.note(is_silence, asked, Instant::now());
        Some(outcome)
    }

    /// As if the target had just stalled.
    #[cfg(test)]
    pub(super) fn note_stall(&self) {
        let now = Instant::now();
        self.note(true, now - PATIENCE, now);
    }

    fn may_ask(&self, now: Instant) -> bool {
        self.silent_until.lock().is_none_or(|until| now >= until)
    }

    fn note(&self, is_silence: bool, asked: Instant, now: Instant) {
        let has_stalled = is_silence && now.saturating_duration_since(asked) >= STALL;
        *self.silent_until.lock() = has_stalled.then(|| now + PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;
    use crate::milvus::ErrorKind;

    #[test]
    fn a_target_that_stalls_is_waited_for_once() {
        let bench = Bench::of("2.3.5");
        let calls = PlanningCalls::of(&bench.context);
        let (start, after) = (Instant::now(), Duration::from_secs);
        calls.note(true, start, start + after(5));
        assert!(!calls.may_ask(start + after(19)) && calls.may_ask(start + after(20)));
        let unasked = |_: &TargetContext| -> Result<(), CatalogError> { panic!("asked") };
        assert!(calls.ask(unasked).is_none());
        calls.note(true, start, start);
        assert!(calls.may_ask(start), "nobody was there: that is no stall");
        calls.note(true, start, start + after(5));
        calls.note(false, start, start + after(5));
        assert!(calls.may_ask(start));
        let refused = Error {
            method: "ShowCollections",
            address: String::new(),
            object: String::new(),
            kind: ErrorKind::Transport,
            detail: String::new(),
        };
        assert!(matches!(calls.ask(|_| Err::<(), _>(refused.into())), Some(Err(_))));
        assert!(calls.may_ask(Instant::now()), "it failed at once");
    }
}
