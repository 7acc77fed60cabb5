//! A cluster as it is: what the API server and the brokers say, read once per reconcile and decided on as values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::brokers::{ShownBroker, ShownCluster, State};
use super::build::Surroundings;
use super::unreplicated::Moved;

/// A cluster as it is.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// When it was looked at.
    pub now: Timestamp,
    /// StatefulSets by pool.
    pub sets: BTreeMap<String, Set>,
    /// Pods by broker id.
    pub pods: BTreeMap<i32, Pod>,
    /// Claims of data volumes by broker id.
    pub claims: BTreeMap<i32, Claim>,
    /// Claims that brokers of other pools have left behind under ids that are not theirs any more.
    pub left_claims: Vec<(i32, Claim)>,
    /// The level of the feature `milena.version` that the brokers write, where they have said it.
    pub level: Option<i16>,
    /// Claims that were not let grow, by uid.
    pub no_growth: BTreeMap<String, NoGrowth>,
    /// Why pods that are wanted are not made, by pool, where that was said lately.
    pub not_made: BTreeMap<String, String>,
    /// The nodes of these pods and claims, by name. Absent where the operator may not read nodes.
    pub nodes: Option<BTreeMap<String, Node>>,
    /// Pods stop because their namespace is being deleted.
    pub namespace_is_going: bool,
    /// The PodDisruptionBudget, where it is there.
    pub budget: Option<Budget>,
    /// What listeners that lead outside depend on.
    pub surroundings: Surroundings,
    /// The brokers' own view. Absent where nobody answers, no quorum stands behind it, or it is of another cluster.
    pub view: Option<View>,
    /// Why there is no view.
    pub no_view: Option<String>,
    /// Without a view: the brokers whose process answers all the same.
    pub live: BTreeSet<i32>,
}

/// A StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The first ordinal.
    pub start: i32,
    /// How many pods it wants.
    pub replicas: i32,
    /// The data volume's size in its claim template.
    pub volume_size: String,
    /// The cluster's id that its claims get.
    pub cluster_id: Option<String>,
    /// The annotation `milena.dev/revision` that its pods get.
    pub revision: String,
    /// It is being deleted.
    pub terminating: bool,
}

/// A broker's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its pool.
    pub pool: String,
    /// The node it was scheduled to.
    pub node: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Its node's address.
    pub host_ip: Option<String>,
    /// The annotation `milena.dev/revision`.
    pub revision: String,
    /// The annotation `milena.dev/asked`: what that stands for, part by part. Empty where it is not there.
    pub asked: BTreeMap<String, String>,
    /// The annotation `milena.dev/template`.
    pub template_revision: String,
    /// The annotation `milena.dev/zone`.
    pub zone: Option<String>,
    /// The annotation `milena.dev/claim-uid`.
    pub claim_uid: Option<String>,
    /// The uids of what it belongs to.
    pub owners: Vec<String>,
    /// The broker's image.
    pub image: String,
    /// Since when it is ready; absent while it is not.
    pub ready_since: Option<Timestamp>,
    /// Since when it is not ready; absent while it is.
    pub unready_since: Option<Timestamp>,
    /// It has been ready once.
    pub was_ready: bool,
    /// Its container has run at least once.
    pub started: bool,
    /// Its container runs, and the kubelet had an answer of `/healthz/live` since it was started.
    pub answers: bool,
    /// Why it does not run, in Kubernetes' word: `ErrImagePull`, `CrashLoopBackOff`, `Unschedulable`…
    pub trouble: Option<String>,
    /// What Kubernetes says of that.
    pub trouble_text: String,
    /// When its time to stop is over, where it is being deleted.
    pub deadline: Option<Timestamp>,
    /// When it was created.
    pub created: Timestamp,
}

impl Pod {
    /// It can't be placed, as its volume is on a node that takes no pods, or is gone. The scheduler has had several
    /// wordings for it.
    pub fn waits_for_its_volume(&self) -> bool {
        let words = [
            "volume node affinity",
            "PersistentVolume's node affinity",
            "plugin(s) [VolumeBinding]",
        ];
        !self.started && words.iter().any(|word| self.trouble_text.contains(word))
    }

    /// It is ready, and not being deleted.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some() && self.deadline.is_none()
    }
}

