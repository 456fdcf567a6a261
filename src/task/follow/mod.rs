/*!
Running one task. The task's thread ([`core`]) owns all its state and waits for whatever happens next: records from the
log, news of the catalog, ends of calls and of copies, an order to stop. The other threads only do what blocks.
*/

mod channel;
mod checkpoint;
mod copy;
mod copying;
mod core;
mod dispatch;
mod inspect;
mod joining;
mod members;
#[cfg(test)]
mod model;
mod records;
mod rounds;
mod setup;
mod status;
mod uncarried;

pub(crate) use checkpoint::{ChannelRecord, load as load_checkpoint};
pub(crate) use setup::{FollowSetup, Following, follow};
