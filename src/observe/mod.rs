/*!
What the server tells about itself.
*/

pub mod logging;
pub mod metrics;
pub mod thread;
