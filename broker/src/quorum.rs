//! The metadata quorum, of one member: `request(command) -> outcome` and an `Arc<Image>`.
//!
//! One thread owns the store. It takes the commands that wait, decides them one after another, each on the image
//! that those before it leave, writes the records of all with one fsync, shows the image, and only then answers.

mod frame;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use milena_metadata::{Command, ConfigRules, Decision, Image, Outcome, Refusal, Request, decide};
use milena_protocol::ErrorCode;
use tokio::sync::{mpsc, oneshot, watch};

pub use store::{StoreError, StoreOptions};

use store::Store;

/// Commands that wait for the owner; whoever comes later waits to queue. The admin APIs are rare, and each
/// command may be as large as a request.
const WAITING_MAX: usize = 1_024;

/// Commands decided for one fsync.
const BATCH_COMMANDS_MAX: usize = 256;

/// Records after which a batch takes no further command, so that none waits long behind a large one, and a
/// frame stays far below its bound: one command adds at most some 30,000.
const BATCH_RECORDS_MAX: usize = 10_000;

/// Why the quorum gave no outcome.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QuorumError {
    /// The command was decided against.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed. Whether this command was kept shows at the next start; until then nothing is decided.
    #[error("the metadata store failed, and the broker has to be restarted: {0}")]
    Failed(Arc<StoreError>),
    /// The quorum is shutting down.
    #[error("the metadata quorum has stopped")]
    Stopped,
}

impl QuorumError {
    /// Kafka's code for the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Failed(_) => ErrorCode::KafkaStorageError,
            Self::Stopped => ErrorCode::BrokerNotAvailable,
        }
    }
}

/// The door to the cluster's metadata. Dropping it finishes the write in hand and ends the owner.
pub struct Quorum {
    commands: Option<mpsc::Sender<Waiting>>,
    image: Arc<ArcSwap<Image>>,
    changes: watch::Receiver<Arc<Image>>,
    owner: Option<JoinHandle<()>>,
}

struct Waiting {
    command: Command,
    answer: oneshot::Sender<Result<Outcome, QuorumError>>,
}

impl Quorum {
    /// Opens or creates the store in `dir`, `<data>/quorum`, and starts its owner. Blocks until the image is
    /// whole. The data directory's lock keeps other processes out.
    pub fn open(
        dir: &Path,
        rules: Arc<dyn ConfigRules>,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let (store, image) = Store::open(dir, options)?;
        let image = Arc::new(image);
        let shown = Arc::new(ArcSwap::new(image.clone()));
        let (watched, changes) = watch::channel(image);
        let (commands, waiting) = mpsc::channel(WAITING_MAX);
        let owner = Owner {
            store,
            rules,
            shown: shown.clone(),
            watched,
            failed: None,
        };
        let owner = std::thread::Builder::new()
            .name("quorum".into())
            .spawn(move || owner.run(waiting))
            .map_err(|error| StoreError::io("start the thread of", dir, error))?;
        Ok(Self {
            commands: Some(commands),
            image: shown,
            changes,
            owner: Some(owner),
        })
    }

    /// The metadata as of now. Cheap: for each request.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Sees every change, or the last of several.
    pub fn watch(&self) -> watch::Receiver<Arc<Image>> {
        self.changes.clone()
    }

    /// Has a command decided, and answers once its records are on disk and in [`Quorum::image`].
    pub async fn request<R: Request>(&self, command: R) -> Result<R::Outcome, QuorumError> {
        let (answer, answered) = oneshot::channel();
        let command = command.into();
        let commands = self.commands.as_ref().ok_or(QuorumError::Stopped)?;
        let waiting = Waiting { command, answer };
        commands
            .send(waiting)
            .await
            .map_err(|_| QuorumError::Stopped)?;
        let outcome = answered.await.map_err(|_| QuorumError::Stopped)??;
        Ok(R::outcome(outcome).expect("a command is answered with its own outcome"))
    }
}

impl Drop for Quorum {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(owner) = self.owner.take() {
            // A panic there was printed, and whoever waited has been told.
            let _ = owner.join();
        }
    }
}

/// The one thread that decides and writes.
struct Owner {
    store: Store,
    rules: Arc<dyn ConfigRules>,
    shown: Arc<ArcSwap<Image>>,
    watched: watch::Sender<Arc<Image>>,
    failed: Option<Arc<StoreError>>,
}

impl Owner {
    fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        while let Some(first) = waiting.blocking_recv() {
            let batch = self.decide(first, &mut waiting);
            match self.keep(&batch) {
                Ok(()) => batch.answer(),
                Err(error) => batch.fail(&error),
            }
        }
    }

    /// Decides the commands that wait, up to the bounds of a batch.
    fn decide(&self, first: Waiting, waiting: &mut mpsc::Receiver<Waiting>) -> Batch {
        let mut batch = Batch::after(Image::clone(&self.shown.load()));
        let mut next = Some(first);
        while let Some(Waiting { command, answer }) = next {
            let result = match &self.failed {
                Some(error) => Err(QuorumError::Failed(error.clone())),
                None => batch.decide(&command, &*self.rules),
            };
            batch.answers.push((answer, result));
            next = match batch.is_full() {
                true => None,
                false => waiting.try_recv().ok(),
            };
        }
        batch
    }

    /// Writes a batch, then shows its image; and from time to time shortens the store.
    fn keep(&mut self, batch: &Batch) -> Result<(), Arc<StoreError>> {
        if batch.records.is_empty() {
            return Ok(());
        }
        let before = self.shown.load().position();
        self.store
            .append(before, &batch.records)
            .map_err(|error| self.fail(error))?;
        let image = Arc::new(batch.image.clone());
        self.shown.store(image.clone());
        self.watched.send_replace(image);
        if self.store.is_long() {
            // The batch itself is kept: the failure concerns those who come after.
            if let Err(error) = self.store.snapshot(&batch.image) {
                self.fail(error);
            }
        }
        Ok(())
    }

    /// What a failed write or fsync left behind is known only when it is read again, so nothing follows it.
    fn fail(&mut self, error: StoreError) -> Arc<StoreError> {
        tracing::error!(%error, "the metadata store failed; no change is taken until the broker is restarted");
        let error = Arc::new(error);
        self.failed = Some(error.clone());
        error
    }
}

type Answer = oneshot::Sender<Result<Outcome, QuorumError>>;

/// Commands decided and not yet written.
struct Batch {
    image: Image,
    records: Vec<milena_metadata::Record>,
    answers: Vec<(Answer, Result<Outcome, QuorumError>)>,
}

impl Batch {
    fn after(image: Image) -> Self {
        Self {
            image,
            records: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn decide(
        &mut self,
        command: &Command,
        rules: &dyn ConfigRules,
    ) -> Result<Outcome, QuorumError> {
        let Decision { records, outcome } = decide(&self.image, command, rules)?;
        self.image
            .apply_entry(store::EPOCH, &records)
            .expect("a decision fits the image it was made on");
        self.records.extend(records);
        Ok(outcome)
    }

    fn is_full(&self) -> bool {
        self.answers.len() >= BATCH_COMMANDS_MAX || self.records.len() >= BATCH_RECORDS_MAX
    }

    /// Those who have gone need no answer.
    fn answer(self) {
        for (answer, result) in self.answers {
            let _ = answer.send(result);
        }
    }

    fn fail(self, error: &Arc<StoreError>) {
        for (answer, _) in self.answers {
            let _ = answer.send(Err(QuorumError::Failed(error.clone())));
        }
    }
}

#[cfg(test)]
mod tests;
