/*!
The one place that decides what an error means.

Known passing conditions (no connection, a server that starts or is overloaded, quotas) are tried again for ever. What only a
human can mend stops the task at once. Everything else is tried again for a while, because a server that starts up
says strange things, and then stops the task: unknown errors are not retried in silence for ever.
*/

use crate::milvus::{Error, ErrorKind};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes: try again until it has.
    Retry,
    /// It may pass: try again for a while, then stop.
    RetryForAWhile,
    /// Only a human can mend it.
    Stop,
}

/// Codes of Milvus's `merr` package that pass by themselves: service not ready, unavailable, memory limit, request limit,
/// internal, disk limit, rate limit, force deny (quota), time tick delay; channel and node trouble; IO; message queue.
const PASSING: [i32; 21] = [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 500, 501, 502, 503, 504, 900, 901, 902, 1000, 1002, 1300];
/// The numbering before 2.3: not ready, rate limit, force deny, memory, disk, time tick delay, coordinators away.
const PASSING_LEGACY: [i32; 9] = [49, 48, 53, 54, 55, 56, 57, 100, 24];
/// Parameters that the target refuses: the same request will be refused again.
const REFUSED: std::ops::RangeInclusive<i32> = 1100..=1199;
/// What Milvus Lite 3 refuses with. (In Milvus it stands for a request that reached another cluster.)
const REFUSED_BY_LITE: i32 = 6;
/// Ordinary instance asked to replicate.
const NOT_REPLICATING: i32 = 1900;

/// Decides.
pub fn verdict(error: &Error) -> Verdict {
    match error.kind {
        ErrorKind::Transport | ErrorKind::Cancelled => Verdict::Retry,
        ErrorKind::Denied | ErrorKind::Unimplemented | ErrorKind::TooLarge => Verdict::Stop,
        ErrorKind::Server { code, .. } if PASSING.contains(&code) => Verdict::Retry,
        ErrorKind::Server { code: 0, legacy, .. } if PASSING_LEGACY.contains(&legacy) => Verdict::Retry,
        ErrorKind::Server { code: REFUSED_BY_LITE | NOT_REPLICATING, .. } => Verdict::Stop,
        ErrorKind::Server { code, .. } if REFUSED.contains(&code) => Verdict::Stop,
        ErrorKind::Server { .. } => Verdict::RetryForAWhile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: i32) -> Error {
        let kind = ErrorKind::Server { code, legacy: 0 };
        Error { method: "Insert", address: "a:1".into(), object: "d.c".into(), kind, detail: "x".into() }
    }

    #[test]
    fn passing_refused_and_unknown() {
        assert_eq!(verdict(&server(8)), Verdict::Retry);
        assert_eq!(verdict(&server(1100)), Verdict::Stop);
        assert_eq!(verdict(&server(6)), Verdict::Stop);
        assert_eq!(verdict(&server(65535)), Verdict::RetryForAWhile);
        assert_eq!(verdict(&Error { kind: ErrorKind::Transport, ..server(0) }), Verdict::Retry);
        assert_eq!(verdict(&Error { kind: ErrorKind::Denied, ..server(0) }), Verdict::Stop);
    }
}
