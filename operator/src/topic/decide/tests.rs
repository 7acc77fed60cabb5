//! Decisions on values.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::super::status::next as status_after;
use super::*;

/// A case that owns what it borrows.
struct Given {
    topic: Topic,
    cluster: Option<KafkaCluster>,
    namespace: NamespaceView,
    older: Option<&'static str>,
    feed: Feed<'static>,
    known: Option<KnownTopic>,
    made: Option<&'static str>,
    tried: bool,
    gone: bool,
    refused: Option<&'static str>,
    moves: Seen<Option<Moving>>,
    misplaced: Seen<Vec<Misplaced>>,
}

impl Given {
    /// A Topic `t` with that spec, which nothing was done for yet.
    fn new(spec: Value) -> Self {
        let mut all = json!({ "clusterRef": { "name": "main" }, "partitions": 3 });
        let fields = spec.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(fields);
        let mut topic = Topic::new("t", serde_json::from_value(all).unwrap());
        topic.metadata.namespace = Some("ns".into());
        topic.metadata.generation = Some(1);
        Self {
            topic,
            cluster: Some(cluster(json!({}))),
            namespace: NamespaceView::default(),
            older: None,
            feed: Feed::Live,
            known: None,
            made: None,
            tried: false,
            gone: false,
            refused: None,
            moves: Seen::NotYet,
            misplaced: Seen::NotYet,
        }
    }

    /// The same with its topic made, held and in step.
    fn in_step(spec: Value) -> Self {
        let mut given = Self::new(spec).held().knows("id");
        let wanted = Wanted::of(&given.topic).unwrap();
        let known = given.known.as_mut().unwrap();
        known.configs = wanted.configs;
        known.replication_factor = wanted.replication_factor.unwrap_or(1);
        given.made = Some("id");
        given.settle();
        given.made = None;
        assert_eq!(given.says(Kind::Ready), "True Ready");
        given
    }

    fn held(mut self) -> Self {
        self.topic.metadata.finalizers = Some(vec![FINALIZER.into()]);
        self
    }

    fn knows(mut self, id: &str) -> Self {
        self.known = Some(KnownTopic {
            name: "t".into(),
            id: id.into(),
            partitions: self.topic.spec.partitions,
            replication_factor: 1,
            internal: false,
            configs: BTreeMap::new(),
        });
        self
    }

    fn deleting(mut self) -> Self {
        self.topic.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        self
    }

    fn plan(&self) -> Plan {
        next(&Case {
            topic: &self.topic,
            unreadable: None,
            cluster: self.cluster.as_ref(),
            namespace: &self.namespace,
            older: self.older,
            feed: self.feed,
            known: self.known.as_ref(),
            made: self.made,
            tried: self.tried,
            gone: self.gone,
            refused: self.refused,
            moves: match &self.moves {
                Seen::NotYet => Seen::NotYet,
                Seen::As(moving) => Seen::As(moving.as_ref()),
            },
            misplaced: match &self.misplaced {
                Seen::NotYet => Seen::NotYet,
                Seen::As(misplaced) => Seen::As(misplaced),
            },
        })
    }

    fn step(&self) -> Step {
        self.plan().step
    }

    /// Writes what the decision says into the status.
    fn settle(&mut self) {
        let plan = self.plan();
        let verdict = plan.verdict.expect("something is said");
        let generation = self.topic.metadata.generation;
        let now = Timestamp::UNIX_EPOCH;
        let status = status_after(self.topic.status.as_ref(), &verdict, "t", generation, now);
        self.topic.status = Some(status);
    }

    /// Status and reason of a condition, as the decision or the status before has it.
    fn says(&self, kind: Kind) -> String {
        let plan = self.plan();
        let verdict = plan.verdict.unwrap_or_default();
        if let Some(said) = verdict.said(kind) {
            return format!("{:?} {}", said.holds, said.reason);
        }
        let before = status::condition(self.topic.status.as_ref(), kind);
        before.map_or_else(String::new, |it| format!("{} {}", it.status, it.reason))
    }

