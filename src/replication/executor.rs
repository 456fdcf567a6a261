//! The world of a running task: its threads, its files, and who watches it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never, select, tick};
use parking_lot::Mutex;

use super::backfill::Backfiller;
use super::checkpoint::{self, Checkpoint};
use super::effect::{Effect, EventSource, Executor, Metric, OnceSaved, Publication};
use super::event::{CollectionOrder, Event, RepairOrder, Takes, Thread};
use super::log_asker::LogAsker;
use super::log_past::{LogPast, RESTORED};
use super::status_board::StatusBoard;
use crate::catalog::{SourcePast, Watcher};
use crate::domain::{Body, CollectionId};
use crate::milvus::Cancel;
use crate::observe::metrics;
use crate::sink::{Pool, RefusedRowsFile};
use crate::source::{Log, LogReader, ReaderCommand, ReaderEvent};
use crate::task::drops::DropDesk;
use crate::task::history::History;
use crate::task::paused::PausedCollections;
use crate::task::role::Epoch;

/// How often status and hints are renewed.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// How long calls in flight may take when nobody is left who could say so.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// What a task is given from outside.
#[derive(Clone)]
pub(super) struct Wiring {
    pub(super) task: String,
    pub(super) folder: PathBuf,
    /// Of the role that lets the task apply rows.
    pub(super) epoch: Epoch,
    /// When the task has to end: nothing may be in flight after this moment.
    pub(super) stops: Receiver<Instant>,
    pub(super) repairs: Receiver<RepairOrder>,
    pub(super) orders: Receiver<CollectionOrder>,
    pub(super) cancel: Cancel,
    pub(super) board: Arc<StatusBoard>,
    pub(super) history: Arc<History>,
    pub(super) drops: Arc<DropDesk>,
    /// For the catalog, which leaves them alone.
    pub(super) paused: Arc<PausedCollections>,
    /// Rows that the target refuses for good.
    pub(super) refused_rows: Arc<RefusedRowsFile>,
}

/// The threads of a task. They end, in this order, when it is dropped.
pub(super) struct Threads {
    pub(super) reader: LogReader,
    pub(super) watcher: Watcher,
    pub(super) backfiller: Backfiller,
    pub(super) pool: Pool,
    pub(super) asker: LogAsker,
}

/// Carries effects out with real threads, files and servers.
pub(super) struct LiveExecutor {
    wiring: Wiring,
    log: Arc<dyn Log>,
    past: Arc<Mutex<LogPast>>,
    threads: Threads,
    heartbeat: Receiver<Instant>,
}

impl LiveExecutor {
    pub(super) fn new(wiring: Wiring, log: Arc<dyn Log>, past: Arc<Mutex<LogPast>>, threads: Threads) -> LiveExecutor {
        LiveExecutor { wiring, log, past, threads, heartbeat: tick(HEARTBEAT) }
    }

    /// Writes the checkpoint; then what waits for it happens, or never.
    fn save(&mut self, checkpoint: &mut Checkpoint, then: Vec<OnceSaved>) -> Result<(), String> {
        checkpoint.epoch = self.wiring.epoch.0;
        checkpoint::save(&self.wiring.folder, checkpoint).map_err(|error| error.to_string())?;
        self.log.saved(&checkpoint.needed());
        self.past.lock().saved(checkpoint);
        self.wiring.board.saved();
        self.wiring.paused.set(checkpoint.paused.keys().map(|id| CollectionId(*id)));
        for once in then {
            match once {
                // The backfill may have been told to end meanwhile.
                OnceSaved::AnswerBackfill { reply, starts } => drop(reply.send(starts)),
                // The catalog may have ended meanwhile.
                OnceSaved::AnswerCatalog(reply) => drop(reply.send(())),
                // Whoever asked may have gone.
                OnceSaved::AnswerOrder { reply, outcome } => drop(reply.send(Ok(outcome))),
                OnceSaved::ForgetBackfillProgress(id) => self.threads.backfiller.forget_progress(id),
                OnceSaved::ForgetBackfillFiles(id) => self.threads.backfiller.forget_files(id),
            }
        }
        Ok(())
    }

    fn count(&self, metric: Metric) {
        let task = &self.wiring.task;
        match metric {
            Metric::Echoes(rows) => metrics::echoes(task, rows),
            Metric::IgnoredMessage(name) => metrics::ignored(task, name),
            Metric::BackfillEnded(how) => metrics::copy_ended(task, how),
            Metric::CollectionDropped(id) => metrics::forget_collection(task, id.0),
        }
    }

