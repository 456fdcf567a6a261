//! Comparing one collection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::lookup::lookup;
use super::recheck::{CountLooks, Shown, Suspects};
use super::report::{CatalogDifference, CollectionReport, CountVerdict, Depth, RowDifference, RowKind};
use super::worker::{Comparison, Halt, Pair};
use crate::catalog::{self, SourceCollection};
use crate::domain::Timestamp;
use crate::milvus::catalog::LoadState;
use crate::milvus::rows::Place;
use crate::milvus::{Client, Error};
use crate::pipeline::KeyField;
use crate::scan::{Key, Merge, PageError, ReadAhead, ScanError, Step, Target};

/// Rows that are looked at again together, after the task has passed the moment of the look: bounds the memory, some 20 MB, whatever differs.
const SUSPECTS: usize = 50_000;
/// Looks at rows that change all the time.
const LOOKS: usize = 20;
/// Looks at a catalog that differs: it follows within a second or two.
const CATALOG_LOOKS: usize = 5;
/// Looks at the numbers of rows.
const COUNT_LOOKS: usize = 5;
const CATALOG_PAUSE: Duration = Duration::from_secs(1);
/// Rows whose partition is checked against the others'.
const MAX_MOVED: usize = 100_000;

impl Comparison {
    pub(super) fn compare_collection(&self, pair: &Pair, report: &mut CollectionReport) -> Result<(), Halt> {
        let Some(source) = self.compare_catalogs(pair, report)? else { return Ok(()) };
        if report.catalog.iter().any(|difference| matches!(difference.what, "collection" | "schema")) {
            return Ok(());
        }
        for (client, (db, name), whose) in
            [(&self.source, &pair.source, "at the source"), (&self.target, &pair.target, "on the target")]
        {
            if self.patiently(|| client.load_state(db, name, &self.context))? != LoadState::Loaded {
                return Err(Halt::Failed(format!("{db}.{name} is not loaded {whose}: its rows cannot be read")));
            }
        }
        let Some(key) = catalog::key_field(&source.details.schema) else {
            return Err(Halt::Failed("it has no primary key".into()));
        };
        let rows = Rows { comparison: self, pair, key };
        rows.count(report)?;
        self.progress().of_rows += report.counts.source.unwrap_or(0);
        let by_key = self.ignore_partitions || catalog::has_partition_key(&source.details.schema);
        let partitions: Vec<String> = if by_key || source.partitions.is_empty() {
            vec![String::new()]
        } else {
            source.partitions.into_keys().collect()
        };
        let mut found = Vec::new();
        for partition in &partitions {
            rows.compare_partition(partition, report, &mut found)?;
        }
        for difference in rows.sort_out(found) {
            report.add(difference);
        }
        rows.recount(report)
    }

    /// The source's catalog of a collection, and what differs from it on the target; `None` when it has gone from the source.
    fn compare_catalogs(&self, pair: &Pair, report: &mut CollectionReport) -> Result<Option<SourceCollection>, Halt> {
        for look in 1.. {
            let source = self.look(&self.source, &pair.source)?;
            let target = self.look(&self.target, &pair.target)?;
            let Some(source) = source else { return Ok(None) };
            report.catalog = match target {
                None => {
                    vec![CatalogDifference { what: "collection", difference: "the target does not have it".into() }]
                }
                Some(target) => catalog::differences(&source, &target, self.ignore_partitions)
                    .into_iter()
                    .map(|(what, difference)| CatalogDifference { what, difference })
                    .collect(),
            };
            if report.catalog.is_empty() || look == CATALOG_LOOKS {
                return Ok(Some(source));
            }
            if self.context.cancel.sleep(CATALOG_PAUSE) {
                return Err(Halt::Cancelled);
            }
        }
        Ok(None)
    }

    fn look(&self, client: &Client, (db, name): &(String, String)) -> Result<Option<SourceCollection>, Halt> {
        self.patiently(|| match catalog::look_by_name(client, (db, name), &self.context) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_collection_missing() || error.is_database_missing() => Ok(None),
            Err(error) => Err(error),
        })
    }
}

/// The rows of one collection.
struct Rows<'a> {
    comparison: &'a Comparison,
    pair: &'a Pair,
    key: KeyField,
}

fn call_of(error: &ScanError) -> Option<&Error> {
    match error {
        ScanError::Page(PageError::Call(error)) => Some(error),
        _ => None,
    }
}

