/*!
Validates a `create` request, in the order and with the texts of the Go server, and builds the task from it.
*/

use std::collections::BTreeMap;

use super::params::{CreateParams, MilvusParams};
use crate::api::error::ApiError;
use crate::config::{Address, Config, SourceConfig, bearer_text};
use crate::domain::{PeerName, SourceSite, TaskId};
use crate::task::drops::OnDrop;
use crate::task::mapping::NameMapping;
use crate::task::position::{PositionError, StartPosition, looks_virtual, start_positions};
use crate::task::refused_rows::OnRefused;
use crate::task::scope::Scope;
use crate::task::spec::{LoadPolicy, SelectedCollection, Selection, TargetParams, TargetSpec, TaskSpec};

const ANY: &str = "*";

fn peer((name, peer): (&PeerName, &SourceConfig)) -> (String, TargetSpec) {
    (name.as_str().to_owned(), TargetSpec::of_site(&peer.endpoint))
}

/// The facts of the server that requests are validated against.
#[derive(Debug, Clone)]
pub(in crate::api) struct RequestRules {
    /// The only name that `rpc_channel_info` may have.
    pub(in crate::api) replicate_channel: String,
    /// Address of the source, which cannot be a target.
    pub(in crate::api) source: Address,
    /// The peers as targets.
    pub(in crate::api) peers: BTreeMap<String, TargetSpec>,
}

impl RequestRules {
    pub(in crate::api) fn of(config: &Config) -> RequestRules {
        RequestRules {
            replicate_channel: config.source.replicate_channel.clone(),
            source: config.source.endpoint.address.clone(),
            peers: config.peers.iter().map(peer).collect(),
        }
    }
}

/// A valid task that is not created yet.
#[derive(Debug)]
pub(crate) struct NewTask {
    /// The id that the request names, if any.
    pub(crate) id: Option<TaskId>,
    pub(crate) spec: TaskSpec,
}

/// The task that a request defines. Names may have at most `max_name_length` bytes.
///
/// # Errors
/// The first rule that the request breaks.
pub(in crate::api) fn check(
    params: CreateParams,
    rules: &RequestRules,
    max_name_length: usize,
) -> Result<NewTask, ApiError> {
    if params.peer.is_empty() {
        check_addresses(&params)?;
    }
    check_buffer(&params)?;
    check_selection(&params.selection, max_name_length)?;
    let rpc_name = &params.rpc_channel.name;
    if !rpc_name.is_empty() && *rpc_name != rules.replicate_channel {
        let text = "the rpc channel is invalid, the channel name should be the same as the source config";
        return Err(ApiError::client(text));
    }
    if !params.kafka.address.is_empty() {
        let text = "a kafka target does not exist in this version yet, only a milvus one: give milvus_connect_param";
        return Err(ApiError::client(text));
    }
    let id = match params.task_id.as_str() {
        "" => None,
        id => Some(TaskId::parse(id).map_err(|error| ApiError::client(error.to_string()))?),
    };
    let target = match params.peer.as_str() {
        "" => target(params.milvus)?,
        name => named_peer(name, &params.milvus, rules)?,
    };
    if target.address().same_as(&rules.source) {
        let text = format!("the target {} is the source itself; a task needs two servers", target.address());
        return Err(ApiError::client(text));
    }
    let on_drop = on_drop(&params.on_drop, params.drop_after_hours)?;
    let on_refused = OnRefused::named(&params.on_refused)
        .ok_or_else(|| ApiError::client(format!("invalid on_refused: {} (hold, set_aside)", params.on_refused)))?;
    let spec = TaskSpec {
        source: SourceSite::Here,
        noted_ends: None,
        target,
        scope: Scope::of(&params.selection),
        start_positions: positions(&params.selection)?,
        selection: params.selection,
        mapping: NameMapping::new(params.mapping),
        rpc_channel: params.rpc_channel,
        disable_auto_start: params.disable_auto_start,
        enable_user_role: params.enable_user_role,
        prune: params.prune,
        on_drop,
        on_refused,
        load: load_policy(&params.load)?,
    };
    Ok(NewTask { id, spec })
}

/// A peer of the configuration, which says how to connect to it.
fn named_peer(name: &str, milvus: &MilvusParams, rules: &RequestRules) -> Result<TargetSpec, ApiError> {
    if milvus.address().is_some() {
        return Err(ApiError::client("give either `peer` or `milvus_connect_param`, not both"));
    }
    rules.peers.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = rules.peers.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has: {}", known.join(", ")) };
        ApiError::client(format!("the configuration has no peer `{name}` ({known})"))
    })
}

fn on_drop(given: &str, hours: i64) -> Result<OnDrop, ApiError> {
    let on_drop = OnDrop::named(given)
        .ok_or_else(|| ApiError::client(format!("invalid on_drop: {given} (follow, keep, rename)")))?;
    if hours == 0 {
        return Ok(on_drop);
    }
    let kept = u32::try_from(hours).ok().and_then(|hours| on_drop.keeping(hours));
    kept.ok_or_else(|| {
        let longest = OnDrop::MAX_HOURS;
        ApiError::client(format!("invalid drop_after_hours: {hours} (1 to {longest}, with on_drop: rename)"))
    })
}