    fn publish(&self, publication: Publication) {
        let Publication { mut status, positions, lag, still, detail } = publication;
        let amount = self.wiring.refused_rows.amount();
        let refused_rows = (amount.rows > 0).then(|| {
            format!(
                "{} rows that the target refuses are set aside: list, apply or discard them (request `refused_rows`, \
                 or milvus-cdc task refused-rows)",
                amount.rows
            )
        });
        let restored = (self.past.lock().past() == SourcePast::RolledBack).then(|| RESTORED.to_owned());
        let reasons: Vec<String> = status
            .reason
            .take()
            .into_iter()
            .chain(restored)
            .chain(self.wiring.drops.reason())
            .chain(refused_rows)
            .collect();
        status.reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        let board = &self.wiring.board;
        self.wiring.history.sample(lag, metrics::rows_of(&self.wiring.task));
        if let Some(detail) = detail {
            board.show_detail(detail);
        }
        board.show(status);
        board.show_stillness(still);
        board.show_positions(positions);
    }
}

impl LiveExecutor {
    /// A tick at the log's end tells the source's time.
    fn note_tick(&self, event: &ReaderEvent) {
        if let ReaderEvent::Records { records, at_tail: true, .. } = event
            && let Some(last) = records.iter().rev().find(|record| matches!(record.body, Body::Tick { .. }))
        {
            self.wiring.board.source_time().ticked(last.end, Instant::now());
        }
    }
}

impl Executor for LiveExecutor {
    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        let Threads { reader, watcher, backfiller, asker, .. } = &mut self.threads;
        match effect {
            Effect::Seek(seek) => reader.send(ReaderCommand::Seek(vec![seek])),
            Effect::Save { mut checkpoint, then } => return Some(Event::Saved(self.save(&mut checkpoint, then))),
            Effect::Send(attempt) => self.threads.pool.send(*attempt),
            Effect::CancelCalls => self.wiring.cancel.cancel(),
            Effect::CancelCallsOf(id) => self.threads.pool.cancel(id),
            Effect::StartBackfill(job) => backfiller.start(*job),
            Effect::CancelBackfill(id) => backfiller.cancel(id),
            // One that finds no room is lost: a question is repeated, and everything else comes with the next listing.
            Effect::Hint(hint) => drop(watcher.hint(hint)),
            // The watcher may have been told to stop meanwhile.
            Effect::AnswerBlock(answer) => drop(answer.send(())),
            Effect::TellRepaired(waiting) => drop(waiting),
            Effect::AskLog(question) => asker.ask(question),
            Effect::History { kind, text } => self.wiring.history.add(kind, text),
            Effect::Count(metric) => self.count(metric),
            Effect::Publish(publication) => self.publish(*publication),
        }
        None
    }
}

impl EventSource for LiveExecutor {
    fn next_event(&mut self, takes: Takes, until: Option<Instant>) -> Event {
        let (stops, repairs, orders) =
            (self.wiring.stops.clone(), self.wiring.repairs.clone(), self.wiring.orders.clone());
        let Threads { reader, watcher, backfiller, pool, asker } = &mut self.threads;
        if takes == Takes::Everything
            && let Some(event) = reader.next_taken()
        {
            self.note_tick(&event);
            return Event::Log(event);
        }
        let never_records = never();
        let (never_stops, never_catalog, never_backfills, never_repairs) = (never(), never(), never(), never());
        let (never_orders, never_answers) = (never(), never());
        let records = if takes == Takes::Everything { reader.batches() } else { &never_records };
        let is_closing = takes == Takes::CallsOnly;
        let stops = if is_closing { &never_stops } else { &stops };
        let catalog = if is_closing { &never_catalog } else { watcher.events() };
        let backfills = if is_closing { &never_backfills } else { backfiller.events() };
        let repairs = if is_closing { &never_repairs } else { &repairs };
        let answers = if is_closing { &never_answers } else { asker.answers() };
        let due = until.map_or_else(never, at);
        let orders = if is_closing { &never_orders } else { &orders };
        let event = select! {
            recv(stops) -> deadline => Event::Stop(deadline.unwrap_or_else(|_| Instant::now() + LAST_CALLS)),
            recv(pool.events()) -> event => event.map_or(Event::ThreadEnded(Thread::Sink), Event::Sink),
            recv(catalog) -> event => event.map_or(Event::ThreadEnded(Thread::Catalog), Event::Catalog),
            recv(records) -> batch => match batch {
                Ok(batch) => Event::Log(reader.take(batch)),
                Err(_) => Event::ThreadEnded(Thread::LogReader),
            },
            recv(backfills) -> event => event.map_or(Event::ThreadEnded(Thread::Backfill), Event::Backfill),
            recv(answers) -> answer => asker.received(answer),
            recv(repairs) -> order => match order {
                Ok(order) => Event::Repair(order),
                Err(_) => {
                    // Nobody can ask for a repair any more.
                    self.wiring.repairs = never();
                    Event::Heartbeat
                }
            },
            recv(orders) -> order => match order {
                Ok(order) => Event::Collection(order),
                Err(_) => {
                    // Nobody can want anything any more.
                    self.wiring.orders = never();
                    Event::Heartbeat
                }
            },
            recv(self.heartbeat) -> _ => Event::Heartbeat,
            recv(due) -> _ => Event::Due,
        };
        if let Event::Backfill(event) = &event {
            backfiller.note(event);
        }
        if let Event::Log(event) = &event {
            self.note_tick(event);
        }
        event
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}