    fn message(&self, kind: Kind) -> String {
        let verdict = self.plan().verdict.expect("something is said");
        verdict.said(kind).expect("it is named").message.clone()
    }
}

fn cluster(spec: Value) -> KafkaCluster {
    let mut all = json!({ "pools": [] });
    all.as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    let mut cluster = KafkaCluster::new("main", serde_json::from_value(all).unwrap());
    cluster.metadata.namespace = Some("ns".into());
    cluster
}

fn terminating() -> KafkaCluster {
    let mut cluster = cluster(json!({}));
    cluster.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    cluster
}

fn create() -> Step {
    Step::Create(NewTopic {
        name: "t".into(),
        partitions: 3,
        replication_factor: None,
        configs: BTreeMap::new(),
    })
}

#[test]
fn a_topic_is_held_before_it_is_made_and_not_where_it_is_retained() {
    let given = Given::new(json!({}));
    assert_eq!(given.step(), Step::Hold);
    assert_eq!(given.held().step(), create());
    let retained = Given::new(json!({ "deletionPolicy": "Retain" }));
    assert_eq!(retained.step(), create());
    assert_eq!(retained.held().step(), Step::LetGo(None));
}

#[test]
fn a_wrong_spec_asks_for_nothing_and_says_what_is_wrong() {
    let given = Given::new(json!({ "extraConfig": { "retenton.ms": 1 } })).held();
    assert_eq!(given.step(), Step::Rest);
    assert_eq!(given.says(Kind::Ready), "False InvalidSpec");
    assert!(given.message(Kind::Synced).contains("retenton.ms"));
    let mut owned = Given::in_step(json!({}));
    owned
        .topic
        .spec
        .extra_config
        .insert("x".into(), crate::crd::ConfigValue::Int(1));
    assert_eq!(
        owned.says(Kind::Ready),
        "True Ready",
        "the topic is there all the same"
    );
    assert_eq!(owned.says(Kind::Synced), "False InvalidSpec");
}

#[test]
fn nothing_is_decided_before_the_brokers_topics_are_known() {
    let mut given = Given::new(json!({})).held();
    given.feed = Feed::Starting;
    assert_eq!((given.step(), given.plan().verdict), (Step::Rest, None));
}

#[test]
fn outside_of_its_access_a_topic_is_neither_made_nor_changed() {
    let mut given = Given::new(json!({})).held();
    given.cluster = Some(cluster(json!({ "topicAccess": [] })));
    assert_eq!(given.step(), Step::Rest);
    assert_eq!(given.says(Kind::NotPermitted), "True TopicAccess");
    let adopt_only = json!([{ "namespaces": { "names": ["ns"] }, "operations": ["Adopt"] }]);
    given.cluster = Some(cluster(json!({ "topicAccess": adopt_only })));
    assert_eq!(given.says(Kind::NotPermitted), "True Operation");
    assert_eq!(given.step(), Step::Rest);
    let create_only = json!([{ "namespaces": { "names": ["ns"] }, "operations": ["Create"] }]);
    let mut given = given.knows("theirs");
    given.cluster = Some(cluster(json!({ "topicAccess": create_only })));
    assert_eq!(
        given.says(Kind::NotPermitted),
        "True Operation",
        "it may not adopt"
    );
}

#[test]
fn adoption_follows_the_spec() {
    let differs = |adopt: &str| {
        let mut given =
            Given::new(json!({ "adopt": adopt, "config": { "retentionMs": 5 } })).held();
        given = given.knows("theirs");
        given
    };
    let identical = |adopt: &str| {
        let mut given = differs(adopt);
        let known = given.known.as_mut().unwrap();
        known.configs = BTreeMap::from([("retention.ms".into(), "5".into())]);
        given
    };
    assert_eq!(differs("Never").says(Kind::Conflict), "True Exists");
    assert_eq!(identical("Never").says(Kind::Conflict), "True Exists");
    assert_eq!(
        differs("IfIdentical").says(Kind::Conflict),
        "True NotIdentical"
    );
    assert!(
        differs("IfIdentical")
            .message(Kind::Conflict)
            .contains("wanted 5")
    );
    let taken = identical("IfIdentical");
    assert_eq!(
        (taken.says(Kind::Ready), taken.plan().adopts),
        ("True Ready".into(), true)
    );
    assert!(matches!(differs("Always").step(), Step::Alter(_)));
    assert!(differs("Always").plan().adopts);
}

