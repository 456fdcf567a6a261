//! Detects that two addresses lead to one server: the target is the source itself, or two tasks have one target.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};

use super::client::{CallContext, Client};
use super::error::Error;
use super::same_server_probe::{Sameness, prove};
use crate::config::Address;

/// The collections of a server with their ids.
type CollectionIds = Vec<(String, i64)>;

/// Whether the target is the source: by proof, or, where none can be had, by what both list.
///
/// # Errors
/// A server that does not answer.
pub(crate) fn is_source_itself(
    clients: [&Client; 2],
    addresses: [&Address; 2],
    context: &CallContext,
) -> Result<bool, Error> {
    let [source, target] = clients;
    Ok(match prove(source, target, context)? {
        Sameness::Same => true,
        Sameness::Different => false,
        Sameness::Unproved(why) => {
            log::warn!("whether {} is the source itself is judged by its collections: {why}", target.address());
            is_same_server(clients, addresses, context) || meet(addresses)
        }
    })
}

/// Whether two connections lead to one server: both list the same collections with the same ids. Servers without ids
/// are the same if their addresses are. Servers without collections cannot be distinguished and count as different.
pub(crate) fn is_same_server(clients: [&Client; 2], addresses: [&Address; 2], context: &CallContext) -> bool {
    let [Some(a), Some(b)] = clients.map(|client| shown(client, context)) else { return false };
    if a != b {
        return false;
    }
    a.iter().any(|(_, id)| *id != 0) || !a.is_empty() && meet(addresses)
}

/// Whether two servers behind one address (a gateway that routes by name) are known to be different: they have no
/// collection in common. `false` if a server does not answer or has no collections.
pub(crate) fn are_told_apart(clients: [&Client; 2], context: &CallContext) -> bool {
    let [Some(a), Some(b)] = clients.map(|client| shown(client, context)) else { return false };
    differ(&a, &b)
}

fn differ(a: &CollectionIds, b: &CollectionIds) -> bool {
    a != b && !a.iter().any(|collection| b.contains(collection))
}

fn shown(client: &Client, context: &CallContext) -> Option<CollectionIds> {
    let mut found = Vec::new();
    for db in client.list_databases(context).ok()? {
        let collections = client.list_collections(&db, context).ok()?;
        found.extend(collections.into_iter().map(|collection| (format!("{db}.{}", collection.name), collection.id)));
    }
    found.sort();
    Some(found)
}

/// Whether two host names resolve to a common address.
pub(crate) fn meet([a, b]: [&Address; 2]) -> bool {
    let resolved = |address: &Address| -> BTreeSet<SocketAddr> {
        (address.host.as_str(), address.port).to_socket_addrs().into_iter().flatten().map(canonical).collect()
    };
    !resolved(a).is_disjoint(&resolved(b))
}

/// Maps every loopback address to one.
fn canonical(address: SocketAddr) -> SocketAddr {
    if address.ip().is_loopback() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_behind_one_address() {
        let shown = |ids: &[i64]| -> CollectionIds { ids.iter().map(|id| ("default.a".to_owned(), *id)).collect() };
        assert!(differ(&shown(&[1]), &shown(&[2])) && differ(&shown(&[1]), &shown(&[])));
        assert!(!differ(&shown(&[1, 2]), &shown(&[2, 3])) && !differ(&shown(&[]), &shown(&[])));
    }

    #[test]
    fn addresses_that_meet() {
        let address = |host: &str, port| Address { host: host.into(), port };
        let meet = |a: &Address, b: &Address| meet([a, b]);
        assert!(meet(&address("127.0.0.1", 5), &address("127.0.0.2", 5)));
        assert!(meet(&address("localhost", 5), &address("127.0.0.1", 5)));
        assert!(!meet(&address("127.0.0.1", 5), &address("127.0.0.1", 6)));
        assert!(!meet(&address("192.0.2.1", 5), &address("192.0.2.2", 5)));
    }
}
