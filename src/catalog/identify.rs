//! Telling collections apart that have names only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protobuf::Message as _;

use super::carry::CarryError;
use super::look::SourceCollection;
use super::schema;
use super::watcher::Watch;
use crate::milvus::pb::schema::CollectionSchema;

impl Watch {
    /// Gives a collection of a server without ids what stands in for them. One that was dropped and created again under its old
    /// name shows only by another schema: then it is another collection, and what was carried of the first is dropped with it.
    /// With the same schema it counts as the one before, and its rows come right by comparing them.
    pub(super) fn identify(&mut self, mut source: SourceCollection) -> Result<SourceCollection, CarryError> {
        if source.id.is_given() {
            return Ok(source);
        }
        let (db, name) = (source.db.clone(), source.details.name.clone());
        let before = self.carrier.record.schema(source.id).and_then(decode);
        let change = before.and_then(|before| schema::change(&before, &source.details.schema));
        if let Some(change) = change {
            log::info!("{db}.{name} is another collection at the source than before ({change}): it is made anew");
            let first = source.id;
            source.id = self.carrier.record.number_anew(&db, &name);
            self.listed.remove(&first);
            self.seen.remove(&first);
            self.listed.insert(source.id, (db, name));
        }
        self.carrier.record.set_schema(source.id, encode(&source.details.schema));
        self.carrier.record.number_partitions(source.id, &mut source.partitions);
        self.carrier.record.save()?;
        Ok(source)
    }
}

/// A schema as the record keeps it: whole, so that what counts as a change may change with the program.
fn encode(schema: &CollectionSchema) -> String {
    STANDARD.encode(schema.write_to_bytes().unwrap_or_default())
}

fn decode(text: &str) -> Option<CollectionSchema> {
    CollectionSchema::parse_from_bytes(&STANDARD.decode(text).ok()?).ok()
}
