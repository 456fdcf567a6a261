//! Every encoded record of the write-ahead log of Milvus 2.6 and 3 (reference vectors), against what a decoder must
//! find in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use milvus_cdc::internals::decode::{DumpAnswer, Envelope, Transactions, WalKind, body, of_message, read};
use milvus_cdc::internals::pb::wal::FlushAllResponse;
use milvus_cdc::internals::{Body, CollectionRef, Keys};
use protobuf::Message;
use serde_json::Value;

use super::{columns, reference};

fn bytes_of(file: &str) -> Bytes {
    std::fs::read(reference("wal").join(file)).unwrap().into()
}

fn vectors() -> Vec<Value> {
    let text = std::fs::read_to_string(reference("wal").join("expected.json")).unwrap();
    let Value::Array(vectors) = serde_json::from_str::<Value>(&text).unwrap()["vectors"].take() else {
        panic!("no list")
    };
    assert!(vectors.len() >= 87, "only {} vectors", vectors.len());
    let listed =
        vectors.iter().filter(|vector| reference("wal").join(vector["file"].as_str().unwrap()).is_file()).count();
    assert_eq!(listed, vectors.len(), "files are missing");
    vectors
}

fn message(file: &str) -> Envelope {
    match read(&bytes_of(file)) {
        Ok(DumpAnswer::Message(message)) => *message,
        other => panic!("{file}: {other:?}"),
    }
}

/// What is to be done with each type, by Milvus's name of it.
fn wanted(vector: &Value) -> String {
    let kind = vector["type"]["name"].as_str().unwrap();
    let header = |key: &str| vector["header"][key].as_i64().unwrap_or_default();
    let content = |key: &str| vector["body"][key].as_i64().unwrap();
    match kind {
        "TimeTick" => "tick".into(),
        "Insert" | "Delete" if !vector["cipher"].is_null() => {
            format!("encrypted {}s {}", if kind == "Insert" { "row" } else { "delete" }, header("collection_id"))
        }
        "Delete" if vector["body"]["primary_keys"].is_null() => "by condition".into(),
        "Insert" => format!("insert {}/{} {} rows", content("collectionID"), content("partitionID"), vector["rows"]),
        "Delete" => format!("delete {}/{}", content("collectionID"), content("partitionID")),
        "CreateCollection" => format!("create {}", header("collection_id")),
        "TruncateCollection" => format!("truncate {}", header("collection_id")),
        "DropCollection" => format!("drop {}", header("collection_id")),
        "CreatePartition" | "DropPartition" | "SchemaChange" | "AlterCollection" | "AlterLoadConfig" | "AlterAlias"
        | "CreateIndex" | "AlterIndex" | "DropIndex" => {
            format!("hint {}", header("collection_id"))
        }
        "DropLoadConfig" => format!("release {}", header("collection_id")),
        "CreateDatabase" | "AlterDatabase" | "DropDatabase" | "DropAlias" => "hint".into(),
        "Import" => format!("bulk import {}", content("collectionID")),
        "CommitImport" => format!("committed bulk import {}", header("collection_id")),
        "RestoreSnapshot" => format!("restored snapshot {}", header("collection_id")),
        "BatchUpdateManifest" => format!("rows changed in storage {}", header("collection_id")),
        "RefreshExternalCollection" => format!("refreshed external collection {}", header("collection_id")),
        "Txn" => "stop".into(),
        "Flush"
        | "CreateSegment"
        | "ManualFlush"
        | "FlushAll"
        | "AlterWAL"
        | "AlterReplicateConfig"
        | "AlterUser"
        | "DropUser"
        | "AlterRole"
        | "DropRole"
        | "AlterUserRole"
        | "DropUserRole"
        | "AlterPrivilege"
        | "DropPrivilege"
        | "AlterPrivilegeGroup"
        | "DropPrivilegeGroup"
        | "RestoreRBAC"
        | "AlterResourceGroup"
        | "DropResourceGroup"
        | "CreateSnapshot"
        | "DropSnapshot"
        | "DropSnapshotsByCollection"
        | "RollbackImport"
        | "BeginTxn"
        | "CommitTxn"
        | "RollbackTxn" => format!("ignored {kind}"),
        other => panic!("nobody has decided what to do with {other}"),
    }
}

