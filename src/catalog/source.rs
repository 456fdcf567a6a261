//! The source's side of the catalog: its listing, and what of it was described and replicated last.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::describe::{SourceCollection, describe};
use super::error::CatalogError;
use super::identify::{IdentifiedCollection, identify};
use super::record::CatalogRecord;
use crate::domain::{CollectionId, CollectionName, CollectionRef, ObjectKey, RowLocation};
use crate::milvus::announcement::Announcement;
use crate::milvus::capabilities::LoadRetention;
use crate::milvus::catalog::DatabaseListing;
use crate::milvus::same_server_probe::is_probe;
use crate::milvus::{BatchedAnswer, CallContext, Client, Error};
use crate::task::scope::Scope;
use crate::task::spec::DEFAULT_DATABASE;

/// Reads the source, for all steps at once. Changes nothing there.
pub(super) struct SourceCatalog {
    client: Arc<Client>,
    context: CallContext,
    scope: Scope,
    load_retention: Mutex<LoadRetention>,
    listing: Mutex<Arc<Listing>>,
    /// Collections as last replicated completely.
    replicated: Mutex<HashMap<CollectionId, Arc<SourceCollection>>>,
}

/// What the descriptions of many collections have shown.
#[derive(Debug, Default)]
pub(super) struct QuickLook {
    /// Those that differ from what was replicated.
    pub(super) changed: Vec<CollectionId>,
    /// Those that could not be described.
    pub(super) failed: Vec<(CollectionId, Error)>,
    /// Those of which the others did not wait for an answer.
    pub(super) unanswered: Vec<CollectionId>,
}

/// An answer that takes longer keeps those of other collections no longer.
const QUICK_PATIENCE: Duration = Duration::from_secs(1);

/// What a listing showed within the task's scope.
#[derive(Debug, Clone, Default)]
pub(super) struct Listing {
    /// What it told about the server itself.
    server_created: Option<u64>,
    databases: Vec<String>,
    announcements: Vec<Announcement>,
    collections: BTreeMap<CollectionId, CollectionName>,
    /// Loaded collections with the percentage that is loaded.
    loaded: BTreeMap<CollectionName, i64>,
}

impl Listing {
    /// When the server made its database `default`, where it tells.
    pub(super) fn server_created(&self) -> Option<u64> {
        self.server_created
    }

    pub(super) fn contains(&self, id: CollectionId) -> bool {
        self.collections.contains_key(&id)
    }

    /// The collections listed.
    pub(super) fn collections(&self) -> &BTreeMap<CollectionId, CollectionName> {
        &self.collections
    }

    fn load_percent(&self, id: CollectionId) -> Option<i64> {
        self.loaded.get(self.collections.get(&id)?).copied()
    }
}

impl SourceCatalog {
    pub(super) fn new(client: Arc<Client>, context: CallContext, scope: Scope) -> SourceCatalog {
        SourceCatalog {
            client,
            context,
            scope,
            load_retention: Mutex::new(LoadRetention::Durable),
            listing: Mutex::default(),
            replicated: Mutex::default(),
        }
    }

    /// `host:port` of the source.
    pub(super) fn address(&self) -> &str {
        self.client.address()
    }

    /// How often the connection to the source was lost.
    pub(super) fn losses(&self) -> u64 {
        self.client.losses()
    }

    /// Whether the source keeps collections loaded over a restart.
    pub(super) fn load_retention(&self) -> LoadRetention {
        *self.load_retention.lock()
    }

    /// Lists everything in the scope. The listing counts once it is accepted.
    pub(super) fn read(&self, record: &CatalogRecord) -> Result<Listing, CatalogError> {
        self.read_listing(record).map_err(CatalogError::Source)
    }

    /// Takes a listing as what the source has now. Answers the collections whose load state has changed since the one
    /// before.
    pub(super) fn accept(
        &self,
        listing: Listing,
        record: &CatalogRecord,
    ) -> Result<BTreeSet<CollectionId>, CatalogError> {
        // After a loss of the connection this asks which server it is now.
        let can = self.client.capabilities(&self.context).map_err(CatalogError::Source)?;
        *self.load_retention.lock() = can.load_retention;
        for (id, name) in &listing.collections {
            record.set_source(*id, name);
        }
        record.retain_synthetic_ids(|id| listing.collections.contains_key(&id));
        record.save()?;
        let mut current = self.listing.lock();
        let load_changed = |name: &CollectionName| listing.loaded.get(name) != current.loaded.get(name);
        let changed = listing.collections.iter().filter(|(_, name)| load_changed(name)).map(|(id, _)| *id).collect();
        *current = Arc::new(listing);
        Ok(changed)
    }

