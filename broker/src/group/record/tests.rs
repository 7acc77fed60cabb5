//! Golden bytes were laid out by hand from Kafka's OffsetCommitValue.json and GroupMetadataValue.json.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect::<Vec<u8>>()
        .into()
}

fn offset() -> CommittedOffset {
    CommittedOffset {
        offset: 258,
        leader_epoch: 3,
        metadata: "hi".to_owned(),
        commit_timestamp_ms: 1000,
        expire_timestamp_ms: None,
        topic_id: Uuid::ZERO,
    }
}

fn group() -> GroupMetadata {
    GroupMetadata {
        protocol_type: "consumer".to_owned(),
        generation: 5,
        protocol: Some("range".to_owned()),
        leader: Some("m".to_owned()),
        state_timestamp_ms: 7,
        members: vec![MemberMetadata {
            member_id: "m".to_owned(),
            instance_id: Some("i".to_owned()),
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout_ms: 300_000,
            session_timeout_ms: 45_000,
            subscription: Bytes::from_static(&[1]),
            assignment: Bytes::from_static(&[2, 3]),
        }],
    }
}

#[test]
fn an_offset_record_has_kafkas_bytes() {
    let record = offset_record("g", "t", 9, Some(&offset()));
    assert_eq!(
        hex(&record.key),
        "0001 0001 67 0001 74 00000009".replace(' ', "")
    );
    let value = "0004 0000000000000102 00000003 03 6869 00000000000003e8 00";
    assert_eq!(hex(&record.value.unwrap()), value.replace(' ', ""));
}

#[test]
fn an_offset_of_a_known_topic_carries_its_id_as_tag_0() {
    let value = CommittedOffset {
        topic_id: Uuid([0xab; 16]),
        ..offset()
    };
    let bytes = offset_record("g", "t", 9, Some(&value)).value.unwrap();
    assert!(hex(&bytes).ends_with(&format!("010010{}", "ab".repeat(16))));
    assert_eq!(read_offset(&bytes).unwrap(), Some(value));
}

#[test]
fn an_offset_with_an_expiry_is_recorded_in_version_1() {
    let value = CommittedOffset {
        expire_timestamp_ms: Some(2000),
        leader_epoch: -1,
        ..offset()
    };
    let bytes = offset_record("g", "t", 9, Some(&value)).value.unwrap();
    let golden = "0001 0000000000000102 0002 6869 00000000000003e8 00000000000007d0";
    assert_eq!(hex(&bytes), golden.replace(' ', ""));
    assert_eq!(read_offset(&bytes).unwrap(), Some(value));
}

#[test]
fn every_old_offset_version_is_read() {
    let expect = |epoch, expiry| CommittedOffset {
        leader_epoch: epoch,
        expire_timestamp_ms: expiry,
        ..offset()
    };
    let (offset, rest) = ("0000000000000102", "0002 6869 00000000000003e8");
    let cases = [
        (format!("0000 {offset} {rest}"), expect(-1, None)),
        (
            format!("0001 {offset} {rest} 00000000000007d0"),
            expect(-1, Some(2000)),
        ),
        (
            format!("0001 {offset} {rest} ffffffffffffffff"),
            expect(-1, None),
        ),
        (format!("0002 {offset} {rest}"), expect(-1, None)),
        (format!("0003 {offset} 00000003 {rest}"), expect(3, None)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(
            read_offset(&unhex(&bytes)).unwrap(),
            Some(expected),
            "{bytes}"
        );
    }
    assert_eq!(read_offset(&unhex("0005 00")).unwrap(), None);
    assert!(read_offset(&unhex("0003 00")).is_err());
}

#[test]
fn a_group_record_has_kafkas_bytes() {
    let record = group_record("g", Some(&group()));
    assert_eq!(hex(&record.key), "0002 0001 67".replace(' ', ""));
    let value = "0003 0008 636f6e73756d6572 00000005 0005 72616e6765 0001 6d 0000000000000007 00000001 \
                 0001 6d 0001 69 0001 63 000a 2f3132372e302e302e31 000493e0 0000afc8 \
                 00000001 01 00000002 0203";
    let value = unhex(value);
    assert_eq!(record.value, Some(value.clone()));
    assert_eq!(read_group(&value).unwrap(), Some(group()));
}

#[test]
fn every_old_group_version_is_read() {
    let head = "0008 636f6e73756d6572 00000005 0005 72616e6765 0001 6d";
    let member = "0001 6d 0001 63 000a 2f3132372e302e302e31";
    let tail = "0000afc8 00000001 01 00000002 0203";
    let expect = |timestamp, rebalance_timeout_ms| {
        let mut group = group();
        group.state_timestamp_ms = timestamp;
        group.members[0].instance_id = None;
        group.members[0].rebalance_timeout_ms = rebalance_timeout_ms;
        group
    };
    let cases = [
        (
            format!("0000 {head} 00000001 {member} {tail}"),
            expect(-1, 45_000),
        ),
        (
            format!("0001 {head} 00000001 {member} 000493e0 {tail}"),
            expect(-1, 300_000),
        ),
        (
            format!("0002 {head} 0000000000000007 00000001 {member} 000493e0 {tail}"),
            expect(7, 300_000),
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(
            read_group(&unhex(&bytes)).unwrap(),
            Some(expected),
            "{bytes}"
        );
    }
    let flexible = "0004 09 636f6e73756d6572 00000005 06 72616e6765 02 6d 0000000000000007 02 \
                    02 6d 02 69 02 63 0b 2f3132372e302e302e31 000493e0 0000afc8 02 01 03 0203 00 00";
    assert_eq!(read_group(&unhex(flexible)).unwrap(), Some(group()));
}

#[test]
fn keys_read_back_and_foreign_ones_are_told_apart() {
    let key = read_key(&offset_record("g", "t", 9, None).key).unwrap();
    let (group, topic) = ("g".to_owned(), "t".to_owned());
    assert_eq!(
        key,
        Key::Offset {
            group,
            topic,
            partition: 9
        }
    );
    assert_eq!(
        read_key(&group_record("g", None).key).unwrap(),
        Key::Group("g".to_owned())
    );
    assert_eq!(read_key(&unhex("0003 0001 67")).unwrap(), Key::Unknown(3));
    assert!(read_key(&unhex("00")).is_err());
    assert!(read_key(&unhex("0002 0009 67")).is_err());
}
