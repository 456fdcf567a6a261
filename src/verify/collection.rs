//! Compares one collection of the source with its copy on the target.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::lookup::Lookup;
use super::recheck::{Candidates, CountRechecks, RowDigests};
use super::report::{CatalogDifference, CollectionReport, CountVerdict, Depth, RowDifference, RowKind};
use super::worker::{Comparison, Pair, VerifyAbort};
use crate::catalog::{self, SourceCollection};
use crate::domain::{CollectionName, KeyField, RowLocation};
use crate::milvus::catalog::UnreadablePart;
use crate::milvus::{Client, Error};
use crate::scan::{Key, Merge, MergeStep, PageError, Projection, ReadAhead, ReadSpec, RowDetail, ScanError, WholeRead};

/// Candidates that are rechecked together once the task has passed the comparison point: bounds the memory to about
/// 20 MB.
const CANDIDATES: usize = 50_000;
/// Rechecks of rows that change all the time.
const RECHECKS: usize = 20;
/// Rechecks of a catalog that differs: catalog changes are replicated within a second or two.
const CATALOG_RECHECKS: usize = 5;
/// Rechecks of the row counts.
const COUNT_RECHECKS: usize = 5;
const CATALOG_PAUSE: Duration = Duration::from_secs(1);
/// Rows that are checked for having moved to another partition.
const MAX_MISPLACED: usize = 100_000;

impl Comparison {
    /// The fields that a comparison of this depth reads of every row.
    fn projection(&self) -> Projection {
        match self.request.depth {
            Depth::Rows => Projection::AllFields,
            Depth::Keys | Depth::Sample(_) => Projection::Key,
        }
    }

    pub(super) fn compare_collection(&self, pair: &Pair, report: &mut CollectionReport) -> Result<(), VerifyAbort> {
        let Some(source) = self.compare_catalogs(pair, report)? else { return Ok(()) };
        if report.catalog.iter().any(|difference| matches!(difference.what, "collection" | "schema")) {
            return Ok(());
        }
        self.check_readable(pair)?;
        let before = report.clone();
        let outcome = self.compare_rows(pair, source, report).and_then(|()| self.check_readable(pair));
        if outcome.is_err() {
            // Rows that could not be seen would be told as missing or extra.
            *report = before;
        }
        outcome
    }

    /// Fails unless everything of the collection can be read on both sides. Asked before and after rows are compared: a
    /// query of a whole collection leaves the rows of a released partition out without an error (seen on 2.3.5).
    fn check_readable(&self, pair: &Pair) -> Result<(), VerifyAbort> {
        for (client, name, whose) in
            [(&self.source, &pair.source, "at the source"), (&self.target, &pair.target, "on the target")]
        {
            let what = match self.patiently(|| client.unreadable_part(name, &self.context))? {
                None => continue,
                Some(UnreadablePart::Everything | UnreadablePart::Loading) => format!("{name} is not loaded {whose}"),
                Some(UnreadablePart::Partition(partition)) => {
                    format!("the partition {partition} of {name} is not loaded {whose}")
                }
                Some(UnreadablePart::Settling(partition)) => {
                    format!("the partition {partition} of {name} was loaded {whose} a moment ago")
                }
            };
            return Err(VerifyAbort::Failed(format!("{what}: its rows cannot be read")));
        }
        Ok(())
    }

    fn compare_rows(
        &self,
        pair: &Pair,
        source: SourceCollection,
        report: &mut CollectionReport,
    ) -> Result<(), VerifyAbort> {
        let Some(key) = catalog::key_field(&source.details.schema) else {
            return Err(VerifyAbort::Failed("the schema has no primary key".into()));
        };
        let ttl = catalog::ttl(&source.details.properties);
        let has_key = catalog::has_partition_key(&source.details.schema);
        let whole = if has_key { WholeRead::Unnamed } else { WholeRead::Named };
        let rows = CollectionRows { comparison: self, pair, key, whole };
        rows.count(report)?;
        self.progress().of_rows += report.counts.source.unwrap_or(0);
        let partitions: Vec<String> = if self.ignore_partitions || has_key || source.partitions.is_empty() {
            vec![String::new()]
        } else {
            source.partitions.into_keys().collect()
        };
        let mut findings = RowFindings { report, one_sided: Vec::new() };
        for partition in &partitions {
            rows.compare_partition(partition, &mut findings)?;
        }
        findings.merge_misplaced();
        rows.recount(report)?;
        if ttl.is_some() {
            report.allow_for_ttl();
        }
        Ok(())
    }

