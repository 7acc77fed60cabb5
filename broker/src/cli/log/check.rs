//! `milena log check`: the logs of a broker that is stopped, read from end to end.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{HumanBytes, ProgressBar};
use milena_log::inspect::{FindingKind, Gap, Hole, Inspection, inspect};
use milena_log::{LockedFolder, PartitionFolder};
use serde_json::{Value, json};

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format};

use super::identity::Unnamed;
use super::marks::{Marks, Unread};

const LOGS: (&str, &str) = ("log", "logs");

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The data directories of a broker that is stopped
    #[arg(required = true, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// Only the logs of this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// Only this partition's log
    #[arg(short, long, requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// How to print: a table for people, or JSON
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every batch is read and its checksum computed, every index entry held against the batches. Nothing is changed. The exit code is 1
where something is damaged, be it one of the directory's checkpoints or its meta.properties. What a broker that died was just
writing is no damage: its next start cuts it off. Nor is a gap between segments, which repairs leave, and Apache Kafka's
compaction; where nobody has done either a segment was taken away.
A start after a clean stop reads no sealed segment, as Kafka's does not: damage in one is met by a reader, a compaction or this
command. It is worth its time after a disk or memory has failed, on a directory that was copied or restored, and before
the only other copy of the logs goes.")]
pub(super) struct Check {
    #[command(flatten)]
    logs: Logs,
}

impl Logs {
    /// Whether all logs of the directories are asked for.
    pub(super) fn are_all(&self) -> bool {
        self.topic.is_none()
    }
}

/// A log that was looked through.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) data: PathBuf,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) found: Inspection,
    /// What a crash leaves behind the last sync, and the next start cuts off: no damage.
    pub(super) torn: Option<Hole>,
    /// Where the log ended at least, by the directory's checkpoints.
    pub(super) end_offset: i64,
}

impl Looked {
    pub(super) fn is_whole(&self) -> bool {
        self.found.findings.is_empty() && self.missing_end().is_none()
    }

    /// Offsets that the log had, and that are not even damaged any more.
    pub(super) fn missing_end(&self) -> Option<(i64, i64)> {
        let has_hole_there = self.found.findings.iter().any(|one| {
            matches!(one.kind, FindingKind::Records(hole) if hole.offset == self.found.end_offset)
        });
        let ends_early = self.found.end_offset < self.end_offset && self.torn.is_none();
        (ends_early && !has_hole_there).then_some((self.found.end_offset, self.end_offset))
    }

    /// Offsets that no segment has, where that need not be damage.
    fn harmless_gaps(&self) -> impl Iterator<Item = &Gap> {
        let is_harm = |gap: &Gap| {
            let mut findings = self.found.findings.iter();
            findings.any(|one| matches!(one.kind, FindingKind::Gap(found) if found == *gap))
        };
        self.found.gaps.iter().filter(move |gap| !is_harm(gap))
    }

    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }
}

/// What was found in the data directories.
pub(super) struct Found {
    /// The directories, which nobody else may have meanwhile.
    pub(super) folders: Vec<LockedFolder>,
    pub(super) looked: Vec<Looked>,
    /// Checkpoints that say nothing.
    pub(super) unread: Vec<Unread>,
    /// Directories that do not say whose they are.
    pub(super) unnamed: Vec<Unnamed>,
}

impl Found {
    /// The directories' paths.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let folders = self.folders.iter();
        folders.map(|folder| folder.path().to_path_buf()).collect()
    }
}

