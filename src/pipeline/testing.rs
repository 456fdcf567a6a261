//! What tests have in common: columns, and one collection whose calls may all be made.

use std::sync::Arc;

use protobuf::Message;

use super::columns::KnownFields;
use super::{CollectionInfo, KeyField, Rules};
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data;
use crate::milvus::pb::schema::{FieldData, LongArray, ScalarField, StringArray};
use crate::milvus::rows::Column;

fn scalar(name: &str, data: Data) -> Column {
    let field = Some(Field::Scalars(ScalarField { data: Some(data), ..Default::default() }));
    FieldData { field_name: name.into(), field, ..Default::default() }.write_to_bytes().unwrap().into()
}

pub(crate) fn longs(name: &str, data: &[i64]) -> Column {
    scalar(name, Data::LongData(LongArray { data: data.to_vec(), ..Default::default() }))
}

pub(super) fn strings(name: &str, data: &[&str]) -> Column {
    let data = data.iter().map(|&text| text.to_owned()).collect();
    scalar(name, Data::StringData(StringArray { data, ..Default::default() }))
}

pub(super) const COLLECTION: CollectionId = CollectionId(7);

/// Nothing that is queued for the collection has to wait.
pub(super) struct Anything(Arc<CollectionInfo>);

impl Rules for Anything {
    fn collection(&self, id: CollectionId) -> Option<Arc<CollectionInfo>> {
        (id == self.0.id).then(|| Arc::clone(&self.0))
    }
    fn question(&self) -> u64 {
        1
    }
    fn open(&self, _: &Channel) -> bool {
        true
    }
    fn bound(&self, _: &Channel) -> Timestamp {
        Timestamp::MAX
    }
    fn replayed(&self, _: &Channel) -> Timestamp {
        Timestamp::ZERO
    }
}

pub(super) fn rules() -> Anything {
    Anything(Arc::new(CollectionInfo {
        id: COLLECTION,
        db: "d".into(),
        name: "c".into(),
        key: KeyField { name: "id".into(), is_int: true },
        partitions: Default::default(),
        unnamed_partitions: false,
        mergeable: true,
        fields: KnownFields::named(&["id", "text"]),
        shape: Default::default(),
        upsert_until: Default::default(),
        generation: 1,
    }))
}
