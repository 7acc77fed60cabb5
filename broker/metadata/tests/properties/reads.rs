//! Reads of images: what changed between two, and how the partitions of one are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_metadata::*;
use proptest::prelude::*;

use super::apply;
use super::asks::{asks, broker, change, configure, create};

type Partitions = BTreeMap<(TopicId, i32), Arc<Partition>>;

fn partitions(image: &Image) -> Partitions {
    let of = |topic: &Topic| {
        let id = topic.id;
        let numbered = topic.partitions();
        numbered
            .map(|(number, partition)| ((id, number.get()), partition.clone()))
            .collect::<Vec<_>>()
    };
    image.topics().flat_map(|topic| of(topic)).collect()
}

fn configs(image: &Image) -> BTreeMap<(ResourceKind, Arc<str>), Configs> {
    let kinds = [ResourceKind::Topic, ResourceKind::Broker];
    let of = |kind| {
        let all = image.configured(kind);
        all.map(move |(name, configs)| ((kind, name.clone()), configs.clone()))
    };
    kinds.into_iter().flat_map(of).collect()
}

/// The keys whose values differ between two maps.
fn differing<K: Ord + Clone, V: PartialEq>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
) -> BTreeSet<K> {
    let keys = before.keys().chain(after.keys());
    keys.filter(|key| before.get(key) != after.get(key))
        .cloned()
        .collect()
}

proptest! {
    #[test]
    fn a_difference_names_exactly_what_changed(asks in asks(), split in 0..80usize, id in 0..5i32) {
        let mut image = super::start();
        let mut earlier = image.clone();
        for (index, ask) in asks.into_iter().enumerate() {
            if index == split {
                earlier = image.clone();
            }
            let command = ask.on(&image);
            let _ = apply(&mut image, &command);
        }
        let (before, after) = (partitions(&earlier), partitions(&image));
        let mut named = BTreeSet::new();
        for change in image.changed_partitions(&earlier) {
            let key = (change.topic.id, change.partition.get());
            prop_assert_eq!(change.change.before(), before.get(&key));
            prop_assert_eq!(change.change.after(), after.get(&key));
            prop_assert!(named.insert(key));
        }
        prop_assert_eq!(&named, &differing(&before, &after));

        let hosted = |map: &Partitions, key: &(TopicId, i32)| {
            map.get(key).is_some_and(|partition| partition.hosts(broker(id)))
        };
        let concern = |key: &&(TopicId, i32)| hosted(&before, key) || hosted(&after, key);
        let of_broker = image.changed_partitions_of(&earlier, broker(id)).count();
        prop_assert_eq!(of_broker, named.iter().filter(concern).count());

        let brokers = |image: &Image| -> BTreeMap<BrokerId, Arc<Broker>> {
            image.brokers().map(|broker| (broker.id, broker.clone())).collect()
        };
        let changed: BTreeSet<_> = image.changed_brokers(&earlier).map(|(id, _)| id).collect();
        prop_assert_eq!(changed, differing(&brokers(&earlier), &brokers(&image)));

        let changed = image.changed_configs(&earlier);
        let changed: BTreeSet<_> = changed.map(|(kind, name, _)| (kind, name.clone())).collect();
        prop_assert_eq!(changed, differing(&configs(&earlier), &configs(&image)));
    }
}

#[test]
fn an_image_does_not_differ_from_itself() {
    let image = super::start();
    assert_eq!(image.changed_topics(&image.clone()).count(), 0);
    assert_eq!(image.changed_partitions(&image.clone()).count(), 0);
    assert_eq!(image.changed_configs(&image.clone()).count(), 0);
}

#[test]
fn health_counts_what_is_offline_under_replicated_and_under_the_minimum() {
    let mut image = super::start();
    let health = |image: &Image, scope| image.health(&NoConfigRules, scope);
    let whole = health(&image, Scope::Cluster);
    assert_eq!(
        (whole.partitions, whole.under_replicated, whole.offline),
        (3, 0, 0)
    );
    let key = "min.insync.replicas";
    apply(
        &mut image,
        &configure(ConfigResource::broker(None), key, Some("3")),
    )
    .unwrap();
    assert_eq!(health(&image, Scope::Cluster).at_min_isr, 3);

    let away = change(&image, 0, [Some(true), None, None]);
    apply(&mut image, &away.into()).unwrap();
    let hosted = health(&image, Scope::HostedBy(broker(0)));
    assert_eq!(hosted.under_replicated, hosted.partitions);
    assert_eq!(hosted.under_min_isr, hosted.partitions);
    assert_eq!(
        health(&image, Scope::Cluster).under_replicated,
        hosted.partitions
    );

    for id in 1..4 {
        let away = change(&image, id, [Some(true), None, None]);
        apply(&mut image, &away.into()).unwrap();
    }
    let all = health(&image, Scope::Cluster);
    assert_eq!((all.offline, all.under_min_isr), (3, 3));
    let led = (0..4).map(|id| health(&image, Scope::LedBy(broker(id))).offline);
    assert_eq!(led.sum::<usize>(), 3, "each is counted at one broker");
}

#[test]
fn a_partition_without_a_leader_is_counted_by_a_broker_that_runs() {
    let mut image = super::start();
    apply(&mut image, &create("one", 2, 1, 1).into()).unwrap();
    let host = image.partition("one", 0).unwrap().leader.unwrap();
    let away = change(&image, host.get(), [Some(true), None, None]);
    apply(&mut image, &away.into()).unwrap();
    assert_eq!(
        image.health(&NoConfigRules, Scope::Cluster).at_min_isr,
        0,
        "no further loss stops its writes"
    );
    let offline = |id: BrokerId| image.health(&NoConfigRules, Scope::LedBy(id)).offline;
    let running = image.brokers().filter(|broker| !broker.fenced);
    let told: Vec<usize> = running.map(|broker| offline(broker.id)).collect();
    assert_eq!((told.as_slice(), offline(host)), (&[1, 0, 0][..], 0));
}

#[test]
fn a_partition_with_fewer_replicas_than_the_minimum_is_not_below_it_while_all_are_in_sync() {
    let mut image = super::start();
    apply(&mut image, &create("one", 2, 1, 1).into()).unwrap();
    let min = configure(
        ConfigResource::topic("one"),
        "min.insync.replicas",
        Some("2"),
    );
    apply(&mut image, &min).unwrap();
    let health = image.health(&NoConfigRules, Scope::Cluster);
    assert_eq!((health.under_min_isr, health.at_min_isr), (0, 1));
}
