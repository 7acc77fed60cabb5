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
