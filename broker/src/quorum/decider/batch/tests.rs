use milena_metadata::{
    AlterConfigs, BrokerId, BrokerRecord, CONFIG_VALUE_BYTES_MAX, ChangeBroker, ChangeBrokers,
    ConfigResource, DirectoryId, Elected, IncarnationId, LastEnd, NoConfigRules, PartitionId,
    PartitionRecord, Replica, Request, TopicId, TopicName, TopicRecord,
};
use milena_protocol::Uuid;

use super::*;

const BROKERS: i32 = 3;
/// As many as the gone broker has replicas; each broker has one of each.
const PARTITIONS: usize = 100_000;
const GONE: i32 = 1;

fn id(broker: i32) -> BrokerId {
    BrokerId::new(broker).unwrap()
}

fn broker(broker: i32) -> Record {
    BrokerRecord {
        id: id(broker),
        epoch: i64::from(broker),
        incarnation: IncarnationId(Uuid([broker as u8; 16])),
        endpoints: Vec::new(),
        node: None,
        rack: None,
        pool: None,
        directories: vec![directory(broker)],
        software: "test".into(),
        levels: Default::default(),
        last_end: LastEnd::Clean,
        fenced: false,
        draining: false,
        stopping: false,
    }
    .into()
}

fn directory(broker: i32) -> DirectoryId {
    DirectoryId(Uuid([broker as u8 + 100; 16]))
}

fn partition(topic: TopicId, number: usize) -> Record {
    let first = number as i32 % BROKERS;
    let brokers = (0..BROKERS).map(|next| 1 + (first + next) % BROKERS);
    let isr: Vec<BrokerId> = brokers.map(id).collect();
    let replica = |&broker: &BrokerId| Replica {
        broker,
        directory: directory(broker.get()),
    };
    PartitionRecord {
        topic,
        partition: PartitionId::new(number as i32).unwrap(),
        replicas: isr.iter().map(replica).collect(),
        leader: isr.first().copied(),
        isr,
        elr: Vec::new(),
        last_leader: None,
        leader_epoch: 0,
        partition_epoch: 0,
        elected: Elected::InSync,
        unopened: Vec::new(),
        reassignment: None,
    }
    .into()
}

/// Three brokers, each of which has a replica of every partition of one topic.
fn cluster() -> Arc<Image> {
    let mut image = Image::default();
    let topic = TopicId(Uuid([9; 16]));
    let name = TopicName::new("many").unwrap();
    let topic_record = TopicRecord { id: topic, name };
    let records = (1..=BROKERS)
        .map(broker)
        .chain([topic_record.into()])
        .chain((0..PARTITIONS).map(|number| partition(topic, number)));
    records.for_each(|record| image.apply(&record).unwrap());
    Arc::new(image)
}

fn fence() -> Command {
    let change = ChangeBroker {
        id: id(GONE),
        epoch: i64::from(GONE),
        fenced: Some(true),
        draining: None,
        stopping: None,
    };
    ChangeBrokers {
        changes: vec![change],
    }
    .into()
}

fn proposed(image: &Arc<Image>, command: &Command) -> Vec<Proposal> {
    let mut batch = Batch::after(image.clone());
    let outcome = batch.decide(command, &NoConfigRules).unwrap();
    let answers = ChangeBrokers::outcome(outcome).unwrap();
    assert_eq!(answers, [Ok(())]);
    assert!(batch.is_full(), "nothing waits behind it");
    batch.proposals().collect()
}

fn apply(image: &mut Image, proposals: &[Proposal]) {
    for proposal in proposals {
        let applied = proposal.apply(1, image);
        assert_eq!(applied, crate::quorum::types::Applied::Done);
    }
}

fn touching(image: &Image) -> usize {
    let partitions = image.topic("many").unwrap().partitions();
    let gone = id(GONE);
    partitions
        .filter(|(_, state)| state.leader == Some(gone) || state.isr.contains(&gone))
        .count()
}

#[test]
fn a_broker_with_a_hundred_thousand_replicas_is_fenced_by_entries_of_a_bounded_size() {
    let before = cluster();
    let proposals = proposed(&before, &fence());
    assert!(proposals.len() > 5, "{}", proposals.len());
    for proposal in &proposals {
        let bytes = serde_json::to_vec(proposal).unwrap().len();
        assert!(bytes < ENTRY_BYTES_MAX + 1_000, "{bytes}");
    }
    let mut image = Image::clone(&before);
    let (last, others) = proposals.split_last().unwrap();
    apply(&mut image, others);
    assert!(!image.broker(id(GONE)).unwrap().fenced, "not by halves");
    apply(&mut image, std::slice::from_ref(last));
    assert!(image.broker(id(GONE)).unwrap().fenced);
    assert_eq!(touching(&image), 0);
}

#[test]
fn a_fence_that_ended_halfway_with_its_leader_is_made_whole_by_the_next() {
    let before = cluster();
    let proposals = proposed(&before, &fence());
    let mut whole = Image::clone(&before);
    apply(&mut whole, &proposals);
    let mut half = Image::clone(&before);
    apply(&mut half, &proposals[..proposals.len() / 2]);
    assert!((1..PARTITIONS).contains(&touching(&half)));
    let rest = proposed(&Arc::new(half.clone()), &fence());
    apply(&mut half, &rest);
    assert_eq!(half, whole, "each partition changed once");
}

/// Sets so many values, each of 32,767 bells: a bell is written as six bytes.
fn configure(prefix: &str, values: usize) -> Command {
    let bells = "\u{7}".repeat(CONFIG_VALUE_BYTES_MAX);
    let set = |key| (format!("{prefix}-{key}"), Some(bells.clone()));
    AlterConfigs {
        resources: vec![(
            ConfigResource::topic("many"),
            (0..values).map(set).collect(),
        )],
        validate_only: false,
    }
    .into()
}

fn small_cluster() -> Arc<Image> {
    let mut image = Image::default();
    let name = TopicName::new("many").unwrap();
    let topic = TopicRecord {
        id: TopicId(Uuid([9; 16])),
        name,
    };
    image.apply(&topic.into()).unwrap();
    Arc::new(image)
}

#[test]
fn whatever_is_asked_together_each_entry_fits_into_half_a_frame() {
    let mut batch = Batch::after(small_cluster());
    for (prefix, values) in [("small", 10), ("large", 100), ("more", 100), ("most", 100)] {
        if !batch.is_full() {
            let (answer, _answered) = oneshot::channel();
            batch.take(&configure(prefix, values), &NoConfigRules, answer);
        }
    }
    assert_eq!(batch.answers.len(), 2, "the others wait");
    let sizes: Vec<usize> = batch
        .proposals()
        .map(|proposal| serde_json::to_vec(&proposal).unwrap().len())
        .collect();
    let most = FRAME_BYTES_MAX / 2 + 1_000;
    assert!(sizes.iter().all(|size| *size < most), "{sizes:?}");
    assert!(sizes.iter().sum::<usize>() > ENTRY_BYTES_MAX, "{sizes:?}");
}

#[test]
fn what_must_be_in_one_entry_and_is_too_large_is_refused_by_its_written_bytes() {
    let mut batch = Batch::after(small_cluster());
    let refusal = batch
        .decide(&configure("large", 200), &NoConfigRules)
        .unwrap_err();
    assert_eq!(refusal.code, ErrorCode::PolicyViolation);
    assert!(refusal.message.contains("33554432"), "{refusal}");
    assert_eq!(batch.proposals().count(), 0);
}
