//! Does what was decided. Every delete names the uid that the decision was made on, so that it touches nothing else;
//! what has changed meanwhile is left for the next look.

mod moves;
mod stop;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use super::{Named, Step, Waiting, stuck};
use crate::cluster::build;
use crate::cluster::fetch::{FOUNDED, LEAVING};
use crate::cluster::kube_words;
use crate::cluster::observed::{Leaving, NoGrowth, Observed};
use crate::cluster::wanted::Wanted;
use crate::context::{Context, Key};
use crate::door::{Door, DoorError};
use crate::events::{Events, Kind};
use crate::nodes;

/// How often misplaced partitions are looked at again, where they could not be moved.
pub const REPAIR_EVERY: Duration = Duration::from_secs(60);

/// For how long nothing moves before topics are throttled no more: whoever begins a move throttles its topic first, and
/// not only this controller does.
pub const UNTHROTTLE_AFTER: Duration = Duration::from_secs(10);

/// What became of the steps.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Steps that were done.
    pub done: usize,
    /// What is awaited besides what was decided.
    pub waits: Vec<(Waiting, String)>,
    /// Why brokers may not stop now.
    pub blocked: BTreeMap<i32, Vec<String>>,
    /// What failed; the next look tries again.
    pub failures: Vec<String>,
    /// Claims that were not let grow, by uid.
    pub no_growth: BTreeMap<String, NoGrowth>,
}

/// Why a step was not done.
#[derive(Debug, Error)]
pub enum StepError {
    /// The API server's no.
    #[error("{}", kube_words(.0))]
    Kube(#[from] kube::Error),
    /// The brokers' no.
    #[error("{0}")]
    Door(#[from] DoorError),
    /// The brokers' no, by Kafka's protocol.
    #[error("{0}")]
    Kafka(#[from] milena_client::Error),
    /// There is no way to the brokers.
    #[error("there is no broker to ask")]
    NoDoor,
}

/// What became of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    /// It was done.
    It,
    /// It was refused, or there was nothing to do; what is awaited is noted.
    Nothing,
}

/// Does steps for one cluster.
pub struct Performer<'a> {
    /// The way to the API server.
    pub context: &'a Context,
    /// Which cluster.
    pub key: &'a Key,
    /// Where events go.
    pub events: &'a Events<'a>,
    /// What is wanted.
    pub wanted: &'a Wanted,
    /// What was decided on.
    pub observed: &'a Observed,
    /// The way to its brokers.
    pub door: Option<Arc<Door>>,
    /// Misplaced partitions may be moved in this turn.
    pub may_repair: bool,
    /// Nothing has moved for long enough to throttle no more.
    pub may_unthrottle: bool,
}

impl Performer<'_> {
    /// Does all steps. One that fails does not keep the others.
    pub async fn perform(&self, steps: &[Step]) -> Outcome {
        let mut outcome = Outcome::default();
        for step in in_order(steps) {
            tracing::debug!(cluster = %self.key, ?step, "does");
            match self.one(step, &mut outcome).await {
                Ok(Did::It) => {
                    outcome.done += 1;
                    self.context.metrics.step(step_word(step));
                }
                Ok(Did::Nothing) => {}
                Err(StepError::Kube(kube::Error::Api(status)))
                    if status.is_conflict() || status.is_not_found() =>
                {
                    tracing::debug!(cluster = %self.key, ?step, "it has changed meanwhile");
                }
                Err(error) => {
                    tracing::warn!(cluster = %self.key, ?step, %error, "a step failed");
                    outcome
                        .failures
                        .push(format!("{}: {error}", step_word(step)));
                }
            }
        }
        outcome
    }

