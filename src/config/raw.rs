/*!
The config file as written: every key, all of them optional.

All values are read as text together with their position in the file; `load` turns them into numbers and choices,
because its messages can name the key.
*/

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::legacy::Leftover;

/// A value and its position in the file.
pub(super) type Leaf = Option<Spanned<String>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawConfig {
    /// Keys of the Go server that were removed before parsing.
    #[serde(skip)]
    pub(super) leftovers: Vec<Leftover>,
    pub(super) address: Leaf,
    pub(super) data_dir: Leaf,
    pub(super) max_task_num: Leaf,
    pub(super) max_name_length: Leaf,
    pub(super) log_level: Leaf,
    pub(super) log_format: Leaf,
    pub(super) api: Option<RawApi>,
    pub(super) source_config: Option<RawSource>,
    pub(super) peers: Option<BTreeMap<String, RawSource>>,
}

/// Its `Debug` omits the secrets.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawApi {
    pub(super) token: Leaf,
    pub(super) token_file: Leaf,
    pub(super) allow_unauthenticated: Leaf,
    pub(super) allowed_hosts: Option<Vec<Spanned<String>>>,
}

impl std::fmt::Debug for RawApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawApi").field("allowed_hosts", &self.allowed_hosts).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawSource {
    pub(super) milvus: Option<RawMilvus>,
    pub(super) log: Leaf,
    pub(super) rocksmq: Option<RawRocksMq>,
    pub(super) kafka: Option<RawKafka>,
    pub(super) pulsar: Option<RawPulsar>,
    pub(super) scan: Option<RawScan>,
    pub(super) release_after: Leaf,
    pub(super) channel_prefix: Leaf,
    pub(super) replicate_chan: Leaf,
}

/// Its `Debug` omits the secrets.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawMilvus {
    pub(super) uri: Leaf,
    pub(super) token: Leaf,
    pub(super) token_file: Leaf,
    pub(super) username: Leaf,
    pub(super) password: Leaf,
    pub(super) password_file: Leaf,
    pub(super) connect_timeout: Leaf,
    pub(super) dial_config: Option<RawDial>,
}

impl std::fmt::Debug for RawMilvus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawMilvus").field("uri", &self.uri).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawRocksMq {
    pub(super) path: Leaf,
}

/// Its `Debug` omits the secrets; properties may be secrets too.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawKafka {
    pub(super) address: Leaf,
    pub(super) security_protocol: Leaf,
    pub(super) sasl_mechanisms: Leaf,
    pub(super) sasl_username: Leaf,
    pub(super) sasl_password: Leaf,
    pub(super) sasl_password_file: Leaf,
    pub(super) tls: Option<RawBrokerTls>,
    pub(super) properties: Option<BTreeMap<String, Spanned<String>>>,
}

impl std::fmt::Debug for RawKafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawKafka").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Its `Debug` omits the secrets.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawBrokerTls {
    pub(super) ca_pem_path: Leaf,
    pub(super) client_pem_path: Leaf,
    pub(super) client_key_path: Leaf,
    pub(super) client_key_password: Leaf,
    pub(super) client_key_password_file: Leaf,
}

impl RawBrokerTls {
    /// The first value given, for the section's line number.
    pub(super) fn given(&self) -> &Leaf {
        let leaves = [
            &self.ca_pem_path,
            &self.client_pem_path,
            &self.client_key_path,
            &self.client_key_password,
            &self.client_key_password_file,
        ];
        leaves.into_iter().find(|leaf| leaf.is_some()).unwrap_or(&None)
    }
}

/// Its `Debug` omits the secrets.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawPulsar {
    pub(super) address: Leaf,
    pub(super) web_address: Leaf,
    pub(super) max_message_size: Leaf,
    pub(super) tenant: Leaf,
    pub(super) namespace: Leaf,
    pub(super) auth_plugin: Leaf,
    pub(super) auth_params: Leaf,
    pub(super) auth_params_file: Leaf,
    pub(super) tls: Option<RawBrokerTls>,
    pub(super) subscription: Leaf,
}

impl std::fmt::Debug for RawPulsar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawPulsar").field("address", &self.address).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawScan {
    pub(super) interval: Leaf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawDial {
    pub(super) server_name: Leaf,
    pub(super) server_pem_path: Leaf,
    pub(super) ca_pem_path: Leaf,
    pub(super) client_pem_path: Leaf,
    pub(super) client_key_path: Leaf,
}
