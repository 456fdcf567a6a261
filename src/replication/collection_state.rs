/*!
The life of one collection, as one state machine.

```text
              Ready                   the log answers; its beginning is there
 (unknown) ──────────▶ Joining ───────────────────────────────▶ Streaming ◀───────────┐
                          │                                         │                 │
                          │ its beginning is gone from the log,     │ gap, repair,    │ done, and the source
                          │ or only a comparison will do            │ truncation      │ has a log: replayed
                          ▼                                         ▼ seen in part    │
                       Backfill ◀───────────────────────────────────┴─────┐           │
   restart                │ queued → running → (waiting → queued → …) ────┼───────────┘
      │                   │                                               │ repair, or its file is damaged
      ▼                   └─ done, and the source has no log ───────▶ Rescan ⟲ one rescan after the other
 WaitingForCatalog
      │ Ready: goes on as what the checkpoint says (Streaming, Backfill or Rescan)

 Blocked: any of these while the catalog changes names; Ready or Unblock ends it.
 Held: any of these while its rows are refused, or a user has paused it; nobody but who holds it ends that.
 Dropped: from any of these; what is left of it is a backfill that is being cancelled.
```

Four questions make up the state: has it joined ([`LifeStage`]), where its rows come from ([`RowSource`], which is what
the checkpoint keeps), what the catalog says ([`CatalogView`]), and whether it is held ([`HoldState`]). Whether a
backfill is queued, running or waiting is kept by `backfill_queue`, since a running one may outlive its collection.
Transitions answer what has to happen; they carry out nothing.
*/

use std::collections::BTreeMap;
use std::sync::Arc;

use super::backfill::{Against, BackfillJob, Span, SurplusRows};
use super::checkpoint::CollectionCheckpoint;
use super::described::Described;
use super::joining::Joining;
use super::row_source::{Beforehand, RowSource};
use crate::catalog::ReadyCollection;
use crate::domain::{Channel, Position, Timestamp};
use crate::pipeline::WritableCollection;
use crate::source::Start;

/// One collection.
#[derive(Debug)]
pub(super) struct CollectionState {
    stage: LifeStage,
}

#[derive(Debug)]
enum LifeStage {
    /// The catalog has made it ready, and the log is asked where it begins. Not in the checkpoint yet.
    Joining(Box<Joining>),
    /// In the checkpoint.
    Joined { rows: RowSource, catalog: CatalogView, standing: HoldState },
}

/// Whether anything of a collection may start, as far as `held` is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldState {
    Free,
    Held,
}

#[derive(Debug)]
enum CatalogView {
    /// The catalog has not described it in this run.
    Unseen,
    /// As the catalog carried it over.
    Ready(Arc<Described>),
    /// No call may start: the catalog is changing names.
    Blocked(Option<Arc<Described>>),
}

/// What has to happen after the catalog has described a collection again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterReady {
    /// It is asked of the log where the collection begins.
    Join,
    /// Its backfill is queued.
    QueueBackfill,
    /// A channel of it may not be read.
    CheckChannels,
    Nothing,
}

/// Where a collection that joins begins, by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JoinPoints {
    /// By channel; `None` when the log does not hold all of it any more.
    pub(super) starts: Option<BTreeMap<Channel, Start>>,
    /// By channel, where its rows may have been on the target before: the end of the log now.
    pub(super) tails: BTreeMap<Channel, Option<Position>>,
}

/// What has to happen after a collection has joined.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AfterJoin {
    /// Its channels are read from here.
    Read(BTreeMap<Channel, Start>),
    /// A backfill starts from scratch.
    Backfill,
}

impl CollectionState {
    /// Waits for the catalog: an earlier run of the task has left this.
    pub(super) fn restored(record: &CollectionCheckpoint) -> CollectionState {
        let (rows, catalog) = (RowSource::from(record), CatalogView::Unseen);
        CollectionState { stage: LifeStage::Joined { rows, catalog, standing: HoldState::Free } }
    }

