//! `milena cluster describe`.

use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::http::Http;
use crate::cli::output::{self, Format};
use crate::http::v1::brokers::{ShownBroker, State};
use crate::http::v1::cluster::{ShownCluster, ShownHealth, ShownMember};
use crate::http::v1::unhealthy::ShownUnhealthy;

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
    let states: Vec<&str> = states.map(|(_, what)| *what).collect();
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
    let quorum = match &cluster.quorum {
        Some(quorum) => format!(
            "quorum: broker {} leads in term {}, {} voters, committed {} of {}",
            quorum.leader,
            quorum.term,
            quorum.voters.len(),
            quorum.committed_index,
            quorum.last_index
        ),
        None => "quorum: no leader that answers".to_owned(),
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
        state(broker),
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

fn state(broker: &ShownBroker) -> String {
    let state = match broker.state {
        State::Fenced if broker.draining => "fenced, draining",
        State::Fenced => "fenced",
        State::Stopping => "stopping",
        State::Draining => "draining",
        State::Serving => "serving",
        State::Starting => "starting",
    };
    match broker.lease_expires_ms {
        Some(_) => format!("{state}, may stop"),
        None => state.to_owned(),
    }
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

    #[test]
    fn a_broker_is_shown_with_the_address_that_clients_use() {
        let told = serde_json::json!({
            "id": 1, "state": "serving", "draining": false, "leaders": 0, "replicas": 0, "under_replicated": 0,
            "out_of_sync": 0, "software": "test", "epoch": 1, "incarnation": "",
            "endpoints": { "INTERNAL": "host:9091", "PEERS": "host:9092" }, "peers_listener": "INTERNAL"
        });
        let broker = serde_json::from_value(told).unwrap();
        assert_eq!(address(&broker), "host:9092");
    }

    #[test]
    fn a_partition_without_a_leader_is_named_with_who_may_be_elected() {
        let told = serde_json::json!({
            "topic": "t", "partition": 3, "offline": true, "under_min_isr": true, "under_replicated": false,
            "lossy": false, "leader": null, "replicas": [1, 2, 3], "in_sync": [2], "electable": [2, 3],
            "elected": "in_sync"
        });
        let row = named(&serde_json::from_value(told).unwrap());
        let state = "offline, below min.insync.replicas";
        assert_eq!(row, ["t-3", state, "none", "1,2,3", "2", "2,3"]);
    }
}
