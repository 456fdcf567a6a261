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

/// Rows on their way to one place, ready to be sent, also more than once.
#[derive(Debug, Clone)]
pub struct Rows(RowsRequest);

impl Rows {
    /// `count` rows for `place`; every column is one serialized `FieldData`.
    pub fn new(place: &Place, columns: Vec<Vec<u8>>, count: usize) -> Rows {
        Rows(RowsRequest {
            db_name: place.db.clone(),
            collection_name: place.collection.clone(),
            partition_name: place.partition.clone(),
            fields_data: columns,
            num_rows: count as u32,
            ..Default::default()
        })
    }

    /// How many rows.
    pub fn count(&self) -> usize {
        self.0.num_rows as usize
    }

    /// The columns.
    pub fn columns(&self) -> &[Vec<u8>] {
        &self.0.fields_data
    }

    /// Other rows for the same place.
    pub fn with(&self, columns: Vec<Vec<u8>>, count: usize) -> Rows {
        let place = (self.0.db_name.clone(), self.0.collection_name.clone(), self.0.partition_name.clone());
        Rows::new(&Place { db: place.0, collection: place.1, partition: place.2 }, columns, count)
    }
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
    /// Writes rows.
    pub fn write_rows(&self, write: Write, rows: &Rows, context: &CallContext) -> Result<(), Error> {
        let (name, method) = match write {
            Write::Insert => ("Insert", &methods::INSERT),
            Write::Upsert => ("Upsert", &methods::UPSERT),
        };
        let object = format!("{}.{}", rows.0.db_name, rows.0.collection_name);
        self.call(name, &object, method, &rows.0, context).map(drop)
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
        let limit =
            |limit: usize| KeyValuePair { key: "limit".into(), value: limit.to_string(), ..KeyValuePair::default() };
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
