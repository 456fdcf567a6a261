/*!
Judges a `create` request, in the order and with the texts of the Go server, and makes the task of it.
*/

use super::params::{CreateParams, MilvusParams};
use crate::api::error::ApiError;
use crate::config::{Address, bearer_text};
use crate::task::mapping::NameMapping;
use crate::task::position::{PositionError, StartPosition, looks_virtual, start_positions};
use crate::task::scope::Scope;
use crate::task::spec::{CollectionInfo, Selection, TargetAddress, TargetParams, TargetSpec, TaskId, TaskSpec};

/// The longest `connect_timeout`, in seconds.
const MAX_CONNECT_TIMEOUT_S: u32 = 3_600;
const ANY: &str = "*";

/// What a request is measured by.
#[derive(Debug, Clone)]
pub(in crate::api) struct Rules {
    /// The only name that `rpc_channel_info` may give.
    pub(in crate::api) replicate_channel: String,
    /// Where the source is, which cannot be a target.
    pub(in crate::api) source: Address,
}

/// The task that is asked for, and the id it shall have. Names may have so many bytes.
///
/// # Errors
/// The first rule that is broken.
pub(in crate::api) fn check(
    params: CreateParams,
    rules: &Rules,
    max_name_length: usize,
) -> Result<(Option<TaskId>, TaskSpec), ApiError> {
    check_addresses(&params)?;
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
    let target = target(params.milvus)?;
    if target.address().same_as(&rules.source) {
        let text = format!("the target {} is the source itself; a task needs two servers", target.address());
        return Err(ApiError::client(text));
    }
    let spec = TaskSpec {
        target,
        scope: Scope::of(&params.selection),
        start_positions: positions(&params.selection)?,
        selection: params.selection,
        mapping: NameMapping::new(params.mapping),
        rpc_channel: params.rpc_channel,
        disable_auto_start: params.disable_auto_start,
        enable_user_role: params.enable_user_role,
        prune: params.prune,
    };
    Ok((id, spec))
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
    } else if milvus.username.is_empty() != milvus.password.is_empty() {
        "cannot set only one of the milvus username and password"
    } else if milvus.connect_timeout < 0 {
        "the milvus connect timeout is less zero"
    } else if milvus.connect_timeout > i64::from(MAX_CONNECT_TIMEOUT_S) {
        "the milvus connect timeout is more than 3600 seconds"
    } else {
        return Ok(());
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

fn check_collections(infos: &[CollectionInfo], max_length: usize) -> Result<(), ApiError> {
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
    let address = if milvus.uri.is_empty() {
        TargetAddress::HostPort { host: milvus.host, port: milvus.port, enable_tls: milvus.enable_tls }
    } else {
        TargetAddress::Uri(milvus.uri)
    };
    let params = TargetParams {
        address,
        token: bearer_text(milvus.token.expose(), &milvus.username, milvus.password.expose()),
        dial: milvus.dial,
        // Checked above to lie between 0 and the maximum.
        connect_timeout_s: u32::try_from(milvus.connect_timeout).unwrap_or(MAX_CONNECT_TIMEOUT_S),
        channel_num: milvus.channel_num,
        ignore_partition: milvus.ignore_partition,
    };
    TargetSpec::new(params).map_err(|error| ApiError::client(error.to_string()))
}
