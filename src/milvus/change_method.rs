//! Methods that change something on a server: they are called by a `MarkedClient` only.

use grpcio::Method;

/// A method that changes something on the server.
pub(super) struct ChangeMethod<Q, A>(Method<Q, A>);

impl<Q, A> ChangeMethod<Q, A> {
    pub(super) const fn new(method: Method<Q, A>) -> ChangeMethod<Q, A> {
        ChangeMethod(method)
    }

    /// For a call with a mark.
    pub(super) fn marked(&self) -> &Method<Q, A> {
        &self.0
    }
}
