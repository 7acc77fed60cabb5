//! `milena cluster`: describe, drain, rebalance, repair, lease, unregister, voter, rescue, start.

mod describe;
mod lease;
mod moves;
mod rescue;
mod start;
mod unregister;
mod voter;

use std::time::Duration;

use clap::{Args, Subcommand};

use moves::Mover;

use super::failure::Failure;
use super::http::HttpArgs;
use super::target::{ClusterArgs, duration};
use super::throttle::rate;

/// How long a command waits that is told to, where it is not told how long: copies take hours.
const WAIT_DEFAULT: &str = "24h";

/// Look at a cluster's brokers, empty them, and start a cluster on this machine.
#[derive(Debug, Args)]
pub struct ClusterCommands {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Show brokers, the metadata quorum, and how the partitions are
    Describe,
    /// Empty brokers: they take no replicas any more, and what they have moves away
    Drain(Drain),
    /// Move what is misplaced, empty draining brokers, and make replicas and leaders even
    Rebalance(Moving),
    /// Move what is misplaced, and nothing else
    Repair(Moving),
    /// Ask whether a broker may stop; exit code 6 where it may not yet. With --self, wait until it may
    Lease(lease::Lease),
    /// Forget a broker that is stopped for good, and has neither replicas nor a vote
    Unregister(unregister::Unregister),
    /// Change who votes in the metadata quorum
    Voter(voter::Voter),
    /// Go on with one voter, on a stopped broker, when the majority of the metadata quorum is lost for good
    Rescue(rescue::Rescue),
    /// Run several brokers on this machine until Ctrl-C; the next start on the same directory goes on
    Start(start::Start),
}

#[derive(Debug, Args)]
struct Drain {
    /// The brokers' numbers
    #[arg(required = true, value_name = "ID", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(0..))]
    brokers: Vec<i32>,
    /// They take replicas again; what is on its way away from them goes on, and is named
    #[arg(long, conflicts_with_all = ["dry_run", "throttle", "wait"])]
    cancel: bool,
    #[command(flatten)]
    moving: Moving,
}

#[derive(Debug, Args)]
#[command(after_help = "\
With --throttle the new copies take no more than so many bytes a second on each broker, and the last rate that was given is
that of all throttled moves. --wait takes the throttle away again once all is moved; without it `milena topic unthrottle`
does.")]
struct Moving {
    /// Only show what would move
    #[arg(long)]
    dry_run: bool,
    /// Bytes a second that each broker may copy of it
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    throttle: Option<i64>,
    /// Wait until all of it has moved, at most so long [default where no time is given: 24h]
    #[arg(
        long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = WAIT_DEFAULT,
        value_parser = duration, conflicts_with = "dry_run"
    )]
    wait: Option<Duration>,
}

/// Runs the command.
pub async fn run(args: ClusterCommands) -> Result<(), Failure> {
    let ClusterCommands {
        cluster,
        http: address,
        command,
    } = args;
    let format = cluster.output;
    let http = address.of(&cluster);
    match command {
        ClusterCommand::Describe => describe::run(&http, format).await,
        ClusterCommand::Drain(drain) if drain.cancel => {
            moves::cancel_drain(&http, &drain.brokers, format).await
        }
        ClusterCommand::Drain(drain) => {
            let mover = Mover::new(http, &cluster, &drain.moving);
            moves::drain(&mover, &drain.brokers).await
        }
        ClusterCommand::Rebalance(moving) => {
            moves::rebalance(&Mover::new(http, &cluster, &moving)).await
        }
        ClusterCommand::Repair(moving) => moves::repair(&Mover::new(http, &cluster, &moving)).await,
        ClusterCommand::Lease(lease) => {
            let http = match lease.is_self() {
                true => address.here(&cluster),
                false => http,
            };
            lease.run(&http, format).await
        }
        ClusterCommand::Unregister(unregister) => unregister.run(&http, format).await,
        ClusterCommand::Voter(voter) => voter::run(&voter, &cluster).await,
        ClusterCommand::Rescue(rescue) => rescue::run(&rescue, format).await,
        ClusterCommand::Start(start) => start.run().await,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        commands: ClusterCommands,
    }

    #[test]
    fn brokers_to_drain_stand_apart_or_with_commas_and_a_dry_run_takes_a_throttle() {
        let words = "cluster drain 2,3 4 --dry-run --throttle 10000000";
        let line = Line::try_parse_from(words.split(' ')).unwrap();
        let ClusterCommand::Drain(drain) = line.commands.command else {
            panic!("{:?}", line.commands.command)
        };
        assert_eq!(drain.brokers, [2, 3, 4]);
        let refused = Line::try_parse_from(["cluster", "drain", "2", "--throttle", "10MB"]);
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains("such as 10000000"), "{refused}");
    }
}
