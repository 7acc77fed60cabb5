//! `milena-operator release-finalizers`: what the chart runs before it goes, so that no namespace hangs without it.

use anyhow::Context as _;
use clap::Args;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use milena_operator::crd::{GROUP, KafkaCluster, Topic};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::run::Identity;

#[derive(Args, Debug)]
pub struct ReleaseFinalizers {
    /// The namespaces to look at, with commas between them; all where empty.
    #[arg(long, alias = "watch-namespaces", value_delimiter = ',')]
    namespaces: Vec<String>,
    #[command(flatten)]
    identity: Identity,
}

pub fn run(release: &ReleaseFinalizers) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = Client::try_default()
            .await
            .context("no way to a Kubernetes API server")?;
        // An operator that still runs would put them back: it ends when somebody else leads.
        let election = release.identity.election(&client);
        let lease = election
            .seize()
            .await
            .context("the operators' Lease can't be taken")?;
        let leading = async {
            election.until_alone().await;
            released(&client, &release.namespaces).await
        };
        tokio::select! {
            done = leading => done,
            lost = election.keep(lease) => Err(lost.into()),
        }
    })
}

async fn released(client: &Client, namespaces: &[String]) -> anyhow::Result<()> {
    let topics = all::<Topic>(client, namespaces).await?;
    let clusters = all::<KafkaCluster>(client, namespaces).await?;
    tracing::info!(topics, clusters, "released");
    Ok(())
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
