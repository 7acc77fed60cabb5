//! Messages byte by byte: versions that no oracle knows, and what the oracles can't tell.

use bytes::Bytes;
use milena_protocol::api::add_raft_voter::*;
use milena_protocol::api::describe_log_dirs::*;
use milena_protocol::api::describe_topic_partitions::*;
use milena_protocol::api::fetch::*;
use milena_protocol::api::list_offsets::*;
use milena_protocol::api::metadata::*;
use milena_protocol::api::offset_commit::*;
use milena_protocol::api::offset_fetch::*;
use milena_protocol::{ErrorCode, Problem, Request, Str, Uuid, Wire, Writer};

/// Hexadecimal digits, in groups as one likes.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn write<R: Request>(message: &impl Wire, version: i16) -> Bytes {
    let mut w = Writer::new(version, R::flexible(version));
    message.write(&mut w);
    Bytes::from(w.into_frame().to_vec()).slice(4..)
}

fn request_is<R: Request + PartialEq + std::fmt::Debug>(request: R, version: i16, bytes: &str) {
    assert_eq!(write::<R>(&request, version), hex(bytes));
    assert_eq!(R::decode(hex(bytes), version), Ok(request));
}

fn response_is<R: Request>(response: R::Response, version: i16, bytes: &str)
where
    R::Response: PartialEq + std::fmt::Debug,
{
    assert_eq!(write::<R>(&response, version), hex(bytes));
    assert_eq!(R::decode_response(hex(bytes), version), Ok(response));
}

const ID: Uuid = Uuid([0x11; 16]);

#[test]
fn list_offsets_11_is_spelled_like_10() {
    let partition = ListOffsetsPartition {
        partition_index: 1,
        current_leader_epoch: 2,
        timestamp: -6,
        ..Default::default()
    };
    let topic = ListOffsetsTopic {
        name: "ab".into(),
        partitions: vec![partition],
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 1,
        topics: vec![topic],
        timeout_ms: 3,
    };
    let bytes = "ffffffff 01 02 036162 02 00000001 00000002 fffffffffffffffa 00 00 00000003 00";
    request_is(request.clone(), 10, bytes);
    request_is(request, 11, bytes);

    let partition = ListOffsetsPartitionResponse {
        partition_index: 1,
        error_code: ErrorCode::OffsetNotAvailable,
        timestamp: 5,
        offset: 6,
        leader_epoch: 7,
        ..Default::default()
    };
    let topic = ListOffsetsTopicResponse {
        name: "ab".into(),
        partitions: vec![partition],
    };
    let response = ListOffsetsResponse {
        throttle_time_ms: 9,
        topics: vec![topic],
    };
    let bytes =
        "00000009 02 036162 02 00000001 004e 0000000000000005 0000000000000006 00000007 00 00 00";
    response_is::<ListOffsetsRequest>(response.clone(), 10, bytes);
    response_is::<ListOffsetsRequest>(response, 11, bytes);
}

#[test]
fn describe_log_dirs_5_tells_of_cordoned_directories() {
    let topic = DescribableLogDirTopic {
        topic: "ab".into(),
        partitions: vec![1],
    };
    let request = DescribeLogDirsRequest {
        topics: Some(vec![topic]),
    };
    request_is(request, 5, "02 036162 02 00000001 00 00");
    request_is(DescribeLogDirsRequest { topics: None }, 5, "00 00");

    let partition = DescribeLogDirsPartition {
        partition_index: 1,
        partition_size: 2,
        offset_lag: 3,
        is_future_key: true,
    };
    let topic = DescribeLogDirsTopic {
        name: "ab".into(),
        partitions: vec![partition],
    };
    let dir = DescribeLogDirsResult {
        error_code: ErrorCode::None,
        log_dir: "/d".into(),
        topics: vec![topic],
        total_bytes: 4,
        usable_bytes: 5,
        is_cordoned: true,
    };
    let response = DescribeLogDirsResponse {
        throttle_time_ms: 9,
        error_code: ErrorCode::None,
        results: vec![dir],
    };
    let bytes = "00000009 0000 02 0000 032f64
        02 036162 02 00000001 0000000000000002 0000000000000003 01 00 00
        0000000000000004 0000000000000005 01 00 00";
    response_is::<DescribeLogDirsRequest>(response, 5, bytes);
}

#[test]
fn offset_commit_10_names_topics_by_id() {
    let partition = OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: 2,
        committed_leader_epoch: 3,
        committed_metadata: Some("m".into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        topic_id: ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: 4,
        member_id: "i".into(),
        group_instance_id: None,
        topics: vec![topic],
        ..Default::default()
    };
    let bytes = "0267 00000004 0269 00 02 11111111111111111111111111111111
        02 00000001 0000000000000002 00000003 026d 00 00 00";
    request_is(request, 10, bytes);
}

