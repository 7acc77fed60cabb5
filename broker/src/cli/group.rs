//! `milena group`: list, describe, reset-offsets, delete.

mod reset;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use milena_client::admin::{Committed, GroupDescription, GroupMember, When};
use milena_client::{Client, Error};
use milena_protocol::ErrorCode;
use serde::Serialize;

use super::failure::Failure;
use super::offline::{self, Place, Told};
use super::output::{self, Format};
use super::target::ClusterArgs;

/// Look at consumer groups and change where they are.
#[derive(Debug, Args)]
pub struct GroupArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// List the groups
    List,
    /// Show a group's members, offsets and lag
    Describe {
        /// The group
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        group: String,
    },
    /// Move the committed offsets of a group without members; only shows them unless --execute is given
    ResetOffsets(reset::Reset),
    /// Delete groups that have no members, with their offsets
    Delete {
        /// Groups to delete
        #[arg(required = true, value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
        groups: Vec<String>,
    },
}

/// Runs the command.
pub async fn run(args: GroupArgs) -> Result<(), Failure> {
    let client = args.cluster.reach().await?;
    let format = args.cluster.output;
    match args.command {
        GroupCommand::List => list(&client, format).await,
        GroupCommand::Describe { group } => describe(&client, &group, format).await,
        GroupCommand::ResetOffsets(reset) => reset::run(&client, reset, format).await,
        GroupCommand::Delete { groups } => delete(&client, &groups, format).await,
    }
}

async fn explained<T>(client: &Client, result: Result<T, Error>) -> Result<T, Failure> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => Err(Failure::explain(client, error).await),
    }
}

async fn list(client: &Client, format: Format) -> Result<(), Failure> {
    let groups = client.groups().await?;
    if format == Format::Json {
        let listed = groups.iter().map(|group| {
            serde_json::json!({
                "group": group.id, "state": group.state, "type": group.kind,
                "protocol": group.protocol, "coordinator": group.coordinator,
            })
        });
        return output::json(&listed.collect::<Vec<_>>());
    }
    let rows = groups.into_iter().map(|group| {
        [
            group.id,
            group.state,
            group.kind,
            group.protocol,
            group.coordinator.to_string(),
        ]
    });
    let headers = ["group", "state", "type", "protocol", "coordinator"];
    output::table(headers, &rows.collect::<Vec<_>>())
}

async fn delete(client: &Client, groups: &[String], format: Format) -> Result<(), Failure> {
    for group in groups {
        explained(client, client.delete_group(group).await).await?;
        match format {
            Format::Json => {
                output::json(&serde_json::json!({ "group": group, "result": "deleted" }))?
            }
            Format::Table => output::line(&format!("group {group}: deleted"))?,
        }
    }
    Ok(())
}

/// One partition that a group consumes or has consumed.
#[derive(Serialize)]
struct Consumed {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
    /// Why it can't be read, and its end is not known.
    offline: Option<String>,
    member: Option<String>,
    client_id: Option<String>,
    host: Option<String>,
}

/// A member that has no partition.
#[derive(Serialize)]
struct Idle<'a> {
    member: &'a str,
    client_id: &'a str,
    host: &'a str,
}

fn idle(group: &GroupDescription) -> Vec<Idle<'_>> {
    let is_idle = |member: &&GroupMember| member.assignment.values().all(Vec::is_empty);
    let mut idle: Vec<Idle> = group
        .members
        .iter()
        .filter(is_idle)
        .map(|member| Idle {
            member: &member.id,
            client_id: &member.client_id,
            host: &member.host,
        })
        .collect();
    idle.sort_by_key(|idle| idle.member);
    idle
}

/// The kind of the groups whose members speak the protocol of KIP-848.
const NEWER: &str = "consumer";

/// The group, and how many members it has; none where that is not told. DescribeGroups knows no group of the newer
/// protocol: its state is in the listing, and its offsets are where those of all groups are.
async fn described(
    client: &Client,
    group: &str,
) -> Result<(GroupDescription, Option<usize>), Error> {
    let error = match client.describe_group(group).await {
        Ok(described) => {
            let members = described.members.len();
            return Ok((described, Some(members)));
        }
        Err(error) => error,
    };
    if error.code() != Some(ErrorCode::GroupIdNotFound) {
        return Err(error);
    }
    let mut listed = client.groups().await?.into_iter();
    let listed = listed.find(|listed| listed.id == group && listed.kind == NEWER);
    let described = listed.map(|listed| GroupDescription {
        id: listed.id,
        state: listed.state,
        assignor: String::new(),
        members: Vec::new(),
    });
    described.map(|described| (described, None)).ok_or(error)
}

