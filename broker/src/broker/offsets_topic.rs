//! The topic that committed offsets are kept in, as it is created.

use std::time::Duration;

use milena_metadata::{Image, NewTopic, TopicId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::BrokerConfig;
use crate::group::OFFSETS_TOPIC;

/// How often the log says that there are too few brokers: clients ask again many times a second.
const TELL: Duration = Duration::from_secs(10);

/// There are not as many brokers as the topic shall have replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFew {
    unfenced: usize,
    needed: i16,
}

/// The topic that is to be created. A broker without `controller.quorum.voters` makes do with as many replicas as there
/// are brokers, and the topic grows with the cluster; where voters are named it is known that more will come, and
/// offsets that one broker alone has would be lost with it.
pub fn wanted(config: &BrokerConfig, image: &Image) -> Result<NewTopic, TooFew> {
    let needed = config.offsets_topic_replication_factor;
    let unfenced = image.brokers().filter(|broker| !broker.fenced).count();
    let present = i16::try_from(unfenced).unwrap_or(i16::MAX);
    let replication_factor = match config.quorum.voters.is_empty() {
        true => needed.min(present.max(1)),
        false if present < needed => return Err(TooFew { unfenced, needed }),
        false => needed,
    };
    Ok(NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        id: TopicId::random(),
        partitions: config.offsets_topic_num_partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: vec![
            ("cleanup.policy".to_owned(), Some("compact".to_owned())),
            ("compression.type".to_owned(), Some("producer".to_owned())),
            (
                "segment.bytes".to_owned(),
                Some(config.offsets_topic_segment_bytes.to_string()),
            ),
        ],
    })
}

/// Says in the log that there are too few, now and then.
#[derive(Debug, Default)]
pub struct Teller(Mutex<Option<Instant>>);

impl Teller {
    pub fn tell(&self, few: TooFew) {
        let mut told = self.0.lock();
        if told.is_none_or(|told| told.elapsed() > TELL) {
            *told = Some(Instant::now());
            tracing::warn!(
                unfenced = few.unfenced,
                needed = few.needed,
                "__consumer_offsets waits for brokers, so groups can't be served: offsets.topic.replication.factor is \
                 {}, and {} are there",
                few.needed,
                few.unfenced
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_metadata::{NoConfigRules, RegisterBroker, decide};

    use super::*;
    use crate::broker::tests::beside::registration;
    use crate::config::Sources;

    fn config(voters: &str) -> BrokerConfig {
        let set = [
            ("listeners", "PLAINTEXT://:9092,PEERS://:9091"),
            ("controller.quorum.voters", voters),
        ];
        Sources::of(&set).load().unwrap().0
    }

    /// Brokers 1 to `unfenced`, and a fenced one.
    fn image(unfenced: i32) -> Image {
        let mut image = Image::default();
        for id in 1..=unfenced + 1 {
            let command = RegisterBroker {
                fenced: id > unfenced,
                ..registration(id)
            };
            let decided = decide(&image, &command.into(), &NoConfigRules).unwrap();
            image.apply_entry(1, &decided.records).unwrap();
        }
        image
    }

    #[test]
    fn without_a_list_of_voters_it_takes_as_many_replicas_as_there_are_brokers() {
        let factor = |unfenced| wanted(&config(""), &image(unfenced)).unwrap();
        assert_eq!(factor(1).replication_factor, 1);
        assert_eq!(factor(2).replication_factor, 2);
        assert_eq!(factor(4).replication_factor, 3);
    }

    #[test]
    fn with_a_list_of_voters_it_waits_for_enough_brokers() {
        let config = config("1@a:9091,2@b:9091,3@c:9091");
        let few = TooFew {
            unfenced: 2,
            needed: 3,
        };
        assert_eq!(wanted(&config, &image(2)).unwrap_err(), few);
        assert_eq!(wanted(&config, &image(3)).unwrap().replication_factor, 3);
    }
}
