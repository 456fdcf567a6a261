/*!
Replicating: running one task. The task's thread (`task_loop`) owns all its state and waits for whatever happens
next: records from the log, news of the catalog, ends of calls and of backfills, an order to stop. The other threads
only do what blocks.

From the top: `running_task` starts and ends a task, `setup` its threads, `executor` is its world, `task_loop` handles
events with `owners`, whose owners are `channels`, `collections`, `checkpointer` and `health`.
*/

mod active_errors;
mod applied_marks;
mod aside;
mod backfill;
mod backfill_queue;
mod backfills;
mod call_metrics;
mod catalog_questions;
mod channel;
mod channels;
mod checkpoint;
mod checkpointer;
mod collection_state;
mod collections;
mod described;
mod drain;
mod drain_report;
mod effect;
mod event;
#[cfg(test)]
mod every_event;
mod executor;
mod health;
mod held;
mod joining;
mod joins;
mod log_asker;
mod log_past;
mod log_question;
mod lost_writes;
#[cfg(test)]
mod model;
mod owners;
mod passed_over;
mod reconciliations;
#[cfg(test)]
mod recordings;
mod requests_channel;
mod rewind;
mod row_source;
mod running_task;
mod setup;
mod setup_error;
mod source_away;
mod stale_progress;
mod status_board;
mod task_loop;
mod troubled_calls;
mod unknown_rows;
mod unreplicated;
mod verify_control;
mod waits;

pub(crate) use checkpoint::{ChannelRecord, followed_by_log, load as load_checkpoint};
pub(crate) use lost_writes::LostWritesFiles;
pub(crate) use running_task::{RunEnd, RunningTask, replicate};
pub(crate) use setup::ReplicationSetup;