    /// Joins: the catalog describes it for the first time.
    pub(super) fn new(ready: ReadyCollection) -> CollectionState {
        CollectionState { stage: LifeStage::Joining(Box::new(Joining::new(ready))) }
    }

    /// The catalog describes it again. `now_held`: whether it is held from now on.
    pub(super) fn on_ready(&mut self, ready: ReadyCollection, now_held: HoldState) -> AfterReady {
        let (rows, catalog, standing) = match &mut self.stage {
            LifeStage::Joining(joining) => {
                joining.on_ready(ready);
                return AfterReady::Join;
            }
            LifeStage::Joined { rows, catalog, standing } => (rows, catalog, standing),
        };
        let was_usable = matches!((&catalog, &standing), (CatalogView::Ready(_), HoldState::Free));
        *catalog = CatalogView::Ready(Arc::new(Described::new(ready, rows)));
        *standing = now_held;
        match rows {
            _ if now_held == HoldState::Held => AfterReady::Nothing,
            RowSource::Backfill { .. } if !was_usable => AfterReady::QueueBackfill,
            RowSource::Backfill { .. } => AfterReady::Nothing,
            RowSource::Streaming(_) | RowSource::Rescan => AfterReady::CheckChannels,
        }
    }

    /// The log is asked with this question where it begins.
    pub(super) fn ask(&mut self, question: u64) {
        if let LifeStage::Joining(joining) = &mut self.stage {
            joining.ask(question);
        }
    }

    /// Whether this question's answer is awaited.
    pub(super) fn awaits(&self, question: u64) -> bool {
        matches!(&self.stage, LifeStage::Joining(joining) if joining.awaits(question))
    }

    /// The log cannot be asked now.
    pub(super) fn join_failed(&mut self, error: String) {
        if let LifeStage::Joining(joining) = &mut self.stage {
            joining.failed(error);
        }
    }

    /// The log has answered: its rows come from where it begins, else from a backfill. `None` unless it is joining.
    pub(super) fn join(&mut self, points: JoinPoints, surplus: SurplusRows) -> Option<AfterJoin> {
        let LifeStage::Joining(joining) = &self.stage else { return None };
        let ready = joining.ready().clone();
        let (rows, after) = match points.starts {
            Some(starts) => {
                let beforehand = |channel: &Channel| {
                    let upsert_until = points.tails.get(channel).copied().flatten();
                    let complete_until = starts.get(channel).map_or(Timestamp::ZERO, |start| start.after);
                    (channel.clone(), Beforehand { upsert_until, complete_until })
                };
                (RowSource::Streaming(ready.channels.iter().map(beforehand).collect()), AfterJoin::Read(starts))
            }
            None => {
                let rows = RowSource::Backfill { surplus, compare: ready.adopted, begun: BTreeMap::new() };
                (rows, AfterJoin::Backfill)
            }
        };
        let catalog = CatalogView::Ready(Arc::new(Described::new(ready, &rows)));
        self.stage = LifeStage::Joined { rows, catalog, standing: HoldState::Free };
        Some(after)
    }

    /// Its rows on the target are not what they should be, or may not be: they are compared with the source's.
    pub(super) fn backfill_again(&mut self, surplus: SurplusRows) {
        self.set_rows(RowSource::Backfill { surplus, compare: true, begun: BTreeMap::new() });
    }

    /// Where the log stood when its backfill began, empty before that; `None` when it is not being backfilled.
    pub(super) fn backfill_starts(&self) -> Option<&BTreeMap<Channel, Start>> {
        match self.rows()? {
            RowSource::Backfill { begun, .. } => Some(begun),
            RowSource::Streaming(_) | RowSource::Rescan => None,
        }
    }

