//! Each kind of bad input gets Kafka's code, changes nothing, and spoils nothing beside it.

use milena_metadata::*;
use milena_protocol::ErrorCode::{self, *};

/// A config table of one number and one list.
struct Rules;

impl ConfigRules for Rules {
    fn check(&self, _: ResourceKind, key: &str, value: &str) -> Result<(), String> {
        match (key, value.parse::<i32>()) {
            ("cleanup.policy", _) | ("retention.ms", Ok(_)) => Ok(()),
            _ => Err(format!("no {key} of {value}")),
        }
    }

    fn list_default(&self, _: ResourceKind, key: &str) -> Option<String> {
        (key == "cleanup.policy").then(|| "delete".into())
    }
}

/// A cluster that commands are put to.
struct Cluster(Image);

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self(Image::default());
        let id = BrokerId::new(1).unwrap();
        let registered = cluster.ask(RegisterBroker {
            id,
            incarnation: IncarnationId::random(),
            endpoints: Vec::new(),
            node: Option::None,
            rack: Option::None,
            pool: Option::None,
            directories: Vec::new(),
            software: "test".into(),
            last_end: LastEnd::None,
            fenced: false,
        });
        assert_eq!(registered.unwrap().epoch, 1);
        cluster
    }

    fn ask<R: Request>(&mut self, request: R) -> Result<R::Outcome, Refusal> {
        let decision = decide(&self.0, &request.into(), &Rules)?;
        self.0.apply_entry(1, &decision.records).unwrap();
        Ok(R::outcome(decision.outcome).unwrap())
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<ErrorCode> {
        codes(&self.ask(creation(topics, false)).unwrap())
    }

    fn grow(&mut self, count: i32, assignments: Option<Vec<Vec<i32>>>) -> Vec<ErrorCode> {
        let topic = "present".into();
        let topics = vec![NewPartitions {
            topic,
            count,
            assignments,
        }];
        let validate_only = false;
        codes(
            &self
                .ask(CreatePartitions {
                    topics,
                    validate_only,
                })
                .unwrap(),
        )
    }

    fn change(
        &mut self,
        resource: ConfigResource,
        changes: &[(&str, ConfigOperation, Option<&str>)],
    ) -> ErrorCode {
        let change = |(key, operation, value): &(&str, ConfigOperation, Option<&str>)| {
            let (key, value) = (key.to_string(), value.map(String::from));
            ConfigChange {
                key,
                operation: *operation,
                value,
            }
        };
        let resources = vec![(resource, changes.iter().map(change).collect())];
        let validate_only = false;
        codes(
            &self
                .ask(IncrementalAlterConfigs {
                    resources,
                    validate_only,
                })
                .unwrap(),
        )[0]
    }

    fn policy(&self) -> Option<&str> {
        let configs = self.0.configs(ResourceKind::Topic, "present")?;
        configs.get("cleanup.policy").map(|value| &**value)
    }
}

fn creation(topics: Vec<NewTopic>, validate_only: bool) -> CreateTopics {
    CreateTopics {
        topics,
        default_partitions: 3,
        default_replication_factor: 1,
        validate_only,
    }
}

fn codes<T>(results: &[Result<T, Refusal>]) -> Vec<ErrorCode> {
    let code =
        |result: &Result<T, Refusal>| result.as_ref().err().map_or(None, |refusal| refusal.code);
    results.iter().map(code).collect()
}

