/*!
The part of HTTP/1.1 that the API needs, with its limits: one request per connection, read within a deadline, by a
bounded number of threads.

`httparse` reads the heads. Accepting, limits and bodies are our own: no blocking HTTP crate can cut off a client that
stops in the middle of a request. `tiny_http` has no timeouts, and its process ends when a request announces a body of
10^15 bytes (ARCHITECTURE.md has the measurements).
*/

mod headers;
mod message;
mod reader;
mod server;

pub use self::headers::Headers;
pub use self::message::{Request, Response};
pub use self::server::{HttpServer, Limits};
