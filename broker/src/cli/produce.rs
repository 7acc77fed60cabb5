//! `milena produce`: records from lines of a file or standard input.

mod input;
mod tally;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, stdin};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use milena_client::{Acks, Client, Producer, ProducerOptions};
use milena_protocol::records::{Compression, Header};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::failure::{Exit, Failure};
use super::output::{self, Format};
use super::stop_asked::Ending;
use super::target::{ClusterArgs, duration};
use input::{Input, Lines};
use tally::Tally;

/// Lines read ahead of the producer.
const LINES_AHEAD: usize = 1024;
/// What they take together at the most: the longest of them, with its end.
const BYTES_AHEAD: usize = LINE_BYTES_MAX + 2;
/// The longest line: the producer's whole buffer, as Kafka's own takes no record beyond `buffer.memory`. What a topic
/// takes is usually far less (1 MiB), but that is the broker's to say, and counts what is left after compression.
const LINE_BYTES_MAX: usize = 32 << 20;

/// A line that a signal finds waiting, or on its way from the file, comes within this.
const LEFT_WITHIN: Duration = Duration::from_millis(100);
/// What was read is stored in this time after a signal, or it is not waited for.
const STORE_WITHIN: Duration = Duration::from_secs(5);

/// Write records, one a line.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The topic
    topic: String,
    /// A file with a record in each line [default: standard input]
    file: Option<PathBuf>,
    /// What a line is: `value`, `key:value`, or `json` with key, value, headers, partition, timestamp
    #[arg(short, long, value_enum, default_value_t = Input::Value)]
    format: Input,
    /// What stands between key and value
    #[arg(long, default_value = ":")]
    separator: String,
    /// A key or value of this text is null
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// One key for all records; of JSON lines for those without their own
    #[arg(short, long)]
    key: Option<String>,
    /// A header for all records
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<Header>,
    /// The partition [default: by the key, as Kafka's Java client decides]
    #[arg(short, long, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// When the broker answers
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    acks: AcksArg,
    /// How batches are compressed
    #[arg(short = 'z', long, value_enum, default_value_t = Codec::None)]
    compression: Codec,
    /// How long a batch waits to be filled
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration)]
    linger: Duration,
    /// A topic that is not there is left to the broker to create
    #[arg(long)]
    create: bool,
}

/// `--acks`, as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AcksArg {
    /// When all in-sync replicas have the records.
    #[value(alias = "-1")]
    All,
    /// When the leader has the records.
    #[value(name = "1", alias = "leader")]
    Leader,
    /// Never.
    #[value(name = "0", alias = "none")]
    None,
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Self {
        match acks {
            AcksArg::All => Self::All,
            AcksArg::Leader => Self::Leader,
            AcksArg::None => Self::None,
        }
    }
}

/// `--compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    Ok(Header {
        key: name.to_owned().into(),
        value: Some(value.to_owned().into()),
    })
}

/// Runs the command.
pub async fn run(args: ProduceArgs) -> Result<(), Failure> {
    args.cluster.reach().await?;
    let mut client_options = args.cluster.client_options();
    client_options.create_topics = args.create;
    let client = Client::new(client_options);
    // A wrong topic or partition is better told before the first line is typed.
    let topic = client.topic(&args.topic).await;
    let topic = match topic {
        Ok(topic) => topic,
        Err(error) => return Err(Failure::explain(&client, error).await),
    };
    if let Some(partition) = args.partition {
        topic.partition(partition)?;
    }
    let tally = Arc::new(Tally::default());
    let producer = Producer::start(client, options(&args, &tally)).await?;
    let mut ending = Ending::listen(STORE_WITHIN.min(args.cluster.timeout))?;
    let sent = send_all(&args, &producer, &tally, &mut ending).await;
    // What was sent before a line that can't be is stored all the same, and counted.
    let given_up = ending.within(producer.flush()).await.err();
    let counts = tally.counts();
    if args.cluster.output == Format::Json {
        output::json(&counts)?;
    }
    let done = match args.acks {
        AcksArg::None => "sent",
        AcksArg::Leader | AcksArg::All => "stored",
    };
    tally::outcome(counts, done, tally.first_error(), sent, given_up)
}

