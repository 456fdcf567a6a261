/*!
The writes of a primary that was given up and is back, as far as they never got across.

```text
 log, from the checkpoint to its end ──▶ reading ──▶ index    the last write of each key, bounded
                                            │
                                            └─rows─▶ files    lost-writes.part, then lost-writes.jsonl
 target, by key ──────────▶ standby ──────────────▶ judge     same · mergeable · undecided
```

Listing changes nothing at either server, nor of the task's progress. What it finds is replaced as a whole, so a crash
leaves the list before, or the new one; then it is made again. A merge writes what the target lacks, asks the target
before each write, and so can be repeated.
*/

mod files;
mod index;
mod judge;
mod reading;
mod run;
mod standby;

pub(crate) use files::LostWritesFiles;
pub(super) use run::carry_out;
