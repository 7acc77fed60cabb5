//! A test's own namespace: made before it, gone after it, with what happened there kept where the test has failed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Kube, evidence, is_true, list, operator, repository, text, until, watch};
use crate::cluster::View;
use crate::ledger::Target;
use crate::skip::skipped;

/// From an applied manifest to a cluster that serves, images being there; on a busy machine.
const AVAILABLE_LIMIT: Duration = Duration::from_secs(180);
/// From an applied Topic to one that is there.
const TOPIC_LIMIT: Duration = Duration::from_secs(60);
/// A rolling restart of three brokers, with their soak times.
const SETTLED_LIMIT: Duration = Duration::from_secs(300);
/// Of clusters that are deleted.
const DELETED_LIMIT: Duration = Duration::from_secs(120);
/// The end of all of a cluster's pods.
const STOPPED_LIMIT: Duration = Duration::from_secs(90);
/// One question to a broker.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// Until all replicas are in sync.
const SYNC_LIMIT: Duration = Duration::from_secs(120);

/// Set by `e2e/kube/run.sh` where other files of tests run beside this one, so that the operator stays.
const BESIDE: &str = "E2E_BESIDE";

const NO_CLUSTER: &str = "E2E_CONTEXT names no Kubernetes cluster; `make e2e` makes one";

/// A namespace, and the files of its test.
pub struct Scene {
    /// The Kubernetes cluster.
    pub kube: Kube,
    /// The namespace's name.
    pub namespace: String,
    folder: PathBuf,
}

/// Runs a test in a namespace of its own, with the operator there. Skipped, and said so, where no cluster is named.
pub fn scene(name: &str, test: impl FnOnce(&Scene) -> Result<()>) -> Result<()> {
    let Some(kube) = Kube::from_environment() else {
        return skipped(&format!("kube {name}"), NO_CLUSTER);
    };
    let begun = Instant::now();
    operator::ensure(&kube)?;
    let scene = Scene::make(kube, name)?;
    let outcome = test(&scene);
    if outcome.is_err() {
        evidence::keep(&scene.kube, &scene.namespace, &scene.folder);
        eprintln!("what is known of it: {}", scene.folder.display());
    }
    let tested = begun.elapsed();
    let removed = scene.remove();
    println!(
        "scene {name}: {:.0?}, of which {tested:.0?} until its namespace was taken away",
        begun.elapsed()
    );
    outcome.and(removed)
}

