//! Everything about one cluster's Topics happens here, in one task: it hears of resources and of the brokers' topics,
//! decides in turns of so many resources, and performs what was decided in batches.
//!
//! At rest it waits: for its inbox, for the feed, and for the next of its timers.

mod link;
mod looks;
mod memory;
mod settle;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::access::NamespaceView;
use super::board::{Board, Declared, TopicKey};
use super::brokers::Open;
use super::decide::{self, Case, FINALIZER, Feed, Plan, Step};
use super::feed::Heard;
use super::inbox::Inbox;
use super::known::Known;
use super::metrics::Metrics;
use super::registry::Registry;
use super::status;
use super::wanted;
use crate::cluster::validate::bytes_per_second_max;
use crate::crd::{KafkaCluster, Topic};
use crate::namespace::Fate;
use link::Link;
use looks::Looks;
use memory::{Dirty, Memories};
use work::{Asks, Subject, Write};

/// Resources decided on at once, and so topics in one request: a request stays far below the brokers' bounds, and the
/// API server has its answers soon.
const TURN_MAX: usize = 100;
/// Partitions in one request, unless a single topic has more: the brokers take 10,000.
const PARTITIONS_MAX: usize = 2_000;
/// Plans for other numbers of replicas in one turn.
const REPLICATES_MAX: usize = 10;
/// The pause of all requests after one that got no answer.
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);

/// When it is asked again what becomes of a namespace, where that was not known.
const FATE_AGAIN: Duration = Duration::from_secs(2);

/// The engine of one cluster.
pub struct Engine<R, O: Open> {
    /// The cluster, as `namespace/name`.
    name: String,
    registry: Arc<R>,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
    board: Board,
    namespaces: HashMap<String, NamespaceView>,
    cluster: Option<Arc<KafkaCluster>>,
    link: Link<O>,
    known: Known,
    looks: Looks,
    memories: Memories,
    dirty: Dirty,
    /// No requests before then.
    asks_from: Instant,
}

/// What one turn has to do.
#[derive(Default)]
struct Turn {
    writes: Vec<(Subject, Write)>,
    asks: Asks,
}

