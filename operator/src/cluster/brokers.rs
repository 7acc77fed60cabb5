//! What brokers answer under `/v1`, as far as the operator reads it. Fields that this version does not know are left
//! out, and those that an older broker does not tell have a default.

use serde::Deserialize;

/// `GET /v1/cluster`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct ShownCluster {
    /// The cluster's id.
    pub cluster_id: String,
    /// Who answers.
    pub answered_by: i32,
    /// It is being stopped as a whole.
    #[serde(default)]
    pub stopping: bool,
    /// The quorum, where somebody leads it.
    pub quorum: Option<ShownQuorum>,
    /// How many partitions are how.
    pub partitions: ShownHealth,
}

/// The metadata quorum.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct ShownQuorum {
    /// Its leader.
    pub leader: i32,
    /// Those that vote.
    pub voters: Vec<ShownMember>,
    /// Those that follow.
    #[serde(default)]
    pub learners: Vec<ShownMember>,
}

/// A voter that was silent for longer does not count as there.
const SILENT_MS_MAX: u64 = 5_000;

impl ShownQuorum {
    /// Whether its leader has heard of a member lately. One that it never heard does not answer either.
    pub fn answers(&self, member: &ShownMember) -> bool {
        let heard = member.silent_ms.is_some_and(|ms| ms <= SILENT_MS_MAX);
        member.broker == self.leader || heard
    }

    /// How many voters answer, and how many there are.
    pub fn heard(&self) -> (usize, usize) {
        let answering = self.voters.iter().filter(|voter| self.answers(voter));
        (answering.count(), self.voters.len())
    }

    /// Whether most voters answer. One that leads without them may have been followed by another.
    pub fn hears_majority(&self) -> bool {
        let (answering, all) = self.heard();
        answering > all / 2
    }
}

/// A member of the quorum.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct ShownMember {
    /// Its broker.
    pub broker: i32,
    /// Entries that it lacks, where that is known.
    pub lag: Option<i64>,
    /// Milliseconds since it last answered.
    pub silent_ms: Option<u64>,
}

/// How many partitions are in which condition.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[allow(missing_docs)] // the broker's documentation of /v1/cluster has them
pub struct ShownHealth {
    pub all: usize,
    pub offline: usize,
    pub under_replicated: usize,
    pub under_min_isr: usize,
    pub at_min_isr: usize,
    #[serde(default)]
    pub reassigning: usize,
    #[serde(default)]
    pub misplaced: usize,
}

/// What a broker does.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Down, or not caught up since its start.
    #[default]
    #[serde(alias = "starting")]
    Fenced,
    /// It ends in order.
    Stopping,
    /// It takes no replicas and no leadership.
    Draining,
    /// It serves.
    Serving,
}

/// A broker of `GET /v1/brokers`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct ShownBroker {
    /// Its number.
    pub id: i32,
    /// What it does.
    pub state: State,
    /// It is to be emptied.
    pub draining: bool,
    /// Partitions that it leads.
    pub leaders: usize,
    /// Its replicas.
    pub replicas: usize,
    /// Partitions that it leads and that lack a replica.
    pub under_replicated: usize,
    /// Its replicas that are not in sync.
    #[serde(default)]
    pub out_of_sync: usize,
    /// Its replicas beside which none is in sync; absent where the broker that answers does not tell.
    pub sole: Option<usize>,
    /// The first of those.
    #[serde(default)]
    pub sole_first: Vec<String>,
    /// Milliseconds since 1970 at which its lease ends, where it holds one.
    pub lease_expires_ms: Option<i64>,
    /// Its machine.
    pub node: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its software.
    #[serde(default)]
    pub software: String,
}

/// The answer to a stop lease's request, granted or refused (with the status 409).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LeaseAnswer {
    /// The broker may stop.
    Granted(Granted),
    /// Not now.
    Refused(Refused),
}

/// A granted lease.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Granted {
    /// Partitions that pause, as the policy allows; the first of them.
    #[serde(default)]
    pub pausing: Vec<(String, i32)>,
    /// How many pause.
    #[serde(default)]
    pub pausing_count: usize,
}

/// What blocks a lease.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Refused {
    /// Other brokers' leases, where those are as many as may be.
    #[serde(default)]
    pub leases_out: Vec<i32>,
    /// The voters that do not suffice.
    pub quorum: Option<QuorumBlocks>,
    /// Partitions that would have too few replicas; the first.
    #[serde(default)]
    pub blocking: Vec<Blocking>,
    /// How many those are.
    #[serde(default)]
    pub blocking_count: usize,
    /// Partitions for which no broker may ever stop; the first.
    #[serde(default)]
    pub never_safe: Vec<(String, i32)>,
    /// How many those are.
    #[serde(default)]
    pub never_safe_count: usize,
}

/// Voters that would stay.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct QuorumBlocks {
    /// All.
    pub voters: usize,
    /// Those that stay up and are caught up.
    pub staying: usize,
    /// The others.
    #[serde(default)]
    pub behind: Vec<i32>,
}

/// A partition that blocks.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Blocking {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Replicas that it needs without the broker.
    pub needed: usize,
    /// Those that it would have.
    pub staying: usize,
    /// The others.
    #[serde(default)]
    pub followers: Vec<Follower>,
}

