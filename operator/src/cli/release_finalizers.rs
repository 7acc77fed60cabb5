//! `milena-operator release-finalizers`: what the chart runs before it goes, so that no namespace hangs without it.

use anyhow::Context as _;
use clap::Args;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use milena_operator::crd::{GROUP, KafkaCluster, Topic};
use serde::de::DeserializeOwned;
use serde_json::json;

#[derive(Args, Debug)]
pub struct ReleaseFinalizers {
    /// The namespaces to look at, with commas between them; all where empty.
    #[arg(long, env = "MILENA_OPERATOR_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
}

pub fn run(release: &ReleaseFinalizers) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = Client::try_default()
            .await
            .context("no way to a Kubernetes API server")?;
        let topics = all::<Topic>(&client, &release.watch_namespaces).await?;
        let clusters = all::<KafkaCluster>(&client, &release.watch_namespaces).await?;
        tracing::info!(topics, clusters, "released");
        Ok(())
    })
}

/// How many had one.
async fn all<K>(client: &Client, namespaces: &[String]) -> anyhow::Result<usize>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let apis: Vec<Api<K>> = match namespaces.is_empty() {
        true => vec![Api::all(client.clone())],
        false => namespaces
            .iter()
            .map(|name| Api::namespaced(client.clone(), name))
            .collect(),
    };
    let mut released = 0;
    for api in apis {
        let listed = match api.list(&ListParams::default()).await {
            Ok(listed) => listed.items,
            // Without its definition there is none of it.
            Err(kube::Error::Api(status)) if status.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        for object in listed {
            let ours = |finalizer: &String| finalizer.starts_with(&format!("{GROUP}/"));
            if !object.finalizers().iter().any(ours) {
                continue;
            }
            let kept: Vec<&String> = object
                .finalizers()
                .iter()
                .filter(|one| !ours(one))
                .collect();
            let own: Api<K> =
                Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
            let patch = json!({ "metadata": {
                "resourceVersion": object.resource_version(),
                "finalizers": kept,
            }});
            let params = PatchParams::default();
            own.patch(&object.name_any(), &params, &Patch::Merge(patch))
                .await?;
            released += 1;
        }
    }
    Ok(released)
}
