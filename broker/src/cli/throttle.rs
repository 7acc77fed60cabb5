//! `--throttle`: a bound on what copies take (KIP-73), for those of one command.
//!
//! Each topic has a list of replicas that are throttled: moves add theirs, and take only theirs off again. The rate is one
//! for all brokers, and goes with the last replica of all lists.

use std::collections::{BTreeMap, BTreeSet};

use milena_client::admin::{ConfigChange, ListChange, OngoingReassignment, Resource};
use milena_client::{Client, Error};
use milena_protocol::ErrorCode;

/// Bytes a second on each broker for replicas that are throttled.
const RATE: &str = "follower.replication.throttled.rate";
/// The replicas that are, as `partition:broker`.
const REPLICAS: &str = "follower.replication.throttled.replicas";
/// All replicas of a topic: what older operators set, and the operator takes away itself.
const ALL_REPLICAS: &str = "*";
/// The settings of all brokers.
const ALL_BROKERS: &str = "";

/// What a person is told whose command does not wait for the end.
pub const STAYS: &str =
    "the throttle stays until `milena topic unthrottle`, which takes it off what has moved";

/// Reads `--throttle`.
pub fn rate(text: &str) -> Result<i64, String> {
    let rate = text.parse().ok().filter(|rate| *rate > 0);
    rate.ok_or_else(|| "give bytes a second, such as 10000000".to_owned())
}

/// Replicas of topics, as the list has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Throttled(BTreeMap<String, BTreeSet<String>>);

impl Throttled {
    /// Adds the new copies of a partition: those alone are bounded.
    pub fn add(&mut self, topic: &str, partition: i32, from: &[i32], to: &[i32]) {
        let joining = to.iter().filter(|id| !from.contains(id));
        let mut items = joining.map(|id| format!("{partition}:{id}")).peekable();
        if items.peek().is_some() {
            self.0.entry(topic.to_owned()).or_default().extend(items);
        }
    }

    /// Whether there is nothing to bound.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The replicas that these moves copy.
    pub fn of_ongoing<'a>(ongoing: impl IntoIterator<Item = &'a OngoingReassignment>) -> Self {
        let mut copied = Self::default();
        for one in ongoing {
            copied.add(&one.topic, one.partition, &[], &one.adding);
        }
        copied
    }

    /// Bounds them, before they begin. Where that fails none of them stays bounded.
    pub async fn begin(&self, client: &Client, rate: i64) -> Result<(), Error> {
        let begun = self.set(client, rate).await;
        if begun.is_err() {
            self.end(client).await.ok();
        }
        begun
    }

    async fn set(&self, client: &Client, rate: i64) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rate: ConfigChange = (RATE.to_owned(), Some(rate.to_string()));
        client
            .alter_configs(Resource::Broker, ALL_BROKERS, &[rate], false)
            .await?;
        for (topic, items) in &self.0 {
            let items: Vec<String> = items.iter().cloned().collect();
            client
                .alter_list(topic, REPLICAS, ListChange::Append, &items)
                .await?;
        }
        Ok(())
    }

    /// Takes them off their lists.
    pub async fn end(&self, client: &Client) -> Result<(), Error> {
        let topics: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let lists = client.own_lists(&topics, REPLICAS).await?;
        let listed = |topic: &str, item: &String| {
            let list = lists.get(topic);
            list.is_some_and(|list| list.contains(item))
        };
        let mut taken = 0;
        for (topic, items) in &self.0 {
            let items = items.iter().filter(|item| listed(topic, item));
            let items: Vec<String> = items.cloned().collect();
            if items.is_empty() {
                continue;
            }
            taken += items.len();
            let change = ListChange::Subtract;
            unless_gone(client.alter_list(topic, REPLICAS, change, &items).await)?;
        }
        match taken {
            0 => Ok(()),
            _ => clear(client).await,
        }
    }
}

/// Takes off all replicas that are not being copied; how many they were.
pub async fn lift(client: &Client) -> Result<usize, Error> {
    let lists = all_lists(client).await?;
    // After the lists: what begins now is in none of them.
    let copied = Throttled::of_ongoing(&client.reassignments().await?);
    let ended = ended(&lists, &copied);
    ended.end(client).await?;
    if ended.0.is_empty() {
        clear(client).await?;
    }
    Ok(ended.0.values().map(BTreeSet::len).sum())
}

/// What stands in lists and is not copied.
fn ended(lists: &BTreeMap<String, Vec<String>>, copied: &Throttled) -> Throttled {
    let mut ended = Throttled::default();
    for (topic, list) in lists {
        let is_copied = |item: &String| {
            let items = copied.0.get(topic);
            items.is_some_and(|items| items.contains(item))
        };
        let items = list.iter().filter(|item| *item != ALL_REPLICAS);
        let items: BTreeSet<String> = items.filter(|item| !is_copied(item)).cloned().collect();
        if !items.is_empty() {
            ended.0.insert(topic.clone(), items);
        }
    }
    ended
}

async fn all_lists(client: &Client) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let cluster = client.refresh_all().await?;
    let topics: Vec<&str> = cluster.topics.keys().map(String::as_str).collect();
    client.own_lists(&topics, REPLICAS).await
}

/// Takes away lists without an item, and the rate where no list has any.
async fn clear(client: &Client) -> Result<(), Error> {
    let lists = all_lists(client).await?;
    for (topic, _) in lists.iter().filter(|(_, list)| list.is_empty()) {
        let none: [ConfigChange; 1] = [(REPLICAS.to_owned(), None)];
        let altered = client.alter_configs(Resource::Topic, topic, &none, false);
        unless_gone(altered.await)?;
    }
    if lists.values().all(Vec::is_empty) {
        let none: ConfigChange = (RATE.to_owned(), None);
        client
            .alter_configs(Resource::Broker, ALL_BROKERS, &[none], false)
            .await?;
    }
    Ok(())
}

/// A topic that was deleted meanwhile has no list.
fn unless_gone(altered: Result<(), Error>) -> Result<(), Error> {
    match altered {
        Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(()),
        altered => altered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_bytes_a_second() {
        assert_eq!(rate("10000000"), Ok(10_000_000));
        for bad in ["10MB", "0", "-1", ""] {
            assert!(rate(bad).unwrap_err().contains("10000000"), "{bad:?}");
        }
    }

    #[test]
    fn only_new_copies_are_throttled() {
        let mut throttled = Throttled::default();
        throttled.add("t", 0, &[1, 2], &[2, 1]);
        assert_eq!(throttled, Throttled::default());
        throttled.add("t", 0, &[1, 2], &[2, 3, 4]);
        let items = ["0:3", "0:4"].map(str::to_owned);
        assert_eq!(throttled.0["t"], BTreeSet::from(items));
    }

    #[test]
    fn what_is_still_copied_and_what_the_operator_throttles_stays() {
        let list = ["0:3", "1:3", "*"].map(str::to_owned).to_vec();
        let lists = BTreeMap::from([("t".to_owned(), list)]);
        let mut copied = Throttled::default();
        copied.add("t", 1, &[1], &[3]);
        let ended = ended(&lists, &copied);
        assert_eq!(ended.0["t"], BTreeSet::from(["0:3".to_owned()]));
    }
}
