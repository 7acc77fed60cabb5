//! The bound on what moves of the operator's copy (KIP-73).
//!
//! | setting | of | says |
//! | --- | --- | --- |
//! | `follower.replication.throttled.rate` | all brokers | bytes a second that each broker copies of what is bounded |
//! | `follower.replication.throttled.replicas` | a topic | what is bounded, as `partition:broker`: the operator's copies, and others' |
//! | `leader.replication.throttled.replicas` | a topic | the operator's of them, once more |
//!
//! The brokers go by the first two. In the third one tools name whom they copy from and never who joins: what stands in
//! both lists is the operator's, which takes that away again, also after a restart, and nobody else's. Operators before
//! this one bounded all replicas of a topic with `*`, which counts as the operator's too. It is still said of a topic that
//! has so much to copy that its list would be longer than a setting may be (32,767 bytes; some 4,000 replicas).

use std::collections::{BTreeMap, BTreeSet};

use milena_client::admin::{ListChange, ListEdit, ReplicaWishes, Resource};
use milena_client::{Client, Error};
use milena_protocol::ErrorCode;

use super::brokers::Move;

/// Bytes a second of each broker, for replicas that are named and catch up.
pub const RATE: &str = "follower.replication.throttled.rate";
/// The replicas that are bounded.
pub const FOLLOWERS: &str = "follower.replication.throttled.replicas";
/// Those of them that the operator has bounded.
pub const LEADERS: &str = "leader.replication.throttled.replicas";
/// All replicas of a topic: also those that only catch up, as after a restart.
const ALL_REPLICAS: &str = "*";
/// The name of all brokers.
const ALL_BROKERS: &str = "";
/// Topics in one request: with two lists each, of 32 KiB at most, it stays below the 4 MiB of an entry of the quorum's log.
const TOPICS_AT_ONCE: usize = 50;

/// Replicas that moves copy, as a topic's list has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies(BTreeMap<String, BTreeSet<String>>);

impl Copies {
    /// What a plan copies.
    pub fn of(moves: &[Move]) -> Self {
        let mut copies = Self::default();
        for one in moves {
            copies.add(&one.topic, one.partition, &one.from, &one.to);
        }
        copies
    }

    /// What wishes have copied, where `now` tells a partition's brokers.
    pub fn of_wishes<'a>(
        wishes: &ReplicaWishes,
        now: impl Fn(&str, i32) -> Option<&'a [i32]>,
    ) -> Self {
        let mut copies = Self::default();
        for ((topic, number), wish) in wishes {
            let from = now(topic, *number).unwrap_or_default();
            copies.add(topic, *number, from, wish.as_deref().unwrap_or_default());
        }
        copies
    }

    /// Adds the brokers that join a partition: those that have it already, and may be behind after a restart, are not
    /// held up.
    pub fn add(&mut self, topic: &str, partition: i32, from: &[i32], to: &[i32]) {
        let joining = to.iter().filter(|id| !from.contains(id));
        let mut items = joining.map(|id| format!("{partition}:{id}")).peekable();
        if items.peek().is_some() {
            self.0.entry(topic.to_owned()).or_default().extend(items);
        }
    }

    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        for (topic, items) in others.0 {
            self.0.entry(topic).or_default().extend(items);
        }
    }

    /// Those that are not among the others.
    #[must_use]
    pub fn without(mut self, others: &Self) -> Self {
        self.0.retain(|topic, items| {
            items.retain(|item| others.0.get(topic).is_none_or(|them| !them.contains(item)));
            !items.is_empty()
        });
        self
    }

    /// Whether nothing is copied.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each topic with its list.
    pub fn lists(&self) -> impl Iterator<Item = (&String, Vec<String>)> {
        let lists = self.0.iter();
        lists.map(|(topic, items)| (topic, items.iter().cloned().collect()))
    }

    /// Bounds them, before they begin. The rate is said each time: whoever moves something by hand with a throttle of
    /// their own takes it away at the end.
    pub async fn bound(&self, kafka: &Client, bytes_per_second: u64) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        let rate = [(RATE.to_owned(), Some(bytes_per_second.to_string()))];
        let rated = kafka.alter_configs(Resource::Broker, ALL_BROKERS, &rate, false);
        rated.await?;
        let edits: Vec<_> = self
            .lists()
            .map(|(topic, items)| {
                let edit = |list: &str| edit(list, ListChange::Append, &items);
                (topic.clone(), vec![edit(FOLLOWERS), edit(LEADERS)])
            })
            .collect();
        let too_long = alter(kafka, &edits).await?;
        let all = |name: &str| (name.to_owned(), Some(ALL_REPLICAS.to_owned()));
        let wholes: Vec<_> = too_long
            .into_iter()
            .map(|topic| (topic, vec![all(FOLLOWERS), all(LEADERS)]))
            .collect();
        if wholes.is_empty() {
            return Ok(());
        }
        let answers = kafka.alter_topics(&wholes).await?;
        answers.into_iter().try_for_each(unless_gone)
    }
}

/// Bounds what the operator has bounded of these topics no more; nothing, where something moves at this moment. Whether
/// it did.
pub async fn lift(kafka: &Client, topics: &[String]) -> Result<bool, Error> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let followers = kafka.own_lists(&names, FOLLOWERS).await?;
    let leaders = kafka.own_lists(&names, LEADERS).await?;
    // After the lists: what begins from now on is in none of them.
    if !kafka.list_partition_reassignments(None).await?.is_empty() {
        return Ok(false);
    }
    let edits: Vec<_> = topics
        .iter()
        .map(|topic| {
            let [followers, leaders] = [&followers, &leaders]
                .map(|of| of.get(topic).map(Vec::as_slice).unwrap_or_default());
            (topic.clone(), lifting(followers, leaders))
        })
        .filter(|(_, edits)| !edits.is_empty())
        .collect();
    alter(kafka, &edits).await?;
    Ok(true)
}

