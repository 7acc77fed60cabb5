//! `milena topic move` and `moves`: partitions to other brokers, by Kafka's own APIs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use milena_client::admin::{OngoingReassignment, Sizes, WantedReplicas};
use milena_client::{Client, Error, Topic};
use serde::Serialize;
use tokio::time::sleep;

use super::{Stop, ids};
use crate::cli::copying::{self, Copying, LOOK_EVERY, Pace, Watch};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format};
use crate::cli::target::duration;
use crate::cli::throttle::{self, Throttled};

#[derive(Debug, Args)]
#[command(after_help = "\
A move copies first: the replicas of today serve until the new ones are in sync. With --throttle the new copies take no
more than so many bytes a second on each broker, and the last rate that was given is that of all throttled moves. --wait
takes the throttle away again once all is moved, --cancel at once; `milena topic unthrottle` does it where neither was
given.")]
pub(super) struct Move {
    /// The topic, or TOPIC-PARTITION for one partition
    #[arg(value_name = "TOPIC[-PARTITION]")]
    topic: String,
    /// The brokers that are to have it, the preferred leader first
    #[arg(
        long, value_name = "ID,ID...", value_delimiter = ',', required_unless_present = "cancel",
        value_parser = clap::value_parser!(i32).range(0..)
    )]
    to: Vec<i32>,
    /// Give up what is on its way: the brokers are those of before
    #[arg(long, conflicts_with_all = ["to", "throttle", "dry_run", "wait"])]
    cancel: bool,
    /// Only show what would move
    #[arg(long)]
    dry_run: bool,
    /// Bytes a second that each broker may copy of it
    #[arg(long, value_name = "BYTES", value_parser = throttle::rate)]
    throttle: Option<i64>,
    /// Wait until all of it has moved, at most so long [default where no time is given: 24h]
    #[arg(
        long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "24h",
        value_parser = duration, conflicts_with = "dry_run"
    )]
    wait: Option<Duration>,
}

/// One partition's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Way {
    partition: i32,
    from: Vec<i32>,
    to: Vec<i32>,
    /// What its leader has.
    bytes: Option<u64>,
}

impl Move {
    pub(super) async fn run(&self, client: &Client, format: Format) -> Result<(), Stop> {
        let (topic, partitions) = self.partitions(client).await?;
        if self.cancel {
            return self.give_up(client, &topic.name, &partitions, format).await;
        }
        let ways = self.ways(client, &topic, &partitions).await?;
        let throttled = throttled(&topic.name, &ways);
        if !self.dry_run && !ways.is_empty() {
            if let Some(rate) = self.throttle {
                throttled.begin(client, rate).await?;
            }
            if let Err(error) = begin(client, &topic.name, &ways).await {
                if self.throttle.is_some() {
                    throttled.end(client).await.ok();
                }
                return Err(error.into());
            }
        }
        show(&topic.name, &ways, self.dry_run, format)?;
        warn_of_absent(client, &ways).await;
        let waited = match self.wait {
            Some(within) => wait(client, &topic.name, &partitions, within).await,
            None => Ok(()),
        };
        if self.throttle.is_some() && !self.dry_run && !throttled.is_empty() {
            match (self.wait, &waited) {
                (Some(_), Ok(())) => throttled.end(client).await?,
                _ => eprintln!("{}", throttle::STAYS),
            }
        }
        waited
    }

    /// A topic may itself end in a dash and a number: one that is there as it is written is meant whole.
    async fn partitions(&self, client: &Client) -> Result<(Arc<Topic>, Vec<i32>), Stop> {
        let whole = match client.topic(&self.topic).await {
            Ok(topic) => {
                let all = topic.partitions.iter().map(|partition| partition.index);
                let all = all.collect();
                return Ok((topic, all));
            }
            Err(error) => error,
        };
        let split = self.topic.rsplit_once('-');
        let Some((name, index)) = split.and_then(|(name, at)| Some((name, at.parse().ok()?)))
        else {
            return Err(whole.into());
        };
        if !matches!(whole, Error::UnknownTopic { .. }) {
            return Err(whole.into());
        }
        let topic = client.topic(name).await?;
        topic.partition(index)?;
        Ok((topic, vec![index]))
    }

    /// What has to move, with its size.
    async fn ways(
        &self,
        client: &Client,
        topic: &Topic,
        partitions: &[i32],
    ) -> Result<Vec<Way>, Stop> {
        let distinct: BTreeSet<i32> = self.to.iter().copied().collect();
        if distinct.len() < self.to.len() {
            return Err(Failure::new(Exit::Usage, "--to names a broker twice").into());
        }
        let chosen = topic
            .partitions
            .iter()
            .filter(|partition| partitions.contains(&partition.index));
        let chosen: Vec<_> = chosen
            .filter(|partition| partition.replicas != self.to)
            .collect();
        let led = chosen.iter().filter_map(|partition| {
            Some((partition.leader?, (topic.name.clone(), partition.index)))
        });
        let sizes = copying::weigh(client, led).await;
        let way = |partition: &&milena_client::Partition| {
            let here = (topic.name.clone(), partition.index);
            let leader = partition.leader;
            Way {
                partition: partition.index,
                from: partition.replicas.clone(),
                to: self.to.clone(),
                bytes: leader.and_then(|id| sizes.get(&id)?.get(&here).copied()),
            }
        };
        Ok(chosen.iter().map(way).collect())
    }

