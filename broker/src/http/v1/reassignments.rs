//! `/v1/reassignments`: partitions on their way to other brokers.

use std::collections::BTreeMap;

use axum::Json;
use milena_metadata::{BrokerId, PartitionId, PartitionProgress, Reassignment, TopicId};
use serde::{Deserialize, Serialize};

use super::{Failure, Serving};
use crate::lease;

/// A partition on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownReassignment {
    pub topic: String,
    pub partition: i32,
    /// Its brokers before.
    pub from: Vec<i32>,
    /// Its brokers after, the preferred leader first.
    pub to: Vec<i32>,
    /// Brokers that join, and have not come in sync yet.
    pub copying: Vec<i32>,
    /// Bytes that those lack, in all; none where the leader does not say.
    pub bytes_left: Option<u64>,
    /// Bytes that all brokers that join have, in all; none where the leader does not say. Its growth is the rate, and what
    /// is left by that the time that it takes.
    #[serde(default)]
    pub bytes_done: Option<u64>,
}

/// `GET`. All leaders of such partitions are asked how far the new replicas are.
pub async fn list(Serving(broker): Serving) -> Result<Json<Vec<ShownReassignment>>, Failure> {
    let told = lease::reassigning(&broker).await;
    let told: BTreeMap<(TopicId, PartitionId), PartitionProgress> = told
        .into_iter()
        .map(|one| ((one.topic, one.partition), one))
        .collect();
    let image = broker.image();
    let mut shown = Vec::new();
    for topic in image.topics() {
        for (number, partition) in topic.partitions() {
            let Some(way) = &partition.reassignment else {
                continue;
            };
            let copying = way.adding().filter(|id| !partition.isr.contains(id));
            let copying: Vec<BrokerId> = copying.collect();
            let told = told.get(&(topic.id, number));
            shown.push(ShownReassignment {
                topic: topic.name.to_string(),
                partition: number.get(),
                bytes_left: told.map(|told| bytes_left(told, &copying)),
                bytes_done: told.and_then(|told| bytes_done(told, way, &copying)),
                copying: copying.iter().map(|id| id.get()).collect(),
                from: way.from.iter().map(|id| id.get()).collect(),
                to: to(way),
            });
        }
    }
    Ok(Json(shown))
}

fn to(way: &Reassignment) -> Vec<i32> {
    way.to.iter().map(|id| id.get()).collect()
}

fn bytes_left(told: &PartitionProgress, copying: &[BrokerId]) -> u64 {
    let copying = told.behind.iter().filter(|(id, _)| copying.contains(id));
    copying.map(|(_, bytes)| bytes).sum()
}

/// What those lack is behind what the leader had when it was asked, as its log's size is.
fn bytes_done(told: &PartitionProgress, way: &Reassignment, copying: &[BrokerId]) -> Option<u64> {
    let joining = u64::try_from(way.adding().count()).unwrap_or(u64::MAX);
    let whole = told.log_bytes?.saturating_mul(joining);
    Some(whole.saturating_sub(bytes_left(told, copying)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_joining_replicas_have_and_lack_is_the_leaders_log_for_each() {
        let id = |broker| BrokerId::new(broker).unwrap();
        let way = Reassignment {
            from: vec![id(1), id(2)],
            to: vec![id(1), id(3), id(4)],
        };
        let told = PartitionProgress {
            topic: TopicId::random(),
            partition: PartitionId::new(0).unwrap(),
            leader_epoch: 0,
            caught_up: vec![id(3)],
            behind: vec![(id(2), 50), (id(4), 70)],
            log_bytes: Some(100),
        };
        let copying = [id(4)];
        assert_eq!(bytes_left(&told, &copying), 70);
        assert_eq!(bytes_done(&told, &way, &copying), Some(130));
        let silent = PartitionProgress {
            log_bytes: None,
            ..told
        };
        assert_eq!(bytes_done(&silent, &way, &copying), None);
    }
}
