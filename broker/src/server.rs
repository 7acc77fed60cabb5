//! The process: opens the data, listens, serves, and stops cleanly.

mod assemble;
mod directories;
pub mod last_end;
mod left;
mod life;
mod listen;
mod missing;
mod opening;
mod pod;
mod pulse;
mod rack;
mod signals;
mod unusable;

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::directory_moves;
use crate::fetcher;
use crate::http;
use crate::isr;
use crate::metrics::Metrics;
use crate::partitions::compaction::Allowance;
use crate::partitions::{Partitions, housekeeping, strays};
use crate::peer::server::Others;
use crate::quorum::{Ended, OpenError, QuorumError};
use crate::readiness::{self, Readiness};
use crate::replica_directories;
#[cfg(test)]
use assemble::assemble;
use assemble::assemble_with;
#[cfg(test)]
pub(crate) use assemble::{assemble_alone, try_assemble_alone};
use directories::LockedData;
pub(crate) use life::{Standing, standing};
use listen::BoundListener;
use opening::Opening;
use pod::{Addresses, Pod};
use signals::Signals;

/// An append may hold its worker while the disk is slow, so that there are always others.
const WORKERS_MIN: usize = 4;
/// Threads for what waits for the disk, for each data directory: more at once would only queue at its disk.
const BLOCKING_THREADS_MAX: usize = 32;
/// How often flush.messages, flush.ms and sealed segments are looked at.
const FLUSH_PERIOD: Duration = Duration::from_millis(100);
/// Deleted files go so soon after `file.delete.delay.ms`.
const TRASH_PERIOD: Duration = Duration::from_secs(1);
/// A stop gives this part of its time to requests in hand, and the rest to the disk: a client that does not take
/// its answer must not cost the mark of a clean stop.
const REQUESTS_PART: u32 = 2;
/// Who is fenced leads nothing, unless it is unfenced just now, and the quorum may not be there to be told.
const HAND_OVER_FENCED_MAX: Duration = Duration::from_secs(1);
/// How often open files are counted; in that time appends open no more than some thousands.
const DESCRIPTORS_PERIOD: Duration = Duration::from_millis(100);

/// Why the broker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory can't be used.
    #[error(transparent)]
    Data(#[from] milena_log::DirectoryError),
    /// An address can't be listened on.
    #[error("{listener} can't listen on {address}: {source}{hint}")]
    Listen {
        /// The listener's name.
        listener: String,
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The metadata can't be read or changed.
    #[error("the cluster's metadata can't be used: {0}")]
    Quorum(#[from] OpenError),
    /// The quorum refused this broker.
    #[error("this broker can't be registered: {0}")]
    Register(#[from] QuorumError),
    /// The data directory is another cluster's or broker's.
    #[error("{0}")]
    Identity(String),
    /// A data directory, or the metadata, that this broker had is not there.
    #[error("{0}")]
    Missing(String),
    /// Several directories have a log of one partition.
    #[error("{0}")]
    Ambiguous(String),
    /// Another process has taken this broker's number, or it was unregistered.
    #[error(
        "broker {0} was registered by another process, or removed from the cluster: stop the other, or give this one a \
         node.id of its own"
    )]
    Replaced(i32),
    /// This broker's part in the metadata quorum is over, and not because it was told to stop.
    #[error(transparent)]
    QuorumEnded(#[from] Ended),
    /// The system refused threads, signals or memory.
    #[error(
        "the system gives the broker no threads or signals: {0}; look at its limits (ulimit -a, the container's pids)"
    )]
    System(std::io::Error),
}