/// The same of what the decoder made of it.
fn found(message: &Envelope) -> String {
    match body(message) {
        Ok(Body::Tick { .. }) => "tick".into(),
        Ok(Body::Insert(insert)) => format!("insert {}/{} {} rows", insert.collection, insert.partition.0, insert.rows),
        Ok(Body::Delete(delete)) => format!("delete {}/{}", delete.collection, delete.partition.0),
        Ok(Body::CreateCollection(id)) => format!("create {id}"),
        Ok(Body::Truncate(truncate)) => format!("truncate {}", truncate.collection),
        Ok(Body::DropCollection(id)) => format!("drop {id}"),
        Ok(Body::CollectionHint(id)) => format!("hint {id}"),
        Ok(Body::CatalogHint(None)) => "hint".into(),
        Ok(Body::Release(CollectionRef::Id(id))) => format!("release {id}"),
        Ok(Body::Uncarried { collection, what }) => format!("{what} {collection}"),
        Ok(Body::Ignored(name)) => format!("ignored {name}"),
        Ok(Body::Stop(_)) => "stop".into(),
        Err(milvus_cdc::internals::decode::DecodeError::ByCondition) => "by condition".into(),
        other => panic!("{}: {other:?}", message.number),
    }
}

fn check_envelope(file: &str, vector: &Value, message: &Envelope) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(i64::from(message.number), vector["type"]["number"], "{file}: type");
    assert_eq!(message.id.text, text(&vector["message_id"]["id"]), "{file}: id");
    assert_eq!(i64::from(message.id.queue.number()), vector["message_id"]["wal_name_number"], "{file}: queue");
    assert_eq!(Some(message.tick), vector["time_tick"].as_u64(), "{file}: tick");
    assert_eq!(message.last_confirmed.text, text(&vector["last_confirmed"]["id"]), "{file}: last confirmed id");
    assert_eq!(message.vchannel, text(&vector["vchannel"]), "{file}: vchannel");
    if !message.vchannel.is_empty() {
        let pchannel = Envelope::pchannel(&message.vchannel);
        assert_eq!(pchannel, text(&vector["pchannel_of_vchannel"]), "{file}: pchannel");
    }
    assert_eq!(message.txn, vector["txn"]["txn_id"].as_i64(), "{file}: transaction");
    assert_eq!(message.encrypted, !vector["cipher"].is_null(), "{file}: encrypted");
    assert_eq!(message.replicated, !vector["replicate"].is_null(), "{file}: replicated");
    assert_eq!(message.payload.len() as u64, vector["payload_bytes"], "{file}: payload");
    let broadcast = &vector["broadcast"];
    assert_eq!(message.broadcast.as_ref().map(|b| b.id), broadcast["broadcast_id"].as_u64(), "{file}: broadcast");
    if let Some(broadcast) = &message.broadcast {
        let vchannels: Vec<String> = vector["broadcast"]["vchannels"].as_array().unwrap().iter().map(text).collect();
        assert_eq!(broadcast.vchannels, vchannels, "{file}: its channels");
    }
    let packed = message.id.pack().unwrap();
    assert_eq!(
        milvus_cdc::internals::decode::WalMessageId::unpack(packed).as_ref(),
        Some(&message.id),
        "{file}: kept id"
    );
}

fn check_keys(file: &str, vector: &Value, keys: &Keys) {
    let ids = &vector["body"]["primary_keys"];
    match keys {
        Keys::Int(keys) => assert_eq!(serde_json::json!(keys), ids["int_id"]["data"], "{file}"),
        Keys::Str(keys) => assert_eq!(serde_json::json!(keys), ids["str_id"]["data"], "{file}"),
    }
}

