//! `milena cluster describe`.

use std::time::Duration;

use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::http::Http;
use crate::cli::output::{self, Format};
use crate::http::v1::brokers::{ShownBroker, State};
use crate::http::v1::cluster::{ShownCluster, ShownHealth, ShownMember};
use crate::http::v1::unhealthy::ShownUnhealthy;
use crate::quorum::THERE_SILENT_MAX;

/// Partitions that a person is shown by name.
const UNHEALTHY_MAX: usize = 20;

const HEADERS: [&str; 10] = [
    "broker",
    "address",
    "node",
    "rack",
    "state",
    "leaders",
    "replicas",
    "under-replicated",
    "quorum",
    "lag",
];

/// Asks one broker for all of it.
pub(super) async fn run(http: &Http, format: Format) -> Result<(), Failure> {
    let cluster: ShownCluster = http.get("/v1/cluster").await?;
    let brokers: Vec<ShownBroker> = http.get("/v1/brokers").await?;
    // A broker of older software does not tell; how many there are, it does.
    let unhealthy: Option<Vec<ShownUnhealthy>> = http.get("/v1/unhealthy").await.ok();
    if format == Format::Json {
        let all = json!({ "cluster": cluster, "brokers": brokers, "unhealthy": unhealthy });
        return output::json(&all);
    }
    output::line(&head(&cluster))?;
    let rows: Vec<_> = brokers.iter().map(|broker| row(broker, &cluster)).collect();
    output::table(HEADERS, &rows)?;
    output::line(&health(&cluster.partitions))?;
    name(&unhealthy.unwrap_or_default())
}

/// Names the worst.
fn name(unhealthy: &[ShownUnhealthy]) -> Result<(), Failure> {
    if unhealthy.is_empty() {
        return Ok(());
    }
    let rows = unhealthy.iter().take(UNHEALTHY_MAX).map(named);
    let headers = [
        "partition",
        "state",
        "leader",
        "replicas",
        "in sync",
        "may be elected",
    ];
    output::table(headers, &rows.collect::<Vec<_>>())?;
    match unhealthy.len().saturating_sub(UNHEALTHY_MAX) {
        0 => Ok(()),
        more => output::line(&format!("and {more} more: -o json has all")),
    }
}

fn named(one: &ShownUnhealthy) -> [String; 6] {
    let ids = |ids: &[i32]| {
        let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
        ids.join(",")
    };
    let states = [
        (one.offline, "offline"),
        (one.under_min_isr, "below min.insync.replicas"),
        (one.under_replicated, "under-replicated"),
        (one.lossy, "may lack records"),
    ];
    let states = states.iter().filter(|(is_so, _)| *is_so);
    let states = states.map(|(_, what)| (*what).to_owned());
    let shut = |id: &i32| format!("its log on broker {id} could not be opened");
    let states: Vec<String> = states.chain(one.unopened.iter().map(shut)).collect();
    [
        format!("{}-{}", one.topic, one.partition),
        states.join(", "),
        one.leader.map_or("none".to_owned(), |id| id.to_string()),
        ids(&one.replicas),
        ids(&one.in_sync),
        ids(&one.electable),
    ]
}

fn head(cluster: &ShownCluster) -> String {
    let quorum = match (&cluster.quorum_trouble, &cluster.quorum) {
        (Some(trouble), _) => format!("quorum: {trouble}"),
        (None, Some(quorum)) => format!(
            "quorum: broker {} leads in term {}, {} voters, committed {} of {}",
            quorum.leader,
            quorum.term,
            quorum.voters.len(),
            quorum.committed_index,
            quorum.last_index
        ),
        (None, None) => "quorum: no leader that answers".to_owned(),
    };
    format!("cluster {}  {quorum}", cluster.cluster_id)
}

fn row(broker: &ShownBroker, cluster: &ShownCluster) -> [String; HEADERS.len()] {
    let (part, lag) = part(broker.id, cluster);
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        broker.id.to_string(),
        address(broker),
        text(&broker.node),
        text(&broker.rack),
        state(broker, cluster),
        broker.leaders.to_string(),
        broker.replicas.to_string(),
        broker.under_replicated.to_string(),
        part.to_owned(),
        lag.map_or("-".to_owned(), |lag| lag.to_string()),
    ]
}

/// Where clients find it.
fn address(broker: &ShownBroker) -> String {
    let peers = broker.peers_listener.as_deref();
    let mut endpoints = broker.endpoints.iter();
    let found = endpoints.find(|(name, _)| Some(name.as_str()) != peers);
    found.map_or("-".to_owned(), |(_, address)| address.clone())
}

fn state(broker: &ShownBroker, cluster: &ShownCluster) -> String {
    let state = match broker.state {
        State::Fenced if broker.draining => "fenced, draining",
        State::Fenced => "fenced",
        State::Stopping => "stopping",
        State::Draining => "draining",
        // Nobody can have it fenced then.
        State::Serving if is_silent(broker.id, cluster) => "silent",
        State::Serving if is_hearsay(broker.id, cluster) => "serving, as last known",
        State::Serving => "serving",
        State::Starting => "starting",
    };
    match broker.lease_expires_ms {
        Some(_) => format!("{state}, may stop"),
        None => state.to_owned(),
    }
}

/// Whether the quorum has lost its majority, and this broker answers its leader no more.
fn is_silent(id: i32, cluster: &ShownCluster) -> bool {
    let Some(quorum) = cluster.quorum.as_ref().filter(|_| is_in_trouble(cluster)) else {
        return false;
    };
    let answers = |member: &ShownMember| {
        let silence = member.silent_ms.map(Duration::from_millis);
        silence.is_some_and(|silence| silence <= THERE_SILENT_MAX)
    };
    let members = quorum.voters.iter().chain(&quorum.learners);
    let mut members = members.filter(|member| member.broker == id).peekable();
    id != quorum.leader && members.peek().is_some() && !members.any(answers)
}

