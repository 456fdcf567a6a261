/*!
Serializes calls to servers that cannot handle concurrent ones, across all connections of this process.

Milvus Lite 3.2.2 does not guard a collection's log against concurrent calls. With concurrent writes to one collection,
acknowledged rows are lost when the server is killed: in 14 of 14 kills with four direct clients, in none with one. And
two concurrent first calls for a collection after a start open it twice; the second opening empties the log of the
first.
*/

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::pb::api::ServerInfo;
use super::wait::{CANCEL_LATENCY, Cancel};

/// By address, for the life of the process: there are no more entries than sources and targets.
static TURNS: Mutex<BTreeMap<String, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());

/// Notes what kind of server answers at an address.
pub(super) fn introduce(address: &str, server: &ServerInfo) {
    let mut turns = TURNS.lock();
    if server.build_tags == "milvus_lite" {
        turns.entry(address.to_owned()).or_default();
    } else {
        turns.remove(address);
    }
}

/// Whether a Milvus Lite 3 answers at an address.
pub(super) fn is_lite(address: &str) -> bool {
    TURNS.lock().contains_key(address)
}

/// Makes a call when it is its turn; at once for servers that take concurrent calls.
///
/// # Errors
/// The call was cancelled while it waited.
pub(super) fn in_turn<T>(address: &str, cancel: &Cancel, call: impl FnOnce() -> T) -> Result<T, Cancelled> {
    let Some(turns) = TURNS.lock().get(address).cloned() else { return Ok(call()) };
    loop {
        if cancel.is_cancelled() {
            return Err(Cancelled);
        }
        if let Some(_turn) = turns.try_lock_for(CANCEL_LATENCY) {
            return Ok(call());
        }
    }
}

/// The call was cancelled while it waited for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cancelled;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::thread::ThreadSpec;

    fn lite() -> ServerInfo {
        ServerInfo { build_tags: "milvus_lite".into(), ..Default::default() }
    }

    /// Whether two calls are under way at the same time, within this time.
    fn together(address: &'static str, patience: Duration) -> bool {
        let (entered, second) = crossbeam_channel::bounded(1);
        let (other, met) = in_turn(address, &Cancel::default(), || {
            let other = ThreadSpec::of_server("other")
                .spawn(move || in_turn(address, &Cancel::default(), || entered.send(()).is_ok()));
            (other.unwrap(), second.recv_timeout(patience).is_ok())
        })
        .unwrap();
        assert_eq!(other.join().unwrap(), Ok(true));
        met
    }

    #[test]
    fn one_at_a_time_where_it_is_wanted() {
        let address = "turns.test:1";
        let long = Duration::from_secs(30);
        assert!(together(address, long));
        introduce(address, &lite());
        assert!(is_lite(address) && !together(address, CANCEL_LATENCY * 3));
        introduce(address, &ServerInfo::default());
        assert!(!is_lite(address));
        assert!(together(address, long), "another server is there now");
    }

    #[test]
    fn a_cancelled_call_waits_no_longer() {
        let (address, cancel) = ("turns.test:2", Cancel::default());
        introduce(address, &lite());
        let inner = in_turn(address, &Cancel::default(), || {
            cancel.cancel();
            in_turn(address, &cancel, || ())
        });
        assert_eq!(inner, Ok(Err(Cancelled)));
    }
}
