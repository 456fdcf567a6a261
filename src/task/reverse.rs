/*!
The opposite of a task: what it would replicate if its two sites changed places.
*/

use std::collections::BTreeMap;

use super::mapping::{DatabaseMapping, NameMapping};
use super::position::StartPosition;
use super::scope::{NamePattern, Scope, ScopePattern};
use super::selection::{SelectedCollection, Selection, database_name};
use super::spec::{RpcChannel, TargetSpec, TaskSpec};
use crate::domain::{CollectionName, SourceSite};

/// Why a task has no opposite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Irreversible {
    /// Its target is none of the configured sites.
    #[error(
        "its target {0} is not among the `peers` of the configuration: without its log nothing can be replicated from \
         it"
    )]
    UnknownSite(String),
    /// The names of the target do not tell those of the source.
    #[error(
        "its name_mapping cannot be read backwards for {0}: only databases that are mapped as a whole, and collections \
         that are named one by one, can"
    )]
    Mapping(String),
    /// Two of its collections may meet on the target.
    #[error("{0} and {1} have the same place on the target, so that nothing there tells which of them it belongs to")]
    Meeting(String, String),
}

impl TaskSpec {
    /// The task from this one's target, which is the site `source`, to `target`, which is this one's source.
    ///
    /// # Errors
    /// [`Irreversible`] when its names cannot be mapped backwards.
    pub fn reversed(&self, source: SourceSite, target: TargetSpec) -> Result<TaskSpec, Irreversible> {
        let names = ReversedNames::of(&self.scope, &self.mapping, &self.selection)?;
        Ok(TaskSpec {
            source,
            target,
            scope: Scope::of(&names.selection).without(names.excluded),
            selection: names.selection,
            mapping: names.mapping,
            start_positions: Vec::<StartPosition>::new(),
            rpc_channel: RpcChannel::default(),
            // Nothing of the new standby is removed that the new primary does not have.
            prune: false,
            noted_ends: None,
            ..self.clone()
        })
    }
}

struct ReversedNames {
    selection: Selection,
    excluded: Vec<ScopePattern>,
    mapping: NameMapping,
}

/// A pattern of the source, and what it comes to on the target.
struct Image<'a> {
    of: &'a ScopePattern,
    is: ScopePattern,
}

impl ReversedNames {
    fn of(scope: &Scope, mapping: &NameMapping, selection: &Selection) -> Result<ReversedNames, Irreversible> {
        if mapping.databases().is_empty() {
            let selection = without_positions(selection);
            let (excluded, mapping) = (scope.excluded().to_vec(), NameMapping::default());
            return Ok(ReversedNames { selection, excluded, mapping });
        }
        let image = |of| Ok(Image { of, is: image(of, mapping)? });
        let images: Vec<Image<'_>> = scope.included().iter().map(image).collect::<Result<_, _>>()?;
        for (at, one) in images.iter().enumerate() {
            if let Some(other) = images[..at].iter().find(|other| other.is.meets(&one.is)) {
                return Err(Irreversible::Meeting(other.of.to_string(), one.of.to_string()));
            }
        }
        // What is outside of the scope anyway has no image in it.
        let is_within = |left: &&ScopePattern| scope.included().iter().any(|pattern| pattern.meets(left));
        let excluded = scope.excluded().iter().filter(is_within).map(image).collect::<Result<Vec<_>, _>>()?;
        Ok(ReversedNames {
            selection: selection_of(&images),
            excluded: excluded.into_iter().map(|image| image.is).collect(),
            mapping: mapping_of(&images),
        })
    }
}

/// What a pattern comes to on the target, if that is one pattern.
fn image(pattern: &ScopePattern, mapping: &NameMapping) -> Result<ScopePattern, Irreversible> {
    let several = || Irreversible::Mapping(pattern.to_string());
    let NamePattern::Named(db) = &pattern.database else { return Err(several()) };
    match &pattern.collection {
        NamePattern::Named(name) => {
            let place = mapping.map(&CollectionName::new(db, name));
            Ok(ScopePattern::new(&place.db, &place.name))
        }
        NamePattern::Any => {
            let is_of = |it: &&DatabaseMapping| database_name(&it.source_db) == database_name(db);
            let is_whole = mapping.databases().iter().filter(is_of).all(|it| it.collections.is_empty());
            if !is_whole {
                return Err(several());
            }
            let database = NamePattern::Named(mapping.map_database(db));
            Ok(ScopePattern { database, collection: NamePattern::Any })
        }
    }
}

fn without_positions(selection: &Selection) -> Selection {
    let bare = |infos: &Vec<SelectedCollection>| infos.iter().map(|info| selected(&info.name)).collect();
    let databases = |databases: &BTreeMap<String, Vec<SelectedCollection>>| {
        databases.iter().map(|(db, infos)| (db.clone(), bare(infos))).collect()
    };
    Selection {
        collection_infos: selection.collection_infos.as_ref().map(bare),
        db_collections: selection.db_collections.as_ref().map(databases),
    }
}

fn selected(name: &str) -> SelectedCollection {
    SelectedCollection { name: name.to_owned(), ..SelectedCollection::default() }
}

