//! Moves replicas and votes, and takes volumes away.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::DeleteParams;
use milena_client::admin::{PartitionResults, ReplicaWishes};
use milena_protocol::ErrorCode;
use serde_json::{Value, json};

use super::{Did, Outcome, Performer, StepError};
use crate::cluster::brokers::{LeaseAnswer, NotMoved, ShownPlan};
use crate::cluster::fetch::LEAVING;
use crate::cluster::step::{Named, Undo, Waiting};
use crate::cluster::throttle::{self, Copies};
use crate::crd::cluster::Unreplicated;
use crate::door::{At, DoorError};
use crate::events::Kind;

/// A change of the quorum's members waits until they are up to date and have agreed: the brokers try for 11 s by
/// themselves, and then say why it is not done.
const VOTES_WITHIN: Duration = Duration::from_secs(13);
/// Of a plan's refusals, so many are told.
const REFUSALS_MAX: usize = 3;

impl Performer<'_> {
    pub(super) async fn drain(&self, id: i32, on: bool) -> Result<(), StepError> {
        let path = format!("/v1/brokers/{id}/drain");
        let body = json!({ "draining": on });
        let _: Value = self.door()?.post(At::Any, &path, &body).await?;
        Ok(())
    }

    pub(super) async fn move_away(
        &self,
        ids: &[i32],
        outcome: &mut Outcome,
    ) -> Result<Did, StepError> {
        let list: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let query = format!("brokers={}", list.join(","));
        let plan = self.plan("drain", &query, outcome).await?;
        Ok(began(&plan))
    }

    /// The note goes last: what failed is tried again as long as it is there.
    pub(super) async fn stay(&self, id: i32, claim: &Named, undo: Undo) -> Result<(), StepError> {
        if undo.moves {
            self.cancel_moves(id).await?;
        }
        if undo.lease {
            self.give_back_lease(id).await?;
        }
        if undo.draining {
            self.drain(id, false).await?;
        }
        self.note(claim, LEAVING, Value::Null).await
    }

    /// One that has ended meanwhile is none to cancel.
    async fn cancel_moves(&self, id: i32) -> Result<(), StepError> {
        let kafka = self.door()?.kafka_to_change()?;
        let ongoing = kafka.list_partition_reassignments(None).await?;
        let leaving = ongoing
            .into_iter()
            .filter(|(_, way)| way.removing.contains(&id));
        let wishes: ReplicaWishes = leaving.map(|(partition, _)| (partition, None)).collect();
        if wishes.is_empty() {
            return Ok(());
        }
        for answer in kafka
            .alter_partition_reassignments(&wishes, false)
            .await?
            .into_values()
        {
            match answer {
                Err(error) if error.code() != Some(ErrorCode::NoReassignmentInProgress) => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        let count = wishes.len();
        let text = format!("{count} partitions stay on broker {id}: it does not leave after all");
        self.tell(Kind::Normal, "MovesCancelled", &text).await;
        Ok(())
    }

    pub(super) async fn repair(&self, outcome: &mut Outcome) -> Result<Did, StepError> {
        if !self.may_repair {
            return Ok(Did::Nothing);
        }
        let plan = self.plan("repair", "", outcome).await?;
        if !plan.moves.is_empty() {
            let text = format!("{} misplaced partitions move", plan.moves.len());
            self.tell(Kind::Normal, "PlacementRepair", &text).await;
        }
        Ok(began(&plan))
    }

    /// Has a plan made and begun. Where moves are to be bounded, what they copy is known before they begin; what is
    /// planned otherwise the second time, at once after.
    async fn plan(
        &self,
        kind: &str,
        query: &str,
        outcome: &mut Outcome,
    ) -> Result<ShownPlan, StepError> {
        let door = self.door()?;
        let rate = self.wanted.drain.bytes_per_second_max;
        let mut bounded = Copies::default();
        if let Some(rate) = rate {
            let path = format!("/v1/plans/{kind}?{query}");
            let plan: ShownPlan = door.post(At::Any, &path, &Value::Null).await?;
            bounded = Copies::of(&plan.moves);
            bounded.bound(door.kafka_to_change()?, rate).await?;
        }
        let and = if query.is_empty() { "" } else { "&" };
        let path = format!("/v1/plans/{kind}?{query}{and}apply=true");
        let plan: ShownPlan = door.post(At::Any, &path, &Value::Null).await?;
        if let Some(rate) = rate {
            let missed = Copies::of(&plan.moves).without(&bounded);
            missed.bound(door.kafka_to_change()?, rate).await?;
        }
        tell_refusals(&plan, outcome);
        Ok(plan)
    }

    /// Moves these partitions, for which this is copied, no faster than the spec says; one answer a partition.
    pub(super) async fn reassign(
        &self,
        wishes: &ReplicaWishes,
        copies: &Copies,
    ) -> Result<PartitionResults, StepError> {
        let kafka = self.door()?.kafka_to_change()?;
        if let Some(rate) = self.wanted.drain.bytes_per_second_max {
            copies.bound(kafka, rate).await?;
        }
        Ok(kafka.alter_partition_reassignments(wishes, false).await?)
    }

    /// Not where something moves by now.
    pub(super) async fn unthrottle(&self, topics: &[String]) -> Result<Did, StepError> {
        match throttle::lift(self.door()?.kafka_to_change()?, topics).await? {
            true => Ok(Did::It),
            false => Ok(Did::Nothing),
        }
    }

    pub(super) async fn vote(&self, what: &str, id: i32) -> Result<(), StepError> {
        let body = json!({ what: id });
        let _: Value = self
            .door()?
            .post_within(At::Any, "/v1/quorum/voters", &body, VOTES_WITHIN)
            .await?;
        let text = match what {
            "add" => format!("Broker {id} votes in the metadata quorum"),
            _ => format!("Broker {id} votes no more in the metadata quorum"),
        };
        self.tell(Kind::Normal, "VotersChanged", &text).await;
        Ok(())
    }

    /// Refused for some seconds after its end, since it might come back at once.
    pub(super) async fn unregister(&self, id: i32) -> Result<Did, StepError> {
        let path = format!("/v1/brokers/{id}/unregister");
        let told: Result<Value, DoorError> = self
            .door()?
            .post_within(At::Any, &path, &json!({}), VOTES_WITHIN)
            .await;
        match told {
            Ok(_) => {}
            Err(DoorError::Refused { status: 409, .. }) => return Ok(Did::Nothing),
            Err(error) => return Err(error.into()),
        }
        let text = format!("Broker {id} is gone, and forgotten");
        self.tell(Kind::Normal, "BrokerRemoved", &text).await;
        Ok(Did::It)
    }

    pub(super) async fn replace(
        &self,
        id: i32,
        (claim, pod): (Option<&Named>, Option<&Named>),
        lease: Option<&str>,
        outcome: &mut Outcome,
    ) -> Result<Did, StepError> {
        if let Some(never_safe) = lease
            && let LeaseAnswer::Refused(refused) = self.lease(id, never_safe).await?
        {
            let moves = self.wanted.rollout.unreplicated == Unreplicated::Move;
            if moves && refused.only_never_safe() {
                self.move_first(id, Waiting::Replace, outcome).await?;
                return Ok(Did::Nothing);
            }
            let sentences = refused.sentences();
            let first = sentences.first().cloned().unwrap_or_default();
            let text = format!("broker {id} can't stop for a new volume yet: {first}");
            outcome.waits.push((Waiting::Replace, text));
            outcome.blocked.insert(id, sentences);
            return Ok(Did::Nothing);
        }
        if let Some(claim) = claim {
            self.delete::<PersistentVolumeClaim>(claim, DeleteParams::default())
                .await?;
            let text = format!(
                "Broker {id} is rebuilt on a new volume; {} goes",
                claim.name
            );
            self.tell(Kind::Warning, "VolumeReplaced", &text).await;
        }
        if let Some(pod) = pod {
            self.delete::<Pod>(pod, DeleteParams::default()).await?;
        }
        Ok(Did::It)
    }
}

fn began(plan: &ShownPlan) -> Did {
    match plan.moves.is_empty() {
        true => Did::Nothing,
        false => Did::It,
    }
}

fn tell_refusals(plan: &ShownPlan, outcome: &mut Outcome) {
    let refused = plan.stuck.iter().chain(&plan.refused);
    let word = |one: &NotMoved| format!("{}-{}: {}", one.topic, one.partition, one.reason);
    let told: Vec<String> = refused.clone().take(REFUSALS_MAX).map(word).collect();
    if told.is_empty() {
        return;
    }
    let more = match refused.count() - told.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let text = format!("can't move {}{more}", told.join("; "));
    outcome.waits.push((Waiting::Refused, text));
}
