/*!
Metrics for Prometheus: all names, the functions that count, and the text of a scrape.

The names and labels of the Go server are kept, so that its dashboards keep working. Its metrics without an equivalent
here (`center_tt`: there are no channels at a target) are absent, not zero.

There are two kinds of values: counters since the start of the process, and samples of the tasks ([`TaskSample`]) taken
at each scrape, so that a deleted task leaves none behind. The counters of deleted tasks and dropped collections are
removed.
*/

mod sample;
mod series;

use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

// Names of the Go server.
const TASK_NUM: &str = "milvus_cdc_task_num";
const TASK_STATE: &str = "milvus_cdc_task_state";
const REQUEST_LATENCY: &str = "milvus_cdc_request_latency";
const REQUEST_TOTAL: &str = "milvus_cdc_request_total";
const REPLICATE_TT: &str = "milvus_cdc_replicate_tt";
const REPLICATE_DATA_SIZE: &str = "milvus_cdc_replicate_data_size";
const REPLICATE_DATA_CNT: &str = "milvus_cdc_replicate_data_cnt";
const API_EXECUTE_TOTAL: &str = "milvus_cdc_api_execute_total";
// Names of our own.
const BUILD_INFO: &str = "milvus_cdc_build_info";
const TASK_PHASE: &str = "milvus_cdc_task_phase";
const TASK_LAG: &str = "milvus_cdc_task_lag_seconds";
const TASK_ROLE: &str = "milvus_cdc_task_role";
const TASK_EPOCH: &str = "milvus_cdc_task_role_epoch";
const SKIPPED: &str = "milvus_cdc_skipped_total";
const CALLS_IN_FLIGHT: &str = "milvus_cdc_calls_in_flight";
const RETRIES: &str = "milvus_cdc_retries_total";
const IGNORED: &str = "milvus_cdc_ignored_messages_total";
const ERRORS: &str = "milvus_cdc_errors_total";
const ROWS: &str = "milvus_cdc_task_rows_total";
const QUEUE: &str = "milvus_cdc_queue_bytes";
const QUEUE_LIMIT: &str = "milvus_cdc_queue_limit_bytes";
const CHECKPOINT_AGE: &str = "milvus_cdc_checkpoint_age_seconds";
const REFUSED_ROWS: &str = "milvus_cdc_refused_rows";
const CLOCK_SKEW: &str = "milvus_cdc_clock_skew_seconds";
const COLLECTIONS: &str = "milvus_cdc_collections";
const COPY_ROWS: &str = "milvus_cdc_copy_rows";
const COPY_TOTAL_ROWS: &str = "milvus_cdc_copy_total_rows";
const SERVER_INFO: &str = "milvus_cdc_server_info";
const COPIES: &str = "milvus_cdc_copies_total";
const ECHOES: &str = "milvus_cdc_echoes_total";

pub use self::sample::{CopySample, DetailSample, ServerSample, TaskSample};
use self::series::{CollectionSeries, remove_with};

/// The only `op_type` that is reported: what the target has acknowledged.
const WRITE: &str = "write";
/// `Content-Type` of the answer to a scrape.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Rows that the target has acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// Id of the task.
    pub task: &'a str,
    /// Channel of the source.
    pub channel: &'a str,
    /// Id of the collection at the source.
    pub collection_id: i64,
    /// Database and name on the target.
    pub collection: &'a str,
    /// `Insert`, `Upsert` or `Delete`.
    pub call: &'static str,
    /// Number of rows.
    pub rows: usize,
    /// Bytes of columns; 0 for a delete.
    pub bytes: usize,
}

