//! What is made of a spec, and what is said of one that can't be followed.

use super::super::build::samples::{cluster, nothing, operator, pool};
use super::*;
use crate::crd::ConfigValue;
use crate::crd::cluster::{
    KafkaClusterStatus, Listener, ListenerBroker, ListenerType, QuorumSpec, Spread, TopicDefaults,
};

fn checked(
    change: impl FnOnce(&mut KafkaCluster, &mut Found, &mut Operator),
) -> Result<Wanted, Invalid> {
    let (mut cluster, mut found, mut operator) = (cluster(), nothing(), operator());
    change(&mut cluster, &mut found, &mut operator);
    check(&cluster, &found, &operator)
}

fn good(change: impl FnOnce(&mut KafkaCluster, &mut Found, &mut Operator)) -> Wanted {
    checked(change).unwrap()
}

/// The reason and the whole message.
fn bad(change: impl FnOnce(&mut KafkaCluster, &mut Found, &mut Operator)) -> (Reason, String) {
    let invalid = checked(change).unwrap_err();
    (invalid.reason(), invalid.to_string())
}

fn config(cluster: &mut KafkaCluster, settings: &[(&str, &str)]) {
    let value =
        |(name, value): &(&str, &str)| ((*name).to_owned(), ConfigValue::Text((*value).to_owned()));
    cluster.spec.config = settings.iter().map(value).collect();
}

