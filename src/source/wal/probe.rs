//! Whether a source's log can be read this way.

use std::time::{Duration, Instant};

use crate::milvus::version::Version;
use crate::milvus::wal::{DumpRequest, Next, Ready};
use crate::milvus::{CallContext, Client, Error, ErrorKind};

/// The first version that sends the content of transactions, and the message to begin with.
const SINCE: Version = Version::new(2, 6, 20);

/// Why it cannot.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unusable {
    /// Never: what it would need.
    #[error("{0}")]
    Never(String),
    /// The server does not answer.
    #[error(transparent)]
    Now(#[from] Error),
}

/// Asks for the version and calls `DumpMessages` without naming a channel, which a server that has it refuses for that.
///
/// # Errors
/// [`Unusable`]: why not.
pub fn probe(client: &Client, context: &CallContext) -> Result<Version, Unusable> {
    let address = client.address();
    let never = |why: String| {
        Unusable::Never(format!("the source {address} {why}; its log is read over gRPC from Milvus {SINCE} on"))
    };
    let told = client.version(context)?;
    let version = told.milvus().ok_or_else(|| never(format!("is {told}")))?;
    if version < SINCE {
        return Err(never(format!("is Milvus {version}")));
    }
    match first_answer(client, context) {
        Some(error) if error.kind == ErrorKind::Unimplemented => {
            Err(never(format!("is {told} and has no DumpMessages")))
        }
        Some(error) if error.kind == ErrorKind::Denied => Err(Unusable::Never(format!(
            "{error}: the source's user needs the privileges ManageOwnership (DumpMessages) and FlushAll, or the role admin"
        ))),
        _ => Ok(version),
    }
}

/// How the call without a channel ends; `None` when it does not.
fn first_answer(client: &Client, context: &CallContext) -> Option<Error> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let wanted = DumpRequest { channel: "", start: ("", 0), from: 0, until: 1 };
    let mut stream = match client.dump_messages(wanted, &Ready::default()) {
        Ok(stream) => stream,
        Err(error) => return Some(error),
    };
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        match stream.poll() {
            Next::Broken(why) => return Some(client.dump_failed("", why)),
            Next::End | Next::Answer(_) => return None,
            Next::Nothing => {
                if context.cancel.sleep(Duration::from_millis(5)) {
                    return None;
                }
            }
        }
    }
    None
}
