//! What the pods promise.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, Probe};

use super::super::samples::wanted;
use super::super::*;
use super::given;
use crate::crd::cluster::{
    EnvVar, ExtraMount, ExtraVolume, KafkaClusterSpec, SecurityContext, Spread,
};

fn template(change: impl FnOnce(&mut KafkaClusterSpec)) -> PodTemplateSpec {
    let resources = all(&wanted(change), &given());
    resources.stateful_sets[0]
        .spec
        .as_ref()
        .unwrap()
        .template
        .clone()
}

fn pod(change: impl FnOnce(&mut KafkaClusterSpec)) -> PodSpec {
    template(change).spec.unwrap()
}

#[test]
fn a_broker_is_told_who_it_is_and_where_its_settings_are() {
    let pod = pod(|_| {});
    let broker = &pod.containers[0];
    assert_eq!(
        broker.args.as_ref().unwrap().join(" "),
        "serve --data /var/lib/milena/data --config /etc/milena/cluster/broker.properties \
         --config /etc/milena/brokers/$(MILENA_NODE_ID).properties"
    );
    let env = broker.env.as_ref().unwrap();
    let path = |at: usize| {
        let from = env[at].value_from.as_ref().unwrap();
        from.field_ref.as_ref().unwrap().field_path.clone()
    };
    assert_eq!(env[0].name, "MILENA_NODE_ID");
    assert_eq!(path(0), "metadata.labels['apps.kubernetes.io/pod-index']");
    assert_eq!(
        (env[1].name.as_str(), path(1).as_str()),
        ("MILENA_BROKER_NODE", "spec.nodeName")
    );
    let mounts: Vec<_> = broker
        .volume_mounts
        .as_ref()
        .unwrap()
        .iter()
        .map(|it| it.mount_path.as_str())
        .collect();
    assert_eq!(
        mounts,
        [
            "/var/lib/milena",
            "/etc/milena/cluster",
            "/etc/milena/brokers",
            "/etc/milena/admin",
            "/etc/milena/pod"
        ]
    );
}

#[test]
fn a_pod_passes_the_restricted_pod_security_standard() {
    let pod = pod(|spec| {
        spec.pools[0].pod_template.security_context = Some(SecurityContext {
            run_as_user: Some(1000),
            ..SecurityContext::default()
        });
    });
    let all = pod.security_context.unwrap();
    assert_eq!(
        (all.run_as_non_root, all.run_as_user, all.fs_group),
        (Some(true), Some(1000), Some(65_532))
    );
    assert_eq!(all.seccomp_profile.unwrap().type_, "RuntimeDefault");
    assert_eq!(
        all.fs_group_change_policy.as_deref(),
        Some("OnRootMismatch")
    );
    let own = pod.containers[0].security_context.as_ref().unwrap();
    assert_eq!(own.allow_privilege_escalation, Some(false));
    assert_eq!(own.read_only_root_filesystem, Some(true));
    assert_eq!(
        own.capabilities.as_ref().unwrap().drop.as_ref().unwrap(),
        &["ALL"]
    );
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.enable_service_links, Some(false));
    assert!(pod.host_network.is_none() && pod.host_pid.is_none());
}

fn path(probe: Option<&Probe>) -> &str {
    probe
        .unwrap()
        .http_get
        .as_ref()
        .unwrap()
        .path
        .as_deref()
        .unwrap()
}

#[test]
fn no_probe_ends_a_broker_that_recovers() {
    let pod = pod(|_| {});
    let broker = &pod.containers[0];
    assert_eq!(path(broker.startup_probe.as_ref()), "/healthz/live");
    assert_eq!(path(broker.liveness_probe.as_ref()), "/healthz/live");
    assert_eq!(path(broker.readiness_probe.as_ref()), "/healthz/ready");
    let startup = broker.startup_probe.as_ref().unwrap();
    let patience = startup.period_seconds.unwrap() * startup.failure_threshold.unwrap();
    assert!(patience >= 86_400);
}

