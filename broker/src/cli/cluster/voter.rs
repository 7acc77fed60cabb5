//! `milena cluster voter`: who votes in the metadata quorum (KIP-853).

use clap::{Args, Subcommand};
use milena_client::admin::QuorumMember;
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
    let (from, role) = match votes {
        true => (&quorum.observers, "follows the metadata without a vote"),
        false => (&quorum.voters, "votes"),
    };
    let missing = || {
        let ids = |members: &[QuorumMember]| -> Vec<i32> { members.iter().map(|m| m.id).collect() };
        let text = format!("no broker {broker} {role}");
        Failure::new(Exit::NotFound, text).hint(format!(
            "voters are {:?}, others are {:?}",
            ids(&quorum.voters),
            ids(&quorum.observers)
        ))
    };
    let member = from.iter().find(|member| member.id == broker);
    let directory = member.ok_or_else(missing)?.directory;
    match votes {
        true => client.add_raft_voter(broker, directory, &[]).await?,
        false => client.remove_raft_voter(broker, directory).await?,
    }
    match cluster.output {
        Format::Json => output::json(&json!({ "broker": broker, "votes": votes })),
        Format::Table => output::line(&match votes {
            true => format!("broker {broker}: votes"),
            false => format!("broker {broker}: votes no more"),
        }),
    }
}
