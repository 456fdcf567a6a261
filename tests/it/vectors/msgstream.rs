//! Every encoded log message of the reference vectors (Milvus 2.3 to 2.5), against what a decoder must find in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use milvus_cdc::internals::decode::decode;
use milvus_cdc::internals::pb::schema::FieldData;
use milvus_cdc::internals::{Body, CollectionId, CollectionRef, Keys, PartitionId, Position, Record};
use protobuf::Message;
use serde_json::Value;

use super::reference;

/// What the decoder makes of a message, in words; rows and keys are compared by themselves.
pub(super) fn words(body: &Body) -> String {
    let named = |db: &str, name: &str| format!("{db}.{name}");
    match body {
        Body::Tick { .. } => "tick".into(),
        Body::Insert(insert) => format!("insert {}/{}", insert.collection, insert.partition.0),
        Body::Delete(delete) => format!("delete {}/{}", delete.collection, delete.partition.0),
        Body::CreateCollection(id) => format!("create {id}"),
        Body::DropCollection(id) => format!("drop {id}"),
        Body::CollectionHint(id) => format!("hint {id}"),
        Body::CatalogHint(Some((db, name))) => format!("hint {}", named(db, name)),
        Body::CatalogHint(None) => "hint".into(),
        Body::CreateDatabase(db) => format!("create database {db}"),
        Body::Release(CollectionRef::Name { db, collection }) => format!("release {}", named(db, collection)),
        Body::BulkImport { db, collection } => format!("import {}", named(db, collection)),
        Body::Ignored(name) => format!("ignored {name}"),
        Body::Unknown(kind) => format!("unknown {kind}"),
        Body::Undecodable(error) => format!("undecodable: {error}"),
        other => panic!("older logs have no {other:?}"),
    }
}

/// What is to be done with each type, by Milvus's name of it.
fn wanted(kind: &str, body: &Value) -> String {
    let id = |key: &str| body[key].as_i64().unwrap();
    let collection = || id("collectionID");
    let name =
        || format!("{}.{}", body["db_name"].as_str().unwrap_or_default(), body["collection_name"].as_str().unwrap());
    match kind {
        "TimeTick" => "tick".into(),
        "Insert" => format!("insert {}/{}", collection(), id("partitionID")),
        "Delete" => format!("delete {}/{}", collection(), id("partitionID")),
        "CreateCollection" => format!("create {}", collection()),
        "DropCollection" => format!("drop {}", collection()),
        "CreatePartition" | "DropPartition" => format!("hint {}", collection()),
        "Import" => format!("import {}", name()),
        "LoadCollection"
        | "LoadPartitions"
        | "CreateIndex"
        | "AlterIndex"
        | "DropIndex"
        | "AlterCollection"
        | "AlterCollectionField" => format!("hint {}", name()),
        "CreateDatabase" => format!("create database {}", body["db_name"].as_str().unwrap()),
        "ReleaseCollection" | "ReleasePartitions" => format!("release {}", name()),
        "RenameCollection" | "CreateAlias" | "AlterAlias" | "DropAlias" | "AlterDatabase" | "DropDatabase" => {
            "hint".into()
        }
        "Flush"
        | "DataNodeTt"
        | "Replicate"
        | "CreateCredential"
        | "UpdateCredential"
        | "DeleteCredential"
        | "CreateRole"
        | "DropRole"
        | "OperateUserRole"
        | "OperatePrivilege"
        | "OperatePrivilegeV2"
        | "CreatePrivilegeGroup"
        | "OperatePrivilegeGroup"
        | "DropPrivilegeGroup" => format!("ignored {kind}"),
        other => panic!("nobody has decided what to do with {other}"),
    }
}

fn check(vector: &Value, payload: Vec<u8>) {
    let kind = vector["msg_type"]["name"].as_str().unwrap();
    let body = &vector["body"];
    let record = decode(Position::at(9), &Bytes::from(payload)).unwrap();
    assert_eq!(words(&record.body), wanted(kind, body), "{}", vector["file"]);
    check_times(&record, body);
    match &record.body {
        Body::Insert(insert) => {
            assert_eq!(insert.rows as u64, body["num_rows"].as_u64().unwrap());
            assert_eq!(
                (insert.collection, insert.partition),
                (CollectionId(453718835200001), PartitionId(453718835200002))
            );
            check_columns(insert.columns.iter().map(|column| column.parts().concat()), vector, insert.rows);
        }
        Body::Delete(delete) => check_keys(&delete.keys, body),
        _ => {}
    }
}

/// The rows' own timestamps count, where there are any.
fn check_times(record: &Record, body: &Value) {
    let rows: Vec<u64> = body["timestamps"].as_array().into_iter().flatten().map(|ts| ts.as_u64().unwrap()).collect();
    let base = body["base"]["timestamp"].as_u64().unwrap_or_default();
    let (begin, end) = (rows.iter().min().unwrap_or(&base), rows.iter().max().unwrap_or(&base));
    assert_eq!((record.begin.0, record.end.0), (*begin, *end));
}

/// Each column is a whole `FieldData` under its own name.
fn check_columns(columns: impl Iterator<Item = Vec<u8>>, vector: &Value, rows: usize) {
    let found: BTreeMap<String, FieldData> = columns
        .map(|bytes| FieldData::parse_from_bytes(&bytes).unwrap())
        .map(|data| (data.field_name.clone(), data))
        .collect();
    let wanted: Vec<&Value> = vector["columns"].as_array().unwrap().iter().collect();
    assert_eq!(found.len(), wanted.len());
    for column in wanted {
        let name = column["name"].as_str().unwrap();
        let data = found.get(name).unwrap_or_else(|| panic!("no column {name}"));
        assert!(data.field.is_some(), "{name}");
        assert_eq!(i64::from(data.type_), column["data_type_number"].as_i64().unwrap(), "{name}");
        assert_eq!(data.field_id, column["field_id"].as_i64().unwrap(), "{name}");
        assert_eq!(column["rows"].as_array().unwrap().len(), rows, "{name}");
        let valid = column["valid_data"].as_array().into_iter().flatten().map(|valid| valid.as_bool().unwrap());
        assert_eq!(data.valid_data, valid.collect::<Vec<bool>>(), "{name}");
    }
}

fn check_keys(keys: &Keys, body: &Value) {
    let ids = &body["primary_keys"];
    let ints = ids["int_id"]["data"].as_array().or_else(|| body["int64_primary_keys"].as_array());
    let wanted = match ints {
        Some(ints) => Keys::Int(ints.iter().map(|key| key.as_i64().unwrap()).collect()),
        None => {
            let texts = ids["str_id"]["data"].as_array().unwrap();
            Keys::Str(texts.iter().map(|key| key.as_str().unwrap().to_owned()).collect())
        }
    };
    assert_eq!(keys, &wanted);
}

#[test]
#[ignore = "needs the reference vectors; scripts/test runs it where they are"]
fn every_vector_says_what_it_should() {
    let folder = reference("msgstream");
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let vectors = expected["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 46);
    for vector in vectors {
        let file = vector["file"].as_str().unwrap();
        let payload = std::fs::read(folder.join(file)).unwrap();
        assert_eq!(payload.len() as u64, vector["bytes"].as_u64().unwrap(), "{file}");
        check(vector, payload);
    }
}