#[test]
fn kafkas_own_topics_are_nobodys() {
    let mut given = Given::new(json!({ "adopt": "Always" }))
        .held()
        .knows("theirs");
    given.known.as_mut().unwrap().internal = true;
    assert_eq!(given.says(Kind::Conflict), "True InternalTopic");
    let by_name = Given::new(json!({ "topicName": "__consumer_offsets" })).held();
    assert_eq!(
        (by_name.step(), by_name.says(Kind::Conflict)),
        (Step::Rest, "True InternalTopic".into())
    );
    let mut deleted = Given::in_step(json!({})).deleting();
    deleted.known.as_mut().unwrap().internal = true;
    assert!(matches!(deleted.step(), Step::LetGo(Some(_))));
}

#[test]
fn a_topic_of_another_id_is_a_conflict_whatever_may_be_adopted() {
    let mut given = Given::in_step(json!({ "adopt": "Always" }));
    given.known.as_mut().unwrap().id = "other".into();
    assert_eq!(given.says(Kind::Conflict), "True MadeAnew");
    assert_eq!(given.step(), Step::Rest);
    let message = given.message(Kind::Conflict);
    assert!(
        message.contains("other") && message.contains("id"),
        "{message}"
    );
}

#[test]
fn the_topic_that_was_made_for_the_resource_is_its_own_before_the_status_says_so() {
    let mut given = Given::new(json!({ "adopt": "Never" })).held().knows("new");
    given.made = Some("new");
    assert_eq!(given.says(Kind::Ready), "True Ready");
    assert!(!given.plan().adopts);
}

#[test]
fn a_topic_that_came_of_a_request_without_an_answer_is_the_resources_own() {
    let mut given = Given::new(json!({})).held().knows("new");
    let create_only = json!([{ "namespaces": { "names": ["ns"] }, "operations": ["Create"] }]);
    given.cluster = Some(cluster(json!({ "topicAccess": create_only })));
    assert_eq!(given.says(Kind::NotPermitted), "True Operation");
    given.tried = true;
    assert_eq!(given.says(Kind::Ready), "True Ready");
    assert!(!given.plan().adopts);
    given.known.as_mut().unwrap().partitions = 9;
    assert_eq!(
        given.says(Kind::NotPermitted),
        "True Operation",
        "that one is a stranger's"
    );
}

#[test]
fn where_a_crash_would_leave_doubts_the_status_first_says_that_the_topic_is_being_made() {
    let mut given = Given::new(json!({ "adopt": "Never" })).held();
    assert!(given.plan().say_first);
    given.settle();
    assert_eq!(given.says(Kind::Ready), "False Creating");
    let after_a_crash = given.knows("new");
    assert_eq!(after_a_crash.says(Kind::Ready), "True Ready");
    assert!(!Given::new(json!({})).held().plan().say_first);
}

#[test]
fn a_topic_that_vanished_is_made_again_or_only_reported() {
    let mut given = Given::in_step(json!({}));
    given.known = None;
    assert_eq!((given.step(), given.plan().say_first), (create(), true));
    given.settle();
    assert_eq!(given.says(Kind::Ready), "False Creating");
    let made = given.knows("new");
    assert_eq!(
        made.says(Kind::Ready),
        "True Ready",
        "a crash meanwhile is no conflict"
    );
    let mut report = Given::in_step(json!({ "driftPolicy": "Report" }));
    report.known = None;
    assert_eq!(
        (report.step(), report.says(Kind::Ready)),
        (Step::Rest, "False Missing".into())
    );
}

