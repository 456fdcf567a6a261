/*!
What is counted, for Prometheus: every name there is, the functions that count, and the text of a scrape.

The names and labels of the Go server are kept, so that its dashboards go on working. What it counts and this server has no
equivalent of (`center_tt`: there are no channels at a target) is absent, not zero.

Two kinds of values: counters that are kept here from the start of the process, and facts about tasks ([`TaskSample`]) that are
taken at each scrape, so that a deleted task leaves none behind. The counters of a deleted task and of a collection that is gone are
taken away.
*/

mod series;

use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

// Of the Go server.
const TASK_NUM: &str = "milvus_cdc_task_num";
const TASK_STATE: &str = "milvus_cdc_task_state";
const REQUEST_LATENCY: &str = "milvus_cdc_request_latency";
const REQUEST_TOTAL: &str = "milvus_cdc_request_total";
const REPLICATE_TT: &str = "milvus_cdc_replicate_tt";
const REPLICATE_DATA_SIZE: &str = "milvus_cdc_replicate_data_size";
const REPLICATE_DATA_CNT: &str = "milvus_cdc_replicate_data_cnt";
const API_EXECUTE_TOTAL: &str = "milvus_cdc_api_execute_total";
// Our own.
const BUILD_INFO: &str = "milvus_cdc_build_info";
const TASK_PHASE: &str = "milvus_cdc_task_phase";
const TASK_LAG: &str = "milvus_cdc_task_lag_seconds";
const SKIPPED: &str = "milvus_cdc_skipped_total";
const CALLS_IN_FLIGHT: &str = "milvus_cdc_calls_in_flight";
const RETRIES: &str = "milvus_cdc_retries_total";
const IGNORED: &str = "milvus_cdc_ignored_messages_total";
const ERRORS: &str = "milvus_cdc_errors_total";
const ROWS: &str = "milvus_cdc_task_rows_total";
const QUEUE: &str = "milvus_cdc_queue_bytes";
const QUEUE_LIMIT: &str = "milvus_cdc_queue_limit_bytes";
const CHECKPOINT_AGE: &str = "milvus_cdc_checkpoint_age_seconds";
const COPY_ROWS: &str = "milvus_cdc_copy_rows";
const COPY_TOTAL_ROWS: &str = "milvus_cdc_copy_total_rows";
const COPIES: &str = "milvus_cdc_copies_total";

use self::series::{CollectionSeries, remove_with};
use crate::task::detail::TaskDetail;

/// The only direction that is told: what the target has acknowledged.
const WRITE: &str = "write";
/// The type of the answer to a scrape.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A task at the moment of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSample {
    /// Its id.
    pub id: String,
    /// It runs, or is paused.
    pub running: bool,
    /// What it is doing.
    pub phase: &'static str,
    /// How far behind it is.
    pub lag: Option<Duration>,
    /// What could not be carried over, per reason.
    pub skipped: Vec<(String, u64)>,
    /// Channels, and the source's time in milliseconds up to which the target has everything of them.
    pub channels: Vec<(String, u64)>,
    /// Everything else.
    pub detail: TaskDetail,
}

/// Rows that the target has acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// By which task.
    pub task: &'a str,
    /// The source's channel.
    pub channel: &'a str,
    /// The collection's id at the source.
    pub collection_id: i64,
    /// Its name on the target, with its database.
    pub collection: &'a str,
    /// `Insert`, `Upsert` or `Delete`.
    pub call: &'static str,
    /// How many.
    pub rows: usize,
    /// How many bytes of columns; none for a delete.
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
    /// Of `data_count`.
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
                Opts::new(CALLS_IN_FLIGHT, "Calls to the target under way, waits between attempts included"),
                &["task_id"],
            )),
            retries: counter(
                RETRIES,
                "Calls of rows to the target that failed and were tried again",
                &["task_id", "kind"],
            ),
            ignored: counter(IGNORED, "Messages of the log that need nothing on the target", &["task_id", "type"]),
            errors: counter(ERRORS, "Failed calls to the source or the target", &["task_id", "side", "kind"]),
            rows: counter(
                ROWS,
                "Rows that the target has acknowledged, all operations and copies together",
                &["task_id"],
            ),
            copies: counter(COPIES, "Copies of a collection's rows that have ended", &["task_id", "result"]),
            collections: Mutex::default(),
        };
        let all: [Box<dyn Collector>; 11] = [
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
        ];
        for collector in all {
            sound(metrics.registry.register(collector));
        }
        metrics
    }
}