    /// Some steps are done or fail; others may be refused, or find nothing to do.
    async fn one(&self, step: &Step, outcome: &mut Outcome) -> Result<Did, StepError> {
        let done = match step {
            Step::ForceDeletePod { id, pod, why } => {
                return self.force_delete_pod(*id, pod, why).await;
            }
            Step::Restart(pods) => return self.restart(pods, outcome).await,
            Step::BringBack { id, claim, moved } => {
                return self.bring_back(*id, claim, moved).await;
            }
            Step::HandOver(id) => return self.hand_over(*id, outcome).await,
            Step::MoveAway(ids) => return self.move_away(ids, outcome).await,
            Step::Repair => return self.repair(outcome).await,
            Step::Unregister(id) => return self.unregister(*id).await,
            Step::Unthrottle(_) if !self.may_unthrottle => return Ok(Did::Nothing),
            Step::Unthrottle(topics) => return self.unthrottle(topics).await,
            Step::ReplaceVolume {
                id,
                claim,
                pod,
                lease,
            } => {
                let which = (claim.as_ref(), pod.as_ref());
                return self.replace(*id, which, *lease, outcome).await;
            }
            Step::GrowClaim { claim, size } => return self.grow(claim, size, outcome).await,
            Step::AnnotatePod { pod, values } => self.annotate::<Pod>(pod, &json!(values)).await,
            Step::AnnotateClaim { claim, values } => {
                self.annotate::<PersistentVolumeClaim>(claim, &json!(values))
                    .await
            }
            Step::KeepPod(pod) => self.keep(pod).await,
            Step::NoteFounded(claim) => self.note(claim, FOUNDED, json!("true")).await,
            Step::NoteLeaving(claim, why) => {
                let word = why.map_or(Value::Null, |why: Leaving| json!(why.word()));
                self.note(claim, LEAVING, word).await
            }
            Step::DeletePod { id, pod, why } => self.delete_pod(*id, pod, why, false).await,
            Step::GiveBackLease(id) => self.give_back_lease(*id).await,
            Step::Drain(id, on) => self.drain(*id, *on).await,
            Step::Stay { id, claim, undo } => self.stay(*id, claim, *undo).await,
            Step::AddVoter(id) => self.vote("add", *id).await,
            Step::RemoveVoter(id) => self.vote("remove", *id).await,
            Step::DeleteClaim { claim, why, .. } => self.delete_claim(claim, why).await,
            Step::OrphanSet(set) => self.orphan(set).await,
            Step::DeleteSet(set) => {
                self.delete::<StatefulSet>(set, DeleteParams::background())
                    .await
            }
            Step::ScaleSet(set, replicas) => {
                let spec = json!({ "spec": { "replicas": replicas } });
                self.patch::<StatefulSet>(set, spec).await
            }
            Step::ClearStopping => self.clear_stopping().await,
        };
        done.map(|()| Did::It)
    }

    /// The watch of nodes may be behind.
    async fn force_delete_pod(&self, id: i32, pod: &Named, why: &str) -> Result<Did, StepError> {
        if !self.is_ended_by_nobody(id).await? {
            return Ok(Did::Nothing);
        }
        self.delete_pod(id, pod, why, true).await?;
        Ok(Did::It)
    }

    /// Without a lease: it takes nothing away.
    async fn delete_pod(
        &self,
        id: i32,
        pod: &Named,
        why: &str,
        forced: bool,
    ) -> Result<(), StepError> {
        let params = match forced {
            true => DeleteParams::default().grace_period(0),
            false => DeleteParams::default(),
        };
        self.delete::<Pod>(pod, params).await?;
        let (reason, text) = match forced {
            true => (
                "PodForced",
                format!("Broker {id}'s pod is deleted by force: {why}"),
            ),
            false => (
                "BrokerReplaced",
                format!("Broker {id}'s pod is replaced: {why}"),
            ),
        };
        self.tell(Kind::Warning, reason, &text).await;
        Ok(())
    }

    /// As its node is at this moment.
    async fn is_ended_by_nobody(&self, id: i32) -> Result<bool, StepError> {
        let Some(pod) = self.observed.pods.get(&id) else {
            return Ok(false);
        };
        let Some(name) = &pod.node else {
            return Ok(false);
        };
        let node = nodes::read(name, &self.context.client).await?;
        Ok(stuck::can_not_end(self.observed.now, pod, &node).is_some())
    }

    async fn delete_claim(&self, claim: &Named, why: &str) -> Result<(), StepError> {
        let params = DeleteParams::default();
        self.delete::<PersistentVolumeClaim>(claim, params).await?;
        let text = format!("{}: {why}", claim.name);
        self.tell(Kind::Normal, "ClaimDeleted", &text).await;
        Ok(())
    }

    async fn orphan(&self, set: &Named) -> Result<(), StepError> {
        self.delete::<StatefulSet>(set, DeleteParams::orphan())
            .await?;
        let name = &set.name;
        let text = format!("{name} is made anew for larger volumes; its pods stay");
        self.tell(Kind::Normal, "VolumesGrown", &text).await;
        Ok(())
    }

