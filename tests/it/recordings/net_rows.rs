//! What is left of a log's operations, and whether these are the rows that were written.

use std::collections::BTreeMap;

use milvus_cdc::internals::pb::schema::FieldData;
use milvus_cdc::internals::{Column, Keys, Op, OpBody};
use protobuf::Message;
use serde_json::Value;

use super::Recording;
use super::value::{is_equal, rows_of};

/// The rows of every collection.
pub(super) struct NetRows {
    recording: &'static str,
    /// By id.
    collections: BTreeMap<i64, NetCollection>,
}

/// A collection that is there in the end.
struct NetCollection {
    name: String,
    expected: Value,
    /// Names by id.
    partitions: BTreeMap<i64, String>,
    key: String,
    rows: BTreeMap<String, NetRow>,
}

struct NetRow {
    channel: String,
    partition: i64,
    /// By field.
    values: BTreeMap<String, Value>,
}

impl NetRows {
    /// Nothing yet. Ids come from what the server has answered in the last step.
    pub(super) fn new(recording: &Recording) -> NetRows {
        let expected = recording.json("expected.json");
        let partitions = recording.last_answers("ShowPartitions");
        let mut collections = BTreeMap::new();
        for (place, answer) in recording.last_answers("DescribeCollection") {
            let Some(id) = answer["collectionID"].as_str().and_then(|id| id.parse::<i64>().ok()) else { continue };
            let all = expected["collections"].as_array().unwrap().iter();
            let mut wanted =
                all.filter(|it| it["database"] == place.0 && it["name"] == place.1 && it["dropped_in_step"].is_null());
            let Some(expected) = wanted.next() else { continue };
            let fields = expected["fields"].as_array().unwrap();
            let key = fields.iter().find(|field| field["is_primary"] == true).unwrap()["name"].as_str().unwrap();
            let collection = NetCollection {
                name: format!("{}.{}", place.0, place.1),
                expected: expected.clone(),
                partitions: named_partitions(&partitions[&place]),
                key: key.to_owned(),
                rows: BTreeMap::new(),
            };
            collections.insert(id, collection);
        }
        assert!(collections.len() >= 19, "{}: only {} collections", recording.name, collections.len());
        NetRows { recording: recording.name, collections }
    }

    pub(super) fn apply(&mut self, op: Op) {
        // One that is dropped in the end.
        let Some(collection) = self.collections.get_mut(&op.collection.0) else { return };
        match op.body {
            OpBody::Insert { rows, columns } => {
                collection.insert(op.channel.as_str(), op.partition.0, &columns, rows);
            }
            OpBody::Delete(Keys::Int(keys)) => keys.iter().for_each(|key| collection.delete(&key.to_string())),
            OpBody::Delete(Keys::Str(keys)) => keys.iter().for_each(|key| collection.delete(key)),
            OpBody::Truncate(truncate) => {
                assert!(truncate.channels.contains(&op.channel), "{}: not a shard's", collection.name);
                collection.rows.retain(|_, row| row.channel != op.channel.as_str());
            }
        }
    }

    pub(super) fn check(&self) {
        for collection in self.collections.values() {
            collection.check(&format!("{} {}", self.recording, collection.name));
        }
    }
}

fn named_partitions(answer: &Value) -> BTreeMap<i64, String> {
    let texts = |key: &str| answer[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    texts("partitionIDs").map(|id| id.parse().unwrap()).zip(texts("partition_names").map(str::to_owned)).collect()
}

impl NetCollection {
    fn insert(&mut self, channel: &str, partition: i64, columns: &[Column], rows: usize) {
        let mut all: Vec<BTreeMap<String, Value>> = vec![BTreeMap::new(); rows];
        for column in columns {
            let data = FieldData::parse_from_bytes(&column.parts().concat()).unwrap();
            for (row, value) in all.iter_mut().zip(rows_of(&data, rows)) {
                row.insert(if data.is_dynamic { "$meta".to_owned() } else { data.field_name.clone() }, value);
            }
        }
        for values in all {
            let key = match &values[&self.key] {
                Value::String(key) => key.clone(),
                key => key.to_string(),
            };
            let row = NetRow { channel: channel.to_owned(), partition, values };
            let before = self.rows.insert(key.clone(), row);
            assert!(
                before.is_none_or(|row| !self.partitions.contains_key(&row.partition)),
                "{}: {key} twice",
                self.name
            );
        }
    }

    fn delete(&mut self, key: &str) {
        self.rows.remove(key);
    }

    fn check(&self, what: &str) {
        let mut left: BTreeMap<&String, &NetRow> =
            self.rows.iter().filter(|(_, row)| self.partitions.contains_key(&row.partition)).collect();
        for expected in self.expected["rows"].as_array().unwrap() {
            let key = match &expected["key"] {
                Value::String(key) => key.clone(),
                key => key.to_string(),
            };
            let row = left.remove(&key).unwrap_or_else(|| panic!("{what}: no row {key}"));
            if let Some(partition) = expected["partition"].as_str() {
                assert_eq!(self.partitions[&row.partition], partition, "{what}: row {key}");
            }
            self.check_values(&format!("{what}: row {key}"), row, &expected["row"]);
        }
        // What the client gave up is there as a whole, or not at all.
        let uncertain = self.expected["uncertain"].as_array().into_iter().flatten();
        for written in uncertain.filter(|written| written["committed_in_log"] == true) {
            for row in written["rows"].as_array().unwrap() {
                let key = row[&self.key].to_string();
                let found = left.remove(&key).unwrap_or_else(|| panic!("{what}: no row {key}, which is committed"));
                self.check_values(&format!("{what}: row {key}"), found, row);
            }
        }
        assert!(left.is_empty(), "{what}: too many rows: {:?}", left.keys());
    }

    fn check_values(&self, what: &str, row: &NetRow, expected: &Value) {
        for (field, value) in expected.as_object().unwrap() {
            // A list of records: its members are columns of their own.
            if let Some(records) = value.as_array().filter(|_| field == "items") {
                for member in ["name", "q", "emb"] {
                    let values: Vec<Value> = records.iter().map(|record| record[member].clone()).collect();
                    let column = format!("{field}[{member}]");
                    let found = &row.values[&column];
                    assert!(is_equal(found, &Value::Array(values)), "{what}: {column} is {found}");
                }
                continue;
            }
            // A field that was added later is not in older rows.
            let Some(found) = row.values.get(field) else {
                let is_default = value.is_null() || value == "ld";
                assert!(is_default, "{what}: no {field}");
                continue;
            };
            assert!(is_equal(found, value), "{what}: {field} is {found} instead of {value}");
        }
    }
}