/// Reads all logs that are asked for.
pub(super) fn look(logs: &Logs) -> Result<Found, Failure> {
    let (mut folders, mut marks, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for data in &logs.data {
        folders.push(lock(data)?);
        marks.push(Marks::read(data));
        wanted.extend(wanted_in(data, logs)?);
    }
    let unread = marks.iter().flat_map(|marks| marks.unread.clone());
    let unread: Vec<Unread> = unread.collect();
    let unnamed: Vec<Unnamed> = logs
        .data
        .iter()
        .filter_map(|data| Unnamed::look(data))
        .collect();
    if wanted.is_empty() && unread.is_empty() && unnamed.is_empty() {
        return Err(nothing_in(&logs.data));
    }
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new(wanted.len() as u64),
        false => ProgressBar::hidden(),
    };
    let mut looked = Vec::new();
    for (data, topic, partition, path) in wanted {
        let found =
            inspect(&path).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let marks = marks.iter().find(|marks| marks.data == data);
        let marks = marks.expect("they are read above");
        let held = marks.held_against(topic, partition, found);
        looked.push(held.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Found {
        folders,
        looked,
        unread,
        unnamed,
    })
}

fn nothing_in(data: &[PathBuf]) -> Failure {
    let dirs: Vec<String> = data.iter().map(|dir| dir.display().to_string()).collect();
    let text = format!("{}: no such log", dirs.join(", "));
    let hint = "give what log.dirs names, and the name of a topic that is there";
    Failure::new(Exit::NotFound, text).hint(hint)
}

fn lock(data: &Path) -> Result<LockedFolder, Failure> {
    if !data.is_dir() {
        let text = format!("{} is no folder", data.display());
        return Err(Failure::new(Exit::NotFound, text).hint("give what log.dirs names"));
    }
    LockedFolder::lock(data).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

type Wanted = (PathBuf, String, i32, PathBuf);

fn wanted_in(data: &Path, logs: &Logs) -> Result<Vec<Wanted>, Failure> {
    let folders = milena_log::partition_folders(data)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let mut wanted: Vec<Wanted> = folders
        .into_iter()
        .filter_map(|folder| match folder {
            PartitionFolder::Log {
                topic,
                partition,
                path,
            } => Some((data.to_path_buf(), topic, partition, path)),
            PartitionFolder::Deleted(_)
            | PartitionFolder::Stray(_)
            | PartitionFolder::Future { .. } => None,
        })
        .filter(|(_, topic, partition, path)| {
            logs.topic.as_ref().is_none_or(|wanted| wanted == topic)
                && logs.partition.is_none_or(|wanted| wanted == *partition)
                && milena_log::is_log(path).unwrap_or(true)
        })
        .collect();
    wanted.sort();
    Ok(wanted)
}

/// Prints what was found; damage is a failure.
pub(super) fn run(check: &Check) -> Result<(), Failure> {
    let found = look(&check.logs)?;
    tell(&found, check.logs.output)?;
    match in_words(&found) {
        None => Ok(()),
        Some(text) => {
            Err(Failure::new(Exit::Failed, text).hint("milena log repair shows what can be done"))
        }
    }
}

/// What is damaged; none where all is whole.
fn in_words(found: &Found) -> Option<String> {
    let damaged = found.looked.iter().filter(|one| !one.is_whole()).count() as u64;
    if damaged == 0 && found.unread.is_empty() && found.unnamed.is_empty() {
        return None;
    }
    let is = if damaged == 1 || found.looked.len() == 1 {
        "is"
    } else {
        "are"
    };
    let of = output::counted(found.looked.len() as u64, LOGS);
    let mut all = vec![format!("{damaged} of {of} {is} damaged")];
    if !found.unread.is_empty() {
        let count = found.unread.len() as u64;
        let checkpoints = output::counted(count, ("checkpoint", "checkpoints"));
        all.push(format!("{checkpoints} can't be read"));
    }
    if !found.unnamed.is_empty() {
        let count = found.unnamed.len() as u64;
        let (one, many) = (
            "directory does not say whose it is",
            "directories do not say whose they are",
        );
        all.push(output::counted(count, (one, many)));
    }
    Some(all.join(", and "))
}

pub(super) fn tell(found: &Found, format: Format) -> Result<(), Failure> {
    let looked = &found.looked;
    if format == Format::Json {
        let logs = looked.iter().map(shown);
        let all = logs
            .chain(found.unread.iter().map(Unread::shown))
            .chain(found.unnamed.iter().map(Unnamed::shown));
        return output::json(&all.collect::<Vec<_>>());
    }
    let mut rows: Vec<[String; 4]> = looked.iter().flat_map(rows).collect();
    rows.extend(found.unread.iter().map(Unread::row));
    rows.extend(found.unnamed.iter().map(Unnamed::row));
    if !rows.is_empty() {
        output::table(["log", "file", "offsets", "problem"], &rows)?;
    }
    let sum = |of: fn(&Inspection) -> u64| looked.iter().map(|one| of(&one.found)).sum::<u64>();
    output::line(&format!(
        "{}, {} in {}",
        output::counted(looked.len() as u64, LOGS),
        HumanBytes(sum(|found| found.bytes)),
        output::counted(sum(|found| found.batches), ("batch", "batches"))
    ))
}

fn rows(one: &Looked) -> Vec<[String; 4]> {
    let name = |file: &Path| {
        let name = file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_default()
    };
    let mut rows: Vec<[String; 4]> = one
        .found
        .findings
        .iter()
        .map(|finding| match finding.kind {
            FindingKind::Records(hole) => [
                one.name(),
                name(&finding.file),
                offsets(hole.offset, hole.next_offset),
                format!(
                    "{} bytes at byte {}: {}",
                    hole.bytes, hole.byte, finding.problem
                ),
            ],
            FindingKind::Gap(gap) => [
                one.name(),
                name(&finding.file),
                offsets(gap.offset, Some(gap.next_offset)),
                finding.problem.clone(),
            ],
            _ => [
                one.name(),
                name(&finding.file),
                String::new(),
                finding.problem.clone(),
            ],
        })
        .collect();
    rows.extend(one.harmless_gaps().map(|gap| {
        let problem = "no segment has them: no damage, unless a segment was taken away; repairs leave gaps, so does \
                       Kafka's compaction";
        [
            one.name(),
            String::new(),
            offsets(gap.offset, Some(gap.next_offset)),
            problem.to_owned(),
        ]
    }));
    if let Some((from, to)) = one.missing_end() {
        let problem = "the checkpoints know of them, and they are not there".to_owned();
        rows.push([one.name(), String::new(), offsets(from, Some(to)), problem]);
    }
    if let Some(torn) = one.torn {
        let problem = format!(
            "{} bytes at byte {} that were being written when the broker died; its next start cuts them off",
            torn.bytes, torn.byte
        );
        rows.push([
            one.name(),
            String::new(),
            offsets(torn.offset, None),
            problem,
        ]);
    }
    rows
}

fn offsets(from: i64, next: Option<i64>) -> String {
    match next {
        Some(next) if next == from + 1 => from.to_string(),
        Some(next) if next > from => format!("{from}-{}", next - 1),
        // Batches may go on with the very offset that was due: what is damaged is no record.
        Some(_) => "none".to_owned(),
        None => format!("{from} and later"),
    }
}

fn shown(one: &Looked) -> Value {
    let problems: Vec<Value> = one
        .found
        .findings
        .iter()
        .map(|finding| {
            let mut shown = json!({
                "file": finding.file,
                "kind": match finding.kind {
                    FindingKind::Records(_) => "records",
                    FindingKind::Gap(_) => "gap",
                    FindingKind::Index => "index",
                    FindingKind::Epochs => "epochs",
                    FindingKind::Snapshot => "snapshot",
                    FindingKind::TopicId => "topic_id",
                },
                "problem": finding.problem,
            });
            if let FindingKind::Records(hole) = finding.kind {
                shown["byte"] = hole.byte.into();
                shown["bytes"] = hole.bytes.into();
                shown["offset"] = hole.offset.into();
                shown["next_offset"] = hole.next_offset.into();
            }
            if let FindingKind::Gap(gap) = finding.kind {
                shown["offset"] = gap.offset.into();
                shown["next_offset"] = gap.next_offset.into();
            }
            shown
        })
        .collect();
    let gaps = one.harmless_gaps();
    let gaps = gaps.map(|gap| json!({ "offset": gap.offset, "next_offset": gap.next_offset }));
    json!({
        "topic": one.topic,
        "partition": one.partition,
        "folder": one.found.folder,
        "segments": one.found.segments,
        "bytes": one.found.bytes,
        "batches": one.found.batches,
        "start_offset": one.found.start_offset,
        "end_offset": one.found.end_offset,
        "missing_up_to": one.missing_end().map(|(_, to)| to),
        "cut_at_next_start": one.torn.map(|torn| torn.offset),
        "gaps": gaps.collect::<Vec<_>>(),
        "problems": problems,
    })
}
