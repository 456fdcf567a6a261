/*!
The catalog, level-triggered: what the source has now is compared with what was replicated last, and the difference is
replicated. A missed event, a restart, an operation that the log never mentions: all heal with the next comparison.

Objects are known by their id at the source, never by name; where the source gives none, `synthetic_ids` stand in
for them. The task drops on the target only what it created there: every comparison starts from the `record` of
that.

```text
 event ── watcher ──▶ watch ─┬─▶ source_identity, drop_brake         (whether to believe what is missing)
          (thread)   (rounds)├─▶ dropped, periodic_describe, releases, retries     (what is due, and when)
                             └─▶ agenda ──▶ step_workers ──▶ steps ─┬─▶ source   descriptions     (reads)
                              (in order)     (threads)              └─▶ apply    one file per kind of change
```
*/

mod agenda;
mod apply;
mod ask_opposite;
mod clock_watch;
mod compare;
mod database_looks;
mod describe;
mod drop_brake;
mod dropped;
mod error;
mod event;
mod held_drops;
mod identify;
mod imports;
mod load_plan;
mod made_before;
mod object_locks;
mod opposite;
mod periodic_describe;
mod property;
mod record;
mod releases;
mod replicated;
mod reporter;
mod retries;
mod row_schemas;
pub(crate) mod schema;
mod source;
mod source_away;
mod source_identity;
mod step_workers;
mod steps;
mod steps_aliases;
mod steps_databases;
mod steps_drops;
mod steps_locks;
mod synthetic_ids;
mod target_identity;
mod target_listing;
mod target_past;
mod watch;
mod watch_drops;
mod watch_opposite;
mod watch_target;
mod watch_tours;
mod watcher;

pub(crate) use ask_opposite::{OppositeFinding, ask_opposite};
pub(crate) use compare::differences;
pub use describe::SourceCollection;
pub(crate) use describe::describe_by_name;
pub use event::{CallsInFlight, CatalogEvent, HeldCollection, Hint, ReadyCollection, TargetLoss};
pub(crate) use made_before::remember_made;
pub(crate) use opposite::{LogMarks, LoggedAnnouncement, OppositeServers, drop_marks};
pub(crate) use property::ttl;
pub use record::{followed, twins};
pub use row_schemas::stored_collection;
pub(crate) use schema::{has_partition_key, key_field};
pub use source_away::{SourceAway, Vigil, spawn_source_away};
pub use source_identity::{
    ReturnedSource, SourcePast, SourceRefused, is_known_log, recognise_returned, recognise_source,
};
pub use target_identity::{TargetRefused, recognise_target};
pub use watcher::{Setup, Watcher, spawn};
