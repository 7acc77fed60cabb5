//! Who asks for a topic that isn't there makes it, unless the broker or the client doesn't want that.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::process::poll;
use e2e::wire::Wire;
use milena_protocol::ErrorCode;
use milena_protocol::api::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponseTopic,
};

const METADATA_VERSION: i16 = 9;
/// From the first time that a topic is asked for to its being there.
const MADE_WITHIN: Duration = Duration::from_secs(10);

fn ask(wire: &mut Wire, name: &str, allow: bool) -> Result<MetadataResponseTopic> {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(name.into()),
            ..Default::default()
        }]),
        allow_auto_topic_creation: allow,
        ..Default::default()
    };
    let topics = wire.ask(&request, METADATA_VERSION)?.topics;
    topics.into_iter().next().context("no topic in the answer")
}

fn names(wire: &mut Wire) -> Result<Vec<String>> {
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let topics = wire.ask(&all, METADATA_VERSION)?.topics.into_iter();
    Ok(topics
        .filter_map(|topic| Some(topic.name?.to_string()))
        .collect())
}

#[test]
fn a_topic_that_is_asked_for_is_made_with_the_brokers_number_of_partitions() -> Result<()> {
    let broker = Broker::start(&["--set", "num.partitions=3"])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    // A client that doesn't want it to be made is told that it isn't there.
    let refused = ask(&mut wire, "made", false)?;
    assert_eq!(refused.error_code, ErrorCode::UnknownTopicOrPartition);
    ensure!(names(&mut wire)?.is_empty(), "it was made all the same");
    let made = poll(MADE_WITHIN, || match ask(&mut wire, "made", true) {
        Ok(topic) if !topic.error_code.is_none() => None,
        other => Some(other),
    });
    let made = made.context("it is not made")??;
    assert_eq!(made.partitions.len(), 3, "num.partitions");
    assert_eq!(names(&mut wire)?, ["made"]);
    Ok(())
}

#[test]
fn no_topic_is_made_where_the_broker_does_not_allow_it() -> Result<()> {
    let broker = Broker::start(&["--set", "auto.create.topics.enable=false"])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    for attempt in 0..3 {
        let refused = ask(&mut wire, "nope", true)?.error_code;
        ensure!(
            refused == ErrorCode::UnknownTopicOrPartition,
            "attempt {attempt}: {refused}"
        );
    }
    ensure!(names(&mut wire)?.is_empty(), "{:?}", names(&mut wire)?);
    Ok(())
}
