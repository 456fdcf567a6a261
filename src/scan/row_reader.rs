//! Reads ranges of rows from a server and checks that the response lies within the range.

use super::column::pick;
use super::error::PageError;
use super::key::{Key, KeyRange};
use super::server::{Projection, RowBatch, RowDetail, RowServer};
use crate::domain::Column;
use crate::milvus::rows::Extent;

/// Milvus returns at most this many rows per query.
pub(super) const MAX_ROWS: usize = 16_384;
/// Rows of the first page, when the size of rows is unknown.
const FIRST_ROWS: usize = 1000;

/// Reads from one collection or partition.
pub(super) struct RowReader {
    server: Box<dyn RowServer>,
    pub(super) detail: RowDetail,
    /// Rows of the next page.
    pub(super) page_rows: usize,
}

impl RowReader {
    pub(super) fn new(server: Box<dyn RowServer>, detail: RowDetail) -> RowReader {
        RowReader { server, detail, page_rows: FIRST_ROWS }
    }

    /// Database and collection, for messages.
    pub(super) fn object(&self) -> String {
        self.server.object()
    }

    /// Reads at most `limit` rows of a range. A row outside of the range is an error: the walk would never end, or
    /// miss rows.
    pub(super) fn read(&mut self, range: KeyRange<'_>, limit: usize) -> Result<RowBatch, PageError> {
        self.query(range, Extent::AtMost(limit), self.detail.projection())
    }

    /// About as many rows of a range, those with the lowest keys, where the server answers in their order.
    pub(super) fn read_page(&mut self, range: KeyRange<'_>, rows: usize) -> Result<RowBatch, PageError> {
        self.query(range, Extent::Page(rows), self.detail.projection())
    }

    /// Whether the page that was read last is known to leave out no key below its last one.
    pub(super) fn has_whole_pages(&self) -> bool {
        self.server.has_whole_pages()
    }

    /// The same, keys only.
    pub(super) fn read_keys(&mut self, range: KeyRange<'_>, limit: usize) -> Result<Vec<Key>, PageError> {
        Ok(self.query(range, Extent::AtMost(limit), Projection::Key)?.keys)
    }

    fn query(&mut self, range: KeyRange<'_>, extent: Extent, projection: Projection) -> Result<RowBatch, PageError> {
        let batch = self.server.query(range, extent, projection)?;
        match batch.keys.iter().find(|key| !range.contains(key)) {
            None => Ok(batch),
            Some(key) => Err(PageError::Outside { object: self.object(), key: key.clone() }),
        }
    }

    /// The rows in the order of their keys.
    pub(super) fn sort(&self, batch: RowBatch) -> Result<RowBatch, PageError> {
        let RowBatch { keys, columns } = batch;
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|&index| &keys[index]);
        let columns = self.pick(&columns, keys.len(), &order)?;
        Ok(RowBatch { keys: order.into_iter().map(|index| keys[index].clone()).collect(), columns })
    }

    /// The rows with these indexes.
    pub(super) fn pick(&self, columns: &[Column], rows: usize, indexes: &[usize]) -> Result<Vec<Column>, PageError> {
        pick(columns, rows, Some(indexes)).map_err(|source| PageError::Rows { object: self.object(), source })
    }
}

/// The response does not fit into a message.
pub(super) fn is_too_large(error: &PageError) -> bool {
    matches!(error, PageError::Call(error) if error.is_response_too_large())
}
