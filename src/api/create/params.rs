/*!
The fields of a `create` request, decoded but not validated.
*/

use serde_json::{Map, Value};

use crate::api::decode::{Object, Problems, objects, text};
use crate::api::error::ApiError;
use crate::config::{DialFiles, Secret};
use crate::task::mapping::DatabaseMapping;
use crate::task::spec::{RpcChannel, SelectedCollection, Selection, TargetAddress};

/// The fields of a request that have a meaning here.
#[derive(Debug)]
pub(in crate::api) struct CreateParams {
    pub(in crate::api) task_id: String,
    /// A peer as the target; empty for none.
    pub(super) peer: String,
    /// Another task, of which this one is the opposite; empty for none.
    pub(in crate::api) reverse_of: String,
    pub(super) milvus: MilvusParams,
    pub(super) kafka: KafkaParams,
    pub(super) selection: Selection,
    pub(super) mapping: Vec<DatabaseMapping>,
    pub(super) rpc_channel: RpcChannel,
    pub(super) enable_user_role: bool,
    pub(super) disable_auto_start: bool,
    pub(super) prune: bool,
    pub(super) on_drop: String,
    pub(super) on_refused: String,
    /// 0 for the default.
    pub(super) drop_after_hours: i64,
    /// `extra_info.load`; empty for the default.
    pub(super) load: String,
    pub(super) buffer_period: i64,
    pub(super) buffer_size: i64,
}

/// `milvus_connect_param`.
#[derive(Debug)]
pub(in crate::api) struct MilvusParams {
    pub(super) uri: String,
    pub(in crate::api) token: Secret,
    pub(super) host: String,
    pub(super) port: i64,
    pub(super) enable_tls: bool,
    pub(in crate::api) username: String,
    pub(in crate::api) password: Secret,
    pub(in crate::api) dial: DialFiles,
    pub(super) connect_timeout: i64,
    pub(in crate::api) channel_num: i64,
    pub(in crate::api) ignore_partition: bool,
}

#[derive(Debug)]
pub(super) struct KafkaParams {
    pub(super) address: String,
    pub(super) topic: String,
}

impl CreateParams {
    /// Decodes a request.
    ///
    /// # Errors
    /// One text that lists every field of the wrong type.
    pub(in crate::api) fn decode(data: Option<&Map<String, Value>>) -> Result<Self, String> {
        let mut problems = Problems::default();
        let params = Self::read(&Object::root(data), &mut problems);
        problems.or(params)
    }

    fn read(root: &Object<'_>, problems: &mut Problems) -> Self {
        let kafka = root.object("kafka_connect_param", problems);
        let rpc = root.object("rpc_channel_info", problems);
        let buffer = root.object("buffer_config", problems);
        let extra = root.object("extra_info", problems);
        CreateParams {
            task_id: root.text("task_id", problems),
            peer: root.text("peer", problems),
            reverse_of: root.text("reverse_of", problems),
            milvus: MilvusParams::read(&root.object("milvus_connect_param", problems), problems),
            kafka: KafkaParams { address: kafka.text("address", problems), topic: kafka.text("topic", problems) },
            selection: selection(root, problems),
            mapping: mapping(root, problems),
            rpc_channel: RpcChannel { name: rpc.text("name", problems), position: rpc.text("position", problems) },
            enable_user_role: extra.flag("enable_user_role", problems),
            load: extra.text("load", problems),
            disable_auto_start: root.flag("disable_auto_start", problems),
            prune: root.flag("prune", problems),
            on_drop: root.text("on_drop", problems),
            on_refused: root.text("on_refused", problems),
            drop_after_hours: root.integer("drop_after_hours", problems),
            buffer_period: buffer.integer("period", problems),
            buffer_size: buffer.integer("size", problems),
        }
    }
}

/// The largest `connect_timeout`, in seconds.
const MAX_CONNECT_TIMEOUT_S: u32 = 3_600;

impl MilvusParams {
    /// Checks what is given of login and timeout.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(in crate::api) fn check_login(&self) -> Result<(), ApiError> {
        let problem = if self.username.is_empty() != self.password.is_empty() {
            "cannot set only one of the milvus username and password"
        } else if self.connect_timeout < 0 {
            "the milvus connect timeout is less zero"
        } else if self.connect_timeout > i64::from(MAX_CONNECT_TIMEOUT_S) {
            "the milvus connect timeout is more than 3600 seconds"
        } else {
            return Ok(());
        };
        Err(ApiError::client(problem))
    }

    /// Seconds; 0 for the default. `check_login` has proved that it is in bounds.
    pub(in crate::api) fn connect_timeout_s(&self) -> u32 {
        u32::try_from(self.connect_timeout).unwrap_or(MAX_CONNECT_TIMEOUT_S)
    }

    /// The address, if one is given.
    pub(in crate::api) fn address(&self) -> Option<TargetAddress> {
        if !self.uri.is_empty() {
            return Some(TargetAddress::Uri(self.uri.clone()));
        }
        let (host, port, enable_tls) = (self.host.clone(), self.port, self.enable_tls);
        (!host.is_empty() || port > 0).then_some(TargetAddress::HostPort { host, port, enable_tls })
    }

    pub(in crate::api) fn read(object: &Object<'_>, problems: &mut Problems) -> MilvusParams {
        let dial = object.object("dial_config", problems);
        MilvusParams {
            uri: object.text("uri", problems),
            token: Secret::new(object.text("token", problems)),
            host: object.text("host", problems),
            port: object.integer("port", problems),
            enable_tls: object.flag("enable_tls", problems),
            username: object.text("username", problems),
            password: Secret::new(object.text("password", problems)),
            dial: DialFiles {
                server_name: dial.text("server_name", problems),
                server_pem_path: dial.text("server_pem_path", problems),
                ca_pem_path: dial.text("ca_pem_path", problems),
                client_pem_path: dial.text("client_pem_path", problems),
                client_key_path: dial.text("client_key_path", problems),
            },
            connect_timeout: object.integer("connect_timeout", problems),
            channel_num: object.integer("channel_num", problems),
            ignore_partition: object.flag("ignore_partition", problems),
        }
    }
}

fn selection(root: &Object<'_>, problems: &mut Problems) -> Selection {
    let infos = root.objects("collection_infos", problems);
    let infos = infos.map(|infos| infos.iter().map(|info| collection(info, problems)).collect::<Vec<_>>());
    let databases = root.map("db_collections", problems, |path, value, problems| {
        let infos = objects(path, value, problems);
        infos.iter().map(|info| collection(info, problems)).collect::<Vec<_>>()
    });
    Selection {
        collection_infos: infos.filter(|infos| !infos.is_empty()),
        db_collections: databases.filter(|databases| !databases.is_empty()),
    }
}

fn collection(object: &Object<'_>, problems: &mut Problems) -> SelectedCollection {
    SelectedCollection {
        name: object.text("name", problems),
        positions: object.map("positions", problems, text),
        use_start_position: object.flag("use_start_position", problems),
    }
}

fn mapping(root: &Object<'_>, problems: &mut Problems) -> Vec<DatabaseMapping> {
    let mappings = root.objects("name_mapping", problems).unwrap_or_default();
    let read = |object: &Object<'_>| DatabaseMapping {
        source_db: object.text("source_db", problems),
        target_db: object.text("target_db", problems),
        collections: object.map("collection_mapping", problems, text).unwrap_or_default(),
    };
    mappings.iter().map(read).collect()
}
