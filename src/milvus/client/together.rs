/*!
Calls of one method about many objects, all of them under way at once.

Why: a call costs little where it is encoded and decoded, and much where threads wake up for it: who makes it, who polls
the connection, who waits for the answer. Of calls that are made together, most are sent before the first of these
threads sleeps, and answered before it wakes up.
*/

use std::time::Duration;

use grpcio::Method;

use super::{CallContext, Client, Disconnected, UnaryCall};
use crate::milvus::error::Error;
use crate::milvus::methods::short_name;
use crate::milvus::status::HasStatus;
use crate::milvus::wait::wait_for_all;

/// One of several requests that are made together.
pub(in crate::milvus) struct RequestAbout<Q> {
    /// What it is about, for errors.
    pub(in crate::milvus) object: String,
    pub(in crate::milvus) request: Q,
}

/// What became of one of several calls that were made together.
#[derive(Debug)]
pub enum BatchedAnswer<A> {
    /// The server carried it out.
    Answered(A),
    /// It failed.
    Failed(Error),
    /// It was not answered while it was waited for, and was given up: that says nothing about the server.
    GivenUp,
}

impl<A> From<Result<A, Error>> for BatchedAnswer<A> {
    fn from(outcome: Result<A, Error>) -> BatchedAnswer<A> {
        match outcome {
            Ok(answer) => BatchedAnswer::Answered(answer),
            Err(error) => BatchedAnswer::Failed(error),
        }
    }
}

impl<A> BatchedAnswer<A> {
    /// The same with what is made of an answer.
    pub(in crate::milvus) fn map<B>(self, make: impl FnOnce(A) -> B) -> BatchedAnswer<B> {
        match self {
            BatchedAnswer::Answered(answer) => BatchedAnswer::Answered(make(answer)),
            BatchedAnswer::Failed(error) => BatchedAnswer::Failed(error),
            BatchedAnswer::GivenUp => BatchedAnswer::GivenUp,
        }
    }
}

/// So many calls are under way at once at most: few for a server, and enough for its answers to come in a bunch.
const MOST_TOGETHER: usize = 32;

impl Client {
    /// [`Self::call`] once per request. All of them are under way before the first answer is waited for: of calls made
    /// one after the other, each wakes up several threads.
    pub(in crate::milvus) fn call_together<Q: 'static, A: HasStatus + Unpin + 'static>(
        &self,
        method: &Method<Q, A>,
        requests: &[RequestAbout<Q>],
        patience: Duration,
        context: &CallContext,
    ) -> Vec<BatchedAnswer<A>> {
        let calls = requests.iter().map(|RequestAbout { object, request }| UnaryCall {
            object,
            method,
            request,
            context,
            disconnected: Disconnected::Fail,
            mark: None,
        });
        let calls: Vec<_> = calls.collect();
        let is_one_by_one = self.is_lite();
        // The answer of a fake ends the call.
        #[cfg(test)]
        let is_one_by_one = is_one_by_one || self.fake.is_some();
        if is_one_by_one {
            return calls.iter().map(|call| self.make(call).into()).collect();
        }
        calls.chunks(MOST_TOGETHER).flat_map(|calls| self.make_together(calls, patience, context)).collect()
    }

    fn make_together<Q: 'static, A: HasStatus + Unpin + 'static>(
        &self,
        calls: &[UnaryCall<'_, Q, A>],
        patience: Duration,
        context: &CallContext,
    ) -> Vec<BatchedAnswer<A>> {
        let Some(first) = calls.first() else { return Vec::new() };
        let name = short_name(first.method);
        if let Err(error) = self.recognise_before(name, context) {
            return calls.iter().map(|_| BatchedAnswer::Failed(error.clone())).collect();
        }
        let grpc = self.connection.grpc();
        let begin = |call: &UnaryCall<'_, Q, A>| {
            let options = self.options(call)?;
            grpc.unary_call_async(call.method, call.request, options)
        };
        let begun = calls.iter().map(begin).map(|begun| Box::pin(async { begun?.await }));
        let outcomes = wait_for_all(begun.collect(), &context.cancel, patience);
        let end = |(call, outcome): (&UnaryCall<'_, Q, A>, Option<grpcio::Result<A>>)| {
            let outcome = match outcome {
                Some(Ok(answer)) => self.checked(name, call.object, answer),
                Some(Err(error)) => Err(self.failed(call.method, call.object, error)),
                None => return BatchedAnswer::GivenUp,
            };
            self.note_end(name, outcome.as_ref().err());
            outcome.into()
        };
        calls.iter().zip(outcomes).map(end).collect()
    }
}