fn topic(name: &str) -> NewTopic {
    NewTopic {
        name: name.into(),
        id: TopicId::random(),
        partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn sized(partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic {
        partitions,
        replication_factor,
        ..topic("new")
    }
}

fn assigned(assignments: &[(i32, &[i32])]) -> NewTopic {
    let assignments = assignments
        .iter()
        .map(|(partition, brokers)| (*partition, brokers.to_vec()))
        .collect();
    NewTopic {
        assignments,
        ..topic("new")
    }
}

fn configured(key: &str, value: Option<&str>) -> NewTopic {
    NewTopic {
        configs: vec![(key.into(), value.map(String::from))],
        ..topic("new")
    }
}

#[test]
fn a_bad_topic_is_refused_with_kafkas_code_and_nothing_is_created() {
    let mut cluster = Cluster::new();
    assert_eq!(
        cluster.create(vec![topic("pre.sent"), topic("present")]),
        [None, None]
    );
    let before = cluster.0.clone();
    let refused = [
        (topic(""), InvalidTopicException),
        (topic("a b"), InvalidTopicException),
        (topic("pre_sent"), InvalidTopicException),
        (topic("present"), TopicAlreadyExists),
        (topic("__cluster_metadata"), InvalidRequest),
        (sized(0, 1), InvalidPartitions),
        (sized(-2, 1), InvalidPartitions),
        (sized(1, 0), InvalidReplicationFactor),
        (sized(1, 2), InvalidReplicationFactor),
        (assigned(&[(0, &[])]), InvalidReplicaAssignment),
        (assigned(&[(0, &[9])]), InvalidReplicaAssignment),
        (assigned(&[(0, &[-1])]), InvalidReplicaAssignment),
        (assigned(&[(0, &[1, 1])]), InvalidReplicaAssignment),
        (assigned(&[(1, &[1])]), InvalidReplicaAssignment),
        (assigned(&[(0, &[1]), (0, &[1])]), InvalidReplicaAssignment),
        (
            NewTopic {
                partitions: 1,
                ..assigned(&[(0, &[1])])
            },
            InvalidRequest,
        ),
        (
            NewTopic {
                replication_factor: 1,
                ..assigned(&[(0, &[1])])
            },
            InvalidRequest,
        ),
        (configured("unknown", Some("1")), InvalidConfig),
        (configured("retention.ms", Some("soon")), InvalidConfig),
        (configured("retention.ms", Option::None), InvalidConfig),
    ];
    for (topic, code) in refused {
        assert_eq!(cluster.create(vec![topic.clone()]), [code], "{topic:?}");
        assert_eq!(cluster.0, before);
    }
}

#[test]
fn one_bad_topic_spoils_no_other_and_a_name_given_twice_is_created_not_once() {
    let mut cluster = Cluster::new();
    let topics = ["good", "twice", "bad name", "twice"].map(topic).to_vec();
    let created = cluster.create(topics);
    assert_eq!(
        created,
        [None, InvalidRequest, InvalidTopicException, InvalidRequest]
    );
    assert_eq!(cluster.0.topic("good").unwrap().partition_count(), 3);
    assert_eq!(cluster.0.topic_count(), 1);
}

#[test]
fn a_request_for_too_many_partitions_is_refused_whole() {
    let mut cluster = Cluster::new();
    let most = PARTITIONS_PER_REQUEST_MAX as i32;
    let refusal = cluster
        .ask(creation(vec![sized(most, 1), topic("b")], false))
        .unwrap_err();
    assert_eq!(refusal.code, PolicyViolation);
    assert_eq!(cluster.create(vec![sized(most, 1)]), [None]);
}

#[test]
fn what_is_only_validated_is_answered_and_not_done() {
    let mut cluster = Cluster::new();
    let before = cluster.0.clone();
    let answer = cluster
        .ask(creation(vec![sized(4, 1), sized(0, 1)], true))
        .unwrap();
    assert_eq!(
        codes(&answer),
        [InvalidRequest, InvalidRequest],
        "the same name twice"
    );
    let answer = cluster.ask(creation(vec![sized(4, 1)], true)).unwrap();
    assert_eq!(answer[0].as_ref().unwrap().partitions, 4);
    assert_eq!(cluster.0.topics().count(), before.topics().count());
}

#[test]
fn partitions_only_grow_and_by_as_many_as_are_assigned() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.grow(4, Option::None), [UnknownTopicOrPartition]);
    cluster.create(vec![topic("present")]);
    assert_eq!(cluster.grow(3, Option::None), [InvalidPartitions]);
    assert_eq!(cluster.grow(-1, Option::None), [InvalidPartitions]);
    assert_eq!(
        cluster.grow(5, Some(vec![vec![1]])),
        [InvalidReplicaAssignment]
    );
    assert_eq!(
        cluster.grow(4, Some(vec![vec![2]])),
        [InvalidReplicaAssignment]
    );
    assert_eq!(cluster.grow(4, Some(vec![vec![1]])), [None]);
    assert_eq!(cluster.grow(9, Option::None), [None]);
    assert_eq!(cluster.0.topic("present").unwrap().partition_count(), 9);
}

#[test]
fn a_topic_is_deleted_by_name_or_id_and_never_when_named_twice() {
    let mut cluster = Cluster::new();
    let (a, b) = (topic("a"), topic("b"));
    let (by_name, by_id) = (TopicReference::Name("a".into()), TopicReference::Id(a.id));
    cluster.create(vec![a, b.clone()]);
    let topics = vec![by_name.clone(), by_id, TopicReference::Name("c".into())];
    let deleted = cluster.ask(DeleteTopics { topics }).unwrap();
    assert_eq!(
        codes(&deleted),
        [InvalidRequest, InvalidRequest, UnknownTopicOrPartition]
    );
    let topics = vec![
        by_name,
        TopicReference::Id(b.id),
        TopicReference::Id(TopicId::random()),
    ];
    let deleted = cluster.ask(DeleteTopics { topics }).unwrap();
    assert_eq!(codes(&deleted), [None, None, UnknownTopicId]);
    assert_eq!(cluster.0.topic_count(), 0);
}

