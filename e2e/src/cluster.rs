//! Several `milena serve` processes that are one cluster, on a network of their own.

mod network;
mod node;
mod view;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use milena_client::admin::NewTopic;
use milena_client::{Client, ClientOptions};
use milena_protocol::ErrorCode;

use crate::command::CommandLine;
use crate::load::block_on;
use crate::process;
pub use network::{Kind, Network};
pub use node::{CLIENTS_PORT, Node};
pub use view::View;

/// From starting the processes to a cluster that serves; far more than it takes, for a machine that is busy with
/// the other tests.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// From SIGTERM to exit.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Until a broker that is back has everything that it missed.
const SYNC_LIMIT: Duration = Duration::from_secs(120);
/// An operation of the tests' own client, tried again while leaders change.
const OPERATION_LIMIT: Duration = Duration::from_secs(60);

/// How a cluster is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Brokers 1 to this one are started, and all of them vote.
    pub brokers: i32,
    /// What they are connected by.
    pub network: Kind,
    /// Further settings of all, as `name=value`.
    pub settings: Vec<String>,
}

impl Plan {
    /// So many brokers on addresses of the loopback interface, with the settings of a production cluster of three.
    pub fn of(brokers: i32) -> Self {
        let settings = ["default.replication.factor=3", "min.insync.replicas=2"];
        Self {
            brokers,
            network: Kind::Loopback,
            settings: settings.map(str::to_owned).to_vec(),
        }
    }
}

/// A cluster. Dropped, its processes are killed; its folder stays where the test has failed.
pub struct Cluster {
    folder: PathBuf,
    network: Network,
    settings: Vec<String>,
    nodes: BTreeMap<i32, Node>,
}

impl Cluster {
    /// Runs a test with a cluster; an error says where the brokers' logs and data are.
    pub fn with(name: &str, plan: &Plan, test: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        Self::prepare(name, plan)?.run(test)
    }

    /// Starts what was prepared, and runs a test with it as [`Self::with`] does.
    pub fn run(mut self, test: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let outcome = self
            .start_all()
            .and_then(|()| self.until_ready())
            .and_then(|()| test(&mut self));
        match outcome {
            Ok(()) => self.remove(),
            Err(error) => Err(error.context(format!("see {}", self.folder.display()))),
        }
    }

    /// Kills what still runs, and removes the folder.
    pub fn remove(self) -> Result<()> {
        let folder = self.folder.clone();
        drop(self);
        fs::remove_dir_all(&folder).context("remove the cluster's folder")
    }

    /// Lays out a cluster whose processes are still to be started. Its folder is below the build's, so that what a
    /// failure leaves there is found, and goes with the next run of the same name.
    pub fn prepare(name: &str, plan: &Plan) -> Result<Self> {
        let folder = folder_of(name)?;
        let network = Network::of(plan.network, plan.brokers)?;
        let voters =
            (1..=plan.brokers).map(|id| format!("{id}@{}:{}", network.host(id), node::PEERS_PORT));
        let voters: Vec<String> = voters.collect();
        let mut cluster = Self {
            folder,
            network,
            settings: plan.settings.clone(),
            nodes: BTreeMap::new(),
        };
        for id in 1..=plan.brokers {
            let further = [
                format!("controller.quorum.voters={}", voters.join(",")),
                "cluster.found=true".to_owned(),
            ];
            cluster.lay_out(id, &further);
        }
        Ok(cluster)
    }

    /// Lays out broker 1 alone, without a list of voters and without a listener for peers. Others join it once
    /// [`Node::listen_for_peers`] has given it one.
    pub fn prepare_lone(name: &str, settings: &[&str]) -> Result<Self> {
        let mut cluster = Self {
            folder: folder_of(name)?,
            network: Network::of(Kind::Loopback, 1)?,
            settings: settings.iter().map(ToString::to_string).collect(),
            nodes: BTreeMap::new(),
        };
        cluster.lay_out(1, &[]);
        let node = cluster.node(1);
        let listener = format!("listeners=PLAINTEXT://{}", node.bootstrap());
        node.set(&listener);
        Ok(cluster)
    }

    fn lay_out(&mut self, id: i32, further: &[String]) {
        let node = self.node_at(id, id, further);
        self.nodes.insert(id, node);
    }

    fn node_at(&self, place: i32, id: i32, further: &[String]) -> Node {
        let settings = self.settings.iter().chain(further).cloned().collect();
        Node::new(id, place, &self.network, &self.folder, settings)
    }

    /// A broker that is not one of this cluster's, at a place of its own; it knows of no quorum.
    pub fn stranger(&mut self, place: i32, id: i32) -> Result<Node> {
        self.network.admit(place)?;
        Ok(self.node_at(place, id, &[]))
    }

    /// The setting by which a further broker finds the quorum.
    pub fn bootstrap_setting(&self) -> String {
        let known: Vec<String> = self.nodes.values().map(Node::peers).collect();
        format!("controller.quorum.bootstrap.servers={}", known.join(","))
    }

    /// Starts every process that is down.
    pub fn start_all(&mut self) -> Result<()> {
        for node in self.nodes.values_mut().filter(|node| !node.is_up()) {
            node.start()?;
        }
        Ok(())
    }

    /// Adds a broker that is no voter, starts it, and waits until it serves.
    pub fn join(&mut self, id: i32) -> Result<()> {
        let further = self.bootstrap_setting();
        self.network.admit(id)?;
        self.lay_out(id, &[further]);
        self.node(id).start()?;
        self.until_ready()
    }

