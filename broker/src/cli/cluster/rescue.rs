//! `milena cluster rescue`: the majority of the metadata quorum is lost for good, and a survivor goes on alone.

use std::path::PathBuf;

use clap::Args;
use milena_log::LockedFolder;
use serde_json::json;

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format};
use crate::quorum::rescue::{RescueError, Survey, Survivor};

#[derive(Debug, Args)]
#[command(after_help = "\
For the day on which more than half of the voters are lost and never come back. Stop this broker first. Of several
survivors choose the one whose last entry has the highest term, and among those of one term the one with the highest entry:
a higher entry of a lower term counts for nothing. What the others had decided beyond it is lost; records of partitions are
not touched. Every other former member, with a vote or without, has to start without its old metadata: remove the folder
`quorum` of its data directory, or of its metadata.log.dir, first. Old voters together would be a second quorum, and a member
without a vote may have taken over what this one lacks. Without --apply nothing is changed.")]
pub(super) struct Rescue {
    /// The stopped broker's data directory, or its metadata.log.dir
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Do it: this broker becomes the only voter
    #[arg(long)]
    apply: bool,
}

pub(super) fn run(rescue: &Rescue, format: Format) -> Result<(), Failure> {
    let dir = rescue.data.join("quorum");
    if !dir.is_dir() {
        let text = format!("{} is no folder of a broker's metadata", dir.display());
        return Err(Failure::new(Exit::NotFound, text));
    }
    let locked = LockedFolder::lock(&rescue.data);
    let _locked = locked.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let survivor = Survivor::open(&dir).map_err(failure)?;
    let survey = survivor.survey().map_err(failure)?;
    if rescue.apply {
        survivor.go_on_alone().map_err(failure)?;
    }
    match format {
        Format::Json => output::json(&shown(&survey, rescue.apply)),
        Format::Table => told(&survey, rescue.apply),
    }
}

fn failure(error: RescueError) -> Failure {
    let failure = Failure::new(Exit::Failed, error.to_string());
    match error {
        RescueError::Store(_) => {
            failure.hint("a broker that runs holds its metadata: stop it first")
        }
        RescueError::Empty(_) => failure,
    }
}

fn shown(survey: &Survey, applied: bool) -> serde_json::Value {
    let voters: Vec<i32> = survey.voters.iter().map(|voter| voter.broker).collect();
    json!({
        "broker": survey.broker,
        "voters": voters,
        "last_entry": survey.last_entry,
        "last_term": survey.last_term,
        "known_decided": survey.known_decided,
        "applied": applied,
    })
}

fn told(survey: &Survey, applied: bool) -> Result<(), Failure> {
    let Survey {
        broker,
        last_entry,
        last_term,
        known_decided,
        voters,
    } = survey;
    let lost = voters.iter().filter(|voter| voter.broker != *broker);
    let lost: Vec<String> = lost.map(ToString::to_string).collect();
    output::line(&format!(
        "broker {broker} has the metadata up to term {last_term}, entry {last_entry}; known to be decided: {known_decided}"
    ))?;
    output::line(&format!("voters that are given up: {}", lost.join(", ")))?;
    output::line(&format!(
        "lost: whatever those had decided beyond entry {last_entry}; kept, though it may not have been decided: entries {} to \
         {last_entry}",
        known_decided + 1
    ))?;
    output::line(match applied {
        true => {
            "done: start this broker. Every other former member, with a vote or without, joins it without its old metadata \
             (the folder quorum); `milena cluster voter add` gives it a vote"
        }
        false => {
            "nothing was changed; --apply does it. Of several survivors the highest term goes on, and of one term the highest \
             entry"
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn look(data: &Path) -> String {
        let data = data.to_owned();
        let looked = run(&Rescue { data, apply: false }, Format::Json);
        looked.unwrap_err().text().to_owned()
    }

    #[test]
    fn a_directory_without_metadata_is_left_as_it_was() {
        let data = tempfile::tempdir().unwrap();
        assert!(look(data.path()).contains("is no folder of a broker's metadata"));
        let quorum = data.path().join("quorum");
        std::fs::create_dir(&quorum).unwrap();
        let older = quorum.join("00000000000000000000.log");
        std::fs::write(&older, "of older software").unwrap();
        assert!(look(data.path()).contains("holds no metadata of a cluster"));
        let files = std::fs::read_dir(&quorum).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [older]);
    }

    #[test]
    fn a_directory_that_is_in_use_is_not_looked_at() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("quorum")).unwrap();
        let _used = LockedFolder::lock(data.path()).unwrap();
        assert!(look(data.path()).contains("is in use by another process"));
    }
}
