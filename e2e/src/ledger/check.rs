//! What is stored, compared with what clients were told and what they read.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use anyhow::{Context, Result, ensure};
use milena_client::admin::When;
use milena_client::{Client, Consumer, ConsumerOptions, StartAt};

use super::{Consuming, Producing, Target};
use crate::load::block_on;

/// Findings of one kind that a report shows.
const SHOWN: usize = 5;

/// The key at each offset of each partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stored(pub Vec<Vec<String>>);

impl Stored {
    /// Reads all partitions; an error where offsets are not 0, 1, 2, and so on.
    pub fn read(client: Client, target: &Target) -> Result<Self> {
        let read = async {
            let partitions: Vec<_> = (0..target.partitions)
                .map(|partition| (target.topic.clone(), partition))
                .collect();
            let ends = client.offsets(&partitions, When::End).await?;
            let mut consumer = Consumer::new(client, ConsumerOptions::default());
            consumer
                .start(&partitions, StartAt::When(When::Start))
                .await?;
            let mut stored = vec![Vec::new(); partitions.len()];
            while consumer.positions() != &ends {
                for fetched in consumer.poll().await? {
                    let keys: &mut Vec<String> = &mut stored[fetched.partition as usize];
                    for record in fetched.records()? {
                        let wanted = keys.len() as i64;
                        ensure!(
                            record.offset == wanted,
                            "partition {} has offset {} where {wanted} is due",
                            fetched.partition,
                            record.offset
                        );
                        let key = record.key.context("a record without its key")?;
                        keys.push(String::from_utf8(key.to_vec())?);
                    }
                }
            }
            anyhow::Ok(stored)
        };
        Ok(Self(block_on(read)??))
    }

    /// The offset behind each partition's last record.
    pub fn ends(&self) -> Vec<i64> {
        self.0.iter().map(|keys| keys.len() as i64).collect()
    }

    fn at(&self, partition: i32, offset: i64) -> Option<&str> {
        let keys = self.0.get(partition as usize)?;
        Some(keys.get(usize::try_from(offset).ok()?)?)
    }
}

/// What is not as it was promised.
#[derive(Debug, Default)]
pub struct Findings {
    /// Records acknowledged that are not at the offset acknowledged, or nowhere.
    pub lost: Vec<String>,
    /// Records that are stored more than once.
    pub duplicated: Vec<String>,
    /// Records of one producer that are behind later ones of the same partition.
    pub disordered: Vec<String>,
    /// What a consumer read out of turn, more than once, or otherwise than it is stored; and what stopped it.
    pub misread: Vec<String>,
    /// Records that a producer gave up.
    pub given_up: Vec<String>,
}

impl Findings {
    /// Compares all that producers and consumers have written down.
    pub fn of(stored: &Stored, producers: &[Producing], consumers: &[Consuming]) -> Self {
        let mut findings = Self::default();
        let places = findings.duplicates(stored);
        findings.order(stored);
        for producer in producers {
            findings.acknowledged(stored, &places, producer);
            findings.given_up.extend(producer.failed.iter().cloned());
        }
        for consumer in consumers {
            findings
                .misread
                .extend(misread(stored, &consumer.name, &consumer.reads));
            let failed = consumer.failed.iter();
            findings
                .misread
                .extend(failed.map(|line| format!("{}: {line}", consumer.name)));
        }
        findings
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.kinds().iter().all(|(_, found)| found.is_empty())
    }