struct Metrics {
    registry: Registry,
    request_latency: HistogramVec,
    request_total: IntCounterVec,
    data_size: IntCounterVec,
    data_count: IntCounterVec,
    api_execute: IntCounterVec,
    calls_in_flight: IntGaugeVec,
    retries: IntCounterVec,
    errors: IntCounterVec,
    rows: IntCounterVec,
    copies: IntCounterVec,
    ignored: IntCounterVec,
    echoes: IntCounterVec,
    /// The series of `data_count`, for their removal.
    collections: Mutex<CollectionSeries>,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

impl Metrics {
    fn new() -> Self {
        let buckets = (0..8).map(|power| f64::from(1 << power)).collect();
        let latency =
            HistogramOpts::new(REQUEST_LATENCY, "Time of successful requests, in milliseconds").buckets(buckets);
        let counter = |name, help, labels: &[&str]| sound(IntCounterVec::new(Opts::new(name, help), labels));
        let metrics = Metrics {
            registry: Registry::new(),
            request_latency: sound(HistogramVec::new(latency, &["request_type"])),
            request_total: counter(REQUEST_TOTAL, "Requests to the API", &["request_type", "request_status"]),
            data_size: counter(
                REPLICATE_DATA_SIZE,
                "Bytes of rows that the target has acknowledged",
                &["task_id", "vchannel_name", "op_type", "msg_type"],
            ),
            data_count: counter(
                REPLICATE_DATA_CNT,
                "Rows that the target has acknowledged",
                &["task_id", "collection_id", "collection_name", "op_type", "api_type"],
            ),
            api_execute: counter(API_EXECUTE_TOTAL, "Calls that the target has acknowledged", &["task_id", "api_type"]),
            calls_in_flight: sound(IntGaugeVec::new(
                Opts::new(CALLS_IN_FLIGHT, "Calls to the target in flight, waits between attempts included"),
                &["task_id"],
            )),
            retries: counter(RETRIES, "Calls of rows to the target that failed and were retried", &["task_id", "kind"]),
            ignored: counter(IGNORED, "Messages of the log that need nothing on the target", &["task_id", "type"]),
            echoes: counter(ECHOES, "Rows that came from the target and were not sent back", &["task_id"]),
            errors: counter(ERRORS, "Failed calls to the source or the target", &["task_id", "side", "kind"]),
            rows: counter(
                ROWS,
                "Rows that the target has acknowledged, all operations and copies together",
                &["task_id"],
            ),
            copies: counter(COPIES, "Copies of a collection's rows that have ended", &["task_id", "result"]),
            collections: Mutex::default(),
        };
        let all: [Box<dyn Collector>; 12] = [
            Box::new(metrics.request_latency.clone()),
            Box::new(metrics.request_total.clone()),
            Box::new(metrics.data_size.clone()),
            Box::new(metrics.data_count.clone()),
            Box::new(metrics.api_execute.clone()),
            Box::new(metrics.calls_in_flight.clone()),
            Box::new(metrics.retries.clone()),
            Box::new(metrics.errors.clone()),
            Box::new(metrics.rows.clone()),
            Box::new(metrics.copies.clone()),
            Box::new(metrics.ignored.clone()),
            Box::new(metrics.echoes.clone()),
        ];
        for collector in all {
            sound(metrics.registry.register(collector));
        }
        metrics
    }
}

/// Unwraps results that depend only on the constants above: an error would fail every test that scrapes.
fn sound<T>(result: prometheus::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the definition of a metric is wrong: {error}"),
    }
}

/// Counts a request that has reached this status. The type must be a known one, since clients can send any text.
pub fn request(request_type: &str, status: &str) {
    METRICS.request_total.with_label_values(&[request_type, status]).inc();
}

/// Counts a successful request.
pub fn request_done(request_type: &str, took: Duration) {
    request(request_type, "success");
    METRICS.request_latency.with_label_values(&[request_type]).observe(took.as_secs_f64() * 1000.0);
}

/// A call to a target that is in flight until this value is dropped.
#[derive(Debug)]
pub struct CallInFlight(prometheus::IntGauge);

/// Counts a call that starts.
pub fn call_begins(task: &str) -> CallInFlight {
    let gauge = METRICS.calls_in_flight.with_label_values(&[task]);
    gauge.inc();
    CallInFlight(gauge)
}

impl Drop for CallInFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts a failed call that is retried; the kind is one of a few words.
pub fn retried(task: &str, kind: &str) {
    METRICS.retries.with_label_values(&[task, kind]).inc();
}

/// Counts a message of the log that needs nothing on the target; the type is one of Milvus's.
pub fn ignored(task: &str, kind: &str) {
    METRICS.ignored.with_label_values(&[task, kind]).inc();
}

/// Counts rows that came from the target and were not sent back.
pub fn echoes(task: &str, rows: u64) {
    METRICS.echoes.with_label_values(&[task]).inc_by(rows);
}