/// Runs a broker until it is told to stop; returns when everything is on disk.
pub fn run(config: BrokerConfig) -> Result<(), StartError> {
    raise_descriptor_limit();
    let data = runtime("milena-data", workers(), config.data_dirs().len())?;
    // The quorum, timers and HTTP: never behind a partition's lock or a slow disk.
    let control = runtime("milena-control", 1, 1)?;
    let result = data.block_on(async {
        let signals = Signals::listen()?;
        serve(Arc::new(config), control.handle().clone(), signals).await
    });
    data.shutdown_timeout(Duration::from_secs(1));
    control.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Takes as many descriptors as the system lets the process have: each partition holds a few.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = limit.current, "the limit of open files can't be raised");
    }
}

fn workers() -> usize {
    if cfg!(feature = "simulation") {
        return WORKERS_MIN;
    }
    std::thread::available_parallelism().map_or(WORKERS_MIN, |cores| cores.get().max(WORKERS_MIN))
}

/// A runtime that can wait for so many disks.
fn runtime(name: &str, workers: usize, disks: usize) -> Result<Runtime, StartError> {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name(name)
        .max_blocking_threads(BLOCKING_THREADS_MAX * disks.max(1))
        .enable_all()
        .build()
        .map_err(StartError::System)
}

/// Runs a broker on the calling runtime, as one of a simulation's machines, until one of `signals` comes.
#[cfg(feature = "simulation")]
pub async fn simulate(
    config: BrokerConfig,
    signals: tokio::sync::mpsc::UnboundedReceiver<()>,
) -> Result<(), StartError> {
    serve(Arc::new(config), Handle::current(), Signals::from(signals)).await
}

async fn serve(
    config: Arc<BrokerConfig>,
    control: Handle,
    mut signals: Signals,
) -> Result<(), StartError> {
    // The ports first: a second broker on this machine should hear of the port, not of half-opened data.
    let listeners = listen::bind_all(&config)?;
    let ending = CancellationToken::new();
    // Before the logs are opened, which takes a while after a crash: the process is live meanwhile.
    let http = http::start(&config, &control, &ending)?;
    let data = LockedData::lock(&config)?;
    let mut pod = Pod::first_seen(&config, data.first())?;
    http.known().set(data.identity(&config, &pod));
    let endpoints = life::endpoints(&listeners);
    let addresses = Addresses::of(&config, &listeners);
    let (peers, listeners) = opening::split(&config, listeners);
    let others = Others::default();
    let quorum = Opening {
        config: &config,
        control: control.clone(),
        peers: peers.as_ref().map(|peers| (peers, others.clone())),
        start_wait: http.start_wait().clone(),
    };
    let metrics =
        Metrics::new().map_err(|error| StartError::System(std::io::Error::other(error)))?;
    http.show_start(metrics.clone());
    // A cluster's voters wait for each other, which may take for ever.
    let broker = tokio::select! {
        broker = assemble_with(metrics, quorum, data, endpoints, pod.rack()) => broker?,
        () = signals.stop_asked() => return Ok(()),
    };
    pod.bind(http.known())?;
    http.show(broker.clone());
    let mut running = Running::begin(broker, &control);
    if let Some(peers) = peers {
        running.take_from(&peers, &others);
    }
    let known = http.known().clone();
    let pod = pod::follow(pod, addresses, running.broker.clone(), known);
    let mut pod = AbortOnDropHandle::new(control.spawn(pod));
    running.accept_all(listeners, http.readiness().clone());
    let broker = running.broker.clone();
    let ended = tokio::select! {
        () = signals.stop_asked() => Ok(()),
        over = running.over() => over,
        // Others lead what it led as soon as its connections close; it would go on by metadata that is no more.
        why = broker.quorum().failed() => Err(why.into()),
        Ok(copied) = &mut pod => {
            let ended = Err(copied.into());
            if running.is_fenced() {
                // A copy that has not served stays as it was found: it is not stopped, which would write.
                return ended;
            }
            ended
        }
    };
    ending.cancel();
    tracing::info!("stopping: finishing what is in hand; a second signal exits at once");
    running.stop(&config, &mut signals).await;
    ended
}

