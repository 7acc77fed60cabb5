//! What is refused of a `KafkaCluster` at once, and how it is said. What only the cluster can know is checked by
//! `cluster/validate.rs`.
//!
//! A rule that compares with the old object stands on the parent of what it is about, and asks `has()` of both sides: a
//! rule on an optional field itself is skipped where the field is removed, and could be got round by removing it and
//! setting it again.

use crate::crd::schema::{Bound, Rule};

/// The rules, from the root down.
pub const RULES: &[Rule] = &[
    Rule {
        at: "",
        check: "self.metadata.name.size() <= 32 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        says: "the name of a KafkaCluster is the first part of its Services' and pods' names: use at most 32 of a-z, 0-9 \
               and -, beginning with a letter",
    },
    // Pools
    Rule {
        at: "spec",
        check: "self.pools.all(p, self.pools.exists_one(q, q.firstBrokerId == p.firstBrokerId))",
        says: "two pools have the same firstBrokerId: give each its own multiple of 1000 (0, 1000, 2000, ...)",
    },
    Rule {
        at: "spec",
        check: "self.pools.all(p, oldSelf.pools.exists(q, q.name == p.name) || \
                !oldSelf.pools.exists(q, q.firstBrokerId == p.firstBrokerId))",
        says: "a new pool can't have the firstBrokerId of one that is there, whose brokers would start a second time: give it \
               another multiple of 1000; a pool is renamed by adding one, then taking the old one out of the list",
    },
    Rule {
        at: "spec.pools[]",
        check: "self.firstBrokerId % 1000 == 0",
        says: "firstBrokerId must be a multiple of 1000: a pool owns the 1000 ids from there on",
    },
    Rule {
        at: "spec.pools[]",
        check: "self.firstBrokerId == oldSelf.firstBrokerId",
        says: "firstBrokerId can't be changed: add a pool with the other ids, then take this one out of the list",
    },
    Rule {
        at: "spec.pools[]",
        check: "self.volumes.size() == 1 && self.volumes[0].name == 'data'",
        says: "a pool has exactly one volume today, called data",
    },
    Rule {
        at: "spec.pools[].volumes[]",
        check: "quantity(self.size).isGreaterThan(quantity('0'))",
        says: "a volume needs a size above 0",
    },
    Rule {
        at: "spec.pools[].volumes[]",
        check: "!quantity(self.size).isLessThan(quantity(oldSelf.size))",
        says: "a volume can't shrink: leave its size, or add a pool with smaller volumes and then take this one out of the \
               list",
    },
    Rule {
        at: "spec.pools[].volumes[]",
        check: "has(self.className) == has(oldSelf.className) && \
                (!has(self.className) || self.className == oldSelf.className)",
        says: "className can't be changed, set or removed: add a pool with the other class, then take this one out of the \
               list",
    },
    // Pods
    Rule {
        at: "spec.pools[].podTemplate",
        check: "!has(self.labels) || self.labels.all(key, \
                !key.startsWith('milena.dev/') && !key.startsWith('app.kubernetes.io/') && \
                !key.startsWith('apps.kubernetes.io/') && !key.startsWith('statefulset.kubernetes.io/'))",
        says: "labels under milena.dev/, app.kubernetes.io/, apps.kubernetes.io/ and statefulset.kubernetes.io/ are set by \
               operators: use another prefix",
    },
    Rule {
        at: "spec.pools[].podTemplate",
        check: "!has(self.annotations) || self.annotations.all(key, !key.startsWith('milena.dev/'))",
        says: "annotations under milena.dev/ are set by the operator: use another prefix",
    },
    Rule {
        at: "spec.pools[].podTemplate",
        check: "!has(self.volumeMounts) || self.volumeMounts.all(m, \
                has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
        says: "volumeMounts names a volume that podTemplate.volumes does not have",
    },
    Rule {
        at: "spec.pools[].podTemplate.env[]",
        check: "!self.name.startsWith('MILENA_')",
        says: "environment variables that begin with MILENA_ are the operator's: broker settings belong in spec.config",
    },
    Rule {
        at: "spec.pools[].podTemplate.env[]",
        check: "!(has(self.value) && has(self.valueFrom))",
        says: "give value or valueFrom, not both",
    },
    Rule {
        at: "spec.pools[].podTemplate.env[].valueFrom",
        check: "has(self.secretKeyRef) != has(self.configMapKeyRef)",
        says: "give exactly one of secretKeyRef and configMapKeyRef",
    },
    Rule {
        at: "spec.pools[].podTemplate.volumes[]",
        check: "has(self.secret) != has(self.configMap)",
        says: "give exactly one of secret and configMap: other volumes are not for brokers",
    },
    Rule {
        at: "spec.pools[].podTemplate.volumes[]",
        check: "!(self.name in ['data', 'config', 'brokers', 'admin', 'pod'])",
        says: "data, config, brokers, admin and pod are the operator's own volumes: choose another name",
    },
    Rule {
        at: "spec.pools[].podTemplate.volumeMounts[]",
        check: "!(self.mountPath + '/').startsWith('/var/lib/milena/') && \
                !(self.mountPath + '/').startsWith('/etc/milena/') && \
                !(self.mountPath + '/').startsWith('/milena/')",
        says: "/var/lib/milena, /etc/milena and /milena are the broker's own: mount elsewhere",
    },
    // The cluster's numbers
    Rule {
        at: "spec.quorum",
        check: "self.voters in [1, 3, 5]",
        says: "voters must be 1, 3 or 5: an even number tolerates no more failures than one less",
    },
    Rule {
        at: "spec",
        check: "!has(self.quorum) || self.quorum.voters <= self.pools.map(p, p.replicas).sum()",
        says: "quorum.voters is more than there are brokers: lower it or add brokers",
    },
    Rule {
        at: "spec",
        check: "!has(self.topicDefaults) || !has(self.topicDefaults.replicationFactor) || \
                self.topicDefaults.replicationFactor <= self.pools.map(p, p.replicas).sum()",
        says: "topicDefaults.replicationFactor is more than there are brokers: lower it or add brokers",
    },
    Rule {
        at: "spec.topicDefaults",
        check: "!has(self.replicationFactor) || !has(self.minInSyncReplicas) || \
                self.minInSyncReplicas <= self.replicationFactor",
        says: "minInSyncReplicas is more than replicationFactor: no record could be written with acks=all",
    },
    Rule {
        at: "spec",
        check: "!has(oldSelf.metadataVersion) || has(self.metadataVersion)",
        says: "metadataVersion can't be removed once it is set: leave it, raise it, or say Auto",
    },
    Rule {
        at: "spec",
        check: "!has(oldSelf.metadataVersion) || !has(self.metadataVersion) || \
                oldSelf.metadataVersion == 'Auto' || self.metadataVersion == 'Auto' || \
                int(self.metadataVersion) >= int(oldSelf.metadataVersion)",
        says: "metadataVersion can't go down: what the brokers have written since could not be read any more",
    },
    // Listeners
    Rule {
        at: "spec",
        check: "!has(self.listeners) || self.listeners.size() == 0 || \
                self.listeners.exists(l, l.name == 'internal' && l.type == 'Internal')",
        says: "listeners needs one of type Internal called internal, for example {name: internal, port: 9092}: clients \
               inside and the operator use it",
    },
    Rule {
        at: "spec",
        check: "!has(self.listeners) || self.listeners.all(l, self.listeners.exists_one(m, m.port == l.port))",
        says: "two listeners have the same port: give each its own",
    },
    Rule {
        at: "spec.listeners[]",
        check: "!(self.port in [9091, 9404])",
        says: "9091 (brokers among themselves) and 9404 (metrics, health, administration) are taken: choose another port",
    },
    Rule {
        at: "spec.listeners[]",
        check: "self.name != 'peers'",
        says: "peers is the brokers' own listener: choose another name",
    },
    Rule {
        at: "spec.listeners[]",
        check: "self.type in ['NodePort', 'LoadBalancer'] || !has(self.externalTrafficPolicy)",
        says: "externalTrafficPolicy is for listeners of type NodePort or LoadBalancer",
    },
    Rule {
        at: "spec.listeners[]",
        check: "self.type in ['NodePort', 'LoadBalancer'] || \
                ((!has(self.bootstrap) || !has(self.bootstrap.nodePort)) && \
                (!has(self.brokers) || self.brokers.all(b, !has(b.nodePort))))",
        says: "nodePort is for listeners of type NodePort or LoadBalancer",
    },
    // Who may have topics
    Rule {
        at: "spec.topicAccess[].namespaces",
        check: "(has(self.names) && self.names.size() > 0) || has(self.selector)",
        says: "namespaces names none: give names, or a selector ({} is every namespace)",
    },
];

/// Bounds of types that are not ours.
pub const BOUNDS: &[Bound] = &[
    Bound {
        at: "spec.pools[].podTemplate.labels{}",
        key: "maxLength",
        most: 63,
    },
    Bound {
        at: "spec.pools[].podTemplate.nodeSelector{}",
        key: "maxLength",
        most: 63,
    },
    Bound {
        at: "spec.pools[].podTemplate.annotations{}",
        key: "maxLength",
        most: 16_384,
    },
    Bound {
        at: "status.conditions[].message",
        key: "maxLength",
        most: 32_768,
    },
    Bound {
        at: "status.brokers[].blockedBy[]",
        key: "maxLength",
        most: 1_024,
    },
];
