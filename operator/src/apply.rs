//! Brings the Kubernetes cluster to what was built, by server-side apply.
//!
//! | file | what it does |
//! | --- | --- |
//! | `apply/compare.rs` | whether an object is as it was built |
//! | `apply/foreign.rs` | what others have added where nothing but the built is to be |
//! | `apply/precise.rs` | deletions and status writes that hold only for the object as it was seen |
//!
//! Nothing is written where nothing differs. An object that belongs to somebody else is left alone. One that can't be
//! written does not keep the others from it: what is wrong is gathered.

mod compare;
mod foreign;
pub mod precise;

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use crate::cluster::build::{self, CLUSTER_LABEL, Resources};
use crate::cluster::wanted::Wanted;

/// Who the API server notes as the owner of what is applied.
pub const MANAGER: &str = "milena-operator";
/// Who it notes where foreign additions were taken out: of fields that then have their defaults.
const PRUNER: &str = "milena-operator-prune";
/// On what is applied: the hash of what was built, so that what is not built any more is noticed.
const APPLIED: &str = "milena.dev/applied";
/// Unprocessable Entity: what the API server says of an object that its rules forbid.
const INVALID: u16 = 422;
/// Of a message of the API server that is put into a condition, in letters.
const MESSAGE_MAX: usize = 500;

/// What has been done.
#[derive(Debug, Default)]
pub struct Applied {
    /// What was written, as `Service main-peers`.
    pub changed: Vec<String>,
    /// What could not be written.
    pub problems: Vec<ApplyError>,
}

/// Why something could not be written.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// It belongs to somebody else.
    #[error("{what} belongs to {owner}: rename the KafkaCluster, or delete that first")]
    Foreign {
        /// Kind and name.
        what: String,
        /// Who it belongs to.
        owner: String,
    },
    /// It is being deleted.
    #[error("{what} is being deleted: it is made again when it is gone")]
    Terminating {
        /// Kind and name.
        what: String,
    },
    /// The API server did not do it.
    #[error("{what}: {}", shown(.source))]
    Kube {
        /// Kind and name.
        what: String,
        /// Why.
        source: kube::Error,
    },
}

fn shown(error: &kube::Error) -> String {
    let text = match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    };
    text.chars().take(MESSAGE_MAX).collect()
}

/// Applies everything, in the order of the fields of [`Resources`], and removes Services and a PodMonitor that are not
/// wanted any more.
pub async fn apply(resources: &Resources, wanted: &Wanted, client: &Client) -> Applied {
    let mut applying = Applying {
        client,
        wanted,
        done: Applied::default(),
    };
    applying.object(&resources.service_account, &[]).await;
    applying.secret(resources).await;
    applying.object(&resources.network_policy, &["spec"]).await;
    for service in &resources.services {
        applying
            .object(service, &["spec.ports", "spec.selector"])
            .await;
    }
    applying.object(&resources.config, &["data"]).await;
    applying.object(&resources.brokers, &["data"]).await;
    applying.object(&resources.budget, &["spec"]).await;
    for set in &resources.stateful_sets {
        applying
            .object(set, &["spec.template", "spec.selector"])
            .await;
    }
    if let Some(monitor) = &resources.pod_monitor {
        let what = Built {
            resource: build::pod_monitor_resource(),
            value: json_of(monitor),
        };
        applying.built(what, &["spec"]).await;
    }
    if resources.no_pod_monitor {
        applying.unwanted_pod_monitor().await;
    }
    applying.unwanted_services(&resources.services).await;
    applying.done
}

/// An object as it was built.
struct Built {
    resource: ApiResource,
    value: Value,
}

impl Built {
    fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    fn what(&self) -> String {
        format!("{} {}", self.resource.kind, self.name())
    }
}

fn json_of<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).expect("Kubernetes' objects are JSON")
}

struct Applying<'a> {
    client: &'a Client,
    wanted: &'a Wanted,
    done: Applied,
}

