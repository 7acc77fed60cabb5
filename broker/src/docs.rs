//! The page `docs/protocol.md`, made from the routing table: this test keeps it, and with `UPDATE_DOCS=1` writes it.

use std::fmt::Write as _;

use crate::api::ROUTES;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");

const TOP: &str = "\
# Kafka's protocol

<!-- Generated from the routing table in `broker/src/api.rs`: `make docs` -->

These APIs are served and advertised, in all versions listed. Versions are those of Apache Kafka's
[protocol guide](https://kafka.apache.org/protocol); the oldest ones, which Kafka 4 has given up, are served too. Any
other API or version closes the connection, with a line in the log, as in Kafka; ApiVersions in a version that is not
known is answered in version 0 with UNSUPPORTED_VERSION and the list.

| key | API | versions | here |
| --- | --- | --- | --- |
";

const REST: &str = "
Record batches of magic 2 are stored as they come but for offset, leader epoch and, where the topic says so, the
timestamp. Magic 0 and 1 are converted on their way in, and on their way out to Fetch below version 4. gzip, snappy, lz4
and zstd are taken and given; a compressed batch is opened only for conversion, for a topic's own `compression.type`,
for a compacted topic, where its timestamps are out of bounds, and to look for a time; elsewhere its CRC, lengths and
counts are checked, and not the records inside.

On one connection, answers come in the order of the requests.
";

/// What one broker without transactions and authorisation answers otherwise than a cluster of Kafka's.
const NOTES: &[(i16, &str)] = &[
    (0, "a transactional batch gets INVALID_TXN_STATE"),
    (1, "read_committed reads what read_uncommitted does"),
    (
        2,
        "the last stable offset is the high watermark; tiered offsets (-5, -6) are -1",
    ),
    (
        10,
        "for a transaction: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which clients take as final",
    ),
    (16, "all groups are of type classic"),
    (19, "a replication factor above the brokers is refused"),
    (
        22,
        "with a transactional id: TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    ),
    (
        32,
        "topics and brokers; loggers, client metrics and groups have no settings here",
    ),
    (
        35,
        "a directory that could not be used at the start has an error and no partitions",
    ),
    (57, "the one feature is milena.version"),
    (64, "a broker that runs or hosts replicas is refused"),
    (
        80,
        "the member has joined by itself; its listeners are not read, and the answer waits for the commit",
    ),
];

fn page() -> String {
    let mut routes: Vec<_> = ROUTES.iter().collect();
    routes.sort_by_key(|route| route.key);
    let mut page = TOP.to_owned();
    for route in routes {
        let (first, last) = (route.versions.start(), route.versions.end());
        let versions = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        let note = NOTES.iter().find(|(key, _)| *key == route.key);
        let note = note.map_or("", |(_, note)| note);
        // Writing to a string can't fail.
        let _ = writeln!(
            page,
            "| {} | {} | {versions} | {note} |",
            route.key, route.name
        );
    }
    page + REST
}

#[test]
fn the_page_of_the_protocol_is_the_routing_tables() {
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).expect("docs/protocol.md can be written");
    }
    let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(kept == page, "docs/protocol.md is out of date: make docs");
}
