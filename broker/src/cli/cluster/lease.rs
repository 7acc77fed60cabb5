//! `milena cluster lease`: may this broker stop? `lease/hook.rs` is the one that waits for it.

mod hook;

use std::time::Duration;

use clap::Args;
use milena_metadata::{
    BlockingFollower, BlockingPartition, GrantedLease, LeaseAnswer, LeaseRefusal, NotStaying,
};

use crate::cli::failure::{Exit, Failure};
use crate::cli::http::Http;
use crate::cli::output::{self, Format};
use crate::cli::target::duration;
use crate::http::v1::stop_lease::GivenBack;

/// Lines of a refusal: what blocks is often the same for all partitions.
const PARTITIONS_SHOWN_MAX: usize = 10;
/// HTTP's status of a refusal.
const CONFLICT: u16 = 409;

/// What of the grace period is for the stop itself: above `shutdown.timeout.ms`, and an answer that is late.
const STOP_NEEDS: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = "\
With --self it is what Kubernetes runs before it stops a container (preStop): it waits until the broker may stop, and ends
with 0 whatever comes. It waits no longer where the cluster is being stopped as a whole, most voters may stop or are
stopping, the metadata quorum can't be asked for 30 s, or the broker's name has been none for so long, the cluster having
been deleted. Partitions that no stop is safe for then pause.")]
pub(super) struct Lease {
    /// The broker's number
    #[arg(value_name = "ID", required_unless_present = "itself", value_parser = clap::value_parser!(i32).range(0..))]
    broker: Option<i32>,
    /// The broker on this machine, and wait: its HTTP is MILENA_HTTP_LISTENER, or port 9404
    #[arg(id = "itself", long = "self", conflicts_with = "broker")]
    itself: bool,
    /// Give the lease back
    #[arg(long)]
    release: bool,
    /// How long the broker may be away
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = duration)]
    duration: Duration,
    /// How many brokers may be away at once
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max_unavailable: u32,
    /// What becomes of partitions that no stop is safe for, having too few replicas [default: block, with --self allow]
    #[arg(long, value_enum)]
    never_safe: Option<Policy>,
    /// How long --self waits [default: the grace period less 60s]
    #[arg(long, value_name = "TIME", requires = "itself", value_parser = duration)]
    wait: Option<Duration>,
    /// How many seconds pass between the word to stop and the kill, as terminationGracePeriodSeconds of the pod; for --self
    #[arg(
        long,
        value_name = "SECONDS",
        env = "MILENA_GRACE_PERIOD",
        default_value_t = 600
    )]
    grace_period: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Policy {
    /// They block the stop.
    Block,
    /// They block it until they are moved.
    Move,
    /// They may pause.
    Allow,
}

impl Lease {
    pub(super) fn is_self(&self) -> bool {
        self.itself
    }

    /// Who stops anyway waits for nothing that no waiting brings.
    fn policy(&self) -> &'static str {
        match (self.never_safe, self.itself) {
            (Some(Policy::Block), _) | (None, false) => "block",
            (Some(Policy::Move), _) => "move",
            (Some(Policy::Allow), _) | (None, true) => "allow",
        }
    }

    fn wait(&self) -> Duration {
        let grace_period = Duration::from_secs(self.grace_period.into());
        self.wait
            .unwrap_or_else(|| grace_period.saturating_sub(STOP_NEEDS))
    }

    pub(super) async fn run(&self, http: &Http, format: Format) -> Result<(), Failure> {
        let broker = self.broker.map_or("self".to_owned(), |id| id.to_string());
        let path = format!("/v1/brokers/{broker}/stop-lease");
        if self.release {
            let given_back: GivenBack = http.delete(&path).await?.read()?;
            return match (format, given_back.released) {
                (Format::Json, _) => output::json(&given_back),
                (Format::Table, true) => output::line("the lease is given back"),
                (Format::Table, false) => output::line("there was no lease"),
            };
        }
        let path = format!(
            "{path}?duration={}ms&max_unavailable={}&never_safe={}",
            self.duration.as_millis(),
            self.max_unavailable,
            self.policy()
        );
        if self.itself {
            let path = format!("{path}&hook=true");
            return hook::run(http, &path, self.wait(), format).await;
        }
        let answer = http.post(&path, "").await?;
        let told: LeaseAnswer = match answer.status {
            CONFLICT => answer.parse()?,
            _ => answer.read()?,
        };
        if format == Format::Json {
            output::json(&told)?;
        }
        match told {
            LeaseAnswer::Granted(_) if format == Format::Json => Ok(()),
            LeaseAnswer::Granted(granted) => output::line(&granted_in_words(&granted)),
            LeaseAnswer::Refused(refusal) => {
                let failure = Failure::new(Exit::Refused, refused_in_words(&refusal));
                Err(failure.hint(what_helps(&refusal)))
            }
        }
    }
}

