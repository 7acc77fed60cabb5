//! `milena bench produce`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use milena_client::{Client, Producer, ProducerOptions, Record};

use super::load::{Pace, value};
use super::raw;
use super::report::Meter;
use super::{TopicChoice, Until};
use crate::cli::failure::{Exit, Failure};
use crate::cli::produce::{AcksArg, Codec};
use crate::cli::target::{ClusterArgs, duration};

/// The largest record or batch that can be asked for, in bytes.
const BYTES_MAX: i64 = 100_000_000;

/// Write records.
#[derive(Debug, Clone, Args)]
pub(super) struct Produce {
    #[command(flatten)]
    pub topic: TopicChoice,
    #[command(flatten)]
    pub until: Until,
    /// Bytes of each record's value
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=BYTES_MAX))]
    pub record_size: u32,
    /// Bytes of a batch
    #[arg(long, value_name = "BYTES", default_value_t = 16384, value_parser = clap::value_parser!(u32).range(1..=BYTES_MAX))]
    pub batch_size: u32,
    /// How long a batch waits to be filled
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration)]
    linger: Duration,
    /// When the broker answers
    #[arg(long, value_enum, default_value_t = AcksArg::Leader)]
    pub acks: AcksArg,
    /// Let the broker drop what it has stored already; needs --acks all
    #[arg(long)]
    pub idempotent: bool,
    /// How batches are compressed
    #[arg(short = 'z', long, value_enum, default_value_t = Codec::None)]
    pub compression: Codec,
    /// Clients, each with a connection of its own to every leader
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: u16,
    /// The most records a second, all clients together
    #[arg(short, long, value_name = "RECORDS/S")]
    pub rate: Option<f64>,
    /// Send batches made beforehand, five in flight, so that the broker is what is measured
    #[arg(long)]
    pub prebuilt: bool,
}

/// Runs the command.
pub(super) async fn run(cluster: &ClusterArgs, bench: Produce) -> Result<(), Failure> {
    if bench.idempotent && bench.acks != AcksArg::All {
        let failure = Failure::new(Exit::Usage, "an idempotent producer needs acks=all");
        return Err(failure.hint("give --acks all too"));
    }
    if bench
        .rate
        .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
    {
        return Err(Failure::new(Exit::Usage, "--rate must be more than 0"));
    }
    let client = cluster.reach().await?;
    let partitions = bench.topic.ready(&client).await?;
    if bench.prebuilt {
        let meter = raw::produce(&client, &bench, &partitions).await?;
        return meter
            .finish("produce (prebuilt batches)")
            .print(cluster.output);
    }
    let meter = Arc::new(Meter::start(bench.until.records()));
    by_producers(cluster, &bench, &meter).await?;
    meter.finish("produce").print(cluster.output)
}

async fn by_producers(
    cluster: &ClusterArgs,
    bench: &Produce,
    meter: &Arc<Meter>,
) -> Result<(), Failure> {
    let clients = u64::from(bench.connections);
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..clients {
        let client = Client::new(cluster.client_options());
        let options = options(bench, meter.clone());
        let producer = Producer::start(client, options).await?;
        let share = share(bench.until.records(), clients, index);
        tasks.spawn(send(producer, bench.clone(), share));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|bug| Failure::new(Exit::Failed, bug.to_string()))??;
    }
    Ok(())
}

/// The records of client `index` when `count` share `records`.
fn share(records: u64, count: u64, index: u64) -> u64 {
    match records {
        u64::MAX => u64::MAX,
        _ => records / count + u64::from(index < records % count),
    }
}

fn options(bench: &Produce, meter: Arc<Meter>) -> ProducerOptions {
    let value_bytes = u64::from(bench.record_size);
    ProducerOptions {
        acks: bench.acks.into(),
        idempotent: bench.idempotent,
        compression: bench.compression.into(),
        batch_bytes: bench.batch_size as usize,
        linger: bench.linger,
        on_delivery: Some(Arc::new(move |delivered| {
            let records = delivered.sent_at.len() as u64;
            match delivered.outcome {
                Ok(_) => {
                    meter.took_since(delivered.sent_at);
                    meter.add(records, records * value_bytes);
                }
                Err(_) => meter.fail(records),
            }
        })),
        ..ProducerOptions::default()
    }
}

async fn send(producer: Producer, bench: Produce, records: u64) -> Result<(), Failure> {
    let record = Record::new(bench.topic.topic.as_str()).value(value(bench.record_size as usize));
    let pace = Pace::new(bench.rate.map(|rate| rate / f64::from(bench.connections)));
    let begun = Instant::now();
    let is_over = || {
        bench
            .until
            .duration
            .is_some_and(|duration| begun.elapsed() >= duration)
    };
    for index in 0..records {
        if is_over() {
            break;
        }
        let wait = pace.wait(index);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        // Its fate comes by `on_delivery`.
        drop(producer.send(record.clone()).await?);
    }
    producer.flush().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up_to_all_records() {
        let shares: Vec<_> = (0..3).map(|index| share(10, 3, index)).collect();
        assert_eq!(shares, [4, 3, 3]);
        assert_eq!(share(u64::MAX, 3, 0), u64::MAX);
    }
}
