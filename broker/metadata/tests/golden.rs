//! Every version of every record that was ever written stays readable, and today's are written as they were.

use milena_metadata::{Levels, Record, RecordError};

/// One line a version. Lines are added, never changed.
const EVER_WRITTEN: &[&str] = &[
    r#"{"type":"cluster","version":1,"cluster_id":"uXrgk6mQQqyZ-eZ9mAJkmQ"}"#,
    r#"{"type":"broker","version":1,"id":1,"epoch":7,"incarnation":"AAAAAAAAAAAAAAAAAAAAAQ","endpoints":[{"listener":"PLAINTEXT","host":"localhost","port":9092,"security_protocol":"PLAINTEXT"}],"node":"n","rack":null,"pool":null,"directories":["AAAAAAAAAAAAAAAAAAAABA"],"software":"0.1.0","last_end":"clean","fenced":false,"draining":false}"#,
    r#"{"type":"broker_state","version":1,"id":1,"epoch":7,"fenced":true,"draining":false}"#,
    r#"{"type":"topic","version":1,"id":"AAAAAAAAAAAAAAAAAAAACA","name":"orders"}"#,
    r#"{"type":"topic_removed","version":1,"id":"AAAAAAAAAAAAAAAAAAAACA"}"#,
    r#"{"type":"partition","version":1,"topic":"AAAAAAAAAAAAAAAAAAAACA","partition":0,"replicas":[{"broker":1,"directory":"AAAAAAAAAAAAAAAAAAAABA"}],"isr":[1],"elr":[],"leader":1,"last_leader":null,"leader_epoch":2,"partition_epoch":3}"#,
    r#"{"type":"config","version":1,"resource":"topic","name":"orders","key":"retention.ms","value":"1000"}"#,
    r#"{"type":"config","version":1,"resource":"broker","name":"","key":"log.retention.ms","value":null}"#,
    r#"{"type":"producer_ids","version":1,"broker":1,"broker_epoch":7,"next":1000}"#,
    r#"{"type":"feature","version":1,"name":"milena.version","level":1}"#,
    r#"{"type":"broker_state","version":1,"id":1,"epoch":7,"fenced":false,"draining":false,"stopping":true}"#,
    r#"{"type":"broker_state","version":1,"id":1,"epoch":7,"fenced":false,"draining":true,"directories":["AAAAAAAAAAAAAAAAAAAABA"]}"#,
    r#"{"type":"broker_removed","version":1,"id":1,"epoch":7}"#,
    r#"{"type":"partition","version":1,"topic":"AAAAAAAAAAAAAAAAAAAACA","partition":0,"replicas":[{"broker":1,"directory":"AAAAAAAAAAAAAAAAAAAABA"}],"isr":[1],"elr":[],"leader":1,"last_leader":1,"leader_epoch":2,"partition_epoch":3,"elected":"last_known"}"#,
    r#"{"type":"partition","version":2,"topic":"AAAAAAAAAAAAAAAAAAAACA","partition":0,"replicas":[{"broker":1,"directory":"AAAAAAAAAAAAAAAAAAAABA"},{"broker":2,"directory":"AAAAAAAAAAAAAAAAAAAAAA"}],"isr":[1],"elr":[],"leader":1,"last_leader":null,"leader_epoch":2,"partition_epoch":3,"reassignment":{"from":[1],"to":[2]}}"#,
    r#"{"type":"lease","version":1,"broker":1,"incarnation":"AAAAAAAAAAAAAAAAAAAAAQ","expires_ms":1700000000000}"#,
    r#"{"type":"lease","version":1,"broker":1,"incarnation":"AAAAAAAAAAAAAAAAAAAAAQ","expires_ms":1700000000000,"duration_ms":600000}"#,
    r#"{"type":"broker_state","version":2,"id":1,"epoch":7,"fenced":false,"draining":false,"rack":"zone-b"}"#,
    r#"{"type":"lease_ended","version":1,"broker":1,"incarnation":"AAAAAAAAAAAAAAAAAAAAAQ"}"#,
    r#"{"type":"cluster_state","version":1,"stopping":{"since":12,"until_ms":1700000000000}}"#,
    r#"{"type":"cluster_state","version":1,"stopping":null}"#,
    r#"{"type":"broker","version":1,"id":1,"epoch":7,"incarnation":"AAAAAAAAAAAAAAAAAAAAAQ","endpoints":[],"node":"n","rack":null,"pool":null,"directories":["AAAAAAAAAAAAAAAAAAAABA"],"software":"0.1.0","levels":{"min":1,"max":2},"last_end":"clean","fenced":false,"draining":false}"#,
    r#"{"type":"partition","version":3,"topic":"AAAAAAAAAAAAAAAAAAAACA","partition":0,"replicas":[{"broker":1,"directory":"AAAAAAAAAAAAAAAAAAAABA"}],"isr":[1],"elr":[],"leader":null,"last_leader":1,"leader_epoch":3,"partition_epoch":4,"unopened":[1]}"#,
    r#"{"type":"broker_state","version":3,"id":1,"epoch":7,"fenced":false,"draining":false,"endpoints":[{"listener":"EXTERNAL","host":"10.0.0.2","port":31001,"security_protocol":"PLAINTEXT"}]}"#,
];

