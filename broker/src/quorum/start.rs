//! Puts a member together: the store, openraft, and everything that runs beside it.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use milena_metadata::ConfigRules;
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::decider::{Decider, WAITING_MAX};
use super::duties;
use super::election::{self, HEARTBEAT, TIMEOUT_MAX, VOTE_WITHIN};
use super::heard::Heard;
use super::import;
use super::liveness::{self, Fencings};
use super::log::Log;
use super::machine::{Machine, Shown};
use super::member::Member;
use super::network::{Contacts, Network};
use super::store::{Store, StoreError, Writer};
use super::types::{Node, NodeId, Raft};
use super::{OpenError, PeersListener, Quorum, QuorumOptions, Told, run};
use crate::peer::{Peers, network as peer_network, server};

/// Opens the store and starts everything that a member does; also whether there is an older store to import.
pub(super) async fn start(
    options: QuorumOptions,
    rules: Arc<dyn ConfigRules>,
    listener: Option<PeersListener>,
    control: Handle,
) -> Result<(Quorum, bool), OpenError> {
    let import = import::read(&options.dir).map_err(StoreError::from)?;
    let store = Store::open(&options.dir)?;
    let identity = store.identity(options.directory)?;
    store.bind_to(options.broker)?;
    let (host, port) = options.address.clone().unwrap_or_default();
    let me = Node {
        directory: identity.directory,
        broker: options.broker,
        host,
        port,
    };
    let peers = Arc::new(Peers::new(identity.id, options.broker));
    let contacts = Arc::new(Contacts::default());
    let (raft, log, machine) = open_raft(&options, identity.id, &store, &peers, &contacts).await?;
    let (commands, waiting) = mpsc::channel(WAITING_MAX);
    let has_import = import.is_some();
    let decider = Decider {
        raft: raft.clone(),
        shown: machine.clone(),
        rules: rules.clone(),
        new_cluster_id: new_cluster_id(&options),
        import,
    };
    let member = Arc::new(Member {
        id: identity.id,
        me,
        raft: raft.clone(),
        log: log.clone(),
        peers,
        shown: machine,
        contacts,
        heard: Heard::new(),
        reached: election::Reached::default(),
        fencings: Fencings::default(),
        elections: AtomicU64::new(0),
        commands,
        receiving: Mutex::default(),
        number_taken: Mutex::default(),
        told_joins: Mutex::default(),
        voters_told: voters_told(&options.told),
        door: OnceLock::new(),
        request_within: options.request_within,
    });
    if let Some(id) = &options.cluster_id {
        member.peers.set_cluster(id);
    }
    let stopping = CancellationToken::new();
    let spawn = Spawn(&control, &stopping);
    spawn.run(decider.run(waiting));
    spawn.run(election::run(member.clone()));
    spawn.run(take_snapshots(raft, log));
    spawn.run(follow(member.clone()));
    spawn.run(report(member.clone()));
    spawn.run(duties::run(member.clone(), options.leading.clone(), rules));
    if let Some(PeersListener { socket, others }) = listener {
        // Without a listener nobody else is there, nor comes.
        spawn.run(liveness::run(
            member.clone(),
            options.leading.session_timeout,
        ));
        let failed =
            |error: std::io::Error| OpenError::Failed(format!("the peers' listener: {error}"));
        let listener = peer_network::listen(socket).map_err(failed)?;
        spawn.run(server::serve(
            listener,
            member.clone(),
            others,
            stopping.clone(),
        ));
    }
    let quorum = Quorum {
        directory: identity.directory,
        member,
        store,
        stopping,
        control,
    };
    Ok((quorum, has_import))
}

struct Spawn<'a>(&'a Handle, &'a CancellationToken);

impl Spawn<'_> {
    fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        run(self.0, self.1, work);
    }
}

async fn open_raft(
    options: &QuorumOptions,
    id: NodeId,
    store: &Store,
    peers: &Arc<Peers>,
    contacts: &Arc<Contacts>,
) -> Result<(Raft, Log, Arc<Shown>), OpenError> {
    let bytes_max = options.log_bytes_max;
    let writer =
        Writer::start(store.clone()).map_err(|error| OpenError::Failed(error.to_string()))?;
    let writer = Arc::new(writer);
    let log = Log::open(store.clone(), writer.clone(), bytes_max)?;
    let machine = Machine::open(store.clone(), writer, log.clone(), bytes_max)?;
    let shown = machine.shown();
    let network = Network {
        peers: peers.clone(),
        contacts: contacts.clone(),
    };
    let config = Arc::new(raft_config(options));
    let raft = Raft::new(id, config, network, log.clone(), machine).await;
    let raft = raft.map_err(|error| OpenError::Failed(error.to_string()))?;
    Ok((raft, log, shown))
}

fn raft_config(options: &QuorumOptions) -> Config {
    let ms = |duration: Duration| duration.as_millis() as u64;
    Config {
        cluster_name: "milena".into(),
        heartbeat_interval: ms(HEARTBEAT),
        // All that it decides here: how long a vote is waited for.
        election_timeout_min: ms(VOTE_WITHIN),
        election_timeout_max: ms(TIMEOUT_MAX),
        // `election.rs` calls them.
        enable_elect: false,
        // Taken by bytes: `Log::snapshot_due`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: options.entries_kept,
        // What is still in the log is sent from there, however far behind a member is.
        replication_lag_threshold: options.entries_kept,
        ..Config::default()
    }
}

/// What a cluster is called that has no name yet.
fn new_cluster_id(options: &QuorumOptions) -> Arc<str> {
    match &options.cluster_id {
        Some(id) => id.as_str().into(),
        None => milena_protocol::Uuid::random().to_string().into(),
    }
}

fn voters_told(told: &Told) -> Vec<i32> {
    match told {
        Told::Voters { voters, .. } => voters.iter().map(|voter| voter.broker).collect(),
        Told::Alone | Told::Others => Vec::new(),
    }
}

async fn take_snapshots(raft: Raft, log: Log) {
    loop {
        log.snapshot_due().await;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

/// Learns the cluster's id from the image.
async fn follow(member: Arc<Member>) {
    let mut images = member.shown.watch();
    loop {
        let image = images.borrow_and_update().clone();
        member.learn_cluster(&image);
        if image.cluster_id().is_some() || images.changed().await.is_err() {
            return;
        }
    }
}

/// Says in the process's log who leads, and that this member has failed.
async fn report(member: Arc<Member>) {
    let mut changes = member.raft.server_metrics();
    let mut known = None;
    let mut led = None;
    loop {
        let (leader, term) = {
            let metrics = changes.borrow_and_update();
            (metrics.current_leader, metrics.vote.leader_id().term)
        };
        if leader.is_some() && led.replace((leader, term)) != Some((leader, term)) {
            member.elections.fetch_add(1, Ordering::Relaxed);
        }
        if leader != known {
            known = leader;
            let node = leader.and_then(|id| member.node(id));
            match node.filter(|node| !node.host.is_empty()) {
                Some(leader) => tracing::info!(%leader, term, "the metadata quorum has a leader"),
                None => tracing::debug!(term, "the metadata quorum is electing, or has one member"),
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
