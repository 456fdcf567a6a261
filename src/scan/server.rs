//! Queries a server for the rows of a range of keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::PageError;
use super::key::{Key, KeyRange};
use crate::domain::{CollectionName, Column, KeyField, RowLocation};
use crate::milvus::capabilities::WholePages;
use crate::milvus::catalog::{QueryCoverage, UnreadablePart};
use crate::milvus::expression::every_row;
use crate::milvus::rows::{Consistency, Extent, Query};
use crate::milvus::{CallContext, Client, ErrorKind, field_data};

/// What is read, and from where.
#[derive(Clone)]
pub struct ReadSpec {
    /// The server.
    pub client: Arc<Client>,
    /// The limits of every call.
    pub context: CallContext,
    /// Collection and partition; an empty partition stands for all.
    pub place: RowLocation,
    /// The primary key.
    pub key: KeyField,
    /// How much of each row is read.
    pub detail: RowDetail,
    /// How all partitions are read.
    pub whole: WholeRead,
}

/// How all partitions of a collection are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeRead {
    /// By naming all of them: then the server fails where it has not loaded one.
    Named,
    /// Without naming any: a key decides about them, or there are none.
    Unnamed,
}

/// How much of each row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowDetail {
    /// The key alone, which is cheaper; every digest is 0.
    Keys,
    /// All fields, of which key and digest are kept.
    Digests,
    /// All fields, kept as columns with key and digest.
    Columns,
}

impl RowDetail {
    /// The fields that the server has to return.
    pub(super) fn projection(self) -> Projection {
        match self {
            RowDetail::Keys => Projection::Key,
            RowDetail::Digests | RowDetail::Columns => Projection::AllFields,
        }
    }
}

/// The fields that a query returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// The primary key.
    Key,
    /// Every field.
    AllFields,
}

impl Projection {
    /// The output field of the query.
    pub fn output_field(self, key_name: &str) -> &str {
        match self {
            Projection::Key => key_name,
            Projection::AllFields => "*",
        }
    }
}

/// The rows of one query, in the order of the response.
pub(super) struct RowBatch {
    pub(super) keys: Vec<Key>,
    pub(super) columns: Vec<Column>,
}

/// A server that answers rows. Tests have their own, which answers as the worst servers do.
pub(super) trait RowServer: Send {
    /// Rows of a range of keys.
    fn query(&mut self, range: KeyRange<'_>, extent: Extent, projection: Projection) -> Result<RowBatch, PageError>;

    /// Whether the last page that was asked for is known to leave out no key below its last one.
    fn has_whole_pages(&self) -> bool {
        false
    }

    /// Database and collection, for messages.
    fn object(&self) -> String;
}

/// The rows of a collection or partition at a Milvus.
pub(super) struct MilvusRows {
    spec: ReadSpec,
    /// A strong read was made: writes acknowledged before it are visible, and later reads need not wait for that again.
    is_visible: bool,
    has_whole_pages: bool,
    /// The partitions of the collection after the last query, which are those before the next one.
    partitions: Option<BTreeSet<String>>,
}

impl MilvusRows {
    pub(super) fn new(spec: ReadSpec) -> MilvusRows {
        MilvusRows { spec, is_visible: false, has_whole_pages: false, partitions: None }
    }

    /// The partitions to name in a query; none for all without naming them.
    fn partitions(&mut self) -> Result<Vec<String>, PageError> {
        let ReadSpec { client, context, place, whole, .. } = &self.spec;
        match (place.partition.is_empty(), whole) {
            (false, _) => Ok(vec![place.partition.clone()]),
            (true, WholeRead::Unnamed) => Ok(Vec::new()),
            (true, WholeRead::Named) => match self.partitions.take() {
                // Until the next answer they are not known: one of them may be the reason if the query fails.
                Some(partitions) => Ok(partitions.into_iter().collect()),
                None => {
                    let found = client.list_partitions(&self.collection(), context)?;
                    Ok(found.unwrap_or_default().into_keys().collect())
                }
            },
        }
    }

    /// Fails when a query of the whole collection may have left out a partition, which Milvus 2.3.5 does without an
    /// error where none is named. Asked after each query, and by whoever reads before the first one: so every page
    /// stands between two answers that all partitions are loaded, and that they are those that were read.
    fn check_coverage(&mut self, read: &[String]) -> Result<(), PageError> {
        let ReadSpec { client, context, place, whole, .. } = &self.spec;
        if !place.partition.is_empty() {
            return Ok(());
        }
        let unreadable = |part| Err(PageError::Unreadable { object: self.object(), part });
        let now = match client.query_coverage(&self.collection(), context)? {
            QueryCoverage::Partial(part) => return unreadable(part),
            QueryCoverage::Whole { partitions, .. } => partitions,
        };
        if *whole == WholeRead::Named {
            if let Some(added) = now.iter().find(|name| !read.contains(name)) {
                return unreadable(UnreadablePart::Partition(added.clone()));
            }
            self.partitions = Some(now);
        }
        Ok(())
    }

