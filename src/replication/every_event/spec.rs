//! What becomes of a collection's state, in a few rules.

use super::bench::{Happening, Kind};
use crate::replication::collections::{Reasons, Rows, Running, Sight};

/// The state after this has happened.
pub(super) fn after(kind: Kind, before: Sight, happening: Happening) -> Sight {
    use Happening::*;
    let mut it = before;
    let has_joined = !matches!(before.rows, Rows::Nowhere | Rows::Joining);
    let is_named = before.rows == Rows::Joining || before.described || before.reasons.is_any();
    match happening {
        Ready | ReadyOnAnotherChannel => describe(&mut it, happening == ReadyOnAnotherChannel),
        Dropped | Absent => leave(&mut it),
        Block | BlockCancelling if before.rows != Rows::Nowhere => {
            if happening == BlockCancelling {
                compare_what_comes_from_the_log(&mut it);
            }
            cancel(&mut it);
            it.blocked = true;
        }
        Unblock if !before.reasons.by_catalog => it.blocked = false,
        Compare | Imported if has_joined && kind == Kind::Log => compare(&mut it),
        LostGone | LostReplaced | LostWithheld if has_joined => {
            compare(&mut it);
            it.blocked = true;
        }
        Held | HeldForAnotherReason => {
            stand_still(&mut it);
            it.blocked = has_joined;
            it.reasons.by_catalog = true;
        }
        LogCompares | Gap if has_joined => compare_what_comes_from_the_log(&mut it),
        CallRefused if has_joined => hold_rows(&mut it),
        Repair if has_joined && before.described && !before.reasons.paused => {
            it.reasons.hurry();
            compare_unless_copied(&mut it);
        }
        Resync if has_joined && is_named && !before.reasons.paused => {
            it.reasons.hurry();
            compare_unless_copied(&mut it);
        }
        Pause if is_named && !before.reasons.paused => {
            stand_still(&mut it);
            it.reasons.paused = true;
            it.stands = has_joined;
            it.blocked = has_joined;
        }
        Resume if is_named => {
            it.reasons.paused = false;
            it.reasons.hurry();
        }
        JoinsLog | JoinsByCopy if before.awaits => {
            it.rows = if happening == JoinsLog { Rows::Log } else { Rows::Copy };
            it.described = true;
        }
        Heartbeat if before.reasons.rows == Some(true) => try_rows(&mut it),
        AnHourPasses if before.reasons.rows.is_some() => try_rows(&mut it),
        Restart => restart(&mut it),
        _ => backfill(kind, before, happening, &mut it),
    }
    start(happening, &mut it);
    it
}

/// What a backfill reports.
fn backfill(kind: Kind, before: Sight, happening: Happening, it: &mut Sight) {
    use Happening::*;
    let has_joined = !matches!(before.rows, Rows::Nowhere | Rows::Joining);
    match happening {
        CopyStarts if before.rows == Rows::Copy && before.running != Running::Void => it.begun = true,
        BackfillWaits if before.running == Running::Backfill => it.running = Running::Waits,
        BackfillWaits | BackfillUnchanged | BackfillCancelled => it.running = Running::Nothing,
        BackfillDone => done(kind, it),
        BackfillStateLost => {
            it.running = Running::Nothing;
            if has_joined && before.running != Running::Void {
                compare(it);
            }
        }
        BackfillHopeless => {
            it.running = Running::Nothing;
            if has_joined && before.running != Running::Void {
                hold_rows(it);
            }
        }
        _ => {}
    }
}

fn describe(it: &mut Sight, on_another_channel: bool) {
    it.blocked = false;
    it.reasons.by_catalog = false;
    it.stands = it.reasons.is_any() && !matches!(it.rows, Rows::Nowhere | Rows::Joining);
    match it.rows {
        Rows::Nowhere if it.reasons.is_any() => {}
        Rows::Nowhere | Rows::Joining => it.rows = Rows::Joining,
        Rows::Log | Rows::Copy | Rows::Scan => {
            it.described = true;
            if on_another_channel && it.rows == Rows::Log && !it.reasons.is_any() {
                compare(it);
            }
        }
    }
}

/// Nothing is left of it but what runs, which is of no use.
fn leave(it: &mut Sight) {
    void(it);
    *it = Sight {
        rows: Rows::Nowhere,
        described: false,
        blocked: false,
        stands: false,
        awaits: false,
        reasons: Reasons::default(),
        running: it.running,
        begun: false,
    };
}

/// All its rows are compared, from the beginning.
fn compare(it: &mut Sight) {
    it.rows = Rows::Copy;
    it.begun = false;
    void(it);
}

fn void(it: &mut Sight) {
    it.running = match it.running {
        Running::Nothing | Running::Waits => Running::Nothing,
        Running::Backfill | Running::Cancelled | Running::Void => Running::Void,
    };
}

/// What runs gives up; what waits does not begin again.
fn cancel(it: &mut Sight) {
    it.running = match it.running {
        Running::Nothing | Running::Waits => Running::Nothing,
        Running::Backfill | Running::Cancelled => Running::Cancelled,
        Running::Void => Running::Void,
    };
}

fn compare_what_comes_from_the_log(it: &mut Sight) {
    if it.rows == Rows::Log {
        compare(it);
    }
}

fn compare_unless_copied(it: &mut Sight) {
    if it.rows != Rows::Copy {
        compare(it);
    }
}

/// What has not joined joins anew when it goes on.
fn stand_still(it: &mut Sight) {
    if it.rows == Rows::Joining {
        it.rows = Rows::Nowhere;
        it.blocked = false;
    }
    compare_what_comes_from_the_log(it);
    cancel(it);
}

fn hold_rows(it: &mut Sight) {
    stand_still(it);
    it.stands = true;
    it.reasons.rows = Some(false);
}

/// It goes on, unless something else is in its way.
fn try_rows(it: &mut Sight) {
    it.reasons.rows = None;
    it.stands &= it.reasons.is_any();
}

/// It counts, unless the collection is to stand still, or to be compared from the beginning.
fn done(kind: Kind, it: &mut Sight) {
    let counts = it.running != Running::Void && !it.reasons.is_any();
    it.running = Running::Nothing;
    if counts && it.rows == Rows::Copy {
        it.rows = if kind == Kind::Log { Rows::Log } else { Rows::Scan };
        it.begun = false;
    }
}

fn restart(it: &mut Sight) {
    if it.rows == Rows::Joining {
        it.rows = Rows::Nowhere;
    }
    it.described = false;
    it.blocked = false;
    it.stands = false;
    it.running = Running::Nothing;
    it.reasons = Reasons { paused: it.reasons.paused, ..Reasons::default() };
}

/// A backfill that may start does.
fn start(happening: Happening, it: &mut Sight) {
    let has_joined = !matches!(it.rows, Rows::Nowhere | Rows::Joining);
    let may_start = has_joined && it.described && !it.blocked && !it.stands && !it.reasons.is_any();
    let is_due = match it.rows {
        Rows::Nowhere | Rows::Joining | Rows::Log => false,
        Rows::Copy => true,
        Rows::Scan => matches!(happening, Happening::Heartbeat | Happening::AnHourPasses),
    };
    // Whatever takes time.
    let is_later = matches!(happening, Happening::AnHourPasses | Happening::SaveFails);
    if may_start && is_due && it.running == Running::Nothing || is_later && it.running == Running::Waits {
        it.running = Running::Backfill;
    }
}