    async fn give_up(
        &self,
        client: &Client,
        topic: &str,
        partitions: &[i32],
        format: Format,
    ) -> Result<(), Stop> {
        let mut ours = client.reassignments().await?;
        ours.retain(|one| one.topic == topic && partitions.contains(&one.partition));
        let cancelled = ours.iter().map(|one| WantedReplicas {
            topic: one.topic.clone(),
            partition: one.partition,
            brokers: None,
        });
        let cancelled: Vec<WantedReplicas> = cancelled.collect();
        if !cancelled.is_empty() {
            client.reassign(&cancelled).await?;
            Throttled::of_ongoing(&ours).end(client).await?;
        }
        let count = cancelled.len();
        Ok(match format {
            Format::Json => {
                output::json(&serde_json::json!({ "topic": topic, "cancelled": count }))
            }
            Format::Table => output::line(&format!("topic {topic}: {count} moves given up")),
        }?)
    }
}

fn show(topic: &str, ways: &[Way], dry_run: bool, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(
            &serde_json::json!({ "topic": topic, "moves": ways, "applied": !dry_run }),
        );
    }
    if ways.is_empty() {
        return output::line(&format!("topic {topic}: nothing to move"));
    }
    let rows = ways.iter().map(|way| {
        [
            format!("{topic}-{}", way.partition),
            ids(&way.from),
            ids(&way.to),
            copying::size_in_words(way.bytes),
        ]
    });
    let headers = ["partition", "from", "to", "size"];
    output::table(headers, &rows.collect::<Vec<_>>())?;
    let said = if dry_run {
        "would move"
    } else {
        "on their way"
    };
    output::line(&format!("{} partitions {said}", ways.len()))
}

/// A copy to a broker that is not there waits for it, and the move with it.
async fn warn_of_absent(client: &Client, ways: &[Way]) {
    let joining = ways.iter().flat_map(|way| {
        let joins = |id: &&i32| !way.from.contains(id);
        way.to.iter().filter(joins).copied()
    });
    let joining: BTreeSet<i32> = joining.collect();
    if joining.is_empty() {
        return;
    }
    // The move is under way, whether this is known or not.
    let Ok(known) = client.refresh(&[]).await else {
        return;
    };
    for id in absent(&joining, &known.brokers) {
        eprintln!("warning: broker {id} is not there: what is to move to it waits until it is");
    }
}

/// Those of them that do not run.
fn absent<'a, V>(
    brokers: impl IntoIterator<Item = &'a i32>,
    running: &BTreeMap<i32, V>,
) -> Vec<i32> {
    let brokers = brokers.into_iter().copied();
    brokers.filter(|id| !running.contains_key(id)).collect()
}

fn throttled(topic: &str, ways: &[Way]) -> Throttled {
    let mut throttled = Throttled::default();
    for way in ways {
        throttled.add(topic, way.partition, &way.from, &way.to);
    }
    throttled
}

async fn begin(client: &Client, topic: &str, ways: &[Way]) -> Result<(), Error> {
    let wanted = ways.iter().map(|way| WantedReplicas {
        topic: topic.to_owned(),
        partition: way.partition,
        brokers: Some(way.to.clone()),
    });
    client.reassign(&wanted.collect::<Vec<_>>()).await
}

/// `milena topic unthrottle`.
pub(super) async fn unthrottle(client: &Client, format: Format) -> Result<(), Stop> {
    let count = throttle::lift(client).await?;
    Ok(match format {
        Format::Json => output::json(&serde_json::json!({ "unthrottled": count })),
        Format::Table => output::line(&format!("{count} replicas are throttled no more")),
    }?)
}

async fn wait(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    within: Duration,
) -> Result<(), Stop> {
    let begun = Instant::now();
    let mut watch = Watch::start();
    loop {
        let ongoing = client.reassignments().await?;
        let ours = ongoing
            .into_iter()
            .filter(|one| one.topic == topic && partitions.contains(&one.partition));
        let ours: Vec<OngoingReassignment> = ours.collect();
        if ours.is_empty() {
            watch.end();
            return Ok(());
        }
        let copied = look(client, &ours).await;
        watch.show(ours.len(), sum(&copied));
        if begun.elapsed() > within {
            watch.end();
            let text = format!("{} partitions are still on their way", ours.len());
            let failure = Failure::new(Exit::TimedOut, text);
            return Err(failure
                .hint("`milena topic moves` shows how far they are")
                .into());
        }
        sleep(LOOK_EVERY).await;
    }
}

fn sum(all: &[Copying]) -> Copying {
    Copying {
        bytes_done: all.iter().map(|one| one.bytes_done).sum(),
        bytes_left: all.iter().map(|one| one.bytes_left).sum(),
    }
}

