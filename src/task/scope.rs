/*!
The databases and collections that a task replicates.

A scope is a list of patterns `database.collection`, where `*` stands for every name, minus the patterns that other
tasks replicate to the same target already. Two tasks must never write the same collection of a target: its rows would
be duplicated.
*/

use std::fmt;

use super::selection::{Selection, database_name};

/// `*`: every name.
const ANY: &str = "*";

/// One name, or every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// `*`
    Any,
    /// Exactly this one.
    Named(String),
}

/// A database and a collection, either of which may be `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopePattern {
    /// The database.
    pub database: NamePattern,
    /// The collection.
    pub collection: NamePattern,
}

/// The collections that a task replicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    included: Vec<ScopePattern>,
    excluded: Vec<ScopePattern>,
}

impl NamePattern {
    /// `*` or a name.
    pub fn parse(text: &str) -> Self {
        if text == ANY { NamePattern::Any } else { NamePattern::Named(text.to_owned()) }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            NamePattern::Any => true,
            NamePattern::Named(own) => own == name,
        }
    }

    fn covers(&self, other: &NamePattern) -> bool {
        match other {
            NamePattern::Any => *self == NamePattern::Any,
            NamePattern::Named(name) => self.matches(name),
        }
    }

    fn meets(&self, other: &NamePattern) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The narrower of the two, if they meet.
    fn common(&self, other: &NamePattern) -> Option<NamePattern> {
        if self.covers(other) { Some(other.clone()) } else { other.covers(self).then(|| self.clone()) }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NamePattern::Any => ANY,
            NamePattern::Named(name) => name,
        })
    }
}

impl ScopePattern {
    /// From the two names of a request; an empty database is `default`.
    pub fn new(database: &str, collection: &str) -> Self {
        let database = NamePattern::parse(database_name(database));
        ScopePattern { database, collection: NamePattern::parse(collection) }
    }

    /// Every collection of every database.
    pub fn everything() -> Self {
        ScopePattern { database: NamePattern::Any, collection: NamePattern::Any }
    }

    fn matches(&self, database: &str, collection: &str) -> bool {
        self.database.matches(database) && self.collection.matches(collection)
    }

    /// `self` matches every collection that `other` matches.
    pub fn covers(&self, other: &ScopePattern) -> bool {
        self.database.covers(&other.database) && self.collection.covers(&other.collection)
    }

    /// Some collection may match both.
    pub fn meets(&self, other: &ScopePattern) -> bool {
        self.database.meets(&other.database) && self.collection.meets(&other.collection)
    }

    /// The pattern of the collections that match both.
    pub fn common(&self, other: &ScopePattern) -> Option<ScopePattern> {
        let (database, collection) =
            (self.database.common(&other.database)?, self.collection.common(&other.collection)?);
        Some(ScopePattern { database, collection })
    }
}

impl fmt::Display for ScopePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.collection)
    }
}

impl Scope {
    /// The scope of a request. `collection_infos: [{"name":"*"}]` alone means every collection of every database.
    pub fn of(selection: &Selection) -> Self {
        let alone = selection.db_collections.as_ref().is_none_or(|databases| databases.is_empty());
        let included = match selection.collection_infos.as_deref() {
            Some([only]) if only.name == ANY && alone => vec![ScopePattern::everything()],
            _ => selection.collections().map(|(db, info)| ScopePattern::new(db, &info.name)).collect(),
        };
        Scope { included, excluded: Vec::new() }
    }

    /// The same without the patterns that other tasks replicate.
    #[must_use]
    pub fn without(mut self, excluded: Vec<ScopePattern>) -> Self {
        self.excluded = excluded;
        self
    }

    /// The patterns of the scope.
    pub fn included(&self) -> &[ScopePattern] {
        &self.included
    }

    /// The patterns that other tasks replicate.
    pub fn excluded(&self) -> &[ScopePattern] {
        &self.excluded
    }

