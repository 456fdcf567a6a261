//! How calls to the target end, and what becomes of a collection that the target refuses.

use crossbeam_channel::Sender;

use super::Owners;
use crate::catalog::{CallsInFlight, HeldCollection, Hint, TargetLoss};
use crate::domain::CollectionId;
use crate::pipeline::CallId;
use crate::replication::backfill::SurplusRows;
use crate::replication::effect::{Effect, OnceSaved};
use crate::replication::held::Novelty;
use crate::sink::{CallFailure, CallOutcome, PoolEvent, PostponedCall};
use crate::task::history::EventKind;

impl Owners {
    pub(in crate::replication) fn on_call(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Ended { collection, call, outcome } => self.on_call_ended(collection, call, outcome),
            PoolEvent::Postponed(postponed) => self.on_postponed(*postponed),
        }
    }

    fn on_postponed(&mut self, postponed: PostponedCall) {
        let call = postponed.attempt.call();
        let (collection, id) = (call.collection.id, call.id);
        if let Some(CallFailure { why, is_missing, .. }) = &postponed.failure {
            log::debug!("{why}");
            if *is_missing {
                self.effects.push(Effect::Hint(Hint::TargetDrift(collection)));
            }
        }
        if self.channels.aside().has(collection) {
            // It is read again.
            return self.channels.give_up(collection, id);
        }
        if self.collections.is_streaming(collection) {
            return self.channels.postpone(postponed);
        }
        // It has been given up since.
        self.on_call_ended(collection, id, CallOutcome::Cancelled);
    }

    fn on_call_ended(&mut self, collection: CollectionId, call: CallId, outcome: CallOutcome) {
        let finished = self.channels.finish(collection, call);
        self.collections.stop_counting_gone(collection, &mut self.effects);
        match outcome {
            CallOutcome::Done => {
                self.channels.mark_done(finished.done);
                self.checkpointer.touch_rows();
                if let Some(ticks) = finished.truncated {
                    // On disk before anything later is sent, and before any channel's position moves past it.
                    self.collections.truncate(collection, ticks);
                    self.save();
                }
            }
            // Read again after the restart; unless the collection's rows are compared anyway, or it is gone.
            CallOutcome::Cancelled if self.collections.is_streaming(collection) => {}
            CallOutcome::Cancelled => self.channels.mark_done(finished.done),
            CallOutcome::Refused(why) => {
                // First: what is held is compared, so that the positions may move past what was refused.
                self.hold_rows(collection, why);
                self.channels.mark_done(finished.done);
            }
            CallOutcome::Hopeless(why) => self.fail(&why),
        }
    }

    /// The collection is on the target no more, or another one in its place. Nothing of it starts before the catalog
    /// describes it; then all its rows are compared.
    pub(in crate::replication) fn on_lost(&mut self, id: CollectionId, loss: TargetLoss, noted: Sender<()>) {
        if !self.collections.has(id) {
            // It is read from its beginning when it joins.
            let _ = noted.send(());
            return;
        }
        // What is withheld is told by its hold.
        if !self.collections.is_backfilled(id) && loss != TargetLoss::Withheld {
            let name = self.collections.name_of(id);
            log::warn!("{name} was lost on the target: its rows are copied again");
            self.skip("lost on the target, copied again", &name);
        }
        let surplus = match loss {
            // A call that was given up may come to the new one.
            TargetLoss::Gone => SurplusRows::Remove,
            TargetLoss::Replaced | TargetLoss::Withheld => SurplusRows::Keep,
        };
        self.collections.lose(id, surplus, &mut self.effects);
        self.channels.discard(id);
        self.effects.push(Effect::CancelCallsOf(id));
        // Nothing is created in its place before the file says that all its rows are compared.
        self.save_then(vec![OnceSaved::AnswerCatalog(noted)]);
    }

    /// The catalog is about to change a collection, or a part of it.
    pub(in crate::replication) fn on_block(&mut self, id: CollectionId, calls: CallsInFlight, answer: Sender<()>) {
        if calls == CallsInFlight::Cancelled && self.collections.has(id) {
            // Whatever comes of the drop: what is given up is compared, or gone.
            let surplus = self.collections.surplus_of_unknown(id);
            self.collections.stop_and_block(id, surplus, &mut self.effects);
            self.channels.discard(id);
            self.checkpointer.touch();
            self.effects.push(Effect::CancelCallsOf(id));
        }
        self.collections.block(id, answer, &mut self.effects);
    }

    /// Rows of a collection cannot be applied: it stands still, and the others go on.
    pub(in crate::replication) fn hold_rows(&mut self, id: CollectionId, why: String) {
        if !self.collections.has(id) {
            return log::info!("collection {id} is gone: {why}");
        }
        let surplus = self.collections.surplus_of_unknown(id);
        let name = self.collections.name_of(id);
        let novelty = self.collections.hold_rows(id, why.clone(), surplus, self.now, &mut self.effects);
        self.after_hold(id, novelty, &format!("{name}: {why}"));
    }

    /// The catalog cannot carry a collection over: it stands still, and the others go on.
    pub(in crate::replication) fn hold_by_catalog(&mut self, held: HeldCollection) {
        let HeldCollection { id, source, why, adopted } = held;
        let text = format!("{source}: {why}");
        let surplus = if adopted { SurplusRows::Keep } else { SurplusRows::Remove };
        let novelty = self.collections.hold_by_catalog(id, source, why, surplus, &mut self.effects);
        self.after_hold(id, novelty, &text);
    }

    fn after_hold(&mut self, id: CollectionId, novelty: Novelty, text: &str) {
        // Its rows must not hold back the positions of what is on the same channels.
        self.channels.discard(id);
        if novelty == Novelty::New {
            log::error!("held, while the others go on: {text}");
            self.effects.history(EventKind::Held, text);
        }
        self.save();
    }

    /// Rows that were refused some time ago are tried again.
    pub(in crate::replication) fn release_holds(&mut self) {
        for id in self.collections.release_holds(self.now) {
            log::info!("{}: is tried again", self.collections.name_of(id));
            self.checkpointer.touch();
        }
    }
}