/// How far each of these is: what the new replicas have of what the largest of the old ones has.
async fn look(client: &Client, ongoing: &[OngoingReassignment]) -> Vec<Copying> {
    let all = ongoing.iter().flat_map(|one| {
        let here = (one.topic.clone(), one.partition);
        one.replicas.iter().map(move |id| (*id, here.clone()))
    });
    let told = copying::weigh(client, all).await;
    ongoing.iter().map(|one| copying(one, &told)).collect()
}

fn copying(one: &OngoingReassignment, sizes: &BTreeMap<i32, Sizes>) -> Copying {
    let key = (one.topic.clone(), one.partition);
    let size = |id: &i32| sizes.get(id).and_then(|sizes| sizes.get(&key)).copied();
    let old = one.replicas.iter().filter(|id| !one.adding.contains(id));
    let whole = old.filter_map(size).max().unwrap_or(0);
    let done = one.adding.iter().map(|id| size(id).unwrap_or(0).min(whole));
    let bytes_done = done.sum();
    let wanted = whole * one.adding.len() as u64;
    Copying {
        bytes_done,
        bytes_left: wanted - bytes_done,
    }
}

/// One line of `milena topic moves`.
#[derive(Debug, Serialize)]
struct Shown {
    topic: String,
    partition: i32,
    adding: Vec<i32>,
    removing: Vec<i32>,
    /// Of those that join, the brokers that are not there.
    waits_for: Vec<i32>,
    #[serde(flatten)]
    copying: Copying,
    #[serde(flatten)]
    pace: Pace,
}

/// Looks twice, so that there is a pace.
pub(super) async fn list(client: &Client, format: Format) -> Result<(), Stop> {
    let ongoing = client.reassignments().await?;
    let mut shown = Vec::new();
    if !ongoing.is_empty() {
        let (before, begun) = (look(client, &ongoing).await, Instant::now());
        sleep(LOOK_EVERY).await;
        let now = look(client, &ongoing).await;
        let between = begun.elapsed();
        let known = client.refresh(&[]).await?;
        for (one, (before, copying)) in ongoing.into_iter().zip(before.into_iter().zip(now)) {
            shown.push(Shown {
                topic: one.topic,
                partition: one.partition,
                waits_for: absent(&one.adding, &known.brokers),
                adding: one.adding,
                removing: one.removing,
                pace: copying.pace(before, between),
                copying,
            });
        }
    }
    if format == Format::Json {
        return Ok(output::json(&shown)?);
    }
    if shown.is_empty() {
        return Ok(output::line("nothing is on its way")?);
    }
    let rows: Vec<[String; 7]> = shown.iter().map(Shown::row).collect();
    let headers = [
        "partition",
        "adding",
        "removing",
        "done",
        "left",
        "rate",
        "time left",
    ];
    Ok(output::table(headers, &rows)?)
}

impl Shown {
    fn row(&self) -> [String; 7] {
        let ((done, left), (rate, time)) = (self.copying.in_words(), self.pace.in_words());
        let partition = format!("{}-{}", self.topic, self.partition);
        let (adding, removing) = (ids(&self.adding), ids(&self.removing));
        let time = match self.waits_for.as_slice() {
            [] => time,
            [one] => format!("waits for broker {one}, which is not there"),
            several => format!("waits for brokers {}, which are not there", ids(several)),
        };
        [partition, adding, removing, done, left, rate, time]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_to_a_broker_that_is_not_there_says_what_it_waits_for() {
        let running = BTreeMap::from([(1, ()), (2, ())]);
        let none = Copying {
            bytes_done: 0,
            bytes_left: 10,
        };
        let shown = |adding: &[i32]| Shown {
            topic: "t".into(),
            partition: 0,
            adding: adding.to_vec(),
            removing: vec![1],
            waits_for: absent(adding, &running),
            copying: none,
            pace: none.pace(none, Duration::from_secs(1)),
        };
        let told = |adding: &[i32]| shown(adding).row()[6].clone();
        assert_eq!(told(&[2, 3]), "waits for broker 3, which is not there");
        assert_eq!(told(&[3, 4]), "waits for brokers 3,4, which are not there");
        assert_eq!(told(&[2]), "-");
    }

    #[test]
    fn what_is_left_is_what_each_new_replica_lacks_of_the_largest_old_one() {
        let one = OngoingReassignment {
            topic: "t".into(),
            partition: 0,
            replicas: vec![1, 2, 3, 4],
            adding: vec![3, 4],
            removing: vec![1],
        };
        let sizes = |sizes: &[(i32, u64)]| -> BTreeMap<i32, Sizes> {
            let of = |&(id, bytes)| (id, Sizes::from([(("t".to_owned(), 0), bytes)]));
            sizes.iter().map(of).collect()
        };
        let found = copying(&one, &sizes(&[(1, 100), (2, 90), (3, 40), (4, 120)]));
        assert_eq!((found.bytes_done, found.bytes_left), (140, 60));
        let none = copying(&one, &sizes(&[(3, 40)]));
        assert_eq!(
            (none.bytes_done, none.bytes_left),
            (0, 0),
            "no old one says"
        );
    }
}