/// A data volume's claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its pool.
    pub pool: String,
    /// The cluster it belongs to, by its label.
    pub cluster_id: Option<String>,
    /// The cluster has been available with it: annotation `milena.dev/founded`.
    pub founded: bool,
    /// What the operator has begun with its broker: annotation `milena.dev/leaving`.
    pub leaving: Option<Leaving>,
    /// What was moved away from its broker for a restart: annotation `milena.dev/moved`.
    pub moved: Vec<Moved>,
    /// Bytes asked for.
    pub requested: u64,
    /// Bytes that it has; 0 while it is not bound.
    pub capacity: u64,
    /// The node that it was made for, where its volume was to be made near its first pod.
    pub node: Option<String>,
    /// Its StorageClass.
    pub class: Option<String>,
    /// The brokers' version that was wanted last: annotation `milena.dev/version`.
    pub version: Option<String>,
    /// The level that they wrote last: annotation `milena.dev/metadata-version`.
    pub level: Option<i16>,
    /// It is being deleted.
    pub terminating: bool,
    /// Its volume is gone: phase `Lost`.
    pub lost: bool,
}

/// Why the operator drains a broker. Written on its claim before it begins, so that it is undone by whoever comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It is to be taken away.
    ScaleDown,
    /// It was taken away: its pod is gone, and no replica or vote was left.
    Emptied,
    /// Its node is cordoned: others are to lead.
    Cordon,
    /// Its node is cordoned, and its replicas are to leave, too.
    CordonReplicas,
}

impl Leaving {
    /// As the annotation says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::ScaleDown => "scale-down",
            Self::Emptied => "emptied",
            Self::Cordon => "cordon",
            Self::CordonReplicas => "cordon-replicas",
        }
    }

    /// The spec wants the broker no more.
    pub fn is_scale_down(self) -> bool {
        matches!(self, Self::ScaleDown | Self::Emptied)
    }

    /// Its node is to go.
    pub fn is_cordon(self) -> bool {
        matches!(self, Self::Cordon | Self::CordonReplicas)
    }

    /// Replicas are moved away from it by the operator.
    pub fn moves_replicas(self) -> bool {
        matches!(self, Self::ScaleDown | Self::CordonReplicas)
    }

    /// What the annotation says.
    pub fn of(word: &str) -> Option<Self> {
        let all = [
            Self::ScaleDown,
            Self::Emptied,
            Self::Cordon,
            Self::CordonReplicas,
        ];
        all.into_iter().find(|known| known.word() == word)
    }
}

/// A node, as far as brokers mind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its labels: one of them names the rack.
    pub labels: BTreeMap<String, String>,
    /// It is cordoned, or tainted because it is to go.
    pub leaving: bool,
    /// Its annotation `milena.dev/drain=replicas`: replicas are to leave it, too.
    pub drain_replicas: bool,
    /// Where clients reach it: its external address, else its internal one.
    pub address: Option<String>,
    /// Its kubelet says that it is ready.
    pub ready: bool,
    /// Its taint `node.kubernetes.io/out-of-service`: somebody says that nothing runs there any more.
    pub out_of_service: bool,
    /// It is not there any more, though a pod is bound to it.
    pub gone: bool,
}

/// The PodDisruptionBudget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Its version, for the write that changes it.
    pub resource_version: String,
    /// How many brokers may be evicted at once.
    pub max_unavailable: Option<i32>,
}

/// The API server's no to a claim's growth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoGrowth {
    /// What was asked for, as the spec writes it.
    pub size: String,
    /// The no, with the claim's name.
    pub text: String,
    /// It is time to ask again.
    pub is_due: bool,
}

/// What the brokers say, with a quorum behind it.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The quorum and the partitions' health.
    pub cluster: ShownCluster,
    /// All registered brokers by id, as the quorum's leader has them.
    pub brokers: BTreeMap<i32, ShownBroker>,
    /// All topics by name, as far as the brokers tell of them.
    pub topics: Arc<BTreeMap<String, TopicFacts>>,
}

/// Where a broker is, by its own word: it stays while the broker is away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its node.
    pub node: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// It serves.
    pub serves: bool,
}

/// A topic, as far as a roll minds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicFacts {
    /// How many partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication_factor: i32,
    /// `min.insync.replicas`, where the topic has its own.
    pub min_in_sync: Option<i32>,
    /// The pools whose brokers may host it, where the topic says so; empty for all.
    pub pools: BTreeSet<String>,
    /// The racks whose brokers may host it, where the topic says so; empty for all.
    pub racks: BTreeSet<String>,
    /// The operator has copies of it throttled: see `throttle.rs`.
    pub is_throttled: bool,
}

impl View {
    /// The broker that leads the quorum.
    pub fn leader(&self) -> Option<i32> {
        self.cluster.quorum.as_ref().map(|quorum| quorum.leader)
    }

