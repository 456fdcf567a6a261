/*!
The one place that decides what an error means: whether repeating the call makes sense, and what a person can do.

Known passing conditions (no connection, a server that starts or is overloaded, quotas) are retried for ever. Errors
that only a person can resolve stop the task at once. Unknown errors are retried for a while, because a server that
starts up answers strangely, and then stop the task: they are not retried silently for ever. Errors that stand for a
part of the server that is away as well as for a refusal are retried for longer than a failover lasts.
*/

use super::error::{Error, ErrorKind, RetryAdvice};
use super::error_codes::{CodeClass, class_of};
use super::pb::common::Status;

/// Whether a failed call is worth repeating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPolicy {
    /// The condition passes by itself: repeat the call until it succeeds.
    Retry,
    /// The condition may pass: repeat the call for a while, then stop.
    RetryForAWhile,
    /// The condition passes as a rule, but nothing tells it from a refusal: repeat the call for longer, then stop.
    RetryForLong,
    /// Only a person can resolve it: do not repeat the call.
    Stop,
}

/// The kind of failure that a status stands for.
pub(super) fn kind_of(status: &Status) -> ErrorKind {
    let (code, legacy) = (status.code, status.error_code);
    match class_of(code, legacy) {
        Some(CodeClass::Denied) => ErrorKind::Denied,
        Some(CodeClass::Unimplemented) => ErrorKind::Unimplemented,
        _ => {
            let advice = if status.retriable { RetryAdvice::Retriable } else { RetryAdvice::None };
            ErrorKind::Server { code, legacy, advice }
        }
    }
}

/// Whether a call that failed with this error is worth repeating.
pub fn retry_policy(error: &Error) -> RetryPolicy {
    match error.kind {
        ErrorKind::Transport | ErrorKind::Cancelled => RetryPolicy::Retry,
        ErrorKind::Denied | ErrorKind::Unimplemented | ErrorKind::TooLarge => RetryPolicy::Stop,
        ErrorKind::Server { code, legacy, advice } => policy_of(class_of(code, legacy), advice),
    }
}

fn policy_of(class: Option<CodeClass>, advice: RetryAdvice) -> RetryPolicy {
    match (class, advice) {
        (Some(CodeClass::Refused | CodeClass::Denied | CodeClass::Unimplemented), _) => RetryPolicy::Stop,
        (Some(CodeClass::Passing), _) | (_, RetryAdvice::Retriable) => RetryPolicy::Retry,
        (Some(CodeClass::Trouble), RetryAdvice::None) => RetryPolicy::RetryForLong,
        (Some(CodeClass::Unclear) | None, RetryAdvice::None) => RetryPolicy::RetryForAWhile,
    }
}

/// What a person can do about an error that is not retried.
pub fn remedy(error: &Error) -> &'static str {
    match error.kind {
        ErrorKind::Transport | ErrorKind::Cancelled => {
            "check that the server runs and can be reached, then resume the task"
        }
        ErrorKind::TooLarge => "raise the server's message size limit, then resume the task",
        ErrorKind::Unimplemented => "upgrade the server, then resume the task",
        ErrorKind::Denied => {
            "correct the credentials (the target's with an `update` request, which also resumes the task) or grant the \
             privilege, then resume the task"
        }
        ErrorKind::Server { .. } => "resolve what the server reports, then resume the task",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: i32, retriable: bool) -> Error {
        let status = Status { code, retriable, ..Status::default() };
        let (address, object) = ("a:1".into(), "d.c".into());
        Error { method: "Insert", address, object, kind: kind_of(&status), detail: "x".into() }
    }

    #[test]
    fn every_class_has_its_policy() {
        let policy = |code| retry_policy(&server(code, false));
        for code in [12, 106, 110, 305, 401, 505, 507, 903, 904, 905, 906, 1001, 1003, 1302, 10_000, 10_001] {
            assert_eq!(policy(code), RetryPolicy::Retry, "{code} stops nothing");
        }
        assert_eq!(policy(65535), RetryPolicy::RetryForLong);
        assert_eq!(policy(100), RetryPolicy::RetryForAWhile);
        assert_eq!(policy(99_999), RetryPolicy::RetryForAWhile, "of a version that is not known");
        assert_eq!(policy(1100), RetryPolicy::Stop);
        assert_eq!(policy(6), RetryPolicy::Stop);
        assert_eq!(policy(10), RetryPolicy::Stop);
        assert_eq!(retry_policy(&Error { kind: ErrorKind::Transport, ..server(0, false) }), RetryPolicy::Retry);
        assert_eq!(retry_policy(&Error { kind: ErrorKind::TooLarge, ..server(0, false) }), RetryPolicy::Stop);
    }

    #[test]
    fn the_advice_of_the_server_counts_where_the_code_does_not_tell() {
        for code in [65535, 100, 99_999] {
            assert_eq!(retry_policy(&server(code, true)), RetryPolicy::Retry, "{code}");
        }
        for code in [1100, 10, 1400] {
            assert_eq!(retry_policy(&server(code, true)), RetryPolicy::Stop, "{code}");
        }
    }

    #[test]
    fn refusals_for_lack_of_a_privilege_or_of_a_call_are_kinds_of_their_own() {
        assert_eq!(server(10, false).kind, ErrorKind::Unimplemented);
        assert_eq!([server(1400, false).kind, server(1401, false).kind], [ErrorKind::Denied; 2]);
        assert_eq!(kind_of(&Status { error_code: 3, ..Status::default() }), ErrorKind::Denied);
    }
}