    fn kinds(&self) -> [(&'static str, &Vec<String>); 5] {
        [
            ("lost", &self.lost),
            ("duplicated", &self.duplicated),
            ("out of order", &self.disordered),
            ("misread", &self.misread),
            ("given up", &self.given_up),
        ]
    }

    /// Notes keys that are stored twice; where each key is.
    fn duplicates<'a>(&mut self, stored: &'a Stored) -> HashMap<&'a str, (i32, i64)> {
        let mut places = HashMap::new();
        for (partition, keys) in stored.0.iter().enumerate() {
            for (offset, key) in keys.iter().enumerate() {
                let place = (partition as i32, offset as i64);
                if let Some(before) = places.insert(key.as_str(), place) {
                    self.duplicated
                        .push(format!("{key} is at {before:?} and {place:?}"));
                }
            }
        }
        places
    }

    fn order(&mut self, stored: &Stored) {
        for (partition, keys) in stored.0.iter().enumerate() {
            let mut last: BTreeMap<&str, u64> = BTreeMap::new();
            for (offset, key) in keys.iter().enumerate() {
                let Some((name, number)) = key.rsplit_once('-') else {
                    continue;
                };
                let Ok(number) = number.parse() else { continue };
                let before = last.insert(name, number);
                if before.is_some_and(|before| before > number) {
                    let text = format!("{key} at {partition}-{offset} is behind number {before:?}");
                    self.disordered.push(text);
                }
            }
        }
    }

    fn acknowledged(
        &mut self,
        stored: &Stored,
        places: &HashMap<&str, (i32, i64)>,
        producer: &Producing,
    ) {
        for ack in &producer.acks {
            let key = format!("{}-{}", producer.name, ack.number);
            let is_there = match ack.offset {
                ..0 => places.contains_key(key.as_str()),
                offset => stored.at(ack.partition, offset) == Some(&key),
            };
            if !is_there {
                self.lost.push(format!(
                    "{key} was acknowledged at {}-{} and is at {:?}; there is {:?}",
                    ack.partition,
                    ack.offset,
                    places.get(key.as_str()),
                    stored.at(ack.partition, ack.offset)
                ));
            }
        }
    }
}

/// What one consumer read that is not the next record of its partition as it is stored.
fn misread(stored: &Stored, consumer: &str, reads: &[(i32, i64, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = vec![0; stored.0.len()];
    for (partition, offset, key) in reads {
        let due = &mut next[*partition as usize];
        if offset != due {
            found.push(format!(
                "{consumer} read {partition}-{offset} where {due} was due"
            ));
        }
        *due = offset + 1;
        if stored.at(*partition, *offset) != Some(key) {
            let now = stored.at(*partition, *offset);
            found.push(format!(
                "{consumer} read {key} at {partition}-{offset}, where {now:?} is now"
            ));
        }
    }
    found
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, found) in self.kinds().iter().filter(|(_, found)| !found.is_empty()) {
            writeln!(f, "{} {kind}:", found.len())?;
            for one in found.iter().take(SHOWN) {
                writeln!(f, "  {one}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(partitions: &[&[&str]]) -> Stored {
        let keys = |keys: &&[&str]| keys.iter().map(ToString::to_string).collect();
        Stored(partitions.iter().map(keys).collect())
    }

    #[test]
    fn a_record_that_is_there_twice_is_a_duplicate() {
        let mut findings = Findings::default();
        findings.duplicates(&stored(&[&["a-0", "a-2", "a-0"], &["a-1"]]));
        assert_eq!(findings.duplicated, ["a-0 is at (0, 0) and (0, 2)"]);
    }

    #[test]
    fn an_earlier_record_behind_a_later_one_is_out_of_order() {
        let mut findings = Findings::default();
        findings.order(&stored(&[&["a-0", "b-7", "a-2", "b-1"], &["a-1", "a-3"]]));
        assert_eq!(findings.disordered.len(), 1, "{findings}");
    }

    #[test]
    fn a_consumer_may_neither_skip_nor_repeat_nor_have_seen_another_record() {
        let stored = stored(&[&["a-0", "a-1", "a-2"]]);
        let read = |reads: &[(i64, &str)]| {
            let reads: Vec<_> = reads
                .iter()
                .map(|(at, key)| (0, *at, (*key).to_owned()))
                .collect();
            misread(&stored, "it", &reads).len()
        };
        assert_eq!(read(&[(0, "a-0"), (1, "a-1"), (2, "a-2")]), 0);
        assert_eq!(read(&[(0, "a-0"), (2, "a-2")]), 1);
        assert_eq!(read(&[(0, "a-0"), (0, "a-0"), (1, "a-1")]), 1);
        assert_eq!(read(&[(0, "a-0"), (1, "b-9")]), 1);
        assert_eq!(read(&[(0, "a-0"), (1, "a-1"), (2, "a-2"), (3, "a-3")]), 1);
    }
}
