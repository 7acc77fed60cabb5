//! What someone may ask, at random; it becomes a command on the image of its moment, for it names epochs.

use milena_metadata::*;
use milena_protocol::Uuid;
use proptest::prelude::*;

pub fn broker(id: i32) -> BrokerId {
    BrokerId::new(id).unwrap()
}

pub fn directory(number: u8) -> DirectoryId {
    DirectoryId(Uuid([number; 16]))
}

/// A life of a broker, on one directory of its own; after the end `None` on a new one.
pub fn register(id: i32, life: u8, last_end: LastEnd, fenced: bool) -> RegisterBroker {
    let mut incarnation = [life; 16];
    incarnation[0] = id as u8;
    let disk = if last_end == LastEnd::None { life } else { 0 };
    RegisterBroker {
        id: broker(id),
        incarnation: IncarnationId(Uuid(incarnation)),
        endpoints: Vec::new(),
        node: None,
        rack: (id % 2 == 0).then(|| "even".into()),
        pool: None,
        directories: vec![directory(1 + 10 * disk + id as u8)],
        software: "test".into(),
        levels: Default::default(),
        last_end,
        fenced,
    }
}

pub fn create(name: &str, draw: u128, partitions: i32, factor: i16) -> CreateTopics {
    CreateTopics {
        topics: vec![NewTopic {
            name: name.into(),
            id: TopicId(Uuid(draw.to_be_bytes())),
            partitions,
            replication_factor: factor,
            assignments: Vec::new(),
            configs: vec![("key".into(), Some("value".into()))],
        }],
        default_partitions: 2,
        default_replication_factor: 1,
        validate_only: false,
    }
}

pub fn configure(resource: ConfigResource, key: &str, value: Option<&str>) -> Command {
    let operation = match value {
        Some(_) => ConfigOperation::Set,
        None => ConfigOperation::Delete,
    };
    let change = ConfigChange {
        key: key.into(),
        operation,
        value: value.map(Into::into),
    };
    IncrementalAlterConfigs {
        resources: vec![(resource, vec![change])],
        validate_only: false,
    }
    .into()
}

/// The latest life of a broker, or one that never was.
pub fn epoch(image: &Image, id: BrokerId) -> i64 {
    image.broker(id).map_or(99, |broker| broker.epoch)
}

#[derive(Debug, Clone)]
pub enum Ask {
    Register(i32, u8, LastEnd, bool),
    Change(Vec<(i32, [Option<bool>; 3])>),
    Rack(i32, bool),
    Unregister(i32),
    AssignDirectory(String, i32, i32, DirectoryId, bool),
    Isr(String, i32, Vec<i32>, i32, i32),
    Reassign(String, i32, Option<Vec<i32>>),
    Elect(ElectionKind, Option<Vec<(String, i32)>>),
    Create(String, u128, i32, i16, bool),
    Delete(Vec<String>),
    Grow(String, i32, Option<Vec<Vec<i32>>>),
    Config(String, String, Option<String>),
    MinIsr(Option<String>, Option<u8>),
    Unclean(bool),
    ProducerIds(i32),
}

impl Ask {
    pub fn on(self, image: &Image) -> Command {
        match self {
            Self::Register(id, life, end, fenced) => register(id, life, end, fenced).into(),
            Self::Change(changes) => ChangeBrokers {
                changes: changes
                    .into_iter()
                    .map(|(id, flags)| change(image, id, flags))
                    .collect(),
            }
            .into(),
            Self::Rack(id, even) => ChangeRack {
                id: broker(id),
                epoch: epoch(image, broker(id)),
                rack: if even { "even" } else { "odd" }.into(),
            }
            .into(),
            Self::Unregister(id) => UnregisterBroker { id: broker(id) }.into(),
            Self::AssignDirectory(topic, partition, id, directory, is_unopened) => {
                let ask = assign_directory(image, &topic, partition, broker(id), directory);
                AssignDirectories { is_unopened, ..ask }.into()
            }
            Self::Isr(topic, partition, isr, stale, life) => {
                propose(image, &topic, partition, &isr, stale, life)
            }
            Self::Reassign(topic, partition, brokers) => AlterPartitionReassignments {
                partitions: vec![WantedReplicas {
                    topic,
                    partition,
                    brokers,
                }],
                allow_replication_factor_change: true,
            }
            .into(),
            Self::Elect(kind, partitions) => ElectLeaders { kind, partitions }.into(),
            Self::Create(name, draw, partitions, factor, validate_only) => CreateTopics {
                validate_only,
                ..create(&name, draw, partitions, factor)
            }
            .into(),
            Self::Delete(names) => DeleteTopics {
                topics: names.into_iter().map(TopicReference::Name).collect(),
            }
            .into(),
            Self::Grow(topic, count, assignments) => grow(topic, count, assignments).into(),
            Self::Config(topic, key, value) => {
                configure(ConfigResource::topic(topic), &key, value.as_deref())
            }
            Self::MinIsr(topic, min) => {
                let resource = match topic {
                    Some(topic) => ConfigResource::topic(topic),
                    None => ConfigResource::broker(None),
                };
                let min = min.map(|min| min.to_string());
                configure(resource, "min.insync.replicas", min.as_deref())
            }
            Self::Unclean(on) => {
                let on = on.then_some("true");
                let key = "unclean.leader.election.enable";
                configure(ConfigResource::broker(None), key, on)
            }
            Self::ProducerIds(id) => AllocateProducerIds {
                broker: broker(id),
                broker_epoch: epoch(image, broker(id)),
            }
            .into(),
        }
    }
}