impl Applying<'_> {
    /// `strict` are the places where nothing but the built may be.
    async fn object<T: Resource<DynamicType = ()> + Serialize>(
        &mut self,
        object: &T,
        strict: &[&str],
    ) {
        let built = Built {
            resource: ApiResource::erase::<T>(&()),
            value: json_of(object),
        };
        self.built(built, strict).await;
    }

    async fn built(&mut self, built: Built, strict: &[&str]) {
        let what = built.what();
        match self.bring(built, strict).await {
            Ok(true) => self.done.changed.push(what),
            Ok(false) => {}
            Err(error) => self.done.problems.push(error),
        }
    }

    fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.wanted.namespace, resource)
    }

    /// Whether something was written.
    async fn bring(&mut self, mut built: Built, strict: &[&str]) -> Result<bool, ApplyError> {
        let (api, what) = (self.api(&built.resource), built.what());
        let failed = |source| ApplyError::Kube {
            what: what.clone(),
            source,
        };
        let name = built.name().to_owned();
        let live = api.get_opt(&name).await.map_err(failed)?;
        let hash = note_hash(&mut built.value);
        if let Some(live) = &live {
            self.check_owner(&what, live)?;
            compare::keep_claims(&mut built.value, &json_of(live));
            let is_same = live.annotations().get(APPLIED) == Some(&hash)
                && compare::fits(&built.value, &json_of(live));
            if is_same && !foreign::has_additions(live, strict) {
                return Ok(false);
            }
        }
        let forced = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&built.value);
        let applied = match (api.patch(&name, &forced, &patch).await, &live) {
            // What stands in the place of ours can't stand beside it, as two ports of one name.
            (Err(kube::Error::Api(status)), Some(live))
                if status.code == INVALID && foreign::has_additions(live, strict) =>
            {
                prune(&api, live, &built.value, strict)
                    .await
                    .map_err(failed)?;
                api.patch(&name, &forced, &patch).await
            }
            (applied, _) => applied,
        };
        let applied = applied.map_err(failed)?;
        if foreign::has_additions(&applied, strict) {
            prune(&api, &applied, &built.value, strict)
                .await
                .map_err(failed)?;
        }
        let version = |object: &DynamicObject| object.resource_version();
        Ok(live.as_ref().and_then(version) != version(&applied))
    }

    /// An object that is there already is ours where the cluster owns it, or nobody does and our labels are on it.
    fn check_owner(&self, what: &str, live: &DynamicObject) -> Result<(), ApplyError> {
        let foreign = |owner: String| {
            Err(ApplyError::Foreign {
                what: what.to_owned(),
                owner,
            })
        };
        let owners = live.owner_references();
        let labels = live.labels();
        let label = |key: &str| labels.get(key).map(String::as_str);
        match owners.iter().find(|owner| owner.controller == Some(true)) {
            Some(owner) if owner.uid != self.wanted.uid => {
                return foreign(format!("{} {}", owner.kind, owner.name));
            }
            None if label(CLUSTER_LABEL) != Some(self.wanted.name.as_str())
                || label("app.kubernetes.io/managed-by") != Some(MANAGER) =>
            {
                return foreign("nobody that the operator knows".to_owned());
            }
            Some(_) | None => {}
        }
        match live.metadata.deletion_timestamp {
            Some(_) => Err(ApplyError::Terminating {
                what: what.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Made once. It is written again only where it has lost its token.
    async fn secret(&mut self, resources: &Resources) {
        let secret = Built {
            resource: ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&()),
            value: json_of(&resources.admin_token),
        };
        let (api, what) = (self.api(&secret.resource), secret.what());
        let outcome = match api.get_opt(secret.name()).await {
            Ok(Some(live)) => {
                let token = live.data["data"]["token"].as_str().unwrap_or_default();
                match self.check_owner(&what, &live) {
                    Ok(()) if token.is_empty() => self.write_secret(&api, &secret).await,
                    Ok(()) => Ok(false),
                    Err(error) => Err(error),
                }
            }
            Ok(None) => self.write_secret(&api, &secret).await,
            Err(source) => Err(ApplyError::Kube {
                what: what.clone(),
                source,
            }),
        };
        match outcome {
            Ok(true) => self.done.changed.push(what),
            Ok(false) => {}
            Err(error) => self.done.problems.push(error),
        }
    }

    async fn write_secret(
        &self,
        api: &Api<DynamicObject>,
        secret: &Built,
    ) -> Result<bool, ApplyError> {
        let params = PatchParams::apply(MANAGER).force();
        let applied = api
            .patch(secret.name(), &params, &Patch::Apply(&secret.value))
            .await;
        applied.map(|_| true).map_err(|source| ApplyError::Kube {
            what: secret.what(),
            source,
        })
    }

    /// Services of listeners and brokers that are gone.
    async fn unwanted_services(&mut self, wanted: &[Service]) {
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.wanted.namespace);
        let own = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", self.wanted.name));
        let listed = match api.list(&own).await {
            Ok(listed) => listed.items,
            Err(source) => {
                let what = "Services".to_owned();
                self.done.problems.push(ApplyError::Kube { what, source });
                return;
            }
        };
        let is_wanted = |service: &Service| {
            wanted
                .iter()
                .any(|it| it.metadata.name == service.metadata.name)
        };
        for service in listed.iter().filter(|it| !is_wanted(it)) {
            self.remove_ours(&api, "Service", service).await;
        }
    }

    /// One that was made while it was wanted.
    async fn unwanted_pod_monitor(&mut self) {
        let resource = build::pod_monitor_resource();
        let api = self.api(&resource);
        let name = self.wanted.name.clone();
        match api.get_opt(&name).await {
            Ok(Some(live)) => self.remove_ours(&api, &resource.kind, &live).await,
            Ok(None) => {}
            Err(source) => {
                let what = format!("{} {name}", resource.kind);
                self.done.problems.push(ApplyError::Kube { what, source });
            }
        }
    }

    /// Deletes what the cluster owns; what belongs to others stays.
    async fn remove_ours<K>(&mut self, api: &Api<K>, kind: &str, live: &K)
    where
        K: ResourceExt + Clone + DeserializeOwned + Debug,
    {
        let mut owners = live.owner_references().iter();
        if !owners.any(|owner| owner.uid == self.wanted.uid && owner.controller == Some(true)) {
            return;
        }
        let what = format!("{kind} {}", live.name_any());
        let uid = live.uid().unwrap_or_default();
        match precise::delete(api, &live.name_any(), &uid, None).await {
            Ok(true) => self.done.changed.push(what),
            Ok(false) => {}
            Err(source) => self.done.problems.push(ApplyError::Kube { what, source }),
        }
    }
}

/// Takes out what others have added in the strict places of an object as it was seen.
async fn prune(
    api: &Api<DynamicObject>,
    seen: &DynamicObject,
    built: &Value,
    strict: &[&str],
) -> Result<(), kube::Error> {
    let pruned = foreign::pruned(seen, built, strict);
    let params = PostParams {
        field_manager: Some(PRUNER.to_owned()),
        ..PostParams::default()
    };
    let replaced = api.replace(&seen.name_any(), &params, &pruned).await;
    replaced.map(drop)
}

/// Notes on the object the hash of what was built; a version that it is decided on is no part of that.
fn note_hash(value: &mut Value) -> String {
    let version = value["metadata"]
        .as_object_mut()
        .and_then(|metadata| metadata.remove("resourceVersion"));
    let hash = crate::revision::of(value);
    value["metadata"]["annotations"][APPLIED] = json!(hash);
    if let Some(version) = version {
        value["metadata"]["resourceVersion"] = version;
    }
    hash
}

#[cfg(test)]
mod tests;
