//! The metadata quorum: `request(command) -> outcome` and an `Arc<Image>`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `quorum/types.rs` | members, and what an entry of the log says |
//! | `quorum/store.rs`, `store/` | vote, log and snapshots on disk, and the thread that writes them |
//! | `quorum/log.rs`, `machine.rs`, `snapshot.rs`, `network.rs` | the same, the image and the peers, as openraft wants them |
//! | `quorum/decider.rs` | the leader's decisions |
//! | `quorum/forward.rs` | a command's way to the leader |
//! | `quorum/election.rs`, `heard.rs` | when a voter calls an election |
//! | `quorum/liveness.rs`, `liveness/` | which brokers the leader fences |
//! | `quorum/duties.rs` | what the leader does at times |
//! | `quorum/members.rs` | learners join, voters are made and unmade |
//! | `quorum/start.rs` | how all of this is put together |
//! | `quorum/first_start.rs` | who founds a cluster, and who must not |
//! | `quorum/start_wait.rs` | what a start waits for |
//! | `quorum/answers.rs`, `receive.rs` | what a member answers its peers |
//! | `quorum/rescue.rs` | going on alone when the majority is lost for good |
//! | `quorum/status.rs` | what it tells of itself |
//! | `quorum/progress.rs` | how far members and partitions are, asked of those who know |
//! | `quorum/topic_changes.rs` | what the log says of topics that come, grow and go |
//! | `quorum/import.rs`, `import/` | the store of older software |
//!
//! A broker alone is a quorum of one. Everything here runs on the control runtime.

mod answers;
mod decider;
mod duties;
mod election;
mod ended;
mod first_start;
mod forward;
mod heard;
mod import;
mod liveness;
mod log;
mod machine;
mod member;
mod members;
mod network;
mod progress;
mod receive;
pub mod rescue;
mod snapshot;
mod start;
mod start_wait;
mod status;
mod store;
mod topic_changes;
pub mod types;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use milena_metadata::{ConfigRules, DirectoryId, Image, Refusal, Request};
use milena_protocol::ErrorCode;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use ended::Ended;
pub use first_start::Told;
#[cfg(test)]
pub use liveness::FenceReason;
pub use progress::{MemberProgress, QuorumProgress, THERE_SILENT_MAX};
pub use start_wait::StartWait;
pub use status::{MemberStatus, QuorumStatus};
pub use store::StoreError;

use crate::peer::VoterChange;
use crate::peer::server::Others;
use member::Member;
use store::Store;
use types::Raft;

/// Entries that a snapshot holds and that are kept all the same, for members that lag a little.
const ENTRIES_KEPT: u64 = 500;
/// A command waits for so long: for several elections, and below the time-outs of admin clients.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// Silence after which a broker is fenced, where nothing else is said: a lost machine costs that much.
const SESSION_TIMEOUT: Duration = Duration::from_secs(3);
/// A voter with a new metadata directory that no majority has taken in by then says so: it takes less than a second.
const TELL_VOTELESS_AFTER: Duration = Duration::from_secs(5);
/// How often a start looks why the cluster has no name yet.
const LOOK: Duration = Duration::from_secs(1);
/// Pause before a start asks again whether the quorum has a leader.
const LED_AGAIN: Duration = Duration::from_millis(20);

/// Why the quorum gave no outcome.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QuorumError {
    /// The command was decided against.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No leader is known, or it can't be reached.
    #[error("the metadata quorum has no leader that answers: {why}; try again")]
    NoLeader {
        /// What was tried last.
        why: String,
    },
    /// More than half of the voters are needed, and are not there.
    #[error(
        "the metadata quorum has lost its majority: of {voters} voters too few answer ({why}); the metadata can be \
         read, and changes wait until more are back"
    )]
    LostMajority {
        voters: usize,
        /// What was tried last.
        why: String,
    },
    /// This member's store failed. Whether this command was kept shows at the next start.
    #[error("this member of the metadata quorum failed, and the broker has to be restarted: {0}")]
    Failed(String),
    /// The quorum is shutting down.
    #[error("the metadata quorum has stopped")]
    Stopped,
}

