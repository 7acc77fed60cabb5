//! `milena cluster lease --self`: what Kubernetes runs before it stops a broker's container (preStop).
//!
//! It asks the broker beside it for its own stop lease, once a second, and returns when the broker may stop. Waiting is
//! given up where it helps nobody:
//!
//! - the cluster is being stopped as a whole,
//! - most voters of the metadata quorum may stop or are stopping, so that the quorum will go anyway,
//! - the quorum could not be asked for 30 s,
//! - every broker of the cluster stops, as when a namespace is deleted or all machines are shut down,
//! - the broker's name among its peers is none any more: the cluster's Service was deleted, and so was the cluster,
//! - what is left of the grace period is for the stop itself.
//!
//! It never fails: the container is stopped whatever it says.

use std::time::{Duration, Instant};

use milena_metadata::{GrantedLease, LeaseAnswer};
use serde_json::json;
use tokio::time::{sleep, timeout_at};

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
/// A name comes and goes with its pod, which is there as long as this runs. Kubernetes looks at a namespace that is being
/// deleted every five seconds as long as something goes, and then again after half the pods' grace period: what waits here
/// for long keeps the namespace for minutes.
const NAMELESS_MAX: Duration = Duration::from_secs(4);
/// The same where the name that every Kubernetes cluster has is none either: names may not be known for another reason.
const UNNAMED_MAX: Duration = Duration::from_secs(30);
/// Until nobody is left to be waited for: of all brokers that stop at one moment none comes back for the others. Longer than
/// the hooks take to begin.
const ALL_STOP_MAX: Duration = Duration::from_secs(3);
/// Of another broker, which may have gone meanwhile.
const PEER_ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// The API server's Service.
const ALWAYS_A_NAME: &str = "kubernetes.default.svc:443";
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
    AllStop { brokers: usize },
    Unasked(Failure),
    Nameless { address: String, after: Duration },
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
    let mut named = Named::since(begun);
    let mut all = AllStop::since(begun);
    let mut teller = Teller::default();
    loop {
        let blocked = match all.while_waited_for(ask(http, path)).await {
            Ok(Answer::Ends(end)) => return end,
            Ok(Answer::Blocked {
                why,
                nameless,
                all_stop,
            }) => {
                asked_last = Instant::now();
                all.learn(all_stop, asked_last);
                if let Some(end) = named.look(nameless, Instant::now()) {
                    return end;
                }
                why
            }
            Err(failure) if asked_last.elapsed() >= UNASKED_MAX => return End::Unasked(failure),
            Err(failure) => failure.text().to_owned(),
        };
        if let Some(end) = all.over(Instant::now()) {
            return end;
        }
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
        nameless: Option<Nameless>,
        /// How many brokers there are, where all of them stop.
        all_stop: Option<usize>,
    },
}

/// The broker's name among its peers is none.
#[derive(Debug, PartialEq)]
struct Nameless {
    address: String,
    /// Others are.
    others_are_named: bool,
}

/// Since when the broker has had no name.
struct Named {
    last: Instant,
    /// The last moment at which no name could be relied on.
    relied_last: Instant,
}

impl Named {
    fn since(begun: Instant) -> Self {
        Self {
            last: begun,
            relied_last: begun,
        }
    }

    fn look(&mut self, nameless: Option<Nameless>, now: Instant) -> Option<End> {
        let Some(nameless) = nameless else {
            *self = Self::since(now);
            return None;
        };
        if !nameless.others_are_named {
            self.relied_last = now;
        }
        let is_over = now - self.relied_last >= NAMELESS_MAX || now - self.last >= UNNAMED_MAX;
        is_over.then(|| End::Nameless {
            address: nameless.address,
            after: now - self.last,
        })
    }
}

/// Since when all brokers have been stopping. What was answered last counts on where nobody answers any more: those that go
/// first take the quorum along.
struct AllStop {
    brokers: Option<usize>,
    not_all_last: Instant,
}

impl AllStop {
    fn since(begun: Instant) -> Self {
        Self {
            brokers: None,
            not_all_last: begun,
        }
    }

    /// How many brokers there are, where all of them stop.
    fn learn(&mut self, brokers: Option<usize>, now: Instant) {
        self.brokers = brokers;
        if brokers.is_none() {
            self.not_all_last = now;
        }
    }

    fn over(&self, now: Instant) -> Option<End> {
        let brokers = self.brokers?;
        (now - self.not_all_last >= ALL_STOP_MAX).then_some(End::AllStop { brokers })
    }

