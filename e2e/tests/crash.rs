//! kill -9 under load, again and again: what was acknowledged is there, once, and committed offsets hold. A log that is
//! compacted meanwhile keeps the last value of every key.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::broker::{Broker, binary};
use e2e::load::create_topic;
use e2e::suite::Suite;
use milena_client::admin::{Committed, When};
use milena_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, Producer, ProducerOptions, Record, StartAt,
};
use milena_protocol::records::Compression;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

const KILLS: usize = 50;
/// After so many the files are looked at, as they are at the end.
const KILLS_PER_CHECK: usize = 10;
/// What a producer sends before the next kill; more only where no commit is acknowledged by then.
const LOAD_TIME: Duration = Duration::from_millis(250);
/// So long the kill waits for a life's first acknowledged commit.
const COMMIT_LIMIT: Duration = Duration::from_secs(5);
/// Between a commit that failed and the next try.
const COMMIT_PAUSE: Duration = Duration::from_millis(10);
/// Lives with an acknowledged commit, of [`KILLS`]; the others are for a machine that stalls.
const COMMITTING_LIVES_MIN: usize = 45;
const TOPIC: &str = "ledger";
const GROUP: &str = "readers";
const PARTITIONS: i32 = 3;
const OFFSETS_PARTITIONS: i32 = 1;
/// Small segments, so that kills fall between and into rolls.
const SEGMENT_BYTES: &str = "1048576";
/// Records that one producer has under way.
const WINDOW: usize = 200;

const COMPACTED: &str = "latest";
/// What the folder has while a compaction writes, and while it puts what it has written in place; the kills wait for the
/// one and the other in turns.
const UNDER_WAY: [&str; 2] = [".log.cleaned", ".log.swap"];
const KILLED_COMPACTIONS: usize = 8;
/// After so many kills the files are looked at.
const COMPACTIONS_PER_CHECK: usize = 4;
const COMPACTION_LIMIT: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(1);
const KEYS: usize = 500;
/// So small that a compaction puts many of them in place.
const COMPACTED_SEGMENT_BYTES: &str = "16384";

/// What clients were told, over all lives of the broker.
#[derive(Default)]
struct Told {
    /// Partition and value of every acknowledged record, with its offset.
    acknowledged: BTreeMap<(i32, String), i64>,
    /// The group's offset, 0 before it has one.
    committed: i64,
    /// How many lives had a commit acknowledged.
    committing_lives: usize,
}

fn client(broker: &Broker) -> Client {
    let mut options = ClientOptions::new(&broker.bootstrap());
    options.deadline = Duration::from_secs(30);
    Client::new(options)
}

/// One life: an idempotent producer that must survive the kill, and commits, until the broker is killed.
async fn live_and_die(
    broker: &mut Broker,
    producer: &Producer,
    life: usize,
    told: &mut Told,
) -> Result<()> {
    let before = told.committed;
    let (acknowledge, acknowledged) = watch::channel(before);
    let committing = tokio::spawn(commit(client(broker), acknowledge));
    let mut deliveries = JoinSet::new();
    let (begun, mut sent) = (Instant::now(), 0);
    let is_commit_due = || begun.elapsed() < COMMIT_LIMIT && *acknowledged.borrow() == before;
    while begun.elapsed() < LOAD_TIME || is_commit_due() {
        let value = format!("{life}/{sent}");
        let mut record = Record::new(TOPIC).value(value.clone());
        record.partition = Some(sent % PARTITIONS);
        let delivery = producer.send(record).await?;
        deliveries.spawn(async move { (value, delivery.placed().await) });
        sent += 1;
        while deliveries.len() > WINDOW {
            note(&mut deliveries, told).await?;
        }
    }
    // Under way: the window's records, and a commit.
    broker.kill9()?;
    committing.abort();
    let ended = committing.await;
    ensure!(ended.is_err_and(|error| error.is_cancelled()));
    told.committed = *acknowledged.borrow();
    told.committing_lives += usize::from(told.committed > before);
    broker.start_again()?;
    told.committed = kept(broker, told.committed).await?;
    while !deliveries.is_empty() {
        note(&mut deliveries, told).await?;
    }
    Ok(())
}

type Placing = (String, Result<milena_client::Placed, milena_client::Error>);

/// Waits for one record's fate; the producer tries on across the kill, so that all are stored in the end.
async fn note(deliveries: &mut JoinSet<Placing>, told: &mut Told) -> Result<()> {
    let done = deliveries.join_next().await.context("none is under way")?;
    let (value, placed) = done?;
    let placed = placed.with_context(|| format!("record {value}"))?;
    told.acknowledged
        .insert((placed.partition, value), placed.offset);
    Ok(())
}

/// Commits one offset after the other, each until it is acknowledged.
async fn commit(client: Client, acknowledged: watch::Sender<i64>) -> Infallible {
    loop {
        let next = *acknowledged.borrow() + 1;
        let offset = Committed {
            offset: next,
            leader_epoch: -1,
            metadata: "kept".to_owned(),
        };
        let offsets = BTreeMap::from([((TOPIC.to_owned(), 0), offset)]);
        match client.commit(GROUP, None, &offsets).await {
            Ok(()) => _ = acknowledged.send_replace(next),
            Err(_) => sleep(COMMIT_PAUSE).await,
        }
    }
}

