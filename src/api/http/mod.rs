/*!
The little of HTTP/1.1 that the API needs, with the limits that it needs: one request per connection, read within a
deadline, by a bounded number of threads.

It is written here because no blocking HTTP crate at hand can cut off a client that stops in the middle of a request:
`tiny_http` reads on threads of its own without any timeout, and does not let go of the socket, so that such clients pile
up for ever.
*/

mod headers;
mod message;
mod reader;
mod server;

pub use self::headers::Headers;
pub use self::message::{BodyError, Request, Response};
pub use self::server::{HttpServer, Limits};
