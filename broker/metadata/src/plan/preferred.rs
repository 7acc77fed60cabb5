//! Which partitions to give back to their preferred leaders now (`leader.imbalance.per.broker.percentage`).

use std::collections::BTreeMap;

use crate::election;
use crate::image::Image;
use crate::names::BrokerId;

/// Elections of one round, as in Kafka: the next comes soon, and clients are not moved all at once.
pub const PREFERRED_ELECTIONS_MAX: usize = 1_000;

/// Topics and partitions for `ElectLeaders`: of brokers that lead less than they should by more than this
/// percentage, where the preferred leader is in sync and may take over. At most [`PREFERRED_ELECTIONS_MAX`].
pub fn preferred(image: &Image, imbalance_percentage: u32) -> Vec<(String, i32)> {
    let mut missed: BTreeMap<BrokerId, usize> = BTreeMap::new();
    let mut ready = Vec::new();
    for topic in image.topics() {
        for (number, partition) in topic.partitions() {
            let Some(first) = partition.brokers().next() else {
                continue;
            };
            if partition.leader == Some(first) {
                continue;
            }
            *missed.entry(first).or_default() += 1;
            let in_sync = partition.leader.is_some() && partition.isr.contains(&first);
            if in_sync && election::may_take(image, &partition.record(topic, number), first) {
                ready.push((first, &topic.name, number));
            }
        }
    }
    let unbalanced = |id: &BrokerId| {
        let (missed, all) = (missed[id], image.load(*id).leaders as usize);
        missed * 100 > all * imbalance_percentage as usize
    };
    let ready = ready.into_iter().filter(|(id, ..)| unbalanced(id));
    ready
        .map(|(_, topic, number)| (topic.to_string(), number.get()))
        .take(PREFERRED_ELECTIONS_MAX)
        .collect()
}