/// The group's offset, which must be the last one that was acknowledged, or that of the commit which was under way at
/// the kill.
async fn kept(broker: &Broker, acknowledged: i64) -> Result<i64> {
    let mut committed = client(broker).committed(GROUP).await?;
    let found = committed.remove(&(TOPIC.to_owned(), 0));
    let offset = found.as_ref().map_or(0, |found| found.offset);
    ensure!(
        offset == acknowledged || offset == acknowledged + 1,
        "{acknowledged} was committed, {found:?} is there"
    );
    ensure!(found.is_none_or(|found| found.metadata == "kept"));
    Ok(offset)
}

/// Everything in the topic: partition and value, with the offset; each may be there once.
async fn stored(broker: &Broker) -> Result<BTreeMap<(i32, String), i64>> {
    let client = client(broker);
    let partitions: Vec<_> = (0..PARTITIONS).map(|p| (TOPIC.to_owned(), p)).collect();
    let ends = client.offsets(&partitions, When::End).await?;
    let mut consumer = Consumer::new(client, ConsumerOptions::default());
    consumer
        .start(&partitions, StartAt::When(When::Start))
        .await?;
    let mut found = BTreeMap::new();
    while consumer.positions() != &ends {
        for fetched in consumer.poll().await? {
            for record in fetched.records()? {
                let value = record.value.context("a record without its value")?;
                let value = String::from_utf8(value.to_vec())?;
                let before = found.insert((fetched.partition, value.clone()), record.offset);
                ensure!(
                    before.is_none(),
                    "{value} is stored twice in partition {}: at {before:?} and {}",
                    fetched.partition,
                    record.offset
                );
            }
        }
    }
    Ok(found)
}

/// `TOPIC-PARTITION`: the topic's, and where offsets are kept.
fn is_of_a_partition(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let number = name.rsplit_once('-').map(|(_, number)| number);
    folder.is_dir() && number.is_some_and(|number| number.parse::<i32>().is_ok())
}

/// Whatever `kafka-dump-log` reads of a partition.
fn log_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        let kind = path.extension().unwrap_or_default().to_string_lossy();
        if ["log", "index", "timeindex", "txnindex", "snapshot"].contains(&&*kind) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Has `milena log dump` and `kafka-dump-log` look at the files of a broker that is stopped, with so many partitions that
/// have a log; how many there are.
fn check_files(broker: &Broker, partitions: i32) -> Result<usize> {
    let mut files = Vec::new();
    let mut folders = 0;
    for folder in std::fs::read_dir(broker.data())? {
        let folder = folder?.path();
        if is_of_a_partition(&folder) {
            let found = log_files(&folder)?;
            ensure!(found.len() > 2, "no log files in {}", folder.display());
            files.extend(found);
            folders += 1;
        }
    }
    ensure!(
        folders == partitions,
        "{folders} partitions, not {partitions}"
    );
    let dump = Command::new(binary()?)
        .args(["log", "dump"])
        .args(&files)
        .output()?;
    ensure!(
        dump.status.success(),
        "milena log dump: {}\n{}",
        dump.status,
        String::from_utf8_lossy(&dump.stderr)
    );
    if let Some(dump_log) = Suite::installed("dump-log")? {
        dump_log.run(&[&broker.data().to_string_lossy()])?;
    }
    Ok(files.len())
}

async fn kill_again_and_again(broker: &mut Broker) -> Result<Told> {
    let options = ProducerOptions {
        linger: Duration::from_millis(1),
        compression: Compression::Lz4,
        ..ProducerOptions::default()
    };
    let producer = Producer::start(client(broker), options).await?;
    let mut told = Told::default();
    for life in 0..KILLS {
        live_and_die(broker, &producer, life, &mut told)
            .await
            .with_context(|| format!("life {life}"))?;
        let kills = life + 1;
        if kills % KILLS_PER_CHECK == 0 && kills < KILLS {
            broker.stop()?;
            check_files(broker, PARTITIONS + OFFSETS_PARTITIONS)
                .with_context(|| format!("files after {kills} kills"))?;
            broker.start_again()?;
        }
    }
    Ok(told)
}

