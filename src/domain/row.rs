//! Rows on their way from the log to a target: columns of bytes, their destination, and how they are written.

use bytes::Bytes;

use super::collection::CollectionName;

/// The partition or collection that rows are written to or read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowLocation {
    /// Database name.
    pub db: String,
    /// Collection name.
    pub collection: String,
    /// Partition name. Empty: the server chooses for inserts; deletes and queries span all partitions.
    pub partition: String,
}

impl RowLocation {
    /// A partition of a collection; an empty partition as described at [`Self::partition`].
    pub fn within(collection: &CollectionName, partition: &str) -> RowLocation {
        let CollectionName { db, name } = collection.clone();
        RowLocation { db, collection: name, partition: partition.to_owned() }
    }

    /// Database and collection, for messages.
    pub fn object(&self) -> String {
        format!("{}.{}", self.db, self.collection)
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    /// As new rows, even if rows with the same keys exist.
    Insert,
    /// Replacing rows with the same keys.
    Upsert,
}

/// One column: a serialized `FieldData` in parts. The concatenated parts of several messages are one column with the
/// rows of all of them (see `milvus::field_data`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column(Vec<Bytes>);

impl Column {
    /// The parts, in order.
    pub fn parts(&self) -> &[Bytes] {
        &self.0
    }

    /// Appends the rows of another column.
    pub fn append(&mut self, more: Column) {
        self.0.extend(more.0);
    }

    /// Total size of all parts in bytes.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether the column has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }
}

impl From<Bytes> for Column {
    fn from(bytes: Bytes) -> Self {
        Column(vec![bytes])
    }
}

impl From<Vec<u8>> for Column {
    fn from(bytes: Vec<u8>) -> Self {
        Column(vec![bytes.into()])
    }
}