fn selection_of(images: &[Image<'_>]) -> Selection {
    let mut databases: BTreeMap<String, Vec<SelectedCollection>> = BTreeMap::new();
    for Image { is, .. } in images {
        databases.entry(is.database.to_string()).or_default().push(selected(&is.collection.to_string()));
    }
    Selection { collection_infos: None, db_collections: Some(databases) }
}

fn mapping_of(images: &[Image<'_>]) -> NameMapping {
    let moved = images.iter().filter(|image| image.is != *image.of);
    let back = |image: &Image<'_>| DatabaseMapping {
        source_db: image.is.database.to_string(),
        target_db: image.of.database.to_string(),
        collections: match (&image.is.collection, &image.of.collection) {
            (NamePattern::Named(is), NamePattern::Named(of)) => [(is.clone(), of.clone())].into(),
            _ => BTreeMap::new(),
        },
    };
    NameMapping::new(moved.map(back).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(databases: &[(&str, &[&str])]) -> (Scope, Selection) {
        let infos = |names: &[&str]| names.iter().map(|name| selected(name)).collect();
        let databases = databases.iter().map(|(db, names)| ((*db).to_owned(), infos(names))).collect();
        let selection = Selection { collection_infos: None, db_collections: Some(databases) };
        (Scope::of(&selection), selection)
    }

    /// A database, where it goes, and the collections that are named.
    type Mapped<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn mapping(of: &[Mapped<'_>]) -> NameMapping {
        let one = |(from, to, collections): &Mapped<'_>| DatabaseMapping {
            source_db: (*from).to_owned(),
            target_db: (*to).to_owned(),
            collections: collections.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        };
        NameMapping::new(of.iter().map(one).collect())
    }

    fn refused(databases: &[(&str, &[&str])], names: &NameMapping) -> String {
        let (scope, selection) = scope(databases);
        ReversedNames::of(&scope, names, &selection).err().expect("it is refused").to_string()
    }

    #[test]
    fn what_cannot_be_read_backwards_is_refused() {
        let one = mapping(&[("d", "x", &[("a", "b")])]);
        assert!(refused(&[("d", &["*"])], &one).contains("backwards for d.*"));
        assert!(refused(&[("*", &["*"])], &mapping(&[("d", "x", &[])])).contains("backwards for *.*"));
        let into_one = refused(&[("d", &["*"]), ("x", &["a"])], &mapping(&[("d", "x", &[])]));
        assert_eq!(
            into_one,
            "d.* and x.a have the same place on the target, so that nothing there tells which of \
                              them it belongs to"
        );
    }

    #[test]
    fn without_a_mapping_everything_stays() {
        let given = SelectedCollection { positions: Some(BTreeMap::new()), ..selected("*") };
        let selection = Selection { collection_infos: Some(vec![given]), db_collections: None };
        let left = vec![ScopePattern::new("d", "a")];
        let scope = Scope::of(&selection).without(left.clone());
        let reversed = ReversedNames::of(&scope, &NameMapping::default(), &selection).unwrap();
        assert_eq!(reversed.selection.collection_infos, Some(vec![selected("*")]), "a start is of one log");
        assert_eq!(reversed.excluded, left);
    }

    fn name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["default", "a", "b", "c"])
    }

    proptest! {
        /// Whatever is reversed: a collection of the source is in the task if and only if its place on the target is
        /// in the reversed one, and from there it gets back to where it was.
        #[test]
        fn there_and_back(
            chosen in prop::collection::btree_map(name(), prop::collection::btree_set(
                prop::sample::select(vec!["*", "a", "b"]), 1..3), 1..3),
            names in prop::collection::vec((name(), name(), prop::collection::btree_map(name(), name(), 0..2)), 0..3),
            left in prop::collection::vec((name(), name()), 0..2),
        ) {
            let chosen: Vec<(&str, Vec<&str>)> =
                chosen.into_iter().map(|(db, names)| (db, names.into_iter().collect())).collect();
            let chosen: Vec<(&str, &[&str])> = chosen.iter().map(|(db, names)| (*db, names.as_slice())).collect();
            let (scope, selection) = scope(&chosen);
            let scope = scope.without(left.iter().map(|(db, name)| ScopePattern::new(db, name)).collect());
            let names = names.iter().map(|(from, to, collections)| DatabaseMapping {
                source_db: (*from).to_owned(),
                target_db: (*to).to_owned(),
                collections: collections.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
            });
            let names = NameMapping::new(names.collect());
            let Ok(reversed) = ReversedNames::of(&scope, &names, &selection) else { return Ok(()) };
            let back = Scope::of(&reversed.selection).without(reversed.excluded);
            for db in ["default", "a", "b", "c"] {
                for name in ["a", "b", "c", "default"] {
                    let source = CollectionName::new(db, name);
                    let place = names.map(&source);
                    if scope.matches(db, name) {
                        prop_assert!(back.matches(&place.db, &place.name), "{} at {}", source, place);
                        prop_assert_eq!(reversed.mapping.map(&place), source);
                    }
                    let origin = reversed.mapping.map(&CollectionName::new(db, name));
                    if back.matches(db, name) {
                        prop_assert!(scope.matches(&origin.db, &origin.name), "{} comes from {}", name, origin);
                    }
                }
            }
        }
    }
}
