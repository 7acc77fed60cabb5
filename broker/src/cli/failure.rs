//! How a command fails: what was wrong, what to do next, and the exit code.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | the cluster refused, or something went wrong |
//! | 2 | the command line is wrong |
//! | 3 | no broker can be reached |
//! | 4 | the topic, partition, group or file is not there |
//! | 5 | it took too long |
//! | 6 | the broker may not stop now |
//! | 7 | done but for what can't be read now |
//! | 130, 143 | Ctrl-C (SIGINT) or SIGTERM ended it with work left, as shells count them: 128 and the signal's number |

use std::fmt;
use std::io;
use std::process::ExitCode;

use milena_client::{Client, ConnectionError, Error};
use milena_protocol::ErrorCode;

/// The least likeness, of 1, at which a name is worth suggesting.
const LIKENESS_MIN: f64 = 0.7;
/// How many similar names a person is shown.
const SUGGESTIONS_MAX: usize = 3;

/// A command's exit code; see the module's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // the table above
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    NotFound = 4,
    TimedOut = 5,
    Refused = 6,
    InPart = 7,
    Interrupted = 130,
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends early; it displays as what a person is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the process exits with.
    pub exit: Exit,
    text: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure in words, without a full stop.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: text.into(),
            hint: None,
        }
    }

    /// What was wrong, without what to do about it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Exits with another code.
    pub fn exiting(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Says first what came of it.
    pub fn before(self, text: &str) -> Self {
        Self {
            text: format!("{text}: {}", self.text),
            ..self
        }
    }

    /// Says what to do next.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Says what else can be done.
    pub fn and(self, other: &str) -> Self {
        match &self.hint {
            Some(hint) => {
                let hint = format!("{hint}; {other}");
                self.hint(hint)
            }
            None => self.hint(other),
        }
    }

    /// Says what to do next, where that is not said yet.
    pub fn hint_if_none(self, hint: impl Into<String>) -> Self {
        match self.hint {
            Some(_) => self,
            None => self.hint(hint),
        }
    }

    /// A topic that is not there, with those whose names are similar.
    pub async fn unknown_topic(client: &Client, topic: &str) -> Self {
        let cluster = client.refresh_all().await;
        let names = cluster.map(|cluster| cluster.topics.keys().cloned().collect());
        let names: Vec<String> = names.unwrap_or_default();
        let failure = Self::new(Exit::NotFound, format!("there is no topic {topic:?}"));
        let hint = match similar(topic, &names) {
            similar if similar.is_empty() => {
                format!("`milena topic list` lists them, `milena topic create {topic}` makes it")
            }
            similar => format!("similar names: {}", similar.join(", ")),
        };
        failure.hint(hint)
    }

    /// A group that is not there, with those whose names are similar.
    pub async fn unknown_group(client: &Client, group: &str) -> Self {
        let groups = client.groups().await.unwrap_or_default();
        let names: Vec<String> = groups.into_iter().map(|group| group.id).collect();
        let failure = Self::new(Exit::NotFound, format!("there is no group {group:?}"));
        match similar(group, &names) {
            similar if similar.is_empty() => failure.hint("`milena group list` lists them"),
            similar => failure.hint(format!("similar names: {}", similar.join(", "))),
        }
    }

    /// The client's error, with similar names where a topic or group is not there.
    pub async fn explain(client: &Client, error: Error) -> Self {
        match &error {
            Error::UnknownTopic { topic } => Self::unknown_topic(client, topic).await,
            Error::Refused {
                subject,
                code: ErrorCode::UnknownTopicOrPartition,
                ..
            } => Self::unknown_topic(client, subject).await,
            Error::Refused {
                subject,
                code: ErrorCode::GroupIdNotFound,
                ..
            } => Self::unknown_group(client, subject).await,
            Error::Refused {
                code: ErrorCode::InvalidReplicationFactor,
                ..
            } => {
                let brokers = client
                    .refresh(&[])
                    .await
                    .map_or(0, |cluster| cluster.brokers.len());
                let failure = Self::from(error);
                match brokers {
                    0 => failure,
                    1 => failure.hint("the cluster has one broker: --replication-factor 1"),
                    count => failure.hint(format!(
                        "{count} brokers run, and those that drain take no replicas: `milena cluster describe` shows them"
                    )),
                }
            }
            _ => error.into(),
        }
    }
}

/// The names most like `wanted`, the best first.
pub fn similar(wanted: &str, names: &[String]) -> Vec<String> {
    let likeness = |name: &String| {
        let folded = (wanted.to_lowercase(), name.to_lowercase());
        let lens = (folded.0.len(), folded.1.len());
        // A much shorter name is like all that share a letter with it.
        if lens.0.min(lens.1) * 3 < lens.0.max(lens.1) {
            return 0.0;
        }
        let contained = folded.1.contains(&folded.0) || folded.0.contains(&folded.1);
        strsim::jaro_winkler(&folded.0, &folded.1) + f64::from(u8::from(contained))
    };
    let mut scored: Vec<_> = names
        .iter()
        .map(|name| (likeness(name), name))
        .filter(|(score, _)| *score >= LIKENESS_MIN)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored
        .into_iter()
        .take(SUGGESTIONS_MAX)
        .map(|(_, name)| name.clone())
        .collect()
}

/// Threads for blocking calls: `bench --prebuilt` has one for each connection, of which it takes up to 10,000.
const BLOCKING_THREADS_MAX: usize = 10_100;

