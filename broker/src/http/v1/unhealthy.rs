//! `/v1/unhealthy`: partitions that nobody leads, that lack replicas in sync, or whose leader may lack records.

use axum::Json;
use milena_metadata::{BrokerId, Condition, Elected, Partition, Scope};
use serde::{Deserialize, Serialize};

use super::{Failure, Serving, look};
use crate::broker::Broker;

/// A partition that wants somebody's attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownUnhealthy {
    pub topic: String,
    pub partition: i32,
    /// Nobody leads it.
    pub offline: bool,
    /// Fewer in sync than `min.insync.replicas`.
    pub under_min_isr: bool,
    /// A wanted replica is not in sync.
    pub under_replicated: bool,
    /// Its leader may lack records that were committed.
    pub lossy: bool,
    pub leader: Option<i32>,
    /// The preferred leader first.
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
    /// Who may be elected once it is back: those that have every committed record, and where nobody has, who led last.
    pub electable: Vec<i32>,
    /// How the leader was found, or the last one: `in_sync`, `eligible`, `last_known`, `unclean`. The last two may lack
    /// records.
    pub elected: Elected,
    /// The brokers whose logs of it could not be opened, where nobody else could lead.
    #[serde(default)]
    pub unopened: Vec<i32>,
}

/// `GET /v1/unhealthy`: the worst first, and those that are alike by topic and number.
pub async fn list(Serving(broker): Serving) -> Result<Json<Vec<ShownUnhealthy>>, Failure> {
    look(&broker, unhealthy).await.map(Json)
}

fn unhealthy(broker: &Broker) -> Vec<ShownUnhealthy> {
    let (image, config) = (broker.image(), broker.config());
    let all = image.conditions(&*config, Scope::Cluster);
    let mut found: Vec<ShownUnhealthy> = all
        .filter(|(_, _, _, condition)| is_unhealthy(*condition))
        .map(|(topic, number, partition, condition)| {
            shown(topic.name.to_string(), number.get(), partition, condition)
        })
        .collect();
    let badness = |one: &ShownUnhealthy| (!one.offline, !one.under_min_isr, !one.under_replicated);
    found.sort_by_key(badness);
    found
}

fn is_unhealthy(condition: Condition) -> bool {
    let Condition {
        offline,
        under_replicated,
        under_min_isr,
        lossy,
        ..
    } = condition;
    offline || under_replicated || under_min_isr || lossy
}

fn shown(
    topic: String,
    number: i32,
    partition: &Partition,
    condition: Condition,
) -> ShownUnhealthy {
    let ids = |ids: &[BrokerId]| -> Vec<i32> { ids.iter().map(|id| id.get()).collect() };
    let replicas: Vec<BrokerId> = partition.brokers().collect();
    ShownUnhealthy {
        topic,
        partition: number,
        offline: condition.offline,
        under_min_isr: condition.under_min_isr,
        under_replicated: condition.under_replicated,
        lossy: condition.lossy,
        leader: partition.leader.map(BrokerId::get),
        replicas: ids(&replicas),
        in_sync: ids(&partition.isr),
        electable: ids(&electable(partition)),
        elected: partition.elected,
        unopened: ids(&partition.unopened),
    }
}

/// In the order of the replicas.
fn electable(partition: &Partition) -> Vec<BrokerId> {
    let mut electable: Vec<BrokerId> = partition.electable().collect();
    electable.sort_by_key(|id| partition.brokers().position(|other| other == *id));
    electable
}