    /// Whether the broker is down, or was never there.
    pub fn is_fenced(&self, id: i32) -> bool {
        let broker = self.brokers.get(&id);
        broker.is_none_or(|broker| broker.state == State::Fenced)
    }

    /// Those who vote.
    pub fn voters(&self) -> BTreeSet<i32> {
        let quorum = self.cluster.quorum.iter();
        quorum
            .flat_map(|quorum| quorum.voters.iter().map(|voter| voter.broker))
            .collect()
    }
}

impl Observed {
    /// The cluster's ids as its claims have them, and as its StatefulSets will give them: one, unless somebody mixed
    /// clusters.
    pub fn cluster_ids(&self) -> BTreeSet<&str> {
        let claims = self.all_claims();
        let claims = claims.filter_map(|claim| claim.cluster_id.as_deref());
        let sets = self
            .sets
            .values()
            .filter_map(|set| set.cluster_id.as_deref());
        claims.chain(sets).collect()
    }

    /// Whether this cluster has been available before.
    pub fn is_founded(&self) -> bool {
        self.all_claims().any(|claim| claim.founded)
    }

    /// Those of brokers, and those left behind.
    pub fn all_claims(&self) -> impl Iterator<Item = &Claim> {
        let left = self.left_claims.iter().map(|(_, claim)| claim);
        self.claims.values().chain(left)
    }

    /// The node that a pod is on, where nodes may be read.
    pub fn node_of(&self, pod: &Pod) -> Option<&Node> {
        self.nodes.as_ref()?.get(pod.node.as_ref()?)
    }

    /// How long the pod has been ready; nothing where it is not.
    pub fn ready_for(&self, pod: &Pod) -> Option<Duration> {
        let since = pod.ready_since.filter(|_| pod.deadline.is_none())?;
        Some(Duration::try_from(self.now.duration_since(since)).unwrap_or_default())
    }

    /// Where the registered brokers are; nothing without a view, nor before the cluster has been available: its first
    /// voters are those that it was told.
    pub fn places(&self) -> BTreeMap<i32, Place> {
        let view = self.view.iter().filter(|_| self.is_founded());
        let brokers = view.flat_map(|view| view.brokers.values());
        let place = |broker: &ShownBroker| Place {
            node: broker.node.clone(),
            rack: broker.rack.clone(),
            serves: broker.state == State::Serving,
        };
        brokers.map(|broker| (broker.id, place(broker))).collect()
    }

    /// Whether nothing is going on that a change of voters would come between: every broker serves and may not stop,
    /// every voter answers, no replica moves or lacks records, no node is to go, and no pool is half rolled.
    pub fn is_at_rest(&self) -> bool {
        let Some(view) = self.view.as_ref().filter(|_| self.is_founded()) else {
            return false;
        };
        let health = &view.cluster.partitions;
        let whole = health.reassigning + health.offline + health.under_replicated == 0;
        let answering = view.cluster.quorum.as_ref().is_some_and(|quorum| {
            let (answering, all) = quorum.heard();
            answering == all
        });
        let mut brokers = view.brokers.values();
        let serving = brokers.all(|it| it.state == State::Serving && it.lease_expires_ms.is_none());
        let mut claims = self.claims.values();
        let kept = claims
            .all(|it| it.leaving.is_none() && it.moved.is_empty() && !it.terminating && !it.lost);
        // The node of a claim may be gone for good while its pod lives on another.
        let mut nodes = self.pods.values().filter_map(|pod| self.node_of(pod));
        let staying = nodes.all(|node| !node.leaving && !node.gone);
        let mut ids = view.brokers.keys();
        let ready =
            ids.all(|id| self.pods.contains_key(id)) && self.pods.values().all(Pod::is_ready);
        !view.cluster.stopping
            && whole
            && answering
            && serving
            && kept
            && staying
            && ready
            && !self.is_half_rolled()
    }

    /// Whether pods are of another revision than their StatefulSet would make now.
    fn is_half_rolled(&self) -> bool {
        self.pods.values().any(|pod| {
            let set = self.sets.get(&pod.pool);
            set.is_none_or(|set| set.revision != pod.revision)
        })
    }

    /// The ids that a StatefulSet of this pool wants pods for.
    pub fn set_ids(&self, pool: &str) -> std::ops::Range<i32> {
        let set = self.sets.get(pool);
        set.map_or(0..0, |set| set.start..set.start + set.replicas)
    }
}
