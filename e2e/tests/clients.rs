//! Real clients against a real broker: each works, the broker restarts, and each goes on where it was.
//! Then Apache Kafka's kafka-dump-log reads what the broker has written.

use anyhow::{Context, Result};
use e2e::broker::Broker;
use e2e::suite::Suite;

/// Topics that a client creates by asking for them have as many partitions as the suites expect.
const SETTINGS: [&str; 2] = ["--set", "num.partitions=3"];

fn goes_on_after_a_restart(name: &'static str) -> Result<()> {
    let Some(suite) = Suite::installed(name)? else {
        return Ok(());
    };
    let mut broker = Broker::start(&SETTINGS)?;
    let bootstrap = broker.bootstrap();
    let told = |broker: &Broker| format!("the broker's log ends with\n{}", broker.log_tail());
    suite
        .run(&[&bootstrap, name, "before"])
        .with_context(|| told(&broker))?;
    broker.stop()?;
    broker.start_again()?;
    suite
        .run(&[&bootstrap, name, "after"])
        .with_context(|| told(&broker))?;
    broker.stop()?;
    match Suite::installed("dump-log")? {
        Some(dump_log) => dump_log.run(&[&broker.data().to_string_lossy()]),
        None => Ok(()),
    }
}

#[test]
fn apache_kafkas_own_tools_go_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("apache")
}

#[test]
fn kcat_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("kcat")
}

#[test]
fn confluent_kafka_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("confluent-kafka")
}

#[test]
fn kafka_python_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("kafka-python")
}

#[test]
fn aiokafka_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("aiokafka")
}

#[test]
fn pykafka_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("pykafka")
}

#[test]
fn todays_sarama_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("sarama")
}

#[test]
fn sarama_of_2021_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("sarama-1.28")
}

#[test]
fn kafka_go_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("kafka-go")
}

#[test]
fn franz_go_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("franz-go")
}

#[test]
fn kafkajs_goes_on_after_a_restart() -> Result<()> {
    goes_on_after_a_restart("kafkajs")
}
