//! The Topic controller: makes, changes, grows and deletes topics as `Topic` resources say, and takes no topic from anyone.
//!
//! ```text
//! API server ── watch ──► hub ── inbox ──► engine of one cluster ── feed ◄── its brokers
//!      ▲                                      │ decide (pure), 100 Topics a turn
//!      └────── statuses, finalizers, events ──┴── one request a kind ──────► its brokers
//! ```
//!
//! | file | has |
//! | --- | --- |
//! | `watch.rs` `board.rs` | the resources as the API server has them, and which of them has which topic |
//! | `feed.rs` `known.rs` | the topics as the brokers have them |
//! | `wanted.rs` `settings.rs` `access.rs` | what a spec asks for, and whether it may |
//! | `decide.rs` `decide/` | what to do next, and what the status says: pure |
//! | `engine.rs` `engine/` | one cluster's Topics: turns, batches, what is remembered |
//! | `status.rs` `moves.rs` | a status of what was decided |
//! | `brokers.rs` `registry.rs` | the two outer worlds, as traits, with their real sides |
//!
//! Nothing is kept but in the resources and in the brokers: a restart reads both, and writes nothing that is there.

mod access;
mod board;
mod brokers;
mod decide;
mod engine;
mod feed;
mod hub;
mod inbox;
mod known;
mod metrics;
mod moves;
mod registry;
mod settings;
mod status;
mod wanted;
mod watch;

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, select, select_all};
use kube::Client;

use board::{Declared, TopicKey};
use hub::Hub;
use registry::Kubernetes;
use watch::{ClusterKey, Watched};

pub use brokers::{Open, Opener};
pub use metrics::Metrics;

/// What the controller may look at.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespaces whose Topics and KafkaClusters are its business; all where empty.
    pub namespaces: Vec<String>,
    /// Whether namespaces themselves may be read. Where not, selectors of `topicAccess` fit nobody, and a namespace that
    /// ends is not told from others.
    pub cluster_reads: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            cluster_reads: true,
        }
    }
}

/// Runs the controller until it is dropped. `open` makes the way to a cluster's brokers.
pub async fn run<O: Open>(client: Client, open: O, metrics: Arc<Metrics>, options: Options) {
    let registry = Kubernetes::new(client.clone(), metrics.clone());
    let mut hub = Hub::new(Arc::new(registry), Arc::new(open), metrics);
    if !options.cluster_reads {
        hub.take(News::Namespace(Watched::All));
    }
    let mut news = news(&client, &options);
    while let Some(news) = news.next().await {
        hub.take(news);
    }
}

/// What the API server says.
enum News {
    Topic(Watched<TopicKey, Declared>),
    Cluster(Watched<ClusterKey, Arc<crate::crd::KafkaCluster>>),
    Namespace(Watched<String, access::NamespaceView>),
}

fn news(client: &Client, options: &Options) -> BoxStream<'static, News> {
    let namespaces = &options.namespaces;
    let topics = watch::topics(client, namespaces).map(News::Topic);
    let clusters = watch::clusters(client, namespaces).map(News::Cluster);
    let both = select(topics, clusters);
    match options.cluster_reads {
        true => {
            let views = watch::namespaces(client).map(News::Namespace);
            select_all([both.boxed(), views.boxed()]).boxed()
        }
        false => both.boxed(),
    }
}
