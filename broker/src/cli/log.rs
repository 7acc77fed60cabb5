//! `milena log dump`: what a log's files hold, Kafka's or ours. `log/check.rs` and `log/repair.rs` are of whole logs.
//!
//! | file | an entry is |
//! | --- | --- |
//! | `*.log` | a record batch, with `--records` each record too |
//! | `*.index` | an offset and its position in the segment |
//! | `*.timeindex` | a timestamp and the offset by which it was reached |
//! | `*.txnindex` | an aborted transaction |
//! | `*.snapshot` | a producer's state |
//! | `leader-epoch-checkpoint` | an epoch and its first offset |
//! | `*-offset-checkpoint` | a partition's offset |

mod check;
mod identity;
mod index;
mod marks;
mod repair;
mod segment;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{self, Format};
use check::Check;
use repair::Repair;

/// Look into a log's files, check whole logs, mend them.
#[derive(Debug, Args)]
pub struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Print what segments, indexes, snapshots and checkpoints hold, and check it
    Dump(Dump),
    /// Read all logs of a broker that is stopped, and name what is damaged
    Check(Check),
    /// Say what can be done for damaged logs of a broker that is stopped, and do it
    Repair(Repair),
}

#[derive(Debug, Args)]
struct Dump {
    /// A partition's folder, or files of it, or checkpoints of the data directory; what is no file of a log is skipped
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The records of each batch too
    #[arg(short, long)]
    records: bool,
    /// How to print: lines for people, or a JSON object a line
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// What one entry of a file says: names and values, in order.
type Entry = Vec<(&'static str, Value)>;

/// Runs the command. A damaged file is a failure, after what comes before the damage was printed.
pub fn run(args: LogArgs) -> Result<(), Failure> {
    match args.command {
        LogCommand::Dump(dump) => run_dump(&dump),
        LogCommand::Check(args) => check::run(&args),
        LogCommand::Repair(args) => repair::run(&args),
    }
}

fn run_dump(dump: &Dump) -> Result<(), Failure> {
    let mut files = Vec::new();
    for path in &dump.files {
        let text = format!("{} can't be read", path.display());
        files.extend(files_of(path).map_err(|error| Failure::from(error).before(&text))?);
    }
    if files.iter().all(|file| Kind::of(file).is_none()) {
        let given: Vec<String> = dump
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let text = format!("{}: no file of a log that is known", given.join(", "));
        let hint = "give a partition's folder, .log, .index, .timeindex, .txnindex, .snapshot files or checkpoints";
        return Err(Failure::new(Exit::Usage, text).hint(hint));
    }
    for file in &files {
        match Kind::of(file) {
            Some(kind) => dump_file(file, kind, dump)
                .map_err(|failure| failure.before(&file.display().to_string()))?,
            None => eprintln!(
                "{} is skipped: no file of a log that is known",
                file.display()
            ),
        }
    }
    Ok(())
}

/// The file, or what is in the folder, by name.
fn files_of(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !std::fs::File::open(path)?.metadata()?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn dump_file(file: &Path, kind: Kind, dump: &Dump) -> Result<(), Failure> {
    let begin = |entries| match (entries, dump.output) {
        (0, Format::Table) => output::line(&format!("{}:", file.display())),
        _ => Ok(()),
    };
    let mut entries = 0;
    kind.read(file, dump.records, &mut |entry| {
        begin(entries)?;
        entries += 1;
        print(&entry, dump.output)
    })?;
    begin(entries)?;
    match dump.output {
        Format::Table => {
            let entries = output::counted(entries, ("entry", "entries"));
            output::line(&format!("  {entries}"))
        }
        Format::Json => Ok(()),
    }
}

fn print(entry: &Entry, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        let fields = entry
            .iter()
            .cloned()
            .map(|(name, value)| (name.to_owned(), value));
        let object: serde_json::Map<String, Value> = fields.collect();
        return output::line(&Value::from(object).to_string());
    }
    let fields: Vec<String> = entry
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    output::line(&format!("  {}", fields.join("  ")))
}

type Emit<'a> = &'a mut dyn FnMut(Entry) -> Result<(), Failure>;

/// What a file holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Segment,
    Offsets,
    Times,
    Aborted,
    Producers,
    Epochs,
    Checkpoint,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let name = name(path);
        Some(match name.rsplit_once('.').map_or("", |(_, end)| end) {
            "log" => Self::Segment,
            "index" => Self::Offsets,
            "timeindex" => Self::Times,
            "txnindex" => Self::Aborted,
            "snapshot" => Self::Producers,
            _ if name == "leader-epoch-checkpoint" => Self::Epochs,
            _ if name.ends_with("-offset-checkpoint") => Self::Checkpoint,
            _ => return None,
        })
    }