#[test]
fn fifty_kills_lose_no_acknowledged_record_and_repeat_none() -> Result<()> {
    let setting = format!("offsets.topic.num.partitions={OFFSETS_PARTITIONS}");
    let mut broker = Broker::start(&["--set", &setting])?;
    let configs = [("segment.bytes", SEGMENT_BYTES)];
    create_topic(&broker.bootstrap(), TOPIC, PARTITIONS, &configs)?;
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let told = runtime.block_on(kill_again_and_again(&mut broker))?;

    let found = runtime.block_on(stored(&broker))?;
    for ((partition, value), offset) in &told.acknowledged {
        let at = found.get(&(*partition, value.clone()));
        let at = at.with_context(|| format!("{value}, acknowledged at {offset}, is gone"))?;
        ensure!(
            *offset == -1 || at == offset,
            "{value} was acknowledged at {offset} and is at {at}"
        );
    }
    ensure!(!told.acknowledged.is_empty(), "nothing was acknowledged");
    ensure!(
        told.committing_lives >= COMMITTING_LIVES_MIN,
        "a commit was acknowledged in {} of {KILLS} lives",
        told.committing_lives
    );
    let kept = runtime.block_on(kept(&broker, told.committed))?;
    ensure!(
        kept == told.committed,
        "the group's offset changed after the last kill"
    );
    broker.stop()?;
    let files = check_files(&broker, PARTITIONS + OFFSETS_PARTITIONS)?;
    println!(
        "{KILLS} kills in {:?}: {} records acknowledged, {} commits in {} lives, {files} files valid",
        begun.elapsed(),
        told.acknowledged.len(),
        told.committed,
        told.committing_lives
    );
    Ok(())
}

/// Gives every key the values `first`, `first + 1` and so on, one after the other, until it is told to stop; the first that
/// was given to none. The producer tries on across a kill.
async fn overwrite(client: Client, first: usize, stop: watch::Receiver<bool>) -> Result<usize> {
    let options = ProducerOptions {
        batch_bytes: 2048,
        ..ProducerOptions::default()
    };
    let producer = Producer::start(client, options).await?;
    let mut value = first;
    while !*stop.borrow() {
        let mut deliveries = Vec::new();
        for key in 0..KEYS {
            let record = Record::new(COMPACTED).key(key.to_string());
            deliveries.push(producer.send(record.value(value.to_string())).await?);
        }
        for delivery in deliveries {
            delivery.placed().await?;
        }
        value += 1;
    }
    Ok(value)
}

/// Waits until a file of the compacted log has such a name.
async fn until_there(broker: &Broker, end: &str) -> Result<()> {
    let folder = broker.data().join(format!("{COMPACTED}-0"));
    let begun = Instant::now();
    loop {
        let names = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name());
        if names.any(|name| name.to_string_lossy().ends_with(end)) {
            return Ok(());
        }
        ensure!(begun.elapsed() < COMPACTION_LIMIT, "no {end} was seen");
        sleep(LOOK_PAUSE).await;
    }
}

/// The last value of each key.
async fn latest(broker: &Broker) -> Result<BTreeMap<String, String>> {
    let client = client(broker);
    let partitions = [(COMPACTED.to_owned(), 0)];
    let ends = client.offsets(&partitions, When::End).await?;
    let mut consumer = Consumer::new(client, ConsumerOptions::default());
    let start = StartAt::When(When::Start);
    consumer.start(&partitions, start).await?;
    let (mut found, mut behind) = (BTreeMap::new(), -1);
    while consumer.positions() != &ends {
        for fetched in consumer.poll().await? {
            for record in fetched.records()? {
                ensure!(
                    record.offset > behind,
                    "{} comes behind {behind}",
                    record.offset
                );
                behind = record.offset;
                let [key, value] = [record.key, record.value].map(|bytes| {
                    let bytes = bytes.context("a record without key or value")?;
                    Ok::<_, anyhow::Error>(String::from_utf8(bytes.to_vec())?)
                });
                found.insert(key?, value?);
            }
        }
    }
    Ok(found)
}

/// How many values each key got, and how many files were looked at.
async fn kill_compactions(broker: &mut Broker) -> Result<(usize, usize)> {
    let (mut next, mut files) = (0, 0);
    for kill in 0..KILLED_COMPACTIONS {
        let (stop, stops) = watch::channel(false);
        let writing = tokio::spawn(overwrite(client(broker), next, stops));
        until_there(broker, UNDER_WAY[kill % UNDER_WAY.len()]).await?;
        broker.kill9()?;
        broker.start_again()?;
        stop.send_replace(true);
        next = writing.await??;
        let found = latest(broker)
            .await
            .with_context(|| format!("after kill {kill}"))?;
        let last = (next - 1).to_string();
        let kept = found.values().filter(|value| **value == last).count();
        ensure!(
            found.len() == KEYS && kept == KEYS,
            "after kill {kill}, {kept} of {} keys have their last value {last}",
            found.len()
        );
        if (kill + 1) % COMPACTIONS_PER_CHECK == 0 {
            broker.stop()?;
            files += check_files(broker, 1).with_context(|| format!("files after kill {kill}"))?;
            broker.start_again()?;
        }
    }
    Ok((next, files))
}

#[test]
fn kills_amid_compactions_keep_the_last_value_of_every_key() -> Result<()> {
    let mut broker = Broker::start(&["--set", "log.cleaner.backoff.ms=20"])?;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", COMPACTED_SEGMENT_BYTES),
        ("index.interval.bytes", "512"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    create_topic(&broker.bootstrap(), COMPACTED, 1, &configs)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let begun = Instant::now();
    let (values, files) = runtime.block_on(kill_compactions(&mut broker))?;
    println!(
        "{KILLED_COMPACTIONS} compactions killed in {:?}: {values} values of {KEYS} keys, {files} files valid",
        begun.elapsed()
    );
    Ok(())
}
