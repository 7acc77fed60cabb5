//! A pool's pods: one container, nothing it does not need, and what the spec may choose.

mod scheduling;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, DownwardAPIVolumeFile,
    DownwardAPIVolumeSource, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, Lifecycle,
    LifecycleHandler, LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, SeccompProfile, SecretVolumeSource, SecurityContext, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::asked::ASKED;
use super::owned::{BROKER, POOL_LABEL, labels};
use crate::cluster::wanted::{HTTP_PORT, PEERS_PORT, Wanted, WantedPool};
use crate::crd::cluster::PullPolicy;

/// On pods: [`WantedPool::revision`] that they were built for.
pub const REVISION: &str = "milena.dev/revision";
/// On pods: [`WantedPool::template_revision`] that they were built for.
pub const TEMPLATE_REVISION: &str = "milena.dev/template";

/// The volume of the broker's data, and its claim's first name.
pub const DATA: &str = "data";
/// The user and group of the image.
const USER: i64 = 65_532;
/// Read by the owner and the group.
const SECRET_MODE: i32 = 0o440;

pub(super) fn template(wanted: &Wanted, pool: &WantedPool) -> PodTemplateSpec {
    let mut labels = labels(&wanted.name, BROKER);
    labels.insert(POOL_LABEL.to_owned(), pool.name.clone());
    labels.extend(pool.template.labels.clone());
    let mut annotations = pool.template.annotations.clone();
    annotations.insert(REVISION.to_owned(), pool.revision.clone());
    annotations.insert(TEMPLATE_REVISION.to_owned(), pool.template_revision.clone());
    annotations.insert(ASKED.to_owned(), json!(pool.asked).to_string());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(wanted, pool)),
    }
}

pub(super) fn spec(wanted: &Wanted, pool: &WantedPool) -> PodSpec {
    let given = &pool.template;
    let secret = |name: &String| LocalObjectReference { name: name.clone() };
    PodSpec {
        containers: vec![container(wanted, pool)],
        volumes: Some(volumes(wanted, pool)),
        affinity: scheduling::affinity(wanted, pool),
        topology_spread_constraints: Some(scheduling::spread(wanted, pool)),
        tolerations: some(given.tolerations.clone()),
        node_selector: (!given.node_selector.is_empty()).then(|| given.node_selector.clone()),
        priority_class_name: given.priority_class_name.clone(),
        scheduler_name: given.scheduler_name.clone(),
        runtime_class_name: given.runtime_class_name.clone(),
        service_account_name: Some(format!("{}-broker", wanted.name)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: some(wanted.pull_secrets.iter().map(secret).collect()),
        security_context: Some(pod_security(pool)),
        termination_grace_period_seconds: Some(pool.grace_seconds),
        ..PodSpec::default()
    }
}

fn container(wanted: &Wanted, pool: &WantedPool) -> Container {
    let policy = match wanted.pull_policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    };
    let mut ports = vec![port("peers", PEERS_PORT), port("http", HTTP_PORT)];
    ports.extend(
        wanted
            .listeners
            .iter()
            .map(|it| port(&format!("kafka-{}", it.port), it.port)),
    );
    Container {
        name: "broker".to_owned(),
        image: Some(wanted.image.clone()),
        image_pull_policy: Some(policy.to_owned()),
        args: Some(args()),
        env: Some(env(pool)),
        ports: Some(ports),
        resources: Some(pool.resources.clone()),
        volume_mounts: Some(mounts(pool)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(pre_stop(pool)),
            ..Lifecycle::default()
        }),
        startup_probe: Some(startup()),
        liveness_probe: Some(liveness()),
        readiness_probe: Some(readiness()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: None,
                drop: Some(vec!["ALL".to_owned()]),
            }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn args() -> Vec<String> {
    [
        "serve",
        "--data",
        "/var/lib/milena/data",
        "--config",
        "/etc/milena/cluster/broker.properties",
        "--config",
        "/etc/milena/brokers/$(MILENA_NODE_ID).properties",
    ]
    .map(str::to_owned)
    .into()
}

/// The broker's id is its pod's ordinal, its machine the node; the spec's variables come after.
fn env(pool: &WantedPool) -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(field(path)),
            ..EnvVarSource::default()
        }),
    };
    let mut env = vec![
        field(
            "MILENA_NODE_ID",
            "metadata.labels['apps.kubernetes.io/pod-index']",
        ),
        field("MILENA_BROKER_NODE", "spec.nodeName"),
    ];
    env.extend(pool.template.env.iter().map(|given| EnvVar {
        name: given.name.clone(),
        value: given.value.clone(),
        value_from: given.value_from.as_ref().map(|from| EnvVarSource {
            secret_key_ref: from.secret_key_ref.clone(),
            config_map_key_ref: from.config_map_key_ref.clone(),
            ..EnvVarSource::default()
        }),
    }));
    env
}