impl<R: Registry, O: Open> Engine<R, O> {
    /// An engine that knows nothing yet; `name` is the cluster's `namespace/name`.
    pub fn new(
        name: String,
        registry: Arc<R>,
        open: Arc<O>,
        inbox: Arc<Inbox>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            board: Board::new(name.clone(), metrics.clone()),
            link: Link::new(name.clone(), open, metrics.clone()),
            name,
            registry,
            inbox,
            metrics,
            namespaces: HashMap::new(),
            cluster: None,
            known: Known::default(),
            looks: Looks::default(),
            memories: Memories::default(),
            dirty: Dirty::default(),
            asks_from: Instant::now(),
        }
    }

    /// Works until it is dropped.
    pub async fn run(mut self) {
        loop {
            self.take_news();
            while let Some(heard) = self.link.try_next() {
                self.hear(heard);
            }
            let now = Instant::now();
            if self.link.look_after(self.cluster.as_deref(), now).await {
                self.mark_all();
            }
            for key in self.memories.due(now) {
                self.dirty.mark(&key);
            }
            self.look_around(now).await;
            if self.dirty.is_empty() {
                self.wait().await;
            } else {
                self.turn().await;
                tokio::task::yield_now().await;
            }
        }
    }

    async fn wait(&mut self) {
        let timers = [
            self.memories.next(),
            self.link.next_look(self.cluster.is_some()),
            self.looks
                .next(self.link.is_live(), self.board.has_placed()),
        ];
        let next = timers.into_iter().flatten().min();
        let timer = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            () = self.inbox.came() => None,
            heard = self.link.next() => Some(heard),
            () = timer => None,
        };
        if let Some(heard) = heard {
            self.hear(heard);
        }
    }

    fn take_news(&mut self) {
        let news = self.inbox.take();
        if let Some(cluster) = news.cluster {
            self.take_cluster(cluster);
        }
        for (name, view) in news.namespaces {
            if self.namespaces.get(&name) != Some(&view) {
                self.mark_where(|key| *key.namespace == *name);
                self.namespaces.insert(name, view);
            }
        }
        for (key, declared) in news.topics {
            self.take_topic(&key, declared);
        }
    }

    fn take_cluster(&mut self, cluster: Option<Arc<KafkaCluster>>) {
        let uid = |cluster: &Option<Arc<KafkaCluster>>| {
            let cluster = cluster.as_ref();
            cluster.and_then(|cluster| cluster.metadata.uid.clone())
        };
        if uid(&cluster) != uid(&self.cluster) || cluster.is_none() {
            self.link.close();
            self.known = Known::default();
            self.looks = Looks::default();
        } else {
            self.link.reopen();
        }
        self.cluster = cluster;
        self.memories.forgive();
        self.mark_all();
    }

    fn take_topic(&mut self, key: &TopicKey, declared: Option<Declared>) {
        let effect = match declared {
            Some(declared) => self.board.put(key, declared),
            None => self.board.remove(key),
        };
        if effect.replaced {
            self.memories.forget(key);
            self.looks.forget(key);
        }
        if effect.changed {
            self.dirty.mark(key);
        }
        for rival in effect.rivals {
            self.dirty.mark(&rival);
        }
    }

    /// Takes over what came of the feed.
    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Changes(changes) => {
                let anew = self.link.heard();
                let changed = self.known.take(changes);
                if anew {
                    self.mark_all();
                }
                for name in changed {
                    let claims = self.board.claims(&name);
                    let keys: Vec<TopicKey> = claims.map(|claim| claim.key.clone()).collect();
                    for key in keys {
                        self.memories.shown(&key);
                        self.dirty.mark(&key);
                    }
                }
            }
            Heard::Nothing(words) => self.link.missed(words, Instant::now()),
        }
    }

    /// Asks what is on its way and what is misplaced, where somebody waits for that.
    async fn look_around(&mut self, now: Instant) {
        if !self.link.is_live() {
            return;
        }
        let Some(brokers) = self.link.brokers() else {
            return;
        };
        let placed = self.board.has_placed();
        let anew = self.looks.look(&*brokers, &self.metrics, placed, now).await;
        for key in anew.movers {
            self.dirty.mark(&key);
        }
        if anew.placed {
            let placed: Vec<TopicKey> = self.board.placed().cloned().collect();
            for key in placed {
                self.dirty.mark(&key);
            }
        }
    }

    fn mark_all(&mut self) {
        self.mark_where(|_| true);
    }

    fn mark_where(&mut self, which: impl Fn(&TopicKey) -> bool) {
        for key in self.board.keys().filter(|key| which(key)) {
            self.dirty.mark(key);
        }
    }

    /// Decides on some, and performs it.
    async fn turn(&mut self) {
        let now = Instant::now();
        let mut turn = Turn::default();
        let cluster = self.cluster.as_deref();
        turn.asks.bytes_per_second_max =
            cluster.and_then(|cluster| bytes_per_second_max(&cluster.spec.drain));
        for key in self.dirty.take(TURN_MAX) {
            self.consider(key, &mut turn, now);
        }
        let Turn {
            mut writes,
            mut asks,
        } = turn;
        self.spare(&mut writes, &mut asks, now).await;
        let brokers = self.link.brokers().filter(|_| !asks.is_empty());
        let asked = async {
            match brokers {
                Some(brokers) => work::ask(&*brokers, &self.metrics, asks).await,
                None => Vec::new(),
            }
        };
        let (written, answers) = tokio::join!(work::write(&*self.registry, writes), asked);
        self.settle_writes(written);
        self.settle_answers(answers);
    }

    /// Takes out the deletions from namespaces that end by now, or of which that is not known: the watch of namespaces may
    /// be behind that of Topics.
    async fn spare(&mut self, writes: &mut Vec<(Subject, Write)>, asks: &mut Asks, now: Instant) {
        let mut fates: BTreeMap<Arc<str>, Fate> = BTreeMap::new();
        for (subject, id) in std::mem::take(&mut asks.deletes) {
            let namespace = subject.key.namespace.clone();
            let fate = match fates.get(&namespace) {
                Some(fate) => *fate,
                None => {
                    let fate = self.registry.fate(&namespace).await;
                    fates.insert(namespace, fate);
                    fate
                }
            };
            match fate {
                Fate::Stays => asks.deletes.push((subject, id)),
                Fate::Ends => {
                    let write = finalizers(&subject.topic, false, None);
                    writes.push((subject, write));
                }
                Fate::Unknown => self.memories.wake(&subject.key, now + FATE_AGAIN),
            }
        }
    }

    fn consider(&mut self, key: TopicKey, turn: &mut Turn, now: Instant) {
        let Some(declared) = self.board.get(&key).cloned() else {
            return;
        };
        let plan = self.decide(&key, &declared, now);
        let subject = Subject {
            key,
            topic: declared.topic,
        };
        self.looks
            .note(&subject.key, &plan.step, wanted::name(&subject.topic));
        if let Some(write) = status_of(&subject.topic, &plan) {
            turn.writes.push((subject.clone(), write));
            // The step comes with the resource as it is then.
            if plan.say_first {
                return;
            }
        }
        match plan.step {
            Step::Rest | Step::Look => {}
            Step::Hold => {
                let write = finalizers(&subject.topic, true, None);
                turn.writes.push((subject, write));
            }
            Step::LetGo(kept) => {
                let write = finalizers(&subject.topic, false, kept);
                turn.writes.push((subject, write));
            }
            step => self.ask_later_or_now(subject, step, &mut turn.asks, now),
        }
    }

    /// Puts a request into this turn, or has it looked at again when it may be asked.
    fn ask_later_or_now(&mut self, subject: Subject, step: Step, asks: &mut Asks, now: Instant) {
        let generation = subject.topic.metadata.generation;
        if now < self.asks_from {
            self.memories.wake(&subject.key, self.asks_from);
            return;
        }
        // A timer has been set when that was remembered.
        if self.memories.waits(&subject.key, generation, now) {
            return;
        }
        let partitions = match &step {
            Step::Create(topic) => usize::try_from(topic.partitions).unwrap_or(0),
            Step::Grow(count) => usize::try_from(*count).unwrap_or(0),
            _ => 0,
        };
        let enough = asks.partitions > 0 && asks.partitions + partitions > PARTITIONS_MAX;
        if enough && partitions > 0 {
            self.dirty.mark(&subject.key);
            return;
        }
        asks.partitions += partitions;
        let name = wanted::name(&subject.topic).to_owned();
        match step {
            Step::Create(topic) => asks.creates.push((subject, topic)),
            Step::Alter(changes) => asks.alters.push((subject, (name, changes))),
            Step::Grow(count) => asks.grows.push((subject, (name, count))),
            Step::Delete(id) => asks.deletes.push((subject, id)),
            Step::Replicate(_) if asks.replicates.len() >= REPLICATES_MAX => {
                self.dirty.mark(&subject.key);
            }
            Step::Replicate(factor) => asks.replicates.push((subject, (name, factor))),
            Step::Rest | Step::Hold | Step::LetGo(_) | Step::Look => {}
        }
    }

    fn decide(&self, key: &TopicKey, declared: &Declared, now: Instant) -> Plan {
        let topic = &*declared.topic;
        let name = wanted::name(topic);
        let unseen = NamespaceView::default();
        let namespace = self.namespaces.get(&*key.namespace).unwrap_or(&unseen);
        let older = self.older(key, name);
        let down = self.link.down();
        let generation = topic.metadata.generation;
        decide::next(&Case {
            topic,
            unreadable: declared.unreadable.as_deref(),
            cluster: self.cluster.as_deref(),
            namespace,
            older: older.as_deref(),
            feed: match down {
                Some(why) => Feed::Down(why),
                None if self.link.is_live() => Feed::Live,
                None => Feed::Starting,
            },
            known: self.known.topic(name),
            made: self.memories.made(key),
            tried: self.memories.is_tried(key),
            gone: self.memories.is_gone(key),
            refused: self.memories.refused(key, generation, now),
            moves: self.looks.moves(name),
            misplaced: self.looks.misplaced(name),
        })
    }

    /// The oldest resource for that topic, where it is another one. Those that the cluster does not allow have no claim.
    fn older(&self, key: &TopicKey, name: &str) -> Option<String> {
        let cluster = self.cluster.as_deref()?;
        let unseen = NamespaceView::default();
        let allowed = |key: &TopicKey| {
            let view = self.namespaces.get(&*key.namespace).unwrap_or(&unseen);
            super::access::access(cluster, &key.namespace, view, name).any()
        };
        let mut claims = self.board.claims(name);
        let oldest = claims.find(|claim| claim.key == *key || allowed(&claim.key))?;
        (oldest.key != *key).then(|| oldest.key.to_string())
    }
}

/// The status after a decision, where it is another one.
fn status_of(topic: &Topic, plan: &Plan) -> Option<Write> {
    let verdict = plan.verdict.as_ref()?;
    let old = topic.status.as_ref();
    let status = status::next(
        old,
        verdict,
        wanted::name(topic),
        topic.metadata.generation,
        Timestamp::now(),
    );
    (old != Some(&status)).then(|| Write::Status {
        status: Box::new(status),
        adopts: plan.adopts,
    })
}

/// The finalizers with ours, or without it.
fn finalizers(topic: &Topic, with_ours: bool, kept: Option<String>) -> Write {
    let mut all = topic.metadata.finalizers.clone().unwrap_or_default();
    all.retain(|one| one != FINALIZER);
    if with_ours {
        all.push(FINALIZER.to_owned());
    }
    Write::Finalizers { all, kept }
}

#[cfg(test)]
pub(super) mod tests;
