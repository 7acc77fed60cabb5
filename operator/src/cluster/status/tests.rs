use super::*;
use crate::cluster::step::samples;

fn facts<'a>(
    cluster: &'a KafkaCluster,
    wanted: &'a Wanted,
    observed: &'a Observed,
    waits: &'a [(Waiting, String)],
    none: &'a (BTreeMap<i32, Vec<String>>, BTreeMap<i32, Duration>),
) -> Facts<'a> {
    Facts {
        cluster,
        wanted: Ok(wanted),
        observed,
        waits,
        blocked: &none.0,
        failures: &[],
        away: &none.1,
        bootstrap: BTreeMap::new(),
        level: None,
    }
}

fn true_conditions(status: &KafkaClusterStatus) -> Vec<(&str, &str)> {
    let holding = status.conditions.iter().filter(|one| one.status == "True");
    holding
        .map(|one| (one.type_.as_str(), one.reason.as_str()))
        .collect()
}

#[test]
fn a_healthy_cluster_is_available_and_nothing_else() {
    let (wanted, observed) = samples::healthy();
    let (cluster, none) = (KafkaCluster::default(), Default::default());
    let status = of(&facts(&cluster, &wanted, &observed, &[], &none));
    assert_eq!(true_conditions(&status), [("Available", "Serving")]);
    assert_eq!(status.ready_brokers.as_deref(), Some("3/3"));
    assert_eq!(status.cluster_id.as_deref(), Some("id"));
    let states: Vec<&str> = status
        .brokers
        .iter()
        .map(|broker| broker.state.as_str())
        .collect();
    assert_eq!(states, ["Running"; 3]);
    let rollout = status.rollout.unwrap();
    assert_eq!(
        (rollout.updated, rollout.total, rollout.waiting_for),
        (3, 3, None)
    );
}

#[test]
fn the_time_of_a_condition_is_that_of_its_last_change() {
    let (wanted, mut observed) = samples::healthy();
    let (mut cluster, none) = (KafkaCluster::default(), Default::default());
    let first = of(&facts(&cluster, &wanted, &observed, &[], &none));
    let at = first.conditions[0].last_transition_time.clone();
    cluster.status = Some(first.clone());
    observed.now = observed
        .now
        .checked_add(jiff::SignedDuration::from_secs(60))
        .unwrap();
    let second = of(&facts(&cluster, &wanted, &observed, &[], &none));
    assert_eq!(second, first, "nothing has changed, so nothing is written");
    observed.view = None;
    let third = of(&facts(&cluster, &wanted, &observed, &[], &none));
    assert_eq!(third.conditions[0].reason, "NoQuorum");
    assert!(third.conditions[0].last_transition_time > at);
    assert_eq!(change(&first, &third), Change::News);
}

#[test]
fn a_roll_says_what_it_waits_for_and_numbers_alone_are_no_news() {
    let (mut wanted, observed) = samples::healthy();
    wanted.pools[0].revision = "r2".to_owned();
    let (cluster, none) = (KafkaCluster::default(), Default::default());
    let waits = [(
        Waiting::Roll,
        "orders-3: broker 2 is 4.1 MiB behind".to_owned(),
    )];
    let status = of(&facts(&cluster, &wanted, &observed, &waits, &none));
    let rollout = status.rollout.clone().unwrap();
    assert_eq!((rollout.updated, rollout.to.as_deref()), (0, Some("r2")));
    assert_eq!(
        rollout.waiting_for.as_deref(),
        Some("orders-3: broker 2 is 4.1 MiB behind")
    );
    let wanted_conditions = [
        ("Available", "Serving"),
        ("Progressing", "Rolling"),
        ("RestartRequired", "SpecChanged"),
    ];
    assert_eq!(true_conditions(&status), wanted_conditions);
    let waits = [(
        Waiting::Roll,
        "orders-3: broker 2 is 1.0 MiB behind".to_owned(),
    )];
    let later = of(&facts(&cluster, &wanted, &observed, &waits, &none));
    assert_eq!(change(&status, &later), Change::Progress);
}

#[test]
fn what_keeps_a_broker_down_is_named() {
    let (wanted, mut observed) = samples::healthy();
    samples::unready(&mut observed, 1);
    let (cluster, mut none) = (
        KafkaCluster::default(),
        <(BTreeMap<_, _>, BTreeMap<_, _>)>::default(),
    );
    let status = of(&facts(&cluster, &wanted, &observed, &[], &none));
    assert!(
        !true_conditions(&status).contains(&("Degraded", "BrokersDown")),
        "it just restarts"
    );
    none.1.insert(1, Duration::from_secs(600));
    let status = of(&facts(&cluster, &wanted, &observed, &[], &none));
    assert!(true_conditions(&status).contains(&("Degraded", "BrokersDown")));
    let pod = observed.pods.get_mut(&1).unwrap();
    pod.trouble = Some("ErrImagePull".to_owned());
    pod.trouble_text = "not found".to_owned();
    let status = of(&facts(
        &cluster,
        &wanted,
        &observed,
        &[],
        &Default::default(),
    ));
    assert_eq!(
        status.conditions[2].message,
        "broker 1 is ErrImagePull: not found"
    );
    assert_eq!(status.brokers[1].state, "ErrImagePull");
}

