//! Calls about rows, whose key is an integer column `id`. Partitions are not told apart.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use protobuf::Message as _;

use super::{FakeMilvus, request, status};
use crate::domain::{Column, Keys};
use crate::milvus::field_data;
use crate::milvus::pb::api::{
    DeleteRequest, MutationResult, QueryRequest, QueryResults, TruncateCollectionRequest, TruncateCollectionResponse,
};
use crate::milvus::pb::common::Status;
use crate::milvus::pb::schema::FieldData;
use crate::milvus::rows::WriteRequest;

/// The key of every collection.
pub(crate) const KEY: &str = "id";

/// How far a key that the server makes is from the one that it was given.
const NEW_KEYS: i64 = 1_000_000;
/// With it a collection with autoID takes given keys.
pub(super) const TAKES_KEYS: &str = "allow_insert_auto_id";

type Table = BTreeMap<i64, Vec<Vec<Vec<u8>>>>;

/// Keys that an expression of ours matches: comparisons joined by `and`, or a list.
fn matches(expression: &str) -> impl Fn(i64) -> bool {
    let conditions: Vec<_> = expression.split(" and ").filter(|part| !part.is_empty()).map(condition).collect();
    move |key| conditions.iter().all(|holds| holds(key))
}

fn condition(part: &str) -> Box<dyn Fn(i64) -> bool> {
    let (field, rest) = part.trim().split_once(' ').unwrap();
    assert_eq!(field, KEY, "{part}");
    let (operator, value) = rest.split_once(' ').unwrap();
    let numbers = value.trim_matches(['[', ']']).split(',').map(|number| number.parse().unwrap());
    let numbers: Vec<i64> = numbers.collect();
    match operator {
        "in" => Box::new(move |key| numbers.contains(&key)),
        ">" => Box::new(move |key| key > numbers[0]),
        ">=" => Box::new(move |key| key >= numbers[0]),
        "<" => Box::new(move |key| key < numbers[0]),
        "<=" => Box::new(move |key| key <= numbers[0]),
        _ => panic!("{part}"),
    }
}

/// The rows of a request, each with its key: its columns, in the order of their names.
fn rows_of(rows: &WriteRequest) -> Vec<(i64, Vec<Vec<u8>>)> {
    let mut columns = rows.columns().unwrap();
    field_data::sort(&mut columns).unwrap();
    let Keys::Int(keys) = field_data::keys(&columns, KEY).unwrap() else { panic!("keys are integers") };
    let row = |index| field_data::pick(&columns, rows.count(), &[index]).unwrap();
    let bytes = |column: Column| column.parts().concat();
    keys.into_iter().enumerate().map(|(index, key)| (key, row(index).into_iter().map(bytes).collect())).collect()
}

impl FakeMilvus {
    pub(super) fn answer_about_rows(&self, method: &'static str, asked: &dyn Any) -> Option<Box<dyn Any>> {
        let status = match method {
            "Query" => return Some(Box::new(self.query(request(asked)))),
            "TruncateCollection" => {
                let TruncateCollectionRequest { db_name, collection_name, .. } = request(asked);
                let status = self.on_rows(db_name, collection_name, |rows| rows.clear(), "truncate");
                let status = protobuf::MessageField::some(status);
                return Some(Box::new(TruncateCollectionResponse { status, ..Default::default() }));
            }
            "Insert" => self.insert(request(asked)),
            "Upsert" => self.upsert(request(asked)),
            "Delete" => {
                let DeleteRequest { db_name, collection_name, expr, .. } = request(asked);
                let is_deleted = matches(expr);
                let delete = |rows: &mut Table| rows.retain(|&key, _| !is_deleted(key));
                self.on_rows(db_name, collection_name, delete, &format!("delete {expr}"))
            }
            _ => return None,
        };
        Some(Box::new(MutationResult { status: protobuf::MessageField::some(status), ..Default::default() }))
    }

    /// Whether a collection has autoID, and whether it takes given keys.
    fn keys_of(&self, (db, name): (&str, &str)) -> (bool, bool) {
        let found = self.with(db, name, |collection| {
            let takes = collection.properties.get(TAKES_KEYS).is_some_and(|value| value == "true");
            (collection.schema.fields.iter().any(|field| field.autoID), takes)
        });
        found.unwrap_or_default()
    }