    /// The command line, with all brokers named.
    pub fn command_line(&self) -> CommandLine {
        CommandLine::new(&self.bootstrap())
    }

    /// Where clients find it, all brokers named.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.nodes.values().map(Node::bootstrap).collect();
        addresses.join(",")
    }

    /// Where its logs are, and where a test may put what it writes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The brokers' numbers.
    pub fn ids(&self) -> Vec<i32> {
        self.nodes.keys().copied().collect()
    }

    /// What connects the brokers, and can be cut.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// One broker's process.
    pub fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.get_mut(&id).expect("a broker of this cluster")
    }

    /// Brokers whose processes run and are not stopped.
    fn awake(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.is_awake())
    }

    // ------------------------------------------------------------ what it says of itself

    /// The metadata as one broker has it.
    pub fn view_of(&self, id: i32) -> Result<View> {
        self.nodes[&id].view()
    }

    /// The metadata as the first broker that answers has it.
    pub fn view(&self) -> Result<View> {
        let mut failed = Vec::new();
        for node in self.awake() {
            match node.view() {
                Ok(view) => return Ok(view),
                Err(error) => failed.push(format!("broker {}: {error:#}", node.id)),
            }
        }
        bail!("no broker answers: {}", failed.join("; "))
    }

    /// The broker that leads the metadata quorum.
    pub fn quorum_leader(&self) -> Result<i32> {
        let leader = process::poll(READY_LIMIT, || {
            self.awake().find_map(|node| node.quorum_leader().ok())
        });
        leader.context("the metadata quorum gets no leader")
    }

    /// Waits until the metadata, as every broker that is awake has it, is as wanted.
    pub fn until(&self, what: &str, limit: Duration, wanted: impl Fn(&View) -> bool) -> Result<()> {
        let mut last = String::new();
        let done = process::poll(limit, || {
            for node in self.awake() {
                let view = node.view();
                last = match view {
                    Ok(view) if wanted(&view) => continue,
                    Ok(view) => format!("broker {} says {view}", node.id),
                    Err(error) => format!("broker {}: {error:#}", node.id),
                };
                return None;
            }
            Some(())
        });
        done.with_context(|| format!("not within {limit:?}: {what}; {last}"))
    }

    /// Waits until every broker that is awake serves, and names all others.
    pub fn until_ready(&mut self) -> Result<()> {
        for node in self.nodes.values_mut() {
            if let Some(status) = node.ended_by_itself() {
                bail!(
                    "broker {} ended with {status}:\n{}",
                    node.id,
                    node.log_tail()
                );
            }
        }
        // A broker that is not ready yet is named, too, for a while.
        let all_are_ready = || self.awake().all(Node::is_ready).then_some(());
        process::poll(READY_LIMIT, all_are_ready).context("not all brokers are ready")?;
        let awake: Vec<i32> = self.awake().map(|node| node.id).collect();
        self.until("all brokers serve", READY_LIMIT, |view| {
            awake.iter().all(|&id| view.has_broker(id))
        })
    }

    /// Waits until all processes run, and every replica of every partition is in sync.
    pub fn until_in_sync(&mut self) -> Result<()> {
        self.until_ready()?;
        self.until("every replica is in sync", SYNC_LIMIT, View::is_in_sync)
    }

    /// Who leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<i32> {
        let leader = process::poll(READY_LIMIT, || self.view().ok()?.leader(topic, partition));
        leader.with_context(|| format!("{topic}-{partition} gets no leader"))
    }

    // ------------------------------------------------------------ what is done to it

    /// SIGTERM, and the wait for the process's end; an error unless that is a success.
    pub fn stop(&mut self, id: i32) -> Result<()> {
        let node = self.node(id);
        node.terminate()?;
        let status = node.ended(STOP_LIMIT);
        let status =
            status.with_context(|| format!("broker {id} still runs after {STOP_LIMIT:?}"))?;
        ensure!(
            status.success(),
            "after SIGTERM broker {id} ended with {status}:\n{}",
            self.node(id).log_tail()
        );
        Ok(())
    }

    /// Starts a broker that is down, and waits until it serves.
    pub fn start(&mut self, id: i32) -> Result<()> {
        self.node(id).start()?;
        self.until_ready()
    }

    /// A client of the tests' own.
    pub fn client(&self) -> Client {
        let mut options = ClientOptions::new(&self.bootstrap());
        options.deadline = OPERATION_LIMIT;
        Client::new(options)
    }

    /// Creates a topic, and waits until all brokers know it and all its replicas are in sync.
    pub fn create_topic(&self, name: &str, partitions: i32, replicas: i16) -> Result<()> {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication_factor: Some(replicas),
            configs: Vec::new(),
        };
        let created = block_on(async { self.client().create_topic(&topic, false).await })?;
        match created {
            // Asked for again of the quorum's next leader, where the last one was lost before it answered: as with Kafka's
            // own forwarding, whoever asked finds the topic that was made.
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
            other => other.with_context(|| format!("create topic {name}"))?,
        }
        self.until("the topic's replicas are in sync", SYNC_LIMIT, |view| {
            view.partitions(name) == partitions as usize && view.is_in_sync()
        })
    }
}

/// An empty folder for the cluster of that name.
fn folder_of(name: &str) -> Result<PathBuf> {
    let target = crate::broker::binary_folder()?;
    let folder = target.join("clusters").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).context("remove what an earlier run left")?;
    }
    fs::create_dir_all(&folder).context("a folder for the cluster")?;
    Ok(folder)
}
