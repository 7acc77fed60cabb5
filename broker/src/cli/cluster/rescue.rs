//! `milena cluster rescue`: the majority of the metadata quorum is lost for good, and a survivor goes on alone.

use std::path::PathBuf;

use clap::Args;
use milena_log::LockedFolder;
use serde_json::json;

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format};
use crate::quorum::rescue::{Found, RescueError, Survey, Survivor};
use crate::quorum::types::Node;

#[derive(Debug, Args)]
#[command(after_help = "\
For the day on which more than half of the voters are lost and never come back. Stop this broker first. Of several
survivors choose the one whose last entry has the highest term, and among those of one term the one with the highest entry:
a higher entry of a lower term counts for nothing. What the others had decided beyond it is lost; records of partitions are
not touched. Every other former member, with a vote or without, has to start without its old metadata: remove the folder
`quorum` of its data directory, or of its metadata.log.dir, first. Old voters together would be a second quorum, and a member
without a vote may have taken over what this one lacks. The voters that are given up are dialled first, and --apply refuses
while one of them answers: it may have decided more since. A firewall hides them, so run it where the brokers reach each
other. Without --apply nothing is changed.")]
pub(super) struct Rescue {
    /// The stopped broker's data directory, or its metadata.log.dir
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Do it: this broker becomes the only voter
    #[arg(long)]
    apply: bool,
    /// Do it although voters answer: what they have decided meanwhile is overwritten
    #[arg(long, requires = "apply")]
    overrule_voters: bool,
}

pub(super) async fn run(rescue: &Rescue, format: Format) -> Result<(), Failure> {
    let dir = rescue.data.join("quorum");
    if !dir.is_dir() {
        let text = format!("{} is no folder of a broker's metadata", dir.display());
        return Err(Failure::new(Exit::NotFound, text));
    }
    let locked = LockedFolder::lock(&rescue.data);
    let _locked = locked.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let survivor = Survivor::open(&dir).map_err(failure)?;
    let survey = survivor.survey().map_err(failure)?;
    let found = survivor.look().await;
    if rescue.apply {
        if !rescue.overrule_voters {
            check_silent(&found)?;
        }
        survivor.go_on_alone().map_err(failure)?;
    }
    match format {
        Format::Json => output::json(&shown(&survey, &found, rescue.apply)),
        Format::Table => told(&survey, &found, rescue.apply),
    }
}

/// Refuses while a voter that is given up may be alive.
fn check_silent(found: &[(Node, Found)]) -> Result<(), Failure> {
    let answering = named(found, Found::Answers);
    if answering.is_empty() {
        return Ok(());
    }
    let text = format!(
        "of the voters that are given up these answer: {answering}; their metadata may be newer than what is here, and \
         would be overwritten; nothing was changed"
    );
    Err(Failure::new(Exit::Failed, text).hint(
        "where they are a majority, start this broker: it follows them; where they are to be given up, stop them first; \
         --overrule-voters goes on nevertheless",
    ))
}

fn named(found: &[(Node, Found)], wanted: Found) -> String {
    let those = found.iter().filter(|(_, found)| *found == wanted);
    let names: Vec<String> = those.map(|(node, _)| node.to_string()).collect();
    names.join(", ")
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

fn shown(survey: &Survey, found: &[(Node, Found)], applied: bool) -> serde_json::Value {
    let voters: Vec<i32> = survey.voters.iter().map(|voter| voter.broker).collect();
    let found = |wanted| -> Vec<i32> {
        let those = found.iter().filter(|(_, found)| *found == wanted);
        those.map(|(node, _)| node.broker).collect()
    };
    json!({
        "broker": survey.broker,
        "voters": voters,
        "answering": found(Found::Answers),
        "not_looked_for": found(Found::Unknown),
        "last_entry": survey.last_entry,
        "last_term": survey.last_term,
        "known_decided": survey.known_decided,
        "applied": applied,
    })
}

fn told(survey: &Survey, found: &[(Node, Found)], applied: bool) -> Result<(), Failure> {
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
    for line in looked(found) {
        output::line(&line)?;
    }
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

/// What there is to say of the voters that are given up.
fn looked(found: &[(Node, Found)]) -> Vec<String> {
    let lines = [
        (
            Found::Answers,
            "these answer, and their metadata may be newer (--apply refuses while they do)",
        ),
        (
            Found::Replaced,
            "there is nobody but a new member, without metadata, in the place of",
        ),
        (
            Found::Unknown,
            "the metadata does not say where these are, so that nobody has looked whether they answer",
        ),
    ];
    let lines = lines.map(|(wanted, what)| (what, named(found, wanted)));
    let lines = lines.into_iter().filter(|(_, names)| !names.is_empty());
    lines
        .map(|(what, names)| format!("{what}: {names}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    async fn look(data: &Path) -> String {
        let rescue = Rescue {
            data: data.to_owned(),
            apply: false,
            overrule_voters: false,
        };
        let looked = run(&rescue, Format::Json).await;
        looked.unwrap_err().text().to_owned()
    }

    #[test]
    fn it_refuses_while_a_voter_answers_and_names_it() {
        let voter = |broker, found| {
            let node = Node {
                broker,
                host: "h".into(),
                port: 9091,
                ..Node::default()
            };
            (node, found)
        };
        let gone = [voter(1, Found::Silent), voter(3, Found::Replaced)];
        assert_eq!(check_silent(&gone), Ok(()));
        let refused = check_silent(&[voter(1, Found::Silent), voter(2, Found::Answers)]);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("answer: broker 2 at h:9091;"), "{refused}");
        assert!(refused.contains("--overrule-voters"), "{refused}");
        let lines = looked(&[voter(1, Found::Unknown), voter(3, Found::Replaced)]);
        let [replaced, unknown] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert!(replaced.contains("without metadata") && replaced.contains("broker 3"));
        assert!(unknown.contains("does not say where") && unknown.contains("broker 1"));
    }

    #[tokio::test]
    async fn a_directory_without_metadata_is_left_as_it_was() {
        let data = tempfile::tempdir().unwrap();
        assert!(
            look(data.path())
                .await
                .contains("is no folder of a broker's metadata")
        );
        let quorum = data.path().join("quorum");
        std::fs::create_dir(&quorum).unwrap();
        let older = quorum.join("00000000000000000000.log");
        std::fs::write(&older, "of older software").unwrap();
        assert!(
            look(data.path())
                .await
                .contains("holds no metadata of a cluster")
        );
        let files = std::fs::read_dir(&quorum).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [older]);
    }

    #[tokio::test]
    async fn a_directory_that_is_in_use_is_not_looked_at() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("quorum")).unwrap();
        let _used = LockedFolder::lock(data.path()).unwrap();
        assert!(
            look(data.path())
                .await
                .contains("is in use by another process")
        );
    }
}
