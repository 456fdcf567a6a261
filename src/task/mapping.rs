/*!
Names that are another on the target.
*/

use std::collections::BTreeMap;

use super::scope::Scope;
use super::spec::DEFAULT_DATABASE;

/// All mappings of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameMapping(Vec<DatabaseMapping>);

/// What becomes of one source database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseMapping {
    /// Database on the source; empty for `default`.
    pub source_db: String,
    /// Database on the target; empty for `default`.
    pub target_db: String,
    /// Collections, source name to target name. Empty: the whole database moves and the collections keep their names.
    pub collections: BTreeMap<String, String>,
}

impl NameMapping {
    /// Takes the mappings of a request; where two fit one collection, the one that names it wins, then the earlier one.
    pub fn new(mappings: Vec<DatabaseMapping>) -> Self {
        NameMapping(mappings)
    }

    /// The mappings as given.
    pub fn databases(&self) -> &[DatabaseMapping] {
        &self.0
    }

    /// Database and collection on the target for a collection of the source.
    pub fn map(&self, database: &str, collection: &str) -> (String, String) {
        let named = self.of(database).find_map(|mapping| {
            mapping.collections.get(collection).map(|target| (name_or_default(&mapping.target_db), target.clone()))
        });
        named.unwrap_or_else(|| (self.map_database(database), collection.to_owned()))
    }

    /// The target's database for a database of the source that moves as a whole; else the same name.
    pub fn map_database(&self, database: &str) -> String {
        let whole = self.of(database).find(|mapping| mapping.collections.is_empty());
        whole.map_or_else(|| name_or_default(database), |mapping| name_or_default(&mapping.target_db))
    }

    /// Everything that is mapped is in the scope.
    pub fn within(&self, scope: &Scope) -> bool {
        self.0.iter().all(|mapping| {
            scope.touches_database(&mapping.source_db)
                && mapping.collections.keys().all(|collection| scope.matches(&mapping.source_db, collection))
        })
    }

    fn of<'a>(&'a self, database: &str) -> impl Iterator<Item = &'a DatabaseMapping> {
        let database = name_or_default(database);
        self.0.iter().filter(move |mapping| name_or_default(&mapping.source_db) == database)
    }
}

/// An empty name is the default database's.
pub(super) fn name_or_default(database: &str) -> String {
    if database.is_empty() { DEFAULT_DATABASE.to_owned() } else { database.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::scope::ScopePattern;
    use super::super::spec::{CollectionInfo, Selection};
    use super::*;

    fn mapping(source_db: &str, target_db: &str, collections: &[(&str, &str)]) -> DatabaseMapping {
        let collections = collections.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
        DatabaseMapping { source_db: source_db.into(), target_db: target_db.into(), collections }
    }

    fn pair(database: &str, collection: &str) -> (String, String) {
        (database.into(), collection.into())
    }

    #[test]
    fn maps_collections_and_databases() {
        let names = NameMapping::new(vec![mapping("", "d2", &[("a", "b")]), mapping("foo", "bar", &[])]);
        assert_eq!(names.map("default", "a"), pair("d2", "b"));
        assert_eq!(names.map("", "c"), pair("default", "c"));
        assert_eq!(names.map("foo", "c"), pair("bar", "c"));
        assert_eq!(names.map("other", "a"), pair("other", "a"));
        assert_eq!(names.map_database("foo"), "bar");
        assert_eq!(names.map_database("default"), "default");
    }

    #[test]
    fn a_named_collection_wins_over_its_database() {
        let names = NameMapping::new(vec![mapping("d", "whole", &[]), mapping("d", "one", &[("a", "b")])]);
        assert_eq!(names.map("d", "a"), pair("one", "b"));
        assert_eq!(names.map("d", "x"), pair("whole", "x"));
    }

    #[test]
    fn must_lie_within_the_scope() {
        let info = CollectionInfo { name: "hs1".into(), ..CollectionInfo::default() };
        let selection = Selection { collection_infos: Some(vec![info]), db_collections: None };
        let scope = Scope::of(&selection);
        assert!(NameMapping::new(vec![mapping("default", "d2", &[("hs1", "x")])]).within(&scope));
        assert!(!NameMapping::new(vec![mapping("default", "d2", &[("other", "x")])]).within(&scope));
        assert!(!NameMapping::new(vec![mapping("foo", "d2", &[])]).within(&scope));
        let excluding = scope.without(vec![ScopePattern::new("default", "hs1")]);
        assert!(!NameMapping::new(vec![mapping("default", "d2", &[("hs1", "x")])]).within(&excluding));
    }
}
