//! A server of the configuration as a server to connect to.

use super::connect::ClientIdentity;
use super::{ConnectOptions, TlsOptions};
use crate::config;

impl From<&config::Endpoint> for ConnectOptions {
    fn from(endpoint: &config::Endpoint) -> Self {
        let tls = match &endpoint.tls {
            config::Tls::Off => None,
            config::Tls::System { server_name } => {
                Some(TlsOptions { server_name: server_name.clone(), ..TlsOptions::default() })
            }
            config::Tls::Server { ca, server_name } => {
                Some(TlsOptions { roots: Some(ca.clone()), identity: None, server_name: server_name.clone() })
            }
            config::Tls::Mutual { ca, client, key, server_name } => Some(TlsOptions {
                roots: Some(ca.clone()),
                identity: Some(ClientIdentity { certificate: client.clone(), key: key.clone() }),
                server_name: server_name.clone(),
            }),
        };
        ConnectOptions {
            address: endpoint.address.to_string(),
            token: endpoint.token.expose().to_owned(),
            tls,
            connect_timeout: endpoint.connect_timeout,
        }
    }
}