/// A broker that serves, and what it is stopped by.
struct Running {
    broker: Arc<Broker>,
    /// How the quorum has this life.
    life: life::Seen,
    /// Ends the following of the metadata.
    living: CancellationToken,
    /// Ends all that serves.
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// Starts all that a broker does without being asked.
    fn begin(broker: Arc<Broker>, control: &Handle) -> Self {
        let (stopping, living) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        keep_house(&broker, &stopping, &tasks);
        control.spawn(pulse::beat(Handle::current(), broker.partitions().clone()));
        let (life, following) = life::follow(broker.clone(), living.clone());
        tasks.spawn(following);
        tasks.spawn(fetcher::run(broker.clone(), stopping.clone()));
        tasks.spawn(isr::run(broker.clone(), stopping.clone()));
        tasks.spawn(replica_directories::run(broker.clone(), stopping.clone()));
        tasks.spawn(directory_moves::run(broker.clone(), stopping.clone()));
        Self {
            broker,
            life,
            living,
            stopping,
            tasks,
        }
    }

    /// Takes the peers' connections that are not for the quorum.
    fn take_from(&self, peers: &BoundListener, others: &Others) {
        let (tasks, stopping) = (self.tasks.clone(), self.stopping.clone());
        let taker = listen::taker(&peers.listener.name, self.broker.clone(), tasks, stopping);
        // It is set here alone.
        let _ = others.set(taker);
    }

    /// Lets clients in, and `readiness` know when they may be sent here.
    fn accept_all(&self, listeners: Vec<BoundListener>, readiness: Arc<Readiness>) {
        accept_all(listeners, &self.broker, &self.stopping, &self.tasks);
        let (broker, stopping) = (self.broker.clone(), self.stopping.clone());
        self.tasks
            .spawn(async move { readiness::watch(&broker, &readiness, &stopping).await });
    }

    /// Whether the quorum has it serve nobody.
    fn is_fenced(&self) -> bool {
        *self.life.borrow() == Standing::Fenced
    }

    /// Until its life is over: an error, where another has its number.
    async fn over(&mut self) -> Result<(), StartError> {
        let over = self.life.wait_for(|standing| *standing == Standing::Over);
        match over.await {
            Ok(_) => Err(StartError::Replaced(self.broker.node_id())),
            // The quorum has ended.
            Err(_) => Ok(()),
        }
    }

    /// Stops it in order; a second signal, or the end of the time for it, ends the process.
    async fn stop(self, config: &BrokerConfig, signals: &mut Signals) {
        tokio::select! {
            stopped = self.in_time(config) => {
                if stopped.is_err() {
                    tracing::error!(
                        "shutdown.timeout.ms is over and the data is not closed; the next start checks the logs' ends"
                    );
                    std::process::exit(1)
                }
            }
            () = signals.stop_asked() => {
                tracing::warn!("stopped at once by a second signal; the next start checks the logs' ends");
                std::process::exit(1)
            }
        }
    }
}

fn accept_all(
    listeners: Vec<BoundListener>,
    broker: &Arc<Broker>,
    stopping: &CancellationToken,
    tasks: &TaskTracker,
) {
    for listener in listeners {
        tasks.spawn(listen::accept(
            listener,
            broker.clone(),
            tasks.clone(),
            stopping.clone(),
        ));
    }
}

/// Starts what is done to the logs in the background, in each data directory for itself. Settings are read anew for each
/// round: some change meanwhile.
fn keep_house(broker: &Arc<Broker>, stopping: &CancellationToken, tasks: &TaskTracker) {
    for dir in 0..broker.partitions().dirs().len() {
        keep_directory(dir, broker, stopping, tasks);
    }
    let broker = broker.clone();
    tasks.spawn(housekeeping::every(
        || TRASH_PERIOD,
        move || broker.partitions().empty_trash(),
        stopping.clone(),
    ));
}