/// For results that depend on the constants above only: every test that scrapes would meet the error.
fn sound<T>(result: prometheus::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the definition of a metric is wrong: {error}"),
    }
}

/// A request has come in, or has got as far as this status. The type must be one of a few: clients can write anything.
pub fn request(request_type: &str, status: &str) {
    METRICS.request_total.with_label_values(&[request_type, status]).inc();
}

/// A request has gone well.
pub fn request_done(request_type: &str, took: Duration) {
    request(request_type, "success");
    METRICS.request_latency.with_label_values(&[request_type]).observe(took.as_secs_f64() * 1000.0);
}

/// A call to a target that is under way until this is dropped.
#[derive(Debug)]
pub struct CallInFlight(prometheus::IntGauge);

/// A call begins.
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

/// A call failed and is tried again; the kind is one of a few words.
pub fn retried(task: &str, kind: &str) {
    METRICS.retries.with_label_values(&[task, kind]).inc();
}

/// The log had a message that needs nothing; the type is one of those that Milvus has.
pub fn ignored(task: &str, kind: &str) {
    METRICS.ignored.with_label_values(&[task, kind]).inc();
}

/// A call to the source or the target has failed; side and kind are one of a few words.
pub fn call_failed(task: &str, side: &str, kind: &str) {
    METRICS.errors.with_label_values(&[task, side, kind]).inc();
}

/// A copy has ended, with one of a few results.
pub fn copy_ended(task: &str, result: &str) {
    METRICS.copies.with_label_values(&[task, result]).inc();
}

/// All rows of a task that the target has acknowledged since the process began.
pub fn rows_of(task: &str) -> u64 {
    METRICS.rows.with_label_values(&[task]).get()
}

/// The target has acknowledged a call: of rows, or of the catalog (`CreateCollection`, `DropPartition` …).
pub fn call_done(task: &str, api_type: &str) {
    METRICS.api_execute.with_label_values(&[task, api_type]).inc();
}

/// The target has acknowledged rows.
pub fn rows_written(written: Written<'_>) {
    let Written { task, channel, collection_id, collection, call, rows, bytes } = written;
    METRICS.rows.with_label_values(&[task]).inc_by(rows as u64);
    let (id, api_type) = (collection_id.to_string(), call.to_ascii_lowercase());
    {
        // One step, so that what is forgotten meanwhile is either both or neither.
        let mut collections = METRICS.collections.lock();
        collections.note(task, collection_id, collection, &api_type);
        METRICS.data_count.with_label_values(&[task, &id, collection, WRITE, &api_type]).inc_by(rows as u64);
    }
    METRICS.data_size.with_label_values(&[task, channel, WRITE, call]).inc_by(bytes as u64);
}

/// A collection is gone: its series end. A call that is under way counts once more, and needs this again.
pub fn forget_collection(task: &str, collection_id: i64) {
    let mut collections = METRICS.collections.lock();
    let id = collection_id.to_string();
    for (name, api_type) in collections.take(task, collection_id) {
        // It is there, as both are done with the lock held.
        let _ = METRICS.data_count.remove_label_values(&[task, &id, &name, WRITE, &api_type]);
    }
}

/// A task was deleted, and none of its threads counts any more.
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
    ];
    for counter in counters {
        remove_with(counter, "task_id", task);
    }
    remove_with(&METRICS.calls_in_flight, "task_id", task);
}

