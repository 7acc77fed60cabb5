//! What leaders answer, and how it is told.

use milena_protocol::api::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};

use super::*;

fn place(index: i32) -> Place {
    ("t".to_owned(), index)
}

/// What is known after broker 1 has answered so for partitions 0, 1, …
fn told(codes: &[ErrorCode]) -> Told {
    let partitions = codes.iter().zip(0..);
    let partitions = partitions.map(|(&error_code, index)| ListOffsetsPartitionResponse {
        partition_index: index,
        error_code,
        offset: 7,
        ..Default::default()
    });
    let response = ListOffsetsResponse {
        topics: vec![ListOffsetsTopicResponse {
            name: "t".into(),
            partitions: partitions.collect(),
        }],
        ..Default::default()
    };
    let mut told = Told::default();
    told.take(1, &response);
    told
}

#[test]
fn a_log_that_is_offline_costs_its_own_offset_and_no_others() {
    let told = told(&[
        ErrorCode::None,
        ErrorCode::KafkaStorageError,
        ErrorCode::None,
    ]);
    assert_eq!(told.offsets, [(place(0), 7), (place(2), 7)].into());
    let why = Offline::Log {
        broker: 1,
        at: None,
    };
    assert_eq!(told.offline, [(place(1), why)].into());
    assert!(told.unsettled.is_none());
}

#[test]
fn a_leader_that_is_about_to_be_another_is_asked_again() {
    for code in [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::OffsetNotAvailable,
    ] {
        let told = told(&[ErrorCode::None, code]);
        assert!(told.offline.is_empty());
        assert!(told.unsettled.is_some_and(|error| error.is_retriable()));
    }
}

#[test]
fn the_first_of_many_are_named_each_with_its_reason_and_the_others_counted() {
    let all: AllOffline = (0..20)
        .map(|index| (place(index), Offline::NoLeader))
        .collect();
    let words = in_words(&all);
    assert!(
        words.starts_with("t-0 is offline: no leader; t-1 is"),
        "{words}"
    );
    assert!(words.ends_with("and 12 more"), "{words}");
    let failure = failure(Exit::Failed, "", &all).to_string();
    assert!(
        failure.contains("hint: `milena cluster describe`"),
        "{failure}"
    );
}