    fn door(&self) -> Result<&Door, StepError> {
        self.door.as_deref().ok_or(StepError::NoDoor)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.context.client.clone(), &self.key.namespace)
    }

    async fn tell(&self, kind: Kind, reason: &str, text: &str) {
        self.events.tell(kind, reason, text).await;
    }

    async fn delete<K>(&self, named: &Named, params: DeleteParams) -> Result<(), StepError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let params = params.preconditions(Preconditions {
            uid: Some(named.uid.clone()),
            resource_version: None,
        });
        self.api::<K>().delete(&named.name, &params).await?;
        tracing::info!(cluster = %self.key, kind = %K::kind(&()), name = named.name, "deleted");
        Ok(())
    }

    /// A merge patch that names the uid changes this object, or is a conflict.
    async fn patch<K>(&self, named: &Named, mut patch: Value) -> Result<(), StepError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        patch["metadata"]["uid"] = json!(named.uid);
        let params = PatchParams::default();
        self.api::<K>()
            .patch(&named.name, &params, &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    async fn annotate<K>(&self, named: &Named, values: &Value) -> Result<(), StepError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.patch::<K>(named, json!({ "metadata": { "annotations": values } }))
            .await
    }

    /// Strategically merged, owners are added to those that there are.
    async fn keep(&self, pod: &Named) -> Result<(), StepError> {
        let owner = build::keeper(self.wanted);
        let patch = json!({ "metadata": { "uid": pod.uid, "ownerReferences": [owner] } });
        let params = PatchParams::default();
        self.api::<Pod>()
            .patch(&pod.name, &params, &Patch::Strategic(patch))
            .await?;
        Ok(())
    }

    async fn note(&self, claim: &Named, key: &str, value: Value) -> Result<(), StepError> {
        self.annotate::<PersistentVolumeClaim>(claim, &json!({ key: value }))
            .await
    }

    async fn grow(
        &self,
        claim: &Named,
        size: &str,
        outcome: &mut Outcome,
    ) -> Result<Did, StepError> {
        let patch = json!({ "spec": { "resources": { "requests": { "storage": size } } } });
        match self.patch::<PersistentVolumeClaim>(claim, patch).await {
            Err(StepError::Kube(kube::Error::Api(status))) if matches!(status.code, 403 | 422) => {
                let text = format!("{} can't grow: {}", claim.name, status.message);
                let known = self.observed.no_growth.get(&claim.uid);
                if known.is_none_or(|known| known.size != size) {
                    outcome.waits.push((Waiting::VolumesRefused, text.clone()));
                }
                let refused = NoGrowth {
                    size: size.to_owned(),
                    text,
                    is_due: false,
                };
                outcome.no_growth.insert(claim.uid.clone(), refused);
                Ok(Did::Nothing)
            }
            other => other.map(|()| Did::It),
        }
    }
}

/// As decided, but what another step's moves forbid comes after them.
fn in_order(steps: &[Step]) -> Vec<&Step> {
    let mut ordered: Vec<&Step> = steps.iter().collect();
    ordered.sort_by_key(|step| matches!(step, Step::Unthrottle(_)));
    ordered
}

/// A step's name in metrics and failures.
fn step_word(step: &Step) -> &'static str {
    match step {
        Step::AnnotatePod { .. } => "annotate_pod",
        Step::AnnotateClaim { .. } => "annotate_claim",
        Step::KeepPod(_) => "keep_pod",
        Step::NoteFounded(_) => "note_founded",
        Step::NoteLeaving(..) => "note_leaving",
        Step::DeletePod { .. } => "delete_pod",
        Step::ForceDeletePod { .. } => "force_delete_pod",
        Step::Restart(_) => "restart",
        Step::BringBack { .. } => "bring_back",
        Step::HandOver(_) => "hand_over",
        Step::GiveBackLease(_) => "give_back_lease",
        Step::Drain(..) => "drain",
        Step::MoveAway(_) => "move_away",
        Step::Stay { .. } => "stay",
        Step::Repair => "repair",
        Step::Unthrottle(_) => "unthrottle",
        Step::AddVoter(_) => "add_voter",
        Step::RemoveVoter(_) => "remove_voter",
        Step::Unregister(_) => "unregister",
        Step::DeleteClaim { .. } => "delete_claim",
        Step::ReplaceVolume { .. } => "replace_volume",
        Step::GrowClaim { .. } => "grow_claim",
        Step::OrphanSet(_) => "orphan_set",
        Step::DeleteSet(_) => "delete_set",
        Step::ScaleSet(..) => "scale_set",
        Step::ClearStopping => "clear_stopping",
    }
}

#[cfg(test)]
mod tests;
