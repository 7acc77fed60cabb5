//! What must hold of every image, and of every step from one to the next.

use std::collections::BTreeMap;

use milena_metadata::*;

pub fn check(before: &Image, image: &Image) {
    let mut loads = BTreeMap::<BrokerId, Load>::new();
    let mut partitions = 0;
    for topic in image.topics() {
        assert_eq!(image.topic_by_id(topic.id), Some(topic));
        assert_eq!(image.look_alike(&topic.name), None);
        assert!(topic.partition_count() > 0);
        let policy = TopicPolicy::of(image, &NoConfigRules, &topic.name);
        for (number, partition) in topic.partitions() {
            partitions += 1;
            check_partition(image, policy, partition);
            for (place, id) in partition.target().into_iter().enumerate() {
                let load = loads.entry(id).or_default();
                load.replicas += 1;
                load.leaders += u32::from(place == 0);
            }
            let earlier = before.topic_by_id(topic.id);
            let earlier = earlier.and_then(|topic| topic.partition(number.get()));
            if let Some(earlier) = earlier {
                check_step(before, image, earlier, partition);
            }
        }
    }
    assert_eq!(image.partition_count(), partitions);
    for broker in image.brokers() {
        let counted = loads.remove(&broker.id).unwrap_or_default();
        assert_eq!(image.load(broker.id), counted);
    }
    assert!(loads.is_empty(), "a broker is gone that hosts replicas");
    for (name, _) in image.configured(ResourceKind::Topic) {
        assert!(image.topic(name).is_some(), "configs outlive a topic");
    }
    assert!(image.next_producer_id() >= before.next_producer_id());
}

/// Whether a broker serves its replica.
pub fn is_up(image: &Image, partition: &Partition, id: BrokerId) -> bool {
    let replica = partition.replicas.iter().find(|has| has.broker == id);
    let online = |broker: &Broker, directory: &DirectoryId| {
        *directory == DirectoryId::UNASSIGNED || broker.directories.contains(directory)
    };
    let is_opened = !partition.unopened.contains(&id);
    image
        .broker(id)
        .zip(replica)
        .is_some_and(|(broker, replica)| {
            is_opened && !broker.fenced && online(broker, &replica.directory)
        })
}

fn check_partition(image: &Image, policy: TopicPolicy, partition: &Partition) {
    let mut brokers: Vec<BrokerId> = partition.brokers().collect();
    let up = |id: &BrokerId| is_up(image, partition, *id);
    let place = |id: &BrokerId| brokers.iter().position(|other| other == id).unwrap();
    for members in [&partition.isr, &partition.elr] {
        assert!(members.iter().all(|member| brokers.contains(member)));
        assert!(members.is_sorted_by(|one, two| place(one) < place(two)));
    }
    let mut eligible = partition.isr.iter().chain(&partition.elr);
    match partition.leader {
        Some(leader) => {
            assert!(partition.isr.contains(&leader));
            assert!(partition.isr.iter().all(up), "a fenced member");
        }
        None => {
            assert!(!eligible.any(up), "nobody leads, and one could");
            assert!(!policy.unclean_election || !brokers.iter().any(up));
        }
    }
    assert!(partition.elr.iter().all(|id| !partition.isr.contains(id)));
    assert!(partition.unopened.iter().all(|id| brokers.contains(id)));
    let min = partition.min_isr(policy.min_insync_replicas);
    assert!(partition.elr.is_empty() || partition.isr.len() < min);
    if let Some(Reassignment { from, to }) = &partition.reassignment {
        assert_ne!(from, to);
        let both = |id: &BrokerId| from.contains(id) || to.contains(id);
        assert!(brokers.iter().all(both));
        assert!(from.iter().chain(to).all(|id| brokers.contains(id)));
        assert!(brokers.starts_with(from), "the old order is kept");
    }
    let replicas = brokers.len();
    brokers.sort();
    brokers.dedup();
    assert_eq!(brokers.len(), replicas, "two replicas on one broker");
    assert!(replicas > 0);
}

fn check_step(before: &Image, image: &Image, earlier: &Partition, partition: &Partition) {
    assert!(partition.leader_epoch >= earlier.leader_epoch);
    assert!(earlier == partition || partition.partition_epoch > earlier.partition_epoch);
    if partition.leader_epoch == earlier.leader_epoch {
        assert_eq!(partition.leader, earlier.leader);
        let life = |image: &Image| {
            let leader = image.broker(partition.leader?)?;
            Some(leader.incarnation)
        };
        assert_eq!(
            life(before),
            life(image),
            "a new life leads in an old epoch"
        );
    }
    let Some(reassignment) = &earlier.reassignment else {
        return;
    };
    if partition.reassignment.is_none() && partition.target() == reassignment.to {
        let mut adding = reassignment.adding();
        assert!(adding.all(|id| partition.isr.contains(&id)));
    }
}
