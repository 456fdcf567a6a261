/*!
Collections and databases that have another name on the target.
*/

use std::collections::BTreeMap;

use super::scope::Scope;
use super::selection::database_name;
use crate::domain::CollectionName;

/// The name mappings of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameMapping(Vec<DatabaseMapping>);

/// The mapping of one source database.
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
    /// From the mappings of a request; where two match one collection, the one that names it wins, then the earlier
    /// one.
    pub fn new(mappings: Vec<DatabaseMapping>) -> Self {
        NameMapping(mappings)
    }

    /// The mappings as given.
    pub fn databases(&self) -> &[DatabaseMapping] {
        &self.0
    }

    /// The target's name for a collection of the source.
    pub fn map(&self, source: &CollectionName) -> CollectionName {
        let named = self.of(&source.db).find_map(|mapping| {
            let target = mapping.collections.get(&source.name)?;
            Some(CollectionName::new(database_name(&mapping.target_db), target))
        });
        named.unwrap_or_else(|| CollectionName::new(self.map_database(&source.db), &source.name))
    }

    /// The target's name for a database of the source that moves as a whole; else the same name.
    pub fn map_database(&self, database: &str) -> String {
        let whole = self.of(database).find(|mapping| mapping.collections.is_empty());
        database_name(whole.map_or(database, |mapping| &mapping.target_db)).to_owned()
    }

    /// Every mapped database and collection is in the scope.
    pub fn within(&self, scope: &Scope) -> bool {
        self.0.iter().all(|mapping| {
            scope.touches_database(&mapping.source_db)
                && mapping.collections.keys().all(|collection| scope.matches(&mapping.source_db, collection))
        })
    }

    fn of<'a>(&'a self, database: &str) -> impl Iterator<Item = &'a DatabaseMapping> {
        let database = database_name(database).to_owned();
        self.0.iter().filter(move |mapping| database_name(&mapping.source_db) == database)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scope::ScopePattern;
    use super::super::selection::{SelectedCollection, Selection};
    use super::*;

    fn mapping(source_db: &str, target_db: &str, collections: &[(&str, &str)]) -> DatabaseMapping {
        let collections = collections.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
        DatabaseMapping { source_db: source_db.into(), target_db: target_db.into(), collections }
    }

    #[test]
    fn maps_collections_and_databases() {
        let names = NameMapping::new(vec![mapping("", "d2", &[("a", "b")]), mapping("foo", "bar", &[])]);
        assert_eq!(names.map(&CollectionName::new("default", "a")), CollectionName::new("d2", "b"));
        assert_eq!(names.map(&CollectionName::new("", "c")), CollectionName::new("default", "c"));
        assert_eq!(names.map(&CollectionName::new("foo", "c")), CollectionName::new("bar", "c"));
        assert_eq!(names.map(&CollectionName::new("other", "a")), CollectionName::new("other", "a"));
        assert_eq!(names.map_database("foo"), "bar");
        assert_eq!(names.map_database("default"), "default");
    }

    #[test]
    fn a_named_collection_wins_over_its_database() {
        let names = NameMapping::new(vec![mapping("d", "whole", &[]), mapping("d", "one", &[("a", "b")])]);
        assert_eq!(names.map(&CollectionName::new("d", "a")), CollectionName::new("one", "b"));
        assert_eq!(names.map(&CollectionName::new("d", "x")), CollectionName::new("whole", "x"));
    }

    #[test]
    fn must_lie_within_the_scope() {
        let info = SelectedCollection { name: "hs1".into(), ..SelectedCollection::default() };
        let selection = Selection { collection_infos: Some(vec![info]), db_collections: None };
        let scope = Scope::of(&selection);
        assert!(NameMapping::new(vec![mapping("default", "d2", &[("hs1", "x")])]).within(&scope));
        assert!(!NameMapping::new(vec![mapping("default", "d2", &[("other", "x")])]).within(&scope));
        assert!(!NameMapping::new(vec![mapping("foo", "d2", &[])]).within(&scope));
        let excluding = scope.without(vec![ScopePattern::new("default", "hs1")]);
        assert!(!NameMapping::new(vec![mapping("default", "d2", &[("hs1", "x")])]).within(&excluding));
    }
}