    /// Where the replay over its backfill starts: what was noted first, else these. `None` when it is not being
    /// backfilled.
    pub(super) fn begin_backfill(&mut self, starts: BTreeMap<Channel, Start>) -> Option<BTreeMap<Channel, Start>> {
        let LifeStage::Joined { rows: RowSource::Backfill { begun, .. }, .. } = &mut self.stage else { return None };
        if begun.is_empty() {
            *begun = starts;
        }
        Some(begun.clone())
    }

    /// Its backfill is complete, and the log is replayed over it.
    pub(super) fn stream(&mut self, spans: &BTreeMap<Channel, Span>) {
        // The copy has begun after all of that had been acknowledged at the source.
        let beforehand = |span: &Span| Beforehand { upsert_until: span.until, complete_until: span.start.after };
        self.set_rows(RowSource::Streaming(spans.iter().map(|(on, span)| (on.clone(), beforehand(span))).collect()));
    }

    /// Its backfill is complete, and rescans follow.
    pub(super) fn rescan(&mut self) {
        self.set_rows(RowSource::Rescan);
    }

    /// The catalog changes names: no call may start.
    pub(super) fn block(&mut self) {
        match &mut self.stage {
            LifeStage::Joining(joining) => joining.block(),
            LifeStage::Joined { catalog, .. } => *catalog = CatalogView::Blocked(catalog.ready().cloned()),
        }
    }

    /// The catalog has not changed it, and will try again.
    pub(super) fn unblock(&mut self) {
        match &mut self.stage {
            LifeStage::Joining(joining) => joining.unblock(),
            LifeStage::Joined { catalog, .. } => {
                *catalog = catalog.ready().cloned().map_or(CatalogView::Unseen, CatalogView::Ready);
            }
        }
    }

    /// It is held, or held no more.
    pub(super) fn stand(&mut self, now: HoldState) {
        if let LifeStage::Joined { standing, .. } = &mut self.stage {
            *standing = now;
        }
    }

    #[cfg(test)]
    pub(super) fn is_blocked(&self) -> bool {
        match &self.stage {
            LifeStage::Joining(joining) => !joining.may_ask(),
            LifeStage::Joined { catalog, .. } => matches!(catalog, CatalogView::Blocked(_)),
        }
    }

    #[cfg(test)]
    pub(super) fn stands(&self) -> bool {
        matches!(&self.stage, LifeStage::Joined { standing: HoldState::Held, .. })
    }

    /// What its backfill is to do, as soon as no call for it is under way; `None` when none may start.
    pub(super) fn backfill_job(&self, keeps_state: bool) -> Option<BackfillJob> {
        let RowSource::Backfill { surplus, compare, .. } = self.rows()? else { return None };
        let ready = self.unblocked()?;
        Some(BackfillJob {
            info: ready.info.clone(),
            source: ready.source.clone(),
            against: if *compare { Against::Target } else { Against::Nothing },
            surplus: *surplus,
            adopted: ready.adopted,
            keeps_state,
            unless_count: None,
        })
    }

    /// Whether a rescan may start.
    pub(super) fn may_rescan(&self) -> bool {
        self.unblocked().is_some() && self.rows() == Some(&RowSource::Rescan)
    }

    /// What its next rescan is to do; `None` when none may start.
    pub(super) fn rescan_job(&self, unless_count: Option<u64>) -> Option<BackfillJob> {
        let ready = self.unblocked().filter(|_| self.may_rescan())?;
        Some(BackfillJob {
            info: ready.info.clone(),
            source: ready.source.clone(),
            against: Against::State,
            surplus: SurplusRows::Remove,
            adopted: ready.adopted,
            keeps_state: true,
            unless_count,
        })
    }

