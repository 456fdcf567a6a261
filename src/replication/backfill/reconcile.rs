/*!
One walk over a collection: its rows at the source against what is known, or asked, of the target, and every
difference written to the target, page by page in the order of the keys. See [`super::progress`] for why it can be
interrupted at any point.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Interruption};
use super::error::{StepError, Subject};
use super::job::{Against, BackfillJob, RowChanges, SurplusRows};
use super::progress::{Files, Progress};
use super::removal_brake::RemovalBrake;

use crate::domain::{CollectionName, Column, Mark, RowLocation, Timestamp, Write};
use crate::milvus::rows::{Consistency, WriteRequest};
use crate::milvus::{Client, RowVisibility};
use crate::scan::{
    DigestFileReader, DigestFileWriter, EmptyStream, Key, KeyRange, Merge, MergeStep, Overlay, ReadAhead, ReadSpec,
    RowDetail, RowStream, WholeRead, pick, ranges_with_duplicates,
};
use crate::sink::{RefusalOutlet, Writer};

/// How often progress is put on disk while nothing has to be written to the target.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// Keys that the log names of rows that only the target has.
const NAMED: usize = 5;

pub(super) struct Round {
    files: Files,
    progress: Progress,
    /// Everything acknowledged at the source before is seen.
    began: Timestamp,
    /// What an earlier attempt may have written behind the place where it was interrupted, and this one so far.
    pending: BTreeSet<Key>,
    /// The file of the round before.
    known: Option<DigestFileReader>,
    /// The file of this round.
    writer: Option<DigestFileWriter>,
    saved: Instant,
    changes: RowChanges,
    removals: RemovalBrake,
    /// How rows on the target are counted: what the first answer has shown the others show, too, since nobody else
    /// writes there.
    counting: Consistency,
}

impl Round {
    /// Begins now, or goes on where an earlier attempt was interrupted.
    pub(super) fn open(
        job: &BackfillJob,
        files: &Files,
        now: Timestamp,
        visibility: RowVisibility,
    ) -> Result<Round, StepError> {
        let compares = job.against == Against::Target;
        let mut progress = files.load()?.unwrap_or_default();
        if progress.compares != compares {
            // An attempt of another kind: how far it came says nothing here.
            progress = Progress::of_round(progress.round, compares);
        }
        let (mut known, mut writer) = (None, None);
        if job.keeps_state {
            known = DigestFileReader::open(&files.state())?;
            let last = known.as_ref().map_or(0, DigestFileReader::round);
            if progress.round <= last {
                // It is of the round that has made the file.
                progress = Progress::of_round(last + 1, compares);
            }
            writer = Some(match progress.mark.clone() {
                Some(mark) => DigestFileWriter::resume(&files.state(), progress.round, mark)?,
                None => {
                    // The folder is made with the first file in it.
                    files.save(&progress)?;
                    DigestFileWriter::create(&files.state(), progress.round)?
                }
            });
        }
        let began = progress.begin(now);
        let pending = progress.pending();
        let saved = Instant::now();
        let files = files.clone();
        Ok(Round {
            files,
            progress,
            began,
            pending,
            known,
            writer,
            saved,
            changes: RowChanges::default(),
            removals: RemovalBrake::new(visibility),
            counting: Consistency::Strong,
        })
    }

    /// Everything acknowledged at the source before this moment is seen, whenever the round was interrupted.
    pub(super) fn began(&self) -> Timestamp {
        self.began
    }

    /// Rows that the round before has left on the target, in partitions that are still there.
    pub(super) fn known_rows(&self, job: &BackfillJob) -> u64 {
        let Some(known) = &self.known else { return 0 };
        partitions(job).iter().map(|(name, id)| known.rows_of(name, *id)).sum()
    }

    /// WriteRequest that the source has, as far as the round has come.
    pub(super) fn rows(&self) -> u64 {
        self.progress.rows
    }

    /// WriteRequest that only the target has.
    pub(super) fn extra(&self) -> u64 {
        self.progress.extra
    }

    /// WriteRequest that this attempt has written and removed.
    pub(super) fn changes(&self) -> RowChanges {
        self.changes
    }

    /// All partitions, then the end.
    pub(super) fn run(&mut self, attempt: &Attempt<'_>) -> Result<(), Interruption> {
        let partitions = if self.progress.done { Vec::new() } else { partitions(attempt.job) };
        for (name, id) in partitions {
            let is_begun = self.progress.partition == name && self.progress.partition_id == id;
            if self.progress.partition > name {
                continue;
            }
            if !is_begun || self.progress.mark.is_none() {
                self.begin_partition(&name, id)?;
            }
            self.run_partition(&name, id, attempt)?;
        }
        self.progress.done = true;
        self.pending.clear();
        self.save()?;
        if let Some(writer) = self.writer.take() {
            writer.finish().map_err(|error| interrupted(&error.into()))?;
            self.files.forget_progress();
        }
        Ok(())
    }

    fn begin_partition(&mut self, name: &str, id: i64) -> Result<(), Interruption> {
        let is_begun = self.progress.partition == name && self.progress.partition_id == id;
        if !is_begun {
            self.progress.partition = name.to_owned();
            self.progress.partition_id = id;
            self.progress.set_after(None);
            self.pending.clear();
        }
        if let Some(writer) = &mut self.writer {
            writer.begin_section(name, id).map_err(|error| interrupted(&error.into()))?;
        }
        Ok(())
    }

    fn run_partition(&mut self, name: &str, id: i64, attempt: &Attempt<'_>) -> Result<(), Interruption> {
        let after = self.progress.after();
        let left = attempt.patiently(|| {
            let source = reading(attempt, &attempt.worker.source, attempt.source(name), RowDetail::Columns);
            Ok(ReadAhead::spawn("copy-ahead", source, after.clone())?)
        })?;
        let right = attempt.patiently(|| self.right(name, id, attempt))?;
        let mut merge = Merge::new(left, Overlay::new(right, self.pending.clone()));
        while let Some(step) = attempt.patiently(|| Ok(merge.next_step()?))? {
            self.apply(name, step, attempt)?;
            attempt.report(self.progress.rows)?;
        }
        Ok(())
    }

    /// What the source's rows are compared with.
    fn right(&self, name: &str, id: i64, attempt: &Attempt<'_>) -> Result<Box<dyn RowStream>, StepError> {
        let after = self.progress.after();
        match (&self.known, attempt.job.against) {
            (_, Against::Target) => {
                let target = reading(attempt, &attempt.worker.target, attempt.target(name), RowDetail::Digests);
                Ok(Box::new(ReadAhead::spawn("copy-compare", target, after)?))
            }
            (Some(known), Against::State | Against::Nothing) => Ok(Box::new(known.section(name, id, after)?)),
            (None, Against::State | Against::Nothing) => Ok(Box::new(EmptyStream)),
        }
    }

    /// Makes the target what the source is, in one stretch of keys.
    fn apply(&mut self, partition: &str, mut step: MergeStep, attempt: &Attempt<'_>) -> Result<(), Interruption> {
        if attempt.job.undoubles() {
            let doubled = self.doubled(partition, &step, attempt)?;
            step.changed.extend(doubled);
        }
        let doomed = self.doomed(&step, attempt);
        if !doomed.is_empty() {
            let known = self.known_rows(attempt.job);
            self.removals.admit(doomed.len() as u64, known, attempt)?;
        }
        let touched = step.added.iter().chain(&step.changed).filter_map(|&index| step.page.keys.get(index));
        let touched: BTreeSet<Key> = touched.chain(&doomed).cloned().collect();
        if !touched.is_empty() {
            // On disk before any of it is sent.
            self.pending.extend(touched);
            self.save()?;
            self.write(partition, &step, &doomed, attempt)?;
        }
        self.progress.rows += step.keys as u64;
        if let Some(writer) = &mut self.writer {
            for (key, &digest) in step.page.keys.iter().zip(&step.page.digests) {
                writer.push(key, digest).map_err(|error| interrupted(&error.into()))?;
            }
        }
        self.progress.set_after(Some(&step.up_to));
        self.pending = self.pending.split_off(&step.up_to);
        self.pending.remove(&step.up_to);
        if self.saved.elapsed() > SAVE_EVERY {
            self.save()?;
        }
        Ok(())
    }

    /// WriteRequest of the step that are equal on the target, but may be there more than once: an upsert leaves one.
    fn doubled(
        &mut self,
        partition: &str,
        step: &MergeStep,
        attempt: &Attempt<'_>,
    ) -> Result<Vec<usize>, Interruption> {
        let keys = &step.page.keys;
        let (added, changed) = (BTreeSet::from_iter(&step.added), BTreeSet::from_iter(&step.changed));
        // By key, its last row.
        let rows: BTreeMap<&Key, usize> = keys.iter().enumerate().map(|(index, key)| (key, index)).collect();
        let there = rows.iter().filter(|(_, index)| !added.contains(index)).map(|(key, _)| *key);
        let there: BTreeSet<Key> = there.chain(&step.removed).cloned().collect();
        let there: Vec<Key> = there.into_iter().collect();
        let after = self.progress.after();
        let crowded = ranges_with_duplicates(
            &there,
            after.as_ref(),
            &mut attempt.count_on_target(partition, &mut self.counting),
        )?;
        let doubled = crowded.iter().filter_map(|key| rows.get(key)).filter(|index| !changed.contains(index));
        Ok(doubled.copied().collect())
    }

    /// Which of the rows that the source does not have are removed: those that this task has brought, and all where
    /// it was asked for.
    fn doomed(&mut self, step: &MergeStep, attempt: &Attempt<'_>) -> Vec<Key> {
        if attempt.job.against != Against::Target || attempt.job.surplus == SurplusRows::Remove {
            return step.removed.clone();
        }
        let (doomed, extra): (Vec<Key>, Vec<Key>) =
            step.removed.iter().cloned().partition(|key| self.pending.contains(key));
        if !extra.is_empty() {
            let named: Vec<String> = extra.iter().take(NAMED).map(Key::to_string).collect();
            let info = &attempt.job.info;
            log::warn!(
                "{}.{} has {} rows on the target that {} does not have; they are left there: {}{}",
                info.db,
                info.name,
                extra.len(),
                attempt.name(),
                named.join(", "),
                if extra.len() > NAMED { ", …" } else { "" }
            );
            self.progress.extra += extra.len() as u64;
        }
        doomed
    }

    fn write(
        &mut self,
        partition: &str,
        step: &MergeStep,
        doomed: &[Key],
        attempt: &Attempt<'_>,
    ) -> Result<(), Interruption> {
        let refused = attempt.worker.refused_rows.as_deref().map(|file| RefusalOutlet {
            file,
            channel: "",
            latest: Timestamp::ZERO,
        });
        let writer = Writer {
            client: attempt.worker.target.marked(Mark::of(attempt.job.info.id, self.began)),
            context: &attempt.context,
            collection: &attempt.job.info,
            refused,
        };
        let to = attempt.target(partition);
        if !doomed.is_empty() {
            let keys = Key::collect(doomed);
            attempt.patiently(|| Ok(writer.delete(&to, &attempt.job.info.key.name, &keys)?))?;
            attempt.count_rows("Delete", doomed.len(), 0);
            self.changes.removed += doomed.len() as u64;
        }
        let added = if attempt.job.is_alone() { Write::Insert } else { Write::Upsert };
        for (write, indexes) in [(Write::Upsert, &step.changed), (added, &step.added)] {
            if indexes.is_empty() {
                continue;
            }
            attempt.wait_for_fields(&step.page.columns)?;
            let count = step.page.keys.len();
            let picked = if indexes.len() == count { None } else { Some(&indexes[..]) };
            let columns = attempt.patiently(|| {
                let object = format!("{}.{}", to.db, to.collection);
                let columns = pick(&step.page.columns, count, picked)
                    .map_err(|source| StepError::Rows { object: object.clone(), source })?;
                // What a query answers has another form than what is written.
                let shape = &attempt.job.info.shape;
                shape.written(columns, indexes.len()).map_err(|source| StepError::Form { object, source })
            })?;
            let rows = WriteRequest::new(&to, columns, indexes.len());
            let mut write = write;
            attempt.patiently(|| {
                let outcome = writer.write(write, &rows);
                // A part of the rows may be there now, unless the call was refused before it began.
                if outcome.as_ref().is_err_and(|error| !error.is_without_effect()) {
                    write = Write::Upsert;
                }
                Ok(outcome?)
            })?;
            attempt.count_written(if write == Write::Insert { "Insert" } else { "Upsert" }, &rows);
            self.changes.written += indexes.len() as u64;
        }
        Ok(())
    }

    /// Puts the place that was reached on disk. When that fails the attempt ends: the next one goes on at the last
    /// place that is there.
    fn save(&mut self) -> Result<(), Interruption> {
        if let Some(writer) = &mut self.writer {
            self.progress.mark = Some(writer.sync().map_err(|error| interrupted(&error.into()))?);
        }
        self.progress.set_pending(&self.pending);
        self.files.save(&self.progress).map_err(|error| interrupted(&error.into()))?;
        self.saved = Instant::now();
        Ok(())
    }
}

/// Our own files fail: what was written in part is not gone on with.
fn interrupted(error: &StepError) -> Interruption {
    match error.subject() {
        Subject::State => Interruption::StateLost(error.to_string()),
        _ => Interruption::Wait(error.to_string()),
    }
}

impl Attempt<'_> {
    /// The source may have got a field since. When the catalog has added it to the target, the copy is started again.
    fn wait_for_fields(&self, columns: &[Column]) -> Result<(), Interruption> {
        let object = self.name();
        match self.job.info.fields.unknown(columns) {
            Ok(None) => Ok(()),
            Ok(Some(field)) => {
                Err(Interruption::Wait(format!("{object} has got the field {field:?}: the target gets it first")))
            }
            Err(error) => Err(Interruption::Hopeless(format!("{object}: {error}"))),
        }
    }

    /// Asks the target how many rows there are in a range of keys.
    fn count_on_target(
        &self,
        partition: &str,
        consistency: &mut Consistency,
    ) -> impl FnMut(Option<&Key>, &Key) -> Result<u64, Interruption> {
        let place = self.target(partition);
        move |low, high| {
            let range =
                KeyRange { above: low, up_to: Some(high) }.expression(&self.job.info.key.name).unwrap_or_default();
            let client = &self.worker.target;
            let found = self.patiently(|| Ok(client.count_matching(&place, &range, *consistency, &self.context)?))?;
            *consistency = Consistency::Bounded;
            Ok(found.unwrap_or(0))
        }
    }

    fn source(&self, partition: &str) -> RowLocation {
        let CollectionName { db, name: collection } = self.job.source.clone();
        RowLocation { db, collection, partition: partition.to_owned() }
    }

    fn target(&self, partition: &str) -> RowLocation {
        let info = &self.job.info;
        RowLocation { db: info.db.clone(), collection: info.name.clone(), partition: partition.to_owned() }
    }
}

fn reading(attempt: &Attempt<'_>, client: &Arc<Client>, place: RowLocation, detail: RowDetail) -> ReadSpec {
    ReadSpec {
        client: Arc::clone(client),
        context: attempt.context.clone(),
        place,
        key: attempt.job.info.key.clone(),
        detail,
        whole: if attempt.job.info.partitions.is_empty() { WholeRead::Unnamed } else { WholeRead::Named },
    }
}

/// Rows keep their partition; where a key decides about it, the collection is read as a whole.
fn partitions(job: &BackfillJob) -> Vec<(String, i64)> {
    let info = &job.info;
    if info.unnamed_partitions || info.partitions.is_empty() {
        return vec![(String::new(), 0)];
    }
    let mut partitions: Vec<(String, i64)> = info.partitions.iter().map(|(id, name)| (name.clone(), id.0)).collect();
    partitions.sort();
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CollectionId, PartitionId};
    use crate::milvus::field_data::KnownFields;
    use crate::pipeline::{WritableCollection, testing};

    fn job() -> BackfillJob {
        let info = WritableCollection {
            name: "n".into(),
            partitions: [(PartitionId(1), "p".to_owned())].into(),
            fields: KnownFields::named(&["id"]),
            ..testing::collection()
        };
        BackfillJob {
            info: Arc::new(info),
            source: CollectionName::new("d", "n"),
            against: Against::State,
            surplus: SurplusRows::Remove,
            adopted: false,
            keeps_state: true,
            unless_count: None,
        }
    }

    #[test]
    fn an_interrupted_round_is_as_old_as_its_first_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let (job, files) = (job(), Files::new(folder.path(), CollectionId(7)));
        let open = |now: u64| Round::open(&job, &files, Timestamp(now), RowVisibility::Certain).unwrap();
        let mut first = open(5);
        first.progress.set_after(Some(&Key::Int(3)));
        assert!(first.save().is_ok());
        drop(first);
        let mut second = open(1001);
        assert_eq!((second.began(), second.progress.after()), (Timestamp(5), Some(Key::Int(3))));
        second.writer.take().unwrap().finish().unwrap();
        // Nobody has come to remove the progress of what is complete.
        assert_eq!(open(2000).began(), Timestamp(2000), "another round");
    }
}
