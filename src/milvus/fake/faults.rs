//! What a test lets happen to a call, on its way there or back.

use crate::failpoint::{CallFault, die_now, on_call};
use crate::milvus::client::Client;
use crate::milvus::error::{Error, ErrorKind};
use crate::milvus::error_policy::kind_of;
use crate::milvus::pb::common::Status;

impl Client {
    /// Makes a call, unless a test lets it go wrong.
    pub(in crate::milvus) fn with_faults<A>(
        &self,
        (method, object): (&'static str, &str),
        call: impl FnOnce() -> Result<A, Error>,
    ) -> Result<A, Error> {
        let fail = |kind, detail: &str| {
            let (address, object) = (self.address().to_owned(), object.to_owned());
            Err(Error { method, address, object, kind, detail: detail.into() })
        };
        let Some(fault) = on_call(method, object) else { return call() };
        match fault {
            CallFault::Unreachable | CallFault::CrashBefore => fail(ErrorKind::Transport, "connection refused"),
            CallFault::Panics => panic!("as the test wants it"),
            CallFault::Refused(code) => fail(kind_of(&Status { code, ..Status::default() }), "refused by the test"),
            CallFault::RateLimited(rate) => fail(
                kind_of(&Status { code: 8, ..Status::default() }),
                &format!("request is rejected by grpc RateLimiter middleware: rate limit exceeded[rate={rate}]"),
            ),
            CallFault::LoginRefused => fail(ErrorKind::Denied, "auth check failure"),
            CallFault::TooLarge => fail(ErrorKind::TooLarge, "larger than max"),
            CallFault::AnswerLost => match call() {
                Ok(_) => fail(ErrorKind::Transport, "the answer was lost"),
                Err(error) => Err(error),
            },
            CallFault::CrashAfter => {
                let answer = call();
                die_now();
                answer
            }
        }
    }
}
