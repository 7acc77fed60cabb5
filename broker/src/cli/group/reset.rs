//! `milena group reset-offsets`: where a group is to go on.

mod plan;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use milena_client::admin::{Committed, Offsets, When};
use milena_client::{Client, Error};
use milena_protocol::ErrorCode;
use serde::Serialize;

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format};
use crate::cli::target::{duration, timestamp_ms};

/// Move committed offsets.
#[derive(Debug, Args)]
pub struct Reset {
    /// The group
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    group: String,
    /// A topic, or some partitions of it
    #[arg(short, long = "topic", value_name = "TOPIC[:N,N...]", value_parser = topic_and_partitions)]
    topics: Vec<(String, Vec<i32>)>,
    /// Every topic that the group has committed
    #[arg(long, conflicts_with = "topics")]
    all_topics: bool,
    #[command(flatten)]
    to: To,
    /// Commit them; without it they are only shown
    #[arg(long, conflicts_with = "dry_run")]
    execute: bool,
    /// Only show them, which is the default
    #[arg(long)]
    dry_run: bool,
}

/// Where to; exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct To {
    /// To the first record that is kept
    #[arg(long)]
    to_earliest: bool,
    /// To the end
    #[arg(long)]
    to_latest: bool,
    /// To this offset
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// To the first record of this time or later, such as 2026-11-22T18:30:00Z
    #[arg(long, value_name = "TIME", value_parser = timestamp_ms)]
    to_datetime: Option<i64>,
    /// So many records on, or back if negative
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// So long ago, such as 1h or PT1H
    #[arg(long, value_name = "TIME", value_parser = duration)]
    by_duration: Option<Duration>,
    /// Where the group is now; to the end where it has committed nothing
    #[arg(long)]
    to_current: bool,
    /// To the offsets of a file, and only of its partitions; a line is `topic,partition,offset`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topics", "all_topics"])]
    from_file: Option<PathBuf>,
}

fn topic_and_partitions(text: &str) -> Result<(String, Vec<i32>), String> {
    let Some((topic, list)) = text.split_once(':') else {
        return Ok((text.to_owned(), Vec::new()));
    };
    let partitions: Result<Vec<i32>, _> = list.split(',').map(str::parse).collect();
    let partitions = partitions.map_err(|_| "give TOPIC or TOPIC:0,1,2".to_owned())?;
    Ok((topic.to_owned(), partitions))
}

#[derive(Serialize)]
struct Moved {
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: i64,
}

/// Runs the command.
pub(super) async fn run(client: &Client, reset: Reset, format: Format) -> Result<(), Failure> {
    if reset.topics.is_empty() && !reset.all_topics && reset.to.from_file.is_none() {
        let failure = Failure::new(Exit::Usage, "no topic is named");
        return Err(failure.hint("give --topic TOPIC, or --all-topics"));
    }
    check_empty(client, &reset.group).await?;
    let committed = client.committed(&reset.group).await?;
    let listed = match &reset.to.from_file {
        Some(path) => Some(plan::read(client, path).await?),
        None => None,
    };
    let partitions = match &listed {
        Some(listed) => listed.keys().cloned().collect(),
        None => partitions(client, &reset, &committed).await?,
    };
    let targets = targets(client, &reset.to, listed.as_ref(), &partitions, &committed).await?;
    if reset.execute {
        let offset = |(partition, &offset): (&(String, i32), &i64)| {
            (partition.clone(), Committed::at(offset))
        };
        let offsets = targets.iter().map(offset).collect();
        let committing = client.commit(&reset.group, None, &offsets).await;
        committing.map_err(|error| refused(&reset.group, error))?;
    }
    let moved = targets.into_iter().map(|(partition, to)| Moved {
        from: committed.get(&partition).map(|committed| committed.offset),
        topic: partition.0,
        partition: partition.1,
        to,
    });
    report(&reset, &moved.collect::<Vec<_>>(), format)
}

