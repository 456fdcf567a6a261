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
        role: "failing_over",
        epoch: 3,
        lag: Some(Duration::from_millis(250)),
        skipped: vec![("bulk import".into(), 2)],
        channels: vec![("dml_0".into(), 1_700_000_000_123)],
        detail: DetailSample {
            queue_bytes: 5,
            queue_limit: 10,
            checkpoint_age: Some(Duration::from_secs(2)),
            refused_rows: 4,
            clock_skew_ms: Some(-1500),
            collections: vec![("following", 19), ("held", 1)],
            copies: vec![CopySample { collection: "d.a".into(), rows: 3, total: Some(4) }],
            servers: vec![ServerSample { side: "target", version: "2.6.20".into(), build: "c".into() }],
        },
    };
    let lines = scrape(&[sample]);
    for line in [
        r#"milvus_cdc_task_num{task_state="Initial"} 0"#,
        r#"milvus_cdc_task_num{task_state="Paused"} 0"#,
        r#"milvus_cdc_task_num{task_state="Running"} 1"#,
        r#"milvus_cdc_task_state{task_id="one"} 1"#,
        r#"milvus_cdc_task_phase{phase="Following",task_id="one"} 1"#,
        r#"milvus_cdc_task_role{role="failing_over",task_id="one"} 1"#,
        r#"milvus_cdc_task_role_epoch{task_id="one"} 3"#,
        r#"milvus_cdc_task_phase{phase="Paused",task_id="one"} 0"#,
        r#"milvus_cdc_task_lag_seconds{task_id="one"} 0.25"#,
        r#"milvus_cdc_skipped_total{reason="bulk import",task_id="one"} 2"#,
        r#"milvus_cdc_queue_bytes{task_id="one"} 5"#,
        r#"milvus_cdc_queue_limit_bytes{task_id="one"} 10"#,
        r#"milvus_cdc_checkpoint_age_seconds{task_id="one"} 2"#,
        r#"milvus_cdc_refused_rows{task_id="one"} 4"#,
        r#"milvus_cdc_clock_skew_seconds{task_id="one"} -1.5"#,
        r#"milvus_cdc_collections{state="held",task_id="one"} 1"#,
        r#"milvus_cdc_server_info{build="c",side="target",task_id="one",version="2.6.20"} 1"#,
        r#"milvus_cdc_copy_rows{collection_name="d.a",task_id="one"} 3"#,
        r#"milvus_cdc_copy_total_rows{collection_name="d.a",task_id="one"} 4"#,
        r#"milvus_cdc_replicate_tt{op_type="write",task_id="one",vchannel_name="dml_0"} 1700000000123"#,
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
    echoes("calls", 4);
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
        r#"milvus_cdc_echoes_total{task_id="calls"} 4"#,
        r#"milvus_cdc_api_execute_total{api_type="CreateCollection",task_id="calls"} 1"#,
        concat!(
            r#"milvus_cdc_replicate_data_cnt{api_type="upsert",collection_id="7",collection_name="db.a","#,
            r#"op_type="write",task_id="calls"} 6"#
        ),
        concat!(
            r#"milvus_cdc_replicate_data_size{msg_type="Upsert",op_type="write","#,
            r#"task_id="calls",vchannel_name="c"} 198"#
        ),
    ] {
        assert!(has(&lines, line), "{line} is not in {lines:#?}");
    }
}

#[test]
fn deleted_tasks_and_dropped_collections_have_no_series() {
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
    echoes("gone", 1);
    forget_task("gone");
    assert_eq!((count(r#"task_id="gone""#), count(second)), (0, 2));
    assert!(count(r#"task_id="stays""#) > 0);
    written("gone", 702, "gone.b");
    assert!(has(&scrape(&[]), r#"milvus_cdc_task_rows_total{task_id="gone"} 2"#), "it counts from the start");
}
