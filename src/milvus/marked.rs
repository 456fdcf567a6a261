/*!
Calls that change something on a server. Each of them bears a [`Mark`], so that whoever reads that server's log knows
what we wrote: a [`ChangeMethod`] can be called through a [`MarkedClient`] only.
*/

use super::change_method::ChangeMethod;
use super::client::{CallContext, Client};
use super::error::Error;
use super::status::HasStatus;
use crate::domain::Mark;

/// A connection whose calls bear a mark.
#[derive(Clone, Copy)]
pub struct MarkedClient<'a> {
    client: &'a Client,
    mark: Mark,
}

impl Client {
    /// The same connection, for calls that change something.
    pub fn marked(&self, mark: Mark) -> MarkedClient<'_> {
        MarkedClient { client: self, mark }
    }
}

impl<'a> MarkedClient<'a> {
    /// The connection, for calls that change nothing.
    pub fn client(&self) -> &'a Client {
        self.client
    }

    /// Makes a call and checks the status in its response. Fails at once while there is no connection.
    pub(super) fn change<Q: 'static, A: HasStatus + Unpin + 'static>(
        &self,
        object: &str,
        method: &ChangeMethod<Q, A>,
        request: &Q,
        context: &CallContext,
    ) -> Result<A, Error> {
        self.client.call_marked(self.mark, object, method.marked(), request, context)
    }
}