/// A replica that does not count.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Follower {
    /// Its broker.
    pub broker: i32,
    /// `down`, `out_of_sync`, `behind`, `holds_lease`.
    pub reason: String,
    /// How far behind, where its leader said.
    pub bytes_behind: Option<u64>,
}

/// Of the sentences that say what blocks a broker, so many are shown; the rest is counted.
const SENTENCES_MAX: usize = 3;

impl Refused {
    /// Whether nothing blocks but partitions that would have to be moved first.
    pub fn only_never_safe(&self) -> bool {
        let else_free =
            self.leases_out.is_empty() && self.quorum.is_none() && self.blocking.is_empty();
        else_free && !self.never_safe.is_empty()
    }

    /// What blocks, in sentences: at most three and a count of the others.
    pub fn sentences(&self) -> Vec<String> {
        let mut all = Vec::new();
        if !self.leases_out.is_empty() {
            all.push(format!("{} may stop already", brokers(&self.leases_out)));
        }
        if let Some(quorum) = &self.quorum {
            let behind = match quorum.behind.is_empty() {
                true => String::new(),
                false => format!("; {} down or behind", brokers(&quorum.behind)),
            };
            let QuorumBlocks {
                voters, staying, ..
            } = quorum;
            all.push(format!("{staying} of {voters} voters would stay{behind}"));
        }
        let never = self.never_safe.iter().map(|(topic, partition)| {
            format!("{topic}-{partition}: it has too few replicas for any of its brokers to stop")
        });
        let blocking = self.blocking.iter().map(Blocking::sentence);
        let listed = self.blocking.len() + self.never_safe.len();
        let count = all.len() + (self.blocking_count + self.never_safe_count).max(listed);
        all.extend(blocking.chain(never));
        all.truncate(SENTENCES_MAX);
        if count > all.len() {
            all.push(format!("and {} more", count - all.len()));
        }
        all
    }
}

impl Blocking {
    fn sentence(&self) -> String {
        let Self {
            topic,
            partition,
            needed,
            staying,
            ..
        } = self;
        let Some(first) = self.followers.first() else {
            return format!("{topic}-{partition}: {staying} of {needed} replicas would stay");
        };
        let why = match (first.reason.as_str(), first.bytes_behind) {
            ("behind", Some(bytes)) => format!("is {} behind", bytes_in_words(bytes)),
            ("behind", None) => "is behind".to_owned(),
            ("out_of_sync", Some(bytes)) => {
                format!("is not in sync, {} behind", bytes_in_words(bytes))
            }
            ("out_of_sync", None) => "is not in sync".to_owned(),
            ("holds_lease", _) => "may stop already".to_owned(),
            _ => "is down".to_owned(),
        };
        format!("{topic}-{partition}: broker {} {why}", first.broker)
    }
}

/// `broker 1`, or `brokers 1, 2`.
pub fn brokers(ids: &[i32]) -> String {
    let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
    match ids.len() {
        1 => format!("broker {}", words[0]),
        _ => format!("brokers {}", words.join(", ")),
    }
}

/// Rounded, as a status shows it: `4.1 MiB`.
pub fn bytes_in_words(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} bytes"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

/// `POST /v1/plans/{kind}`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct ShownPlan {
    /// What moves.
    #[serde(default)]
    pub moves: Vec<Move>,
    /// What can't.
    #[serde(default)]
    pub stuck: Vec<NotMoved>,
    /// What the quorum refused.
    #[serde(default)]
    pub refused: Vec<NotMoved>,
}

/// A partition that moves.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Move {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Its brokers now, or where it is going already.
    #[serde(default)]
    pub from: Vec<i32>,
    /// Its brokers then.
    #[serde(default)]
    pub to: Vec<i32>,
}

/// A partition that stays.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct NotMoved {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_told_in_three_sentences_and_a_count() {
        let follower = |reason: &str, bytes: Option<u64>| json!([{ "broker": 2, "reason": reason, "bytes_behind": bytes }]);
        let answer = json!({ "refused": {
            "leases_out": [1],
            "quorum": { "voters": 3, "staying": 1, "behind": [2] },
            "blocking": [{ "topic": "orders", "partition": 3, "needed": 2, "staying": 1,
                           "followers": follower("behind", Some(4_300_000)) }],
            "blocking_count": 9,
            "never_safe": [["logs", 0]], "never_safe_count": 1
        }});
        let LeaseAnswer::Refused(refused) = serde_json::from_value(answer).unwrap() else {
            panic!("not refused");
        };
        assert_eq!(
            refused.sentences(),
            [
                "broker 1 may stop already",
                "1 of 3 voters would stay; broker 2 down or behind",
                "orders-3: broker 2 is 4.1 MiB behind",
                "and 9 more",
            ]
        );
    }

    #[test]
    fn what_newer_brokers_tell_besides_is_no_error() {
        let broker = json!({ "id": 1, "state": "serving", "draining": false, "leaders": 1, "replicas": 2,
            "under_replicated": 0, "lease_expires_ms": null, "node": "n", "rack": null, "of_the_future": [] });
        let broker: ShownBroker = serde_json::from_value(broker).unwrap();
        assert_eq!(
            (broker.state, broker.node.as_deref()),
            (State::Serving, Some("n"))
        );
    }
}
