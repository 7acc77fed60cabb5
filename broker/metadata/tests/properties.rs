//! Whatever is asked, in whatever order: decided records apply, and no invariant of the image breaks.

use std::collections::BTreeMap;

use milena_metadata::*;
use milena_protocol::Uuid;
use proptest::prelude::*;

fn broker(id: i32) -> BrokerId {
    BrokerId::new(id).unwrap()
}

fn register(id: i32, life: u8, fenced: bool) -> Command {
    let mut incarnation = [life; 16];
    incarnation[0] = id as u8;
    RegisterBroker {
        id: broker(id),
        incarnation: IncarnationId(Uuid(incarnation)),
        endpoints: Vec::new(),
        node: None,
        rack: (id % 2 == 0).then(|| "even".into()),
        pool: None,
        directories: Vec::new(),
        software: "test".into(),
        last_end: LastEnd::Killed,
        fenced,
    }
    .into()
}

fn create(name: String, draw: u128, partitions: i32, factor: i16, validate_only: bool) -> Command {
    CreateTopics {
        topics: vec![NewTopic {
            name,
            id: TopicId(Uuid(draw.to_be_bytes())),
            partitions,
            replication_factor: factor,
            assignments: Vec::new(),
            configs: vec![("key".into(), Some("value".into()))],
        }],
        default_partitions: 2,
        default_replication_factor: 1,
        validate_only,
    }
    .into()
}

/// The latest life of a broker, or one that never was.
fn epoch(image: &Image, id: i32) -> i64 {
    image.broker(broker(id)).map_or(99, |broker| broker.epoch)
}

/// What someone may ask; it becomes a command on the image of its moment, for it names epochs.
#[derive(Debug, Clone)]
enum Ask {
    Register(i32, u8, bool),
    Change(i32, Option<bool>, Option<bool>),
    Create(String, u128, i32, i16, bool),
    Delete(Vec<String>),
    Grow(String, i32, Option<Vec<Vec<i32>>>),
    Config(String, String, Option<String>),
    ProducerIds(i32),
}

impl Ask {
    fn on(self, image: &Image) -> Command {
        match self {
            Self::Register(id, life, fenced) => register(id, life, fenced),
            Self::Change(id, fenced, draining) => ChangeBroker {
                id: broker(id),
                epoch: epoch(image, id),
                fenced,
                draining,
            }
            .into(),
            Self::Create(name, draw, partitions, factor, only) => {
                create(name, draw, partitions, factor, only)
            }
            Self::Delete(names) => DeleteTopics {
                topics: names.into_iter().map(TopicReference::Name).collect(),
            }
            .into(),
            Self::Grow(topic, count, assignments) => CreatePartitions {
                topics: vec![NewPartitions {
                    topic,
                    count,
                    assignments,
                }],
                validate_only: false,
            }
            .into(),
            Self::Config(topic, key, value) => IncrementalAlterConfigs {
                resources: vec![(
                    ConfigResource::topic(topic),
                    vec![ConfigChange {
                        key,
                        operation: match value {
                            Some(_) => ConfigOperation::Set,
                            None => ConfigOperation::Delete,
                        },
                        value,
                    }],
                )],
                validate_only: false,
            }
            .into(),
            Self::ProducerIds(id) => AllocateProducerIds {
                broker: broker(id),
                broker_epoch: epoch(image, id),
            }
            .into(),
        }
    }
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let name = || prop::sample::select(vec!["a", "b", "a.b", "a_b", "", "x y"]);
    let name = move || name().prop_map(String::from);
    let flag = || prop::option::of(any::<bool>());
    let lists = prop::option::of(prop::collection::vec(
        prop::collection::vec(-1..5i32, 0..3),
        0..4,
    ));
    let ask = prop_oneof![
        (0..4i32, 0..3u8, any::<bool>()).prop_map(|(id, life, f)| Ask::Register(id, life, f)),
        (0..4i32, flag(), flag()).prop_map(|(id, f, d)| Ask::Change(id, f, d)),
        (name(), any::<u128>(), -2..5i32, -2..4i16, any::<bool>())
            .prop_map(|(name, draw, p, f, only)| Ask::Create(name, draw, p, f, only)),
        prop::collection::vec(name(), 0..3).prop_map(Ask::Delete),
        (name(), -1..9i32, lists).prop_map(|(name, count, lists)| Ask::Grow(name, count, lists)),
        (name(), name(), prop::option::of(name())).prop_map(|(t, k, v)| Ask::Config(t, k, v)),
        (0..4i32).prop_map(Ask::ProducerIds),
    ];
    prop::collection::vec(ask, 1..60)
}

