/*!
Calls that read and write rows: insert, upsert, delete, query. Columns are serialized `FieldData` in both directions.
*/

use bytes::Bytes;
use grpcio::GrpcSlice;
use protobuf::rt::{self, WireType};
use protobuf::{CodedOutputStream, Message as _};

use super::capabilities::WholePages;
use super::change_method::ChangeMethod;
use super::client::{CallContext, Client};
use super::error::Error;
use super::marked::MarkedClient;
use super::methods::{self, SerializeRequest};
use super::pb::api::{DeleteRequest, MutationResult, QueryRequest};
use super::pb::common::KeyValuePair;
use super::pb::schema::field_data::Field;
use super::pb::schema::scalar_field::Data;
use super::pb::schema::{FieldData, ScalarField};
use super::wire::{self, Malformed};
use crate::domain::{CollectionName, Column, RowLocation, Write};

/// An insert or upsert of rows of one partition. It can be sent more than once.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    place: RowLocation,
    content: RequestBody,
    count: usize,
}

#[derive(Debug, Clone)]
enum RequestBody {
    Columns(Vec<Column>),
    Message {
        message: SealedMessage,
        /// By column, the lengths of its parts: nothing in the message tells where one ends.
        parts: Vec<Vec<usize>>,
    },
}

/// A serialized `InsertRequest` or `UpsertRequest`, which have one shape. Cloning shares it.
#[derive(Clone)]
struct SealedMessage(GrpcSlice);

impl AsRef<[u8]> for SealedMessage {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Without the rows.
impl std::fmt::Debug for SealedMessage {
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

impl WriteRequest {
    /// A request that writes `count` rows to `place`.
    pub fn new(place: &RowLocation, columns: Vec<Column>, count: usize) -> WriteRequest {
        WriteRequest { place: place.clone(), content: RequestBody::Columns(columns), count }
    }

    /// Where they go.
    pub fn place(&self) -> &RowLocation {
        &self.place
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the rows, or of the whole message once it is serialized.
    pub fn bytes(&self) -> usize {
        match &self.content {
            RequestBody::Columns(columns) => columns.iter().map(Column::len).sum(),
            RequestBody::Message { message, .. } => message.0.len(),
        }
    }

    /// The columns.
    ///
    /// # Errors
    /// The serialized request is malformed.
    pub(crate) fn columns(&self) -> Result<Vec<Column>, Malformed> {
        let (message, parts) = match &self.content {
            RequestBody::Columns(columns) => return Ok(columns.clone()),
            RequestBody::Message { message, parts } => (Bytes::from_owner(message.clone()), parts),
        };
        let mut columns: Vec<Column> = Vec::new();
        for found in wire::fields(&message) {
            let (number, value) = found?;
            if number == field::COLUMNS {
                let mut rest = message.slice_ref(value);
                let lengths = parts.get(columns.len()).map_or(&[][..], Vec::as_slice);
                let mut column = Column::from(rest.split_to(lengths.first().map_or(rest.len(), |len| *len)));
                for len in lengths.iter().skip(1) {
                    column.append(rest.split_to(*len).into());
                }
                columns.push(column);
            }
        }
        Ok(columns)
    }

    /// The same request with other rows.
    pub fn with(&self, columns: Vec<Column>, count: usize) -> WriteRequest {
        WriteRequest::new(&self.place, columns, count)
    }

    /// Serializes the request now and drops the columns: one copy of the rows is in memory while the call is in
    /// flight, not two.
    pub fn seal(&mut self) {
        // A serialization error is reported when the request is sent.
        if let RequestBody::Columns(columns) = &self.content
            && let Ok(message) = self.write(columns)
        {
            let lengths = |column: &Column| column.parts().iter().map(Bytes::len).collect();
            self.content = RequestBody::Message { message, parts: columns.iter().map(lengths).collect() };
        }
    }

    /// Serializes by hand, so that each column is copied only once.
    fn write(&self, columns: &[Column]) -> Result<SealedMessage, protobuf::Error> {
        // The exact size: gRPC takes over a full vector, and copies one with spare capacity.
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
        Ok(SealedMessage(GrpcSlice::from(message)))
    }

    fn names(&self) -> [(u32, &str); 3] {
        let RowLocation { db, collection, partition } = &self.place;
        [(field::DB, db), (field::COLLECTION, collection), (field::PARTITION, partition)]
    }

    /// Bytes of the message that [`WriteRequest::write`] makes.
    fn size(&self, columns: &[Column]) -> usize {
        let texts = self.names().map(|(number, text)| delimited_size(number, text.len()));
        let bodies = columns.iter().map(|column| delimited_size(field::COLUMNS, column.len()));
        let count = rt::tag_size(field::COUNT) + rt::compute_raw_varint64_size(self.count as u64);
        (texts.into_iter().chain(bodies).sum::<u64>() + count) as usize
    }
}

const INSERT: ChangeMethod<WriteRequest, MutationResult> = methods::write("/milvus.proto.milvus.MilvusService/Insert");
const UPSERT: ChangeMethod<WriteRequest, MutationResult> = methods::write("/milvus.proto.milvus.MilvusService/Upsert");

impl SerializeRequest for WriteRequest {
    fn serialize(&self, out: &mut GrpcSlice) -> grpcio::Result<()> {
        let message = match &self.content {
            RequestBody::Message { message, .. } => Ok(message.clone()),
            RequestBody::Columns(columns) => self.write(columns),
        };
        *out = message.map_err(|error| grpcio::Error::Codec(error.into()))?.0;
        Ok(())
    }
}

/// Serialized size of a length-delimited field with `len` bytes.
fn delimited_size(number: u32, len: usize) -> u64 {
    rt::tag_size(number) + rt::compute_raw_varint64_size(len as u64) + len as u64
}

/// Which writes a query must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Every write acknowledged before the call. The server waits for its next time tick.
    Strong,
    /// A state at most 5 s old. The server does not wait.
    Bounded,
}

/// The parameters of a `Query`.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// Filter expression.
    pub expression: &'a str,
    /// Field names, or `*`, or `count(*)`.
    pub fields: &'a [&'a str],
    /// How many rows.
    pub extent: Extent,
    /// Which writes it must see.
    pub consistency: Consistency,
}

