/*!
Ensures that no collection of a target is written by two tasks.

A new task may take the remainder: `db.*` beside a task that replicates `db.a` covers the rest of `db`. The reverse is
refused, as is a mere intersection (`db.*` and `*.a`), because the ownership of the rows would be unclear.

The same holds for the names that `name_mapping` assigns: beside a task that writes `db.a` to `db.b`, `db.*` excludes
both.
*/

use super::command::ManagerError;
use super::ownership::claims;
use crate::config::Address;
use crate::task::scope::ScopePattern;
use crate::task::spec::TaskSpec;

/// The patterns that a new task must leave to the other tasks on its target, which these other addresses lead to as
/// well.
///
/// # Errors
/// [`ManagerError::DuplicateUserRole`], or [`ManagerError::DuplicateCollection`] with the names that are taken.
pub(super) fn left_to_others<'a>(
    new: &TaskSpec,
    aliases: &[Address],
    others: impl Iterator<Item = &'a TaskSpec>,
) -> Result<Vec<ScopePattern>, ManagerError> {
    let is_same = |address: &Address| address.same_as(new.target.address()) || aliases.contains(address);
    let same_target: Vec<&TaskSpec> = others.filter(|other| is_same(other.target.address())).collect();
    if new.enable_user_role && same_target.iter().any(|other| other.enable_user_role) {
        return Err(ManagerError::DuplicateUserRole);
    }
    let taken: Vec<String> = new
        .scope
        .included()
        .iter()
        .filter(|wanted| same_target.iter().any(|other| takes(other, wanted)))
        .map(ToString::to_string)
        .collect();
    if !taken.is_empty() {
        return Err(ManagerError::DuplicateCollection(taken.join(" ")));
    }
    let carried = same_target.iter().flat_map(|other| other.scope.included());
    let left: Vec<_> =
        carried.filter(|pattern| new.scope.included().iter().any(|wanted| wanted.covers(pattern))).cloned().collect();
    let written = left_on_target(new, &same_target, &left)?;
    Ok(left.into_iter().chain(written).collect())
}

/// The patterns that a new task must exclude beyond `left`, because another task writes to their names on the target.
fn left_on_target(
    new: &TaskSpec,
    same_target: &[&TaskSpec],
    left: &[ScopePattern],
) -> Result<Vec<ScopePattern>, ManagerError> {
    let ours = claims(new, left);
    let (mut out, mut taken) = (Vec::new(), Vec::new());
    for other in same_target {
        // Without mappings, the comparison of the source's names is complete.
        if new.mapping.databases().is_empty() && other.mapping.databases().is_empty() {
            continue;
        }
        for theirs in claims(other, other.scope.excluded()) {
            for (own, common) in ours.iter().filter_map(|own| Some((own, own.common(&theirs)?))) {
                match own.around(&theirs) {
                    Some(pattern) if !out.contains(&pattern) => out.push(pattern),
                    Some(_) => {}
                    None => taken.push(common.to_string()),
                }
            }
        }
    }
    taken.dedup();
    if taken.is_empty() { Ok(out) } else { Err(ManagerError::DuplicateCollection(taken.join(" "))) }
}

/// The other task replicates part of what the new one wants, and the new one would not simply be the remainder.
fn takes(other: &TaskSpec, wanted: &ScopePattern) -> bool {
    let left_out = other.scope.excluded().iter().any(|excluded| excluded.covers(wanted));
    let meets = |pattern: &&ScopePattern| pattern.meets(wanted) && (*pattern == wanted || !wanted.covers(pattern));
    !left_out && other.scope.included().iter().any(|pattern| meets(&pattern))
}

#[cfg(test)]
pub(super) mod testing {
    use std::collections::BTreeMap;

    use crate::config::{DialFiles, Secret};
    use crate::domain::SourceSite;
    use crate::task::mapping::NameMapping;
    use crate::task::scope::Scope;
    use crate::task::spec::{
        RpcChannel, SelectedCollection, Selection, TargetAddress, TargetParams, TargetSpec, TaskSpec,
    };