    /// This collection is replicated. An empty database is `default`.
    pub fn matches(&self, database: &str, collection: &str) -> bool {
        let database = database_name(database);
        self.included.iter().any(|pattern| pattern.matches(database, collection))
            && !self.excluded.iter().any(|pattern| pattern.matches(database, collection))
    }

    /// Some collection of this database may be replicated.
    pub fn touches_database(&self, database: &str) -> bool {
        let database = database_name(database);
        self.included.iter().any(|pattern| pattern.database.matches(database))
    }

    /// Every collection of this database is replicated (except those of other tasks), and so are its properties and its
    /// drop.
    pub fn whole_database(&self, database: &str) -> bool {
        let database = database_name(database);
        self.included.iter().any(|pattern| pattern.database.matches(database) && pattern.collection == NamePattern::Any)
    }

    /// Collections of every database are replicated, including databases created later.
    pub fn all_databases(&self) -> bool {
        self.included.iter().any(|pattern| pattern.database == NamePattern::Any)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::selection::SelectedCollection;
    use super::*;

    fn infos(names: &[&str]) -> Vec<SelectedCollection> {
        names.iter().map(|name| SelectedCollection { name: (*name).into(), ..SelectedCollection::default() }).collect()
    }

    fn scope(collections: &[&str], databases: &[(&str, &[&str])]) -> Scope {
        let databases: BTreeMap<_, _> = databases.iter().map(|(db, names)| ((*db).to_owned(), infos(names))).collect();
        Scope::of(&Selection {
            collection_infos: (!collections.is_empty()).then(|| infos(collections)),
            db_collections: (!databases.is_empty()).then_some(databases),
        })
    }

    #[test]
    fn a_star_alone_is_the_whole_cluster() {
        let all = scope(&["*"], &[]);
        assert!(all.matches("any", "thing") && all.all_databases() && all.whole_database("x"));
    }

    #[test]
    fn a_star_in_company_is_the_default_database() {
        let both = scope(&["*"], &[("foo", &["a"])]);
        assert!(both.matches("default", "x") && both.matches("", "x") && both.matches("foo", "a"));
        assert!(!both.matches("foo", "b") && !both.matches("bar", "a") && !both.all_databases());
        assert!(both.whole_database("") && both.touches_database("foo") && !both.whole_database("foo"));
    }

    #[test]
    fn stars_in_databases() {
        let named = scope(&[], &[("*", &["a"])]);
        assert!(named.matches("x", "a") && !named.matches("x", "b") && named.all_databases());
        assert!(!named.whole_database("x"));
        assert!(scope(&[], &[("foo", &["*"])]).whole_database("foo"));
    }

    #[test]
    fn exclusions_win() {
        let rest = scope(&["*"], &[]).without(vec![ScopePattern::new("", "hs1"), ScopePattern::new("foo", "*")]);
        assert!(!rest.matches("default", "hs1") && !rest.matches("foo", "x") && rest.matches("bar", "hs1"));
    }

    fn pattern() -> impl Strategy<Value = ScopePattern> {
        let name = || prop::sample::select(vec!["*", "a", "b", "default"]);
        (name(), name()).prop_map(|(db, coll)| ScopePattern::new(db, coll))
    }

    proptest! {
        #[test]
        fn covers_and_meets_agree_with_matches(one in pattern(), other in pattern()) {
            let names = ["a", "b", "default", "c"];
            let pairs = || names.iter().flat_map(|db| names.iter().map(move |coll| (*db, *coll)));
            let both = pairs().any(|(db, coll)| one.matches(db, coll) && other.matches(db, coll));
            let all = pairs().all(|(db, coll)| !other.matches(db, coll) || one.matches(db, coll));
            prop_assert_eq!(one.meets(&other), both);
            let common = |db: &str, coll: &str| one.common(&other).is_some_and(|common| common.matches(db, coll));
            let matched = |db: &str, coll: &str| one.matches(db, coll) && other.matches(db, coll);
            prop_assert!(pairs().all(|(db, coll)| common(db, coll) == matched(db, coll)));
            prop_assert_eq!(one.covers(&other), all);
        }
    }
}