/// How many rows a query answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of them: a count.
    All,
    /// At most so many, all that match if they are fewer.
    AtMost(usize),
    /// About so many, and all that match up to the last key of them: fewer say nothing, only none is the end.
    Page(usize),
}

impl Extent {
    fn params(self, pages: WholePages) -> Vec<KeyValuePair> {
        const ITERATOR: &str = "iterator";
        const FOR_BEST: &str = "reduce_stop_for_best";
        let set = |key: &str, value: String| KeyValuePair { key: key.into(), value, ..KeyValuePair::default() };
        let on = |key| set(key, "True".into());
        let limit = |rows: usize| set("limit", rows.to_string());
        match (self, pages) {
            (Extent::All, _) => Vec::new(),
            (Extent::AtMost(rows), _) | (Extent::Page(rows), WholePages::Ordinary) => vec![limit(rows)],
            (Extent::Page(rows), WholePages::Iterator) => vec![limit(rows), on(ITERATOR)],
            (Extent::Page(rows), WholePages::IteratorForBest) => vec![limit(rows), on(ITERATOR), on(FOR_BEST)],
        }
    }
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

/// One blocking call each; [`Error`] describes the failures.
#[allow(clippy::missing_errors_doc)]
impl MarkedClient<'_> {
    /// Writes rows.
    pub fn write_rows(&self, write: Write, rows: &WriteRequest, context: &CallContext) -> Result<(), Error> {
        // An upsert of Milvus Lite 3 keeps the dynamic fields that only the old row has. Its insert replaces the row.
        let write = if self.client().is_lite() { Write::Insert } else { write };
        let method = match write {
            Write::Insert => &INSERT,
            Write::Upsert => &UPSERT,
        };
        self.change(&rows.place.object(), method, rows, context).map(drop)
    }

    /// Deletes the rows that match `expression`.
    pub fn delete_rows(&self, place: &RowLocation, expression: &str, context: &CallContext) -> Result<(), Error> {
        self.client().witnesses().forget(&CollectionName::new(&place.db, &place.collection));
        let request = DeleteRequest {
            db_name: place.db.clone(),
            collection_name: place.collection.clone(),
            partition_name: place.partition.clone(),
            expr: expression.into(),
            ..Default::default()
        };
        self.change(&place.object(), &methods::DELETE, &request, context).map(drop)
    }
}