#[test]
fn configs_are_set_deleted_appended_and_subtracted() {
    use ConfigOperation::{Append, Delete, Set, Subtract};
    let mut cluster = Cluster::new();
    cluster.create(vec![topic("present")]);
    let own = || ConfigResource::topic("present");
    let key = "cleanup.policy";
    assert_eq!(
        cluster.change(own(), &[(key, Append, Some("compact,delete"))]),
        None
    );
    assert_eq!(cluster.policy(), Some("delete,compact"));
    assert_eq!(
        cluster.change(own(), &[(key, Subtract, Some("delete"))]),
        None
    );
    assert_eq!(cluster.policy(), Some("compact"));
    assert_eq!(cluster.change(own(), &[(key, Set, Some("delete"))]), None);
    assert_eq!(cluster.change(own(), &[(key, Delete, Option::None)]), None);
    assert_eq!(cluster.policy(), Option::None);
}

#[test]
fn a_bad_config_change_changes_nothing_of_its_resource() {
    use ConfigOperation::{Append, Set};
    let mut cluster = Cluster::new();
    cluster.create(vec![topic("present")]);
    let own = || ConfigResource::topic("present");
    let good = ("cleanup.policy", Set, Some("compact"));
    let long = "1".repeat(CONFIG_VALUE_BYTES_MAX + 1);
    let refused = [
        (own(), ("retention.ms", Append, Some("1")), InvalidConfig),
        (own(), ("retention.ms", Set, Some("soon")), InvalidConfig),
        (own(), ("retention.ms", Set, Some(&*long)), InvalidConfig),
        (own(), ("retention.ms", Set, Option::None), InvalidRequest),
        (own(), good, InvalidRequest),
        (ConfigResource::topic("none"), good, UnknownTopicOrPartition),
        (
            ConfigResource::broker(BrokerId::new(9).ok()),
            good,
            BrokerIdNotRegistered,
        ),
    ];
    for (resource, bad, code) in refused {
        assert_eq!(cluster.change(resource, &[good, bad]), code, "{bad:?}");
        assert_eq!(cluster.policy(), Option::None);
    }
}

#[test]
fn a_new_life_of_the_broker_leads_everything_in_a_new_epoch() {
    let mut cluster = Cluster::new();
    cluster.create(vec![topic("present")]);
    let first = (**cluster.0.broker(BrokerId::new(1).unwrap()).unwrap()).clone();
    let again = |incarnation| RegisterBroker {
        id: first.id,
        incarnation,
        endpoints: Vec::new(),
        node: Option::None,
        rack: Option::None,
        pool: Option::None,
        directories: Vec::new(),
        software: "test".into(),
        last_end: LastEnd::Unclean,
        fenced: false,
    };
    assert_eq!(
        cluster.ask(again(first.incarnation)).unwrap().epoch,
        first.epoch
    );
    let second = cluster.ask(again(IncarnationId::random())).unwrap().epoch;
    assert!(second > first.epoch);
    let partition = cluster.0.partition("present", 0).unwrap();
    assert_eq!(
        (partition.leader, partition.leader_epoch),
        (Some(first.id), 1)
    );
    let stale = AllocateProducerIds {
        broker: first.id,
        broker_epoch: first.epoch,
    };
    assert_eq!(cluster.ask(stale).unwrap_err().code, StaleBrokerEpoch);
}

#[test]
fn a_feature_goes_to_levels_that_are_known_and_down_only_when_meant() {
    let mut cluster = Cluster::new();
    let mut set = |name: &str, level, downgrade| {
        let levels = vec![(name.to_owned(), level)];
        let refusal = cluster.ask(SetFeatures {
            levels,
            downgrade,
            validate_only: false,
        });
        refusal.err().map(|refusal| refusal.code)
    };
    assert_eq!(set("milena.version", 2, false), Some(InvalidUpdateVersion));
    assert_eq!(set("milena.version", -1, false), Some(InvalidUpdateVersion));
    assert_eq!(set("unheard.of", 1, false), Some(InvalidUpdateVersion));
    assert_eq!(set("milena.version", 1, false), Option::None);
    assert_eq!(set("milena.version", 0, false), Some(InvalidUpdateVersion));
    assert_eq!(set("milena.version", 0, true), Option::None);
}

#[test]
fn a_cluster_is_founded_once() {
    let mut cluster = Cluster::new();
    let found = |id: &str| FoundCluster {
        cluster_id: id.into(),
    };
    cluster.ask(found("one")).unwrap();
    cluster.ask(found("one")).unwrap();
    assert_eq!(
        cluster.ask(found("two")).unwrap_err().code,
        InconsistentClusterId
    );
}
