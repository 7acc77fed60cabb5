//! Writes that hold only for the object as it was seen: another of the same name, or a newer version, is left alone.

use std::fmt::Debug;

use kube::api::{Api, DeleteParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::object::HasStatus;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deletes the object of that uid. False where it is gone already, or another one has its name.
pub async fn delete<K>(
    api: &Api<K>,
    name: &str,
    uid: &str,
    propagation: Option<PropagationPolicy>,
) -> Result<bool, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        propagation_policy: propagation,
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the status where it differs from what was seen; whether it did. An object that has changed since is a conflict
/// (409).
pub async fn status<K>(api: &Api<K>, seen: &K, status: K::Status) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = ()> + HasStatus + Clone + DeserializeOwned + Debug + Serialize,
    K::Status: PartialEq,
{
    if seen.status() == Some(&status) {
        return Ok(false);
    }
    let mut object = seen.clone();
    object.meta_mut().managed_fields = None;
    *object.status_mut() = Some(status);
    let name = object.name_any();
    api.replace_status(&name, &PostParams::default(), &object)
        .await?;
    Ok(true)
}
