/*!
What a task shows when `get` or `list` is asked for `details` or `events`: for the status page and for people with questions.
*/

use serde_json::{Value, json};

use crate::domain::Timestamp;
use crate::task::detail::{ChannelDetail, CollectionDetail, CopyDetail, RowsFrom};
use crate::task::engine::ChannelPosition;
use crate::task::history::{Event, Point, SLOT, unix_ms};
use crate::task::manager::TaskView;

/// Numbers that are there for every task, running or not.
pub(super) fn summary(view: &TaskView) -> Value {
    let detail = view.detail();
    json!({
        "rows_per_second": view.history.rows_per_second(),
        "lag_curve": {
            "slot_ms": SLOT.as_millis() as u64,
            "points": view.history.curve().iter().map(point).collect::<Value>(),
        },
        "copies": detail.copies.iter().map(copy).collect::<Value>(),
        "queue_bytes": detail.queue_bytes,
        "queue_limit_bytes": detail.queue_limit,
        "checkpoint_age_ms": detail.checkpoint_age.map(|age| age.as_millis() as u64),
    })
}

/// The summary and everything that may be long. `stored` are the positions of a task that does not run.
pub(super) fn full(view: &TaskView, stored: &[ChannelPosition]) -> Value {
    let mut shown = summary(view);
    let detail = view.detail();
    shown["channels"] = match detail.channels.as_slice() {
        [] => stored.iter().map(stored_channel).collect(),
        channels => channels.iter().map(channel).collect(),
    };
    shown["collections"] = detail.collections.iter().map(collection).collect();
    shown
}

/// The last events, the newest first.
pub(super) fn events(view: &TaskView) -> Value {
    let one = |event: &Event| {
        json!({
            "time": unix_ms(event.last),
            "first_time": unix_ms(event.first),
            "count": event.count,
            "kind": event.kind.name(),
            "text": event.text,
        })
    };
    view.history.events().iter().rev().map(one).collect()
}

/// A list, not an object: there are 120 of them for each task.
fn point(point: &Point) -> Value {
    json!([point.at_ms, point.lag.map(|lag| lag.as_millis() as u64), point.rows])
}

fn copy(copy: &CopyDetail) -> Value {
    json!({"collection": copy.collection, "rows": copy.rows, "total": copy.total, "waiting": copy.waiting})
}

fn channel(channel: &ChannelDetail) -> Value {
    json!({
        "name": channel.name,
        "acknowledged_time": channel.acknowledged_ms,
        "at_end": channel.at_end,
        "collections": channel.collections,
    })
}

fn stored_channel(position: &ChannelPosition) -> Value {
    let acknowledged = Timestamp(position.time_tick).physical_ms();
    json!({"name": position.channel, "acknowledged_time": acknowledged, "at_end": false, "collections": null})
}

fn collection(collection: &CollectionDetail) -> Value {
    json!({
        // As text: ids are beyond what JSON's numbers hold in many languages.
        "id": collection.id.to_string(),
        "source": collection.source,
        "target": collection.target,
        "rows_from": match collection.rows_from {
            RowsFrom::Log => "log",
            RowsFrom::Copy => "copy",
            RowsFrom::Scan => "scan",
        },
        "channels": collection.channels,
    })
}