#[test]
fn a_broker_asks_for_its_lease_before_it_stops() {
    let pod = pod(|spec| spec.pools[0].pod_template.termination_grace_period_seconds = Some(120));
    let hook = pod.containers[0]
        .lifecycle
        .as_ref()
        .unwrap()
        .pre_stop
        .as_ref()
        .unwrap();
    let command = hook.exec.as_ref().unwrap().command.as_ref().unwrap();
    assert_eq!(
        command.join(" "),
        "/milena cluster lease --self --grace-period 120"
    );
    assert_eq!(pod.termination_grace_period_seconds, Some(120));
}

#[test]
fn no_two_brokers_share_a_node_whatever_their_pool() {
    let required = pod(|_| {}).affinity.unwrap().pod_anti_affinity.unwrap();
    let term = &required
        .required_during_scheduling_ignored_during_execution
        .unwrap()[0];
    assert_eq!(term.topology_key, "kubernetes.io/hostname");
    let selected = term
        .label_selector
        .as_ref()
        .unwrap()
        .match_labels
        .as_ref()
        .unwrap();
    assert!(!selected.contains_key(POOL_LABEL));
    let preferred = pod(|spec| spec.placement.node_spread = Spread::Preferred);
    let preferred = preferred.affinity.unwrap().pod_anti_affinity.unwrap();
    assert_eq!(
        preferred.required_during_scheduling_ignored_during_execution,
        None
    );
    assert_eq!(
        preferred
            .preferred_during_scheduling_ignored_during_execution
            .unwrap()[0]
            .weight,
        100
    );
}

#[test]
fn brokers_spread_over_racks_as_far_as_they_can() {
    let spread = pod(|_| {}).topology_spread_constraints.unwrap();
    assert_eq!(spread[0].topology_key, "topology.kubernetes.io/zone");
    assert_eq!(spread[0].when_unsatisfiable, "ScheduleAnyway");
    let strict = pod(|spec| spec.placement.rack_spread = Spread::Required);
    assert_eq!(
        strict.topology_spread_constraints.unwrap()[0].when_unsatisfiable,
        "DoNotSchedule"
    );
}

#[test]
fn what_the_spec_adds_comes_after_what_the_operator_sets() {
    let template = template(|spec| {
        let template = &mut spec.pools[0].pod_template;
        template.labels.insert("team".to_owned(), "data".to_owned());
        template.env = vec![EnvVar {
            name: "TZ".to_owned(),
            value: Some("UTC".to_owned()),
            value_from: None,
        }];
        template.volumes = vec![ExtraVolume {
            name: "ca".to_owned(),
            secret: None,
            config_map: Some(k8s_openapi::api::core::v1::ConfigMapVolumeSource {
                name: "ca".to_owned(),
                ..Default::default()
            }),
        }];
        template.volume_mounts = vec![ExtraMount {
            name: "ca".to_owned(),
            mount_path: "/etc/ca".to_owned(),
            sub_path: None,
        }];
    });
    let meta = template.metadata.unwrap();
    assert_eq!(meta.labels.as_ref().unwrap()["team"], "data");
    assert_eq!(meta.labels.unwrap()[CLUSTER_LABEL], "main");
    let annotations = meta.annotations.unwrap();
    assert!(annotations.contains_key(REVISION) && annotations.contains_key(TEMPLATE_REVISION));
    let pod = template.spec.unwrap();
    let broker = &pod.containers[0];
    assert_eq!(broker.env.as_ref().unwrap().last().unwrap().name, "TZ");
    let mount = broker.volume_mounts.as_ref().unwrap().last().unwrap();
    assert_eq!(
        (mount.mount_path.as_str(), mount.read_only),
        ("/etc/ca", Some(true))
    );
    assert_eq!(pod.volumes.unwrap().last().unwrap().name, "ca");
}