#[test]
fn settings_come_before_partitions_and_those_before_replicas() {
    let mut given = Given::in_step(json!({ "replicationFactor": 1 }));
    given.topic.metadata.generation = Some(2);
    given.topic.spec.partitions = 5;
    given.topic.spec.replication_factor = Some(3);
    given.topic.spec.config.retention_ms = Some(9);
    let changes = ConfigChanges::from([("retention.ms".to_owned(), Some("9".to_owned()))]);
    assert_eq!(given.step(), Step::Alter(changes));
    let known = given.known.as_mut().unwrap();
    known.configs.insert("retention.ms".into(), "9".into());
    assert_eq!(given.step(), Step::Grow(5));
    given.known.as_mut().unwrap().partitions = 5;
    assert_eq!(given.step(), Step::Look);
    given.moves = Seen::As(None);
    assert_eq!(given.step(), Step::Replicate(3));
    given.moves = Seen::As(Some(Moving {
        partitions: 5,
        ..Default::default()
    }));
    assert_eq!(
        (given.step(), given.says(Kind::Reassigning)),
        (Step::Rest, "True Copying".into())
    );
}

#[test]
fn fewer_partitions_than_there_are_is_said_and_never_done() {
    let mut given = Given::in_step(json!({}));
    given.topic.metadata.generation = Some(2);
    given.topic.spec.partitions = 2;
    assert_eq!(
        (given.step(), given.says(Kind::Synced)),
        (Step::Rest, "False PartitionsCannotShrink".into())
    );
    assert_eq!(given.says(Kind::Ready), "True Ready");
    assert!(
        given
            .message(Kind::Synced)
            .contains("set spec.partitions to 3")
    );
}

#[test]
fn a_change_made_elsewhere_is_reported_and_a_change_of_the_spec_is_made() {
    let mut given =
        Given::in_step(json!({ "driftPolicy": "Report", "config": { "retentionMs": 5 } }));
    let known = given.known.as_mut().unwrap();
    known.configs.insert("retention.ms".into(), "6".into());
    assert_eq!(
        (given.step(), given.says(Kind::Synced)),
        (Step::Rest, "False Drift".into())
    );
    assert!(
        given
            .message(Kind::Synced)
            .contains("retention.ms is 6, wanted 5")
    );
    given.settle();
    assert_eq!(
        given.says(Kind::Synced),
        "False Drift",
        "and stays reported"
    );
    given.topic.metadata.generation = Some(2);
    assert!(matches!(given.step(), Step::Alter(_)));
    let mut correct = Given::in_step(json!({ "config": { "retentionMs": 5 } }));
    correct.known.as_mut().unwrap().configs.clear();
    assert!(matches!(correct.step(), Step::Alter(_)));
}

#[test]
fn unreachable_brokers_leave_ready_what_was_ready() {
    let mut given = Given::in_step(json!({}));
    given.feed = Feed::Down("refused");
    assert_eq!(
        (given.step(), given.says(Kind::Ready)),
        (Step::Rest, "True Ready".into())
    );
    assert_eq!(given.says(Kind::Synced), "Unknown ClusterUnreachable");
    let mut new = Given::new(json!({})).held();
    new.feed = Feed::Down("refused");
    assert_eq!(new.says(Kind::Ready), "False ClusterUnreachable");
    assert!(new.message(Kind::Ready).contains("refused"));
}

#[test]
fn what_the_brokers_refused_is_said_and_not_asked_again() {
    let mut given = Given::new(json!({})).held();
    given.refused = Some("too many");
    assert_eq!(
        (given.step(), given.says(Kind::Ready)),
        (Step::Rest, "False Refused".into())
    );
    assert_eq!(given.message(Kind::Synced), "too many");
    let mut owned = Given::in_step(json!({}));
    owned.topic.metadata.generation = Some(2);
    owned.topic.spec.partitions = 9;
    owned.refused = Some("too many");
    assert_eq!(
        (owned.step(), owned.says(Kind::Ready)),
        (Step::Rest, "True Ready".into())
    );
    assert_eq!(owned.says(Kind::Synced), "False Refused");
}