    /// An answer, awaited for no longer than the others are.
    async fn while_waited_for(
        &self,
        asked: impl Future<Output = Result<Answer, Failure>>,
    ) -> Result<Answer, Failure> {
        if self.brokers.is_none() {
            return asked.await;
        }
        let until = self.not_all_last + ALL_STOP_MAX;
        let none = |_| Failure::new(Exit::Unreachable, "no answer while the others stop");
        timeout_at(until.into(), asked).await.map_err(none)?
    }
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
    if let Some(trouble) = cluster.quorum_trouble {
        // A leader that no majority answers refuses leases all the same: that is no word of the quorum.
        let brokers: Vec<ShownBroker> = http.get("/v1/brokers").await?;
        let undecided = || Failure::new(Exit::Unreachable, trouble);
        return most_stop(&quorum, &brokers)
            .map(Answer::Ends)
            .ok_or_else(undecided);
    }
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
    let all_stop = all_stop(http, itself.id, &brokers).await;
    let own = brokers.into_iter().find(|broker| broker.id == itself.id);
    let address = own.and_then(|mut own| own.endpoints.remove(PEERS));
    Ok(Answer::Blocked {
        why: refused_in_words(&refusal),
        nameless: nameless(address).await,
        all_stop,
    })
}

/// How many brokers there are, where each of them has stopped in order, or has somebody beside it who waits as this does.
async fn all_stop(http: &Http, own: i32, brokers: &[ShownBroker]) -> Option<usize> {
    let others = brokers.iter().filter(|broker| broker.id != own);
    for broker in others.filter(|broker| !broker.stopping) {
        // Elsewhere than on Kubernetes HTTP may have another port on each broker; there nobody runs this.
        let host = broker.endpoints.get(PEERS)?.rsplit_once(':')?.0;
        let peer = http.at(host)?.within(PEER_ANSWERS_WITHIN);
        let shown: ShownSelf = peer.get("/v1/brokers/self").await.ok()?;
        if !shown.waits_to_stop {
            return None;
        }
    }
    Some(brokers.len())
}

/// The address, where its name is known not to be one.
async fn nameless(address: Option<String>) -> Option<Nameless> {
    let address = address?;
    let found = tokio::net::lookup_host(&address).await.map(drop);
    if !found.is_err_and(|error| error.to_string().contains(NO_SUCH_NAME)) {
        return None;
    }
    Some(Nameless {
        address,
        others_are_named: tokio::net::lookup_host(ALWAYS_A_NAME).await.is_ok(),
    })
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
            Self::AllStop { brokers } => format!(
                "the broker stops without a lease: all {brokers} brokers have been stopping for {} s",
                ALL_STOP_MAX.as_secs()
            ),
            Self::Unasked(failure) => format!(
                "the broker stops without a lease: the metadata quorum could not be asked for {} s: {}",
                UNASKED_MAX.as_secs(),
                failure.text()
            ),
            Self::Nameless { address, after } => format!(
                "the broker stops without a lease: {address} has been no name for {} s, the cluster was deleted",
                after.as_secs()
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
    async fn all_stop_only_where_every_other_broker_says_so() {
        let nobody = Http::new(vec!["127.0.0.1:1".to_owned()], ANSWER_WITHIN);
        let mut brokers = vec![
            broker(0, false, None),
            broker(1, true, None),
            broker(2, true, None),
        ];
        assert_eq!(all_stop(&nobody, 0, &brokers).await, Some(3));
        // One that can't be asked may be there again at any moment.
        brokers[2].stopping = false;
        let peers = [(PEERS.to_owned(), "127.0.0.1:9091".to_owned())];
        brokers[2].endpoints = peers.into();
        assert_eq!(all_stop(&nobody, 0, &brokers).await, None);
    }

    #[test]
    fn the_last_of_all_that_stop_does_not_wait_for_a_quorum_that_went_with_the_others() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut all = AllStop::since(begun);
        assert!(all.over(at(20)).is_none(), "nobody has said so yet");
        all.learn(None, at(20));
        all.learn(Some(3), at(21));
        assert!(all.over(at(22)).is_none());
        assert!(all.over(at(23)).is_some(), "nobody has answered since");
        all.learn(None, at(24));
        assert!(all.over(at(60)).is_none(), "one stays after all");
    }

    #[test]
    fn a_name_that_is_gone_while_others_are_there_ends_the_wait_soon_and_a_failing_name_server_late()
     {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let nameless = |others_are_named| {
            let address = "main-broker-0.main-peers.kafka.svc:9091".to_owned();
            Some(Nameless {
                address,
                others_are_named,
            })
        };
        let mut named = Named::since(begun);
        assert!(named.look(None, at(10)).is_none());
        assert!(named.look(nameless(true), at(11)).is_none());
        assert!(named.look(nameless(false), at(12)).is_none());
        assert!(named.look(nameless(true), at(15)).is_none());
        let end = named.look(nameless(true), at(16)).unwrap();
        assert!(end.in_words().contains("no name for 6 s"), "{end:?}");
        let mut named = Named::since(begun);
        for seconds in 1..30 {
            assert!(named.look(nameless(false), at(seconds)).is_none());
        }
        assert!(named.look(nameless(false), at(30)).is_some());
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