/// Runs a command that speaks to brokers, and says on stderr what went wrong.
pub fn exit_of(command: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => Err(error.into()),
    };
    match done {
        Err(failure) if failure.exit != Exit::Done => {
            eprintln!("{failure}");
            failure.exit.into()
        }
        _ => ExitCode::SUCCESS,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.text)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Connection(ConnectionError::Unsupported { .. }) => Exit::Failed,
            Error::Connection(_) | Error::NoBroker { .. } => Exit::Unreachable,
            Error::UnknownTopic { .. } | Error::UnknownPartition { .. } => Exit::NotFound,
            Error::Deadline { last, .. } if last.is_unreachable() => Exit::Unreachable,
            Error::Deadline { .. } => Exit::TimedOut,
            Error::Invalid(_) => Exit::Usage,
            Error::Refused {
                code: ErrorCode::GroupIdNotFound,
                ..
            } => Exit::NotFound,
            Error::Refused { .. } | Error::BadBatch { .. } | Error::Unexpected(_) => Exit::Failed,
        };
        let failure = Self::new(exit, error.to_string());
        match next_step(&error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

const BAD_BATCH: &str = "the log of its leader is damaged there: stop that broker (`milena topic describe` names it), and `milena \
                         log check DIR` says how far; --from OFFSET reads on behind it";
const TOO_OLD: &str = "the broker is too old for this";

/// What a person can do about it, where that is not plain.
fn next_step(error: &Error) -> Option<&'static str> {
    use ErrorCode as E;
    if error.is_unreachable() {
        return Some("is the broker running? --bootstrap names another");
    }
    if let Error::Connection(ConnectionError::Unsupported { .. }) = error {
        return Some(TOO_OLD);
    }
    if let Error::BadBatch { .. } = error {
        return Some(BAD_BATCH);
    }
    let longer = matches!(error, Error::Deadline { .. }).then_some("--timeout gives it longer");
    let Some(code) = error.code() else {
        return longer;
    };
    Some(match code {
        E::TopicAlreadyExists => {
            "--if-not-exists makes that no error; `milena topic alter` changes a topic"
        }
        E::InvalidTopicException => {
            "a name has 1 to 249 of the letters a-z, A-Z, the digits, '.', '_' and '-', and is not '.' or '..'"
        }
        E::InvalidPartitions => "a topic has at least one partition, and their number only grows",
        E::InvalidConfig => "`milena config reference` lists every config with its bounds",
        E::OffsetOutOfRange => "--from beginning or --from end is always there",
        E::NonEmptyGroup => "stop its members first: `milena group describe` lists them",
        E::UnknownMemberId | E::IllegalGeneration | E::RebalanceInProgress => {
            "the group has members, whose offsets only they commit: stop them first"
        }
        E::MessageTooLarge => {
            "`milena topic alter TOPIC --config max.message.bytes=...` allows larger ones"
        }
        E::RecordListTooLarge => {
            "`milena topic alter TOPIC --config segment.bytes=...` allows larger ones: no batch goes beyond one segment"
        }
        E::UnsupportedVersion => TOO_OLD,
        E::NotEnoughReplicas | E::NotEnoughReplicasAfterAppend => {
            "`milena topic describe TOPIC` tells its in-sync replicas and min.insync.replicas"
        }
        E::KafkaStorageError => "the broker's disk refused it: the broker's log says why",
        E::CoordinatorNotAvailable | E::UnknownServerError => "the broker's log says why",
        E::LeaderNotAvailable | E::NotLeaderOrFollower => {
            "`milena topic describe TOPIC` tells which partitions have no leader"
        }
        E::TopicAuthorizationFailed
        | E::GroupAuthorizationFailed
        | E::ClusterAuthorizationFailed => {
            "the cluster's ACLs refuse this to clients that do not say who they are, as this one"
        }
        E::UnsupportedForMessageFormat => {
            "the topic keeps the messages of an older Kafka: --acks 1 writes such"
        }
        _ => return longer,
    })
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Whoever reads our output has seen enough: `milena consume ... | head`.
            io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            io::ErrorKind::NotFound => Self::new(Exit::NotFound, error.to_string()),
            _ => Self::new(Exit::Failed, error.to_string()),
        }
    }
}

/// Why a command goes no further. A client's error is put into words once, at the end, since that asks the cluster.
#[derive(Debug)]
pub enum Stop {
    /// Not in words yet.
    Client(Error),
    /// What a person is told.
    Failure(Failure),
}

impl Stop {
    /// What a person is told.
    pub async fn explained(self, client: &Client) -> Failure {
        match self {
            Self::Client(error) => Failure::explain(client, error).await,
            Self::Failure(failure) => failure,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_come_best_first() {
        let names = ["orders", "orders-retry", "payments"].map(str::to_owned);
        assert_eq!(similar("order", &names), ["orders", "orders-retry"]);
        assert_eq!(similar("Paymnets", &names), ["payments"]);
        assert!(similar("zzz", &names).is_empty());
        assert!(similar("nobench", &["b".to_owned(), "o".to_owned()]).is_empty());
    }

    #[test]
    fn a_broker_that_lacks_an_api_was_reached() {
        let error = ConnectionError::Unsupported {
            address: "old:9092".into(),
            api: "ListPartitionReassignments",
        };
        let failure = Failure::from(Error::from(error));
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.to_string().ends_with(TOO_OLD), "{failure}");
    }

    #[test]
    fn a_batch_that_is_refused_for_its_size_is_told_with_the_setting_that_bounds_it() {
        let told = |code| Failure::from(Error::refused("t-0", code, None)).to_string();
        let over_message = told(ErrorCode::MessageTooLarge);
        let over_segment = told(ErrorCode::RecordListTooLarge);
        assert!(
            over_message.contains("max.message.bytes="),
            "{over_message}"
        );
        assert!(over_segment.contains("segment.bytes="), "{over_segment}");
        assert!(
            !over_segment.contains("max.message.bytes"),
            "{over_segment}"
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit, Exit::Done);
    }
}