    /// A task for these collections of a database.
    pub(in crate::manager) fn spec(uri: &str, database: &str, names: &[&str]) -> TaskSpec {
        let infos =
            names.iter().map(|name| SelectedCollection { name: (*name).into(), ..SelectedCollection::default() });
        let databases = BTreeMap::from([(database.to_owned(), infos.collect())]);
        let selection = Selection { collection_infos: None, db_collections: Some(databases) };
        let target = TargetParams {
            address: TargetAddress::Uri(uri.into()),
            token: Secret::default(),
            dial: DialFiles::default(),
            connect_timeout_s: 0,
            channel_num: 0,
            ignore_partition: false,
        };
        TaskSpec {
            source: SourceSite::Here,
            noted_ends: None,
            target: TargetSpec::new(target).unwrap(),
            scope: Scope::of(&selection),
            selection,
            mapping: NameMapping::default(),
            start_positions: Vec::new(),
            rpc_channel: RpcChannel::default(),
            disable_auto_start: false,
            enable_user_role: false,
            prune: false,
            on_drop: Default::default(),
            on_refused: Default::default(),
            load: Default::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::spec;
    use super::*;
    use crate::task::mapping::{DatabaseMapping, NameMapping};

    fn left(new: &TaskSpec, others: &[TaskSpec]) -> Result<Vec<String>, String> {
        left_to_others(new, &[], others.iter())
            .map(|patterns| patterns.iter().map(ToString::to_string).collect())
            .map_err(|error| error.to_string())
    }

    const TARGET: &str = "http://localhost:19531";

    fn taken(names: &str) -> Result<Vec<String>, String> {
        Err(format!("the collection name is duplicate with existing task, [{names}]"))
    }

    #[test]
    fn the_same_twice() {
        let one = spec(TARGET, "default", &["a"]);
        assert_eq!(left(&one, std::slice::from_ref(&one)), taken("default.a"));
        let other_name = spec("http://127.0.0.1:19531/", "default", &["a"]);
        assert_eq!(left(&other_name, std::slice::from_ref(&one)), taken("default.a"));
        let elsewhere = spec("http://localhost:19532", "default", &["a"]);
        assert_eq!(left(&elsewhere, std::slice::from_ref(&one)), Ok(vec![]));
        let alias = spec("http://milvus:19531", "default", &["a"]);
        assert_eq!(left(&alias, std::slice::from_ref(&one)), Ok(vec![]));
        left_to_others(&alias, &[one.target.address().clone()], [&one].into_iter()).unwrap_err();
    }

    #[test]
    fn the_rest_around_others() {
        let one = spec(TARGET, "default", &["a"]);
        let rest = spec(TARGET, "*", &["*"]);
        assert_eq!(left(&rest, std::slice::from_ref(&one)), Ok(vec!["default.a".to_owned()]));
        assert_eq!(left(&rest, std::slice::from_ref(&rest)), taken("*.*"));
        // The wildcard was first: the single one is refused, unless the wildcard leaves it out.
        assert_eq!(left(&one, std::slice::from_ref(&rest)), taken("default.a"));
        let mut around = rest.clone();
        around.scope = around.scope.without(vec![ScopePattern::new("default", "a")]);
        assert_eq!(left(&one, &[around]), Ok(vec![]));
    }

    #[test]
    fn a_mere_intersection() {
        let database = spec(TARGET, "d", &["*"]);
        let name = spec(TARGET, "*", &["a"]);
        assert_eq!(left(&name, std::slice::from_ref(&database)), taken("*.a"));
        assert_eq!(left(&database, &[name]), taken("d.*"));
    }

    fn mapped(spec: TaskSpec, source_db: &str, target_db: &str, collections: &[(&str, &str)]) -> TaskSpec {
        let collections = collections.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
        let mapping = DatabaseMapping { source_db: source_db.into(), target_db: target_db.into(), collections };
        let mappings = spec.mapping.databases().iter().cloned().chain([mapping]).collect();
        TaskSpec { mapping: NameMapping::new(mappings), ..spec }
    }

    fn patterns(names: &[&str]) -> Result<Vec<String>, String> {
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn one_name_on_the_target() {
        let a = spec(TARGET, "default", &["a"]);
        let b_as_a = mapped(spec(TARGET, "default", &["b"]), "", "default", &[("b", "a")]);
        assert_eq!(left(&b_as_a, std::slice::from_ref(&a)), taken("default.a"));
        assert_eq!(left(&a, std::slice::from_ref(&b_as_a)), taken("default.a"));
        let b_as_c = mapped(spec(TARGET, "default", &["b"]), "default", "", &[("b", "c")]);
        assert_eq!(left(&b_as_c, std::slice::from_ref(&a)), Ok(vec![]));
        let elsewhere = spec("http://localhost:19532", "default", &["a"]);
        assert_eq!(left(&b_as_a, &[elsewhere]), Ok(vec![]));
        // A collection that is renamed on the target leaves its own name free.
        let a_as_c = mapped(a, "default", "default", &[("a", "c")]);
        assert_eq!(left(&b_as_a, &[a_as_c]), Ok(vec![]));
    }

    #[test]
    fn the_rest_around_names_on_the_target() {
        let a_as_b = mapped(spec(TARGET, "default", &["a"]), "default", "default", &[("a", "b")]);
        let rest = spec(TARGET, "*", &["*"]);
        let around = ["default.a", "default.b"];
        assert_eq!(left(&rest, std::slice::from_ref(&a_as_b)), patterns(&around));
        // A collection that is renamed need not be excluded, and an excluded one may belong to another task.
        let b_as_c = mapped(rest.clone(), "default", "default", &[("b", "c")]);
        assert_eq!(left(&b_as_c, std::slice::from_ref(&a_as_b)), patterns(&["default.a"]));
        let left_out = around.map(|name| ScopePattern::new("default", name.strip_prefix("default.").unwrap()));
        let beside = TaskSpec { scope: rest.scope.clone().without(left_out.to_vec()), ..rest.clone() };
        assert_eq!(left(&a_as_b, std::slice::from_ref(&beside)), Ok(vec![]));
        let a_as_c = mapped(spec(TARGET, "default", &["a"]), "default", "default", &[("a", "c")]);
        assert_eq!(left(&a_as_c, &[beside]), taken("default.c"));
        // A name that the remainder itself assigns cannot be excluded.
        let c_as_b = mapped(rest, "default", "default", &[("c", "b")]);
        assert_eq!(left(&c_as_b, &[a_as_b]), taken("default.b"));
    }

    #[test]
    fn databases_on_the_target() {
        let into_x = |db: &str, names: &[&str]| mapped(spec(TARGET, db, names), db, "x", &[]);
        assert_eq!(left(&into_x("e", &["*"]), &[into_x("d", &["*"])]), taken("x.*"));
        assert_eq!(left(&into_x("e", &["a"]), &[into_x("d", &["*"])]), taken("x.a"));
        assert_eq!(left(&into_x("e", &["*"]), &[into_x("d", &["a"])]), patterns(&["e.a"]));
        assert_eq!(left(&spec(TARGET, "d", &["*"]), &[into_x("e", &["*"])]), Ok(vec![]));
        let rest = spec(TARGET, "*", &["*"]);
        assert_eq!(left(&rest, &[into_x("d", &["*"])]), patterns(&["d.*", "x.*"]));
        // Excluding `x.*` would exclude `x.a` too, which has another name on the target.
        let x_a_as_y_a = mapped(rest, "x", "y", &[("a", "a")]);
        assert_eq!(left(&x_a_as_y_a, &[into_x("d", &["*"])]), taken("x.*"));
        // A name in a mapping is no pattern.
        let star = mapped(spec(TARGET, "d", &["*"]), "d", "d", &[("*", "q")]);
        assert_eq!(left(&star, &[mapped(spec(TARGET, "e", &["a"]), "e", "d", &[])]), patterns(&["d.a"]));
    }

    #[test]
    fn users_and_roles_once() {
        let roles = |db: &str| TaskSpec { enable_user_role: true, ..spec(TARGET, db, &["a"]) };
        assert!(left(&roles("x"), &[roles("y")]).unwrap_err().contains("user role param is duplicate"));
        assert_eq!(left(&roles("x"), &[spec(TARGET, "y", &["a"])]), Ok(vec![]));
    }
}
