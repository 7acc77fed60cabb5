//! `milena consume`: records of a topic, by partitions or as a member of a group.

mod by_partition;
mod format;
mod left_out;

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use milena_client::admin::{Offsets, When};
use milena_client::group::{GroupConsumer, GroupOptions};
use milena_client::{Client, ConsumerOptions, Error, Fetched, StartAt};
use tokio::time::timeout;

use super::failure::{Exit, Failure, Stop};
use super::offline::{self, Place};
use super::output;
use super::stop_asked::StopAsked;
use super::target::{ClusterArgs, timestamp_ms};
use format::RecordFormat;

/// A partition may be without a leader for so long, as while one is elected, before it is left out.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);
/// A look at which partitions are offline may hold up the reading for so long.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// A command that is asked to end leaves its group in this time, or leaves it to the session's end.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Read records and print them.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The topic
    topic: String,
    /// Only these partitions
    #[arg(
        short,
        long,
        value_name = "N,N...",
        value_delimiter = ',',
        conflicts_with = "group"
    )]
    partitions: Vec<i32>,
    /// Where to begin: beginning, end, an offset, -N for N before the end, or a time. In a group, where
    /// it has committed nothing [default: end]
    #[arg(long, value_name = "PLACE", value_parser = place, allow_hyphen_values = true)]
    from: Option<StartAt>,
    /// Stop after so many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// Stop at the end that the partitions have now
    #[arg(short, long)]
    exit: bool,
    /// Consume as a member of this group, and commit
    #[arg(short, long, value_parser = NonEmptyStringValueParser::new())]
    group: Option<String>,
    /// value, key:value, json, or a text with %t topic, %p partition, %o offset, %T timestamp, %k key,
    /// %s value, %h headers, %K and %S their lengths, \n, \t, \xNN
    #[arg(short, long, default_value = "value", value_parser = RecordFormat::parse)]
    format: RecordFormat,
}

fn place(text: &str) -> Result<StartAt, String> {
    Ok(match text {
        "beginning" | "earliest" => StartAt::When(When::Start),
        "end" | "latest" => StartAt::When(When::End),
        _ => match text.parse::<i64>() {
            Ok(before_end) if before_end < 0 => StartAt::BeforeEnd(-before_end),
            Ok(offset) => StartAt::Offset(offset),
            Err(_) => {
                let problem =
                    "give beginning, end, an offset, -N, or a time such as 2026-11-22T18:30:00Z";
                StartAt::When(When::Time(timestamp_ms(text).map_err(|_| problem)?))
            }
        },
    })
}

/// Runs the command until its end, Ctrl-C, or until nobody reads what it prints.
pub async fn run(args: ConsumeArgs) -> Result<(), Failure> {
    let client = args.cluster.reach().await?;
    let consumed = match &args.group {
        Some(group) => by_group(&client, &args, group).await,
        None => by_partition::run(&client, &args).await,
    };
    match consumed {
        Err(stop) => Err(stop.explained(&client).await),
        Ok(()) => Ok(()),
    }
}

/// The partitions that the command reads, after checking that they exist.
async fn partitions(client: &Client, args: &ConsumeArgs) -> Result<Vec<Place>, Error> {
    let topic = client.topic(&args.topic).await?;
    if args.partitions.is_empty() {
        let all = topic.partitions.iter();
        return Ok(all
            .map(|partition| (topic.name.clone(), partition.index))
            .collect());
    }
    let wanted = args.partitions.iter();
    wanted
        .map(|&index| topic.partition(index).map(|_| (topic.name.clone(), index)))
        .collect()
}

