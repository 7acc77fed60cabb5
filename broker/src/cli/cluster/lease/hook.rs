//! `milena cluster lease --self`: what Kubernetes runs before it stops a broker's container (preStop).
//!
//! It asks the broker beside it for its own stop lease, once a second, and returns when the broker may stop. Waiting is
//! given up where it helps nobody:
//!
//! - the cluster is being stopped as a whole,
//! - most voters of the metadata quorum may stop or are stopping, so that the quorum will go anyway,
//! - the quorum could not be asked for 30 s,
//! - the broker's name among its peers has been no name for 30 s: the cluster's Service was deleted, and so was the cluster,
//! - what is left of the grace period is for the stop itself.
//!
//! It never fails: the container is stopped whatever it says.

use std::time::{Duration, Instant};

use milena_metadata::{GrantedLease, LeaseAnswer};
use serde_json::json;
use tokio::time::sleep;

use super::{CONFLICT, granted_in_words, refused_in_words};
use crate::cli::failure::{Exit, Failure};
use crate::cli::http::Http;
use crate::cli::output::{self, Format};
use crate::http::v1::answering::ShownSelf;
use crate::http::v1::brokers::ShownBroker;
use crate::http::v1::cluster::{ShownCluster, ShownQuorum};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// One answer: a lease is decided within 3 s where the quorum is there, and it is tried for 10 s where it is not.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// An election takes less than a second, a voter's restart a few.
const UNASKED_MAX: Duration = Duration::from_secs(30);
/// A name comes and goes with its pod, which is there as long as this runs.
const NAMELESS_MAX: Duration = Duration::from_secs(30);
/// The listener that brokers have for each other on Kubernetes.
const PEERS: &str = "PEERS";
/// What glibc says of a name that is none, other than of a resolver that does not answer (`EAI_NONAME`); there is no code.
const NO_SUCH_NAME: &str = "Name or service not known";
/// What blocks is told again where it has changed, so often at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Why it waits no longer.
#[derive(Debug)]
enum End {
    Granted(Box<GrantedLease>),
    ClusterStopping,
    MostVotersStop { stopping: Vec<i32>, voters: usize },
    Unasked(Failure),
    Nameless { address: String },
    TimeOver { after: Duration, blocked: String },
}

/// Waits until the broker may stop, at most for `wait`, and says why it waits no longer.
pub(super) async fn run(
    http: &Http,
    path: &str,
    wait: Duration,
    format: Format,
) -> Result<(), Failure> {
    let http = http.clone().within(ANSWER_WITHIN);
    let end = until_end(&http, path, wait).await;
    match format {
        Format::Json => {
            let granted = matches!(end, End::Granted(_));
            output::json(&json!({ "granted": granted, "why": end.in_words() }))
        }
        Format::Table => output::line(&end.in_words()),
    }
}

async fn until_end(http: &Http, path: &str, wait: Duration) -> End {
    let begun = Instant::now();
    let mut asked_last = begun;
    let mut named_last = begun;
    let mut teller = Teller::default();
    loop {
        let blocked = match ask(http, path).await {
            Ok(Answer::Ends(end)) => return end,
            Ok(Answer::Blocked { why, nameless }) => {
                asked_last = Instant::now();
                match nameless {
                    Some(address) if named_last.elapsed() >= NAMELESS_MAX => {
                        return End::Nameless { address };
                    }
                    Some(_) => {}
                    None => named_last = Instant::now(),
                }
                why
            }
            Err(failure) if asked_last.elapsed() >= UNASKED_MAX => return End::Unasked(failure),
            Err(failure) => failure.text().to_owned(),
        };
        teller.tell(&blocked);
        let after = begun.elapsed();
        if after + ASK_EVERY > wait {
            return End::TimeOver { after, blocked };
        }
        sleep(ASK_EVERY).await;
    }
}

enum Answer {
    Ends(End),
    Blocked {
        why: String,
        /// The broker's address among its peers, where its name is none.
        nameless: Option<String>,
    },
}

async fn ask(http: &Http, path: &str) -> Result<Answer, Failure> {
    let cluster: ShownCluster = http.get("/v1/cluster").await?;
    if cluster.stopping {
        return Ok(Answer::Ends(End::ClusterStopping));
    }
    let quorum = cluster.quorum.ok_or_else(|| {
        Failure::new(
            Exit::Unreachable,
            "the metadata quorum has no leader that answers",
        )
    })?;
    let answer = http.post(path, "").await?;
    let told: LeaseAnswer = match answer.status {
        CONFLICT => answer.parse()?,
        _ => answer.read()?,
    };
    let refusal = match told {
        LeaseAnswer::Granted(granted) => return Ok(Answer::Ends(End::Granted(Box::new(granted)))),
        LeaseAnswer::Refused(refusal) => refusal,
    };
    let brokers: Vec<ShownBroker> = http.get("/v1/brokers").await?;
    if let Some(end) = most_stop(&quorum, &brokers) {
        return Ok(Answer::Ends(end));
    }
    let itself: ShownSelf = http.get("/v1/brokers/self").await?;
    let own = brokers.into_iter().find(|broker| broker.id == itself.id);
    let address = own.and_then(|mut own| own.endpoints.remove(PEERS));
    Ok(Answer::Blocked {
        why: refused_in_words(&refusal),
        nameless: nameless(address).await,
    })
}