    fn read(self, path: &Path, records: bool, emit: Emit) -> Result<(), Failure> {
        let bytes = || std::fs::read(path);
        let text = || std::fs::read_to_string(path);
        match self {
            Self::Segment => segment::dump(path, records, emit),
            Self::Offsets => index::offsets(&bytes()?, base_offset(path)?, emit),
            Self::Times => index::times(&bytes()?, base_offset(path)?, emit),
            Self::Aborted => index::aborted(bytes()?, emit),
            Self::Producers => index::producers(bytes()?, emit),
            Self::Epochs => checkpoint(&text()?, ["epoch", "start_offset"], emit),
            Self::Checkpoint => checkpoint(&text()?, ["topic", "partition", "offset"], emit),
        }
    }
}

/// A segment keeps its kind while it is on its way out or in.
fn name(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str());
    let suffixes = [".deleted", ".cleaned", ".swap"].iter();
    suffixes.fold(name.unwrap_or_default(), |name, suffix| {
        name.strip_suffix(suffix).unwrap_or(name)
    })
}

fn base_offset(path: &Path) -> Result<i64, Failure> {
    let stem = name(path)
        .rsplit_once('.')
        .map(|(stem, _)| stem.parse::<i64>());
    stem.and_then(Result::ok).ok_or_else(|| {
        damaged("the name is not a segment's: it begins with its first offset".to_owned())
    })
}

fn damaged(text: String) -> Failure {
    Failure::new(Exit::Failed, text)
}

/// A version, a count, then one entry a line.
fn checkpoint<const N: usize>(
    text: &str,
    names: [&'static str; N],
    emit: Emit,
) -> Result<(), Failure> {
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    if version != "0" {
        return Err(damaged(format!("version {version:?} is not known: 0 is")));
    }
    let count = lines.next().unwrap_or_default();
    let mut found = 0;
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.len() != N {
            return Err(damaged(format!("line {line:?} has not {N} fields")));
        }
        let value = |field: &str| field.parse::<i64>().map_or(Value::from(field), Value::from);
        emit(
            names
                .into_iter()
                .zip(fields.into_iter().map(value))
                .collect(),
        )?;
        found += 1;
    }
    if count != found.to_string() {
        return Err(damaged(format!(
            "it says that it has {count} entries, and has {found}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_name() {
        let kind = |name: &str| Kind::of(Path::new(name));
        assert_eq!(kind("t-0/00000000000000000000.log"), Some(Kind::Segment));
        assert_eq!(kind("7.index.deleted"), Some(Kind::Offsets));
        assert_eq!(kind("leader-epoch-checkpoint"), Some(Kind::Epochs));
        assert_eq!(
            kind("replication-offset-checkpoint"),
            Some(Kind::Checkpoint)
        );
        assert_eq!(kind("partition.metadata"), None);
        assert_eq!(kind("t-0"), None);
    }

    #[test]
    fn a_checkpoint_that_lacks_entries_is_damaged() {
        let mut seen = Vec::new();
        let text = "0\n2\n0 0\n5 77\n";
        let names = ["epoch", "start_offset"];
        checkpoint(text, names, &mut |entry| {
            seen.push(entry);
            Ok(())
        })
        .unwrap();
        assert_eq!(
            seen[1],
            [("epoch", Value::from(5)), ("start_offset", Value::from(77))]
        );
        assert!(checkpoint("0\n3\n0 0\n", names, &mut |_| Ok(())).is_err());
        assert!(checkpoint("9\n0\n", names, &mut |_| Ok(())).is_err());
    }
}
