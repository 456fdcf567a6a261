//! Telling collections apart that have names only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protobuf::Message as _;

use super::describe::SourceCollection;
use super::record::CatalogRecord;
use super::schema;
use crate::domain::CollectionId;
use crate::milvus::pb::schema::CollectionSchema;
use crate::storage::sealed_file::SealedError;

/// A collection with its id, given by the source or synthetic.
pub(super) struct IdentifiedCollection {
    pub(super) collection: SourceCollection,
    /// The collection that had the name before, when the name now stands for another one.
    pub(super) replaced: Option<CollectionId>,
}

/// Gives a collection of a server without ids its synthetic ones.
///
/// A collection that was dropped and created again under its old name shows only by another schema: then it is
/// another collection, and what was replicated of the first one is dropped. With the same schema it counts as the one
/// before, and a comparison mends its rows.
pub(super) fn identify(
    record: &CatalogRecord,
    mut collection: SourceCollection,
) -> Result<IdentifiedCollection, SealedError> {
    if collection.id.is_given() {
        return Ok(IdentifiedCollection { collection, replaced: None });
    }
    let before = record.schema(collection.id).and_then(|text| decode(&text));
    let change = before.and_then(|before| schema::change(&before, &collection.details.schema));
    let replaced = change.map(|change| {
        let name = &collection.name;
        log::info!("{name} was dropped and created again at the source ({change}); replicating it as a new collection");
        std::mem::replace(&mut collection.id, record.renumber(name))
    });
    record.set_schema(collection.id, encode(&collection.details.schema));
    record.number_partitions(collection.id, &mut collection.partitions);
    record.save()?;
    Ok(IdentifiedCollection { collection, replaced })
}

/// A schema as the record keeps it: whole, so that a later version may judge otherwise what counts as a change.
fn encode(schema: &CollectionSchema) -> String {
    STANDARD.encode(schema.write_to_bytes().unwrap_or_default())
}

fn decode(text: &str) -> Option<CollectionSchema> {
    CollectionSchema::parse_from_bytes(&STANDARD.decode(text).ok()?).ok()
}
