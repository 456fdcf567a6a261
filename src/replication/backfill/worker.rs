//! A backfilling thread: one attempt at one collection at a time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

pub(super) use super::attempt::BackfillWorker;
use super::attempt::{Attempt, Interruption};
use super::job::{Against, BackfillDone, BackfillEvent, BackfillJob, BackfillOutcome, Span};
use super::progress::Files;
use super::reconcile::Round;
use crate::domain::{CollectionName, Timestamp};
use crate::failpoint::HandOver;
use crate::milvus::{CallContext, Cancel};

const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A job and what ends it early.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) job: BackfillJob,
    pub(super) cancel: Cancel,
}

impl BackfillWorker {
    pub(super) fn run(&self, queue: &Receiver<Assignment>) {
        for Assignment { job, cancel } in queue {
            let id = job.info.id;
            let context = CallContext { timeout: CALL_TIMEOUT, cancel: cancel.clone() };
            let attempt = Attempt { worker: self, job: &job, context };
            let event = match run(&attempt) {
                Ok(Some(done)) => BackfillEvent::Ended(id, BackfillOutcome::Done(done)),
                Ok(None) => BackfillEvent::Ended(id, BackfillOutcome::Unchanged),
                Err(_) if cancel.is_cancelled() => BackfillEvent::Ended(id, BackfillOutcome::Cancelled),
                Err(Interruption::Cancelled) => BackfillEvent::Ended(id, BackfillOutcome::Cancelled),
                Err(Interruption::StateLost(why)) => BackfillEvent::Ended(id, BackfillOutcome::StateLost(why)),
                Err(Interruption::Hopeless(why)) => BackfillEvent::Ended(id, BackfillOutcome::Hopeless(why)),
                Err(Interruption::Wait(why)) => BackfillEvent::Waiting(id, why),
            };
            if HandOver::BackfillReport.send(&self.reports, event).is_err() {
                return;
            }
        }
    }
}

/// `None` when a look has shown no need for it.
fn run(attempt: &Attempt<'_>) -> Result<Option<BackfillDone>, Interruption> {
    let BackfillWorker { source, target, log, .. } = attempt.worker;
    attempt.recognise()?;
    let visibility = attempt.wait_until_loaded(source, &attempt.job.source, "at the source")?;
    if attempt.job.against == Against::Target {
        let place = CollectionName::new(&attempt.job.info.db, &attempt.job.info.name);
        attempt.wait_until_loaded(target, &place, "on the target")?;
    }
    // What is acknowledged before this moment is seen.
    let now = Timestamp::now();
    let count = attempt.count()?;
    if attempt.job.unless_count.is_some() && attempt.job.unless_count == count {
        return Ok(None);
    }
    let starts = if attempt.job.keeps_state { BTreeMap::new() } else { attempt.begin()? };
    let files = Files::new(&attempt.worker.folder, attempt.id());
    let started = Instant::now();
    let mut round = attempt.patiently(|| Round::open(attempt.job, &files, now, visibility))?;
    attempt.refuse_mass_removal(round.known_rows(attempt.job), count)?;
    attempt.report(round.rows())?;
    attempt.tell_total(count)?;
    round.run(attempt)?;
    let mut spans = BTreeMap::new();
    for (channel, start) in starts {
        let until = attempt.patiently(|| Ok(log.tail(&channel)?))?;
        spans.insert(channel, Span { start, until });
    }
    let changes = round.changes();
    let (against, began, took) = (attempt.job.against, round.began(), started.elapsed());
    let (rows, extra) = (round.rows(), round.extra());
    Ok(Some(BackfillDone { against, rows, extra, began, took, spans, count, changes }))
}

#[cfg(test)]
mod fault_tests;