fn check(before: &Image, image: &Image) {
    let mut loads = BTreeMap::<BrokerId, Load>::new();
    let mut partitions = 0;
    for topic in image.topics() {
        assert_eq!(image.topic_by_id(topic.id), Some(topic));
        assert_eq!(image.look_alike(&topic.name), None);
        assert!(topic.partition_count() > 0);
        for (number, partition) in topic.partitions() {
            partitions += 1;
            check_partition(image, partition);
            for (place, id) in partition.brokers().enumerate() {
                let load = loads.entry(id).or_default();
                load.replicas += 1;
                load.leaders += u32::from(place == 0);
            }
            let earlier = before.topic_by_id(topic.id);
            let earlier = earlier.and_then(|topic| topic.partition(number.get()));
            if let Some(earlier) = earlier.filter(|earlier| *earlier != partition) {
                assert!(partition.partition_epoch > earlier.partition_epoch);
                assert!(partition.leader_epoch >= earlier.leader_epoch);
                let led_on = partition.leader_epoch == earlier.leader_epoch;
                assert!(!led_on || partition.leader == earlier.leader);
            }
        }
    }
    assert_eq!(image.partition_count(), partitions);
    for broker in image.brokers() {
        let counted = loads.get(&broker.id).copied().unwrap_or_default();
        assert_eq!(image.load(broker.id), counted);
    }
    for (name, _) in image.configured(ResourceKind::Topic) {
        assert!(image.topic(name).is_some(), "configs outlive a topic");
    }
    assert!(image.next_producer_id() >= before.next_producer_id());
}

fn check_partition(image: &Image, partition: &Partition) {
    let mut brokers: Vec<BrokerId> = partition.brokers().collect();
    assert!(!partition.isr.is_empty(), "the last in sync stays");
    assert!(partition.isr.iter().all(|member| brokers.contains(member)));
    if let Some(leader) = partition.leader {
        assert!(partition.isr.contains(&leader));
        assert!(!image.broker(leader).unwrap().fenced, "a fenced leader");
    }
    let replicas = brokers.len();
    brokers.sort();
    brokers.dedup();
    assert_eq!(brokers.len(), replicas, "two replicas on one broker");
}

proptest! {
    #[test]
    fn no_sequence_of_commands_breaks_an_invariant(asks in asks()) {
        let mut image = Image::default();
        for ask in asks {
            let command = ask.on(&image);
            let Ok(decision) = decide(&image, &command, &NoConfigRules) else { continue };
            let before = image.clone();
            image.apply_entry(1, &decision.records).unwrap();
            check(&before, &image);
            let grown = image.position().offset - before.position().offset;
            prop_assert_eq!(grown, decision.records.len() as u64);
        }
        let mut copy = Image::default();
        for record in image.records() {
            let mut json = Vec::new();
            record.write_json(&mut json);
            copy.apply(&Record::from_json(&json).unwrap()).unwrap();
        }
        prop_assert_eq!(copy.at(image.position()), image);
    }

    #[test]
    fn a_stale_entry_is_skipped_whole(asks in asks(), late in 0..60usize) {
        let mut image = Image::default();
        let mut entries = Vec::new();
        for ask in asks {
            let command = ask.on(&image);
            let Ok(decision) = decide(&image, &command, &NoConfigRules) else { continue };
            image.apply_entry(1, &decision.records).unwrap();
            entries.push(decision.records);
        }
        let Some(entry) = entries.get(late) else { return Ok(()) };
        let before = image.clone();
        if image.apply_entry(1, entry).is_err() {
            prop_assert_eq!(image, before);
        }
    }
}
