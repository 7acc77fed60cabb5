//! `milena bench`: how fast a broker takes records and gives them, and how long one is on its way.

mod consume;
mod latency;
mod load;
mod produce;
mod raw;
mod report;

use std::time::Duration;

use clap::{Args, Subcommand};
use milena_client::admin::{NewTopic, When};
use milena_client::{Client, Error};
use milena_protocol::ErrorCode;

use super::failure::{Exit, Failure};
use super::target::{ClusterArgs, duration};

/// Measure a broker: any Kafka.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Write records as fast as the broker takes them, or at a given rate
    Produce(produce::Produce),
    /// Read records as fast as the broker gives them; that has no latencies
    Consume(consume::Consume),
    /// Write at a fixed rate and measure each record's way from producer to consumer
    Latency(latency::Latency),
}

/// What is written, in every benchmark that writes.
#[derive(Debug, Clone, Args)]
struct TopicChoice {
    /// The topic
    #[arg(short, long, default_value = "milena-bench")]
    topic: String,
    /// Partitions of the topic if it is not there yet; then it is created
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    partitions: i32,
    /// Replicas of each partition if the topic is not there yet [default: the broker's]
    #[arg(long)]
    replication_factor: Option<i16>,
}

/// When a benchmark ends.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
struct Until {
    /// Stop after so many records [default: 1000000; those that are there where they are read]
    #[arg(short = 'n', long)]
    records: Option<u64>,
    /// Stop after so long
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
}

/// Records of a benchmark that nobody told when to stop: Kafka's own tools' usual number.
const RECORDS_DEFAULT: u64 = 1_000_000;

impl Until {
    /// How many records at the most.
    fn records(&self) -> u64 {
        match self.duration {
            Some(_) => u64::MAX,
            None => self.records.unwrap_or(RECORDS_DEFAULT),
        }
    }
}

/// Runs the command.
pub async fn run(args: BenchArgs) -> Result<(), Failure> {
    match args.command {
        BenchCommand::Produce(command) => produce::run(&args.cluster, command).await,
        BenchCommand::Consume(command) => consume::run(&args.cluster, command).await,
        BenchCommand::Latency(command) => latency::run(&args.cluster, command).await,
    }
}

/// How long a topic that was just created may take to have all its leaders.
const LEADERS_WITHIN: Duration = Duration::from_secs(30);

impl TopicChoice {
    /// The topic's partitions with a leader each; creates it if it is not there.
    async fn ready(&self, client: &Client) -> Result<Vec<i32>, Failure> {
        let topic = NewTopic {
            name: self.topic.clone(),
            partitions: Some(self.partitions),
            replication_factor: self.replication_factor,
            configs: Vec::new(),
        };
        if let Err(Error::UnknownTopic { .. }) = client.topic(&self.topic).await {
            match client.create_topic(&topic, false).await {
                Err(error) if error.code() != Some(ErrorCode::TopicAlreadyExists) => {
                    return Err(Failure::explain(client, error).await);
                }
                _ => {}
            }
        }
        let begun = std::time::Instant::now();
        loop {
            let cluster = client.refresh(&[&self.topic]).await?;
            if let Some(topic) = cluster.topics.get(&self.topic)
                && topic
                    .partitions
                    .iter()
                    .all(|partition| partition.leader.is_some())
            {
                let indexes: Vec<i32> = topic
                    .partitions
                    .iter()
                    .map(|partition| partition.index)
                    .collect();
                // A leader may have to hear that it is one: it has when it knows its offsets.
                let led: Vec<_> = indexes
                    .iter()
                    .map(|&index| (self.topic.clone(), index))
                    .collect();
                match client.offsets(&led, When::End).await {
                    // Another broker than the one that was asked before: it has not heard of the topic yet.
                    Err(Error::UnknownTopic { .. }) => {}
                    Err(error) => return Err(error.into()),
                    Ok(_) => return Ok(indexes),
                }
            }
            if begun.elapsed() > LEADERS_WITHIN {
                let text = format!("topic {:?} has partitions without a leader", self.topic);
                return Err(Failure::new(Exit::TimedOut, text));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
