/*!
Calls about rows: insert, upsert, delete, query. Columns are raw `FieldData` bytes on the way in and out.
*/

use super::client::{CallContext, Client};
use super::error::Error;
use super::methods;
use super::pb::api::{DeleteRequest, QueryRequest, RowsRequest};
use super::pb::common::KeyValuePair;

/// Where rows go or come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Database name.
    pub db: String,
    /// Collection name.
    pub collection: String,
    /// Partition name; empty: for inserts the server's choice, for deletes and queries all.
    pub partition: String,
}

impl Place {
    fn object(&self) -> String {
        format!("{}.{}", self.db, self.collection)
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    /// As new rows, whatever is there.
    Insert,
    /// In place of rows with the same keys.
    Upsert,
}

/// What one `Query` asks for.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// Filter expression.
    pub expression: &'a str,
    /// Field names, or `*`, or `count(*)`.
    pub fields: &'a [&'a str],
    /// At most so many rows; `None` for a count.
    pub limit: Option<usize>,
}

/// One blocking call each, failing as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Writes rows. Every column in `columns` is one serialized `FieldData`.
    pub fn write_rows(
        &self,
        place: &Place,
        write: Write,
        columns: Vec<Vec<u8>>,
        rows: usize,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = RowsRequest {
            db_name: place.db.clone(),
            collection_name: place.collection.clone(),
            partition_name: place.partition.clone(),
            fields_data: columns,
            num_rows: rows as u32,
            ..Default::default()
        };
        let (name, method) = match write {
            Write::Insert => ("Insert", &methods::INSERT),
            Write::Upsert => ("Upsert", &methods::UPSERT),
        };
        self.call(name, &place.object(), method, &request, context).map(drop)
    }

    /// Deletes the rows that match `expression`.
    pub fn delete_rows(&self, place: &Place, expression: &str, context: &CallContext) -> Result<(), Error> {
        let request = DeleteRequest {
            db_name: place.db.clone(),
            collection_name: place.collection.clone(),
            partition_name: place.partition.clone(),
            expr: expression.into(),
            ..Default::default()
        };
        self.call("Delete", &place.object(), &methods::DELETE, &request, context).map(drop)
    }

    /// Reads rows with strong consistency: every write acknowledged before the call is seen.
    /// Returns one serialized `FieldData` per column.
    pub fn query_rows(&self, place: &Place, query: &Query<'_>, context: &CallContext) -> Result<Vec<Vec<u8>>, Error> {
        let limit = |limit: usize| KeyValuePair {
            key: "limit".into(),
            value: limit.to_string(),
            ..KeyValuePair::default()
        };
        let request = QueryRequest {
            db_name: place.db.clone(),
            collection_name: place.collection.clone(),
            expr: query.expression.into(),
            output_fields: query.fields.iter().map(|&field| field.to_owned()).collect(),
            partition_names: if place.partition.is_empty() { Vec::new() } else { vec![place.partition.clone()] },
            query_params: query.limit.map(limit).into_iter().collect(),
            ..Default::default()
        };
        Ok(self.call("Query", &place.object(), &methods::QUERY, &request, context)?.fields_data)
    }
}