    /// Describes the collection at the source and reports how the target's catalog differs; `None` if the source has
    /// dropped it.
    fn compare_catalogs(
        &self,
        pair: &Pair,
        report: &mut CollectionReport,
    ) -> Result<Option<SourceCollection>, VerifyAbort> {
        for attempt in 1.. {
            let source = self.describe(&self.source, &pair.source)?;
            let target = self.describe(&self.target, &pair.target)?;
            let Some(source) = source else { return Ok(None) };
            report.catalog = match target {
                None => {
                    vec![CatalogDifference { what: "collection", difference: "the target does not have it".into() }]
                }
                Some(target) => catalog::differences(&source, &target, self.ignore_partitions, self.load)
                    .into_iter()
                    .map(|(what, difference)| CatalogDifference { what, difference })
                    .collect(),
            };
            if report.catalog.is_empty() || attempt == CATALOG_RECHECKS {
                return Ok(Some(source));
            }
            if self.context.cancel.sleep(CATALOG_PAUSE) {
                return Err(VerifyAbort::Cancelled);
            }
        }
        Ok(None)
    }

    fn describe(&self, client: &Client, name: &CollectionName) -> Result<Option<SourceCollection>, VerifyAbort> {
        self.patiently(|| match catalog::describe_by_name(client, name, &self.context) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_collection_missing() || error.is_database_missing() => Ok(None),
            Err(error) => Err(error),
        })
    }
}

/// The rows of one collection.
struct CollectionRows<'a> {
    comparison: &'a Comparison,
    pair: &'a Pair,
    key: KeyField,
    whole: WholeRead,
}

/// What a lookup has found.
type Looked = Result<BTreeMap<Key, RowDigests>, VerifyAbort>;

fn call_of(error: &ScanError) -> Option<&Error> {
    match error {
        ScanError::Page(PageError::Call(error)) => Some(error),
        _ => None,
    }
}

impl CollectionRows<'_> {
    fn places(&self, partition: &str) -> (RowLocation, RowLocation) {
        let Pair { source, target } = self.pair;
        (RowLocation::within(source, partition), RowLocation::within(target, partition))
    }

    fn stream(&self, client: &Arc<Client>, place: RowLocation) -> Result<ReadAhead, VerifyAbort> {
        let target = ReadSpec {
            client: Arc::clone(client),
            context: self.comparison.context.clone(),
            place,
            key: self.key.clone(),
            detail: match self.comparison.projection() {
                Projection::Key => RowDetail::Keys,
                Projection::AllFields => RowDetail::Digests,
            },
            whole: self.whole,
        };
        ReadAhead::spawn("verify-ahead", target, None).map_err(|error| VerifyAbort::Failed(error.to_string()))
    }

    fn compare_partition(&self, partition: &str, findings: &mut RowFindings<'_>) -> Result<(), VerifyAbort> {
        let comparison = self.comparison;
        let (source, target) = self.places(partition);
        let left = self.stream(&comparison.source, source)?;
        let right = self.stream(&comparison.target, target)?;
        let mut merge = Merge::new(left, right);
        let projection = comparison.projection();
        let mut candidates = Candidates::default();
        let mut sample = Sample::new(comparison.request.depth, findings.report.counts.source);
        while let Some(step) = comparison.try_on(|| merge.next_step(), call_of)? {
            findings.report.counts.compared += step.keys as u64;
            comparison.progress().rows += step.keys as u64;
            add_candidates(&mut candidates, &step);
            sample.take(&step);
            if candidates.len() >= CANDIDATES {
                self.recheck(partition, &mut candidates, projection, findings)?;
            }
        }
        self.recheck(partition, &mut candidates, projection, findings)?;
        // Everything else was compared by keys; the sampled rows are compared by contents, too.
        for chosen in sample.keys.chunks(CANDIDATES) {
            let mut contents = Candidates::default();
            chosen.iter().for_each(|key| contents.add(key.clone(), None));
            self.recheck(partition, &mut contents, Projection::AllFields, findings)?;
        }
        Ok(())
    }

    /// Rechecks candidates until they are equal or their difference is confirmed.
    fn recheck(
        &self,
        partition: &str,
        candidates: &mut Candidates,
        projection: Projection,
        findings: &mut RowFindings<'_>,
    ) -> Result<(), VerifyAbort> {
        let comparison = self.comparison;
        let (at_source, on_target) = self.places(partition);
        for _ in 0..RECHECKS {
            if candidates.is_empty() {
                return Ok(());
            }
            comparison.wait_caught_up()?;
            let keys = candidates.keys();
            let target = self.lookup(&comparison.target, &on_target, &keys, projection)?;
            let source = self.lookup(&comparison.source, &at_source, &keys, projection)?;
            for (key, kind) in candidates.judge(&target, &source).differ {
                let difference = RowDifference { key, partition: partition.to_owned(), kind };
                findings.add(difference);
            }
        }
        findings.report.counts.unsettled += candidates.len() as u64;
        *candidates = Candidates::default();
        Ok(())
    }

    fn lookup(&self, client: &Client, place: &RowLocation, keys: &[Key], projection: Projection) -> Looked {
        let (key_field, context) = (self.key.name.as_str(), &self.comparison.context);
        let lookup = Lookup { client, context, place, key_field, projection };
        self.comparison.try_on(|| lookup.digests(keys), call_of_page)
    }

    fn count(&self, report: &mut CollectionReport) -> Result<(), VerifyAbort> {
        let comparison = self.comparison;
        let (source, target) = self.places("");
        let count = |client: &Client, place| comparison.patiently(|| client.count_rows(place, &comparison.context));
        report.counts.target = count(&comparison.target, &target)?;
        report.counts.source = count(&comparison.source, &source)?;
        Ok(())
    }

    /// Counts both sides until the result is conclusive, or the counts have changed too often. The counts differ
    /// although no key does if one side has duplicate keys.
    fn recount(&self, report: &mut CollectionReport) -> Result<(), VerifyAbort> {
        if report.counts.source == report.counts.target {
            return Ok(());
        }
        let mut counts = CountRechecks::default();
        for _ in 0..COUNT_RECHECKS {
            self.comparison.wait_caught_up()?;
            self.count(report)?;
            report.counts.verdict = counts.judge(report.counts.target, report.counts.source);
            if report.counts.verdict != CountVerdict::Unsettled {
                break;
            }
        }
        Ok(())
    }
}

