//! What can go wrong between a client and its brokers, and which of it is worth another attempt.

use std::sync::Arc;
use std::time::Duration;

use milena_protocol::{DecodeError, ErrorCode};
use thiserror::Error;

/// Of the brokers that can't be reached so many are named: a cluster may have a thousand.
const PROBLEMS_SHOWN_MAX: usize = 8;

/// Why a connection could not be opened, or a request on it got no answer.
#[derive(Debug, Clone, Error)]
pub enum ConnectionError {
    /// No connection came about.
    #[error("can't connect to {address}: {problem}")]
    Unreachable {
        /// `host:port` as it was asked for.
        address: Arc<str>,
        /// What the system said.
        problem: String,
    },
    /// The connection ended before the answer.
    #[error("the connection to {address} closed: {reason}")]
    Closed {
        /// The broker's `host:port`.
        address: Arc<str>,
        /// Who closed it, or which error did.
        reason: Arc<str>,
    },
    /// No answer within the request's time.
    #[error("{address} did not answer {api} within {after:?}")]
    TimedOut {
        /// The broker's `host:port`.
        address: Arc<str>,
        /// The API's name.
        api: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// An answer that is not of the API's schema.
    #[error("{address} answered {api} with something else: {problem}")]
    Unreadable {
        /// The broker's `host:port`.
        address: Arc<str>,
        /// The API's name.
        api: &'static str,
        /// The first field that is wrong.
        problem: DecodeError,
    },
    /// The broker and this client have no version of the API in common.
    #[error("{address} does not serve {api} in a version that this client knows")]
    Unsupported {
        /// The broker's `host:port`.
        address: Arc<str>,
        /// The API's name.
        api: &'static str,
    },
}

/// Why the client could not do what was asked.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The way to a broker failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// None of the brokers known and of the bootstrap servers could be reached.
    #[error("no broker of {bootstrap} can be reached: {}", in_words(problems))]
    NoBroker {
        /// The bootstrap list.
        bootstrap: String,
        /// Why, for each that was tried.
        problems: Vec<ConnectionError>,
    },
    /// A broker refused.
    #[error("{subject}: {}", message.as_deref().unwrap_or(code.text()))]
    Refused {
        /// What the refusal is about, such as `topic "orders"`.
        subject: String,
        /// Kafka's error code.
        code: ErrorCode,
        /// The broker's own words, where it gave any.
        message: Option<String>,
    },
    /// A topic that the cluster does not have.
    #[error("there is no topic {topic:?}")]
    UnknownTopic {
        /// Its name.
        topic: String,
    },
    /// A partition that the topic does not have.
    #[error("topic {topic:?} has partitions 0 to {}, and no {partition}", count - 1)]
    UnknownPartition {
        /// The topic's name.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many there are.
        count: i32,
    },
    /// A batch from the broker that can't be read.
    #[error("{topic}-{partition} at offset {offset}: {problem}")]
    BadBatch {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where the batch was to start.
        offset: i64,
        /// What is wrong with it.
        problem: String,
    },
    /// The caller asked for something that can't be done; nothing was.
    #[error("{0}")]
    Invalid(String),
    /// A broker answered, another member wrote, or this client did what it should not.
    #[error("{0}")]
    Unexpected(String),
    /// The attempts took longer than allowed; the last one's error.
    #[error("{last} (gave up after {after:?})")]
    Deadline {
        /// How long it was tried.
        after: Duration,
        /// Why the last attempt failed.
        last: Box<Error>,
    },
}

impl Error {
    /// A broker's refusal; `subject` names what was asked about.
    pub fn refused(subject: impl Into<String>, code: ErrorCode, message: Option<&str>) -> Self {
        Self::Refused {
            subject: subject.into(),
            code,
            message: message.map(str::to_owned),
        }
    }

    /// `Ok` where the broker did not refuse.
    pub fn check(subject: impl Into<String>, code: ErrorCode) -> Result<(), Self> {
        code.ok().map_err(|code| Self::refused(subject, code, None))
    }

    /// The broker's error code, if a broker refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Deadline { last, .. } => last.code(),
            _ => None,
        }
    }

    /// Whether no broker was reached, to the last attempt.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Connection(problem) => !matches!(problem, ConnectionError::Unsupported { .. }),
            Self::NoBroker { .. } => true,
            Self::Deadline { last, .. } => last.is_unreachable(),
            _ => false,
        }
    }

    /// Whether another attempt, perhaps with new metadata, may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connection(problem) => !matches!(
                problem,
                ConnectionError::Unsupported { .. } | ConnectionError::Unreadable { .. }
            ),
            Self::NoBroker { .. } => true,
            Self::Refused { code, .. } => is_retriable(*code),
            _ => false,
        }
    }
}

/// Those that failed last are the bootstrap servers, which a person knows.
fn in_words(problems: &[ConnectionError]) -> String {
    let shown = &problems[problems.len().saturating_sub(PROBLEMS_SHOWN_MAX)..];
    let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
    shown.join("; ")
}

/// Whether Kafka calls the error retriable: the cluster is about to mend it, or the client had gone to
/// the wrong broker.
pub(crate) fn is_retriable(code: ErrorCode) -> bool {
    use ErrorCode as E;
    matches!(
        code,
        E::LeaderNotAvailable
            | E::NotLeaderOrFollower
            | E::RequestTimedOut
            | E::BrokerNotAvailable
            | E::ReplicaNotAvailable
            | E::NetworkException
            | E::CoordinatorLoadInProgress
            | E::CoordinatorNotAvailable
            | E::NotCoordinator
            | E::NotEnoughReplicas
            | E::NotEnoughReplicasAfterAppend
            | E::NotController
            | E::KafkaStorageError
            | E::FencedLeaderEpoch
            | E::UnknownLeaderEpoch
            | E::OffsetNotAvailable
            | E::FetchSessionIdNotFound
            | E::InvalidFetchSessionEpoch
            | E::FetchSessionTopicIdError
            | E::PreferredLeaderNotAvailable
            | E::EligibleLeadersNotAvailable
            | E::ConcurrentTransactions
            | E::ThrottlingQuotaExceeded
    )
}