fn grow(topic: String, count: i32, assignments: Option<Vec<Vec<i32>>>) -> CreatePartitions {
    CreatePartitions {
        topics: vec![NewPartitions {
            topic,
            count,
            assignments,
        }],
        validate_only: false,
    }
}

/// Where the topic is there.
fn assign_directory(
    image: &Image,
    topic: &str,
    partition: i32,
    id: BrokerId,
    directory: DirectoryId,
) -> AssignDirectories {
    let number = PartitionId::new(partition).unwrap();
    let replicas = image
        .topic(topic)
        .map(|topic| (topic.id, number, directory));
    AssignDirectories {
        broker: id,
        broker_epoch: epoch(image, id),
        replicas: replicas.into_iter().collect(),
        is_unopened: false,
    }
}

pub fn change(image: &Image, id: i32, flags: [Option<bool>; 3]) -> ChangeBroker {
    let [fenced, draining, stopping] = flags;
    ChangeBroker {
        id: broker(id),
        epoch: epoch(image, broker(id)),
        fenced,
        draining,
        stopping,
    }
}

/// The leader's proposal; `stale` and `life` are how far its epochs are off.
pub fn propose(
    image: &Image,
    topic: &str,
    partition: i32,
    isr: &[i32],
    stale: i32,
    life: i32,
) -> Command {
    let present = image.partition(topic, partition);
    let leader = present.and_then(|p| p.leader).unwrap_or(broker(0));
    let id = image
        .topic(topic)
        .map_or(TopicId(Uuid([9; 16])), |topic| topic.id);
    AlterPartition {
        broker: leader,
        broker_epoch: epoch(image, leader),
        partitions: vec![IsrProposal {
            topic: id,
            partition: PartitionId::new(partition).unwrap(),
            leader_epoch: present.map_or(0, |p| p.leader_epoch) + stale,
            partition_epoch: present.map_or(0, |p| p.partition_epoch),
            isr: isr
                .iter()
                .map(|&id| (broker(id), epoch(image, broker(id)) + i64::from(life)))
                .collect(),
        }],
    }
    .into()
}

fn mostly(zero: i32) -> impl Strategy<Value = i32> {
    prop_oneof![9 => Just(zero), 1 => -1..2i32]
}

pub fn ends() -> impl Strategy<Value = LastEnd> {
    prop::sample::select(vec![
        LastEnd::Clean,
        LastEnd::Killed,
        LastEnd::Unclean,
        LastEnd::None,
    ])
}

fn names() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "a", "a", "b", "a.b", "a_b", "", "x y"]).prop_map(String::from)
}

fn flags() -> impl Strategy<Value = [Option<bool>; 3]> {
    let flag = || prop::option::of(any::<bool>());
    let rarely = || prop::option::weighted(0.2, any::<bool>());
    (flag(), rarely(), rarely())
        .prop_map(|(fenced, draining, stopping)| [fenced, draining, stopping])
}

/// Commands of all kinds, valid and not.
pub fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let list = || prop::sample::subsequence(vec![0, 1, 2, 3, 4], 0..4).prop_shuffle();
    let lists = prop::option::of(prop::collection::vec(
        prop::collection::vec(-1..5i32, 0..3),
        0..4,
    ));
    let kind = prop::sample::select(vec![ElectionKind::Preferred, ElectionKind::Unclean]);
    let some = prop::collection::vec((names(), 0..3i32), 0..3);
    let places = prop::sample::select(vec![DirectoryId::UNASSIGNED, DirectoryId::LOST]);
    let ask = prop_oneof![
        3 => (0..5i32, any::<u8>(), ends(), any::<bool>())
            .prop_map(|(id, life, end, f)| Ask::Register(id, life % 24, end, f)),
        4 => prop::collection::vec((0..5i32, flags()), 1..3).prop_map(Ask::Change),
        1 => (0..5i32, any::<bool>()).prop_map(|(id, even)| Ask::Rack(id, even)),
        1 => (0..5i32).prop_map(Ask::Unregister),
        2 => (names(), 0..3i32, 0..5i32, places, any::<bool>())
            .prop_map(|(t, p, b, place, is_unopened)| Ask::AssignDirectory(t, p, b, place, is_unopened)),
        5 => (names(), 0..3i32, list(), mostly(0), mostly(0))
            .prop_map(|(t, p, isr, stale, life)| Ask::Isr(t, p, isr, stale, life)),
        3 => (names(), 0..3i32, prop::option::weighted(0.8, list()))
            .prop_map(|(t, p, to)| Ask::Reassign(t, p, to)),
        2 => (kind, prop::option::of(some)).prop_map(|(kind, some)| Ask::Elect(kind, some)),
        4 => (names(), any::<u128>(), -2..5i32, -2..5i16, prop::bool::weighted(0.1))
            .prop_map(|(name, draw, p, f, only)| Ask::Create(name, draw, p, f, only)),
        1 => prop::collection::vec(names(), 0..3).prop_map(Ask::Delete),
        1 => (names(), -1..9i32, lists).prop_map(|(name, count, lists)| Ask::Grow(name, count, lists)),
        1 => (names(), names(), prop::option::of(names()))
            .prop_map(|(t, k, v)| Ask::Config(t, k, v)),
        2 => (prop::option::of(names()), prop::option::of(0..4u8))
            .prop_map(|(topic, min)| Ask::MinIsr(topic, min)),
        1 => prop::bool::weighted(0.3).prop_map(Ask::Unclean),
        1 => (0..5i32).prop_map(Ask::ProducerIds),
    ];
    prop::collection::vec(ask, 1..80)
}
