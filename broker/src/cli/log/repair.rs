//! `milena log repair`: what can be done for damaged logs, and doing it.

use clap::Args;
use milena_log::Checkpoint;
use milena_log::inspect::FindingKind;
use milena_log::repair::repair;
use serde_json::json;

use super::check::{Found, Logs, Looked, look, tell};
use super::marks::Unread;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "\
Stop the broker first. Without --apply nothing is changed. Indexes, epochs and snapshots are made anew from the batches, and
checkpoints that can't be understood from the logs; those are kept as ….damaged. A meta.properties that can't be understood
is left: no log says whose a directory is. It is said what is left of it, and where the rest is to be found.
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
    /// Others have them: put damaged logs aside, to be copied anew; they are removed a week later
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
            Self::SetAside => {
                "set aside as ...-stray, and copied from another broker at the next start; it begins anew, empty, where nobody has \
                 it: then give the folder its name back, and --cut"
            }
            Self::Undecided => "--set-aside where other brokers have it, --cut where nobody has",
        }
    }
}

pub(super) fn run(repair: &Repair) -> Result<(), Failure> {
    let found = look(&repair.logs)?;
    let format = repair.logs.output;
    let damaged: Vec<(&Looked, Means)> = found
        .looked
        .iter()
        .filter(|one| !one.is_whole())
        .map(|one| (one, means(one, repair)))
        .collect();
    if format == Format::Table {
        tell(&found, format)?;
    }
    if repair.apply {
        refuse(repair, &found, &damaged)?;
    }
    for (one, means) in &damaged {
        if repair.apply {
            perform(one, *means)?;
        }
        if format == Format::Table {
            output::line(&format!("{}: {}", one.name(), means.in_words()))?;
        }
    }
    for one in &found.unread {
        if repair.apply {
            write_anew(one, &found)?;
        }
        if format == Format::Table {
            let file = one.file();
            output::line(&format!("{}: {}", file.display(), checkpoint_in_words(one)))?;
        }
    }
    if format == Format::Table {
        let directories = found.directories();
        for one in &found.unnamed {
            let lines = one.left_as_it_is(&directories);
            lines.iter().try_for_each(|line| output::line(line))?;
        }
    }
    end(&found, &damaged, repair)
}

/// Says what has become of it; what is left undone for which a person was asked is a failure.
fn end(found: &Found, damaged: &[(&Looked, Means)], repair: &Repair) -> Result<(), Failure> {
    let does_something = !damaged.is_empty() || !found.unread.is_empty();
    if repair.logs.output == Format::Json {
        output::json(&shown(damaged, found, repair.apply))?;
    } else {
        let is_whole = found.unnamed.is_empty();
        match (does_something, repair.apply) {
            (false, _) if is_whole => output::line("all are whole")?,
            (false, _) => output::line("nothing was changed: nothing else is damaged")?,
            (true, true) if is_whole => output::line("done: start the broker")?,
            (true, true) => output::line("the rest is done")?,
            (true, false) => output::line("nothing was changed; --apply does it")?,
        }
    }
    match found.unnamed.first() {
        Some(one) if repair.apply => {
            let text = format!("{} is left as it is", one.file().display());
            let hint = "nobody but you can say whose the directory is: the lines above say where it is to be found";
            Err(Failure::new(Exit::Failed, text).hint(hint))
        }
        _ => Ok(()),
    }
}

/// Refuses before anything is changed, where something of it can't be done.
fn refuse(repair: &Repair, found: &Found, damaged: &[(&Looked, Means)]) -> Result<(), Failure> {
    if damaged.iter().any(|(_, means)| *means == Means::Undecided) {
        return Err(
            Failure::new(Exit::Usage, "damaged records can't be made anew")
                .hint(Means::Undecided.in_words()),
        );
    }
    for one in &found.unread {
        let file = one.file();
        if !one.is_garbled {
            let text = format!("{} can't be read, and may be whole", file.display());
            let hint = "mend its disk or its rights first";
            return Err(Failure::new(Exit::Failed, text).hint(hint));
        }
        if !repair.logs.are_all() {
            let text = format!("{} is of all logs of its directory", file.display());
            return Err(Failure::new(Exit::Usage, text).hint("leave --topic out"));
        }
    }
    Ok(())
}

fn checkpoint_in_words(one: &Unread) -> &'static str {
    match (one.is_garbled, one.checkpoint) {
        (false, _) => "its disk or its rights are to be mended first",
        (_, Checkpoint::RecoveryPoint) => "made anew from the ends of the logs",
        (_, Checkpoint::LogStart) => {
            "made anew from the first segments; records that a client deleted may be back"
        }
        (_, Checkpoint::HighWatermark | Checkpoint::Cleaner) => "begun anew",
    }
}

fn write_anew(one: &Unread, found: &Found) -> Result<(), Failure> {
    let folder = found
        .folders
        .iter()
        .find(|folder| folder.path() == one.data);
    let folder = folder.expect("it is locked");
    folder
        .replace_checkpoint(one.checkpoint, &one.made_anew(&found.looked))
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))
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

fn shown(damaged: &[(&Looked, Means)], found: &Found, applied: bool) -> Vec<serde_json::Value> {
    let means = |means: Means| match means {
        Means::Mend => "mend",
        Means::Cut => "cut",
        Means::SetAside => "set_aside",
        Means::Undecided => "undecided",
    };
    let logs = damaged.iter().map(|(one, how)| {
        json!({
            "topic": one.topic,
            "partition": one.partition,
            "means": means(*how),
            "applied": applied,
        })
    });
    let checkpoints = found.unread.iter().map(|one| {
        json!({
            "checkpoint": one.file(),
            "means": checkpoint_in_words(one),
            "applied": applied,
        })
    });
    let directories = found.directories();
    let identities = found.unnamed.iter().map(|one| {
        json!({
            "identity": one.file(),
            "means": one.left_as_it_is(&directories).join("\n"),
            "applied": false,
        })
    });
    logs.chain(checkpoints).chain(identities).collect()
}

#[cfg(test)]
mod tests;
