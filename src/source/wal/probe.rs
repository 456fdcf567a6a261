//! Finds out whether a source's log can be read by `DumpMessages`.

use std::time::{Duration, Instant};

use crate::milvus::capabilities::LogOverGrpc;
use crate::milvus::wal::{DumpRequest, Next, StreamReady};
use crate::milvus::{CallContext, Capabilities, Client, Error, ErrorKind, ServerVersion};

/// Why the log cannot be read this way.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::source) enum Unusable {
    /// Not with this server or this login; the text says what is needed.
    #[error("{0}")]
    Never(String),
    /// The server does not answer now.
    #[error(transparent)]
    Now(#[from] Error),
}

/// Asks for the version, and calls `DumpMessages` without a channel: a server that has it refuses only that.
///
/// # Errors
/// The server is too old, lacks the call, denies it to the source's user, or does not answer.
pub(in crate::source) fn probe(client: &Client, context: &CallContext) -> Result<ServerVersion, Unusable> {
    let address = client.address();
    let never = |why: String| {
        let since = Capabilities::LOG_OVER_GRPC_SINCE;
        Unusable::Never(format!("the source {address} {why}; its log is read over gRPC from Milvus {since} on"))
    };
    let told = client.describe_server(context)?.version;
    if Capabilities::of(&told).log_over_grpc == LogOverGrpc::Lacking {
        return Err(never(format!("is {told}")));
    }
    match first_answer(client, context) {
        Some(error) if error.kind == ErrorKind::Unimplemented => {
            Err(never(format!("is {told} and has no DumpMessages")))
        }
        Some(error) if error.kind == ErrorKind::Denied => Err(Unusable::Never(needs_privileges(&error))),
        _ => Ok(told),
    }
}

/// What to do about a call of this log that was denied.
pub(super) fn needs_privileges(error: &Error) -> String {
    format!(
        "{error}: to read the log over gRPC, the source's user needs the privileges ManageOwnership (DumpMessages) and \
         FlushAll, or the role admin"
    )
}

/// How the call without a channel fails; `None` if it does not.
fn first_answer(client: &Client, context: &CallContext) -> Option<Error> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let wanted = DumpRequest { channel: "", start: ("", 0), from: 0, until: 1 };
    let mut stream = match client.dump_messages(wanted, &StreamReady::default()) {
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
