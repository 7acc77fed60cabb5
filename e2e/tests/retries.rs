//! The client goes on by itself: through a broker's restart, and through other members' coming and going.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use milena_client::admin::{NewTopic, When};
use milena_client::group::{GroupConsumer, GroupOptions};
use milena_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, Fetched, Producer, ProducerOptions, Record,
    StartAt,
};
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tokio::time::timeout;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;
/// For all that a test waits for.
const LIMIT: Duration = Duration::from_secs(60);

async fn start() -> Result<Broker> {
    let broker = Broker::start(&["--set", "group.initial.rebalance.delay.ms=0"])?;
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: Some(PARTITIONS),
        replication_factor: None,
        configs: Vec::new(),
    };
    client(&broker).create_topic(&topic, false).await?;
    Ok(broker)
}

fn client(broker: &Broker) -> Client {
    Client::new(ClientOptions::new(&broker.bootstrap()))
}

fn all_partitions() -> Vec<(String, i32)> {
    (0..PARTITIONS)
        .map(|partition| (TOPIC.to_owned(), partition))
        .collect()
}

/// How often each value was consumed.
type Seen = BTreeMap<u64, usize>;

fn note(seen: &mut Seen, fetched: &[Fetched]) -> Result<()> {
    for fetched in fetched {
        for record in fetched.records()? {
            let value = record.value.context("a record without a value")?;
            let number: u64 = std::str::from_utf8(&value)?.parse()?;
            *seen.entry(number).or_default() += 1;
        }
    }
    Ok(())
}

fn once_each(seen: &Seen, count: u64) -> Result<()> {
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    ensure!(twice.is_empty(), "consumed more than once: {twice:?}");
    ensure!(seen.len() as u64 == count, "{} of {count}", seen.len());
    Ok(())
}

/// Sends numbers from 0, each when the one before it is stored; a full round through the partitions is announced.
async fn produce(client: Client, count: u64, announce: mpsc::UnboundedSender<u64>) -> Result<()> {
    let options = ProducerOptions {
        linger: Duration::ZERO,
        ..ProducerOptions::default()
    };
    let producer = Producer::start(client, options).await?;
    for number in 0..count {
        let record = Record {
            partition: Some((number % PARTITIONS as u64) as i32),
            ..Record::new(TOPIC).value(number.to_string())
        };
        let sent = producer.send(record).await?;
        let placed = sent.placed().await;
        placed.with_context(|| format!("record {number}"))?;
        announce.send(number).ok();
    }
    Ok(())
}

async fn until(announced: &mut mpsc::UnboundedReceiver<u64>, number: u64) -> Result<()> {
    while let Some(stored) = timeout(LIMIT, announced.recv()).await? {
        if stored >= number {
            return Ok(());
        }
    }
    anyhow::bail!("the producer ended before record {number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn producing_and_consuming_go_on_through_restarts_and_each_record_is_there_once() -> Result<()>
{
    const RECORDS: u64 = 600;
    let mut broker = start().await?;
    let mut consumer = Consumer::new(client(&broker), ConsumerOptions::default());
    let all = all_partitions();
    consumer.start(&all, StartAt::When(When::Start)).await?;
    let consuming = tokio::spawn(async move {
        let mut seen = Seen::new();
        while (seen.len() as u64) < RECORDS {
            note(&mut seen, &consumer.poll().await?)?;
        }
        anyhow::Ok(seen)
    });
    let (announce, mut announced) = mpsc::unbounded_channel();
    let producing = tokio::spawn(produce(client(&broker), RECORDS, announce));
    until(&mut announced, RECORDS / 6).await?;
    broker.stop()?;
    broker.start_again()?;
    until(&mut announced, RECORDS / 2).await?;
    broker.kill9()?;
    broker.start_again()?;
    timeout(LIMIT, producing).await???;
    let seen = timeout(LIMIT, consuming).await???;
    once_each(&seen, RECORDS)
}

/// A member that notes what it consumes until it is told to leave.
fn member(client: Client, seen: mpsc::UnboundedSender<Fetched>, leave: Arc<Notify>) -> Member {
    let owned = Arc::new(std::sync::Mutex::new(0));
    let shown = owned.clone();
    let work = tokio::task::spawn_local(async move {
        let mut options = GroupOptions::new("g");
        options.heartbeat_interval = Duration::from_millis(100);
        options.reset = When::Start;
        let topics = vec![TOPIC.to_owned()];
        let mut member = GroupConsumer::new(client, options, topics, ConsumerOptions::default());
        loop {
            *shown.lock().expect("nobody panics with it") = member.positions().len();
            let fetched = tokio::select! {
                fetched = member.poll() => fetched?,
                () = leave.notified() => break,
            };
            fetched
                .into_iter()
                .for_each(|fetched| drop(seen.send(fetched)));
        }
        Ok(member.close().await?)
    });
    Member { work, owned }
}

struct Member {
    work: tokio::task::JoinHandle<Result<()>>,
    owned: Arc<std::sync::Mutex<usize>>,
}

async fn until_owned(members: &[&Member]) -> Result<()> {
    let shared_out = async {
        loop {
            let owned = members
                .iter()
                .map(|member| *member.owned.lock().expect("nobody panics with it"));
            let owned: Vec<usize> = owned.collect();
            if owned.iter().sum::<usize>() == PARTITIONS as usize && !owned.contains(&0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, shared_out)
        .await
        .context("the partitions are not shared out")
}

#[tokio::test]
async fn records_are_consumed_once_each_while_members_come_and_go() -> Result<()> {
    LocalSet::new().run_until(come_and_go()).await
}

async fn come_and_go() -> Result<()> {
    const RECORDS: u64 = 1500;
    let broker = start().await?;
    let (sender, mut fetched) = mpsc::unbounded_channel();
    let (announce, mut announced) = mpsc::unbounded_channel();
    let leave: [Arc<Notify>; 3] = Default::default();
    let join = |place: usize| member(client(&broker), sender.clone(), leave[place].clone());
    let producing = tokio::spawn(produce(client(&broker), RECORDS, announce));
    let first = join(0);
    until_owned(&[&first]).await?;
    until(&mut announced, RECORDS / 10).await?;
    let second = join(1);
    until_owned(&[&first, &second]).await?;
    let third = join(2);
    until_owned(&[&first, &second, &third]).await?;
    leave[0].notify_one();
    first.work.await??;
    until_owned(&[&second, &third]).await?;
    timeout(LIMIT, producing).await???;
    let mut seen = Seen::new();
    while (seen.len() as u64) < RECORDS {
        let next = timeout(LIMIT, fetched.recv()).await;
        let next = next.with_context(|| format!("{} records so far", seen.len()))?;
        note(&mut seen, &[next.context("no member is left")?])?;
    }
    leave[1].notify_one();
    leave[2].notify_one();
    second.work.await??;
    third.work.await??;
    once_each(&seen, RECORDS)
}
