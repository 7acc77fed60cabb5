//! What `/metrics` counts is what was done.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::http;
use e2e::load::{batch, create_topic, fetch_one, produce_one};
use e2e::process::poll;
use e2e::wire::Wire;
use milena_protocol::ErrorCode;
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::records::{Compression, records};

const TOPIC: &str = "orders";
const GROUP: &str = "readers";
/// Until the group has its coordinator.
const COORDINATOR_LIMIT: Duration = Duration::from_secs(30);
/// From an answer to its being counted.
const COUNTED_WITHIN: Duration = Duration::from_secs(10);

/// Commits that the group has read up to an offset.
fn commit(wire: &mut Wire, offset: i64) -> Result<()> {
    let find = FindCoordinatorRequest {
        key: GROUP.into(),
        ..Default::default()
    };
    let found = || {
        let answer = wire.ask(&find, 3).ok()?;
        answer.error_code.is_none().then_some(())
    };
    poll(COORDINATOR_LIMIT, found).context("the group has no coordinator")?;
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let committed = || {
        let answer = wire.ask(&request, 7).ok()?;
        let code = answer.topics[0].partitions[0].error_code;
        code.is_none().then_some(())
    };
    poll(COORDINATOR_LIMIT, committed).context("nothing was committed")
}

/// Those of the lines that the page lacks, each with the values that it has instead.
fn missing(page: &str, lines: &[String]) -> Vec<String> {
    let lacks = |line: &&String| !page.lines().any(|have| have == line.as_str());
    let instead = |line: &String| {
        let series = line.rsplit_once(' ').map_or("", |(series, _)| series);
        let have = page.lines().find(|have| have.starts_with(series));
        format!("{line}, but {have:?}")
    };
    lines.iter().filter(lacks).map(instead).collect()
}

#[test]
fn records_requests_errors_offsets_and_lag_are_counted_exactly() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let two = batch(&[Some(b"first"), Some(b"second")], Compression::None);
    let one = batch(&[Some(b"third")], Compression::None);
    produce_one(&mut wire, TOPIC, 0, two.clone())??;
    let fetched = fetch_one(&mut wire, TOPIC, 0, 0)??;
    assert_eq!(records(&fetched, 1 << 20).count(), 2);
    produce_one(&mut wire, TOPIC, 0, one.clone())??;
    let refused = produce_one(&mut wire, "nowhere", 0, one.clone())?;
    assert_eq!(refused, Err(ErrorCode::UnknownTopicOrPartition));
    commit(&mut wire, 2)?;

    let (size_in, size_out) = (two.len() + one.len(), two.len());
    let partition = r#"topic="orders",partition="0""#;
    let lines = [
        r#"milena_topic_records_in_total{topic="orders"} 3"#.to_owned(),
        r#"milena_topic_records_out_total{topic="orders"} 2"#.to_owned(),
        format!(r#"milena_topic_bytes_in_total{{topic="orders"}} {size_in}"#),
        format!(r#"milena_topic_bytes_out_total{{topic="orders"}} {size_out}"#),
        r#"milena_requests_total{api="Produce"} 3"#.to_owned(),
        r#"milena_requests_total{api="Fetch"} 1"#.to_owned(),
        r#"milena_requests_total{api="CreateTopics"} 1"#.to_owned(),
        r#"milena_request_errors_total{api="Produce",error="UNKNOWN_TOPIC_OR_PARTITION"} 1"#
            .to_owned(),
        r#"milena_request_duration_seconds_count{api="Produce"} 3"#.to_owned(),
        format!("milena_log_start_offset{{{partition}}} 0"),
        format!("milena_log_end_offset{{{partition}}} 3"),
        format!("milena_log_bytes{{{partition}}} {size_in}"),
        format!("milena_partition_high_watermark{{{partition}}} 3"),
        format!(r#"milena_group_committed_offset{{group="readers",{partition}}} 2"#),
        format!(r#"milena_group_lag{{group="readers",{partition}}} 1"#),
    ];
    let mut page = String::new();
    let counted = poll(COUNTED_WITHIN, || {
        page = http::get(&broker.http(), "/metrics").ok()?.body;
        missing(&page, &lines).is_empty().then_some(())
    });
    ensure!(counted.is_some(), "missing: {:#?}", missing(&page, &lines));
    // Nothing else went wrong, and what is not there is not counted.
    for absent in [
        r#"milena_request_errors_total{api="Fetch""#,
        r#"milena_request_errors_total{api="CreateTopics""#,
        r#"topic="nowhere""#,
    ] {
        ensure!(!page.contains(absent), "{absent} is there");
    }
    Ok(())
}