    fn collection(&self) -> CollectionName {
        CollectionName::new(&self.spec.place.db, &self.spec.place.collection)
    }
}

impl MilvusRows {
    fn query_once(
        &mut self,
        range: KeyRange<'_>,
        extent: Extent,
        projection: Projection,
    ) -> Result<RowBatch, PageError> {
        let partitions = self.partitions()?;
        let ReadSpec { client, context, place, key, .. } = &self.spec;
        let expression = range.expression(&key.name).unwrap_or_else(|| every_row(key));
        let fields = [projection.output_field(&key.name)];
        let consistency = if self.is_visible { Consistency::Bounded } else { Consistency::Strong };
        let query = Query { expression: &expression, fields: &fields, extent, consistency };
        let columns = client.query_partitions(place, partitions.clone(), &query, context)?;
        if matches!(extent, Extent::Page(_)) {
            self.has_whole_pages = client.capabilities(context)?.whole_pages != WholePages::Ordinary;
        }
        self.check_coverage(&partitions)?;
        self.is_visible = true;
        if columns.iter().all(Column::is_empty) {
            return Ok(RowBatch { keys: Vec::new(), columns: Vec::new() });
        }
        let keys = field_data::keys(&columns, &self.spec.key.name)
            .map_err(|source| PageError::Columns { object: self.object(), source })?;
        Ok(RowBatch { keys: Key::each(keys), columns })
    }
}

impl RowServer for MilvusRows {
    fn query(&mut self, range: KeyRange<'_>, extent: Extent, projection: Projection) -> Result<RowBatch, PageError> {
        let were_known = self.partitions.is_some();
        match self.query_once(range, extent, projection) {
            // A partition may have come or gone since the page before.
            Err(error) if were_known && may_be_about_partitions(&error) => {
                log::debug!("{error}: the partitions are listed again");
                self.query_once(range, extent, projection)
            }
            outcome => outcome,
        }
    }

    fn has_whole_pages(&self) -> bool {
        self.has_whole_pages
    }

    fn object(&self) -> String {
        let ReadSpec { client, place, .. } = &self.spec;
        format!("{}.{} at {}", place.db, place.collection, client.address())
    }
}

/// What the caller deals with (a smaller page, a pause) is not.
fn may_be_about_partitions(error: &PageError) -> bool {
    match error {
        PageError::Unreadable { .. } => true,
        PageError::Call(error) => {
            error.kind != ErrorKind::TooLarge && !error.is_silence() && !error.is_refused_before_execution()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::failpoint::{CallFault, Faults};
    use crate::milvus::Cancel;
    use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};

    fn rows(server: &Arc<FakeMilvus>) -> MilvusRows {
        MilvusRows::new(ReadSpec {
            client: server.client("source:1"),
            context: CallContext { timeout: Duration::from_secs(1), cancel: Cancel::default() },
            place: RowLocation { db: "default".into(), collection: "c".into(), partition: String::new() },
            key: KeyField { name: "id".into(), is_int: true },
            detail: RowDetail::Keys,
            whole: WholeRead::Named,
        })
    }

    fn server() -> Arc<FakeMilvus> {
        let server = FakeMilvus::new(Repeats::Succeed);
        let mut collection = FakeCollection { id: 1, is_loaded: true, ..FakeCollection::default() };
        collection.partitions.insert("_default".into());
        collection.set_rows([(1, 1), (2, 2)]);
        server.put("default", "c", collection);
        server
    }

    fn keys(rows: &mut MilvusRows) -> Result<usize, PageError> {
        rows.query(KeyRange { above: None, up_to: None }, Extent::AtMost(10), Projection::Key)
            .map(|batch| batch.keys.len())
    }

    #[test]
    fn the_partitions_after_a_page_are_those_before_the_next_one() {
        let (faults, server) = (Faults::install(), server());
        let mut rows = rows(&server);
        for _ in 0..3 {
            assert_eq!(keys(&mut rows).unwrap(), 2);
        }
        let listed = faults.trace().iter().filter(|method| *method == "ShowPartitions").count();
        assert_eq!(listed, 1 + 3 * 2, "once before, and twice after each page");
    }

    #[test]
    fn a_partition_that_comes_or_goes_between_two_pages_is_read_or_left_out() {
        let (faults, server) = (Faults::install(), server());
        let mut rows = rows(&server);
        keys(&mut rows).unwrap();
        let mut with_another = server.collections();
        with_another.get_mut("default").unwrap().get_mut("c").unwrap().partitions.insert("p".into());
        server.become_this(with_another);
        assert_eq!(keys(&mut rows).unwrap(), 2);
        // As for one that is gone.
        faults.at_call("Query", 1, CallFault::Refused(200));
        assert_eq!(keys(&mut rows).unwrap(), 2);
        faults.at_call("GetLoadState", 1, CallFault::Refused(65535));
        faults.at_call("GetLoadState", 2, CallFault::Refused(65535));
        keys(&mut rows).unwrap_err();
    }

    #[test]
    fn what_the_caller_deals_with_is_not_repeated_at_once() {
        for fault in [CallFault::TooLarge, CallFault::Unreachable, CallFault::RateLimited(1)] {
            let (faults, server) = (Faults::install(), server());
            let mut rows = rows(&server);
            keys(&mut rows).unwrap();
            faults.at_call("Query", 1, fault);
            keys(&mut rows).unwrap_err();
            assert_eq!(keys(&mut rows).unwrap(), 2);
        }
    }
}
