/*!
The catalog, level-triggered: what the source has now is compared with what was last carried over, and the difference is
carried over. A missed event, a restart, an operation that the log never mentions: all heal with the next comparison.

Objects are known by their id at the source, never by name; where it gives none, names get numbers that stand in for ids (`names`). What is removed from the target is only what was carried
there: the record of it ([`record`]) is what the comparison starts from.
*/

mod alter;
pub(crate) mod capability;
mod carry;
mod compare;
mod create;
mod event;
mod fields;
mod fits;
mod forgotten;
mod gone;
mod identify;
mod look;
mod names;
pub mod record;
mod refresh;
pub(crate) mod schema;
mod tour;
mod watcher;

pub(crate) use compare::differences;
pub use event::{CatalogEvent, Hint, ReadyCollection};
pub use look::SourceCollection;
pub(crate) use look::look_by_name;
pub(crate) use schema::{has_partition_key, key_field};
pub use watcher::{Setup, Watcher, spawn};
