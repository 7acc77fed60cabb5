//! `milena bench latency`: from producer to consumer, at a fixed rate.
//!
//! Each value begins with the nanoseconds at which its record was due, by a clock that both ends share: a
//! producer that falls behind is part of what is measured.

#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use milena_client::admin::When;
use milena_client::{
    Client, Consumer, ConsumerOptions, Fetched, Producer, ProducerOptions, Record, StartAt,
};
use tokio::runtime::Handle;

use super::load::{Pace, value};
use super::report::Meter;
use super::{TopicChoice, Until};
use crate::cli::failure::{Exit, Failure};
use crate::cli::produce::AcksArg;
use crate::cli::target::{ClusterArgs, duration};

/// Bytes of a value that hold the time.
const STAMP_BYTES: usize = 8;
/// What is on its way when the last record was sent must come within this.
const TAIL_MAX: Duration = Duration::from_secs(30);
/// How long it runs where nobody says.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// Measure records end to end.
#[derive(Debug, Clone, Args)]
pub(super) struct Latency {
    #[command(flatten)]
    topic: TopicChoice,
    #[command(flatten)]
    until: Until,
    /// Records a second
    #[arg(short, long, value_name = "RECORDS/S", default_value_t = 5000.0)]
    rate: f64,
    /// Bytes of each record's value
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..=100_000_000))]
    record_size: u32,
    /// How long a batch waits to be filled
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = duration)]
    linger: Duration,
    /// When the broker answers
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    acks: AcksArg,
    /// Leave the records of this first time out of the latencies
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    warm_up: Duration,
}

impl Latency {
    fn check(&self) -> Result<(), Failure> {
        if !self.rate.is_finite() || self.rate <= 0.0 {
            return Err(Failure::new(Exit::Usage, "--rate must be more than 0"));
        }
        let seconds = self.records() as f64 / self.rate;
        if seconds <= self.warm_up.as_secs_f64() {
            let text = format!(
                "{} records take {seconds:.2} s, all of them within the warm-up of {:?}",
                self.records(),
                self.warm_up
            );
            let hint = "give more --records, a longer --duration, or --warm-up 0s";
            return Err(Failure::new(Exit::Usage, text).hint(hint));
        }
        Ok(())
    }

    fn records(&self) -> u64 {
        let duration = self.until.duration.unwrap_or(DURATION_DEFAULT);
        let by_time = (duration.as_secs_f64() * self.rate) as u64;
        self.until.records.unwrap_or(by_time)
    }
}

/// Runs the command.
pub(super) async fn run(cluster: &ClusterArgs, bench: Latency) -> Result<(), Failure> {
    bench.check()?;
    let client = cluster.reach().await?;
    let indexes = bench.topic.ready(&client).await?;
    let topic = &bench.topic.topic;
    let partitions: Vec<_> = indexes
        .into_iter()
        .map(|index| (topic.clone(), index))
        .collect();
    // Connections of its own: what is behind a fetch that waits would wait too.
    let mut consumer = Consumer::new(cluster.client(), ConsumerOptions::default());
    consumer
        .start(&partitions, StartAt::When(When::End))
        .await?;
    let run = Arc::new(Run::new(&bench));
    let reading = tokio::spawn(read(consumer, run.clone()));
    let (sender, count) = (run.clone(), partitions.len() as u64);
    let output = cluster.output;
    let sending = tokio::task::spawn_blocking(move || {
        let sent = Handle::current().block_on(send(client, &bench, count, &sender));
        sender.is_sent.store(true, Ordering::Release);
        sent
    });
    sending
        .await
        .map_err(|bug| Failure::new(Exit::Failed, bug.to_string()))??;
    let received = tokio::time::timeout(TAIL_MAX, reading).await;
    let received = received.map_err(|_| {
        let text = format!("some records did not arrive within {TAIL_MAX:?}");
        Failure::new(Exit::TimedOut, text)
    })?;
    received.map_err(|bug| Failure::new(Exit::Failed, bug.to_string()))??;
    let name = "latency, producer to consumer";
    let report = match run.took() {
        Some(took) => run.meter.finish_after(name, took),
        None => run.meter.finish(name),
    };
    report.print(output)
}

/// What both ends share.
struct Run {
    clock: Instant,
    warm_until_ns: u64,
    /// By `clock`: when the first of the records that arrived was due.
    first_due_ns: AtomicU64,
    /// By `clock`: when the last of them arrived.
    last_arrival_ns: AtomicU64,
    meter: Meter,
    sent: AtomicU64,
    is_sent: AtomicBool,
}