fn load_policy(given: &str) -> Result<LoadPolicy, ApiError> {
    if given.is_empty() {
        return Ok(LoadPolicy::default());
    }
    LoadPolicy::named(given).ok_or_else(|| {
        let allowed = LoadPolicy::ALL.map(LoadPolicy::name).join(", ");
        ApiError::client(format!("extra_info.load {given:?} is not allowed (allowed: {allowed})"))
    })
}

fn check_addresses(params: &CreateParams) -> Result<(), ApiError> {
    let (milvus, kafka) = (&params.milvus, &params.kafka);
    let no_milvus = milvus.uri.is_empty() && milvus.host.is_empty() && milvus.port <= 0;
    match (no_milvus, kafka.address.is_empty()) {
        (true, true) => return Err(ApiError::client("the downstream address is empty")),
        (false, false) => {
            return Err(ApiError::client("don't support milvus and kafka at the same time now"));
        }
        (true, false) if kafka.topic.is_empty() => {
            return Err(ApiError::client("the kafka topic is empty"));
        }
        (true, false) => return Ok(()),
        (false, true) => {}
    }
    let problem = if milvus.uri.is_empty() && milvus.host.is_empty() {
        "the milvus host is empty"
    } else if milvus.uri.is_empty() && milvus.port <= 0 {
        "the milvus port is less or equal zero"
    } else {
        return milvus.check_login();
    };
    Err(ApiError::client(problem))
}

fn check_buffer(params: &CreateParams) -> Result<(), ApiError> {
    if params.buffer_period < 0 {
        return Err(ApiError::client("the cache period is less zero"));
    }
    if params.buffer_size < 0 {
        return Err(ApiError::client("the cache size is less zero"));
    }
    Ok(())
}

fn check_selection(selection: &Selection, max_length: usize) -> Result<(), ApiError> {
    match (&selection.collection_infos, &selection.db_collections) {
        (None, None) => Err(ApiError::client("the collection info is empty")),
        (Some(_), Some(_)) => Err(ApiError::client("the collection info and db collection info should be only one")),
        (Some(infos), None) => check_collections(infos, max_length),
        (None, Some(databases)) => {
            for (database, infos) in databases {
                if database.len() > max_length {
                    let text = format!("the db name length exceeds {max_length} characters, {database}");
                    return Err(ApiError::client(text));
                }
                if infos.is_empty() {
                    return Err(ApiError::client("empty collection info"));
                }
                check_collections(infos, max_length)?;
            }
            Ok(())
        }
    }
}

fn check_collections(infos: &[SelectedCollection], max_length: usize) -> Result<(), ApiError> {
    for info in infos {
        let mut channels = info.positions.iter().flatten().map(|(channel, _)| channel);
        if info.name == ANY && info.positions.as_ref().is_some_and(|positions| !positions.is_empty()) {
            return Err(ApiError::client("the collection name is `*`, the positions should be empty"));
        }
        if let Some(channel) = channels.find(|channel| !looks_virtual(channel)) {
            return Err(position_error(PositionError::NotVirtual(channel.clone())));
        }
    }
    let mut problem = String::new();
    if infos.iter().any(|info| info.name.is_empty()) {
        problem.push_str("there is a collection name that is empty. ");
    }
    let long: Vec<&str> = infos.iter().map(|info| info.name.as_str()).filter(|name| name.len() > max_length).collect();
    if !long.is_empty() {
        problem.push_str(&format!(
            "there are some collection names whose length exceeds {max_length} characters, [{}]",
            long.join(" ")
        ));
    }
    if problem.is_empty() { Ok(()) } else { Err(ApiError::client(problem)) }
}

fn positions(selection: &Selection) -> Result<Vec<StartPosition>, ApiError> {
    let mut all = Vec::new();
    for (_, info) in selection.collections() {
        all.extend(start_positions(info).map_err(position_error)?);
    }
    Ok(all)
}

fn position_error(error: PositionError) -> ApiError {
    match error {
        PositionError::Data(_) => ApiError::server(error.to_string()),
        _ => ApiError::client(error.to_string()),
    }
}

fn target(milvus: MilvusParams) -> Result<TargetSpec, ApiError> {
    let Some(address) = milvus.address() else { return Err(ApiError::client("the milvus host is empty")) };
    let params = TargetParams {
        address,
        connect_timeout_s: milvus.connect_timeout_s(),
        token: bearer_text(milvus.token.expose(), &milvus.username, milvus.password.expose()),
        dial: milvus.dial,
        channel_num: milvus.channel_num,
        ignore_partition: milvus.ignore_partition,
    };
    TargetSpec::new(params).map_err(|error| ApiError::client(error.to_string()))
}