impl QuorumError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::NoLeader { .. } | Self::LostMajority { .. } => ErrorCode::RequestTimedOut,
            Self::Failed(_) => ErrorCode::KafkaStorageError,
            Self::Stopped => ErrorCode::BrokerNotAvailable,
        }
    }

    /// Whether the same may be done once more voters are there.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NoLeader { .. } | Self::LostMajority { .. })
    }
}

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is of another cluster than it was told.
    #[error("the metadata in {} is of cluster {found}, and this broker is of cluster {expected}: they do not belong together", dir.display())]
    Cluster {
        dir: PathBuf,
        /// The cluster's id there.
        found: String,
        /// What `meta.properties` or the configuration says.
        expected: String,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// How a member is started.
#[derive(Debug, Clone)]
pub struct QuorumOptions {
    /// Where its store is: `<metadata.log.dir>/quorum`.
    pub dir: PathBuf,
    pub broker: i32,
    /// The id of the data directory that the store is in, where it has one already.
    pub directory: Option<DirectoryId>,
    /// The cluster, where that is known.
    pub cluster_id: Option<String>,
    /// Where peers find it: host and port of the peers' listener.
    pub address: Option<(String, u16)>,
    /// Where members may be found.
    pub known: Vec<(String, u16)>,
    pub told: Told,
    /// The log's bytes after which a snapshot is taken, where the last snapshot is not longer still: so that a
    /// start reads little, and snapshots cost no more than the log.
    pub log_bytes_max: u64,
    /// Entries kept besides a snapshot.
    pub entries_kept: u64,
    /// A command's whole way, several elections included.
    pub request_within: Duration,
    /// What this member does by itself while it leads.
    pub leading: Leading,
    pub start_wait: StartWait,
}

/// What the quorum's leader does by itself.
#[derive(Debug, Clone)]
pub struct Leading {
    /// A broker that has been silent for so long is fenced.
    pub session_timeout: Duration,
    /// How leaderships go back to preferred leaders; `None` where they don't by themselves.
    pub rebalance: Option<Rebalance>,
    /// Internal topics, and how many replicas each shall have once there are as many brokers.
    pub internal_topics: Vec<(String, usize)>,
}

/// How leaderships go back to preferred leaders.
#[derive(Debug, Clone, Copy)]
pub struct Rebalance {
    /// How often it is looked whether they should.
    pub every: Duration,
    /// The part of its partitions, in percent, that a broker may fail to lead before it gets them back.
    pub imbalance_percentage: u32,
}

impl Default for Leading {
    fn default() -> Self {
        Self {
            session_timeout: SESSION_TIMEOUT,
            rebalance: None,
            internal_topics: Vec::new(),
        }
    }
}

impl QuorumOptions {
    /// A broker that is a cluster of its own, its store in `dir`.
    pub fn alone(dir: PathBuf, broker: i32) -> Self {
        Self {
            dir,
            broker,
            directory: None,
            cluster_id: None,
            address: None,
            known: Vec::new(),
            told: Told::Alone,
            log_bytes_max: 2 << 20,
            entries_kept: ENTRIES_KEPT,
            request_within: REQUEST_WITHIN,
            leading: Leading::default(),
            start_wait: StartWait::default(),
        }
    }
}

/// The peers' listener, and who takes what is not for the quorum.
pub struct PeersListener {
    /// Bound.
    pub socket: crate::network::Socket,
    /// Takes connections that speak Kafka's APIs.
    pub others: Others,
}

/// The door to the cluster's metadata.
pub struct Quorum {
    member: Arc<Member>,
    directory: DirectoryId,
    store: Store,
    stopping: CancellationToken,
    control: Handle,
}

impl Quorum {
    /// Opens or creates the store, and starts the member on `control`. Returns when the image is that of a
    /// cluster with a name; for a broker that is alone that is at once. The data directory's lock keeps other
    /// processes out.
    pub async fn open(
        options: QuorumOptions,
        rules: Arc<dyn ConfigRules>,
        listener: Option<PeersListener>,
        control: Handle,
    ) -> Result<Self, OpenError> {
        let started = control.spawn(start::start(
            options.clone(),
            rules,
            listener,
            control.clone(),
        ));
        let (quorum, has_import) = started
            .await
            .map_err(|error| OpenError::Failed(error.to_string()))??;
        first_start::settle(&quorum.member, &options, has_import)
            .await
            .map_err(OpenError::Failed)?;
        quorum.run(members::announce(
            quorum.member.clone(),
            options.known.clone(),
        ));
        tokio::select! {
            named = quorum.named(&options) => named?,
            why = quorum.failed() => return Err(OpenError::Failed(why.to_string())),
        }
        options.start_wait.over();
        if let Err(error) = import::remove(&options.dir) {
            tracing::warn!(%error, "what an older store left behind can't be removed");
        }
        Ok(quorum)
    }

    /// Whether a member has begun in this directory, be it with older software.
    pub fn is_begun(dir: &Path) -> Result<bool, OpenError> {
        if Store::is_in(dir) {
            return Ok(true);
        }
        Ok(import::read(dir).map_err(StoreError::from)?.is_some())
    }

    /// The metadata as of now. Cheap: for each request.
    pub fn image(&self) -> Arc<Image> {
        self.member.shown.image()
    }

    /// Sees every change, or the last of several.
    pub fn watch(&self) -> watch::Receiver<Arc<Image>> {
        self.member.shown.watch()
    }

    /// The id of the directory that the store belongs to.
    pub fn directory(&self) -> DirectoryId {
        self.directory
    }

    /// Has a command decided by the quorum's leader, wherever that is. Answers once a majority has it on disk and
    /// [`Quorum::image`] holds it.
    pub async fn request<R: Request>(&self, command: R) -> Result<R::Outcome, QuorumError> {
        if self.stopping.is_cancelled() {
            return Err(QuorumError::Stopped);
        }
        let (member, command) = (self.member.clone(), command.into());
        // On the control runtime: a stalled disk must not hold up who waits for the quorum.
        let asked = self
            .control
            .spawn(async move { member.request(command).await });
        let outcome = tokio::select! {
            outcome = asked => outcome.map_err(|_| QuorumError::Stopped)??,
            () = self.stopping.cancelled() => return Err(QuorumError::Stopped),
        };
        Ok(R::outcome(outcome).expect("a command is answered with its own outcome"))
    }

    /// Who leads, who follows, and how far each is.
    pub fn status(&self) -> QuorumStatus {
        self.member.status()
    }

    /// Makes a learner that has caught up a voter (KIP-853).
    pub async fn add_voter(&self, broker: i32, directory: DirectoryId) -> Result<(), QuorumError> {
        self.change_voters(broker, directory, true).await
    }

    /// Makes a voter a learner, or where its broker has another disk by now, nobody (KIP-853). A learner of a broker that
    /// is no longer registered, and does not answer, is forgotten.
    pub async fn remove_voter(
        &self,
        broker: i32,
        directory: DirectoryId,
    ) -> Result<(), QuorumError> {
        self.change_voters(broker, directory, false).await
    }

    async fn change_voters(
        &self,
        broker: i32,
        directory: DirectoryId,
        votes: bool,
    ) -> Result<(), QuorumError> {
        let member = self.member.clone();
        let change = VoterChange {
            broker,
            directory,
            votes,
        };
        let asked = self
            .control
            .spawn(async move { member.ask_to_change_voters(change).await });
        asked.await.map_err(|_| QuorumError::Stopped)?
    }

    /// Ends this member's part, and closes its store.
    pub async fn stop(&self) {
        self.stopping.cancel();
        stop(self.member.raft.clone(), self.store.clone()).await;
    }

    /// Waits until the cluster has a name, and checks that it is the one that was expected.
    async fn named(&self, options: &QuorumOptions) -> Result<(), OpenError> {
        let mut images = self.watch();
        let mut tell_voteless_at = Some(Instant::now() + TELL_VOTELESS_AFTER);
        loop {
            let named = images.wait_for(|image| image.cluster_id().is_some());
            if tokio::time::timeout(LOOK, named).await.is_ok() {
                break;
            }
            if let Some(why) = self.member.number_is_taken() {
                return Err(OpenError::Failed(why));
            }
            if tell_voteless_at
                .take_if(|at| *at <= Instant::now())
                .is_some()
                && let Some(voteless) = first_start::voteless(&self.member, &options.told).await
            {
                tracing::warn!("{voteless}");
            }
            options.start_wait.tell(match self.status().leader {
                // One that led before goes on leading, and nobody hears it.
                Some((id, node)) if id != self.member.id => {
                    format!("this member has not caught up with its leader, {node}")
                }
                _ => self.lacks_majority(1),
            });
        }
        let image = self.image();
        let found = image
            .cluster_id()
            .map(|id| id.to_string())
            .unwrap_or_default();
        match &options.cluster_id {
            Some(expected) if *expected != found => Err(OpenError::Cluster {
                dir: options.dir.clone(),
                found,
                expected: expected.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Waits until there is a leader that a majority answers, since the others may come later, as after a loss of all
    /// power, and until the image here has all that was decided before.
    pub async fn led(&self, start_wait: &StartWait) {
        let begun = Instant::now();
        // The end of the leader's log as it was first seen, with its term.
        let mut end: Option<(u64, i64)> = None;
        loop {
            let why = match self.progress(LOOK).await {
                Ok(progress) if progress.has_majority() => {
                    let seen = end.filter(|(term, _)| *term == progress.term);
                    let seen = seen.unwrap_or((progress.term, progress.last_index));
                    end = Some(seen);
                    if self.status().applied_index >= seen.1 {
                        break;
                    }
                    let leader = progress.leader;
                    format!("this member has not caught up with its leader, broker {leader}")
                }
                Ok(progress) => self.lacks_majority(progress.voters_there()),
                // Nobody leads, or who led is gone.
                Err(_) => self.lacks_majority(1),
            };
            // A leader that has just begun has heard of nobody yet.
            if begun.elapsed() >= LOOK {
                start_wait.tell(why);
            }
            tokio::time::sleep(LED_AGAIN).await;
        }
        start_wait.over();
    }

    fn lacks_majority(&self, there: usize) -> String {
        let voters = self.member.voters().into_iter();
        let voters: Vec<String> = voters.map(|(_, node)| node.to_string()).collect();
        match voters.len() {
            0 => "no leader has been found yet".to_owned(),
            count => format!(
                "of its {count} voters ({}) {there} answers, and a majority has to",
                voters.join(", ")
            ),
        }
    }

    fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        run(&self.control, &self.stopping, work);
    }
}

impl Drop for Quorum {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.control
            .spawn(stop(self.member.raft.clone(), self.store.clone()));
    }
}

async fn stop(raft: Raft, store: Store) {
    if let Err(error) = raft.shutdown().await {
        tracing::warn!(%error, "the metadata quorum did not end in order");
    }
    store.close();
}

fn run(
    control: &Handle,
    stopping: &CancellationToken,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let stopping = stopping.clone();
    control.spawn(async move {
        tokio::select! {
            () = work => {}
            () = stopping.cancelled() => {}
        }
    });
}

#[cfg(test)]
mod tests;