#[test]
fn placement_is_judged_where_it_is_asked_for() {
    let mut given = Given::in_step(json!({ "placement": { "racks": ["a"] } }));
    assert_eq!(
        given.says(Kind::PlacementSatisfied),
        "",
        "not looked at yet"
    );
    given.misplaced = Seen::As(Vec::new());
    assert_eq!(given.says(Kind::PlacementSatisfied), "True Satisfied");
    given.misplaced = Seen::As(vec![Misplaced {
        topic: "t".into(),
        partition: 1,
        breaches: vec!["broker 2 is outside".into()],
    }]);
    assert_eq!(given.says(Kind::PlacementSatisfied), "False Misplaced");
    assert!(
        given
            .message(Kind::PlacementSatisfied)
            .starts_with("partition 1: broker 2")
    );
}

#[test]
fn a_deleted_resource_deletes_its_topic_by_id_and_then_lets_go() {
    let mut given = Given::in_step(json!({})).deleting();
    assert_eq!(given.step(), Step::Delete("id".into()));
    given.known = None;
    assert_eq!(
        given.step(),
        Step::Delete("id".into()),
        "a view that is behind keeps nothing alive"
    );
    given.gone = true;
    assert_eq!(given.step(), Step::LetGo(None));
    assert_eq!(
        Given::new(json!({})).deleting().step(),
        Step::Rest,
        "nothing holds it"
    );
}

#[test]
fn in_doubt_a_topic_is_kept() {
    let deleting = || Given::in_step(json!({})).deleting();
    let keeps = |given: Given, why: &str| {
        let Step::LetGo(kept) = given.step() else {
            panic!("{why}: {:?}", given.step());
        };
        assert_eq!(kept.is_some(), why != "quietly", "{why}");
    };
    keeps(
        Given {
            older: Some("ns/other"),
            ..deleting()
        },
        "another has it",
    );
    keeps(deleting().knows("other"), "it was made anew");
    let nobody = Some(cluster(json!({ "topicAccess": [] })));
    keeps(
        Given {
            cluster: nobody,
            ..deleting()
        },
        "access was withdrawn",
    );
    keeps(
        Given {
            cluster: None,
            ..deleting()
        },
        "quietly",
    );
    keeps(
        Given {
            cluster: Some(terminating()),
            ..deleting()
        },
        "quietly",
    );
    let ends = NamespaceView {
        terminating: true,
        ..Default::default()
    };
    keeps(
        Given {
            namespace: ends,
            ..deleting()
        },
        "quietly",
    );
    keeps(
        Given::new(json!({})).held().knows("theirs").deleting(),
        "quietly",
    );
    let mut retained = deleting();
    retained.topic.spec.deletion_policy = TopicDeletionPolicy::Retain;
    keeps(retained, "quietly");
}

#[test]
fn a_deletion_that_waits_says_for_what() {
    let waits = |change: fn(&mut Given), reason: &str| {
        let mut given = Given::in_step(json!({})).deleting();
        change(&mut given);
        assert_eq!(
            (given.step(), given.says(Kind::Deleting)),
            (Step::Rest, format!("True {reason}"))
        );
        assert_eq!(given.says(Kind::Ready), "True Ready");
    };
    waits(
        |given| given.feed = Feed::Down("refused"),
        "ClusterUnreachable",
    );
    waits(|given| given.refused = Some("in use"), "Refused");
    waits(
        |given| given.cluster = Some(cluster(json!({ "paused": true }))),
        "ClusterPaused",
    );
}

#[test]
fn a_cluster_that_cannot_be_seen_or_ends_is_said() {
    let mut given = Given::in_step(json!({}));
    given.cluster = None;
    assert_eq!(given.says(Kind::Ready), "False ClusterNotFound");
    assert!(given.message(Kind::Ready).contains("ns/main"));
    given.cluster = Some(terminating());
    assert_eq!(given.says(Kind::Synced), "Unknown ClusterTerminating");
    assert_eq!(given.says(Kind::Ready), "True Ready");
}