/// Counts a failed call to the source or the target; side and kind are one of a few words each.
pub fn call_failed(task: &str, side: &str, kind: &str) {
    METRICS.errors.with_label_values(&[task, side, kind]).inc();
}

/// Counts a backfill that has ended; the result is one of a few words.
pub fn copy_ended(task: &str, result: &str) {
    METRICS.copies.with_label_values(&[task, result]).inc();
}

/// The rows of a task that the target has acknowledged since the process started.
pub fn rows_of(task: &str) -> u64 {
    METRICS.rows.with_label_values(&[task]).get()
}

/// Counts an acknowledged call: of rows, or of the catalog (`CreateCollection`, `DropPartition` …).
pub fn call_done(task: &str, api_type: &str) {
    METRICS.api_execute.with_label_values(&[task, api_type]).inc();
}

/// Counts acknowledged rows.
pub fn rows_written(written: Written<'_>) {
    let Written { task, channel, collection_id, collection, call, rows, bytes } = written;
    METRICS.rows.with_label_values(&[task]).inc_by(rows as u64);
    let (id, api_type) = (collection_id.to_string(), call.to_ascii_lowercase());
    {
        // Under one lock, so that a concurrent removal covers both or neither.
        let mut collections = METRICS.collections.lock();
        collections.note(task, collection_id, collection, &api_type);
        METRICS.data_count.with_label_values(&[task, &id, collection, WRITE, &api_type]).inc_by(rows as u64);
    }
    METRICS.data_size.with_label_values(&[task, channel, WRITE, call]).inc_by(bytes as u64);
}

/// Removes the series of a dropped collection. A call that is still in flight adds them again, and needs another
/// removal.
pub fn forget_collection(task: &str, collection_id: i64) {
    let mut collections = METRICS.collections.lock();
    let id = collection_id.to_string();
    for (name, api_type) in collections.take(task, collection_id) {
        // The series exists, since both are changed under the lock.
        let _ = METRICS.data_count.remove_label_values(&[task, &id, &name, WRITE, &api_type]);
    }
}

/// Removes the series of a deleted task, whose threads have ended.
pub fn forget_task(task: &str) {
    let mut collections = METRICS.collections.lock();
    collections.forget_task(task);
    let counters = [
        &METRICS.data_size,
        &METRICS.data_count,
        &METRICS.api_execute,
        &METRICS.retries,
        &METRICS.errors,
        &METRICS.rows,
        &METRICS.copies,
        &METRICS.ignored,
        &METRICS.echoes,
    ];
    for counter in counters {
        remove_with(counter, "task_id", task);
    }
    remove_with(&METRICS.calls_in_flight, "task_id", task);
}

/// The answer to a scrape.
///
/// # Errors
/// When a value cannot be encoded.
pub fn render(tasks: &[TaskSample], phases: &[&'static str]) -> Result<String, prometheus::Error> {
    let mut families = METRICS.registry.gather();
    families.extend(sample(tasks, phases)?.gather());
    TextEncoder::new().encode_to_string(&families)
}

/// The samples of the tasks, in a registry of their own.
fn sample(tasks: &[TaskSample], phases: &[&'static str]) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let gauge = |name, help, labels: &[&str]| {
        let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok::<_, prometheus::Error>(gauge)
    };
    gauge(BUILD_INFO, "Always 1; the label is the version", &["version"])?
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1.0);
    let number = gauge(TASK_NUM, "Tasks by state", &["task_state"])?;
    let running = tasks.iter().filter(|task| task.running).count();
    for (state, count) in [("Initial", 0), ("Running", running), ("Paused", tasks.len() - running)] {
        number.with_label_values(&[state]).set(count as f64);
    }
    let state = gauge(TASK_STATE, "1 while the task runs, 2 while it is paused", &["task_id"])?;
    let phase = gauge(TASK_PHASE, "1 for the current phase of the task, 0 for the others", &["task_id", "phase"])?;
    let lag = gauge(TASK_LAG, "Lag of the target behind the source; absent if unknown", &["task_id"])?;
    let role = gauge(TASK_ROLE, "1 for the part that the task plays for its two sites", &["task_id", "role"])?;
    let epoch = gauge(TASK_EPOCH, "How often that has changed", &["task_id"])?;
    let tick = gauge(
        REPLICATE_TT,
        "Unix time in milliseconds up to which the target has acknowledged everything on a channel of the source's log",
        &["task_id", "vchannel_name", "op_type"],
    )?;
    let detail = Details::new(gauge)?;
    let skipped = CounterVec::new(Opts::new(SKIPPED, "What was not replicated"), &["task_id", "reason"])?;
    registry.register(Box::new(skipped.clone()))?;
    for task in tasks {
        let id = task.id.as_str();
        state.with_label_values(&[id]).set(if task.running { 1.0 } else { 2.0 });
        for name in phases {
            phase.with_label_values(&[id, name]).set(f64::from(u8::from(*name == task.phase)));
        }
        role.with_label_values(&[id, task.role]).set(1.0);
        epoch.with_label_values(&[id]).set(task.epoch as f64);
        if let Some(behind) = task.lag {
            lag.with_label_values(&[id]).set(behind.as_secs_f64());
        }
        if task.running {
            detail.show(id, &task.detail);
        }
        for (channel, time) in &task.channels {
            tick.with_label_values(&[id, channel, WRITE]).set(*time as f64);
        }
        for (reason, count) in &task.skipped {
            skipped.with_label_values(&[id, reason]).inc_by(*count as f64);
        }
    }
    Ok(registry)
}