#[test]
fn topics_that_can_not_be_rolled_safely_are_named() {
    let (wanted, mut observed) = samples::healthy();
    samples::topic(&mut observed, "single", 1);
    samples::topic(&mut observed, "orders", 3);
    let (cluster, none) = (KafkaCluster::default(), Default::default());
    let status = of(&facts(&cluster, &wanted, &observed, &[], &none));
    assert!(
        status.conditions[4].message.starts_with("single: "),
        "{:?}",
        status.conditions[4]
    );
}

#[test]
fn a_deleted_claim_is_named_while_its_broker_runs() {
    let (wanted, mut observed) = samples::healthy();
    let claim = observed.claims.get_mut(&1).unwrap();
    claim.terminating = true;
    let name = claim.name.clone();
    let (cluster, none) = (KafkaCluster::default(), Default::default());
    let status = of(&facts(&cluster, &wanted, &observed, &[], &none));
    let found = [("Available", "Serving"), ("Degraded", "ClaimDeleted")];
    assert_eq!(true_conditions(&status), found);
    let degraded = status.conditions.iter().find(|one| one.type_ == "Degraded");
    assert!(degraded.unwrap().message.contains(&name));
    assert!(status.brokers[1].replace_with.is_some());
}

fn condition<'a>(status: &'a KafkaClusterStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let mut all = status.conditions.iter();
    let found = all.find(|one| one.type_ == kind).unwrap();
    (&found.status, &found.reason, &found.message)
}

fn hashes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned()))
        .collect()
}

#[test]
fn what_waits_for_a_restart_is_named_with_its_brokers() {
    let (mut wanted, mut observed) = samples::healthy();
    wanted.pools[0].revision = "r2".to_owned();
    wanted.pools[0].asked = hashes(&[("image", "2"), ("log.segment.bytes", "2"), ("version", "1")]);
    let (cluster, none) = (KafkaCluster::default(), Default::default());
    let message = |observed: &Observed| {
        let status = of(&facts(&cluster, &wanted, observed, &[], &none));
        condition(&status, "RestartRequired").2.to_owned()
    };
    let untold = "brokers 0, 1, 2 still to be restarted for the spec as it is";
    assert_eq!(message(&observed), untold, "pods of an older operator");
    for pod in observed.pods.values_mut() {
        pod.asked = hashes(&[("image", "1"), ("log.segment.bytes", "1"), ("version", "1")]);
    }
    observed.pods.get_mut(&0).unwrap().revision = "r2".to_owned();
    let named = "image, log.segment.bytes: brokers 1, 2 wait for their restart";
    assert_eq!(message(&observed), named);
    for number in 0..20 {
        let pod = observed.pods.get_mut(&1).unwrap();
        pod.asked.insert(format!("key.{number}"), String::new());
    }
    let many =
        "image, key.0, key.1, key.10, key.11 and 17 more: brokers 1, 2 wait for their restart";
    assert_eq!(message(&observed), many);
}

#[test]
fn what_only_brokers_know_is_unknown_while_they_do_not_answer() {
    let (wanted, mut observed) = samples::healthy();
    observed.view = None;
    observed.no_view = Some("the metadata quorum has no leader".to_owned());
    let (cluster, none) = (KafkaCluster::default(), Default::default());
    let status = of(&facts(&cluster, &wanted, &observed, &[], &none));
    let unknown = ("Unknown", "NoAnswer", "the metadata quorum has no leader");
    for kind in ["Rebalancing", "UnsafeTopics"] {
        assert_eq!(condition(&status, kind), unknown);
    }
    assert_eq!(condition(&status, "Available").0, "False");
}

#[test]
fn no_message_is_longer_than_the_definition_takes() {
    let (wanted, observed) = samples::healthy();
    let (cluster, none) = (KafkaCluster::default(), Default::default());
    let failures = vec!["\u{20ac}".repeat(10_000); 9];
    let status = of(&Facts {
        failures: &failures,
        ..facts(&cluster, &wanted, &observed, &[], &none)
    });
    let (_, reason, message) = condition(&status, "Degraded");
    assert_eq!((reason, message.chars().count()), ("StepFailed", 32_768));
    assert!(message.ends_with('…'));
}

#[test]
fn a_volume_that_may_not_grow_is_named_and_nothing_is_under_way_for_it() {
    let (wanted, observed) = samples::healthy();
    let (cluster, none) = (KafkaCluster::default(), Default::default());
    let text = "data-main-broker-0 can't grow: forbidden";
    let waits = [(Waiting::VolumesRefused, text.to_owned())];
    let status = of(&facts(&cluster, &wanted, &observed, &waits, &none));
    assert_eq!(
        condition(&status, "VolumeResize"),
        ("True", "Refused", text)
    );
    assert_eq!(condition(&status, "Progressing").0, "False");
}