/// The answer to a scrape.
///
/// # Errors
/// When the values cannot be put into words, with the reason.
pub fn render(tasks: &[TaskSample], phases: &[&'static str]) -> Result<String, prometheus::Error> {
    let mut families = METRICS.registry.gather();
    families.extend(sample(tasks, phases)?.gather());
    TextEncoder::new().encode_to_string(&families)
}

/// The facts about tasks, in a registry of their own.
fn sample(tasks: &[TaskSample], phases: &[&'static str]) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let gauge = |name, help, labels: &[&str]| {
        let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok::<_, prometheus::Error>(gauge)
    };
    gauge(BUILD_INFO, "Always 1; the label tells the version", &["version"])?
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1.0);
    let number = gauge(TASK_NUM, "Tasks by state", &["task_state"])?;
    let running = tasks.iter().filter(|task| task.running).count();
    for (state, count) in [("Initial", 0), ("Running", running), ("Paused", tasks.len() - running)] {
        number.with_label_values(&[state]).set(count as f64);
    }
    let state = gauge(TASK_STATE, "1 while the task runs, 2 while it is paused", &["task_id"])?;
    let phase = gauge(TASK_PHASE, "1 for what the task is doing, 0 for what it is not", &["task_id", "phase"])?;
    let lag = gauge(TASK_LAG, "How far the target is behind the source; absent when not known", &["task_id"])?;
    let tick = gauge(
        REPLICATE_TT,
        "Unix time in milliseconds up to which the target has everything of a channel of the source's log",
        &["task_id", "vchannel_name", "op_type"],
    )?;
    let detail = Details {
        queue: gauge(QUEUE, "Bytes of rows in memory that wait for the target", &["task_id"])?,
        queue_limit: gauge(QUEUE_LIMIT, "With so many bytes waiting no more is read", &["task_id"])?,
        checkpoint_age: gauge(CHECKPOINT_AGE, "Time since the checkpoint was written last", &["task_id"])?,
        copy_rows: gauge(COPY_ROWS, "Rows of a copy under way that are there", &["task_id", "collection_name"])?,
        copy_total: gauge(COPY_TOTAL_ROWS, "Rows that a copy under way has to carry", &["task_id", "collection_name"])?,
    };
    let skipped = CounterVec::new(Opts::new(SKIPPED, "What could not be carried over"), &["task_id", "reason"])?;
    registry.register(Box::new(skipped.clone()))?;
    for task in tasks {
        let id = task.id.as_str();
        state.with_label_values(&[id]).set(if task.running { 1.0 } else { 2.0 });
        for name in phases {
            phase.with_label_values(&[id, name]).set(f64::from(u8::from(*name == task.phase)));
        }
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

/// What is told of running tasks only.
struct Details {
    queue: GaugeVec,
    queue_limit: GaugeVec,
    checkpoint_age: GaugeVec,
    copy_rows: GaugeVec,
    copy_total: GaugeVec,
}

impl Details {
    fn show(&self, id: &str, detail: &TaskDetail) {
        self.queue.with_label_values(&[id]).set(detail.queue_bytes as f64);
        self.queue_limit.with_label_values(&[id]).set(detail.queue_limit as f64);
        if let Some(age) = detail.checkpoint_age {
            self.checkpoint_age.with_label_values(&[id]).set(age.as_secs_f64());
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
mod tests {
    use crate::task::detail::CopyDetail;

    use super::*;

    fn scrape(tasks: &[TaskSample]) -> Vec<String> {
        let text = render(tasks, &["Following", "Paused"]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn has(lines: &[String], line: &str) -> bool {
        lines.iter().any(|known| known == line)
    }

    #[test]
    fn tasks() {
        let sample = TaskSample {
            id: "one".into(),
            running: true,
            phase: "Following",
            lag: Some(Duration::from_millis(250)),
            skipped: vec![("bulk import".into(), 2)],
            channels: vec![("by-dev-rootcoord-dml_0".into(), 1_700_000_000_123)],
            detail: TaskDetail {
                queue_bytes: 5,
                queue_limit: 10,
                checkpoint_age: Some(Duration::from_secs(2)),
                copies: vec![CopyDetail { collection: "d.a".into(), rows: 3, total: Some(4), waiting: None }],
                ..TaskDetail::default()
            },
        };
        let lines = scrape(&[sample]);
        for line in [
            r#"milvus_cdc_task_num{task_state="Initial"} 0"#,
            r#"milvus_cdc_task_num{task_state="Paused"} 0"#,
            r#"milvus_cdc_task_num{task_state="Running"} 1"#,
            r#"milvus_cdc_task_state{task_id="one"} 1"#,
            r#"milvus_cdc_task_phase{phase="Following",task_id="one"} 1"#,
            r#"milvus_cdc_task_phase{phase="Paused",task_id="one"} 0"#,
            r#"milvus_cdc_task_lag_seconds{task_id="one"} 0.25"#,
            r#"milvus_cdc_skipped_total{reason="bulk import",task_id="one"} 2"#,
            r#"milvus_cdc_queue_bytes{task_id="one"} 5"#,
            r#"milvus_cdc_queue_limit_bytes{task_id="one"} 10"#,
            r#"milvus_cdc_checkpoint_age_seconds{task_id="one"} 2"#,
            r#"milvus_cdc_copy_rows{collection_name="d.a",task_id="one"} 3"#,
            r#"milvus_cdc_copy_total_rows{collection_name="d.a",task_id="one"} 4"#,
            r#"milvus_cdc_replicate_tt{op_type="write",task_id="one",vchannel_name="by-dev-rootcoord-dml_0"} 1700000000123"#,
        ] {
            assert!(has(&lines, line), "{line} is not in {lines:#?}");
        }
        assert!(!scrape(&[]).iter().any(|line| line.contains("\"one\"")), "a deleted task leaves nothing");
    }

    #[test]
    fn calls_and_rows() {
        let in_flight = r#"milvus_cdc_calls_in_flight{task_id="calls"}"#;
        let call = call_begins("calls");
        assert!(has(&scrape(&[]), &format!("{in_flight} 1")));
        drop(call);
        retried("calls", "transport");
        call_failed("calls", "source", "transport");
        call_done("calls", "CreateCollection");
        copy_ended("calls", "done");
        let written = Written {
            task: "calls",
            channel: "c",
            collection_id: 7,
            collection: "db.a",
            call: "Upsert",
            rows: 3,
            bytes: 99,
        };
        rows_written(written);
        rows_written(written);
        let lines = scrape(&[]);
        for line in [
            &format!("{in_flight} 0"),
            r#"milvus_cdc_retries_total{kind="transport",task_id="calls"} 1"#,
            r#"milvus_cdc_errors_total{kind="transport",side="source",task_id="calls"} 1"#,
            r#"milvus_cdc_copies_total{result="done",task_id="calls"} 1"#,
            r#"milvus_cdc_task_rows_total{task_id="calls"} 6"#,
            r#"milvus_cdc_api_execute_total{api_type="CreateCollection",task_id="calls"} 1"#,
            r#"milvus_cdc_replicate_data_cnt{api_type="upsert",collection_id="7",collection_name="db.a",op_type="write",task_id="calls"} 6"#,
            r#"milvus_cdc_replicate_data_size{msg_type="Upsert",op_type="write",task_id="calls",vchannel_name="c"} 198"#,
        ] {
            assert!(has(&lines, line), "{line} is not in {lines:#?}");
        }
    }

    #[test]
    fn what_is_gone_has_no_series() {
        let written = |task, collection_id, collection| {
            let counted = Written { task, channel: "c", collection_id, collection, call: "Insert", rows: 1, bytes: 1 };
            rows_written(counted);
            rows_written(Written { call: "Delete", ..counted });
        };
        let count = |label: &str| scrape(&[]).iter().filter(|line| line.contains(label)).count();
        for task in ["gone", "stays"] {
            written(task, 701, "gone.a");
            written(task, 701, "gone.renamed");
            written(task, 702, "gone.b");
        }
        let (first, second) = (r#"collection_id="701""#, r#"collection_id="702""#);
        assert_eq!((count(first), count(second)), (8, 4));
        forget_collection("gone", 701);
        forget_collection("gone", 703);
        assert_eq!((count(first), count(second)), (4, 4), "the other task's and the other collection's stay");
        drop(call_begins("gone"));
        call_done("gone", "CreateCollection");
        call_failed("gone", "source", "transport");
        retried("gone", "transport");
        ignored("gone", "Flush");
        copy_ended("gone", "done");
        forget_task("gone");
        assert_eq!((count(r#"task_id="gone""#), count(second)), (0, 2));
        assert!(count(r#"task_id="stays""#) > 0);
        written("gone", 702, "gone.b");
        assert!(has(&scrape(&[]), r#"milvus_cdc_task_rows_total{task_id="gone"} 2"#), "it counts from the start");
    }
}
