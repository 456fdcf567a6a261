//! Finding out that a target is the source itself, or another target by another name.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::config::Address;
use crate::milvus::{CallContext, Client};

/// What a server shows of itself: its collections with their ids.
type Shown = Vec<(String, i64)>;

/// Two connections lead to one server when both show the same collections under the same ids. Servers that give no ids are one
/// when their addresses are. Servers without collections cannot be told apart.
pub(crate) fn is_same_server(clients: [&Client; 2], addresses: [&Address; 2], context: &CallContext) -> bool {
    let [Some(a), Some(b)] = clients.map(|client| shown(client, context)) else { return false };
    if a != b {
        return false;
    }
    a.iter().any(|(_, id)| *id != 0) || !a.is_empty() && meet(addresses)
}

/// Two servers may stand behind one address, at a gateway that goes by the name. Then they have no collection in common. Servers
/// that do not answer, or have none, are not told apart.
pub(crate) fn are_told_apart(clients: [&Client; 2], context: &CallContext) -> bool {
    let [Some(a), Some(b)] = clients.map(|client| shown(client, context)) else { return false };
    differ(&a, &b)
}

fn differ(a: &Shown, b: &Shown) -> bool {
    a != b && !a.iter().any(|collection| b.contains(collection))
}

fn shown(client: &Client, context: &CallContext) -> Option<Shown> {
    let mut found = Vec::new();
    for db in client.list_databases(context).ok()? {
        let collections = client.list_collections(&db, context).ok()?;
        found.extend(collections.into_iter().map(|collection| (format!("{db}.{}", collection.name), collection.id)));
    }
    found.sort();
    Some(found)
}

/// Whether two names lead to one address.
pub(crate) fn meet([a, b]: [&Address; 2]) -> bool {
    let resolved = |address: &Address| -> BTreeSet<SocketAddr> {
        (address.host.as_str(), address.port).to_socket_addrs().into_iter().flatten().map(canonical).collect()
    };
    !resolved(a).is_disjoint(&resolved(b))
}

/// Every address of the loopback network is this host.
fn canonical(address: SocketAddr) -> SocketAddr {
    if address.ip().is_loopback() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_behind_one_address() {
        let shown = |ids: &[i64]| -> Shown { ids.iter().map(|id| ("default.a".to_owned(), *id)).collect() };
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
