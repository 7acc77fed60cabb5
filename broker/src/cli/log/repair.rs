//! `milena log repair`: what can be done for damaged logs, and doing it.

use clap::Args;
use milena_log::inspect::FindingKind;
use milena_log::repair::repair;
use serde_json::json;

use super::check::{Logs, Looked, look, tell};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "\
Stop the broker first. Without --apply nothing is changed. Indexes, epochs and snapshots are made anew from the batches.
Damaged records can't be: where other brokers have the partition choose --set-aside, and the broker copies it from them at
its next start; where nobody has, choose --cut, and the log goes on without them. Their offsets are a gap then, as after
compaction, and the damaged file stays beside the new one as ….log.damaged. Never --cut where others have the partition:
this replica would lack records that it says it has.")]
pub(super) struct Repair {
    #[command(flatten)]
    logs: Logs,
    /// Nobody else has the damaged records: go on without them
    #[arg(long, conflicts_with = "set_aside")]
    cut: bool,
    /// Others have them: put damaged logs aside, to be copied anew; they are removed a week after the next start
    #[arg(long)]
    set_aside: bool,
    /// Only show what would be done; so it is without --apply
    #[arg(long, conflicts_with = "apply")]
    dry_run: bool,
    /// Do it
    #[arg(long)]
    apply: bool,
}

/// What is done for a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Mend,
    Cut,
    SetAside,
    /// Nobody has said which.
    Undecided,
}

impl Means {
    fn in_words(self) -> &'static str {
        match self {
            Self::Mend => "made anew from its batches",
            Self::Cut => "goes on without the damaged records",
            Self::SetAside => "set aside, and copied from another broker at the next start",
            Self::Undecided => "--set-aside where other brokers have it, --cut where nobody has",
        }
    }
}

pub(super) fn run(repair: &Repair) -> Result<(), Failure> {
    let (_locks, looked) = look(&repair.logs)?;
    let format = repair.logs.output;
    let damaged: Vec<(&Looked, Means)> = looked
        .iter()
        .filter(|one| !one.is_whole())
        .map(|one| (one, means(one, repair)))
        .collect();
    if format == Format::Table {
        tell(&looked, format)?;
    }
    let undecided = damaged.iter().any(|(_, means)| *means == Means::Undecided);
    if repair.apply && undecided {
        return Err(
            Failure::new(Exit::Usage, "damaged records can't be made anew")
                .hint(Means::Undecided.in_words()),
        );
    }
    for (one, means) in &damaged {
        if repair.apply {
            perform(one, *means)?;
        }
        if format == Format::Table {
            output::line(&format!("{}: {}", one.name(), means.in_words()))?;
        }
    }
    match (format, damaged.is_empty(), repair.apply) {
        (Format::Json, ..) => output::json(&shown(&damaged, repair.apply)),
        (_, true, _) => output::line("all are whole"),
        (_, _, true) => output::line("done: start the broker"),
        (_, _, false) => output::line("nothing was changed; --apply does it"),
    }
}

fn means(one: &Looked, repair: &Repair) -> Means {
    let has_holes = one.missing_end().is_some()
        || one
            .found
            .findings
            .iter()
            .any(|one| matches!(one.kind, FindingKind::Records(_) | FindingKind::Gap(_)));
    match (has_holes, repair.cut, repair.set_aside) {
        (false, ..) => Means::Mend,
        (_, true, _) => Means::Cut,
        (_, _, true) => Means::SetAside,
        _ => Means::Undecided,
    }
}

fn perform(one: &Looked, means: Means) -> Result<(), Failure> {
    let done = match means {
        Means::SetAside => milena_log::set_aside(&one.data, &one.topic, one.partition)
            .map(drop)
            .map_err(|error| error.to_string()),
        _ => repair_log(one).map_err(|error| error.to_string()),
    };
    done.map_err(|error| Failure::new(Exit::Failed, error).before(&one.name()))
}

fn repair_log(one: &Looked) -> Result<(), milena_log::LogError> {
    // What is torn goes at the next start, and may be all that is behind.
    let end_offset = match one.torn {
        Some(_) => 0,
        None => one.end_offset,
    };
    repair(&one.found, end_offset)
}

fn shown(damaged: &[(&Looked, Means)], applied: bool) -> Vec<serde_json::Value> {
    let means = |means: Means| match means {
        Means::Mend => "mend",
        Means::Cut => "cut",
        Means::SetAside => "set_aside",
        Means::Undecided => "undecided",
    };
    damaged
        .iter()
        .map(|(one, how)| {
            json!({
                "topic": one.topic,
                "partition": one.partition,
                "means": means(*how),
                "applied": applied,
            })
        })
        .collect()
}
