//! `milena topic describe`: partitions with leaders, replicas in sync and eligible, offsets or why there are none,
//! misplacement; configs.

use std::time::Duration;

use milena_client::admin::{Config, Resource, When};
use milena_client::{Client, Partition};
use milena_metadata::Elected;
use serde::Serialize;

use super::{Listed, Stop, ids};
use crate::cli::failure::Failure;
use crate::cli::http::Http;
use crate::cli::offline::{self, Told};
use crate::cli::output::{self, Format};
use crate::http::v1::misplaced::ShownMisplaced;
use crate::http::v1::unhealthy::ShownUnhealthy;

/// Only Milena says what is misplaced or may lack records: another Kafka has no such door, and nobody waits for it.
const HTTP_WITHIN: Duration = Duration::from_secs(1);
/// Nothing is waited for: a partition that is offline for a moment is shown so.
const AS_IT_IS: Duration = Duration::ZERO;

#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    topic: Listed,
    configs: serde_json::Map<String, serde_json::Value>,
    partition_details: Vec<DescribedPartition>,
}

#[derive(Serialize)]
struct DescribedPartition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    /// Out of sync, with every committed record; none where the broker does not say.
    eligible: Option<Vec<i32>>,
    /// The rules of placement that it breaks; none where nobody says.
    misplaced: Option<Vec<String>>,
    /// How a leader was found that may lack records; none where it has all, or nobody says.
    lossy: Option<Elected>,
    /// Why it can't be read, and its offsets are not known; none where it can.
    offline: Option<String>,
    start: Option<i64>,
    end: Option<i64>,
}

/// Shows topics, with all configs or their own.
pub(super) async fn run(
    client: &Client,
    http: &Http,
    (names, all_configs): (&[String], bool),
    format: Format,
) -> Result<(), Stop> {
    let asked = http.clone().within(HTTP_WITHIN);
    let misplaced: Option<Vec<ShownMisplaced>> = asked.get("/v1/misplaced").await.ok();
    let unhealthy: Option<Vec<ShownUnhealthy>> = match misplaced {
        Some(_) => asked.get("/v1/unhealthy").await.ok(),
        None => None,
    };
    let unhealthy = unhealthy.unwrap_or_default();
    let mut described = Vec::new();
    for name in names {
        let topic = client.topic(name).await?;
        let mut configs = client.configs(Resource::Topic, &[name]).await?;
        let configs = configs.remove(name).unwrap_or_default();
        let all = topic.partitions.iter();
        let all: Vec<_> = all
            .map(|partition| (name.clone(), partition.index))
            .collect();
        let starts = offline::offsets(client, &all, When::Start, AS_IT_IS).await?;
        let ends = offline::offsets(client, &all, When::End, AS_IT_IS).await?;
        // Asking may have found that others lead by now.
        let topic = client.topic(name).await?;
        let mut partition_details = partitions(name, &topic.partitions, &starts, &ends);
        let eligible = client.eligible_leaders(name).await?;
        for partition in &mut partition_details {
            partition.eligible = eligible
                .as_ref()
                .map(|all| all.get(&partition.partition).cloned().unwrap_or_default());
            partition.misplaced = misplaced
                .as_ref()
                .map(|all| breaches(all, name, partition.partition));
            partition.lossy = lossy(&unhealthy, name, partition.partition);
        }
        described.push(Described {
            partition_details,
            topic: Listed::of(&topic),
            configs: shown(configs, all_configs),
        });
    }
    match format {
        Format::Json => output::json(&described)?,
        Format::Table => described.iter().try_for_each(print)?,
    }
    Ok(())
}

/// What is wrong with where a partition is.
fn breaches(all: &[ShownMisplaced], topic: &str, partition: i32) -> Vec<String> {
    let found = all
        .iter()
        .find(|one| one.topic == topic && one.partition == partition);
    found.map(|one| one.breaches.clone()).unwrap_or_default()
}

fn lossy(all: &[ShownUnhealthy], topic: &str, partition: i32) -> Option<Elected> {
    let mut lossy = all.iter().filter(|one| one.lossy);
    let found = lossy.find(|one| one.topic == topic && one.partition == partition);
    found.map(|one| one.elected)
}

/// Why a leader that was found so may lack records.
fn in_words(elected: Elected) -> &'static str {
    match elected {
        Elected::LastKnown => "led last, and nobody in sync was left after a bad end",
        Elected::Unclean => "was elected out of sync: an unclean election",
        Elected::InSync | Elected::Eligible => "has every record",
    }
}