fn keep_directory(
    dir: usize,
    broker: &Arc<Broker>,
    stopping: &CancellationToken,
    tasks: &TaskTracker,
) {
    let every = |period: fn(&BrokerConfig) -> Duration, work: Work| {
        let (timed, broker) = (broker.clone(), broker.clone());
        tasks.spawn(housekeeping::every(
            move || period(&timed.config()),
            move || work(broker.partitions(), dir, &broker.config()),
            stopping.clone(),
        ));
    };
    every(
        |config| millis(config.log_retention_check_interval_ms),
        |partitions, dir, _| partitions.enforce_retention(dir),
    );
    every(
        |_| strays::PERIOD,
        |partitions, dir, _| partitions.remove_strays(dir),
    );
    every(
        |_| FLUSH_PERIOD,
        |partitions, dir, _| partitions.flush_due(dir),
    );
    every(
        |_| DESCRIPTORS_PERIOD,
        |partitions, dir, config| {
            partitions.close_idle(dir, u64::try_from(config.log_open_files_max).ok());
        },
    );
    every(
        |config| millis(config.log_flush_offset_checkpoint_interval_ms.into()),
        |partitions, dir, _| note_failure(partitions.checkpoint_recovery_points(dir)),
    );
    every(
        |config| millis(config.log_flush_start_offset_checkpoint_interval_ms.into()),
        |partitions, dir, _| note_failure(partitions.checkpoint_log_starts(dir)),
    );
    every(
        |config| millis(config.replica_high_watermark_checkpoint_interval_ms),
        |partitions, dir, _| note_failure(partitions.checkpoint_high_watermarks(dir)),
    );
    if broker.config().log_cleaner_enable {
        tasks.spawn(compact(dir, broker.clone(), stopping.clone()));
    }
}

/// Compacts a directory's logs until the broker stops.
async fn compact(dir: usize, broker: Arc<Broker>, stopping: CancellationToken) {
    let (timed, stops) = (broker.clone(), stopping.clone());
    let period = move || millis(timed.config().log_cleaner_backoff_ms);
    let work = move || {
        let allowance = || Allowance::of(&broker.config());
        broker.partitions().compact(dir, &allowance, &stops);
    };
    housekeeping::every(period, work, stopping).await;
}

/// What is done to all logs of a data directory at times.
type Work = fn(&Partitions, usize, &BrokerConfig);

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0).max(1))
}

fn note_failure(written: Result<(), milena_log::StorageError>) {
    if let Err(error) = written {
        tracing::error!(%error, "checkpoints could not be written");
    }
}

impl Running {
    async fn in_time(self, config: &BrokerConfig) -> Result<(), Elapsed> {
        let bound = millis(config.shutdown_timeout_ms);
        tokio::time::timeout(bound, self.perform(bound / REQUESTS_PART)).await
    }

    /// Hands over what others can lead, answers what is in hand, each within `part_max` together, and marks the data
    /// clean.
    async fn perform(self, part_max: Duration) {
        let hand_over_max = match self.is_fenced() {
            true => HAND_OVER_FENCED_MAX,
            false => part_max / REQUESTS_PART,
        };
        let Self {
            broker,
            living,
            stopping,
            tasks,
            ..
        } = self;
        let deadline = Instant::now() + part_max;
        // From here on it does not ask to be unfenced.
        living.cancel();
        life::hand_over(&broker, hand_over_max).await;
        stopping.cancel();
        broker.waits_ended().cancel();
        // Members that wait for a rebalance are answered, so that their connections can end.
        broker.resign_groups();
        tasks.close();
        if tokio::time::timeout_at(deadline, tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                after = ?part_max,
                "requests were still in hand at half of shutdown.timeout.ms, and are dropped"
            );
        }
        broker.quorum().stop().await;
        let (partitions, epoch) = (broker.partitions().clone(), broker.broker_epoch());
        let clean = crate::blocking::spawn(move || partitions.close(epoch))
            .await
            .unwrap_or(false);
        if clean {
            tracing::info!("stopped; everything is on disk");
        }
    }
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod stall_tests;