#[test]
#[ignore = "needs the reference vectors; scripts/test runs it where they are"]
fn vectors_say_what_they_should() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for vector in vectors() {
        let file = vector["file"].as_str().unwrap();
        if !vector["type"].is_object() {
            continue;
        }
        let message = message(file);
        check_envelope(file, &vector, &message);
        // Of a message on several channels one copy stands for all; the vectors' is not always that one.
        let expected = wanted(&vector);
        match found(&message) {
            // The control channel has no rows: a collection neither begins nor is emptied there.
            found if message.is_of_control() && expected.starts_with("create ") => {
                assert_eq!(found, expected.replace("create", "hint"), "{file}");
            }
            found if message.is_of_control() && expected.starts_with("truncate ") => {
                assert_eq!(found, "ignored TruncateCollection", "{file}");
            }
            found if message.stands_for_all() => assert_eq!(found, expected, "{file}"),
            found if matches!(message.kind(), WalKind::Uncarried(..)) => {
                let what = expected.rsplit_once(' ').unwrap().0;
                assert_eq!(found, format!("ignored {what}"), "{file}");
            }
            found => assert_eq!(found, expected, "{file}"),
        }
        match body(&message) {
            Ok(Body::Insert(insert)) => columns::check(file, &vector, &insert),
            Ok(Body::Delete(delete)) => check_keys(file, &vector, &delete.keys),
            _ => {}
        }
        *seen.entry(vector["type"]["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(seen.len(), 52, "types seen: {seen:?}");
}

#[test]
#[ignore = "needs the reference vectors; scripts/test runs it where they are"]
fn vectors_of_a_streams_status() {
    let status = |file: &str| match read(&bytes_of(file)) {
        Ok(DumpAnswer::Status(status)) => status,
        other => panic!("{file}: {other:?}"),
    };
    assert_eq!((status("71-status-success.pb").code, status("71-status-success.pb").error_code), (0, 0));
    let error = vectors().into_iter().find(|vector| vector["file"] == "72-status-error.pb").unwrap();
    assert_eq!(i64::from(status("72-status-error.pb").code), error["status"]["code"]);
    assert_eq!(status("72-status-error.pb").reason, error["status"]["reason"].as_str().unwrap());
}

#[test]
#[ignore = "needs the reference vectors; scripts/test runs it where they are"]
fn vectors_of_where_flush_all_says_that_channels_end() {
    let file = "73-flushall-response.pb";
    let answer = FlushAllResponse::parse_from_bytes(&bytes_of(file)).unwrap();
    let vector = vectors().into_iter().find(|vector| vector["file"] == file).unwrap();
    let wanted = vector["flush_all_msgs"].as_object().unwrap();
    assert_eq!(answer.flush_all_msgs.len(), wanted.len());
    for (channel, message) in &answer.flush_all_msgs {
        check_envelope(channel, &wanted[channel], &of_message(message).unwrap());
    }
    let pchannels = serde_json::json!(answer.cluster_info.pchannels);
    assert_eq!(pchannels, vector["cluster_info"]["pchannels"]);
}

#[test]
#[ignore = "needs the reference vectors; scripts/test runs it where they are"]
fn vectors_of_a_transaction_count_when_it_is_committed_and_as_a_whole() {
    let parts = ["16-txn-begin.pb", "17-txn-insert-1.pb", "18-txn-insert-2.pb", "19-txn-delete.pb", "20-txn-commit.pb"];
    let mut transactions = Transactions::default();
    for (index, part) in parts.iter().enumerate() {
        let message = message(part);
        let complete = transactions.take(&message).unwrap();
        assert_eq!(complete.is_some(), index == parts.len() - 1, "{part}");
        assert_eq!(transactions.is_idle(), complete.is_some(), "{part}");
        let Some(complete) = complete else { continue };
        assert_eq!(complete.tick, message.tick);
        let words: Vec<&str> = complete
            .bodies
            .iter()
            .map(|body| match body {
                Body::Insert(_) => "insert",
                Body::Delete(_) => "delete",
                _ => "other",
            })
            .collect();
        assert_eq!(words, ["insert", "insert", "delete"]);
    }
    assert!(transactions.take(&message("19-txn-delete.pb")).is_err(), "a part without its beginning");
    transactions.take(&message("16-txn-begin.pb")).unwrap();
    transactions.take(&message("16-txn-begin.pb")).unwrap();
    assert!(transactions.take(&message("20-txn-commit.pb")).unwrap().unwrap().bodies.is_empty());
}
