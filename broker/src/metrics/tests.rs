//! What is counted, and under which names it shows.

use super::table::{Kind, TABLE};
use super::*;

/// The counters' page after each of them has moved.
fn moved() -> String {
    let metrics = Metrics::new().unwrap();
    let topic = metrics.topic("orders");
    topic.received(100, 2);
    topic.sent(50, 4);
    metrics.answered(1, ErrorCode::OffsetOutOfRange, Instant::now());
    metrics.client_seen("librdkafka", "2.0");
    metrics.care_failed(Care::Flush);
    metrics.flushed(Instant::now());
    let mut page = Page::after(metrics.counted().unwrap());
    quorum::write(&quorum::tests::status(), &mut page);
    page.into_text()
}

#[test]
fn every_exposed_family_is_in_the_table_and_every_counter_is_exposed() {
    let page = moved();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let exposed: Vec<(&str, &str)> = types.filter_map(|line| line.split_once(' ')).collect();
    for (name, kind) in &exposed {
        let metric = TABLE.iter().find(|metric| metric.name == *name);
        assert_eq!(metric.map(|m| m.kind.name()), Some(*kind), "{name}");
    }
    let counted = TABLE.iter().filter(|metric| metric.kind != Kind::Gauge);
    for metric in counted.filter(|metric| metric.name.starts_with("milena_")) {
        let found = exposed.iter().any(|(name, _)| *name == metric.name);
        assert!(found, "{} is not exposed", metric.name);
        assert!(page.contains(&format!("# HELP {} {}\n", metric.name, metric.help)));
    }
}

#[test]
fn failures_begin_at_0_so_that_the_first_is_an_increase() {
    let page = moved();
    for (work, count) in [("retention", 0), ("flush", 1), ("compaction", 0)] {
        let line = format!("milena_log_care_failures_total{{work=\"{work}\"}} {count}\n");
        assert!(page.contains(&line), "{line} in {page}");
    }
}

#[test]
fn an_api_that_was_never_called_has_no_series() {
    let page = moved();
    assert!(page.contains("milena_requests_total{api=\"Fetch\"} 1\n"));
    assert!(
        page.contains(
            "milena_request_errors_total{api=\"Fetch\",error=\"OFFSET_OUT_OF_RANGE\"} 1\n"
        )
    );
    assert!(page.contains("milena_request_duration_seconds_count{api=\"Fetch\"} 1\n"));
    assert!(!page.contains("api=\"Produce\""));
}

#[test]
fn every_route_has_a_place_and_other_keys_have_none() {
    let metrics = Metrics::new().unwrap();
    for route in api::ROUTES {
        assert_eq!(metrics.api(route.key).map(|api| api.name), Some(route.name));
    }
    for key in [-1, 99, i16::MAX] {
        assert!(metrics.api(key).is_none());
    }
}

#[test]
fn topics_beyond_the_bound_share_a_series_and_a_deleted_topic_makes_room() {
    let metrics = Metrics::new().unwrap();
    for at in 0..TOPICS_MAX + 5 {
        metrics.topic(&format!("t{at}")).received(1, 1);
    }
    let series = |page: &str| page.matches("milena_topic_records_in_total{").count();
    let page = metrics.counted().unwrap();
    assert_eq!(series(&page), TOPICS_MAX + 1);
    assert!(page.contains("milena_topic_records_in_total{topic=\"(other)\"} 5\n"));
    metrics.topic_deleted("t0");
    metrics.topic("new");
    let page = metrics.counted().unwrap();
    assert_eq!(series(&page), TOPICS_MAX + 1);
    assert!(page.contains("topic=\"new\"") && !page.contains("topic=\"t0\""));
}

#[test]
fn client_software_beyond_the_bound_shares_a_series() {
    let metrics = Metrics::new().unwrap();
    for at in 0..SOFTWARE_MAX + 7 {
        metrics.client_seen("client", &at.to_string());
    }
    let page = metrics.counted().unwrap();
    assert!(
        page.contains("milena_client_software_total{name=\"(other)\",version=\"(other)\"} 7\n")
    );
}

#[test]
fn the_help_names_the_bounds_that_hold() {
    for (metric, bound) in [
        (&table::BYTES_IN, TOPICS_MAX),
        (&table::RECORDS_IN, TOPICS_MAX),
        (&table::BYTES_OUT, TOPICS_MAX),
        (&table::CLIENT_SOFTWARE, SOFTWARE_MAX),
        (&table::PARTITIONS_LEFT_OUT, state::PARTITIONS_MAX),
        (&table::GROUPS_LEFT_OUT, state::GROUPS_MAX),
        (&table::GROUP_OFFSETS_LEFT_OUT, state::GROUP_OFFSETS_MAX),
    ] {
        let words = format!(" {bound} ");
        assert!(metric.help.contains(&words), "{}: {bound}", metric.name);
    }
}

#[test]
fn what_compactions_have_left_to_read_is_shown_and_forgotten_where_one_is_given_up() {
    let metrics = Metrics::new().unwrap();
    let shows = |left: u64| {
        let page = Page::after(metrics.counted().unwrap()).into_text();
        page.contains(&format!("\nmilena_compaction_left_bytes {left}\n"))
    };
    metrics.compaction_begins(100);
    metrics.compaction_begins(50);
    assert!(shows(150));
    metrics.compaction_read(60, 60);
    assert!(shows(90));
    metrics.compaction_ends(40);
    metrics.compaction_ends(50);
    assert!(shows(0));
}
