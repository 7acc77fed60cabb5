//! `milena cluster voter`: who votes in the metadata quorum (KIP-853).

use clap::{Args, Subcommand};
use milena_client::admin::{QuorumDescription, QuorumMember};
use milena_protocol::ErrorCode;
use serde_json::json;

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format};
use crate::cli::target::ClusterArgs;

#[derive(Debug, Args)]
pub(super) struct Voter {
    #[command(subcommand)]
    change: Change,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Give a broker that has caught up with the metadata a vote
    Add(Whose),
    /// Take a broker's vote; it goes on following
    Remove(Whose),
}

#[derive(Debug, Args)]
struct Whose {
    /// The broker's number
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker: i32,
}

pub(super) async fn run(voter: &Voter, cluster: &ClusterArgs) -> Result<(), Failure> {
    let client = cluster.reach().await?;
    let quorum = client.describe_quorum().await?;
    let (broker, votes) = match &voter.change {
        Change::Add(whose) => (whose.broker, true),
        Change::Remove(whose) => (whose.broker, false),
    };
    let (from, others) = match votes {
        true => (&quorum.observers, &quorum.voters),
        false => (&quorum.voters, &quorum.observers),
    };
    let find = |members: &[QuorumMember]| -> Option<QuorumMember> {
        let mut members = members.iter();
        members.find(|member| member.id == broker).cloned()
    };
    match (find(from), find(others)) {
        // Its disk is another by now: a second vote would make a majority harder to have, not easier.
        (Some(_), Some(_)) if votes => return Err(votes_with_a_lost_directory(broker)),
        (Some(member), _) if votes => {
            client.add_raft_voter(broker, member.directory, &[]).await?;
        }
        (Some(member), _) => client.remove_raft_voter(broker, member.directory).await?,
        // Only the quorum's leader knows whether the change that made it a voter is done.
        (None, Some(voter)) if votes => {
            match client.add_raft_voter(broker, voter.directory, &[]).await {
                Err(error) if error.code() == Some(ErrorCode::DuplicateVoter) => {}
                added => added?,
            }
        }
        // It is so already.
        (None, Some(_)) => {}
        (None, None) => return Err(no_member(broker, &quorum)),
    }
    match cluster.output {
        Format::Json => output::json(&json!({ "broker": broker, "votes": votes })),
        Format::Table => output::line(&match votes {
            true => format!("broker {broker}: votes"),
            false => format!("broker {broker}: votes no more"),
        }),
    }
}

fn votes_with_a_lost_directory(broker: i32) -> Failure {
    let text = format!("broker {broker} votes with a metadata directory that it no longer has");
    Failure::new(Exit::Failed, text).hint(format!(
        "`milena cluster voter remove {broker}` takes that vote; then add it again"
    ))
}

fn no_member(broker: i32, quorum: &QuorumDescription) -> Failure {
    let ids = |members: &[QuorumMember]| -> Vec<i32> { members.iter().map(|m| m.id).collect() };
    let text = format!("broker {broker} is no member of the metadata quorum");
    Failure::new(Exit::NotFound, text).hint(format!(
        "start it, and it joins; voters are {:?}, others are {:?}",
        ids(&quorum.voters),
        ids(&quorum.observers)
    ))
}
