/*!
The fields of a `create` request, decoded but not judged.
*/

use serde_json::{Map, Value};

use crate::api::decode::{Object, Problems, objects, text};
use crate::config::{DialFiles, Secret};
use crate::task::mapping::DatabaseMapping;
use crate::task::spec::{CollectionInfo, RpcChannel, Selection};

/// Everything that a request may hold and that means something here.
#[derive(Debug)]
pub(in crate::api) struct CreateParams {
    pub(super) task_id: String,
    pub(super) milvus: MilvusParams,
    pub(super) kafka: KafkaParams,
    pub(super) selection: Selection,
    pub(super) mapping: Vec<DatabaseMapping>,
    pub(super) rpc_channel: RpcChannel,
    pub(super) enable_user_role: bool,
    pub(super) disable_auto_start: bool,
    pub(super) prune: bool,
    pub(super) buffer_period: i64,
    pub(super) buffer_size: i64,
}

#[derive(Debug)]
pub(super) struct MilvusParams {
    pub(super) uri: String,
    pub(super) token: Secret,
    pub(super) host: String,
    pub(super) port: i64,
    pub(super) enable_tls: bool,
    pub(super) username: String,
    pub(super) password: Secret,
    pub(super) dial: DialFiles,
    pub(super) connect_timeout: i64,
    pub(super) channel_num: i64,
    pub(super) ignore_partition: bool,
}

#[derive(Debug)]
pub(super) struct KafkaParams {
    pub(super) address: String,
    pub(super) topic: String,
}

impl CreateParams {
    /// Reads a request.
    ///
    /// # Errors
    /// One text with everything that has the wrong type.
    pub(in crate::api) fn decode(data: Option<&Map<String, Value>>) -> Result<Self, String> {
        let mut problems = Problems::default();
        let params = Self::read(&Object::root(data), &mut problems);
        problems.or(params)
    }

    fn read(root: &Object<'_>, problems: &mut Problems) -> Self {
        let kafka = root.object("kafka_connect_param", problems);
        let rpc = root.object("rpc_channel_info", problems);
        let buffer = root.object("buffer_config", problems);
        CreateParams {
            task_id: root.text("task_id", problems),
            milvus: milvus(&root.object("milvus_connect_param", problems), problems),
            kafka: KafkaParams { address: kafka.text("address", problems), topic: kafka.text("topic", problems) },
            selection: selection(root, problems),
            mapping: mapping(root, problems),
            rpc_channel: RpcChannel { name: rpc.text("name", problems), position: rpc.text("position", problems) },
            enable_user_role: root.object("extra_info", problems).flag("enable_user_role", problems),
            disable_auto_start: root.flag("disable_auto_start", problems),
            prune: root.flag("prune", problems),
            buffer_period: buffer.integer("period", problems),
            buffer_size: buffer.integer("size", problems),
        }
    }
}

fn milvus(object: &Object<'_>, problems: &mut Problems) -> MilvusParams {
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

fn collection(object: &Object<'_>, problems: &mut Problems) -> CollectionInfo {
    CollectionInfo {
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
