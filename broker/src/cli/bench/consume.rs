//! `milena bench consume`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use milena_client::admin::{Offsets, When};
use milena_client::{Client, Consumer, ConsumerOptions, Error};

use super::Until;
use super::raw::{self, Reading};
use super::report::Meter;
use crate::cli::failure::{Exit, Failure};
use crate::cli::target::ClusterArgs;

/// Read records from the topic's beginning.
#[derive(Debug, Clone, Args)]
pub(super) struct Consume {
    /// The topic
    #[arg(short, long, default_value = "milena-bench")]
    topic: String,
    #[command(flatten)]
    until: Until,
    /// Clients, each with a connection of its own, that share the partitions
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// The most that one answer brings
    #[arg(long, value_name = "BYTES", default_value_t = 50 << 20)]
    max_bytes: i32,
    /// The most that one answer brings of a partition
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    partition_max_bytes: i32,
    /// Only count records by their batches' headers, so that the broker is what is measured
    #[arg(long, alias = "prebuilt")]
    headers_only: bool,
}

/// Runs the command. Without --records it reads what the topic has now, once.
pub(super) async fn run(cluster: &ClusterArgs, bench: Consume) -> Result<(), Failure> {
    let client = cluster.reach().await?;
    let topic = match client.topic(&bench.topic).await {
        Ok(topic) => topic,
        Err(error) => return Err(Failure::explain(&client, error).await),
    };
    let indexes = topic.partitions.iter().map(|partition| partition.index);
    let partitions: Vec<_> = indexes.map(|index| (bench.topic.clone(), index)).collect();
    let starts = client.offsets(&partitions, When::Start).await?;
    let ends = client.offsets(&partitions, When::End).await?;
    let records = records(&bench, &starts, &ends)?;
    let deadline = bench
        .until
        .duration
        .map(|duration| Instant::now() + duration);
    let meter = Arc::new(Meter::start(records));
    if bench.headers_only {
        let reading = Reading {
            topic: &bench.topic,
            positions: &starts,
            ends: &ends,
            records,
            deadline,
            connections: usize::from(bench.connections),
            max_bytes: bench.max_bytes,
            partition_max_bytes: bench.partition_max_bytes,
        };
        raw::consume(&client, &reading, &meter).await?;
        return meter.finish("consume (headers only)").print(cluster.output);
    }
    let clients = usize::from(bench.connections).min(partitions.len());
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..clients {
        let own = starts
            .clone()
            .into_iter()
            .skip(index)
            .step_by(clients)
            .collect();
        let client = Client::new(cluster.client_options());
        let options = ConsumerOptions {
            max_bytes: bench.max_bytes,
            partition_max_bytes: bench.partition_max_bytes,
            ..ConsumerOptions::default()
        };
        let consumer = Consumer::new(client, options);
        let (meter, ends) = (meter.clone(), ends.clone());
        tasks.spawn(read(consumer, (own, ends), meter, records, deadline));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|bug| Failure::new(Exit::Failed, bug.to_string()))??;
    }
    meter.finish("consume").print(cluster.output)
}

/// How many records to read: those that are there, unless something else is asked for.
fn records(bench: &Consume, starts: &Offsets, ends: &Offsets) -> Result<u64, Failure> {
    if bench.until.duration.is_some() {
        return Ok(u64::MAX);
    }
    let there: i64 = ends
        .iter()
        .map(|(partition, end)| end - starts[partition])
        .sum();
    let there = u64::try_from(there).unwrap_or(0);
    let wanted = bench.until.records.unwrap_or(there);
    if wanted > there || there == 0 {
        let text = format!("topic {:?} has only {there} records", bench.topic);
        return Err(Failure::new(Exit::Usage, text).hint("`milena bench produce` writes more"));
    }
    Ok(wanted)
}

/// Reads until its partitions' ends at the latest: what transactions and compaction leave are offsets without a record.
async fn read(
    mut consumer: Consumer,
    (positions, ends): (Offsets, Offsets),
    meter: Arc<Meter>,
    records: u64,
    deadline: Option<Instant>,
) -> Result<(), Error> {
    consumer.assign(positions);
    let is_at_end = |consumer: &Consumer| {
        let mut positions = consumer.positions().iter();
        positions.all(|(partition, position)| ends.get(partition) <= Some(position))
    };
    let is_over = |consumer: &Consumer| match deadline {
        Some(deadline) => Instant::now() >= deadline,
        None => is_at_end(consumer),
    };
    while meter.records() < records && !is_over(&consumer) {
        for fetched in consumer.poll().await? {
            let read = fetched.records()?;
            let values = read.iter().filter_map(|record| record.value.as_ref());
            let bytes: usize = values.map(Bytes::len).sum();
            meter.add(read.len() as u64, bytes as u64);
        }
    }
    Ok(())
}
