//! Real clients against a real broker: each works, the broker restarts under it, and each goes on where it was, in the
//! process that saw the restart and in one that comes after.
//! Then Apache Kafka's kafka-dump-log reads what the broker has written, and what it has compacted.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::load::{block_on, create_topic};
use e2e::suite::Suite;
use milena_client::{Client, ClientOptions, Producer, ProducerOptions, Record};
use milena_protocol::records::Compression;

/// Topics that a client creates by asking for them have as many partitions as the suites expect.
const SETTINGS: [&str; 2] = ["--set", "num.partitions=3"];
const SUITES_PARTITIONS: i32 = 3;

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
    create_topic(
        &bootstrap,
        &format!("{name}-during"),
        SUITES_PARTITIONS,
        &[],
    )?;
    suite
        .run_across(&[&bootstrap, name, "during"], || {
            broker.stop()?;
            broker.start_again()
        })
        .with_context(|| told(&broker))?;
    suite
        .run(&[&bootstrap, name, "after"])
        .with_context(|| told(&broker))?;
    broker.stop()?;
    dump_log(&broker)
}

/// Lets kafka-dump-log look into every file of a broker that is stopped.
fn dump_log(broker: &Broker) -> Result<()> {
    match Suite::installed("dump-log")? {
        Some(dump_log) => dump_log.run(&[&broker.data().to_string_lossy()]),
        None => Ok(()),
    }
}

const COMPACTED: &str = "compacted";
/// Rolls after a few batches.
const SEGMENT_BYTES: &str = "4096";
/// What the cleaner rests where nothing is to be cleaned.
const BACKOFF_MS: &str = "log.cleaner.backoff.ms=20";
/// For how long the cleaner may be at its work.
const COMPACTION_LIMIT: Duration = Duration::from_secs(60);
const GENERATIONS: usize = 30;
const KEYS: usize = 40;

/// Each generation has other values for the keys and deletes every third of them, by another codec than the last.
/// Where the log ends then.
async fn write_generations(bootstrap: &str) -> Result<i64> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    let mut end = 0;
    for generation in 0..GENERATIONS {
        let options = ProducerOptions {
            compression: [None, Gzip, Snappy, Lz4, Zstd][generation % 5],
            batch_bytes: 1024,
            ..ProducerOptions::default()
        };
        let client = Client::new(ClientOptions::new(bootstrap));
        let producer = Producer::start(client, options).await?;
        let mut deliveries = Vec::new();
        for key in 0..KEYS {
            let mut record = Record::new(COMPACTED).key(format!("key {key}"));
            if (key + generation) % 3 != 0 {
                record = record.value(format!("value {generation} of {key}"));
            }
            deliveries.push(producer.send(record).await?);
        }
        for delivery in deliveries {
            end = end.max(delivery.placed().await?.offset + 1);
        }
    }
    Ok(end)
}

/// Up to where the log has been compacted, as the broker's checkpoint says.
fn compacted_to(data: &Path) -> Result<i64> {
    let checkpoint = data.join("cleaner-offset-checkpoint");
    let text = match std::fs::read_to_string(checkpoint) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        read => read?,
    };
    let prefix = format!("{COMPACTED} 0 ");
    let offset = text.lines().find_map(|line| line.strip_prefix(&prefix));
    Ok(offset.map_or(Ok(0), str::parse)?)
}

#[test]
fn kafka_dump_log_finds_nothing_wrong_with_what_is_compacted_and_rolled() -> Result<()> {
    let mut broker = Broker::start(&["--set", BACKOFF_MS])?;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", SEGMENT_BYTES),
        ("index.interval.bytes", "256"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "0"),
    ];
    create_topic(&broker.bootstrap(), COMPACTED, 1, &configs)?;
    let mut end = 0;
    // What the second half overwrites is compacted already, and its tombstones are due to go.
    for half in 0..2 {
        let begun = Instant::now();
        let before = end;
        end = block_on(write_generations(&broker.bootstrap()))??;
        while compacted_to(&broker.data())? <= before {
            ensure!(
                begun.elapsed() < COMPACTION_LIMIT,
                "half {half}: compacted to {}, the log ends at {end}\n{}",
                compacted_to(&broker.data())?,
                broker.log_tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    ensure!(broker.metric("milena_compaction_reclaimed_bytes_total")? > 0.0);
    broker.stop()?;
    dump_log(&broker)?;
    // What the cleaner has written is opened, and written on.
    broker.start_again()?;
    block_on(write_generations(&broker.bootstrap()))??;
    broker.kill9()?;
    broker.start_again()?;
    broker.stop()?;
    dump_log(&broker)
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