fn options(args: &ProduceArgs, tally: &Arc<Tally>) -> ProducerOptions {
    let tally = tally.clone();
    ProducerOptions {
        acks: args.acks.into(),
        idempotent: args.acks == AcksArg::All,
        compression: args.compression.into(),
        linger: args.linger,
        delivery_timeout: args.cluster.timeout,
        on_delivery: Some(Arc::new(move |delivered| {
            tally.count(delivered.sent_at.len(), delivered.outcome);
        })),
        ..ProducerOptions::default()
    }
}

/// Reads lines until they end, or a signal, and sends them. It fails where the signal finds lines left.
async fn send_all(
    args: &ProduceArgs,
    producer: &Producer,
    tally: &Tally,
    ending: &mut Ending,
) -> Result<(), Failure> {
    if args.key.is_some() && args.format == Input::KeyValue {
        let text = "--key and --format key:value both give each record its key";
        return Err(Failure::new(Exit::Usage, text).hint("leave one of them out"));
    }
    let lines = Lines {
        topic: args.topic.as_str().into(),
        format: args.format,
        separator: args.separator.clone(),
        null: args.null.clone(),
        key: args.key.clone().map(Into::into),
        headers: args.headers.clone(),
        partition: args.partition,
    };
    let mut source = open(args)?;
    let mut number: u64 = 0;
    loop {
        let line = match ending.asked() {
            Some(exit) => match timeout(LEFT_WITHIN, source.recv()).await {
                Ok(Some(_)) => return Err(cut_short(exit, number + 1)),
                Ok(None) | Err(_) => None,
            },
            None => tokio::select! {
                line = source.recv() => line,
                () = ending.signal() => continue,
            },
        };
        let Some(line) = line else { return Ok(()) };
        number += 1;
        let record = line?
            .within_bound()
            .and_then(|line| lines.record(line))
            .map_err(|problem| Failure::new(Exit::Usage, format!("line {number}: {problem}")))?;
        let sending = ending.within(producer.send(record)).await;
        sending.map_err(|exit| cut_short(exit, number))??;
        tally.queued(1);
    }
}

/// The name of the signal that a command exits with.
fn signal_of(exit: Exit) -> &'static str {
    match exit {
        Exit::Interrupted => "SIGINT",
        _ => "SIGTERM",
    }
}

fn cut_short(exit: Exit, next: u64) -> Failure {
    let text = format!("{} ended it before line {next} was sent", signal_of(exit));
    Failure::new(exit, text).hint(format!("`tail -n +{next}` gives the lines that are left"))
}

/// A line, or the beginning of one that is too long.
struct Line {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl Line {
    fn within_bound(self) -> Result<Vec<u8>, String> {
        match self.bytes.len() {
            ..=LINE_BYTES_MAX => Ok(self.bytes),
            _ => Err(format!(
                "it is longer than {LINE_BYTES_MAX} bytes, which is the most that a record may have"
            )),
        }
    }
}

/// The next line without its end, as far as it is within the bound; `None` where there is none.
fn next_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = reader
        .take(BYTES_AHEAD as u64)
        .read_until(b'\n', &mut line)?;
    Ok((read > 0).then(|| input::without_newline(line)))
}

/// The lines, read on a thread of their own: reading standard input can't be given up.
fn open(args: &ProduceArgs) -> Result<mpsc::Receiver<io::Result<Line>>, Failure> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    let mut reader: Box<dyn BufRead + Send> = match &args.file {
        Some(path) => {
            let failed =
                |error| Failure::from(error).before(&format!("{} can't be read", path.display()));
            if path.is_dir() {
                return Err(failed(io::ErrorKind::IsADirectory.into()));
            }
            Box::new(BufReader::new(File::open(path).map_err(failed)?))
        }
        None => {
            if stdin().is_terminal() {
                eprintln!("one record a line; Ctrl-D ends");
            }
            Box::new(BufReader::new(stdin()))
        }
    };
    let (room, runtime) = (Arc::new(Semaphore::new(BYTES_AHEAD)), Handle::current());
    std::thread::spawn(move || {
        while let Some(read) = next_line(&mut reader).transpose() {
            let line = read.map(|bytes| Line {
                _room: take(&runtime, &room, bytes.len()),
                bytes,
            });
            let ended = line.is_err();
            if sender.blocking_send(line).is_err() || ended {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Waits until what was read before leaves room for so many bytes.
fn take(runtime: &Handle, room: &Arc<Semaphore>, bytes: usize) -> OwnedSemaphorePermit {
    let taken = room.clone().acquire_many_owned(bytes as u32);
    runtime
        .block_on(taken)
        .expect("the semaphore is never closed")
}

#[cfg(test)]
mod tests;