/// The metrics of running tasks only.
struct Details {
    queue: GaugeVec,
    queue_limit: GaugeVec,
    refused_rows: GaugeVec,
    checkpoint_age: GaugeVec,
    clock_skew: GaugeVec,
    collections: GaugeVec,
    copy_rows: GaugeVec,
    copy_total: GaugeVec,
    server: GaugeVec,
}

impl Details {
    fn new(
        gauge: impl Fn(&'static str, &'static str, &[&str]) -> Result<GaugeVec, prometheus::Error>,
    ) -> Result<Details, prometheus::Error> {
        Ok(Details {
            queue: gauge(QUEUE, "Bytes of rows in memory that the target has not acknowledged", &["task_id"])?,
            queue_limit: gauge(QUEUE_LIMIT, "Bytes of rows in memory at which reading pauses", &["task_id"])?,
            refused_rows: gauge(REFUSED_ROWS, "Rows that the target refuses for good, set aside", &["task_id"])?,
            checkpoint_age: gauge(CHECKPOINT_AGE, "Time since the last checkpoint was written", &["task_id"])?,
            clock_skew: gauge(CLOCK_SKEW, "How far the source's clock is ahead of this host's", &["task_id"])?,
            collections: gauge(COLLECTIONS, "Collections of the task by state", &["task_id", "state"])?,
            copy_rows: gauge(COPY_ROWS, "Rows that a running copy has written", &["task_id", "collection_name"])?,
            copy_total: gauge(
                COPY_TOTAL_ROWS,
                "Rows that a running copy has to write",
                &["task_id", "collection_name"],
            )?,
            server: gauge(
                SERVER_INFO,
                "Always 1; the labels say which server is on that side of the task",
                &["task_id", "side", "version", "build"],
            )?,
        })
    }

    fn show(&self, id: &str, detail: &DetailSample) {
        self.queue.with_label_values(&[id]).set(detail.queue_bytes as f64);
        self.refused_rows.with_label_values(&[id]).set(detail.refused_rows as f64);
        self.queue_limit.with_label_values(&[id]).set(detail.queue_limit as f64);
        if let Some(age) = detail.checkpoint_age {
            self.checkpoint_age.with_label_values(&[id]).set(age.as_secs_f64());
        }
        if let Some(ms) = detail.clock_skew_ms {
            self.clock_skew.with_label_values(&[id]).set(ms as f64 / 1000.0);
        }
        for (state, count) in &detail.collections {
            self.collections.with_label_values(&[id, state]).set(*count as f64);
        }
        for ServerSample { side, version, build } in &detail.servers {
            self.server.with_label_values(&[id, side, version, build]).set(1.0);
        }
        for copy in &detail.copies {
            let labels = [id, copy.collection.as_str()];
            self.copy_rows.with_label_values(&labels).set(copy.rows as f64);
            if let Some(total) = copy.total {
                self.copy_total.with_label_values(&labels).set(total as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests;
