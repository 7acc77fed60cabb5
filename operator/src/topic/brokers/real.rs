//! The real brokers: the feed and the plans by HTTP, changes of topics by Kafka's protocol.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use milena_client::Error;
use milena_client::admin::{Each as Answers, NewTopic as CreateTopic};
use milena_protocol::{ErrorCode, Uuid};
use serde_json::Value;

use super::{Brokers, ConfigChanges, Each, Misplaced, Move, NewTopic, Open, Refusal, Trouble};
use crate::cluster::brokers::ShownPlan;
use crate::cluster::throttle::Copies;
use crate::crd::KafkaCluster;
use crate::door::{At, Door, DoorError};
use crate::topic::known::Changes;

/// How long a broker may hold a request for changes. One that is stopped costs this and the margin until another is asked.
const HELD: Duration = Duration::from_secs(15);
/// On top of that, for the way there and back and a large snapshot.
const MARGIN: Duration = Duration::from_secs(10);

/// Brokers behind a door.
#[derive(Debug)]
pub struct Real {
    door: Arc<Door>,
}

impl Real {
    /// The brokers behind this door.
    pub fn new(door: Arc<Door>) -> Self {
        Self { door }
    }
}

/// Opens doors by whatever way the operator reaches its brokers.
#[derive(Clone)]
pub struct Opener(Arc<OpenDoor>);

type OpenDoor = dyn Fn(KafkaCluster) -> BoxFuture<'static, Result<Arc<Door>, String>> + Send + Sync;

impl Opener {
    /// `open` makes a door to a cluster, or says what is missing for that.
    pub fn new<F>(open: impl Fn(KafkaCluster) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Arc<Door>, String>> + Send + 'static,
    {
        Self(Arc::new(move |cluster| Box::pin(open(cluster))))
    }
}

impl Open for Opener {
    type Brokers = Real;

    async fn open(&self, cluster: &KafkaCluster) -> Result<Real, Trouble> {
        let opened = (self.0)(cluster.clone()).await;
        opened.map(Real::new).map_err(Trouble)
    }
}

impl Real {
    /// The way of what changes something.
    fn kafka(&self) -> Result<&milena_client::Client, Trouble> {
        let kafka = self.door.kafka_to_change();
        kafka.map_err(|error| Trouble(error.to_string()))
    }
}

impl Brokers for Real {
    async fn changes(&self, since: Option<i64>) -> Result<Changes, Trouble> {
        let path = match since {
            Some(since) => format!(
                "/v1/metadata/changes?since={since}&wait_ms={}",
                HELD.as_millis()
            ),
            None => "/v1/metadata/changes".to_owned(),
        };
        let answer = self.door.get_within(At::Any, &path, HELD + MARGIN).await;
        answer.map_err(trouble)
    }

    async fn create(&self, topics: &[NewTopic]) -> Each<String> {
        let topics: Vec<CreateTopic> = topics
            .iter()
            .map(|topic| CreateTopic {
                name: topic.name.clone(),
                partitions: Some(topic.partitions),
                replication_factor: topic
                    .replication_factor
                    .map(|factor| i16::try_from(factor).unwrap_or(i16::MAX)),
                configs: topic.configs.clone().into_iter().collect(),
            })
            .collect();
        each(self.kafka()?.create_topics(&topics).await, |id| {
            id.to_string()
        })
    }

    async fn alter(&self, topics: &[(String, ConfigChanges)]) -> Each<()> {
        let topics: Vec<_> = topics
            .iter()
            .map(|(name, changes)| (name.clone(), changes.clone().into_iter().collect()))
            .collect();
        each(self.kafka()?.alter_topics(&topics).await, |()| ())
    }

    async fn grow(&self, topics: &[(String, i32)]) -> Each<()> {
        each(self.kafka()?.grow_topics(topics).await, |()| ())
    }

    async fn delete(&self, ids: &[String]) -> Each<()> {
        // An id that is none names no topic.
        let ids: Vec<Uuid> = ids
            .iter()
            .map(|id| Uuid::parse(id).unwrap_or(Uuid::ZERO))
            .collect();
        each(self.kafka()?.delete_topics_by_id(&ids).await, |()| ())
    }

