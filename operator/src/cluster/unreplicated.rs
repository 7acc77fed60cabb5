//! `rollout.unreplicated: Move`: partitions that can't stay online without a broker are moved away before it restarts,
//! and back afterwards. Where they were is noted on the broker's claim before they move, so that whoever comes next
//! brings them back.

use std::collections::{BTreeMap, BTreeSet};

use milena_client::admin::ReplicaWishes;
use serde::{Deserialize, Serialize};

use super::observed::TopicFacts;
use crate::door::Door;

/// Noted on a claim: what was moved away from its broker.
pub const MOVED: &str = "milena.dev/moved";
/// An annotation has 256 KiB at most, with all others: so many partitions are moved at a time.
const PARTITIONS_MAX: usize = 1_000;

/// Of partitions, so many are named.
const NAMED_MAX: usize = 5;

/// A partition and the brokers that it had, the preferred leader first.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Moved(pub String, pub i32, pub Vec<i32>);

/// A broker that may take partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its id.
    pub id: i32,
    /// Its node.
    pub node: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its pool.
    pub pool: Option<String>,
    /// It has been restarted already, so that it need not be emptied in turn.
    pub is_updated: bool,
    /// Its replicas.
    pub replicas: usize,
}

impl Host {
    /// Whether it is of the topic's own pools and racks.
    fn suits(&self, topic: &TopicFacts) -> bool {
        let named = |names: &BTreeSet<String>, name: &Option<String>| {
            names.is_empty() || name.as_ref().is_some_and(|name| names.contains(name))
        };
        named(&topic.pools, &self.pool) && named(&topic.racks, &self.rack)
    }
}

/// What moves where, and what can't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// As they were.
    pub moved: Vec<Moved>,
    /// Where they go.
    pub wishes: ReplicaWishes,
    /// Partitions for which there is no other broker.
    pub stuck: Vec<String>,
}

/// The first of these partitions, and a count.
pub fn in_words(partitions: &[String]) -> String {
    let named: Vec<&str> = partitions
        .iter()
        .take(NAMED_MAX)
        .map(String::as_str)
        .collect();
    match partitions.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Replaces `id` in each of these partitions by the broker that has least to do, one that was restarted already first.
/// No two replicas come to one node, and none to a broker outside its topic's pools and racks.
pub fn plan(
    id: i32,
    partitions: Vec<Moved>,
    hosts: &[Host],
    topics: &BTreeMap<String, TopicFacts>,
) -> Plan {
    let mut plan = Plan::default();
    let mut load: BTreeMap<i32, usize> =
        hosts.iter().map(|host| (host.id, host.replicas)).collect();
    let node_of = |id: i32| hosts.iter().find(|host| host.id == id)?.node.as_ref();
    for moved in partitions.into_iter().take(PARTITIONS_MAX) {
        let Moved(topic, partition, replicas) = &moved;
        let others = || replicas.iter().filter(|other| **other != id);
        let fits = |host: &&Host| {
            let shares = |other: &i32| host.node.is_some() && node_of(*other) == host.node.as_ref();
            let allowed = topics.get(topic).is_none_or(|facts| host.suits(facts));
            allowed && host.id != id && !replicas.contains(&host.id) && !others().any(shares)
        };
        let order = |host: &&Host| (!host.is_updated, load[&host.id], host.id);
        let Some(host) = hosts.iter().filter(fits).min_by_key(order) else {
            plan.stuck.push(format!("{topic}-{partition}"));
            continue;
        };
        let place = |other: &i32| if *other == id { host.id } else { *other };
        let wish = replicas.iter().map(place).collect();
        plan.wishes.insert((topic.clone(), *partition), Some(wish));
        *load.entry(host.id).or_default() += 1;
        plan.moved.push(moved);
    }
    plan
}

/// The partitions of a broker of which `is_unsafe` says, by topic and number of replicas, that none may stop.
pub async fn hosted(
    door: &Door,
    id: i32,
    is_unsafe: impl Fn(&str, usize) -> bool,
) -> Result<Vec<Moved>, milena_client::Error> {
    let cluster = door.kafka().refresh_all().await?;
    let mut found = Vec::new();
    for topic in cluster.topics.values() {
        let here = topic
            .partitions
            .iter()
            .filter(|one| one.replicas.contains(&id));
        let concerned = here.filter(|one| is_unsafe(&topic.name, one.replicas.len()));
        found.extend(
            concerned.map(|one| Moved(topic.name.clone(), one.index, one.replicas.clone())),
        );
    }
    found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    Ok(found)
}

/// What is to come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WayBack {
    /// What is not back yet.
    pub left: Vec<Moved>,
    /// What of it has to be told where to go.
    pub wishes: ReplicaWishes,
}