impl Scene {
    fn make(kube: Kube, name: &str) -> Result<Self> {
        let namespace = format!("e2e-{name}-{}", std::process::id());
        let folder = repository().join("target/e2e").join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let scene = Self {
            kube,
            namespace,
            folder,
        };
        // Whatever a cluster consists of has to be as Pod Security's strictest level wants it.
        scene.kube.kubectl_with(
            &json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": scene.namespace, "labels": {
                    "milena.dev/e2e": "true",
                    "pod-security.kubernetes.io/enforce": "restricted",
                }},
            })
            .to_string(),
            &["apply", "-f", "-"],
        )?;
        Ok(scene)
    }

    /// Where the operator stays it ends namespaces, and nobody waits: `e2e/kube/run.sh` does for all of them.
    fn remove(&self) -> Result<()> {
        match std::env::var_os(BESIDE) {
            Some(_) => self.delete_namespace(),
            None => self.stop_and_remove(),
        }
    }

    fn delete_namespace(&self) -> Result<()> {
        let delete = ["delete", "namespace", &*self.namespace, "--wait=false"];
        self.kube.kubectl(&delete).map(drop)
    }

    fn stop_and_remove(&self) -> Result<()> {
        let begun = Instant::now();
        let limit = format!("--timeout={}s", DELETED_LIMIT.as_secs());
        // Clusters first: Kubernetes looks again at a namespace with pods in it only after half their grace period.
        let clusters = self.kubectl(&["delete", "kafkaclusters", "--all", &limit]);
        let stopped = clusters.and_then(|_| {
            until("the brokers have stopped", STOPPED_LIMIT, || {
                let pods = self.get(&["pods"])?;
                let left = list(&pods["items"]).len();
                ensure!(left == 0, "{left} pods");
                Ok(())
            })
        });
        // Kubernetes takes ten seconds for an empty one, beside the next test.
        let deleted = stopped.and_then(|()| self.delete_namespace());
        if deleted.is_err() {
            evidence::keep(&self.kube, &self.namespace, &self.folder);
        }
        deleted.with_context(|| format!("it is not gone after {:?}", begun.elapsed()))?;
        Ok(())
    }

    /// A folder that is kept where the test fails, and until it runs again.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// `kubectl` in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kube
            .kubectl(&[&["-n", &*self.namespace][..], arguments].concat())
    }

    /// What `kubectl get … -o json` prints.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        self.kube
            .json(&[&["-n", &*self.namespace, "get"][..], arguments].concat())
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &Value) -> Result<()> {
        let arguments = ["-n", &self.namespace, "apply", "-f", "-"];
        self.kube.kubectl_with(&manifest.to_string(), &arguments)?;
        Ok(())
    }

    /// Merges this into a resource, named as `kafkacluster/main`.
    pub fn patch(&self, resource: &str, change: &Value) -> Result<()> {
        self.kubectl(&["patch", resource, "--type=merge", "-p", &change.to_string()])?;
        Ok(())
    }

    /// The same of its status, for whoever plays the controller that writes it.
    pub fn patch_status(&self, resource: &str, change: &Value) -> Result<()> {
        let change = json!({"status": change}).to_string();
        let patch = ["patch", resource, "--subresource=status", "--type=merge"];
        self.kubectl(&[&patch[..], &["-p", &change]].concat())?;
        Ok(())
    }

    /// Waits until a cluster serves as its newest spec says, with nothing left to do; the resource as it is then.
    pub fn until_available(&self, cluster: &str) -> Result<Value> {
        self.until_cluster("the cluster serves", cluster, AVAILABLE_LIMIT, settled)
    }

    /// Waits until what was changed is done; a roll takes its time.
    pub fn until_settled(&self, cluster: &str) -> Result<Value> {
        self.until_cluster("the change is done", cluster, SETTLED_LIMIT, settled)
    }

    /// Waits until so many brokers of a cluster vote.
    pub fn until_voters(&self, cluster: &str, count: usize, limit: Duration) -> Result<()> {
        let voted = self.until_cluster("all vote that should", cluster, limit, |cluster| {
            let voters = list(&cluster["status"]["voters"]).len();
            ensure!(voters == count, "{voters} voters");
            Ok(())
        });
        voted.map(drop)
    }

    /// Waits until a cluster's resource is as `check` wants it.
    pub fn until_cluster(
        &self,
        what: &str,
        cluster: &str,
        limit: Duration,
        check: impl Fn(&Value) -> Result<()>,
    ) -> Result<Value> {
        until(what, limit, || {
            let resource = self.get(&["kafkacluster", cluster])?;
            check(&resource)?;
            Ok(resource)
        })
    }

    /// Waits until a Topic is as its newest spec says; the resource as it is then.
    pub fn until_topic(&self, topic: &str) -> Result<Value> {
        until("the topic is there", TOPIC_LIMIT, || {
            let resource = self.get(&["topics.milena.dev", topic])?;
            is_true(&resource, "Ready")?;
            Ok(resource)
        })
    }

    /// The cluster's pods, in the order of their names.
    pub fn pods(&self, cluster: &str) -> Result<Vec<Value>> {
        let selector = format!("milena.dev/cluster={cluster},milena.dev/pool");
        let mut pods = self.get(&["pods", "-l", &selector])?;
        Ok(std::mem::take(
            pods["items"].as_array_mut().context("a list of pods")?,
        ))
    }

    /// The claims of the cluster's brokers.
    pub fn claims(&self, cluster: &str) -> Result<Vec<Value>> {
        let selector = format!("milena.dev/cluster={cluster}");
        let claims = self.get(&["persistentvolumeclaims", "-l", &selector])?;
        Ok(list(&claims["items"]).to_vec())
    }

    /// Where clients outside find a NodePort listener: a port that every node has.
    pub fn outside(&self, cluster: &str, listener: &str) -> Result<String> {
        let service = self.get(&["service", &format!("{cluster}-{listener}-bootstrap")])?;
        let port = &service["spec"]["ports"][0]["nodePort"];
        ensure!(port.is_u64(), "no node port: {service}");
        let addresses = self.kube.worker_addresses()?;
        let servers: Vec<String> = addresses
            .iter()
            .map(|host| format!("{host}:{port}"))
            .collect();
        Ok(servers.join(","))
    }

    /// A topic as a client outside reaches it.
    pub fn target(&self, cluster: &str, topic: &str, partitions: i32) -> Result<Target> {
        Ok(Target {
            bootstrap: self.outside(cluster, "external")?,
            topic: topic.to_owned(),
            partitions,
        })
    }

    /// Waits until every partition has a leader, and all its replicas in sync.
    pub fn until_in_sync(&self, target: &Target) -> Result<()> {
        until("all replicas are in sync", SYNC_LIMIT, || {
            let view = self.view(target)?;
            let partitions = view.partitions(&target.topic);
            ensure!(
                partitions == target.partitions as usize,
                "{partitions} partitions"
            );
            ensure!(view.is_in_sync(), "{view}");
            Ok(())
        })
    }

    /// The cluster as one of its brokers describes it to clients outside.
    pub fn view(&self, target: &Target) -> Result<View> {
        let mut last = None;
        for server in target.bootstrap.split(',') {
            match View::ask(server, ASK_LIMIT) {
                Ok(view) => return Ok(view),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error),
            None => bail!("no server to ask"),
        }
    }
}

/// Available, and nothing under way.
fn settled(resource: &Value) -> Result<()> {
    is_true(resource, "Available")?;
    let is_at_rest = ["Progressing", "Rebalancing"].iter().all(|kind| {
        let condition = watch::condition(resource, kind);
        condition.is_none_or(|condition| text(&condition["status"]) == "False")
    });
    ensure!(is_at_rest, "still at work: {}", watch::told(resource));
    Ok(())
}