/// The address, where its name is known not to be one.
async fn nameless(address: Option<String>) -> Option<String> {
    let address = address?;
    let found = tokio::net::lookup_host(&address).await.map(drop);
    let is_none = found.is_err_and(|error| error.to_string().contains(NO_SUCH_NAME));
    is_none.then_some(address)
}

/// Whether more voters than the quorum can do without hold a lease, or are stopping or have stopped in order.
fn most_stop(quorum: &ShownQuorum, brokers: &[ShownBroker]) -> Option<End> {
    let stops = |id: i32| {
        let broker = brokers.iter().find(|broker| broker.id == id);
        broker.is_some_and(|broker| broker.stopping || broker.lease_expires_ms.is_some())
    };
    let voters = quorum.voters.iter().map(|voter| voter.broker);
    let stopping: Vec<i32> = voters.filter(|id| stops(*id)).collect();
    let voters = quorum.voters.len();
    (stopping.len() * 2 > voters).then_some(End::MostVotersStop { stopping, voters })
}

impl End {
    fn in_words(&self) -> String {
        match self {
            Self::Granted(granted) => granted_in_words(granted),
            Self::ClusterStopping => {
                "the broker stops without a lease: the cluster is being stopped as a whole"
                    .to_owned()
            }
            Self::MostVotersStop { stopping, voters } => {
                let ids: Vec<String> = stopping.iter().map(i32::to_string).collect();
                format!(
                    "the broker stops without a lease: of {voters} voters {} stop or may stop, brokers {}",
                    ids.len(),
                    ids.join(", ")
                )
            }
            Self::Unasked(failure) => format!(
                "the broker stops without a lease: the metadata quorum could not be asked for {} s: {}",
                UNASKED_MAX.as_secs(),
                failure.text()
            ),
            Self::Nameless { address } => format!(
                "the broker stops without a lease: {address} has been no name for {} s, the cluster was deleted",
                NAMELESS_MAX.as_secs()
            ),
            Self::TimeOver { after, blocked } => format!(
                "the broker stops without a lease: the time for waiting is over, after {} s: {blocked}",
                after.as_secs()
            ),
        }
    }
}

/// Says on stderr what is waited for, where that is news.
#[derive(Default)]
struct Teller {
    told: Option<(Instant, String)>,
}

impl Teller {
    fn tell(&mut self, blocked: &str) {
        let is_news = self
            .told
            .as_ref()
            .is_none_or(|(when, what)| what != blocked && when.elapsed() >= TELL_EVERY);
        if is_news {
            eprintln!("waiting: {blocked}");
            self.told = Some((Instant::now(), blocked.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::v1::brokers::State;
    use crate::http::v1::cluster::ShownMember;

    fn broker(id: i32, stopping: bool, lease_expires_ms: Option<i64>) -> ShownBroker {
        ShownBroker {
            id,
            state: State::Serving,
            draining: false,
            stopping,
            leaders: 0,
            replicas: 0,
            under_replicated: 0,
            out_of_sync: 0,
            sole: 0,
            sole_first: Vec::new(),
            lease_expires_ms,
            node: None,
            rack: None,
            pool: None,
            software: "test".to_owned(),
            epoch: 1,
            incarnation: String::new(),
            endpoints: std::collections::BTreeMap::new(),
            peers_listener: None,
        }
    }

    fn quorum(voters: std::ops::Range<i32>) -> ShownQuorum {
        let voter = |broker| ShownMember {
            broker,
            directory: None,
            lag: Some(0),
            silent_ms: Some(0),
        };
        ShownQuorum {
            leader: 0,
            term: 1,
            last_index: 1,
            committed_index: 1,
            voters: voters.map(voter).collect(),
            learners: Vec::new(),
        }
    }

    #[test]
    fn nobody_is_waited_for_once_most_voters_stop() {
        let mut brokers = vec![
            broker(0, false, Some(1)),
            broker(1, false, None),
            broker(2, false, None),
            broker(3, true, None),
        ];
        assert!(
            most_stop(&quorum(0..3), &brokers).is_none(),
            "one of three, and one that does not vote"
        );
        brokers[1].stopping = true;
        let end = most_stop(&quorum(0..3), &brokers).unwrap();
        assert!(
            end.in_words()
                .contains("of 3 voters 2 stop or may stop, brokers 0, 1")
        );
        assert!(
            most_stop(&quorum(0..5), &brokers).is_some(),
            "three of five"
        );
        assert!(most_stop(&quorum(0..7), &brokers).is_none());
    }

    #[tokio::test]
    async fn a_name_that_is_none_is_told_from_one_that_is() {
        let address = |text: &str| Some(text.to_owned());
        assert_eq!(nameless(None).await, None);
        assert_eq!(nameless(address("127.0.0.1:9091")).await, None);
        assert_eq!(nameless(address("localhost:9091")).await, None);
    }

    #[tokio::test]
    async fn a_broker_that_does_not_answer_is_not_waited_for_beyond_the_time() {
        let nobody = Http::new(vec!["127.0.0.1:1".to_owned()], ANSWER_WITHIN);
        let end = until_end(&nobody, "/", Duration::ZERO).await;
        let words = end.in_words();
        assert!(words.contains("time for waiting is over"), "{words}");
        assert!(words.contains("127.0.0.1:1"), "{words}");
    }
}
