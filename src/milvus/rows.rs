/*!
Calls about rows: insert, upsert, delete, query. Columns are raw `FieldData` bytes on the way in and out.
*/

use bytes::Bytes;
use grpcio::GrpcSlice;
use protobuf::rt::{self, WireType};
use protobuf::{CodedOutputStream, Message as _};

use super::client::{CallContext, Client};
use super::error::Error;
use super::methods;
use super::pb::api::{DeleteRequest, QueryRequest};
use super::pb::common::KeyValuePair;
use super::pb::schema::field_data::Field;
use super::pb::schema::scalar_field::Data;
use super::pb::schema::{FieldData, ScalarField};
use super::wire::{self, Malformed};

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

/// One column: the bytes of a serialized `FieldData`, in parts. Several messages' parts, one behind the other, are one
/// column with the rows of all (see `pipeline::columns`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column(Vec<Bytes>);

impl Column {
    /// Its parts, in order.
    pub fn parts(&self) -> &[Bytes] {
        &self.0
    }

    /// Puts the rows of another column behind these.
    pub fn append(&mut self, more: Column) {
        self.0.extend(more.0);
    }

    /// Bytes of all parts.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there are none.
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

/// Rows on their way to one place, ready to be sent, also more than once.
#[derive(Debug, Clone)]
pub struct Rows {
    place: Place,
    content: Content,
    count: usize,
}

#[derive(Debug, Clone)]
enum Content {
    Columns(Vec<Column>),
    Message(Message),
}

/// A serialized `InsertRequest` or `UpsertRequest`, which have one shape. Cloning shares it.
#[derive(Clone)]
struct Message(GrpcSlice);

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Without the rows.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Numbers of the fields of `InsertRequest` and `UpsertRequest`.
mod field {
    pub(super) const DB: u32 = 2;
    pub(super) const COLLECTION: u32 = 3;
    pub(super) const PARTITION: u32 = 4;
    pub(super) const COLUMNS: u32 = 5;
    pub(super) const COUNT: u32 = 7;
}

impl Rows {
    /// `count` rows for `place`.
    pub fn new(place: &Place, columns: Vec<Column>, count: usize) -> Rows {
        Rows { place: place.clone(), content: Content::Columns(columns), count }
    }

    /// How many rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What they weigh.
    pub fn bytes(&self) -> usize {
        match &self.content {
            Content::Columns(columns) => columns.iter().map(Column::len).sum(),
            Content::Message(message) => message.0.len(),
        }
    }

    /// The columns.
    ///
    /// # Errors
    /// They were serialized, and do not read as what was written.
    pub(crate) fn columns(&self) -> Result<Vec<Column>, Malformed> {
        let message = match &self.content {
            Content::Columns(columns) => return Ok(columns.clone()),
            Content::Message(message) => Bytes::from_owner(message.clone()),
        };
        let mut columns = Vec::new();
        for part in wire::fields(&message) {
            let (number, value) = part?;
            if number == field::COLUMNS {
                columns.push(message.slice_ref(value).into());
            }
        }
        Ok(columns)
    }

    /// Other rows for the same place.
    pub fn with(&self, columns: Vec<Column>, count: usize) -> Rows {
        Rows::new(&self.place, columns, count)
    }

    /// Serializes them now and lets the messages go that they arrived in: there is one copy while a call is under way, not two.
    pub fn seal(&mut self) {
        // What cannot be serialized fails when it is sent, where somebody hears of it.
        if let Content::Columns(columns) = &self.content
            && let Ok(message) = self.write(columns)
        {
            self.content = Content::Message(message);
        }
    }

    /// Hands the serialized rows to gRPC.
    pub(super) fn serialize(&self, out: &mut GrpcSlice) -> grpcio::Result<()> {
        let message = match &self.content {
            Content::Message(message) => Ok(message.clone()),
            Content::Columns(columns) => self.write(columns),
        };
        *out = message.map_err(|error| grpcio::Error::Codec(error.into()))?.0;
        Ok(())
    }

    /// By hand, so that the columns are copied once, from where they arrived into the message.
    fn write(&self, columns: &[Column]) -> Result<Message, protobuf::Error> {
        // Exactly: gRPC takes a full vector as it is, and copies one with room to spare.
        let mut message = Vec::with_capacity(self.size(columns));
        let mut stream = CodedOutputStream::vec(&mut message);
        for (number, text) in self.names() {
            stream.write_string(number, text)?;
        }
        for column in columns {
            stream.write_tag(field::COLUMNS, WireType::LengthDelimited)?;
            stream.write_raw_varint64(column.len() as u64)?;
            for part in column.parts() {
                stream.write_raw_bytes(part)?;
            }
        }
        stream.write_uint32(field::COUNT, self.count as u32)?;
        stream.flush()?;
        drop(stream);
        Ok(Message(GrpcSlice::from(message)))
    }

