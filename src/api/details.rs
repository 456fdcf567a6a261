/*!
The `details` and `events` of a task in the answers to `get` and `list`, for the status page and for troubleshooting.
*/

use serde_json::{Value, json};

use crate::domain::Timestamp;
use crate::manager::TaskView;
use crate::milvus::{Capabilities, ServerDescription, ServerSide};
use crate::task::detail::{ChannelDetail, CollectionDetail, CopyDetail, RowsFrom};
use crate::task::history::{HistoryEvent, Point, SLOT, unix_ms};
use crate::task::status::ChannelPosition;

/// The figures that every task has, running or not.
pub(super) fn summary(view: &TaskView) -> Value {
    let detail = view.detail();
    json!({
        "rows_per_second": view.history.rows_per_second(),
        "lag_curve": {
            "slot_ms": SLOT.as_millis() as u64,
            "points": view.history.curve().iter().map(point).collect::<Value>(),
        },
        "copies": detail.copies.iter().map(copy).collect::<Value>(),
        "echoes": detail.echoes,
        "queue_bytes": detail.queue_bytes,
        "queue_limit_bytes": detail.queue_limit,
        "refused_rows": {"rows": detail.refused_rows.rows, "bytes": detail.refused_rows.bytes},
        "checkpoint_age_ms": detail.checkpoint_age.map(|age| age.as_millis() as u64),
        "clock_skew_ms": detail.clock_skew_ms,
        "servers": {
            "source": server(detail.servers.source.as_ref(), ServerSide::Source),
            "target": server(detail.servers.target.as_ref(), ServerSide::Target),
        },
    })
}

/// The summary and the lists that may be long. `stored` holds the positions of a task that is not running.
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

/// The last events, newest first.
pub(super) fn events(view: &TaskView) -> Value {
    let one = |event: &HistoryEvent| {
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

/// An array, not an object: each task has 120 of them.
fn point(point: &Point) -> Value {
    json!([point.at_ms, point.lag.map(|lag| lag.as_millis() as u64), point.rows])
}

fn server(server: Option<&ServerDescription>, side: ServerSide) -> Value {
    server.map_or(Value::Null, |told| {
        let means = Capabilities::of(&told.version).consequences(side);
        json!({"version": told.version.text(), "build": told.build, "means": means})
    })
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
        // As text: in many languages a JSON number cannot hold an id.
        "id": collection.id.to_string(),
        "source": collection.source,
        "target": collection.target,
        "rows_from": collection.rows_from.map(|from| match from {
            RowsFrom::Log => "log",
            RowsFrom::Copy => "copy",
            RowsFrom::Scan => "scan",
        }),
        "channels": collection.channels,
        "state": collection.stage.name(),
        "held": collection.hold.as_ref().map(|hold| json!({"reason": hold.why, "since": hold.since_ms})),
    })
}
