//! `/v1/plans/{kind}`: what to move and where, and with `?apply=true` moves it.
//!
//! | kind | plans |
//! | --- | --- |
//! | `drain` | every replica away from the brokers of `?brokers=1,2` |
//! | `rebalance` | repairs, empties draining brokers, and makes replicas and leaders even |
//! | `repair` | what is misplaced, and nothing else |
//! | `replication` | another number of replicas for one topic: `?topic=orders&factor=3` |

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use milena_metadata::placement::PlacementRefusal;
use milena_metadata::plan::{self, Plan};
use milena_metadata::{
    AlterPartitionReassignments, BrokerId, PARTITIONS_PER_REQUEST_MAX, WantedReplicas,
};
use serde::{Deserialize, Serialize};

use super::{Failure, Serving, look};
use crate::broker::{Broker, into_refusal};

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[serde(default)]
    brokers: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    factor: usize,
    #[serde(default)]
    apply: bool,
}

/// A plan, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownPlan {
    pub moves: Vec<ShownMove>,
    /// What would have to move, and can't.
    pub stuck: Vec<NotMoved>,
    /// Replicas to copy.
    pub copies: usize,
    /// Whether the moves have begun, all but those refused.
    pub applied: bool,
    /// Moves that the quorum refused.
    pub refused: Vec<NotMoved>,
}

/// One partition's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownMove {
    pub topic: String,
    pub partition: i32,
    /// Its brokers now, or where it is going already.
    pub from: Vec<i32>,
    /// Its brokers then, the preferred leader first.
    pub to: Vec<i32>,
}

/// A partition that stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotMoved {
    pub topic: String,
    pub partition: i32,
    pub reason: String,
}

/// `POST`.
pub async fn make(
    Serving(broker): Serving,
    Path(kind): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<ShownPlan>, Failure> {
    let Query(asked) = asked?;
    let kind = Kind::of(&kind, &asked)?;
    kind.check(&broker)?;
    let allow_factor_change = matches!(kind, Kind::Replication { .. });
    let plan = look(&broker, move |broker| kind.plan(broker)).await?;
    let refused = match asked.apply {
        true => apply(&broker, &plan, allow_factor_change).await?,
        false => Vec::new(),
    };
    Ok(Json(ShownPlan {
        refused,
        applied: asked.apply,
        ..shown(&plan)
    }))
}

/// What is planned.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Drain(Vec<BrokerId>),
    Rebalance,
    Repair,
    Replication { topic: String, factor: usize },
}

impl Kind {
    fn of(kind: &str, asked: &Asked) -> Result<Self, Failure> {
        let Asked { topic, factor, .. } = asked;
        if kind != "replication" && !(topic.is_empty() && *factor == 0) {
            return Err(Failure::bad_request(format!(
                "{kind} concerns all topics: leave `topic` and `factor` away"
            )));
        }
        match (kind, asked.brokers.as_str()) {
            ("drain", "") => Err(Failure::bad_request(
                "name the brokers to empty, such as ?brokers=4,5",
            )),
            ("drain", brokers) => Ok(Self::Drain(numbers(brokers)?)),
            ("rebalance" | "repair" | "replication", brokers) if !brokers.is_empty() => Err(
                Failure::bad_request(format!("{kind} concerns all brokers: leave `brokers` away")),
            ),
            ("rebalance", _) => Ok(Self::Rebalance),
            ("repair", _) => Ok(Self::Repair),
            ("replication", _) if topic.is_empty() || *factor == 0 => Err(Failure::bad_request(
                "name the topic and its replicas, such as ?topic=orders&factor=3",
            )),
            ("replication", _) => Ok(Self::Replication {
                topic: topic.clone(),
                factor: *factor,
            }),
            _ => Err(Failure {
                status: StatusCode::NOT_FOUND,
                error: format!("there is no plan {kind:?}: drain, rebalance, repair, replication"),
            }),
        }
    }

    /// Whether the brokers and the topic are there.
    fn check(&self, broker: &Broker) -> Result<(), Failure> {
        let image = broker.image();
        match self {
            Self::Drain(brokers) => {
                let unknown = brokers.iter().find(|id| image.broker(**id).is_none());
                unknown.map_or(Ok(()), |id| Err(Failure::unknown_broker(*id)))
            }
            Self::Replication { topic, .. } if image.topic(topic).is_none() => Err(Failure {
                status: StatusCode::NOT_FOUND,
                error: format!("there is no topic {topic:?}"),
            }),
            Self::Replication { .. } | Self::Rebalance | Self::Repair => Ok(()),
        }
    }

    fn plan(&self, broker: &Broker) -> Plan {
        let (image, config) = (broker.image(), broker.config());
        match self {
            Self::Drain(brokers) => plan::drain(&image, &*config, brokers),
            Self::Rebalance => plan::rebalance(&image, &*config),
            Self::Repair => plan::repair(&image, &*config),
            Self::Replication { topic, factor } => {
                plan::replication(&image, &*config, topic, *factor)
            }
        }
    }
}

fn numbers(list: &str) -> Result<Vec<BrokerId>, Failure> {
    let number = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .and_then(|id| BrokerId::new(id).ok())
    };
    let numbers = list.split(',').map(|text| {
        number(text).ok_or_else(|| Failure::bad_request(format!("{text:?} is no broker's number")))
    });
    numbers.collect()
}

fn shown(plan: &Plan) -> ShownPlan {
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.get()).collect();
    let moves = plan.moves.iter().map(|one| ShownMove {
        topic: one.topic.to_string(),
        partition: one.partition.get(),
        from: ids(&one.from),
        to: ids(&one.to),
    });
    let stuck = plan.stuck.iter().map(|one| NotMoved {
        topic: one.topic.to_string(),
        partition: one.partition.get(),
        reason: in_words(&one.why),
    });
    ShownPlan {
        moves: moves.collect(),
        stuck: stuck.collect(),
        copies: plan.copies(),
        applied: false,
        refused: Vec::new(),
    }
}

/// Kafka's words for a topic that is made count brokers as registered: one that drains or is away is that, too.
fn in_words(why: &PlacementRefusal) -> String {
    match why {
        PlacementRefusal::TooFewBrokers { wanted, brokers } => {
            format!(
                "{wanted} replicas need {wanted} brokers that run and are not draining, and there are only {brokers}"
            )
        }
        _ => why.to_string(),
    }
}

/// Begins the moves, as many in one command as that may have. What is refused is answered, and the rest goes on.
async fn apply(
    broker: &Broker,
    plan: &Plan,
    allow_factor_change: bool,
) -> Result<Vec<NotMoved>, Failure> {
    let wanted: Vec<WantedReplicas> = plan.moves.iter().map(plan::Move::wanted).collect();
    let mut refused = Vec::new();
    for some in wanted.chunks(PARTITIONS_PER_REQUEST_MAX) {
        let command = AlterPartitionReassignments {
            partitions: some.to_vec(),
            allow_replication_factor_change: allow_factor_change,
        };
        let asked = broker.quorum().request(command).await;
        let answers = asked.map_err(into_refusal)?;
        for (wanted, answer) in some.iter().zip(answers) {
            if let Err(refusal) = answer {
                refused.push(NotMoved {
                    topic: wanted.topic.clone(),
                    partition: wanted.partition,
                    reason: refusal.message,
                });
            }
        }
    }
    Ok(refused)
}
