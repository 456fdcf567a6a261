//! A `create` with the id of a task that exists: whether it is the same request again, and if not, what differs.

use super::command::ManagerError;
use crate::domain::TaskId;
use crate::task::scope::Scope;
use crate::task::spec::TaskSpec;

/// Whether the request that defines `wanted` is the one that has created the task: a client that repeats its request
/// gets its answer again.
///
/// # Errors
/// [`ManagerError::OtherConnection`] when an update may change what differs, [`ManagerError::OtherDefinition`] when
/// nothing can.
pub(super) fn is_repeated(id: &TaskId, known: &TaskSpec, wanted: &TaskSpec) -> Result<(), ManagerError> {
    let differences = differences(known, wanted);
    let is_update = known.target.address().same_as(wanted.target.address());
    match differences.as_slice() {
        [] => Ok(()),
        [CONNECTION] if is_update => Err(ManagerError::OtherConnection(id.clone())),
        _ => Err(ManagerError::OtherDefinition { id: id.clone(), differences: differences.join(", ") }),
    }
}

const CONNECTION: &str = "milvus_connect_param";

/// The fields of the request that differ. (The task's own scope lacks what other tasks had taken before it.)
fn differences(known: &TaskSpec, wanted: &TaskSpec) -> Vec<&'static str> {
    let scope = |spec: &TaskSpec| (Scope::of(&spec.selection), spec.start_positions.clone());
    let named = if known.selection.db_collections.is_some() { "db_collections" } else { "collection_infos" };
    let compared = [
        ("reverse_of", known.source == wanted.source),
        (CONNECTION, known.target.given() == wanted.target.given()),
        (named, scope(known) == scope(wanted)),
        ("name_mapping", known.mapping == wanted.mapping),
        ("rpc_channel_info", known.rpc_channel == wanted.rpc_channel),
        ("extra_info.enable_user_role", known.enable_user_role == wanted.enable_user_role),
        ("extra_info.load", known.load == wanted.load),
        ("disable_auto_start", known.disable_auto_start == wanted.disable_auto_start),
        ("prune", known.prune == wanted.prune),
        ("on_drop", known.on_drop == wanted.on_drop),
        ("on_refused", known.on_refused == wanted.on_refused),
    ];
    compared.into_iter().filter(|(_, is_same)| !is_same).map(|(field, _)| field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::overlap::testing::spec;
    use crate::task::drops::OnDrop;
    use crate::task::spec::{LoadPolicy, TargetSpec};

    fn refusal(known: &TaskSpec, wanted: &TaskSpec) -> Result<(), String> {
        is_repeated(&TaskId::parse("a").unwrap(), known, wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn what_differs_is_named_and_what_to_do() {
        let known = spec("http://m:1", "db", &["a", "b"]);
        let excluded = Scope::of(&spec("http://m:1", "db", &["a"]).selection);
        let narrowed = TaskSpec { scope: excluded, ..known.clone() };
        assert_eq!(refusal(&narrowed, &known), Ok(()), "what others had taken is no difference");
        let scope = refusal(&known, &spec("http://m:1", "db", &["a"])).unwrap_err();
        assert!(scope.contains(": db_collections.") && scope.contains("delete the task and"), "{scope}");
        let elsewhere = refusal(&known, &spec("http://n:1", "db", &["a", "b"])).unwrap_err();
        assert!(elsewhere.contains(": milvus_connect_param."), "{elsewhere}");
        let mut params = known.target.given().clone();
        params.connect_timeout_s = 7;
        let target = TargetSpec::new(params).unwrap();
        let connection = TaskSpec { target, ..known.clone() };
        let text = refusal(&known, &connection).unwrap_err();
        assert!(text.contains("with an `update` request") && !text.contains("delete"), "{text}");
        let more = TaskSpec { on_drop: OnDrop::Keep, load: LoadPolicy::Ignore, prune: true, ..connection };
        let text = refusal(&known, &more).unwrap_err();
        assert!(text.contains(": milvus_connect_param, extra_info.load, prune, on_drop."), "{text}");
    }
}