fn call_of_page(error: &PageError) -> Option<&Error> {
    match error {
        PageError::Call(error) => Some(error),
        _ => None,
    }
}

/// The confirmed differences of a collection's rows.
struct RowFindings<'a> {
    report: &'a mut CollectionReport,
    /// Rows that only one side has. They may have moved to another partition, which shows once all were compared.
    one_sided: Vec<RowDifference>,
}

impl RowFindings<'_> {
    fn add(&mut self, difference: RowDifference) {
        let may_be_misplaced = difference.kind != RowKind::Different && !difference.partition.is_empty();
        if may_be_misplaced && self.one_sided.len() < MAX_MISPLACED {
            self.one_sided.push(difference);
        } else {
            self.report.add(difference);
        }
    }

    /// Reports the one-sided rows. A row that is missing in one partition and extra in another is one misplaced row.
    fn merge_misplaced(self) {
        let is_missing = |difference: &RowDifference| difference.kind == RowKind::Missing;
        let (missing, extra): (Vec<_>, Vec<_>) = self.one_sided.into_iter().partition(is_missing);
        let mut missing: BTreeMap<Key, RowDifference> =
            missing.into_iter().map(|difference| (difference.key.clone(), difference)).collect();
        let mut merged = Vec::new();
        for extra in extra {
            match missing.remove(&extra.key) {
                Some(missing) => merged.push(RowDifference { kind: RowKind::Misplaced, ..missing }),
                None => merged.push(extra),
            }
        }
        merged.extend(missing.into_values());
        merged.sort_by(|a, b| a.key.cmp(&b.key));
        merged.into_iter().for_each(|difference| self.report.add(difference));
    }
}

/// Adds the rows of a step that differ, with what the source showed.
fn add_candidates(candidates: &mut Candidates, step: &MergeStep) {
    for &index in step.added.iter().chain(&step.changed) {
        if let (Some(key), Some(&digest)) = (step.page.keys.get(index), step.page.digests.get(index)) {
            candidates.add(key.clone(), Some(RowDigests::from([digest])));
        }
    }
    step.removed.iter().for_each(|key| candidates.add(key.clone(), Some(RowDigests::new())));
}

/// Chooses one of every so many keys, to compare contents.
struct Sample {
    every: u64,
    seen: u64,
    keys: Vec<Key>,
}

impl Sample {
    fn new(depth: Depth, count: Option<u64>) -> Sample {
        let every = match depth {
            Depth::Sample(rows) if rows > 0 => (count.unwrap_or(0) / rows).max(1),
            _ => 0,
        };
        Sample { every, seen: 0, keys: Vec::new() }
    }

    fn take(&mut self, step: &MergeStep) {
        for key in step.page.keys.iter().filter(|_| self.every > 0) {
            if self.seen.is_multiple_of(self.every) {
                self.keys.push(key.clone());
            }
            self.seen += 1;
        }
    }
}
