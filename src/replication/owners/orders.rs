//! What users want of single collections.

use super::Owners;
use crate::domain::CollectionId;
use crate::replication::effect::{Effect, OnceSaved};
use crate::replication::event::{CollectionOrder, OrderReply};
use crate::task::collection_request::{CollectionOutcome, CollectionWish};
use crate::task::history::EventKind;

impl Owners {
    /// A user wants something of one collection. It is answered when it is on disk.
    pub(in crate::replication) fn on_collection_order(&mut self, order: CollectionOrder) {
        let CollectionOrder { collection: name, wish, reply, idle } = order;
        let found = self.collections.find(&name, wish);
        let done = found.and_then(|id| Ok((id, self.carry_out_wish(id, &name, wish)?)));
        let (id, outcome) = match done {
            Ok(done) => done,
            // Whoever asked may have gone.
            Err(refused) => return drop(reply.send(Err(refused))),
        };
        let text = format!("{name}: {} by a user", outcome.name());
        log::info!("{text}");
        self.effects.history(EventKind::State, text);
        self.save_then(vec![OnceSaved::AnswerOrder { reply, outcome }]);
        match wish {
            CollectionWish::Pause => {
                self.effects.push(Effect::CancelCallsOf(id));
                self.collections.block(id, idle, &mut self.effects);
            }
            // Once it is on disk, so that the catalog does not leave it alone any more.
            CollectionWish::Resume => self.collections.ask(id, self.now, &mut self.effects),
            CollectionWish::Resync => {}
        }
    }

    fn carry_out_wish(&mut self, id: CollectionId, name: &str, wish: CollectionWish) -> OrderReply {
        match wish {
            CollectionWish::Pause => {
                let outcome = self.collections.pause(id, name, &mut self.effects)?;
                // Its rows must not hold back the positions of what is on the same channels.
                self.channels.discard(id);
                Ok(outcome)
            }
            CollectionWish::Resume => self.collections.resume(id, name, self.channels.aside(), self.now),
            CollectionWish::Resync => {
                if self.collections.resync(id, name, self.now, &mut self.effects)? {
                    self.backfill_again(id, self.collections.surplus_of_unknown(id));
                }
                Ok(CollectionOutcome::Comparing)
            }
        }
    }
}