/// The way back to `id` of what was moved away from it. `now` tells a partition's brokers; nothing where it is gone.
pub fn way_back(id: i32, moved: &[Moved], now: impl Fn(&str, i32) -> Option<Vec<i32>>) -> WayBack {
    let mut way = WayBack::default();
    for one in moved {
        let Moved(topic, number, replicas) = one;
        // While it is on its way, the brokers list where it comes from and where it goes to.
        let Some(now) = now(topic, *number).filter(|now| now != replicas) else {
            continue;
        };
        if !now.contains(&id) {
            let wish = (topic.clone(), *number);
            way.wishes.insert(wish, Some(replicas.clone()));
        }
        way.left.push(one.clone());
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(id: i32, is_updated: bool, replicas: usize) -> Host {
        Host {
            id,
            node: Some(format!("node-{id}")),
            rack: Some(format!("rack-{id}")),
            pool: Some("broker".to_owned()),
            is_updated,
            replicas,
        }
    }

    fn single(partition: i32) -> Moved {
        Moved("t".to_owned(), partition, vec![0])
    }

    #[test]
    fn partitions_go_to_brokers_that_were_restarted_then_to_those_with_least() {
        let hosts = [
            host(0, false, 9),
            host(1, true, 5),
            host(2, true, 4),
            host(3, false, 0),
        ];
        let plan = plan(
            0,
            vec![single(0), single(1), single(2)],
            &hosts,
            &BTreeMap::new(),
        );
        let to: Vec<i32> = plan
            .wishes
            .values()
            .map(|to| to.as_ref().unwrap()[0])
            .collect();
        assert_eq!(to, [2, 1, 2], "0 is left, 3 is still to be restarted");
        assert_eq!(plan.moved, [single(0), single(1), single(2)]);
    }

    #[test]
    fn other_replicas_stay_where_they_are_and_keep_their_nodes_to_themselves() {
        let mut shared = host(3, true, 0);
        shared.node = Some("node-1".to_owned());
        let hosts = [host(0, false, 1), host(1, false, 1), shared];
        let pair = Moved("t".to_owned(), 0, vec![1, 0]);
        let stuck = plan(0, vec![pair.clone()], &hosts, &BTreeMap::new());
        assert_eq!((stuck.stuck.len(), stuck.moved.len()), (1, 0));
        let hosts = [host(0, false, 1), host(1, false, 1), host(4, false, 7)];
        let plan = plan(0, vec![pair], &hosts, &BTreeMap::new());
        assert_eq!(plan.wishes[&("t".to_owned(), 0)], Some(vec![1, 4]));
    }

    #[test]
    fn a_topic_of_certain_pools_and_racks_stays_in_them() {
        let mut other_pool = host(1, true, 0);
        other_pool.pool = Some("other".to_owned());
        let mut unknown_rack = host(2, true, 0);
        unknown_rack.rack = None;
        let hosts = [other_pool, unknown_rack, host(3, false, 9)];
        let of = |pools: &[&str], racks: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let facts = TopicFacts {
                pools: names(pools),
                racks: names(racks),
                ..TopicFacts::default()
            };
            BTreeMap::from([("t".to_owned(), facts)])
        };
        let to = |topics| {
            plan(0, vec![single(0)], &hosts, &topics)
                .wishes
                .into_values()
                .next()
        };
        assert_eq!(to(of(&[], &[])), Some(Some(vec![1])));
        assert_eq!(to(of(&["broker"], &[])), Some(Some(vec![2])));
        assert_eq!(
            to(of(&["broker"], &["rack-1", "rack-3"])),
            Some(Some(vec![3]))
        );
        let stuck = plan(0, vec![single(0)], &hosts, &of(&["third"], &[])).stuck;
        assert_eq!(stuck, ["t-0"]);
    }

    #[test]
    fn what_is_not_back_is_told_once_where_to_go_and_what_is_gone_is_given_up() {
        let moved = [single(0), single(1), single(2), single(3)];
        let now = |_: &str, partition| match partition {
            0 => Some(vec![1]),
            1 => Some(vec![1, 0]),
            2 => Some(vec![0]),
            _ => None,
        };
        let way = way_back(0, &moved, now);
        assert_eq!(way.left, [single(0), single(1)]);
        let told = ReplicaWishes::from([(("t".to_owned(), 0), Some(vec![0]))]);
        assert_eq!(way.wishes, told);
    }

    #[test]
    fn what_was_moved_is_noted_briefly() {
        let text = serde_json::to_string(&[single(3)]).unwrap();
        assert_eq!(text, r#"[["t",3,[0]]]"#);
        assert!(text.len() * PARTITIONS_MAX < 128 << 10);
        assert_eq!(
            serde_json::from_str::<Vec<Moved>>(&text).unwrap(),
            [single(3)]
        );
    }
}