fn shown(configs: Vec<Config>, all: bool) -> serde_json::Map<String, serde_json::Value> {
    let shown = configs.into_iter().filter(|config| all || config.is_own);
    shown
        .map(|config| (config.name, config.value.into()))
        .collect()
}

fn partitions(
    topic: &str,
    all: &[Partition],
    starts: &Told,
    ends: &Told,
) -> Vec<DescribedPartition> {
    let described = all.iter().map(|partition| {
        let key = (topic.to_owned(), partition.index);
        let offline = starts.offline.get(&key).or(ends.offline.get(&key));
        let known = |told: &Told| told.offsets.get(&key).copied();
        DescribedPartition {
            partition: partition.index,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.clone(),
            in_sync: partition.isr.clone(),
            eligible: None,
            misplaced: None,
            lossy: None,
            offline: offline.map(ToString::to_string),
            start: known(starts).filter(|_| offline.is_none()),
            end: known(ends).filter(|_| offline.is_none()),
        }
    });
    described.collect()
}

fn print(described: &Described) -> Result<(), Failure> {
    let topic = &described.topic;
    output::line(&format!(
        "{}  id {}  partitions {}  replicas {}",
        topic.name, topic.id, topic.partitions, topic.replication_factor
    ))?;
    for (name, value) in &described.configs {
        output::line(&format!("  {name}={}", value.as_str().unwrap_or_default()))?;
    }
    let rows = described.partition_details.iter().map(|partition| {
        let offset =
            |offset: Option<i64>| offset.map_or("-".to_owned(), |offset| offset.to_string());
        [
            partition.partition.to_string(),
            partition
                .leader
                .map_or("none".to_owned(), |leader| leader.to_string()),
            ids(&partition.replicas),
            ids(&partition.in_sync),
            ids(partition.eligible.as_deref().unwrap_or_default()),
            offset(partition.start),
            offset(partition.end),
        ]
    });
    let headers = [
        "partition",
        "leader",
        "replicas",
        "in sync",
        "eligible",
        "start",
        "end",
    ];
    output::table(headers, &rows.collect::<Vec<_>>())?;
    described.partition_details.iter().try_for_each(remark)
}

/// What is wrong with a partition, in lines below the table.
fn remark(partition: &DescribedPartition) -> Result<(), Failure> {
    let number = partition.partition;
    if let Some(why) = &partition.offline {
        output::line(&format!("  partition {number} is offline: {why}"))?;
    }
    if let Some(elected) = partition.lossy {
        output::line(&format!(
            "  partition {number} may lack records: its leader {}",
            in_words(elected)
        ))?;
    }
    let breaches = partition.misplaced.iter().flatten();
    for breach in breaches {
        output::line(&format!("  partition {number} is misplaced: {breach}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::cli::offline::Offline;

    #[test]
    fn a_partition_that_is_offline_is_shown_without_offsets_and_the_others_with_theirs() {
        let partition = |index| Partition {
            index,
            leader: Some(1),
            leader_epoch: 0,
            replicas: vec![1],
            isr: vec![1],
            offline: vec![],
        };
        let partitions_of = [0, 1].map(partition);
        let place = |index| ("t".to_owned(), index);
        let why = Offline::Log {
            broker: 1,
            at: None,
        };
        let starts = Told::of([(place(0), 3)].into(), [(place(1), why)].into());
        // It had gone offline between the two questions.
        let ends = Told::of([(place(0), 7), (place(1), 9)].into(), [].into());
        let shown = partitions("t", &partitions_of, &starts, &ends);
        let shown = serde_json::to_value(shown).unwrap();
        assert_eq!(
            (&shown[0]["start"], &shown[0]["end"]),
            (&3.into(), &7.into())
        );
        assert_eq!(shown[0]["offline"], Value::Null);
        assert_eq!(
            (&shown[1]["start"], &shown[1]["end"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(shown[1]["offline"], "its log on broker 1 can't be read");
    }

    #[test]
    fn only_a_leader_that_may_lack_records_is_told_of_with_how_it_was_elected() {
        let of = |partition: i32, lossy: bool| {
            serde_json::json!({
                "topic": "t", "partition": partition, "offline": false, "under_min_isr": false,
                "under_replicated": true, "lossy": lossy, "leader": 1, "replicas": [1, 2], "in_sync": [1],
                "electable": [1], "elected": "unclean"
            })
        };
        let told = serde_json::json!([of(0, false), of(1, true)]);
        let told: Vec<ShownUnhealthy> = serde_json::from_value(told).unwrap();
        assert_eq!(lossy(&told, "t", 0), None);
        assert_eq!(lossy(&told, "t", 1), Some(Elected::Unclean));
        assert_eq!(lossy(&told, "other", 1), None);
    }
}
