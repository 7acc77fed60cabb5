//! `milena log check`: the logs of a broker that is stopped, read from end to end.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use milena_log::inspect::{Finding, FindingKind, Gap, Hole, Inspection, inspect};
use milena_log::{Checkpoint, LockedFolder, LogError, PartitionFolder};
use serde_json::{Value, json};

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format};

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
where something is damaged. What a broker that died was just writing is no damage: its next start cuts it off. Nor is a gap between
segments, which repairs leave, and Apache Kafka's compaction; where nobody has done either a segment was taken away.")]
pub(super) struct Check {
    #[command(flatten)]
    logs: Logs,
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

/// Reads all logs that are asked for. Nobody else may have their directories meanwhile.
pub(super) fn look(logs: &Logs) -> Result<(Vec<LockedFolder>, Vec<Looked>), Failure> {
    let (mut locks, mut looked) = (Vec::new(), Vec::new());
    let mut wanted = Vec::new();
    for data in &logs.data {
        locks.push(lock(data)?);
        wanted.extend(wanted_in(data, logs)?);
    }
    if wanted.is_empty() {
        let dirs: Vec<String> = logs
            .data
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        let text = format!("{}: no such log", dirs.join(", "));
        let hint = "give what log.dirs names, and the name of a topic that is there";
        return Err(Failure::new(Exit::NotFound, text).hint(hint));
    }
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new(wanted.len() as u64),
        false => ProgressBar::hidden(),
    };
    let mut marks = None;
    for (data, topic, partition, path) in wanted {
        if marks
            .as_ref()
            .is_none_or(|marks: &Marks| marks.data != data)
        {
            marks = Some(Marks::read(&data)?);
        }
        let found =
            inspect(&path).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let marks = marks.as_ref().expect("they are read above");
        let held = marks.held_against(topic, partition, found);
        looked.push(held.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((locks, looked))
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

/// What a data directory says of its logs.
struct Marks {
    data: PathBuf,
    is_clean: bool,
    recovery_points: milena_log::Offsets,
    high_watermarks: milena_log::Offsets,
    log_starts: milena_log::Offsets,
}

impl Marks {
    fn read(data: &Path) -> Result<Self, Failure> {
        let read = |checkpoint: Checkpoint| {
            let read = checkpoint.read(data);
            read.map_err(|error| Failure::new(Exit::Failed, error.to_string()))
        };
        Ok(Self {
            data: data.to_path_buf(),
            is_clean: milena_log::is_marked_clean(data),
            recovery_points: read(Checkpoint::RecoveryPoint)?,
            high_watermarks: read(Checkpoint::HighWatermark)?,
            log_starts: read(Checkpoint::LogStart)?,
        })
    }

    fn held_against(
        &self,
        topic: String,
        partition: i32,
        mut found: Inspection,
    ) -> Result<Looked, LogError> {
        let key = (topic, partition);
        let offset = |offsets: &milena_log::Offsets| offsets.get(&key).copied().unwrap_or(0);
        let recovery_point = offset(&self.recovery_points);
        let end_offset = recovery_point.max(offset(&self.high_watermarks));
        let torn = match self.is_clean {
            true => None,
            false => take_torn(&mut found, recovery_point),
        };
        if !self.is_clean {
            found.hold_recovery_point(recovery_point);
        }
        // As a start decides it: without a recovery point nothing is known of the log.
        if recovery_point > 0 {
            found.hold_start(offset(&self.log_starts), self.is_clean)?;
        }
        Ok(Looked {
            data: self.data.clone(),
            topic: key.0,
            partition,
            found,
            torn,
            end_offset,
        })
    }
}

/// The end of a log that was being written when its broker died, and what its indexes say of it.
fn take_torn(found: &mut Inspection, recovery_point: i64) -> Option<Hole> {
    let is_torn = |one: &Finding| match one.kind {
        FindingKind::Records(hole) => hole.offset >= recovery_point && hole.next_offset.is_none(),
        _ => false,
    };
    let at = found.findings.iter().position(is_torn)?;
    let FindingKind::Records(hole) = found.findings[at].kind else {
        return None;
    };
    let file = found.findings[at].file.clone();
    // Whatever lies behind it goes with it, and its indexes are made anew.
    found.findings.retain(|one| {
        let is_behind = one.file.file_stem() >= file.file_stem();
        !(is_behind && matches!(one.kind, FindingKind::Records(_) | FindingKind::Index))
    });
    Some(hole)
}

/// Prints what was found; damage is a failure.
pub(super) fn run(check: &Check) -> Result<(), Failure> {
    let (_locks, looked) = look(&check.logs)?;
    tell(&looked, check.logs.output)?;
    let damaged = looked.iter().filter(|one| !one.is_whole()).count();
    match damaged {
        0 => Ok(()),
        _ => Err(Failure::new(
            Exit::Failed,
            format!("{damaged} of {} logs are damaged", looked.len()),
        )
        .hint("milena log repair shows what can be done")),
    }
}

pub(super) fn tell(looked: &[Looked], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(&looked.iter().map(shown).collect::<Vec<_>>());
    }
    let rows: Vec<[String; 4]> = looked.iter().flat_map(rows).collect();
    if !rows.is_empty() {
        output::table(["log", "file", "offsets", "problem"], &rows)?;
    }
    let sum = |of: fn(&Inspection) -> u64| looked.iter().map(|one| of(&one.found)).sum::<u64>();
    output::line(&format!(
        "{} logs, {} in {} batches",
        HumanCount(looked.len() as u64),
        HumanBytes(sum(|found| found.bytes)),
        HumanCount(sum(|found| found.batches))
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