impl Run {
    fn new(bench: &Latency) -> Self {
        Self {
            clock: Instant::now(),
            warm_until_ns: bench.warm_up.as_nanos() as u64,
            first_due_ns: AtomicU64::new(u64::MAX),
            last_arrival_ns: AtomicU64::new(0),
            meter: Meter::start(bench.records()),
            sent: AtomicU64::new(0),
            is_sent: AtomicBool::new(false),
        }
    }

    fn receive(&self, fetched: &Fetched) -> Result<(), Failure> {
        let now = self.clock.elapsed().as_nanos() as u64;
        for record in fetched.records()? {
            let value = record.value.unwrap_or_default();
            self.meter.add(1, value.len() as u64);
            let stamp = value.first_chunk::<STAMP_BYTES>();
            self.arrived(stamp.map_or(0, |stamp| u64::from_be_bytes(*stamp)), now);
        }
        Ok(())
    }

    fn arrived(&self, due_ns: u64, now_ns: u64) {
        self.first_due_ns.fetch_min(due_ns, Ordering::Relaxed);
        self.last_arrival_ns.fetch_max(now_ns, Ordering::Relaxed);
        if due_ns >= self.warm_until_ns {
            self.meter
                .took(Duration::from_nanos(now_ns.saturating_sub(due_ns)), 1);
        }
    }

    /// From when the first record was due to when the last arrived: what a fetch still waits for behind that is no part
    /// of it. `None` where none arrived.
    fn took(&self) -> Option<Duration> {
        let first = self.first_due_ns.load(Ordering::Relaxed);
        let last = self.last_arrival_ns.load(Ordering::Relaxed);
        (first < last).then(|| Duration::from_nanos(last - first))
    }

    /// Whether all that was sent and stored has arrived.
    fn is_over(&self) -> bool {
        let is_sent = self.is_sent.load(Ordering::Acquire);
        let arrived = self.meter.records() + self.meter.failed();
        is_sent && arrived >= self.sent.load(Ordering::Relaxed)
    }
}

fn options(bench: &Latency, run: &Arc<Run>) -> ProducerOptions {
    let run = run.clone();
    ProducerOptions {
        acks: bench.acks.into(),
        idempotent: bench.acks == AcksArg::All,
        linger: bench.linger,
        on_delivery: Some(Arc::new(move |delivered| {
            if delivered.outcome.is_err() {
                run.meter.fail(delivered.sent_at.len() as u64);
            }
        })),
        ..ProducerOptions::default()
    }
}

/// Sends at the rate, on a thread of its own: the runtime's timers turn by milliseconds, which is too coarse for
/// thousands a second.
async fn send(
    client: Client,
    bench: &Latency,
    partitions: u64,
    run: &Arc<Run>,
) -> Result<(), Failure> {
    let producer = Producer::start(client, options(bench, run)).await?;
    let filler = value(bench.record_size as usize);
    let topic: Arc<str> = bench.topic.topic.as_str().into();
    let pace = Pace::new(Some(bench.rate));
    end_sleeps_on_time();
    for index in 0..bench.records() {
        std::thread::sleep(pace.wait(index));
        let due = pace.due(index).unwrap_or(run.clock);
        let due = due.saturating_duration_since(run.clock).as_nanos() as u64;
        let mut value = filler.to_vec();
        value[..STAMP_BYTES].copy_from_slice(&due.to_be_bytes());
        let mut record = Record::new(topic.clone()).value(value);
        record.partition = Some((index % partitions) as i32);
        drop(producer.send(record).await?);
        run.sent.fetch_add(1, Ordering::Relaxed);
    }
    producer.flush().await;
    Ok(())
}

/// Linux lets this thread's sleeps end 50 µs late, unless it is told otherwise.
fn end_sleeps_on_time() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "records are sent up to 50 µs late");
    }
}

async fn read(mut consumer: Consumer, run: Arc<Run>) -> Result<(), Failure> {
    while !run.is_over() {
        for fetched in consumer.poll().await? {
            run.receive(&fetched)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_from_the_first_due_record_to_the_last_arrival() {
        let run = Run {
            clock: Instant::now(),
            warm_until_ns: 3_000,
            first_due_ns: AtomicU64::new(u64::MAX),
            last_arrival_ns: AtomicU64::new(0),
            meter: Meter::start(2),
            sent: AtomicU64::new(2),
            is_sent: AtomicBool::new(true),
        };
        assert_eq!(run.took(), None, "nothing has arrived");
        run.arrived(5_000, 9_000);
        run.arrived(2_000, 7_000);
        assert_eq!(run.took(), Some(Duration::from_nanos(7_000)));
    }
}
