//! Stops a broker with the brokers' lease, and moves away first what can't stay online without it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{Did, Outcome, Performer, StepError};
use crate::cluster::brokers::{LeaseAnswer, ShownBroker, State};
use crate::cluster::observed::View;
use crate::cluster::step::{Named, Waiting, is_outdated, is_unsafe, never_safe};
use crate::cluster::throttle::Copies;
use crate::cluster::unreplicated::{self, Host, MOVED, Moved};
use crate::crd::cluster::Unreplicated;
use crate::door::{At, DoorError};
use crate::events::Kind;

/// A broker has so long to stop, start and catch up; a lease that is over while it serves ends by itself.
const LEASE: &str = "10m";

impl Performer<'_> {
    /// The lease is asked for where the quorum's leader answers; whoever is asked passes it on.
    /// `never_safe` says what of partitions that can't meet a lease: `allow`, `move` or `block`.
    pub(super) async fn lease(&self, id: i32, never_safe: &str) -> Result<LeaseAnswer, StepError> {
        let max = self.wanted.rollout.max_unavailable;
        let path = format!(
            "/v1/brokers/{id}/stop-lease?duration={LEASE}&max_unavailable={max}&never_safe={never_safe}"
        );
        match self.door()?.post(At::Any, &path, &Value::Null).await {
            Ok(answer) => Ok(answer),
            // A refusal comes as a conflict, with the same body.
            Err(error) => match &error {
                DoorError::Refused {
                    status: 409, body, ..
                } => serde_json::from_value(body.clone()).map_err(|_| error.into()),
                _ => Err(error.into()),
            },
        }
    }

    pub(super) async fn restart(
        &self,
        pods: &[(i32, Named)],
        outcome: &mut Outcome,
    ) -> Result<Did, StepError> {
        for (id, pod) in pods {
            match self.lease(*id, never_safe(self.wanted)).await? {
                LeaseAnswer::Granted(granted) => {
                    self.delete::<Pod>(pod, DeleteParams::default()).await?;
                    let text = format!("Broker {id} restarts for a new revision");
                    self.tell(Kind::Normal, "BrokerRestarting", &text).await;
                    if granted.pausing_count > 0 {
                        let count = granted.pausing_count;
                        let text = format!("{count} partitions pause while broker {id} restarts");
                        self.tell(Kind::Warning, "PartitionsPause", &text).await;
                    }
                    outcome
                        .waits
                        .push((Waiting::Roll, format!("broker {id} to restart")));
                    return Ok(Did::It);
                }
                LeaseAnswer::Refused(refused) => {
                    let sentences = refused.sentences();
                    let first = sentences.first().cloned().unwrap_or_default();
                    outcome.blocked.insert(*id, sentences);
                    let moves = self.wanted.rollout.unreplicated == Unreplicated::Move;
                    if moves && refused.only_never_safe() {
                        self.move_first(*id, Waiting::Roll, outcome).await?;
                        return Ok(Did::Nothing);
                    }
                    outcome.waits.push((Waiting::Roll, first));
                }
            }
        }
        Ok(Did::Nothing)
    }

    /// Moves away what can't stay online without the broker; the next look asks for its lease again.
    pub(super) async fn move_first(
        &self,
        id: i32,
        waiting: Waiting,
        outcome: &mut Outcome,
    ) -> Result<(), StepError> {
        let (Some(view), Some(claim)) = (&self.observed.view, self.observed.claims.get(&id)) else {
            return Ok(());
        };
        if view.cluster.partitions.reassigning > 0 {
            let text = format!("partitions to leave broker {id} before it stops");
            outcome.waits.push((waiting, text));
            return Ok(());
        }
        let is_unsafe = |topic: &str, count| is_unsafe(self.wanted, self.observed, topic, count);
        let hosted = unreplicated::hosted(self.door()?, id, is_unsafe).await?;
        let plan = unreplicated::plan(id, hosted, &self.hosts(view), &view.topics);
        if !plan.stuck.is_empty() {
            let text = format!(
                "broker {id} can't stop: {} can't be moved, there is no other broker for it; add brokers, or set \
                 rollout.unreplicated: Allow",
                unreplicated::in_words(&plan.stuck)
            );
            outcome.waits.push((Waiting::Refused, text));
        }
        if plan.moved.is_empty() {
            return Ok(());
        }
        let mut noted = claim.moved.clone();
        noted.retain(|old| {
            !plan
                .moved
                .iter()
                .any(|new| (&new.0, new.1) == (&old.0, old.1))
        });
        noted.extend(plan.moved.iter().cloned());
        let text = serde_json::to_string(&noted).unwrap_or_default();
        self.note(&Named::claim(claim), MOVED, json!(text)).await?;
        let copies = Copies::of_wishes(&plan.wishes, |topic, number| {
            let was = plan
                .moved
                .iter()
                .find(|was| (&*was.0, was.1) == (topic, number));
            was.map(|was| was.2.as_slice())
        });
        self.reassign(&plan.wishes, &copies).await?;
        let text = format!(
            "{} partitions to leave broker {id} before it stops",
            plan.moved.len()
        );
        self.tell(Kind::Normal, "PartitionsMove", &text).await;
        outcome.waits.push((waiting, text));
        Ok(())
    }

    /// Brokers that may take partitions.
    pub(super) fn hosts(&self, view: &View) -> Vec<Host> {
        let serving = view
            .brokers
            .values()
            .filter(|broker| broker.state == State::Serving);
        let host = |broker: &ShownBroker| {
            let pod = self.observed.pods.get(&broker.id);
            Host {
                id: broker.id,
                node: broker.node.clone(),
                rack: broker.rack.clone(),
                pool: self.wanted.pool_of(broker.id).map(|pool| pool.name.clone()),
                is_updated: pod.is_some_and(|pod| !is_outdated(self.wanted, pod)),
                replicas: broker.replicas,
            }
        };
        let wanted = serving.filter(|broker| self.wanted.ids().any(|id| id == broker.id));
        wanted.map(host).collect()
    }

    /// What can't come back is given up: its topic is gone, or a broker that it had.
    pub(super) async fn bring_back(
        &self,
        id: i32,
        claim: &Named,
        moved: &[Moved],
    ) -> Result<Did, StepError> {
        let cluster = self.door()?.kafka().refresh_all().await?;
        let now = |topic: &str, number: i32| -> Option<&[i32]> {
            let partition = cluster.topics.get(topic)?.partition(number).ok()?;
            Some(&partition.replicas)
        };
        let way = unreplicated::way_back(id, moved, |topic, number| {
            now(topic, number).map(<[i32]>::to_vec)
        });
        let mut left = way.left;
        if !way.wishes.is_empty() {
            let copies = Copies::of_wishes(&way.wishes, now);
            for ((topic, number), answer) in self.reassign(&way.wishes, &copies).await? {
                if let Err(error) = answer {
                    tracing::warn!(topic, number, %error, "a partition does not come back");
                    left.retain(|one| (&one.0, one.1) != (&topic, number));
                }
            }
        }
        if left == moved {
            return Ok(Did::Nothing);
        }
        let value = match left.is_empty() {
            true => Value::Null,
            false => json!(serde_json::to_string(&left).unwrap_or_default()),
        };
        self.note(claim, MOVED, value).await?;
        Ok(Did::It)
    }

    pub(super) async fn hand_over(&self, id: i32, outcome: &mut Outcome) -> Result<Did, StepError> {
        match self.lease(id, never_safe(self.wanted)).await? {
            LeaseAnswer::Granted(_) => self.drain(id, true).await.map(|()| Did::It),
            LeaseAnswer::Refused(refused) => {
                let sentences = refused.sentences();
                let first = sentences.first().cloned().unwrap_or_default();
                outcome.blocked.insert(id, sentences);
                let moves = self.wanted.rollout.unreplicated == Unreplicated::Move;
                if moves && refused.only_never_safe() {
                    self.move_first(id, Waiting::Cordon, outcome).await?;
                    return Ok(Did::Nothing);
                }
                let text = format!("broker {id} can't leave its node yet: {first}");
                outcome.waits.push((Waiting::Cordon, text));
                Ok(Did::Nothing)
            }
        }
    }

    pub(super) async fn give_back_lease(&self, id: i32) -> Result<(), StepError> {
        let path = format!("/v1/brokers/{id}/stop-lease");
        let _: Value = self.door()?.delete(At::Any, &path).await?;
        Ok(())
    }

    pub(super) async fn clear_stopping(&self) -> Result<(), StepError> {
        let body = json!({ "stopping": false });
        let _: Value = self
            .door()?
            .post(At::Any, "/v1/cluster/stopping", &body)
            .await?;
        Ok(())
    }
}