/// Refuses what could not be committed, where it is only to be shown too.
async fn check_empty(client: &Client, group: &str) -> Result<(), Failure> {
    match super::described(client, group).await {
        Ok((described, _)) if described.state != "Empty" => Err(has_members(group)),
        Err(error) if error.code() != Some(ErrorCode::GroupIdNotFound) => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A member may have joined since it was looked for.
fn refused(group: &str, error: Error) -> Failure {
    use ErrorCode as E;
    match error.code() {
        Some(E::UnknownMemberId | E::IllegalGeneration | E::RebalanceInProgress) => {
            has_members(group)
        }
        _ => error.into(),
    }
}

fn has_members(group: &str) -> Failure {
    let text = format!("the group {group:?} has members, whose offsets only they commit");
    let hint = format!("stop them first: `milena group describe {group}` lists them");
    Failure::new(Exit::Failed, text).hint(hint)
}

async fn partitions(
    client: &Client,
    reset: &Reset,
    committed: &BTreeMap<(String, i32), Committed>,
) -> Result<Vec<(String, i32)>, Failure> {
    if reset.all_topics {
        if committed.is_empty() {
            return Err(Failure::unknown_group(client, &reset.group).await);
        }
        return Ok(committed.keys().cloned().collect());
    }
    let mut partitions = Vec::new();
    for (name, wanted) in &reset.topics {
        let topic = match client.topic(name).await {
            Ok(topic) => topic,
            Err(error) => return Err(Failure::explain(client, error).await),
        };
        for &index in wanted {
            topic.partition(index)?;
        }
        let all = topic.partitions.iter().map(|partition| partition.index);
        let indexes: Vec<i32> = if wanted.is_empty() {
            all.collect()
        } else {
            wanted.clone()
        };
        partitions.extend(indexes.into_iter().map(|index| (name.clone(), index)));
    }
    Ok(partitions)
}

/// Each partition's new offset, within what its log has.
async fn targets(
    client: &Client,
    to: &To,
    listed: Option<&Offsets>,
    partitions: &[(String, i32)],
    committed: &BTreeMap<(String, i32), Committed>,
) -> Result<Offsets, Failure> {
    if to.to_latest {
        return Ok(client.offsets(partitions, When::End).await?);
    }
    let ago = to
        .by_duration
        .map(|duration| now_ms() - duration.as_millis() as i64);
    if let Some(time) = to.to_datetime.or(ago) {
        return Ok(client.offsets(partitions, When::Time(time)).await?);
    }
    let starts = client.offsets(partitions, When::Start).await?;
    if to.to_earliest {
        return Ok(starts);
    }
    let ends = client.offsets(partitions, When::End).await?;
    let mut targets = Offsets::new();
    for partition in partitions {
        let (start, end) = (starts[partition], ends[partition]);
        let current = committed.get(partition).map(|committed| committed.offset);
        let listed = listed.and_then(|listed| listed.get(partition)).copied();
        let wanted = match (listed.or(to.to_offset), to.shift_by) {
            (Some(offset), _) => offset,
            (None, Some(shift)) => current.unwrap_or(start).saturating_add(shift),
            // --to-current
            (None, None) => current.unwrap_or(end),
        };
        let target = wanted.clamp(start, end);
        if target != wanted {
            eprintln!(
                "{}-{}: {wanted} is outside {start} to {end}, so {target}",
                partition.0, partition.1
            );
        }
        targets.insert(partition.clone(), target);
    }
    Ok(targets)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

fn report(reset: &Reset, moved: &[Moved], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(&serde_json::json!({
            "group": reset.group, "executed": reset.execute, "partitions": moved,
        }));
    }
    let rows = moved.iter().map(|row| {
        let from = row.from.map_or("-".to_owned(), |from| from.to_string());
        [
            row.topic.clone(),
            row.partition.to_string(),
            from,
            row.to.to_string(),
        ]
    });
    output::table(
        ["topic", "partition", "from", "to"],
        &rows.collect::<Vec<_>>(),
    )?;
    if !reset.execute {
        output::line("nothing was changed: give --execute to commit these offsets")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_name_partitions() {
        assert_eq!(topic_and_partitions("a"), Ok(("a".to_owned(), vec![])));
        assert_eq!(
            topic_and_partitions("a:0,2"),
            Ok(("a".to_owned(), vec![0, 2]))
        );
        assert!(topic_and_partitions("a:x").is_err());
    }
}