    fn read_listing(&self, record: &CatalogRecord) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        let DatabaseListing { names, server_created } = self.client.describe_databases(&self.context)?;
        listing.server_created = server_created;
        listing.announcements = names.iter().filter_map(|name| Announcement::parse(name)).collect();
        let names = names.into_iter().filter(|db| !is_probe(db));
        listing.databases = names.filter(|db| self.scope.touches_database(db)).collect();
        for db in &listing.databases {
            let collections = match self.client.list_collections(db, &self.context) {
                Ok(collections) => collections,
                // Dropped between the two calls.
                Err(error) if error.is_database_missing() => continue,
                Err(error) => return Err(error),
            };
            for collection in
                collections.into_iter().filter(|found| self.scope.matches(db, &found.name) && !is_probe(&found.name))
            {
                let id = record.id_of(&ObjectKey::of(collection.id, db, &collection.name));
                listing.collections.insert(id, CollectionName::new(db, collection.name));
            }
            match self.client.loaded_collections(db, &self.context) {
                Ok(loaded) => listing
                    .loaded
                    .extend(loaded.into_iter().map(|(name, percent)| (CollectionName::new(db, name), percent))),
                Err(error) if error.is_database_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listing)
    }

    /// The last listing.
    pub(super) fn listing(&self) -> Arc<Listing> {
        Arc::clone(&self.listing.lock())
    }

    /// Whether any listed collection is being loaded: then the source is on its way up, and what it lacks says nothing.
    pub(super) fn is_loading(&self) -> bool {
        self.listing.lock().loaded.values().any(|percent| *percent < 100)
    }

    /// Whether the source answers a read, if anything is loaded that could be read.
    pub(super) fn answers_reads(&self) -> bool {
        let listing = self.listing();
        let Some((name, _)) = listing.loaded.iter().find(|(_, percent)| **percent >= 100) else { return true };
        let place = RowLocation { db: name.db.clone(), collection: name.name.clone(), partition: String::new() };
        self.client.count_rows(&place, &self.context).inspect_err(|error| log::debug!("{error}")).is_ok()
    }

    /// The announcements that stood at the source when it was listed last.
    pub(super) fn announcements(&self) -> Vec<Announcement> {
        self.listing.lock().announcements.clone()
    }

    pub(super) fn is_listed(&self, id: CollectionId) -> bool {
        self.listing.lock().contains(id)
    }

    /// The name under which a collection is listed.
    pub(super) fn name_of(&self, id: CollectionId) -> Option<CollectionName> {
        self.listing.lock().collections.get(&id).cloned()
    }

    /// The collection that is listed under this name; an empty database is the default one.
    pub(super) fn listed_as(&self, db: &str, collection: &str) -> Option<CollectionId> {
        let db = if db.is_empty() { DEFAULT_DATABASE } else { db };
        let listing = self.listing.lock();
        let found = listing.collections.iter().find(|(_, name)| name.db == db && name.name == collection);
        found.map(|(id, _)| *id)
    }

    /// The collection that the log names, if it is listed.
    pub(super) fn listed_as_ref(&self, collection: &CollectionRef) -> Option<CollectionId> {
        match collection {
            CollectionRef::Id(id) => self.is_listed(*id).then_some(*id),
            CollectionRef::Name { db, collection } => self.listed_as(db, collection),
        }
    }

    /// Whether a collection is listed as one that is being loaded.
    pub(super) fn is_loading_now(&self, id: CollectionId) -> bool {
        self.listing.lock().load_percent(id).is_some_and(|percent| percent < 100)
    }

    /// Listed databases of which the scope has every collection, the default one aside.
    pub(super) fn whole_databases(&self) -> Vec<String> {
        let listing = self.listing.lock();
        let whole = listing.databases.iter().filter(|db| self.scope.whole_database(db) && *db != DEFAULT_DATABASE);
        whole.cloned().collect()
    }

    /// The same, and the default one if the scope has every collection of it.
    pub(super) fn databases_in_full(&self) -> Vec<String> {
        let listing = self.listing.lock();
        listing.databases.iter().filter(|db| self.scope.whole_database(db)).cloned().collect()
    }

    /// The properties of a database; `None` from a server that does not tell.
    pub(super) fn database_properties(&self, db: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
        self.client.database_properties(db, &self.context)
    }

