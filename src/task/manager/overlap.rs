/*!
No collection of a target belongs to two tasks.

A new task may take what is left over: `db.*` beside a task that carries `db.a` follows everything else of `db`. The other
way round is refused, as is a mere intersection (`db.*` and `*.a`), because it would be unclear whose rows they are.
*/

use super::command::ManagerError;
use crate::task::scope::ScopePattern;
use crate::task::spec::TaskSpec;

/// What a new task must leave to the others on its target.
///
/// # Errors
/// [`ManagerError::DuplicateUserRole`], or [`ManagerError::DuplicateCollection`] naming what is taken.
pub(super) fn left_to_others<'a>(
    new: &TaskSpec,
    others: impl Iterator<Item = &'a TaskSpec>,
) -> Result<Vec<ScopePattern>, ManagerError> {
    let same_target: Vec<&TaskSpec> =
        others.filter(|other| other.target.address().same_as(new.target.address())).collect();
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
    Ok(carried.filter(|pattern| new.scope.included().iter().any(|wanted| wanted.covers(pattern))).cloned().collect())
}

/// The other task carries some of what is wanted, and the new one would not simply be the rest around it.
fn takes(other: &TaskSpec, wanted: &ScopePattern) -> bool {
    let left_out = other.scope.excluded().iter().any(|excluded| excluded.covers(wanted));
    let meets = |pattern: &&ScopePattern| pattern.meets(wanted) && (*pattern == wanted || !wanted.covers(pattern));
    !left_out && other.scope.included().iter().any(|pattern| meets(&pattern))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{DialFiles, Secret};
    use crate::task::mapping::NameMapping;
    use crate::task::scope::Scope;
    use crate::task::spec::{CollectionInfo, RpcChannel, Selection, TargetAddress, TargetParams, TargetSpec};

    fn spec(uri: &str, database: &str, names: &[&str]) -> TaskSpec {
        let infos = names.iter().map(|name| CollectionInfo { name: (*name).into(), ..CollectionInfo::default() });
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
            target: TargetSpec::new(target).unwrap(),
            scope: Scope::of(&selection),
            selection,
            mapping: NameMapping::default(),
            start_positions: Vec::new(),
            rpc_channel: RpcChannel::default(),
            disable_auto_start: false,
            enable_user_role: false,
            prune: false,
        }
    }

    fn left(new: &TaskSpec, others: &[TaskSpec]) -> Result<Vec<String>, String> {
        left_to_others(new, others.iter())
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
        assert_eq!(left(&elsewhere, &[one]), Ok(vec![]));
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

    #[test]
    fn users_and_roles_once() {
        let roles = |db: &str| TaskSpec { enable_user_role: true, ..spec(TARGET, db, &["a"]) };
        assert!(left(&roles("x"), &[roles("y")]).unwrap_err().contains("user role param is duplicate"));
        assert_eq!(left(&roles("x"), &[spec(TARGET, "y", &["a"])]), Ok(vec![]));
    }
}