#[test]
fn offset_fetch_10_names_topics_by_id() {
    let topic = OffsetFetchRequestGroupTopic {
        topic_id: ID,
        partition_indexes: vec![1],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        member_id: Some("i".into()),
        member_epoch: 4,
        topics: Some(vec![topic]),
    };
    let request = OffsetFetchRequest {
        groups: vec![group],
        require_stable: true,
        ..Default::default()
    };
    let bytes = "02 0267 0269 00000004 02 11111111111111111111111111111111 02 00000001 00 00 01 00";
    request_is(request, 10, bytes);
}

#[test]
fn an_absent_struct_is_one_byte() {
    let mut request = DescribeTopicPartitionsRequest::default();
    request_is(request.clone(), 0, "01 000007d0 ff 00");
    request.cursor = Some(Box::new(DescribeTopicPartitionsCursor {
        topic_name: "ab".into(),
        partition_index: 1,
    }));
    request_is(request, 0, "01 000007d0 01 036162 00000001 00 00");
}

#[test]
fn add_raft_voter_1_says_whether_it_waits_for_the_commit() {
    let listener = AddRaftVoterListener {
        name: "P".into(),
        host: "h".into(),
        port: 9091,
    };
    let request = AddRaftVoterRequest {
        cluster_id: Some("c".into()),
        timeout_ms: 5,
        voter_id: 3,
        voter_directory_id: ID,
        listeners: vec![listener],
        ack_when_committed: true,
    };
    let id = "11".repeat(16);
    let bytes = format!("0263 00000005 00000003 {id} 02 0250 0268 2383 00");
    request_is(request.clone(), 0, &format!("{bytes} 00"));
    let request = AddRaftVoterRequest {
        ack_when_committed: false,
        ..request
    };
    request_is(request, 1, &format!("{bytes} 00 00"));
    response_is::<AddRaftVoterRequest>(AddRaftVoterResponse::default(), 1, "00000000 0000 00 00");
}

#[test]
fn null_is_written_as_empty_and_refused_where_the_version_does_not_know_it() {
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    assert_eq!(write::<MetadataRequest>(&all, 0), hex("00000000"));
    assert_eq!(write::<MetadataRequest>(&all, 1), hex("ffffffff"));
    let refused = MetadataRequest::decode(hex("ffffffff"), 0).unwrap_err();
    assert_eq!(refused.field, "MetadataRequest.topics");
    assert_eq!(refused.problem, Problem::UnexpectedNull);
}

#[test]
fn a_tagged_field_must_fill_its_size_and_unknown_ones_are_skipped() {
    let plain = "00000000 00000000 7fffffff 00 00000000 ffffffff 01 01 01";
    let request = |tags: &str| FetchRequest::decode(hex(&format!("{plain} {tags}")), 15);
    let default = FetchRequest::default();
    assert_eq!(request("00"), Ok(default.clone()));
    assert_eq!(request("01 6302abcd"), Ok(default.clone()));
    let named = FetchRequest {
        cluster_id: Some("c".into()),
        ..default
    };
    assert_eq!(request("01 00020263"), Ok(named));
    let long = request("01 0003026300").unwrap_err();
    assert_eq!(long.field, "FetchRequest.cluster_id");
    assert_eq!(long.problem, Problem::Trailing(1));
}

#[test]
fn text_is_cut_at_a_letter_where_kafka_could_not_read_it() {
    let partition = |text: String| OffsetFetchResponseGroupPartition {
        metadata: Some(text.into()),
        ..Default::default()
    };
    let mut w = Writer::new(8, true);
    // The limit of 32767 bytes lies inside a letter of two.
    partition("\u{e9}".repeat(20_000)).write(&mut w);
    let mut r = milena_protocol::Reader::new(w.into_frame().to_vec().split_off(4).into(), 8, true);
    let read = OffsetFetchResponseGroupPartition::read(&mut r).unwrap();
    assert_eq!(read, partition("\u{e9}".repeat(16_383)));
    assert_eq!(
        read.metadata.as_deref().map(Str::from),
        Some("\u{e9}".repeat(16_383).into())
    );
}

#[test]
fn bytes_behind_a_request_are_ignored_and_behind_a_response_refused() {
    let bytes = hex("00000000 ff");
    assert!(MetadataRequest::decode(bytes, 0).is_ok());
    let bytes = hex("00000000 00000000 ff");
    let refused = MetadataRequest::decode_response(bytes, 0).unwrap_err();
    assert_eq!(refused.problem, Problem::Trailing(1));
}