    fn on_rows(&self, db: &str, name: &str, change: impl FnOnce(&mut Table), done: &str) -> Status {
        let outcome = self.with(db, name, |collection| change(&mut collection.rows));
        self.changed(outcome.map(|()| done.to_owned()).ok_or_else(|| status(100, "collection not found")))
    }

    fn insert(&self, asked: &WriteRequest) -> Status {
        let new = rows_of(asked);
        let done = format!("insert {:?}", new.iter().map(|(key, _)| key).collect::<Vec<_>>());
        let place = asked.place();
        if self.keys_of((&place.db, &place.collection)) == (true, false) {
            return status(1100, "can not assign primary field data when auto id enabled");
        }
        let insert = |rows: &mut Table| {
            new.into_iter().for_each(|(key, row)| rows.entry(key).or_default().push(row));
        };
        self.on_rows(&place.db, &place.collection, insert, &done)
    }

    fn upsert(&self, asked: &WriteRequest) -> Status {
        let new = rows_of(asked);
        let done = format!("upsert {:?}", new.iter().map(|(key, _)| key).collect::<Vec<_>>());
        let place = asked.place();
        let (generates, _) = self.keys_of((&place.db, &place.collection));
        let upsert = |rows: &mut Table| {
            new.into_iter().for_each(|(key, row)| {
                rows.remove(&key);
                // With autoID the row gets a new key, whatever was given (seen on 2.6.20 and 3.0).
                let key = if generates { key + NEW_KEYS } else { key };
                rows.insert(key, vec![row]);
            });
        };
        self.on_rows(&place.db, &place.collection, upsert, &done)
    }

    fn query(&self, asked: &QueryRequest) -> QueryResults {
        let is_asked = matches(&asked.expr);
        let found = self.with(&asked.db_name, &asked.collection_name, |collection| {
            let rows = collection.rows.iter().filter(|(key, _)| is_asked(**key));
            rows.flat_map(|(_, copies)| copies.clone()).collect::<Vec<_>>()
        });
        let Some(mut rows) = found else {
            let status = protobuf::MessageField::some(status(100, "collection not found"));
            return QueryResults { status, ..Default::default() };
        };
        let fields_data = match asked.output_fields.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["count(*)"] => {
                let count = field_data::testing::longs("count(*)", &[rows.len() as i64]);
                vec![count.parts().concat()]
            }
            [field] => {
                let limit = asked.query_params.iter().find(|pair| pair.key == "limit");
                rows.truncate(limit.map_or(usize::MAX, |limit| limit.value.parse().unwrap()));
                if field == "*" && rows.len() > self.largest_answer.load(Ordering::Relaxed) {
                    let status = protobuf::MessageField::some(status(2000, "query results exceed the limit size"));
                    return QueryResults { status, ..Default::default() };
                }
                together(&rows)
                    .into_iter()
                    .filter(|column| field == "*" || column.field_name == field)
                    .map(whole)
                    .collect()
            }
            _ => panic!("{:?}", asked.output_fields),
        };
        QueryResults { fields_data, ..Default::default() }
    }
}

fn whole(column: FieldData) -> Vec<u8> {
    column.write_to_bytes().unwrap()
}

/// The columns of all rows, which are integers.
fn together(rows: &[Vec<Vec<u8>>]) -> Vec<FieldData> {
    let columns = rows.first().map_or(0, Vec::len);
    let column = |index: usize| {
        let parts = rows.iter().map(|row| Column::from(row[index].clone()));
        let name = FieldData::parse_from_bytes(&rows[0][index]).unwrap().field_name;
        let whole = parts.fold(Column::default(), |mut whole, part| {
            whole.append(part);
            whole
        });
        let Keys::Int(values) = field_data::keys(&[whole], &name).unwrap() else { panic!("{name} holds no integers") };
        FieldData::parse_from_bytes(&field_data::testing::longs(&name, &values).parts().concat()).unwrap()
    };
    (0..columns).map(column).collect()
}