/// Whether nobody leads the quorum, so that whoever answers here knows nothing new of this broker.
fn is_hearsay(id: i32, cluster: &ShownCluster) -> bool {
    is_in_trouble(cluster) && cluster.quorum.is_none() && id != cluster.answered_by
}

fn is_in_trouble(cluster: &ShownCluster) -> bool {
    cluster.quorum_trouble.is_some()
}

/// What a broker is in the quorum, and how many entries it lacks.
fn part(id: i32, cluster: &ShownCluster) -> (&'static str, Option<i64>) {
    let Some(quorum) = &cluster.quorum else {
        return ("-", None);
    };
    let find = |members: &[ShownMember]| members.iter().find(|one| one.broker == id).cloned();
    if let (Some(_), Some(learner)) = (find(&quorum.voters), find(&quorum.learners)) {
        return ("voter on a lost disk", learner.lag);
    }
    if let Some(voter) = find(&quorum.voters) {
        let part = if quorum.leader == id {
            "leader"
        } else {
            "voter"
        };
        return (part, voter.lag);
    }
    match find(&quorum.learners) {
        Some(learner) => ("learner", learner.lag),
        None => ("-", None),
    }
}

fn health(health: &ShownHealth) -> String {
    let bad = [
        (health.offline, "offline"),
        (health.under_replicated, "under-replicated"),
        (health.under_min_isr, "below min.insync.replicas"),
        (health.misplaced, "misplaced"),
        (health.not_preferred, "not led by the preferred leader"),
        (health.reassigning, "on their way"),
        (health.lossy, "may lack records"),
    ];
    let bad = bad.iter().filter(|(count, _)| *count > 0);
    let bad: Vec<String> = bad.map(|(count, what)| format!("{count} {what}")).collect();
    match bad.is_empty() {
        true => format!("partitions: {}, all as they should be", health.all),
        false => format!("partitions: {}; {}", health.all, bad.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_partitions_is_named() {
        let mut of = ShownHealth {
            all: 12,
            offline: 0,
            under_replicated: 0,
            under_min_isr: 0,
            at_min_isr: 12,
            not_preferred: 0,
            reassigning: 0,
            lossy: 0,
            misplaced: 0,
        };
        assert_eq!(health(&of), "partitions: 12, all as they should be");
        (of.offline, of.misplaced) = (1, 2);
        assert_eq!(health(&of), "partitions: 12; 1 offline, 2 misplaced");
    }

    fn broker(id: i32) -> ShownBroker {
        let told = serde_json::json!({
            "id": id, "state": "serving", "draining": false, "leaders": 0, "replicas": 0, "under_replicated": 0,
            "out_of_sync": 0, "software": "test", "epoch": 1, "incarnation": "",
            "endpoints": { "INTERNAL": "host:9091", "PEERS": "host:9092" }, "peers_listener": "INTERNAL"
        });
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn a_broker_is_shown_with_the_address_that_clients_use() {
        assert_eq!(address(&broker(1)), "host:9092");
    }

    #[test]
    fn without_a_majority_it_says_so_and_who_is_silent_does_not_serve() {
        let member = |broker: i32, silent_ms: u64| serde_json::json!({ "broker": broker, "silent_ms": silent_ms });
        let told = serde_json::json!({
            "cluster_id": "c", "answered_by": 1, "stopping": false, "quorum_trouble": "no majority: voters 2 and 3 …",
            "quorum": {
                "leader": 1, "term": 2, "last_index": 9, "committed_index": 8,
                // Broker 3 has a new disk.
                "voters": [member(1, 0), member(2, 75_000), member(3, 75_000)],
                "learners": [member(3, 20)]
            },
            "partitions": {
                "all": 0, "offline": 0, "under_replicated": 0, "under_min_isr": 0, "at_min_isr": 0, "not_preferred": 0,
                "reassigning": 0, "lossy": 0, "misplaced": 0
            }
        });
        let mut cluster: ShownCluster = serde_json::from_value(told).unwrap();
        assert!(head(&cluster).ends_with("quorum: no majority: voters 2 and 3 …"));
        let states = |cluster: &ShownCluster| [1, 2, 3].map(|id| state(&broker(id), cluster));
        assert_eq!(states(&cluster), ["serving", "silent", "serving"]);
        let quorum = cluster.quorum.take();
        let hearsay = "serving, as last known";
        assert_eq!(states(&cluster), ["serving", hearsay, hearsay]);
        (cluster.quorum, cluster.quorum_trouble) = (quorum, None);
        assert_eq!(
            states(&cluster),
            ["serving"; 3],
            "who is silent will be fenced"
        );
    }

    #[test]
    fn a_partition_without_a_leader_is_named_with_who_may_be_elected() {
        let told = serde_json::json!({
            "topic": "t", "partition": 3, "offline": true, "under_min_isr": true, "under_replicated": false,
            "lossy": false, "leader": null, "replicas": [1, 2, 3], "in_sync": [2], "electable": [2, 3],
            "elected": "in_sync"
        });
        let mut told: ShownUnhealthy = serde_json::from_value(told).unwrap();
        let state = "offline, below min.insync.replicas";
        assert_eq!(named(&told), ["t-3", state, "none", "1,2,3", "2", "2,3"]);
        told.unopened = vec![2];
        let state = format!("{state}, its log on broker 2 could not be opened");
        assert_eq!(named(&told)[1], state);
    }
}