/// One blocking call each; [`Error`] describes the failures.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Reads rows.
    pub fn query_rows(
        &self,
        place: &RowLocation,
        query: &Query<'_>,
        context: &CallContext,
    ) -> Result<Vec<Column>, Error> {
        let one = if place.partition.is_empty() { Vec::new() } else { vec![place.partition.clone()] };
        self.query_partitions(place, one, query, context)
    }

    /// Reads rows of these partitions, of all if none is named. A server fails where it has not loaded one of those
    /// that are named, and leaves its rows out where none is (seen on 2.3.5).
    pub fn query_partitions(
        &self,
        place: &RowLocation,
        partitions: Vec<String>,
        query: &Query<'_>,
        context: &CallContext,
    ) -> Result<Vec<Column>, Error> {
        let pages = match query.extent {
            Extent::Page(_) => self.capabilities(context)?.whole_pages,
            Extent::All | Extent::AtMost(_) => WholePages::Ordinary,
        };
        let request = QueryRequest {
            db_name: place.db.clone(),
            collection_name: place.collection.clone(),
            expr: query.expression.into(),
            output_fields: query.fields.iter().map(|&field| field.to_owned()).collect(),
            partition_names: partitions,
            query_params: query.extent.params(pages),
            consistency_level: match query.consistency {
                Consistency::Strong => 0,
                Consistency::Bounded => 2,
            },
            ..Default::default()
        };
        let answer = self.call(&place.object(), &methods::QUERY, &request, context)?;
        Ok(answer.fields_data.into_iter().map(Column::from).collect())
    }

    /// The exact number of live rows; a duplicate key counts twice. `None` if the response holds no number.
    pub fn count_rows(&self, place: &RowLocation, context: &CallContext) -> Result<Option<u64>, Error> {
        self.count_matching(place, "", Consistency::Strong, context)
    }

    /// [`Self::count_rows`] of those that match `expression`.
    pub fn count_matching(
        &self,
        place: &RowLocation,
        expression: &str,
        consistency: Consistency,
        context: &CallContext,
    ) -> Result<Option<u64>, Error> {
        let query = Query { expression, fields: &["count(*)"], extent: Extent::All, consistency };
        let columns = self.query_rows(place, &query, context)?;
        Ok(columns.first().and_then(first_number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_asked_for_as_iterators_do_where_they_would_have_holes() {
        let asked = |extent: Extent, pages| -> Vec<String> {
            extent.params(pages).into_iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect()
        };
        assert_eq!(asked(Extent::Page(9), WholePages::Ordinary), ["limit=9"]);
        assert_eq!(asked(Extent::Page(9), WholePages::Iterator), ["limit=9", "iterator=True"]);
        let for_best = ["limit=9", "iterator=True", "reduce_stop_for_best=True"];
        assert_eq!(asked(Extent::Page(9), WholePages::IteratorForBest), for_best);
        assert_eq!(asked(Extent::AtMost(9), WholePages::Iterator), ["limit=9"]);
        assert!(asked(Extent::All, WholePages::Iterator).is_empty());
    }

    #[test]
    fn the_message_is_as_large_as_foretold() {
        for (name, bytes, count) in [("", 0, 0), ("c", 127, 127), ("n", 128, 128), ("long", 70_000, 1 << 21)] {
            let place = RowLocation { db: name.into(), collection: name.repeat(40), partition: String::new() };
            let columns = vec![Column::from(vec![1; bytes]), vec![2; 3].into()];
            let rows = WriteRequest::new(&place, columns.clone(), count);
            assert_eq!(rows.size(&columns), rows.write(&columns).unwrap().0.len(), "{name}");
        }
    }

    #[test]
    fn sealed_rows_are_the_same_rows() {
        let place = RowLocation { db: "d".into(), collection: "c".into(), partition: "p".into() };
        let mut merged = Column::from(vec![10, 1, 1]);
        merged.append(vec![10, 1, 2].into());
        let columns = vec![merged, vec![18, 0].into()];
        let mut rows = WriteRequest::new(&place, columns.clone(), 2);
        let mut before = GrpcSlice::default();
        rows.serialize(&mut before).unwrap();
        rows.seal();
        let mut after = GrpcSlice::default();
        rows.serialize(&mut after).unwrap();
        assert_eq!(before, after);
        assert_eq!(rows.columns().unwrap(), columns, "part by part: what is split again must not lose one");
    }
}