async fn by_group(client: &Client, args: &ConsumeArgs, group: &str) -> Result<(), Stop> {
    let partitions = partitions(client, args).await?;
    let mut options = GroupOptions::new(group);
    options.reset = match args.from {
        Some(StartAt::When(when)) => when,
        None => When::End,
        Some(_) => {
            let failure = Failure::new(Exit::Usage, "a group begins at no offset");
            let hint =
                "give --from beginning, end or a time; or `milena group reset-offsets` first";
            return Err(failure.hint(hint).into());
        }
    };
    let topics = vec![args.topic.clone()];
    let mut member =
        GroupConsumer::new(client.clone(), options, topics, ConsumerOptions::default());
    let ends = match args.exit {
        true => {
            let told = offline::offsets(client, &partitions, When::End, LEADERLESS_MAX).await?;
            Some(told.offsets)
        }
        false => None,
    };
    let mut printer = Printer::new(args);
    let mut stop = StopAsked::listen()?;
    let ended = loop {
        let at_end = !member.positions().is_empty()
            && ends.as_ref().is_some_and(|ends| {
                let mut positions = member.positions().iter();
                positions.all(|(partition, position)| ends.get(partition) <= Some(position))
            });
        if at_end || printer.is_done() {
            break Ok(());
        }
        let fetched = tokio::select! {
            fetched = member.poll() => fetched,
            _ = stop.asked() => break Ok(()),
        };
        match fetched.map_err(gone).and_then(|fetched| {
            let behind = printer.print(&fetched, None)?;
            Ok(behind)
        }) {
            // Those behind the last one printed are not consumed.
            Ok(unprinted) => unprinted
                .into_iter()
                .for_each(|(partition, at)| member.rewind(partition, at)),
            Err(stop) => break Err(stop),
        }
    };
    let closed = timeout(LEAVE_WITHIN, member.close()).await;
    if let Err(stop) = ended {
        return Err(for_want_of(client, &partitions, stop).await);
    }
    let late = || {
        let text = format!("the group {group:?} could not be left within {LEAVE_WITHIN:?}");
        Failure::new(Exit::TimedOut, text).hint("its session ends by itself after 45s")
    };
    Ok(closed.map_err(|_| late())??)
}

/// What stopped a member, in words where it is that partitions are offline: a member reads all that it is assigned.
async fn for_want_of(client: &Client, partitions: &[Place], stop: Stop) -> Stop {
    if !matches!(&stop, Stop::Client(error) if offline::may_cause(error)) {
        return stop;
    }
    let told = timeout(LOOK_WITHIN, offline::ask(client, partitions, When::End)).await;
    match told {
        Ok(Ok(told)) if !told.offline.is_empty() => {
            let failure = offline::failure(Exit::Failed, "", &told.offline);
            failure
                .and("`milena consume` without --group reads the others")
                .into()
        }
        _ => stop,
    }
}

/// A topic that was there when the command began, and is not now.
fn gone(error: Error) -> Stop {
    match error {
        Error::UnknownTopic { topic } => {
            let text = format!("the topic {topic:?} has been deleted");
            Failure::new(Exit::NotFound, text).into()
        }
        error => error.into(),
    }
}

/// Prints records until enough are printed.
struct Printer<'a> {
    format: &'a RecordFormat,
    left: Option<u64>,
    buffer: Vec<u8>,
}

impl<'a> Printer<'a> {
    fn new(args: &'a ConsumeArgs) -> Self {
        let as_json = args.cluster.output == output::Format::Json;
        let json = &RecordFormat::Json;
        Self {
            format: if as_json { json } else { &args.format },
            left: args.count,
            buffer: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Prints the records below their partition's end, and returns where each partition is to be read on
    /// whose records were not all printed.
    fn print(&mut self, fetched: &[Fetched], ends: Option<&Offsets>) -> Result<Offsets, Stop> {
        let mut unprinted = Offsets::new();
        for fetched in fetched {
            let partition = (fetched.topic.clone(), fetched.partition);
            let end = ends.and_then(|ends| ends.get(&partition)).copied();
            for record in fetched.records()? {
                if end.is_some_and(|end| record.offset >= end) {
                    break;
                }
                if self.is_done() {
                    unprinted.insert(partition, record.offset);
                    break;
                }
                self.left = self.left.map(|left| left - 1);
                self.format
                    .write(&mut self.buffer, &partition.0, partition.1, &record);
            }
        }
        let mut out = io::stdout().lock();
        let written = out.write_all(&self.buffer).and_then(|()| out.flush());
        self.buffer.clear();
        written.map_err(Failure::from)?;
        Ok(unprinted)
    }
}