impl Rows<'_> {
    fn places(&self, partition: &str) -> (Place, Place) {
        let place = |(db, collection): &(String, String)| Place {
            db: db.clone(),
            collection: collection.clone(),
            partition: partition.to_owned(),
        };
        (place(&self.pair.source), place(&self.pair.target))
    }

    fn stream(&self, client: &Arc<Client>, place: Place) -> Result<ReadAhead, Halt> {
        let target = Target {
            client: Arc::clone(client),
            context: self.comparison.context.clone(),
            place,
            key: self.key.clone(),
            keys_only: self.comparison.request.depth != Depth::Rows,
            keep_columns: false,
        };
        ReadAhead::spawn("verify-ahead", target, None).map_err(|error| Halt::Failed(error.to_string()))
    }

    fn compare_partition(
        &self,
        partition: &str,
        report: &mut CollectionReport,
        found: &mut Vec<RowDifference>,
    ) -> Result<(), Halt> {
        let comparison = self.comparison;
        let (source, target) = self.places(partition);
        let left = self.stream(&comparison.source, source)?;
        let right = self.stream(&comparison.target, target)?;
        let mut merge = Merge::new(left, right);
        let keys_only = comparison.request.depth != Depth::Rows;
        let mut suspects = Suspects::default();
        let mut sample = Sample::new(comparison.request.depth, report.counts.source);
        while let Some(step) = comparison.try_on(|| merge.next_step(), call_of)? {
            report.counts.compared += step.keys as u64;
            comparison.progress().rows += step.keys as u64;
            suspect(&mut suspects, &step);
            sample.take(&step);
            if suspects.len() >= SUSPECTS {
                self.look_again(partition, &mut suspects, keys_only, report, found)?;
            }
        }
        self.look_again(partition, &mut suspects, keys_only, report, found)?;
        // The contents of the sample, where everything else was compared by keys.
        for chosen in sample.keys.chunks(SUSPECTS) {
            let mut contents = Suspects::default();
            chosen.iter().for_each(|key| contents.add(key.clone(), None));
            self.look_again(partition, &mut contents, false, report, found)?;
        }
        Ok(())
    }

    /// Looks at rows that differed until they do not, or the difference counts.
    fn look_again(
        &self,
        partition: &str,
        suspects: &mut Suspects,
        keys_only: bool,
        report: &mut CollectionReport,
        found: &mut Vec<RowDifference>,
    ) -> Result<(), Halt> {
        let comparison = self.comparison;
        let (at_source, on_target) = self.places(partition);
        for _ in 0..LOOKS {
            if suspects.is_empty() {
                return Ok(());
            }
            comparison.wait_passed(Timestamp::now())?;
            let keys = suspects.keys();
            let target = self.lookup(&comparison.target, &on_target, &keys, keys_only)?;
            let source = self.lookup(&comparison.source, &at_source, &keys, keys_only)?;
            for (key, kind) in suspects.judge(&target, &source).differ {
                let difference = RowDifference { key, partition: partition.to_owned(), kind };
                // Those that may have moved to another partition are told when all have been seen.
                if kind != RowKind::Different && !partition.is_empty() && found.len() < MAX_MOVED {
                    found.push(difference);
                } else {
                    report.add(difference);
                }
            }
        }
        report.counts.unsettled += suspects.len() as u64;
        *suspects = Suspects::default();
        Ok(())
    }

    fn lookup(
        &self,
        client: &Client,
        place: &Place,
        keys: &[Key],
        keys_only: bool,
    ) -> Result<BTreeMap<Key, Shown>, Halt> {
        let (name, context) = (&self.key.name, &self.comparison.context);
        let call_of = |error: &PageError| matches!(error, PageError::Call(_));
        self.comparison.try_on(
            || lookup((client, context), place, name, keys, keys_only),
            |error| if call_of(error) { call_of_page(error) } else { None },
        )
    }

    /// A row that is missing in one partition and too many in another has only the wrong partition.
    fn sort_out(&self, found: Vec<RowDifference>) -> Vec<RowDifference> {
        let mut missing: BTreeMap<Key, RowDifference> = BTreeMap::new();
        let mut others = Vec::new();
        for difference in found {
            match difference.kind {
                RowKind::Missing => drop(missing.insert(difference.key.clone(), difference)),
                _ => others.push(difference),
            }
        }
        let mut sorted = Vec::new();
        for extra in others {
            match missing.remove(&extra.key) {
                Some(missing) => sorted.push(RowDifference { kind: RowKind::Misplaced, ..missing }),
                None => sorted.push(extra),
            }
        }
        sorted.extend(missing.into_values());
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        sorted
    }

    fn count(&self, report: &mut CollectionReport) -> Result<(), Halt> {
        let comparison = self.comparison;
        let (source, target) = self.places("");
        let count = |client: &Client, place| comparison.patiently(|| client.count_rows(place, &comparison.context));
        report.counts.target = count(&comparison.target, &target)?;
        report.counts.source = count(&comparison.source, &source)?;
        Ok(())
    }

    /// The two counts, until they say something or have changed too often. They differ although no key does where keys are there more than
    /// once on one side.
    fn recount(&self, report: &mut CollectionReport) -> Result<(), Halt> {
        if report.counts.source == report.counts.target {
            return Ok(());
        }
        let mut looks = CountLooks::default();
        for _ in 0..COUNT_LOOKS {
            self.comparison.wait_passed(Timestamp::now())?;
            self.count(report)?;
            report.counts.verdict = looks.judge(report.counts.target, report.counts.source);
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

/// The rows of a step that differ, with what the source showed.
fn suspect(suspects: &mut Suspects, step: &Step) {
    for &index in step.added.iter().chain(&step.changed) {
        if let (Some(key), Some(&digest)) = (step.page.keys.get(index), step.page.digests.get(index)) {
            suspects.add(key.clone(), Some(Shown::from([digest])));
        }
    }
    step.removed.iter().for_each(|key| suspects.add(key.clone(), Some(Shown::new())));
}

/// Every so many keys one, for their contents.
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

    fn take(&mut self, step: &Step) {
        for key in step.page.keys.iter().filter(|_| self.every > 0) {
            if self.seen.is_multiple_of(self.every) {
                self.keys.push(key.clone());
            }
            self.seen += 1;
        }
    }
}