    /// Listed collections that were not yet replicated completely, or have another name since.
    pub(super) fn outdated(&self) -> Vec<CollectionId> {
        let (listing, replicated) = (self.listing(), self.replicated.lock());
        let is_outdated = |(id, name): &(&CollectionId, &CollectionName)| {
            replicated.get(id).is_none_or(|replicated| replicated.name != **name)
        };
        listing.collections.iter().filter(is_outdated).map(|(id, _)| *id).collect()
    }

    /// Describes a listed collection. `None` when it was renamed or dropped since the listing: the next one tells.
    pub(super) fn describe(
        &self,
        record: &CatalogRecord,
        id: CollectionId,
    ) -> Result<Option<SourceCollection>, CatalogError> {
        let Some(name) = self.name_of(id) else { return Ok(None) };
        let described = record.entry(id).get();
        let default_partition = described.and_then(|described| described.default_partition_at_source());
        let found = match describe(&self.client, &name, id, default_partition, &self.context) {
            Ok(found) => found,
            Err(error) if error.is_collection_missing() || error.is_database_missing() => None,
            Err(error) => return Err(CatalogError::Source(error)),
        };
        let Some(found) = found else { return Ok(None) };
        let IdentifiedCollection { collection, replaced } = identify(record, found)?;
        if let Some(replaced) = replaced {
            self.forget(replaced);
            let mut listing = self.listing.lock();
            let listing = Arc::make_mut(&mut listing);
            listing.collections.remove(&replaced);
            listing.collections.insert(collection.id, collection.name.clone());
        }
        Ok(Some(collection))
    }

    /// Whether the description of a collection differs from the one that was replicated; not for one that was not
    /// replicated yet.
    pub(super) fn has_changed(&self, id: CollectionId) -> Result<bool, CatalogError> {
        let replicated = self.replicated.lock().get(&id).cloned();
        let (Some(replicated), Some(name)) = (replicated, self.name_of(id)) else { return Ok(false) };
        match self.client.describe_collection(&name, &self.context) {
            Ok(details) => Ok(details != replicated.details),
            Err(error) if error.is_collection_missing() || error.is_database_missing() => Ok(false),
            Err(error) => Err(CatalogError::Source(error)),
        }
    }

    /// [`Self::has_changed`] of many collections, asked all at once.
    pub(super) fn look_at(&self, ids: &BTreeSet<CollectionId>) -> QuickLook {
        let known = |id: &CollectionId| Some((*id, Arc::clone(self.replicated.lock().get(id)?), self.name_of(*id)?));
        let (known, names): (Vec<_>, Vec<_>) =
            ids.iter().filter_map(known).map(|(id, replicated, name)| ((id, replicated), name)).unzip();
        let mut look = QuickLook::default();
        let answers = self.client.describe_collections(&names, QUICK_PATIENCE, &self.context);
        for ((id, replicated), answer) in known.into_iter().zip(answers) {
            match answer {
                BatchedAnswer::Answered(details) if details == replicated.details => {}
                BatchedAnswer::Answered(_) => look.changed.push(id),
                BatchedAnswer::Failed(error) if error.is_collection_missing() || error.is_database_missing() => {}
                BatchedAnswer::Failed(error) => look.failed.push((id, error)),
                BatchedAnswer::GivenUp => look.unanswered.push(id),
            }
        }
        look
    }

    /// The collection that a name stands for now; `None` when that is outside the scope. An alias may have taken the
    /// name of a collection that was renamed out of the scope.
    pub(super) fn holder(&self, name: &CollectionName, record: &CatalogRecord) -> Result<Option<CollectionId>, Error> {
        let details = self.client.describe_without_aliases(name, &self.context)?;
        let key = ObjectKey::of(details.id, &name.db, &details.name);
        Ok(self.scope.matches(&name.db, &details.name).then(|| record.id_of(&key)))
    }

    /// Whether a collection was replicated completely and nothing has asked for it since.
    pub(super) fn is_replicated(&self, id: CollectionId) -> bool {
        self.replicated.lock().contains_key(&id)
    }

    /// Everything of this description was replicated.
    pub(super) fn replicated(&self, collection: SourceCollection) {
        self.replicated.lock().insert(collection.id, Arc::new(collection));
    }

    /// The collection must be replicated again.
    pub(super) fn forget(&self, id: CollectionId) {
        self.replicated.lock().remove(&id);
    }

    /// Drops what is kept of collections that are not listed any more.
    pub(super) fn forget_unlisted(&self) {
        let listing = self.listing();
        self.replicated.lock().retain(|id, _| listing.contains(*id));
    }
}
