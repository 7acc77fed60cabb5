//! `milena log dump`: what a log's files hold, Kafka's or ours.
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

mod index;
mod segment;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{self, Format};

/// Look into a log's files.
#[derive(Debug, Args)]
pub struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Print what segments, indexes, snapshots and checkpoints hold, and check it
    Dump(Dump),
}

#[derive(Debug, Args)]
struct Dump {
    /// Files of a partition's folder, or checkpoints of the data directory
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
    let LogCommand::Dump(dump) = args.command;
    for file in &dump.files {
        check_readable(file)?;
        let begin = |entries| match (entries, dump.output) {
            (0, Format::Table) => output::line(&format!("{}:", file.display())),
            _ => Ok(()),
        };
        let mut entries = 0;
        dump_file(file, dump.records, &mut |entry| {
            begin(entries)?;
            entries += 1;
            print(&entry, dump.output)
        })
        .map_err(|failure| failure.before(&file.display().to_string()))?;
        begin(entries)?;
        if dump.output == Format::Table {
            output::line(&format!("  {entries} entries"))?;
        }
    }
    Ok(())
}

fn check_readable(path: &Path) -> Result<(), Failure> {
    let read = std::fs::File::open(path).and_then(|file| file.metadata());
    let text = format!("{} can't be read", path.display());
    match read {
        Ok(metadata) if metadata.is_dir() => {
            let failure = Failure::new(Exit::Usage, format!("{} is a folder", path.display()));
            Err(failure.hint(format!("give its files: {}", path.join("*.log").display())))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::from(error).before(&text)),
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

fn dump_file(path: &Path, records: bool, emit: Emit) -> Result<(), Failure> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    // A segment keeps its kind while it is on its way out or in.
    let name = [".deleted", ".cleaned", ".swap"]
        .iter()
        .fold(name, |name, suffix| {
            name.strip_suffix(suffix).unwrap_or(name)
        });
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let base_offset = || {
        stem.parse::<i64>().map_err(|_| {
            damaged("the name is not a segment's: it begins with its first offset".to_owned())
        })
    };
    match extension {
        "log" => segment::dump(path, records, emit),
        "index" => index::offsets(&std::fs::read(path)?, base_offset()?, emit),
        "timeindex" => index::times(&std::fs::read(path)?, base_offset()?, emit),
        "txnindex" => index::aborted(std::fs::read(path)?, emit),
        "snapshot" => index::producers(std::fs::read(path)?, emit),
        _ if name == "leader-epoch-checkpoint" => checkpoint(
            &std::fs::read_to_string(path)?,
            ["epoch", "start_offset"],
            emit,
        ),
        _ if name.ends_with("-offset-checkpoint") => checkpoint(
            &std::fs::read_to_string(path)?,
            ["topic", "partition", "offset"],
            emit,
        ),
        _ => Err(Failure::new(Exit::Usage, "no file of a log that is known")
            .hint("give .log, .index, .timeindex, .txnindex, .snapshot files or checkpoints")),
    }
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
