//! What a benchmark tells: counts, rates and latencies; a progress bar meanwhile.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::output::{self, Format};

/// The longest latency that is told apart from longer ones.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Three digits: within a thousandth of the true value.
const LATENCY_DIGITS: u8 = 3;
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Counts that a benchmark's tasks and threads share.
pub struct Meter {
    begun: Instant,
    records: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    latencies_us: Mutex<Histogram<u64>>,
    bar: ProgressBar,
}

impl Meter {
    /// Begins now; shows a bar where a person sees stderr, of `records` where that is known.
    pub fn start(records: u64) -> Self {
        let bar = match records {
            u64::MAX => ProgressBar::no_length(),
            records => ProgressBar::new(records),
        };
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        bar.set_draw_target(target);
        let style = "{elapsed_precise} {wide_bar} {human_pos} of {human_len} records, {per_sec}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(REDRAW_EVERY);
        let histogram = Histogram::new_with_max(LATENCY_US_MAX, LATENCY_DIGITS);
        Self {
            begun: Instant::now(),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            latencies_us: Mutex::new(histogram.expect("the bounds above are a histogram's")),
            bar,
        }
    }

    /// Records and bytes that arrived.
    pub fn add(&self, records: u64, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let records = self.records.fetch_add(records, Ordering::Relaxed) + records;
        self.bar.set_position(records);
    }

    /// Records that did not.
    pub fn fail(&self, records: u64) {
        self.failed.fetch_add(records, Ordering::Relaxed);
    }

    /// Records that arrived so far.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Records that did not, so far.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How long so many records took.
    pub fn took(&self, latency: Duration, records: u64) {
        let micros = latency.as_micros().min(u128::from(LATENCY_US_MAX)) as u64;
        self.latencies_us
            .lock()
            .saturating_record_n(micros, records);
    }

    /// How long each of these records took, until now.
    pub fn took_since(&self, sent_at: &[Instant]) {
        let now = Instant::now();
        let mut latencies = self.latencies_us.lock();
        for &sent_at in sent_at {
            latencies.saturating_record(now.duration_since(sent_at).as_micros() as u64);
        }
    }

    /// The result from the start until now; `name` says what was measured.
    pub fn finish(&self, name: &str) -> Report {
        self.finish_after(name, self.begun.elapsed())
    }

    /// The result of what took so long.
    pub fn finish_after(&self, name: &str, took: Duration) -> Report {
        let seconds = took.as_secs_f64();
        self.bar.finish_and_clear();
        let (records, bytes) = (self.records(), self.bytes.load(Ordering::Relaxed));
        let latencies = self.latencies_us.lock();
        let quantile = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Report {
            benchmark: name.to_owned(),
            records,
            bytes,
            failed: self.failed(),
            seconds,
            records_per_second: records as f64 / seconds,
            mb_per_second: bytes as f64 / seconds / 1e6,
            latency_ms: (!latencies.is_empty()).then(|| Latencies {
                p50: quantile(0.5),
                p95: quantile(0.95),
                p99: quantile(0.99),
                p99_9: quantile(0.999),
                max: latencies.max() as f64 / 1000.0,
            }),
        }
    }
}

/// What a benchmark measured. Bytes are those of values, or of whole batches where those are prebuilt.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: String,
    records: u64,
    bytes: u64,
    failed: u64,
    seconds: f64,
    records_per_second: f64,
    mb_per_second: f64,
    latency_ms: Option<Latencies>,
}

#[derive(Debug, Serialize)]
struct Latencies {
    p50: f64,
    p95: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

impl Report {
    /// Prints it; records that failed are a failure.
    pub fn print(&self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Json => output::json(self)?,
            Format::Table => self.print_for_people()?,
        }
        match self.failed {
            0 => Ok(()),
            failed => {
                let exit = crate::cli::failure::Exit::Failed;
                Err(Failure::new(
                    exit,
                    format!("{failed} records were not stored"),
                ))
            }
        }
    }

    fn print_for_people(&self) -> Result<(), Failure> {
        output::line(&format!(
            "{}: {} records in {:.2} s: {:.0} records/s, {:.2} MB/s",
            self.benchmark, self.records, self.seconds, self.records_per_second, self.mb_per_second,
        ))?;
        match &self.latency_ms {
            Some(ms) => output::line(&format!(
                "latency in ms: p50 {:.2}  p95 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
                ms.p50, ms.p95, ms.p99, ms.p99_9, ms.max
            )),
            None => Ok(()),
        }
    }
}
