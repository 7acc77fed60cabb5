//! What a state looks like on the page.

use super::super::table::{Kind, TABLE};
use super::super::{Metrics, process};
use super::*;

fn partition(topic: &str, index: i32) -> PartitionState {
    PartitionState {
        topic: topic.to_owned(),
        index,
        log_bytes: 4_096,
        segments: 2,
        log_start_offset: 5,
        log_end_offset: 31,
        high_watermark: 30,
    }
}

fn group(name: &str, offsets: Vec<(String, i32, i64)>) -> GroupSnapshot {
    GroupSnapshot {
        group: name.to_owned(),
        state: GroupState::Stable,
        member_count: 3,
        offsets,
    }
}

fn page(state: &State) -> String {
    let mut page = Page::default();
    state.write(&mut page);
    page.into_text()
}

fn state(groups: Vec<GroupSnapshot>) -> State {
    State {
        partitions: vec![partition("orders", 0), partition("orders", 1)],
        partitions_count: 2,
        high_watermarks: [(("orders".to_owned(), 0), 30)].into(),
        groups: GroupsSnapshot {
            groups,
            shards_unread: 0,
        },
        replication: Replication {
            lags: [(BrokerId::new(2).unwrap(), Default::default())].into(),
            ..Default::default()
        },
        dirs: vec![DirState {
            path: "/data".into(),
            bytes: 10,
            usable_bytes: 4,
        }],
        ..State::default()
    }
}

#[test]
fn every_state_of_the_table_is_written_and_none_besides() {
    let text = page(&state(vec![group("g", vec![("orders".into(), 0, 12)])]));
    let of_process: Vec<_> = process::read().into_iter().map(|(m, _)| m.name).collect();
    let counted = Metrics::new().unwrap().counted().unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let written: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    for metric in TABLE.iter().filter(|metric| metric.kind == Kind::Gauge) {
        let elsewhere = of_process.contains(&metric.name)
            || counted.contains(&format!("# TYPE {} ", metric.name))
            || metric.name.starts_with("milena_quorum_")
            || *metric == table::SCRAPE_DURATION;
        let found = written.iter().filter(|name| **name == metric.name).count();
        assert_eq!(found, usize::from(!elsewhere), "{}", metric.name);
        let series = text.lines().any(|line| line.starts_with(metric.name));
        assert!(series || elsewhere, "{} has no series", metric.name);
    }
    let known = |name: &&str| TABLE.iter().any(|metric| metric.name == *name);
    assert!(written.iter().all(known));
}

#[test]
fn lag_is_what_lies_between_the_commit_and_the_high_watermark() {
    let offsets = vec![("orders".to_owned(), 0, 12), ("elsewhere".to_owned(), 0, 7)];
    let text = page(&state(vec![group("g", offsets)]));
    assert!(text.contains("milena_group_lag{group=\"g\",topic=\"orders\",partition=\"0\"} 18\n"));
    assert!(text.contains(
        "milena_group_committed_offset{group=\"g\",topic=\"elsewhere\",partition=\"0\"} 7\n"
    ));
    assert!(!text.contains("milena_group_lag{group=\"g\",topic=\"elsewhere\""));
}

#[test]
fn a_commit_beyond_the_end_is_no_lag() {
    let text = page(&state(vec![group("g", vec![("orders".into(), 0, 99)])]));
    assert!(text.contains("milena_group_lag{group=\"g\",topic=\"orders\",partition=\"0\"} 0\n"));
}

#[test]
fn groups_and_their_offsets_are_bounded_and_what_is_left_out_is_counted() {
    let offsets = |count: i32| (0..count).map(|at| ("orders".to_owned(), at, 1)).collect();
    let mut groups = vec![group("big", offsets(GROUP_OFFSETS_MAX as i32 + 1))];
    groups.extend((0..GROUPS_MAX).map(|at| group(&format!("g{at}"), offsets(1))));
    let text = page(&state(groups));
    let series = |name: &str| text.matches(&format!("\n{name}{{")).count();
    assert_eq!(series("milena_group_members"), GROUPS_MAX);
    assert_eq!(series("milena_group_committed_offset"), GROUP_OFFSETS_MAX);
    assert!(text.contains("milena_groups_left_out 1\n"));
    let left_out = 1 + GROUPS_MAX;
    assert!(text.contains(&format!("milena_group_offsets_left_out {left_out}\n")));
    let stable = GROUPS_MAX + 1;
    assert!(text.contains(&format!("milena_groups{{state=\"Stable\"}} {stable}\n")));
}

#[test]
fn partitions_left_out_are_counted() {
    let mut state = state(Vec::new());
    state.partitions_count = 10_000;
    assert!(page(&state).contains("milena_partitions_left_out 9998\n"));
}