/// Whether a topic's lists name what the operator has bounded.
pub fn is_own(followers: &[String], leaders: &[String]) -> bool {
    !own(followers, leaders).is_empty()
}

fn own<'a>(followers: &'a [String], leaders: &[String]) -> BTreeSet<&'a String> {
    let leaders: BTreeSet<&String> = leaders.iter().collect();
    let items = followers.iter();
    items
        .filter(|item| *item == ALL_REPLICAS || leaders.contains(item))
        .collect()
}

/// What leaves the items of others in both lists, and no list that is empty.
fn lifting(followers: &[String], leaders: &[String]) -> Vec<ListEdit> {
    let own = own(followers, leaders);
    let items: Vec<String> = own.iter().map(|item| (*item).clone()).collect();
    let mut edits = Vec::new();
    for (name, list) in [(FOLLOWERS, followers), (LEADERS, leaders)] {
        let others = list.iter().any(|item| !own.contains(item));
        match list.iter().any(|item| own.contains(item)) {
            true if others => edits.push(edit(name, ListChange::Subtract, &items)),
            true => edits.push(edit(name, ListChange::Reset, &[])),
            false => {}
        }
    }
    edits
}

fn edit(list: &str, change: ListChange, items: &[String]) -> ListEdit {
    ListEdit {
        config: list.to_owned(),
        change,
        items: items.to_vec(),
    }
}

/// The topics of which a list would be too long: nothing has been done for those.
async fn alter(kafka: &Client, edits: &[(String, Vec<ListEdit>)]) -> Result<Vec<String>, Error> {
    let mut too_long = Vec::new();
    for some in edits.chunks(TOPICS_AT_ONCE) {
        let answers = kafka.alter_lists(some).await?;
        let names = some.iter().map(|(topic, _)| topic);
        too_long.extend(refused_as_too_long(names.zip(answers))?);
    }
    Ok(too_long)
}

/// The only thing that may be wrong with a list of replicas is its length.
fn refused_as_too_long<'a>(
    answers: impl Iterator<Item = (&'a String, Result<(), Error>)>,
) -> Result<Vec<String>, Error> {
    let mut too_long = Vec::new();
    for (topic, answer) in answers {
        match answer {
            Err(error) if error.code() == Some(ErrorCode::InvalidConfig) => {
                too_long.push(topic.clone());
            }
            other => unless_gone(other)?,
        }
    }
    Ok(too_long)
}

/// What is said of topics that are gone meanwhile is said of nothing.
fn unless_gone(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn only_brokers_that_join_are_bounded_and_each_is_named_once() {
        let one = |partition, from: &[i32], to: &[i32]| Move {
            topic: "t".to_owned(),
            partition,
            from: from.to_vec(),
            to: to.to_vec(),
        };
        let copies = Copies::of(&[one(0, &[1, 2], &[3, 1]), one(1, &[1, 2], &[2, 1])]);
        let lists: Vec<_> = copies.lists().collect();
        assert_eq!(lists, [(&"t".to_owned(), list(&["0:3"]))]);
        let mut more = Copies::of(&[one(2, &[1], &[4])]);
        more.extend(copies.clone());
        let lists = more.without(&copies);
        assert_eq!(lists, Copies::of(&[one(2, &[1], &[4])]));
    }

    #[test]
    fn what_is_lifted_is_what_the_operator_named_and_the_word_for_all_of_older_ones() {
        let tools = (list(&["0:3"]), list(&["0:1", "0:2"]));
        assert!(!is_own(&tools.0, &tools.1));
        assert_eq!(lifting(&tools.0, &tools.1), []);
        let ours = list(&["1:3", "2:3"]);
        assert!(is_own(&ours, &ours));
        let reset = |name| edit(name, ListChange::Reset, &[]);
        let all = [reset(FOLLOWERS), reset(LEADERS)];
        assert_eq!(lifting(&ours, &ours), all);
        assert_eq!(lifting(&list(&["*"]), &[]), [reset(FOLLOWERS)]);
        let both = (list(&["0:3", "1:3", "2:3"]), list(&["0:1", "1:3", "2:3"]));
        let subtract = |name| edit(name, ListChange::Subtract, &ours);
        let edits = [subtract(FOLLOWERS), subtract(LEADERS)];
        assert_eq!(lifting(&both.0, &both.1), edits);
    }

    #[test]
    fn a_list_that_is_too_long_is_told_apart_and_a_topic_that_is_gone_has_none() {
        let names = list(&["long", "gone", "well"]);
        let refused = |code| Err(Error::refused("t", code, None));
        let codes = [ErrorCode::InvalidConfig, ErrorCode::UnknownTopicOrPartition];
        let answers = codes.map(refused).into_iter().chain([Ok(())]);
        let too_long = refused_as_too_long(names.iter().zip(answers)).unwrap();
        assert_eq!(too_long, ["long"]);
        let refused = refused(ErrorCode::ClusterAuthorizationFailed);
        assert!(refused_as_too_long(names.iter().zip([refused])).is_err());
        let both = list(&["*"]);
        assert!(is_own(&both, &both));
        let reset = |name| edit(name, ListChange::Reset, &[]);
        assert_eq!(lifting(&both, &both), [reset(FOLLOWERS), reset(LEADERS)]);
    }
}
