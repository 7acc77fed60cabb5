//! Moves logs between the data directories, while they are appended to and read (AlterReplicaLogDirs, KIP-113): copies
//! what there is, in steps, has the quorum forget in which directory the replica is, and then has the log go on in the
//! copy. `replica_directories.rs` tells the quorum where that is.
//!
//! Moves into one directory come one after the other, in the order in which they were asked for.

use std::sync::Arc;
use std::time::Duration;

use milena_log::{FutureLog, LogError};
use milena_metadata::{AssignDirectories, DirectoryId, PartitionId};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::fetcher::Throttle;
use crate::partitions::moves::{Finish, Move};

/// Bytes that are copied in one go.
const STEP_BYTES: u64 = 1 << 20;
/// Bytes that may be left when appends are stopped for the rest.
const REST_BYTES_MAX: u64 = 1 << 20;
/// What the quorum would not do, and an end that has to wait, is tried again after this.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// The rate may be changed while somebody waits for it.
const THROTTLE_LOOK: Duration = Duration::from_secs(1);

/// Carries out what is asked for until `stopping`; a start goes on with the rest.
pub async fn run(broker: Arc<Broker>, stopping: CancellationToken) {
    let turns = broker.partitions().dirs().iter().map(|_| Arc::default());
    let turns: Vec<Arc<Mutex<()>>> = turns.collect();
    let throttle = Throttle::new(Instant::now());
    let mut carriers = JoinSet::new();
    loop {
        let begun = tokio::select! {
            begun = broker.partitions().moves().next_begun() => begun,
            Some(_) = carriers.join_next() => continue,
            () = stopping.cancelled() => break,
        };
        for one in begun {
            let carrier = Carrier {
                broker: broker.clone(),
                throttle: throttle.clone(),
                turn: turns[one.to()].clone(),
                one,
            };
            carriers.spawn(carrier.run(stopping.clone()));
        }
    }
    while carriers.join_next().await.is_some() {}
}

/// Carries out one move.
struct Carrier {
    broker: Arc<Broker>,
    throttle: Throttle,
    /// Held while something is copied to the directory.
    turn: Arc<Mutex<()>>,
    one: Arc<Move>,
}

impl Carrier {
    async fn run(self, stopping: CancellationToken) {
        let turn = self.turn.clone();
        let _turn = tokio::select! {
            turn = turn.lock() => turn,
            () = stopping.cancelled() => return,
        };
        let future = self.one.future_log();
        let partition = self.one.partition().clone();
        let (future, ended) = self.carry_out(future, &stopping).await;
        let (topic, index) = (partition.topic(), partition.index());
        match ended {
            // The next life begins it again.
            Ok(Finish::Later) => return,
            Ok(Finish::Moved) => {
                let now = partition.reader().folder();
                tracing::info!(%topic, partition = index, now = %now.display(), "the log was moved");
            }
            Ok(Finish::GivenUp) => {
                tracing::info!(%topic, partition = index, "the log's move was given up");
            }
            Err(error) => {
                tracing::error!(%topic, partition = index, %error, "the log could not be moved");
            }
        }
        let (partitions, one) = (self.broker.partitions().clone(), self.one.clone());
        crate::blocking::run(move || partitions.end_move(&one, &future)).await;
    }

    /// `Later` where the broker stops.
    async fn carry_out(
        &self,
        mut future: FutureLog,
        stopping: &CancellationToken,
    ) -> (FutureLog, Result<Finish, LogError>) {
        loop {
            if self.one.is_over() {
                return (future, Ok(Finish::GivenUp));
            }
            let (copied, done) = self.copy(future).await;
            future = copied;
            let ended = match done {
                Ok(lacks_bytes) if lacks_bytes > REST_BYTES_MAX => Ok(Finish::Later),
                Ok(_) if !self.is_announced(stopping).await => Ok(Finish::Later),
                Ok(_) => {
                    let (copied, finished) = self.finish(future).await;
                    future = copied;
                    finished
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(Finish::Later) if stopping.is_cancelled() => return (future, ended),
                Ok(Finish::Later) => self.wait(stopping).await,
                ended => return (future, ended),
            }
        }
    }

    /// Copies a step's worth; how much the copy lacks then.
    async fn copy(&self, mut future: FutureLog) -> (FutureLog, Result<u64, LogError>) {
        let one = self.one.clone();
        let (future, copied) = crate::blocking::run(move || {
            let copied = one.copy(&mut future, STEP_BYTES);
            (future, copied)
        })
        .await;
        let spend = |bytes: u64| {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            let _ = self.throttle.spend(bytes, self.rate(), Instant::now());
        };
        let lacks_bytes = copied.map(|copied| {
            spend(copied.bytes);
            copied.lacks_bytes
        });
        (future, lacks_bytes)
    }

    async fn finish(&self, mut future: FutureLog) -> (FutureLog, Result<Finish, LogError>) {
        let (partitions, one) = (self.broker.partitions().clone(), self.one.clone());
        crate::blocking::run(move || {
            let finished = partitions.finish_move(&one, &mut future, REST_BYTES_MAX);
            (future, finished)
        })
        .await
    }

    fn rate(&self) -> i64 {
        let config = self.broker.config();
        config.replica_alter_log_dirs_io_max_bytes_per_second
    }

    /// Waits until more may be copied.
    async fn wait(&self, stopping: &CancellationToken) {
        while let Some(until) = self.throttle.spend(0, self.rate(), Instant::now()) {
            let now = Instant::now();
            let waited = (until - now).min(THROTTLE_LOOK);
            tokio::select! {
                () = sleep(waited) => {}
                () = stopping.cancelled() => return,
            }
            if self.one.is_over() {
                return;
            }
        }
    }

    /// Has the quorum rely on neither directory: whichever is missing at a start from here on, the log may be in it. Waits
    /// a little where it can't be asked.
    async fn is_announced(&self, stopping: &CancellationToken) -> bool {
        if !self.one.announce() {
            return false;
        }
        tokio::select! {
            is_unassigned = self.unassign() => is_unassigned,
            () = stopping.cancelled() => false,
        }
    }

    async fn unassign(&self) -> bool {
        let (broker, partition) = (&self.broker, self.one.partition());
        let me = broker.broker_id();
        let image = broker.image();
        let state = image.partition(partition.topic().as_str(), partition.index());
        let mut replicas = state.iter().flat_map(|state| &state.replicas);
        let known = replicas.find(|replica| replica.broker == me);
        let is_unassigned = |directory| directory == DirectoryId::UNASSIGNED;
        if known.is_some_and(|replica| is_unassigned(replica.directory)) {
            return true;
        }
        let Ok(number) = PartitionId::new(partition.index()) else {
            return false;
        };
        let command = AssignDirectories {
            broker: me,
            broker_epoch: broker.broker_epoch(),
            replicas: vec![(partition.topic_id(), number, DirectoryId::UNASSIGNED)],
            is_unopened: false,
        };
        match broker.quorum().request(command).await {
            Ok(answers) if answers.iter().all(Result::is_ok) => return true,
            Ok(answers) => tracing::debug!(?answers, "the log's move waits"),
            Err(error) => tracing::debug!(%error, "the log's move waits for the quorum"),
        }
        sleep(TRY_AGAIN).await;
        false
    }
}