#[test]
fn every_record_ever_written_is_readable_and_written_the_same() {
    for line in EVER_WRITTEN {
        let record = Record::from_json(line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"));
        let mut written = Vec::new();
        record.write_json(&mut written);
        assert_eq!(std::str::from_utf8(&written).unwrap(), *line);
    }
}

#[test]
fn records_inside_a_document_are_written_and_read_as_on_lines_of_their_own() {
    let records: Vec<Record> = EVER_WRITTEN
        .iter()
        .map(|line| Record::from_json(line.as_bytes()).unwrap())
        .collect();
    let document = serde_json::to_string(&records).unwrap();
    assert_eq!(document, format!("[{}]", EVER_WRITTEN.join(",")));
    let read: Vec<Record> = serde_json::from_str(&document).unwrap();
    assert_eq!(read, records);
    let newer = serde_json::from_str::<Record>(r#"{"type":"topic","version":2,"later":1}"#);
    assert!(
        newer
            .unwrap_err()
            .to_string()
            .contains("newer than this software")
    );
}

#[test]
fn unknown_fields_are_skipped() {
    for line in EVER_WRITTEN {
        let longer = line.replacen(",\"version\":", ",\"later\":{\"a\":[1]},\"version\":", 1);
        assert_eq!(
            Record::from_json(longer.as_bytes()).unwrap(),
            Record::from_json(line.as_bytes()).unwrap()
        );
    }
}

#[test]
fn newer_versions_and_unknown_types_are_refused_by_name() {
    for line in [
        r#"{"type":"topic","version":2}"#,
        r#"{"type":"partition","version":4}"#,
        r#"{"type":"broker_state","version":4}"#,
        r#"{"type":"oracle","version":1}"#,
    ] {
        let error = Record::from_json(line.as_bytes()).unwrap_err();
        assert!(matches!(error, RecordError::Newer { .. }), "{error}");
        assert!(error.to_string().contains("start the version that wrote"));
    }
}

#[test]
fn what_is_no_record_is_refused() {
    for line in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"type":"broker_state","version":1,"id":-1,"epoch":7,"fenced":true,"draining":false}"#,
        r#"{"type":"topic","version":1,"id":"short","name":"orders"}"#,
        r#"{"type":"topic","version":1,"id":"AAAAAAAAAAAAAAAAAAAACA","name":"a b"}"#,
    ] {
        let error = Record::from_json(line.as_bytes()).unwrap_err();
        assert!(matches!(error, RecordError::Malformed(_)), "{line}");
    }
}

#[test]
fn a_broker_that_said_no_levels_knows_the_first() {
    let Ok(Record::Broker(broker)) = Record::from_json(EVER_WRITTEN[1].as_bytes()) else {
        panic!("the second line is a broker's")
    };
    assert_eq!(broker.levels, Levels { min: 1, max: 1 });
}