#[test]
fn a_bare_cluster_has_a_default_for_everything() {
    let wanted = good(|_, _, _| {});
    assert_eq!(wanted.version, "0.1.0");
    assert_eq!(wanted.image, "registry.example.com/milena:0.1.0");
    assert_eq!(wanted.voters, [0, 1, 2]);
    assert_eq!(wanted.ids().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(wanted.topic_defaults.replication_factor, 3);
    assert_eq!(wanted.topic_defaults.min_in_sync_replicas, 2);
    assert_eq!(wanted.rollout.unreplicated, Unreplicated::Move);
    assert!(wanted.founding);
}

#[test]
fn one_broker_is_a_cluster_that_may_be_restarted() {
    let wanted = good(|cluster, _, _| cluster.spec.pools[0].replicas = 1);
    assert_eq!(wanted.voters, [0]);
    assert_eq!(wanted.topic_defaults.replication_factor, 1);
    assert_eq!(wanted.topic_defaults.min_in_sync_replicas, 1);
    assert_eq!(wanted.rollout.unreplicated, Unreplicated::Allow);
}

#[test]
fn an_operator_upgrade_leaves_the_version_that_is_pinned() {
    let pinned = |cluster: &mut KafkaCluster| {
        cluster.status = Some(KafkaClusterStatus {
            version: Some("0.1.0".to_owned()),
            ..KafkaClusterStatus::default()
        });
    };
    let newer = |operator: &mut Operator| operator.version = "0.2.0".parse().unwrap();
    let wanted = good(|cluster, _, operator| {
        pinned(cluster);
        newer(operator);
    });
    assert_eq!(wanted.version, "0.1.0");
    let before = good(|cluster, _, _| pinned(cluster));
    assert_eq!(wanted.pools[0].revision, before.pools[0].revision);
    assert_eq!(good(|_, _, operator| newer(operator)).version, "0.2.0");
}

#[test]
fn a_cluster_applied_again_stays_at_the_version_that_its_claims_have_seen() {
    let wanted = good(|_, found, operator| {
        operator.version = "0.2.0".parse().unwrap();
        found.claim_version = "0.1.0".parse().ok();
    });
    assert_eq!(wanted.version, "0.1.0");
}

#[test]
fn volumes_that_are_there_keep_their_class_and_their_pool() {
    let classes = |there: &[&str], said: Option<&str>| {
        checked(|cluster, found, _| {
            let classes = there.iter().map(|class| (*class).to_owned()).collect();
            found.claim_classes = BTreeMap::from([("broker".to_owned(), classes)]);
            cluster.spec.pools[0].volumes[0].class_name = said.map(str::to_owned);
        })
    };
    let class = |said| classes(&["standard"], said);
    let refused = class(Some("fast")).unwrap_err();
    assert!(
        refused.to_string().contains("of the class standard"),
        "{refused}"
    );
    assert!(class(Some("standard")).is_ok() && class(None).is_ok());
    let by_hand = classes(&["fast", "standard"], Some("fast"));
    assert!(
        by_hand.is_ok(),
        "one volume of another class was made by hand"
    );
    let elsewhere = |id: i32| {
        let (pool, claim) = ("old".to_owned(), format!("data-main-old-{id}"));
        vec![Elsewhere { id, pool, claim }]
    };
    let (reason, text) = bad(|_, found, _| found.elsewhere = elsewhere(1));
    assert_eq!(reason, Reason::InvalidPool);
    assert!(text.contains("call the pool old again"), "{text}");
    assert!(checked(|_, found, _| found.elsewhere = elsewhere(7)).is_ok());
}

#[test]
fn a_version_that_the_operator_does_not_know_is_refused() {
    let (reason, text) = bad(|cluster, _, _| cluster.spec.version = Some("0.2.0".to_owned()));
    assert_eq!(reason, Reason::UnsupportedVersion);
    assert!(text.contains("upgrade the operator first"), "{text}");
    // A patch may be newer than the operator.
    assert_eq!(
        good(|cluster, _, _| cluster.spec.version = Some("0.1.9".to_owned())).version,
        "0.1.9"
    );
}

#[test]
fn there_is_no_way_back_to_a_version_that_can_not_read_what_is_written() {
    let levels = |operator: &mut Operator| {
        operator.levels = vec![("0.1.0".parse().unwrap(), 1), ("0.1.1".parse().unwrap(), 2)];
    };
    let (reason, text) = bad(|cluster, found, operator| {
        levels(operator);
        found.level = Some(2);
        cluster.spec.version = Some("0.1.0".to_owned());
        cluster.spec.metadata_version = Some("2".to_owned());
    });
    assert_eq!(reason, Reason::DowngradeRefused);
    assert!(
        text.contains("0.1.0 reads what is written at level 1")
            && !text.contains("raise spec.version"),
        "{text}"
    );
    let wanted = good(|cluster, found, operator| {
        levels(operator);
        found.level = Some(1);
        cluster.spec.version = Some("0.1.0".to_owned());
    });
    assert_eq!(wanted.version, "0.1.0");
}

#[test]
fn what_the_brokers_write_neither_goes_down_nor_above_what_they_can() {
    let (reason, _) = bad(|cluster, found, operator| {
        operator.levels = vec![("0.1.0".parse().unwrap(), 2)];
        found.level = Some(2);
        cluster.spec.metadata_version = Some("1".to_owned());
    });
    assert_eq!(reason, Reason::DowngradeRefused);
    let (reason, text) = bad(|cluster, _, _| cluster.spec.metadata_version = Some("2".to_owned()));
    assert_eq!(reason, Reason::UnsupportedVersion);
    assert!(text.contains("raise spec.version first"), "{text}");
    let wanted = good(|cluster, _, _| cluster.spec.metadata_version = Some("Auto".to_owned()));
    assert_eq!(wanted.metadata_version, MetadataVersion::Auto);
}

#[test]
fn settings_of_the_operator_are_refused_by_name_and_unknown_ones_with_the_nearest() {
    let (reason, text) = bad(|cluster, _, _| {
        config(
            cluster,
            &[
                ("node.id", "7"),
                ("num.partition", "3"),
                ("min.insync.replicas", "2"),
                ("placement.rack.spread", "required"),
            ],
        );
    });
    assert_eq!(reason, Reason::InvalidConfig);
    for part in [
        "node.id is set by the operator",
        "num.partition is not known; num.partitions is",
        "spec.topicDefaults",
        "spec.placement.rackSpread",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_rates_of_throttled_moves_are_refused_with_the_field_that_says_them() {
    for side in ["follower", "leader"] {
        let name = format!("{side}.replication.throttled.rate");
        let (reason, text) = bad(|cluster, _, _| config(cluster, &[(&name, "1000")]));
        assert_eq!(reason, Reason::InvalidConfig);
        let said = format!("{name} is set by the operator: say it by spec.drain.maxBytesPerSecond");
        assert!(text.contains(&said), "{text}");
    }
}

#[test]
fn values_that_are_not_allowed_are_refused() {
    for (name, value) in [
        ("num.partitions", "0"),
        ("num.partitions", "a\nb"),
        ("log.retention.ms", "soon"),
    ] {
        let (reason, text) = bad(|cluster, _, _| config(cluster, &[(name, value)]));
        assert_eq!(reason, Reason::InvalidConfig);
        assert!(text.contains(name), "{text}");
    }
    let (_, text) = bad(|cluster, _, _| {
        let value = ConfigValue::Other(serde_json::json!(0.5));
        cluster.spec.config = [("log.cleaner.min.cleanable.ratio".to_owned(), value)].into();
    });
    assert!(text.contains("put it in quotes"), "{text}");
}

#[test]
fn a_setting_that_a_running_broker_takes_over_restarts_nobody() {
    let before = good(|_, _, _| {});
    let live = good(|cluster, _, _| config(cluster, &[("log.retention.ms", "1000")]));
    assert_eq!(live.live_config["log.retention.ms"], "1000");
    assert_eq!(live.live_config["min.insync.replicas"], "2");
    assert_eq!(live.pools[0].revision, before.pools[0].revision);
    assert_ne!(live.live_config, before.live_config);
    let restart = good(|cluster, _, _| config(cluster, &[("num.partitions", "3")]));
    assert_ne!(restart.pools[0].revision, before.pools[0].revision);
    assert_eq!(restart.live_config, before.live_config);
}

#[test]
fn where_replicas_may_stand_is_a_setting_of_running_brokers() {
    let spread = |wanted: &Wanted| {
        let keys = ["placement.node.spread", "placement.rack.spread"];
        keys.map(|key| wanted.live_config[key].clone())
    };
    let before = good(|_, _, _| {});
    assert_eq!(spread(&before), ["required", "preferred"]);
    let other = good(|cluster, _, _| {
        cluster.spec.placement.node_spread = Spread::Preferred;
        cluster.spec.placement.rack_spread = Spread::Required;
    });
    assert_eq!(spread(&other), ["preferred", "required"]);
}

#[test]
fn a_new_timestamp_restarts_all_and_a_change_of_one_pool_only_that_one() {
    let two = |cluster: &mut KafkaCluster| cluster.spec.pools.push(pool("other", 1000, 1));
    let before = good(|cluster, _, _| two(cluster));
    let stamped = good(|cluster, _, _| {
        two(cluster);
        cluster.spec.restarted_at = Some("2026-01-01T00:00:00Z".to_owned());
    });
    let changed = good(|cluster, _, _| {
        two(cluster);
        cluster.spec.pools[1]
            .pod_template
            .termination_grace_period_seconds = Some(120);
    });
    for at in 0..2 {
        assert_ne!(stamped.pools[at].revision, before.pools[at].revision);
    }
    assert_eq!(changed.pools[0].revision, before.pools[0].revision);
    assert_ne!(changed.pools[1].revision, before.pools[1].revision);
    let grown = good(|cluster, _, _| {
        two(cluster);
        cluster.spec.pools[0].replicas = 4;
        cluster.spec.pools[0].volumes[0].size = "2Gi".to_owned();
        cluster.spec.paused = true;
    });
    assert_eq!(grown.pools[0].revision, before.pools[0].revision);
}

#[test]
fn what_only_the_operator_changed_shows_in_the_template_alone() {
    let before = good(|_, _, _| {});
    let moved = good(|_, _, operator| {
        operator.image_repository = "elsewhere.example.com/milena".to_owned()
    });
    assert_eq!(moved.pools[0].revision, before.pools[0].revision);
    assert_ne!(
        moved.pools[0].template_revision,
        before.pools[0].template_revision
    );
}

#[test]
fn the_cluster_id_is_that_of_the_claims() {
    let wanted = good(|_, found, _| {
        found.claim_cluster_ids = ["old".to_owned()].into();
        found.founded = true;
    });
    assert_eq!(wanted.cluster_id, "old");
    assert!(!wanted.founding);
    assert_eq!(good(|_, _, _| {}).cluster_id, nothing().fresh_cluster_id);
    let (reason, text) =
        bad(|_, found, _| found.claim_cluster_ids = ["a".to_owned(), "b".to_owned()].into());
    assert_eq!(reason, Reason::ClusterIdConflict);
    assert!(text.contains("a and b"), "{text}");
}

#[test]
fn voters_are_spread_over_the_pools_and_stay_as_far_as_they_can() {
    let pools = |cluster: &mut KafkaCluster| {
        cluster.spec.pools = vec![pool("a", 0, 2), pool("b", 1000, 2), pool("c", 2000, 2)];
    };
    assert_eq!(good(|cluster, _, _| pools(cluster)).voters, [0, 1000, 2000]);
    let wanted = good(|cluster, found, _| {
        pools(cluster);
        found.standing.voters = vec![1, 1001, 7];
    });
    assert_eq!(wanted.voters, [0, 1, 1001]);
    let (reason, _) = bad(|cluster, _, _| cluster.spec.quorum = Some(QuorumSpec { voters: 5 }));
    assert_eq!(reason, Reason::InvalidSpec);
    let (reason, _) = bad(|cluster, _, _| cluster.spec.quorum = Some(QuorumSpec { voters: 2 }));
    assert_eq!(reason, Reason::InvalidSpec);
}

#[test]
fn a_size_that_can_not_hold_the_replicas_is_refused() {
    let (_, text) = bad(|cluster, _, _| {
        cluster.spec.pools[0].replicas = 2;
        cluster.spec.topic_defaults = Some(TopicDefaults {
            replication_factor: Some(3),
            min_in_sync_replicas: None,
        });
    });
    assert!(
        text.contains("3 is more than there are brokers, 2"),
        "{text}"
    );
}

#[test]
fn a_pool_that_comes_back_with_other_ids_waits_for_its_old_brokers() {
    let (reason, text) =
        bad(|_, found, _| found.pool_starts = [("broker".to_owned(), 3000)].into());
    assert_eq!(reason, Reason::InvalidPool);
    assert!(text.contains("begin with 3000"), "{text}");
}

#[test]
fn a_pool_that_is_renamed_does_not_start_its_brokers_a_second_time() {
    let begins_at = |start: i32| {
        move |_: &mut _, found: &mut Found, _: &mut _| {
            found.pool_starts = [("former".to_owned(), start)].into()
        }
    };
    let (reason, text) = bad(begins_at(0));
    assert_eq!(reason, Reason::InvalidPool);
    assert!(
        text.contains("belong to the brokers of pool former") && !text.contains("  "),
        "{text}"
    );
    let _ = good(begins_at(1000));
}

#[test]
fn listeners_are_checked_and_the_internal_one_comes_first() {
    let listener = |name: &str, port: i32, kind: ListenerType| Listener {
        name: name.to_owned(),
        port,
        kind,
        ..Listener::default()
    };
    let wanted = good(|cluster, _, _| {
        cluster.spec.listeners = vec![
            listener("external", 9094, ListenerType::NodePort),
            listener("internal", 9095, ListenerType::Internal),
        ];
    });
    assert_eq!(wanted.internal().port, 9095);
    let (reason, text) = bad(|cluster, _, _| {
        let mut external = listener("external", 9094, ListenerType::NodePort);
        external.allowed_sources = vec!["10.0.0.0/40".to_owned()];
        external.brokers = vec![ListenerBroker {
            id: 5000,
            ..ListenerBroker::default()
        }];
        cluster.spec.listeners = vec![external];
    });
    assert_eq!(reason, Reason::InvalidListener);
    for part in [
        "called internal",
        "10.0.0.0/40",
        "no pool has a broker 5000",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn replicas_move_at_a_bounded_pace_unless_the_spec_says_that_there_is_none() {
    let pace = |given: Option<&str>| {
        let amount = given.map(|text| crate::crd::Amount(text.to_owned()));
        let wanted = good(|cluster, _, _| cluster.spec.drain.max_bytes_per_second = amount);
        wanted.drain.bytes_per_second_max
    };
    assert_eq!(pace(None), Some(50 << 20));
    assert_eq!(pace(Some("1Gi")), Some(1 << 30));
    assert_eq!(pace(Some("0")), None);
}

#[test]
fn sizes_are_bytes_rounded_up() {
    for (text, wanted) in [
        ("1Gi", Some(1 << 30)),
        ("1.5Gi", Some(3 << 29)),
        ("0.001k", Some(1)),
        ("10", Some(10)),
        ("1.0005Gi", None),
        ("-1Gi", None),
        ("Gi", None),
        ("99999999999999999999", None),
        ("99999999P", None),
    ] {
        assert_eq!(bytes(text), wanted, "{text}");
    }
}

#[test]
fn versions_are_ordered() {
    let version = |text: &str| text.parse::<Version>().unwrap();
    assert!(version("0.2.0-rc.1") < version("0.2.0"));
    assert!(version("0.1.10") > version("0.1.9"));
    assert_eq!(version("1.2.3-a.b").to_string(), "1.2.3-a.b");
    for text in ["", "1.2", "1.2.x", "1.2.3.4", "v1.2.3"] {
        assert!(text.parse::<Version>().is_err(), "{text}");
    }
}