fn granted_in_words(granted: &GrantedLease) -> String {
    let until = jiff::Timestamp::from_millisecond(granted.lease.expires_ms);
    let until = until.map_or_else(|_| "its end".to_owned(), |until| until.to_string());
    let mut text = format!("broker {} may stop, until {until}", granted.lease.broker);
    if granted.pausing_count > 0 {
        text += &format!("; {} partitions pause meanwhile", granted.pausing_count);
    }
    if granted.quorum_pauses {
        text += "; changes of metadata wait meanwhile";
    }
    if granted.cluster_stopping {
        text += "; the cluster is being stopped as a whole";
    }
    text
}

fn refused_in_words(refusal: &LeaseRefusal) -> String {
    let mut lines = vec!["it may not stop now".to_owned()];
    if !refusal.leases_out.is_empty() {
        let brokers: Vec<String> = refusal.leases_out.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "brokers that may stop already: {}",
            brokers.join(", ")
        ));
    }
    if let Some(quorum) = &refusal.quorum {
        let behind: Vec<String> = quorum.behind.iter().map(ToString::to_string).collect();
        let behind = match behind.is_empty() {
            true => String::new(),
            false => format!("; down or behind: {}", behind.join(", ")),
        };
        lines.push(format!(
            "of {} voters only {} would stay{behind}",
            quorum.voters, quorum.staying
        ));
    }
    let shown = refusal.blocking.iter().take(PARTITIONS_SHOWN_MAX);
    lines.extend(shown.map(blocking));
    and_more(&mut lines, refusal.blocking_count);
    let never = refusal.never_safe.iter().take(PARTITIONS_SHOWN_MAX);
    lines.extend(never.map(|(topic, partition)| {
        format!("{topic}-{partition}: has too few replicas for any stop (--never-safe allow lets it pause)")
    }));
    and_more(&mut lines, refusal.never_safe_count);
    lines.join("\n  ")
}

/// What has to be done before the broker may stop, where waiting alone does not help; of several, the first.
fn what_helps(refusal: &LeaseRefusal) -> String {
    if refusal.never_safe_count > 0 {
        return "waiting does not help: give those partitions more replicas, or `milena topic move` them; \
                --never-safe allow lets them pause"
            .to_owned();
    }
    match refusal.leases_out.first() {
        Some(out) => format!(
            "ask again when they are back in sync; `milena cluster lease {out} --release` where broker {out} is not to \
             stop after all"
        ),
        None => "ask again when it has caught up; `milena cluster describe` shows the brokers"
            .to_owned(),
    }
}

fn and_more(lines: &mut Vec<String>, count: usize) {
    if count > PARTITIONS_SHOWN_MAX {
        lines.push(format!(
            "and {} partitions more",
            count - PARTITIONS_SHOWN_MAX
        ));
    }
}

fn blocking(partition: &BlockingPartition) -> String {
    let followers: Vec<String> = partition.followers.iter().map(follower).collect();
    format!(
        "{}-{}: {} of {} in-sync replicas would stay ({})",
        partition.topic,
        partition.partition,
        partition.staying,
        partition.needed,
        followers.join(", ")
    )
}

fn follower(follower: &BlockingFollower) -> String {
    let reason = match follower.reason {
        NotStaying::Down => "is down",
        NotStaying::OutOfSync => "is not in sync",
        NotStaying::Behind => "is behind",
        NotStaying::HoldsLease => "may stop already",
    };
    match follower.bytes_behind {
        Some(bytes) => format!(
            "broker {} {reason} by {}",
            follower.broker,
            indicatif::HumanBytes(bytes)
        ),
        None => format!("broker {} {reason}", follower.broker),
    }
}

#[cfg(test)]
mod tests {
    use milena_metadata::{BrokerId, PartitionId, TopicName};

    use super::*;

    fn id(number: i32) -> BrokerId {
        BrokerId::new(number).unwrap()
    }

    #[test]
    fn a_refusal_says_what_helps_where_waiting_does_not() {
        let leases_out = LeaseRefusal {
            leases_out: vec![id(3)],
            ..LeaseRefusal::default()
        };
        let told = what_helps(&leases_out);
        assert!(told.contains("cluster lease 3 --release"), "{told}");
        let never_safe = LeaseRefusal {
            never_safe_count: 1,
            ..leases_out
        };
        let told = what_helps(&never_safe);
        assert!(told.contains("--never-safe allow"), "{told}");
        let behind = what_helps(&LeaseRefusal::default());
        assert!(behind.contains("caught up"), "{behind}");
    }

    #[test]
    fn a_refusal_names_partition_follower_and_bytes() {
        let refusal = LeaseRefusal {
            leases_out: vec![id(3)],
            blocking: vec![BlockingPartition {
                topic: TopicName::new("orders").unwrap(),
                partition: PartitionId::new(7).unwrap(),
                needed: 2,
                staying: 1,
                followers: vec![BlockingFollower {
                    broker: id(2),
                    reason: NotStaying::OutOfSync,
                    bytes_behind: Some(2048),
                }],
            }],
            blocking_count: 1,
            ..LeaseRefusal::default()
        };
        assert_eq!(
            refused_in_words(&refusal),
            "it may not stop now\n  brokers that may stop already: 3\n  orders-7: 1 of 2 in-sync replicas would stay \
             (broker 2 is not in sync by 2.00 KiB)"
        );
    }
}