    async fn copies(&self, topic: &str, factor: i32) -> Result<Copies, Trouble> {
        let path = format!("/v1/plans/replication?topic={topic}&factor={factor}");
        let answer = self
            .door
            .post::<ShownPlan>(At::Any, &path, &Value::Null)
            .await;
        match answer {
            Ok(plan) => Ok(Copies::of(&plan.moves)),
            Err(DoorError::Refused {
                status: 400 | 404, ..
            }) => Ok(Copies::default()),
            Err(error) => Err(trouble(error)),
        }
    }

    async fn bound(&self, copies: &Copies, bytes_per_second: u64) -> Result<(), Trouble> {
        let bounded = copies.bound(self.kafka()?, bytes_per_second).await;
        bounded.map_err(|error| Trouble(error.to_string()))
    }

    async fn replicate(&self, topic: &str, factor: i32) -> Result<Result<(), Refusal>, Trouble> {
        let path = format!("/v1/plans/replication?topic={topic}&factor={factor}&apply=true");
        let answer = self
            .door
            .post::<ShownPlan>(At::Any, &path, &Value::Null)
            .await;
        match answer {
            Ok(plan) => Ok(ended(plan)),
            Err(DoorError::Refused { status: 404, .. }) => Ok(Err(Refusal::Missing)),
            Err(DoorError::Refused {
                status: 400, error, ..
            }) => Ok(Err(Refusal::No(error))),
            Err(error) => Err(trouble(error)),
        }
    }

    async fn moves(&self) -> Result<Vec<Move>, Trouble> {
        let answer = self.door.get(At::Any, "/v1/reassignments").await;
        answer.map_err(trouble)
    }

    async fn misplaced(&self) -> Result<Vec<Misplaced>, Trouble> {
        let answer = self.door.get(At::Any, "/v1/misplaced").await;
        answer.map_err(trouble)
    }
}

fn ended(plan: ShownPlan) -> Result<(), Refusal> {
    match plan.stuck.into_iter().chain(plan.refused).next() {
        Some(one) => Err(Refusal::No(format!(
            "partition {}: {}",
            one.partition, one.reason
        ))),
        None => Ok(()),
    }
}

fn trouble(error: DoorError) -> Trouble {
    Trouble(error.to_string())
}

fn each<T, U>(answers: Result<Answers<T>, Error>, read: impl Fn(T) -> U) -> Each<U> {
    let answers = answers.map_err(|error| Trouble(error.to_string()))?;
    let answers = answers.into_iter();
    Ok(answers
        .map(|answer| answer.map(&read).map_err(|error| refusal(&error)))
        .collect())
}

/// What a broker's code means for what is to be done next.
fn refusal(error: &Error) -> Refusal {
    match error.code() {
        Some(ErrorCode::TopicAlreadyExists) => Refusal::Exists,
        Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) => Refusal::Missing,
        _ if error.is_retriable() => Refusal::NotNow(error.to_string()),
        // Brokers that come bring room for replicas, and an error of the server passes.
        Some(ErrorCode::UnknownServerError | ErrorCode::ReassignmentInProgress) => {
            Refusal::NotNow(error.to_string())
        }
        _ => Refusal::No(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_the_view_is_behind_whether_to_wait_or_what_has_to_change() {
        let refused = |code| refusal(&Error::refused("orders", code, Some("words")));
        assert_eq!(refused(ErrorCode::TopicAlreadyExists), Refusal::Exists);
        assert_eq!(refused(ErrorCode::UnknownTopicId), Refusal::Missing);
        let words = || "orders: words".to_owned();
        assert_eq!(
            refused(ErrorCode::RequestTimedOut),
            Refusal::NotNow(words())
        );
        assert_eq!(refused(ErrorCode::InvalidConfig), Refusal::No(words()));
    }

    #[test]
    fn a_plan_that_leaves_a_partition_where_it_is_says_which_and_why() {
        let planned = serde_json::json!({
            "moves": [], "copies": 0, "applied": true, "refused": [],
            "stuck": [{ "topic": "t", "partition": 3, "reason": "too few brokers" }],
        });
        let end = ended(serde_json::from_value(planned).unwrap());
        assert_eq!(end, Err(Refusal::No("partition 3: too few brokers".into())));
    }
}
