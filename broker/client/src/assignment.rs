//! What members of a consumer group tell each other, and the `range` assignor.
//!
//! | message | fields (Kafka's ConsumerProtocol, version 0; newer ones add fields behind these) |
//! | --- | --- |
//! | subscription | version i16, topics, user data |
//! | assignment | version i16, topics each with its partitions, user data |

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_protocol::{DecodeError, Reader, Str, Wire, Writer};

/// Partitions by topic.
pub type Assignment = BTreeMap<String, Vec<i32>>;

/// The version that every client reads.
const VERSION: i16 = 0;

/// A member's subscription as it joins with.
pub fn write_subscription(topics: &[String]) -> Bytes {
    let mut w = Writer::new(VERSION, false);
    VERSION.write(&mut w);
    let topics: Vec<Str> = topics.iter().map(Str::from).collect();
    topics.write(&mut w);
    None::<Bytes>.write(&mut w);
    joined(w)
}

/// The topics of a member's subscription.
pub fn read_subscription(metadata: &Bytes) -> Result<Vec<String>, DecodeError> {
    let mut r = Reader::new(metadata.clone(), VERSION, false);
    i16::read(&mut r)?;
    let topics = Vec::<Str>::read(&mut r)?;
    Ok(topics.iter().map(Str::to_string).collect())
}

/// A member's assignment as the leader sends it.
pub fn write_assignment(assignment: &Assignment) -> Bytes {
    let mut w = Writer::new(VERSION, false);
    VERSION.write(&mut w);
    (assignment.len() as i32).write(&mut w);
    for (topic, partitions) in assignment {
        Str::from(topic).write(&mut w);
        partitions.write(&mut w);
    }
    None::<Bytes>.write(&mut w);
    joined(w)
}

/// What a member is to consume; an empty message is nothing.
pub fn read_assignment(assignment: &Bytes) -> Result<Assignment, DecodeError> {
    let mut topics = Assignment::new();
    if assignment.is_empty() {
        return Ok(topics);
    }
    let mut r = Reader::new(assignment.clone(), VERSION, false);
    i16::read(&mut r)?;
    for _ in 0..i32::read(&mut r)? {
        let topic = Str::read(&mut r)?;
        topics.insert(topic.to_string(), Vec::read(&mut r)?);
    }
    Ok(topics)
}

fn joined(w: Writer) -> Bytes {
    // A frame is what it holds, with its length before it.
    w.into_frame().to_vec().split_off(4).into()
}

/// Kafka's `range` assignor: of each topic, every subscriber (in the order of ids) gets consecutive
/// partitions, the first ones one more where they do not divide evenly.
pub fn range(
    subscriptions: &BTreeMap<String, Vec<String>>,
    partition_counts: &BTreeMap<String, i32>,
) -> BTreeMap<String, Assignment> {
    let mut assigned: BTreeMap<String, Assignment> = subscriptions
        .keys()
        .map(|member| (member.clone(), Assignment::new()))
        .collect();
    for (topic, &count) in partition_counts {
        let subscribers: Vec<_> = subscriptions
            .iter()
            .filter(|(_, topics)| topics.contains(topic))
            .map(|(member, _)| member)
            .collect();
        let members = subscribers.len() as i32;
        let mut first = 0;
        for (index, member) in subscribers.into_iter().enumerate() {
            let share = count / members + i32::from((index as i32) < count % members);
            if share > 0
                && let Some(assignment) = assigned.get_mut(member)
            {
                assignment.insert(topic.clone(), (first..first + share).collect());
            }
            first += share;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn each_partition_goes_to_one_subscriber_and_shares_differ_by_one_at_most() {
        let subscriptions = BTreeMap::from([
            ("a".to_owned(), strings(&["t", "u"])),
            ("b".to_owned(), strings(&["t"])),
            ("c".to_owned(), strings(&["t"])),
        ]);
        let counts = BTreeMap::from([("t".to_owned(), 5), ("u".to_owned(), 1)]);
        let assigned = range(&subscriptions, &counts);
        assert_eq!(assigned["a"]["t"], [0, 1]);
        assert_eq!(assigned["a"]["u"], [0]);
        assert_eq!(assigned["b"]["t"], [2, 3]);
        assert_eq!(assigned["c"], BTreeMap::from([("t".to_owned(), vec![4])]));
    }

    #[test]
    fn messages_read_back_what_they_say() {
        let topics = strings(&["one", "two"]);
        assert_eq!(
            read_subscription(&write_subscription(&topics)).unwrap(),
            topics
        );
        let assignment = BTreeMap::from([("one".to_owned(), vec![0, 2])]);
        assert_eq!(
            read_assignment(&write_assignment(&assignment)).unwrap(),
            assignment
        );
        assert!(read_assignment(&Bytes::from_static(&[0, 0, 0x7f])).is_err());
    }
}
