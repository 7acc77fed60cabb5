//! Whether a namespace is going: its pods are deleted first then, and the cluster's resource after all of them.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use crate::cluster::kube_words;
use crate::context::Context;

/// Whether it is being deleted. Not, where that can't be known.
pub async fn is_going(namespace: &str, context: &Context) -> bool {
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    match namespaces.get_opt(namespace).await {
        Ok(found) => found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()),
        Err(error) => {
            let error = kube_words(&error);
            tracing::debug!(namespace, error, "not known whether the namespace is going");
            false
        }
    }
}
