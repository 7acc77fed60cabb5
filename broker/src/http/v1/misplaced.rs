//! `/v1/misplaced`: partitions that break a rule of their placement, and which.

use axum::Json;
use milena_metadata::BrokerId;
use milena_metadata::placement::{Breach, misplaced};
use serde::{Deserialize, Serialize};

use super::{Failure, Serving, look};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownMisplaced {
    pub topic: String,
    pub partition: i32,
    /// The rules that it breaks, in words.
    pub breaches: Vec<String>,
}

/// `GET /v1/misplaced`.
pub async fn list(Serving(broker): Serving) -> Result<Json<Vec<ShownMisplaced>>, Failure> {
    let found = look(&broker, |broker| {
        misplaced(&broker.image(), &*broker.config())
    });
    let found = found.await?;
    let shown = found.iter().map(|found| ShownMisplaced {
        topic: found.topic.to_string(),
        partition: found.partition.get(),
        breaches: found.breaches.iter().map(in_words).collect(),
    });
    Ok(Json(shown.collect()))
}

pub(super) fn in_words(breach: &Breach) -> String {
    match breach {
        Breach::SharedNode { node, brokers } => {
            format!("brokers {} are on one node, {node}", ids(brokers))
        }
        Breach::NotAllowed { brokers } => {
            let brokers = ids(brokers);
            format!("brokers outside the topic's pools and racks: {brokers}")
        }
        Breach::UnevenRacks { crowded, free } => {
            let (crowded, free) = (rack(crowded), rack(free));
            format!("{crowded} has two replicas more than {free}")
        }
        Breach::LeaderRack { leader } => {
            format!("broker {leader} leads, and is not in the topic's leader rack")
        }
    }
}

fn rack(name: &str) -> String {
    match name {
        "" => "the rack without a name".to_owned(),
        name => format!("rack {name}"),
    }
}

fn ids(brokers: &[BrokerId]) -> String {
    let ids: Vec<String> = brokers.iter().map(ToString::to_string).collect();
    ids.join(", ")
}