async fn describe(client: &Client, group: &str, format: Format) -> Result<(), Failure> {
    let (described, members) = explained(client, described(client, group).await).await?;
    let committed = client.committed(group).await?;
    let consumed = consumed(client, &described, &committed).await?;
    let state = &described.state;
    if format == Format::Json {
        return output::json(&serde_json::json!({
            "group": group,
            "state": state,
            "assignor": described.assignor,
            "members": members,
            "partitions": consumed,
            "idle_members": idle(&described),
        }));
    }
    let members = members.map_or("-".to_owned(), |members| members.to_string());
    output::line(&format!(
        "{group}  state {state}  assignor {}  members {members}",
        if described.assignor.is_empty() {
            "-"
        } else {
            &described.assignor
        }
    ))?;
    print(consumed, &idle(&described))
}

/// A line for each partition, and for each member without one; and why a partition's end is not known.
fn print(consumed: Vec<Consumed>, idle: &[Idle]) -> Result<(), Failure> {
    let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
    let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let offline = consumed.iter().filter_map(|row| {
        let why = row.offline.as_ref()?;
        Some(format!(
            "  {}-{} is offline: {why}",
            row.topic, row.partition
        ))
    });
    let offline: Vec<String> = offline.collect();
    let rows = consumed.into_iter().map(|row| {
        [
            row.topic,
            row.partition.to_string(),
            number(row.committed),
            number(row.end),
            number(row.lag),
            text(row.member),
            text(row.client_id),
            text(row.host),
        ]
    });
    let idle = idle.iter().map(|idle| {
        [
            "-",
            "-",
            "-",
            "-",
            "-",
            idle.member,
            idle.client_id,
            idle.host,
        ]
        .map(str::to_owned)
    });
    let headers = [
        "topic",
        "partition",
        "committed",
        "end",
        "lag",
        "member",
        "client",
        "host",
    ];
    output::table(headers, &rows.chain(idle).collect::<Vec<_>>())?;
    offline.iter().try_for_each(|line| output::line(line))
}

async fn consumed(
    client: &Client,
    group: &GroupDescription,
    committed: &BTreeMap<(String, i32), Committed>,
) -> Result<Vec<Consumed>, Failure> {
    let mut owners: BTreeMap<(String, i32), &GroupMember> = BTreeMap::new();
    for member in &group.members {
        for (topic, partitions) in &member.assignment {
            let owned = partitions
                .iter()
                .map(|&partition| (topic.clone(), partition));
            owners.extend(owned.map(|partition| (partition, member)));
        }
    }
    let all: BTreeSet<_> = committed.keys().chain(owners.keys()).cloned().collect();
    let ends = ends(client, &all).await?;
    let consumed = all.into_iter().map(|partition| {
        let offset = committed.get(&partition).map(|committed| committed.offset);
        let end = ends.offsets.get(&partition).copied();
        let owner = owners.get(&partition);
        Consumed {
            committed: offset,
            end,
            lag: offset.zip(end).map(|(offset, end)| (end - offset).max(0)),
            offline: ends.offline.get(&partition).map(ToString::to_string),
            member: owner.map(|owner| owner.id.clone()),
            client_id: owner.map(|owner| owner.client_id.clone()),
            host: owner.map(|owner| owner.host.clone()),
            topic: partition.0,
            partition: partition.1,
        }
    });
    Ok(consumed.collect())
}

/// The ends of those partitions whose topics are still there, as they are now.
async fn ends(client: &Client, partitions: &BTreeSet<Place>) -> Result<Told, Failure> {
    let topics: BTreeSet<&str> = partitions.iter().map(|(topic, _)| &**topic).collect();
    let cluster = client
        .refresh(&topics.into_iter().collect::<Vec<_>>())
        .await?;
    let exists = |(topic, index): &&(String, i32)| {
        cluster
            .topics
            .get(topic)
            .is_some_and(|topic| topic.partition(*index).is_ok())
    };
    let known: Vec<_> = partitions.iter().filter(exists).cloned().collect();
    Ok(offline::offsets(client, &known, When::End, Duration::ZERO).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_without_a_partition_are_idle() {
        let member = |id: &str, assignment: &[(&str, &[i32])]| {
            let owned = |(topic, indexes): &(&str, &[i32])| ((*topic).to_owned(), indexes.to_vec());
            GroupMember {
                id: id.to_owned(),
                instance_id: None,
                client_id: "c".to_owned(),
                host: "h".to_owned(),
                assignment: assignment.iter().map(owned).collect(),
            }
        };
        let group = GroupDescription {
            id: "g".to_owned(),
            state: "Stable".to_owned(),
            assignor: "range".to_owned(),
            members: vec![
                member("c", &[("t", &[])]),
                member("b", &[("t", &[0])]),
                member("a", &[]),
            ],
        };
        let ids: Vec<&str> = idle(&group).iter().map(|idle| idle.member).collect();
        assert_eq!(ids, ["a", "c"]);
    }
}