    fn names(&self) -> [(u32, &str); 3] {
        let Place { db, collection, partition } = &self.place;
        [(field::DB, db), (field::COLLECTION, collection), (field::PARTITION, partition)]
    }

    /// Bytes of the message that [`Rows::write`] makes.
    fn size(&self, columns: &[Column]) -> usize {
        let texts = self.names().map(|(number, text)| delimited_size(number, text.len()));
        let bodies = columns.iter().map(|column| delimited_size(field::COLUMNS, column.len()));
        let count = rt::tag_size(field::COUNT) + rt::compute_raw_varint64_size(self.count as u64);
        (texts.into_iter().chain(bodies).sum::<u64>() + count) as usize
    }
}

/// What a field takes whose value has `len` bytes.
fn delimited_size(number: u32, len: usize) -> u64 {
    rt::tag_size(number) + rt::compute_raw_varint64_size(len as u64) + len as u64
}

/// How much of what was written last a query must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Every write acknowledged before the call. The server waits for its next time tick.
    Strong,
    /// What is visible, at most 5 s old. Nothing is waited for.
    Bounded,
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
    /// What it must see.
    pub consistency: Consistency,
}

/// The first value of a column of integers.
fn first_number(column: &Column) -> Option<u64> {
    let bytes: Vec<u8> = column.parts().concat();
    let data = FieldData::parse_from_bytes(&bytes).ok()?;
    match data.field? {
        Field::Scalars(ScalarField { data: Some(Data::LongData(numbers)), .. }) => {
            numbers.data.first().and_then(|&number| u64::try_from(number).ok())
        }
        _ => None,
    }
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
        self.call(name, &rows.place.object(), method, rows, context).map(drop)
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

    /// Reads rows.
    pub fn query_rows(&self, place: &Place, query: &Query<'_>, context: &CallContext) -> Result<Vec<Column>, Error> {
        let limit =
            |limit: usize| KeyValuePair { key: "limit".into(), value: limit.to_string(), ..KeyValuePair::default() };
        let request = QueryRequest {
            db_name: place.db.clone(),
            collection_name: place.collection.clone(),
            expr: query.expression.into(),
            output_fields: query.fields.iter().map(|&field| field.to_owned()).collect(),
            partition_names: if place.partition.is_empty() { Vec::new() } else { vec![place.partition.clone()] },
            query_params: query.limit.map(limit).into_iter().collect(),
            consistency_level: match query.consistency {
                Consistency::Strong => 0,
                Consistency::Bounded => 2,
            },
            ..Default::default()
        };
        let answer = self.call("Query", &place.object(), &methods::QUERY, &request, context)?;
        Ok(answer.fields_data.into_iter().map(Column::from).collect())
    }

    /// The exact number of live rows, a key that is there twice counted twice; `None` when the answer holds no number.
    pub fn count_rows(&self, place: &Place, context: &CallContext) -> Result<Option<u64>, Error> {
        self.count_matching(place, "", Consistency::Strong, context)
    }

    /// [`Self::count_rows`] of those that match `expression`.
    pub fn count_matching(
        &self,
        place: &Place,
        expression: &str,
        consistency: Consistency,
        context: &CallContext,
    ) -> Result<Option<u64>, Error> {
        let query = Query { expression, fields: &["count(*)"], limit: None, consistency };
        let columns = self.query_rows(place, &query, context)?;
        Ok(columns.first().and_then(first_number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_as_large_as_foretold() {
        for (name, bytes, count) in [("", 0, 0), ("c", 127, 127), ("n", 128, 128), ("long", 70_000, 1 << 21)] {
            let place = Place { db: name.into(), collection: name.repeat(40), partition: String::new() };
            let columns = vec![Column::from(vec![1; bytes]), vec![2; 3].into()];
            let rows = Rows::new(&place, columns.clone(), count);
            assert_eq!(rows.size(&columns), rows.write(&columns).unwrap().0.len(), "{name}");
        }
    }

    #[test]
    fn sealed_rows_are_the_same_rows() {
        let place = Place { db: "d".into(), collection: "c".into(), partition: "p".into() };
        let mut merged = Column::from(vec![10, 1, 1]);
        merged.append(vec![10, 1, 2].into());
        let mut rows = Rows::new(&place, vec![merged, vec![18, 0].into()], 2);
        let mut before = GrpcSlice::default();
        rows.serialize(&mut before).unwrap();
        rows.seal();
        let mut after = GrpcSlice::default();
        rows.serialize(&mut after).unwrap();
        assert_eq!(before, after);
        assert_eq!(rows.columns().unwrap(), [Column::from(vec![10, 1, 1, 10, 1, 2]), vec![18, 0].into()]);
    }
}