fn field(path: &str) -> ObjectFieldSelector {
    ObjectFieldSelector {
        api_version: Some("v1".to_owned()),
        field_path: path.to_owned(),
    }
}

/// The image has no shell; the hook itself keeps a minute of the grace period for the stop.
fn pre_stop(pool: &WantedPool) -> LifecycleHandler {
    let grace = pool.grace_seconds.to_string();
    let command = [
        "/milena",
        "cluster",
        "lease",
        "--self",
        "--grace-period",
        &grace,
    ];
    LifecycleHandler {
        exec: Some(ExecAction {
            command: Some(command.map(str::to_owned).into()),
        }),
        ..LifecycleHandler::default()
    }
}

/// A broker that recovers answers `/healthz/live`; one that does not answer yet has a day, as its disk may be slow.
fn startup() -> Probe {
    probe("/healthz/live", 1, 86_400)
}

/// A stopped or stuck process is restarted after a minute; nothing that others do makes a broker fail this.
fn liveness() -> Probe {
    probe("/healthz/live", 10, 6)
}

fn readiness() -> Probe {
    probe("/healthz/ready", 2, 2)
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(HTTP_PORT),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        success_threshold: Some(1),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn pod_security(pool: &WantedPool) -> PodSecurityContext {
    let given = pool.template.security_context.clone().unwrap_or_default();
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(given.run_as_user.unwrap_or(USER)),
        run_as_group: Some(given.run_as_group.unwrap_or(USER)),
        fs_group: Some(given.fs_group.unwrap_or(USER)),
        // A volume with many files is not walked through at every start.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        supplemental_groups: some(given.supplemental_groups),
        se_linux_options: given.se_linux_options,
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// Where the operator's volumes are mounted: name and path.
const MOUNTS: [(&str, &str); 5] = [
    (DATA, "/var/lib/milena"),
    ("config", "/etc/milena/cluster"),
    ("brokers", "/etc/milena/brokers"),
    ("admin", "/etc/milena/admin"),
    ("pod", "/etc/milena/pod"),
];

fn mounts(pool: &WantedPool) -> Vec<VolumeMount> {
    let own = MOUNTS.iter().map(|(name, path)| VolumeMount {
        name: (*name).to_owned(),
        mount_path: (*path).to_owned(),
        read_only: (*name != DATA).then_some(true),
        ..VolumeMount::default()
    });
    let given = pool.template.volume_mounts.iter().map(|mount| VolumeMount {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        sub_path: mount.sub_path.clone(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    own.chain(given).collect()
}

/// The data volume is the StatefulSet's.
fn volumes(wanted: &Wanted, pool: &WantedPool) -> Vec<Volume> {
    let config_map = |name: &str, config_map: String| Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map,
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mut volumes = vec![
        config_map("config", format!("{}-config", wanted.name)),
        config_map("brokers", format!("{}-brokers", wanted.name)),
        Volume {
            name: "admin".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(format!("{}-admin", wanted.name)),
                default_mode: Some(SECRET_MODE),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "pod".to_owned(),
            downward_api: Some(DownwardAPIVolumeSource {
                items: Some(vec![DownwardAPIVolumeFile {
                    path: "annotations".to_owned(),
                    field_ref: Some(field("metadata.annotations")),
                    ..DownwardAPIVolumeFile::default()
                }]),
                ..DownwardAPIVolumeSource::default()
            }),
            ..Volume::default()
        },
    ];
    volumes.extend(pool.template.volumes.iter().map(|given| Volume {
        name: given.name.clone(),
        secret: given.secret.clone(),
        config_map: given.config_map.clone(),
        ..Volume::default()
    }));
    volumes
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}
