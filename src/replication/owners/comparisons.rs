//! Collections whose rows must be copied or compared again, and what becomes of their backfills.

use crossbeam_channel::Sender;

use super::Owners;
use crate::catalog::SourcePast;
use crate::domain::{Channel, CollectionId, LogKind};
use crate::replication::backfill::{BackfillEvent, SurplusRows};
use crate::replication::backfills::BackfillStep;
use crate::replication::effect::OnceSaved;
use crate::replication::event::RepairOrder;
use crate::task::history::EventKind;

impl Owners {
    /// What a channel would have had to say next is gone: its collections are copied again.
    pub(super) fn on_jump(&mut self, channel: &Channel) {
        let affected = self.collections.streaming_on(channel);
        if affected.is_empty() {
            log::info!("{channel}: old messages are gone (retention); no collection is read from it now");
            return;
        }
        let (text, counted, surplus) = match self.past {
            SourcePast::Continues => (
                "the log no longer has what comes next (retention): copying its collections again",
                "gap in the log, copied again",
                SurplusRows::Remove,
            ),
            SourcePast::RolledBack => (
                "the source was restored to an earlier time: comparing its collections; rows that only the target has \
                 stay",
                "source restored to an earlier time, compared",
                SurplusRows::Keep,
            ),
        };
        let text = format!("{channel}: {text}");
        log::warn!("{text}");
        self.effects.history(EventKind::Gap, text);
        for id in affected {
            self.skip(counted, &self.collections.name_of(id));
            self.backfill_again(id, surplus);
        }
    }

    pub(super) fn on_backfill_step(&mut self, id: CollectionId, step: BackfillStep) {
        match step {
            BackfillStep::Nothing => {}
            BackfillStep::Begin { starts, reply } => {
                self.save_then(vec![OnceSaved::AnswerBackfill { reply, starts }]);
            }
            BackfillStep::Rescanned => {
                self.health.forget_unreplicated(id);
                self.collections.rows_are_through(id);
            }
            BackfillStep::Complete { surplus_rows, replay } => {
                self.health.forget_unreplicated(id);
                self.collections.rows_are_through(id);
                if surplus_rows > 0 {
                    self.health.count_skipped("rows that only the target has", surplus_rows);
                }
                for (channel, start) in replay {
                    self.channels.read_again(&channel, id, start, &mut self.effects);
                }
                self.save();
                self.collections.tell_repaired(id, &mut self.effects);
            }
            BackfillStep::StateLost(why) => {
                if !self.collections.has(id) {
                    return;
                }
                log::warn!("{why}: comparing with the rows of the target");
                self.skip("damaged file of a copy, compared again", &why);
                self.backfill_again(id, self.collections.surplus_unasked(id));
                self.collections.forget_backfill_files(id);
            }
            BackfillStep::Hold(why) => self.hold_rows(id, why),
        }
    }

    /// The rows of a collection on the target are not what they should be, or may not be: they are compared with the
    /// source's.
    pub(super) fn backfill_again(&mut self, id: CollectionId, surplus: SurplusRows) {
        if self.collections.has(id) {
            self.collections.backfill_again(id, surplus, &mut self.effects);
            self.channels.discard(id);
            self.checkpointer.touch();
        }
    }

    /// Rows of a collection have changed in a way that only the source can tell.
    pub(super) fn compare(&mut self, id: CollectionId, what: &str) {
        if self.collections.is_streaming(id) {
            let name = self.collections.name_of(id);
            log::warn!("{name}: {what}: its rows are compared with the source's");
            self.skip(&format!("{what}, copied again"), &name);
            self.backfill_again(id, SurplusRows::Remove);
        }
    }

    /// The target has an earlier state of everything: nothing that was acknowledged or kept of it counts any more.
    pub(super) fn compare_with_restored_target(&mut self, noted: Sender<()>) {
        for id in self.collections.joined_ids() {
            self.skip("target restored to an earlier time, compared", &self.collections.name_of(id));
            self.backfill_again(id, self.collections.surplus_unasked(id));
            self.collections.forget_backfill_files(id);
        }
        self.save_then(vec![OnceSaved::AnswerCatalog(noted)]);
    }

    /// Rows went with a partition; rescans find that by themselves.
    pub(super) fn compare_for_catalog(&mut self, id: CollectionId, reply: Sender<()>) {
        if self.health.log_kind() != LogKind::Scan {
            self.backfill_again(id, SurplusRows::Remove);
        }
        self.save_then(vec![OnceSaved::AnswerCatalog(reply)]);
    }

    /// A bulk import's rows are not in the log; rescans find them by themselves.
    pub(super) fn compare_imported(&mut self, id: CollectionId, rows: u64, answer: Sender<()>) {
        if !self.collections.has(id) {
            return;
        }
        if self.health.log_kind() != LogKind::Scan {
            let name = self.collections.name_of(id);
            let rows = if rows == 0 { String::new() } else { format!(" of {rows} rows") };
            log::info!("{name}: a bulk import{rows} at the source, which is not in the log: its rows are compared");
            self.skip("bulk import, copied", &format!("{name}: a bulk import{rows} at the source"));
            self.backfill_again(id, self.collections.surplus_of_unknown(id));
        }
        self.save_then(vec![OnceSaved::AnswerCatalog(answer)]);
    }

    pub(in crate::replication) fn on_backfill(&mut self, event: BackfillEvent) {
        let (id, has_ended) = (event.collection(), event.has_ended());
        let step = self.collections.on_backfill(event, self.now, &mut self.effects);
        if has_ended {
            self.collections.stop_counting_gone(id, &mut self.effects);
        }
        self.on_backfill_step(id, step);
    }

    pub(in crate::replication) fn on_repair(&mut self, order: &RepairOrder) {
        for id in self.collections.repair(order, self.now, &mut self.effects) {
            self.backfill_again(id, SurplusRows::Remove);
        }
        self.save();
    }
}