    /// The collection, when calls for rows from the log may start.
    pub(super) fn applicable(&self) -> Option<&Arc<WritableCollection>> {
        let ready = self.unblocked().filter(|_| self.is_streaming())?;
        Some(&ready.info)
    }

    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.rows(), Some(RowSource::Streaming(_)))
    }

    /// Whether what has this time on the channel comes from the log, and not by a copy.
    pub(super) fn wants(&self, channel: &Channel, at: Timestamp) -> bool {
        let Some(RowSource::Streaming(channels)) = self.rows() else { return false };
        channels.get(channel).is_none_or(|beforehand| at > beforehand.complete_until)
    }

    pub(super) fn is_backfilled(&self) -> bool {
        matches!(self.rows(), Some(RowSource::Backfill { .. }))
    }

    /// Where its rows come from; `None` while it is joining.
    pub(super) fn rows(&self) -> Option<&RowSource> {
        match &self.stage {
            LifeStage::Joining(_) => None,
            LifeStage::Joined { rows, .. } => Some(rows),
        }
    }

    pub(super) fn is_joined(&self) -> bool {
        self.rows().is_some()
    }

    /// Whether the log may be asked where it begins.
    pub(super) fn may_join(&self) -> bool {
        matches!(&self.stage, LifeStage::Joining(joining) if joining.may_ask())
    }

    /// What the catalog has told of one that is joining.
    pub(super) fn joining(&self) -> Option<&ReadyCollection> {
        match &self.stage {
            LifeStage::Joining(joining) => Some(joining.ready()),
            LifeStage::Joined { .. } => None,
        }
    }

    /// Why it cannot join.
    pub(super) fn join_error(&self) -> Option<&String> {
        match &self.stage {
            LifeStage::Joining(joining) => joining.error(),
            LifeStage::Joined { .. } => None,
        }
    }

    /// As the catalog carried it over, blocked or not.
    pub(super) fn ready(&self) -> Option<&Arc<Described>> {
        match &self.stage {
            LifeStage::Joining(_) => None,
            LifeStage::Joined { catalog, .. } => catalog.ready(),
        }
    }

    fn unblocked(&self) -> Option<&Arc<Described>> {
        match &self.stage {
            LifeStage::Joined { catalog: CatalogView::Ready(ready), standing: HoldState::Free, .. } => Some(ready),
            LifeStage::Joining(_) | LifeStage::Joined { .. } => None,
        }
    }

    /// Whether a backfill or rescan of it may be queued: the catalog has described it.
    pub(super) fn may_queue_backfill(&self) -> bool {
        self.is_backfilled() && self.ready().is_some()
    }

    /// The channels that its rows arrive on.
    pub(super) fn channels(&self) -> Vec<Channel> {
        match (self.rows(), self.ready()) {
            (Some(_), Some(ready)) if !ready.channels.is_empty() => ready.channels.clone(),
            (Some(RowSource::Streaming(channels)), _) => channels.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn set_rows(&mut self, new: RowSource) {
        let LifeStage::Joined { rows, catalog, .. } = &mut self.stage else { return };
        if let CatalogView::Ready(ready) | CatalogView::Blocked(Some(ready)) = catalog {
            *ready = Arc::new(ready.with_rows(&new));
        }
        *rows = new;
    }
}

impl CatalogView {
    fn ready(&self) -> Option<&Arc<Described>> {
        match self {
            CatalogView::Ready(ready) | CatalogView::Blocked(Some(ready)) => Some(ready),
            CatalogView::Unseen | CatalogView::Blocked(None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CollectionName;
    use crate::milvus::field_data::KnownFields;
    use crate::pipeline::testing;

    fn ready(channel: &str) -> ReadyCollection {
        let info =
            WritableCollection { name: "n".into(), fields: KnownFields::named(&["id"]), ..testing::collection() };
        let (channels, created) = (vec![Channel::new(channel)], Timestamp(5));
        ReadyCollection {
            info,
            source: CollectionName::new("d", "n"),
            channels,
            begins: BTreeMap::new(),
            created,
            adopted: true,
        }
    }

    fn on_ready(state: &mut CollectionState, channel: &str) -> AfterReady {
        state.on_ready(ready(channel), HoldState::Free)
    }

    fn points(starts: Option<u64>) -> JoinPoints {
        let start = |number| Start { position: Some(Position::at(number)), after: Timestamp::ZERO };
        JoinPoints {
            starts: starts.map(|number| BTreeMap::from([(Channel::new("c"), start(number))])),
            tails: BTreeMap::from([(Channel::new("c"), Some(Position::at(9)))]),
        }
    }

    #[test]
    fn rows_from_the_log_are_upserts_up_to_its_end_at_the_join() {
        let mut state = CollectionState::new(ready("c"));
        assert!(matches!(state.join(points(Some(3)), SurplusRows::Keep), Some(AfterJoin::Read(_))));
        assert!(state.is_streaming());
        let until = &state.applicable().unwrap().upsert_until;
        assert_eq!(until.get(&Channel::new("c")), Some(&Position::at(9)));
        assert_eq!(state.join(points(None), SurplusRows::Keep), None, "once");
    }

    #[test]
    fn what_a_copy_holds_is_not_wanted_from_the_log_wherever_it_stands() {
        let mut state = CollectionState::new(ready("c"));
        state.join(points(None), SurplusRows::Keep);
        let start = Start { position: Some(Position::at(2)), after: Timestamp(20) };
        state.stream(&BTreeMap::from([(Channel::new("c"), Span { start, until: Some(Position::at(4)) })]));
        let record = CollectionCheckpoint::from(state.rows().unwrap());
        for state in [state, CollectionState::restored(&record)] {
            let wants = |channel, at| state.wants(&Channel::new(channel), Timestamp(at));
            assert!(!wants("c", 20) && wants("c", 21) && wants("d", 20));
        }
    }

    #[test]
    fn what_is_blocked_starts_nothing_and_goes_on_where_it_was() {
        let mut state = CollectionState::new(ready("c"));
        assert_eq!(state.join(points(None), SurplusRows::Keep), Some(AfterJoin::Backfill));
        assert!(state.backfill_job(false).is_some());
        state.block();
        assert!(state.backfill_job(false).is_none() && state.may_queue_backfill());
        assert_eq!(on_ready(&mut state, "c"), AfterReady::QueueBackfill);
        assert!(state.backfill_job(false).is_some_and(|job| job.against == Against::Target));
        let span = Span { start: Start { position: None, after: Timestamp::ZERO }, until: Some(Position::at(4)) };
        state.stream(&BTreeMap::from([(Channel::new("c"), span)]));
        state.block();
        assert!(state.applicable().is_none());
        state.unblock();
        assert!(state.applicable().is_some_and(|info| info.upsert_until.len() == 1));
    }

    #[test]
    fn neither_who_holds_it_nor_the_catalog_ends_what_the_other_has_begun() {
        let mut state = CollectionState::new(ready("c"));
        state.join(points(Some(3)), SurplusRows::Keep);
        state.stand(HoldState::Held);
        state.block();
        state.stand(HoldState::Free);
        assert!(state.applicable().is_none(), "the catalog is still at work");
        state.stand(HoldState::Held);
        state.unblock();
        assert!(state.applicable().is_none(), "it is held");
        assert_eq!(state.on_ready(ready("c"), HoldState::Held), AfterReady::Nothing);
        assert!(state.applicable().is_none());
        assert_eq!(on_ready(&mut state, "c"), AfterReady::CheckChannels);
        assert!(state.applicable().is_some());
    }

    #[test]
    fn after_a_restart_it_waits_for_the_catalog() {
        let record = CollectionCheckpoint::Backfill { prune: true, compare: false, begun: BTreeMap::new() };
        let mut state = CollectionState::restored(&record);
        assert!(state.is_backfilled() && !state.may_queue_backfill());
        assert_eq!(on_ready(&mut state, "c"), AfterReady::QueueBackfill);
        assert_eq!(on_ready(&mut state, "c"), AfterReady::Nothing, "it is queued");
    }
}
