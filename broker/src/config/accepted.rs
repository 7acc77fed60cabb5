//! Kafka's settings that do nothing here, each with the reason. They are known so that a file written for
//! Kafka starts us; where leaving one out without a word would be unsafe, it stops the start instead.

use super::setting::Bounds::{Any, AtLeast, Between, OneOf};
use super::setting::{Effect, Importance, Setting, Type, Update};

/// A setting's name may begin with one of these: what follows names a listener or a mechanism.
pub(super) const PREFIXES: &[&str] = &[
    "listener.name.",
    "rsm.config.",
    "rlmm.config.",
    "confluent.",
];

macro_rules! accepted {
    ($table:ident; $($effect:ident, $reason:literal => {
        $($name:literal $kind:ident = $default:expr, $bounds:expr, $importance:ident, $update:ident;)+
    })+) => {
        pub(super) static $table: &[Setting] = &[
            $($(Setting {
                name: $name,
                kind: Type::$kind,
                default: $default,
                bounds: $bounds,
                importance: Importance::$importance,
                update: Update::$update,
                effect: Effect::$effect,
                synonyms: &[],
                documentation: $reason,
            },)+)+
        ];
    };
}

accepted! {
    BROKER;

    Refused, "There is no authorizer yet, and running without one must not go unnoticed: leave it out to let every client do everything." => {
        "authorizer.class.name" String = Some(""), Any, Low, ReadOnly;
    }

    Refused, "Policies are Java classes, which can't be run here: leave it out, and enforce the policy elsewhere." => {
        "alter.config.policy.class.name" Class = None, Any, Low, ReadOnly;
        "create.topic.policy.class.name" Class = None, Any, Low, ReadOnly;
    }

    Refused, "References to secrets in other places are not resolved: leave it out, and set values by file, environment or flags." => {
        "config.providers" List = Some(""), Any, Low, ClusterWide;
    }

    Refused, "There is no tiered storage yet: leave it out, or records would stay on local disks that were meant to move." => {
        "remote.log.storage.system.enable" Boolean = Some("false"), Any, Medium, ReadOnly;
    }

    Refused, "There are no client quotas yet: leave it out, or limits that the class sets would not hold." => {
        "client.quota.callback.class" Class = None, Any, Low, ReadOnly;
    }

    Ignored, "It is part of tiered storage, which is not there yet." => {
        "follower.fetch.last.tiered.offset.enable" Boolean = Some("false"), Any, Medium, ClusterWide;
        "log.local.retention.bytes" Long = Some("-2"), AtLeast(-2), Medium, ClusterWide;
        "log.local.retention.ms" Long = Some("-2"), AtLeast(-2), Medium, ClusterWide;
        "remote.fetch.max.wait.ms" Int = Some("500"), AtLeast(1), Medium, ClusterWide;
        "remote.list.offsets.request.timeout.ms" Long = Some("30000"), AtLeast(1), Medium, ClusterWide;
        "remote.log.index.file.cache.total.size.bytes" Long = Some("1073741824"), AtLeast(1), Low, ClusterWide;
        "remote.log.manager.copier.thread.pool.size" Int = Some("10"), AtLeast(1), Medium, ClusterWide;
        "remote.log.manager.copy.max.bytes.per.second" Long = Some("9223372036854775807"), AtLeast(1), Medium, ClusterWide;
        "remote.log.manager.copy.quota.window.num" Int = Some("11"), AtLeast(1), Medium, ReadOnly;
        "remote.log.manager.copy.quota.window.size.seconds" Int = Some("1"), AtLeast(1), Medium, ReadOnly;
        "remote.log.manager.expiration.thread.pool.size" Int = Some("10"), AtLeast(1), Medium, ClusterWide;
        "remote.log.manager.fetch.max.bytes.per.second" Long = Some("9223372036854775807"), AtLeast(1), Medium, ClusterWide;
        "remote.log.manager.fetch.quota.window.num" Int = Some("11"), AtLeast(1), Medium, ReadOnly;
        "remote.log.manager.fetch.quota.window.size.seconds" Int = Some("1"), AtLeast(1), Medium, ReadOnly;
        "remote.log.manager.follower.thread.pool.size" Int = Some("2"), AtLeast(1), Medium, ClusterWide;
        "remote.log.manager.task.interval.ms" Long = Some("30000"), AtLeast(1), Low, ReadOnly;
        "remote.log.manager.thread.pool.size" Int = Some("2"), AtLeast(1), Medium, ReadOnly;
        "remote.log.metadata.custom.metadata.max.bytes" Int = Some("128"), AtLeast(0), Low, ReadOnly;
        "remote.log.metadata.manager.class.name" String = Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), Any, Medium, ReadOnly;
        "remote.log.metadata.manager.class.path" String = None, Any, Medium, ReadOnly;
        "remote.log.metadata.manager.impl.prefix" String = Some("rlmm.config."), Any, Medium, ReadOnly;
        "remote.log.metadata.manager.listener.name" String = None, Any, Medium, ReadOnly;
        "remote.log.reader.max.pending.tasks" Int = Some("100"), AtLeast(1), Medium, ReadOnly;
        "remote.log.reader.threads" Int = Some("10"), AtLeast(1), Medium, ClusterWide;
        "remote.log.storage.manager.class.name" String = None, Any, Medium, ReadOnly;
        "remote.log.storage.manager.class.path" String = None, Any, Medium, ReadOnly;
        "remote.log.storage.manager.impl.prefix" String = Some("rsm.config."), Any, Medium, ReadOnly;
    }

    Ignored, "It is part of TLS, which is not served yet; a listener that needs it stops the start." => {
        "ssl.allow.dn.changes" Boolean = Some("false"), Any, Low, ReadOnly;
        "ssl.allow.san.changes" Boolean = Some("false"), Any, Low, ReadOnly;
        "ssl.cipher.suites" List = Some(""), Any, Medium, PerBroker;
        "ssl.client.auth" String = Some("none"), OneOf(&["required", "requested", "none"]), Medium, PerBroker;
        "ssl.enabled.protocols" List = Some("TLSv1.2,TLSv1.3"), Any, Medium, PerBroker;
        "ssl.endpoint.identification.algorithm" String = Some("https"), Any, Low, PerBroker;
        "ssl.engine.factory.class" Class = None, Any, Low, PerBroker;
        "ssl.key.password" Password = None, Any, Medium, PerBroker;
        "ssl.keymanager.algorithm" String = Some("SunX509"), Any, Medium, PerBroker;
        "ssl.keystore.certificate.chain" Password = None, Any, Medium, PerBroker;
        "ssl.keystore.key" Password = None, Any, Medium, PerBroker;
        "ssl.keystore.location" String = None, Any, Medium, PerBroker;
        "ssl.keystore.password" Password = None, Any, Medium, PerBroker;
        "ssl.keystore.type" String = Some("JKS"), Any, Medium, PerBroker;
        "ssl.principal.mapping.rules" String = Some("DEFAULT"), Any, Low, ReadOnly;
        "ssl.protocol" String = Some("TLSv1.3"), Any, Medium, PerBroker;
        "ssl.provider" String = None, Any, Medium, PerBroker;
        "ssl.secure.random.implementation" String = None, Any, Low, PerBroker;
        "ssl.trustmanager.algorithm" String = Some("PKIX"), Any, Medium, PerBroker;
        "ssl.truststore.certificates" Password = None, Any, Medium, PerBroker;
        "ssl.truststore.location" String = None, Any, Medium, PerBroker;
        "ssl.truststore.password" Password = None, Any, Medium, PerBroker;
        "ssl.truststore.type" String = Some("JKS"), Any, Medium, PerBroker;
    }

    Ignored, "It is part of SASL, which is not served yet; a listener that needs it stops the start." => {
        "connection.failed.authentication.delay.ms" Int = Some("100"), AtLeast(0), Low, ReadOnly;
        "connections.max.reauth.ms" Long = Some("0"), Any, Medium, ReadOnly;
        "sasl.client.callback.handler.class" Class = None, Any, Medium, ReadOnly;
        "sasl.enabled.mechanisms" List = Some("GSSAPI"), Any, Medium, PerBroker;
        "sasl.jaas.config" Password = None, Any, Medium, PerBroker;
        "sasl.kerberos.kinit.cmd" String = Some("/usr/bin/kinit"), Any, Medium, PerBroker;
        "sasl.kerberos.min.time.before.relogin" Long = Some("60000"), Any, Medium, PerBroker;
        "sasl.kerberos.principal.to.local.rules" List = Some("DEFAULT"), Any, Medium, PerBroker;
        "sasl.kerberos.service.name" String = None, Any, Medium, PerBroker;
        "sasl.kerberos.ticket.renew.jitter" Double = Some("0.05"), Any, Medium, PerBroker;
        "sasl.kerberos.ticket.renew.window.factor" Double = Some("0.8"), Any, Medium, PerBroker;
        "sasl.login.callback.handler.class" Class = None, Any, Medium, ReadOnly;
        "sasl.login.class" Class = None, Any, Medium, ReadOnly;
        "sasl.login.connect.timeout.ms" Int = None, Any, Low, ReadOnly;
        "sasl.login.read.timeout.ms" Int = None, Any, Low, ReadOnly;
        "sasl.login.refresh.buffer.seconds" Short = Some("300"), Any, Medium, PerBroker;
        "sasl.login.refresh.min.period.seconds" Short = Some("60"), Any, Medium, PerBroker;
        "sasl.login.refresh.window.factor" Double = Some("0.8"), Any, Medium, PerBroker;
        "sasl.login.refresh.window.jitter" Double = Some("0.05"), Any, Medium, PerBroker;
        "sasl.login.retry.backoff.max.ms" Long = Some("10000"), Any, Low, ReadOnly;
        "sasl.login.retry.backoff.ms" Long = Some("100"), Any, Low, ReadOnly;
        "sasl.mechanism.controller.protocol" String = Some("GSSAPI"), Any, High, ReadOnly;
        "sasl.mechanism.inter.broker.protocol" String = Some("GSSAPI"), Any, Medium, PerBroker;
        "sasl.oauthbearer.assertion.algorithm" String = Some("RS256"), Any, Medium, ReadOnly;
        "sasl.oauthbearer.assertion.claim.aud" String = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.assertion.claim.exp.seconds" Int = Some("300"), Between(0, 86400), Low, ReadOnly;
        "sasl.oauthbearer.assertion.claim.iss" String = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.assertion.claim.jti.include" Boolean = Some("false"), Any, Medium, ReadOnly;
        "sasl.oauthbearer.assertion.claim.nbf.seconds" Int = Some("60"), Between(0, 3600), Low, ReadOnly;
        "sasl.oauthbearer.assertion.claim.sub" String = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.assertion.file" String = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.assertion.private.key.file" String = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.assertion.private.key.passphrase" Password = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.assertion.template.file" String = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.client.credentials.client.id" String = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.client.credentials.client.secret" Password = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.clock.skew.seconds" Int = Some("30"), Any, Low, ReadOnly;
        "sasl.oauthbearer.expected.audience" List = Some(""), Any, High, ReadOnly;
        "sasl.oauthbearer.expected.issuer" String = None, Any, High, ReadOnly;
        "sasl.oauthbearer.jwks.endpoint.refresh.ms" Long = Some("3600000"), Any, Low, ReadOnly;
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms" Long = Some("10000"), Any, Low, ReadOnly;
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms" Long = Some("100"), Any, Low, ReadOnly;
        "sasl.oauthbearer.jwks.endpoint.url" String = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.jwt.retriever.class" Class = Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"), Any, Medium, ReadOnly;
        "sasl.oauthbearer.jwt.validator.class" Class = Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"), Any, Medium, ReadOnly;
        "sasl.oauthbearer.scope" String = None, Any, Medium, ReadOnly;
        "sasl.oauthbearer.scope.claim.name" String = Some("scope"), Any, Low, ReadOnly;
        "sasl.oauthbearer.sub.claim.name" String = Some("sub"), Any, Low, ReadOnly;
        "sasl.oauthbearer.token.endpoint.url" String = None, Any, Medium, ReadOnly;
        "sasl.server.callback.handler.class" Class = None, Any, Medium, ReadOnly;
        "sasl.server.max.receive.size" Int = Some("524288"), Any, Medium, ReadOnly;
    }

    Ignored, "It belongs to authentication or authorization, which are not there yet." => {
        "allow.everyone.if.no.acl.found" Boolean = Some("false"), Any, Medium, ReadOnly;
        "delegation.token.expiry.check.interval.ms" Long = Some("3600000"), AtLeast(1), Low, ReadOnly;
        "delegation.token.expiry.time.ms" Long = Some("86400000"), AtLeast(1), Medium, ReadOnly;
        "delegation.token.master.key" Password = None, Any, Medium, ReadOnly;
        "delegation.token.max.lifetime.ms" Long = Some("604800000"), AtLeast(1), Medium, ReadOnly;
        "delegation.token.secret.key" Password = None, Any, Medium, ReadOnly;
        "password.encoder.cipher.algorithm" String = Some("AES/CBC/PKCS5Padding"), Any, Low, ReadOnly;
        "password.encoder.iterations" Int = Some("4096"), AtLeast(1024), Low, ReadOnly;
        "password.encoder.key.length" Int = Some("128"), AtLeast(8), Low, ReadOnly;
        "password.encoder.keyfactory.algorithm" String = None, Any, Low, ReadOnly;
        "password.encoder.old.secret" Password = None, Any, Medium, ReadOnly;
        "password.encoder.secret" Password = None, Any, Medium, ReadOnly;
        "principal.builder.class" Class = Some("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"), Any, Medium, PerBroker;
        "security.providers" String = None, Any, Low, ReadOnly;
        "super.users" String = Some(""), Any, Medium, ReadOnly;
    }

    Ignored, "It concerns ZooKeeper, which is not needed here." => {
        "broker.id.generation.enable" Boolean = Some("true"), Any, Medium, ReadOnly;
        "control.plane.listener.name" String = None, Any, High, ReadOnly;
        "eligible.leader.replicas.enable" Boolean = Some("false"), Any, High, ReadOnly;
        "reserved.broker.max.id" Int = Some("1000"), AtLeast(0), Medium, ReadOnly;
        "zookeeper.clientCnxnSocket" String = None, Any, Medium, ReadOnly;
        "zookeeper.connect" String = None, Any, High, ReadOnly;
        "zookeeper.connection.timeout.ms" Int = None, Any, High, ReadOnly;
        "zookeeper.max.in.flight.requests" Int = Some("10"), AtLeast(1), High, ReadOnly;
        "zookeeper.metadata.migration.enable" Boolean = Some("false"), Any, High, ReadOnly;
        "zookeeper.session.timeout.ms" Int = Some("18000"), Any, High, ReadOnly;
        "zookeeper.set.acl" Boolean = Some("false"), Any, High, ReadOnly;
        "zookeeper.ssl.cipher.suites" List = None, Any, Low, ReadOnly;
        "zookeeper.ssl.client.enable" Boolean = Some("false"), Any, Medium, ReadOnly;
        "zookeeper.ssl.crl.enable" Boolean = Some("false"), Any, Low, ReadOnly;
        "zookeeper.ssl.enabled.protocols" List = None, Any, Low, ReadOnly;
        "zookeeper.ssl.endpoint.identification.algorithm" String = Some("HTTPS"), Any, Low, ReadOnly;
        "zookeeper.ssl.keystore.location" String = None, Any, Medium, ReadOnly;
        "zookeeper.ssl.keystore.password" Password = None, Any, Medium, ReadOnly;
        "zookeeper.ssl.keystore.type" String = None, Any, Medium, ReadOnly;
        "zookeeper.ssl.ocsp.enable" Boolean = Some("false"), Any, Low, ReadOnly;
        "zookeeper.ssl.protocol" String = Some("TLSv1.2"), Any, Low, ReadOnly;
        "zookeeper.ssl.truststore.location" String = None, Any, Medium, ReadOnly;
        "zookeeper.ssl.truststore.password" Password = None, Any, Medium, ReadOnly;
        "zookeeper.ssl.truststore.type" String = None, Any, Medium, ReadOnly;
    }

    Ignored, "It concerns Kafka's controllers or metadata log; the metadata quorum here has no such parts and sizes itself." => {
        "broker.heartbeat.interval.ms" Int = Some("2000"), Any, Medium, ReadOnly;
        "controlled.shutdown.enable" Boolean = Some("true"), Any, Medium, ReadOnly;
        "controlled.shutdown.max.retries" Int = Some("3"), Any, Medium, ReadOnly;
        "controlled.shutdown.retry.backoff.ms" Long = Some("5000"), Any, Medium, ReadOnly;
        "controller.quorum.append.linger.ms" Int = Some("25"), AtLeast(0), Medium, ReadOnly;
        "controller.quorum.auto.join.enable" Boolean = Some("false"), Any, Low, ReadOnly;
        "controller.quorum.election.backoff.max.ms" Int = Some("1000"), AtLeast(0), High, ReadOnly;
        "controller.quorum.election.timeout.ms" Int = Some("1000"), AtLeast(0), High, ReadOnly;
        "controller.quorum.fetch.max.bytes" Int = Some("1048576"), AtLeast(1), Low, ReadOnly;
        "controller.quorum.fetch.snapshot.max.bytes" Int = Some("1048576"), AtLeast(1), Low, ReadOnly;
        "controller.quorum.fetch.timeout.ms" Int = Some("2000"), AtLeast(0), High, ReadOnly;
        "controller.quorum.request.timeout.ms" Int = Some("2000"), AtLeast(0), Medium, ReadOnly;
        "controller.quorum.retry.backoff.ms" Int = Some("20"), AtLeast(0), Low, ReadOnly;
        "controller.quota.window.num" Int = Some("11"), AtLeast(1), Low, ReadOnly;
        "controller.quota.window.size.seconds" Int = Some("1"), AtLeast(1), Low, ReadOnly;
        "controller.socket.timeout.ms" Int = Some("30000"), Any, Medium, ReadOnly;
        "early.start.listeners" List = None, Any, High, ReadOnly;
        "initial.broker.registration.timeout.ms" Int = Some("60000"), Any, Medium, ReadOnly;
        "metadata.log.max.record.bytes.between.snapshots" Long = Some("20971520"), AtLeast(1), High, ReadOnly;
        "metadata.log.max.snapshot.interval.ms" Long = Some("3600000"), AtLeast(0), High, ReadOnly;
        "metadata.log.segment.bytes" Int = Some("1073741824"), AtLeast(8388608), High, ReadOnly;
        "metadata.log.segment.ms" Long = Some("604800000"), Any, High, ReadOnly;
        "metadata.max.idle.interval.ms" Int = Some("500"), AtLeast(0), Low, ReadOnly;
        "metadata.max.retention.bytes" Long = Some("104857600"), Any, High, ReadOnly;
        "metadata.max.retention.ms" Long = Some("604800000"), Any, High, ReadOnly;
        "process.roles" List = None, Any, High, ReadOnly;
    }

    Ignored, "It sizes Kafka's pools of threads or queues; here threads follow the CPU limit and queues have bounds of their own." => {
        "background.threads" Int = Some("10"), AtLeast(1), High, ClusterWide;
        "group.coordinator.append.linger.ms" Int = Some("-1"), AtLeast(-1), Medium, ReadOnly;
        "group.coordinator.background.threads" Int = Some("2"), AtLeast(1), High, ReadOnly;
        "group.coordinator.cached.buffer.max.bytes" Int = Some("1048588"), AtLeast(524288), Medium, ClusterWide;
        "group.coordinator.rebalance.protocols" List = Some("classic,consumer,streams"), OneOf(&["consumer", "classic", "share", "streams"]), Medium, ReadOnly;
        "group.coordinator.threads" Int = Some("4"), AtLeast(1), High, ReadOnly;
        "num.io.threads" Int = Some("8"), AtLeast(1), High, ClusterWide;
        "num.network.threads" Int = Some("3"), AtLeast(1), High, ClusterWide;
        "num.replica.alter.log.dirs.threads" Int = None, Any, High, ReadOnly;
        "queued.max.requests" Int = Some("500"), AtLeast(1), High, ReadOnly;
        "socket.receive.buffer.bytes" Int = Some("102400"), Any, High, ReadOnly;
        "socket.send.buffer.bytes" Int = Some("102400"), Any, High, ReadOnly;
        "transaction.partition.verification.enable" Boolean = Some("true"), Any, Low, ClusterWide;
    }

    Ignored, "It sizes Kafka's cleaner; here logs are compacted one after the other by one thread, whose buffers have sizes of their own." => {
        "log.cleaner.io.buffer.load.factor" Double = Some("0.9"), Any, Medium, ClusterWide;
        "log.cleaner.io.buffer.size" Int = Some("524288"), AtLeast(0), Medium, ClusterWide;
        "log.cleaner.threads" Int = Some("1"), AtLeast(0), Medium, ClusterWide;
    }

    Ignored, "Committed offsets are read 4 MiB at a time, and a commit is answered once it holds, or can't any more." => {
        "offsets.commit.timeout.ms" Int = Some("5000"), AtLeast(1), High, ReadOnly;
        "offsets.load.buffer.size" Int = Some("5242880"), AtLeast(1), High, ReadOnly;
    }

    Ignored, "It sizes Kafka's purgatories; a waiting request here is woken by what it waits for." => {
        "delete.records.purgatory.purge.interval.requests" Int = Some("1"), Any, Medium, ReadOnly;
        "fetch.purgatory.purge.interval.requests" Int = Some("1000"), Any, Medium, ReadOnly;
        "producer.purgatory.purge.interval.requests" Int = Some("1000"), Any, Medium, ReadOnly;
        "share.fetch.purgatory.purge.interval.requests" Int = Some("1000"), Any, Medium, ReadOnly;
    }

    Ignored, "It tunes how Kafka copies partitions between brokers; here there is nothing like it to tune." => {
        "alter.log.dirs.replication.quota.window.num" Int = Some("11"), AtLeast(1), Low, ReadOnly;
        "alter.log.dirs.replication.quota.window.size.seconds" Int = Some("1"), AtLeast(1), Low, ReadOnly;
        "cordoned.log.dirs" List = Some(""), Any, Medium, PerBroker;
        "leader.replication.throttled.rate" Long = Some("9223372036854775807"), AtLeast(0), Medium, ClusterWide;
        "log.dir.failure.timeout.ms" Long = Some("30000"), AtLeast(1), Low, ReadOnly;
        "num.replica.fetchers" Int = Some("1"), AtLeast(1), High, ClusterWide;
        "replica.fetch.min.bytes" Int = Some("1"), Any, High, ReadOnly;
        "replica.socket.receive.buffer.bytes" Int = Some("65536"), Any, High, ReadOnly;
        "replica.socket.timeout.ms" Int = Some("30000"), Any, High, ReadOnly;
        "replication.quota.window.num" Int = Some("11"), AtLeast(1), Low, ReadOnly;
        "replication.quota.window.size.seconds" Int = Some("1"), AtLeast(1), Low, ReadOnly;
        "request.timeout.ms" Int = Some("30000"), Any, High, ReadOnly;
        "socket.connection.setup.timeout.max.ms" Long = Some("30000"), Any, Medium, ReadOnly;
        "socket.connection.setup.timeout.ms" Long = Some("10000"), Any, Medium, ReadOnly;
    }

    Ignored, "It is part of transactions, which are not there yet." => {
        "add.partitions.to.txn.retry.backoff.max.ms" Int = Some("100"), AtLeast(0), High, ReadOnly;
        "add.partitions.to.txn.retry.backoff.ms" Int = Some("20"), AtLeast(1), High, ReadOnly;
        "transaction.abort.timed.out.transaction.cleanup.interval.ms" Int = Some("10000"), AtLeast(1), Low, ReadOnly;
        "transaction.max.timeout.ms" Int = Some("900000"), AtLeast(1), High, ReadOnly;
        "transaction.remove.expired.transaction.cleanup.interval.ms" Int = Some("3600000"), AtLeast(1), Low, ReadOnly;
        "transaction.state.log.load.buffer.size" Int = Some("5242880"), AtLeast(1), High, ReadOnly;
        "transaction.state.log.min.isr" Int = Some("2"), AtLeast(1), High, ReadOnly;
        "transaction.state.log.num.partitions" Int = Some("50"), AtLeast(1), High, ReadOnly;
        "transaction.state.log.replication.factor" Short = Some("3"), AtLeast(1), High, ReadOnly;
        "transaction.state.log.segment.bytes" Int = Some("104857600"), AtLeast(1), High, ReadOnly;
        "transaction.two.phase.commit.enable" Boolean = Some("false"), Any, Low, ReadOnly;
        "transactional.id.expiration.ms" Int = Some("604800000"), AtLeast(1), High, ReadOnly;
    }

    Ignored, "It is part of the consumer protocol of KIP-848, which is not there yet; classic groups don't use it." => {
        "group.consumer.assignment.interval.ms" Int = Some("1000"), AtLeast(0), Medium, ClusterWide;
        "group.consumer.assignors" List = Some("uniform,range"), Any, Medium, ReadOnly;
        "group.consumer.heartbeat.interval.ms" Int = Some("5000"), AtLeast(1), Medium, ReadOnly;
        "group.consumer.max.assignment.interval.ms" Int = Some("15000"), AtLeast(0), Medium, ReadOnly;
        "group.consumer.max.heartbeat.interval.ms" Int = Some("15000"), AtLeast(1), Medium, ReadOnly;
        "group.consumer.max.session.timeout.ms" Int = Some("60000"), AtLeast(1), Medium, ReadOnly;
        "group.consumer.max.size" Int = Some("2147483647"), AtLeast(1), Medium, ReadOnly;
        "group.consumer.migration.policy" String = Some("bidirectional"), Any, Medium, ReadOnly;
        "group.consumer.min.assignment.interval.ms" Int = Some("0"), AtLeast(0), Medium, ReadOnly;
        "group.consumer.min.heartbeat.interval.ms" Int = Some("5000"), AtLeast(1), Medium, ReadOnly;
        "group.consumer.min.session.timeout.ms" Int = Some("45000"), AtLeast(1), Medium, ReadOnly;
        "group.consumer.session.timeout.ms" Int = Some("45000"), AtLeast(1), Medium, ReadOnly;
    }

    Ignored, "It is part of share groups, which are not there yet." => {
        "group.share.assignment.interval.ms" Int = Some("1000"), AtLeast(0), Medium, ClusterWide;
        "group.share.assignors" List = Some("simple"), Any, Medium, ReadOnly;
        "group.share.delivery.count.limit" Int = Some("5"), Between(2, 10), Medium, ReadOnly;
        "group.share.heartbeat.interval.ms" Int = Some("5000"), AtLeast(1), Medium, ReadOnly;
        "group.share.max.assignment.interval.ms" Int = Some("15000"), AtLeast(0), Medium, ReadOnly;
        "group.share.max.delivery.count.limit" Int = Some("10"), Between(5, 25), Medium, ReadOnly;
        "group.share.max.groups" Short = Some("10"), Between(1, 100), Medium, ReadOnly;
        "group.share.max.heartbeat.interval.ms" Int = Some("15000"), AtLeast(1), Medium, ReadOnly;
        "group.share.max.partition.max.record.locks" Int = Some("4000"), Between(2000, 10000), Medium, ReadOnly;
        "group.share.max.record.lock.duration.ms" Int = Some("60000"), Between(30000, 3600000), Medium, ReadOnly;
        "group.share.max.session.timeout.ms" Int = Some("60000"), AtLeast(1), Medium, ReadOnly;
        "group.share.max.share.sessions" Int = Some("2000"), AtLeast(1), Medium, ReadOnly;
        "group.share.max.size" Int = Some("200"), Between(1, 1000), Medium, ReadOnly;
        "group.share.min.assignment.interval.ms" Int = Some("0"), AtLeast(0), Medium, ReadOnly;
        "group.share.min.delivery.count.limit" Int = Some("2"), Between(2, 5), Medium, ReadOnly;
        "group.share.min.heartbeat.interval.ms" Int = Some("5000"), AtLeast(1), Medium, ReadOnly;
        "group.share.min.partition.max.record.locks" Int = Some("100"), Between(100, 2000), Medium, ReadOnly;
        "group.share.min.record.lock.duration.ms" Int = Some("15000"), Between(1000, 30000), Medium, ReadOnly;
        "group.share.min.session.timeout.ms" Int = Some("45000"), AtLeast(1), Medium, ReadOnly;
        "group.share.partition.max.record.locks" Int = Some("2000"), Between(100, 10000), Medium, ReadOnly;
        "group.share.record.lock.duration.ms" Int = Some("30000"), Between(1000, 3600000), Medium, ReadOnly;
        "group.share.session.timeout.ms" Int = Some("45000"), AtLeast(1), Medium, ReadOnly;
        "share.coordinator.append.linger.ms" Int = Some("-1"), AtLeast(-1), Medium, ReadOnly;
        "share.coordinator.cached.buffer.max.bytes" Int = Some("1048588"), AtLeast(524288), Medium, ClusterWide;
        "share.coordinator.load.buffer.size" Int = Some("5242880"), AtLeast(1), High, ReadOnly;
        "share.coordinator.snapshot.update.records.per.snapshot" Int = Some("500"), Between(0, 500), Medium, ReadOnly;
        "share.coordinator.state.topic.compression.codec" Int = Some("0"), Any, High, ReadOnly;
        "share.coordinator.state.topic.min.isr" Short = Some("2"), AtLeast(1), High, ReadOnly;
        "share.coordinator.state.topic.num.partitions" Int = Some("50"), AtLeast(1), High, ReadOnly;
        "share.coordinator.state.topic.replication.factor" Short = Some("3"), AtLeast(1), High, ReadOnly;
        "share.coordinator.state.topic.segment.bytes" Int = Some("104857600"), AtLeast(1), High, ReadOnly;
        "share.coordinator.threads" Int = Some("1"), AtLeast(1), Medium, ReadOnly;
        "share.coordinator.write.timeout.ms" Int = Some("5000"), AtLeast(1), High, ReadOnly;
    }

    Ignored, "It is part of streams groups, which are not there yet." => {
        "group.streams.assignment.interval.ms" Int = Some("1000"), AtLeast(0), Medium, ClusterWide;
        "group.streams.heartbeat.interval.ms" Int = Some("5000"), AtLeast(1), Medium, ReadOnly;
        "group.streams.initial.rebalance.delay.ms" Int = Some("3000"), AtLeast(0), Medium, ReadOnly;
        "group.streams.max.assignment.interval.ms" Int = Some("15000"), AtLeast(0), Medium, ReadOnly;
        "group.streams.max.heartbeat.interval.ms" Int = Some("15000"), AtLeast(1), Medium, ReadOnly;
        "group.streams.max.session.timeout.ms" Int = Some("60000"), AtLeast(1), Medium, ReadOnly;
        "group.streams.max.size" Int = Some("2147483647"), AtLeast(1), Medium, ReadOnly;
        "group.streams.max.standby.replicas" Int = Some("2"), AtLeast(0), Medium, ReadOnly;
        "group.streams.min.assignment.interval.ms" Int = Some("0"), AtLeast(0), Medium, ReadOnly;
        "group.streams.min.heartbeat.interval.ms" Int = Some("5000"), AtLeast(1), Medium, ReadOnly;
        "group.streams.min.session.timeout.ms" Int = Some("45000"), AtLeast(1), Medium, ReadOnly;
        "group.streams.num.standby.replicas" Int = Some("0"), AtLeast(0), Medium, ReadOnly;
        "group.streams.session.timeout.ms" Int = Some("45000"), AtLeast(1), Medium, ReadOnly;
    }

    Ignored, "It is about Kafka's own metrics; here they are served on `http.listener`." => {
        "auto.include.jmx.reporter" Boolean = Some("true"), Any, Low, ReadOnly;
        "kafka.metrics.polling.interval.secs" Int = Some("10"), AtLeast(1), Low, ReadOnly;
        "kafka.metrics.reporters" List = Some(""), Any, Low, ReadOnly;
        "metric.reporters" List = Some("org.apache.kafka.common.metrics.JmxReporter"), Any, Low, ClusterWide;
        "metrics.num.samples" Int = Some("2"), AtLeast(1), Low, ReadOnly;
        "metrics.recording.level" String = Some("INFO"), Any, Low, ReadOnly;
        "metrics.sample.window.ms" Long = Some("30000"), AtLeast(1), Low, ReadOnly;
        "telemetry.max.bytes" Int = Some("1048576"), AtLeast(1), Low, ReadOnly;
    }

    Ignored, "It is part of quotas, which are not there yet." => {
        "max.connection.creation.rate" Int = Some("2147483647"), AtLeast(0), Medium, ClusterWide;
        "quota.window.num" Int = Some("11"), AtLeast(1), Low, ReadOnly;
        "quota.window.size.seconds" Int = Some("1"), AtLeast(1), Low, ReadOnly;
    }

    Ignored, "It has no effect in today's Kafka either, and is known for the sake of older files." => {
        "inter.broker.protocol.version" String = Some("3.9-IV0"), Any, Medium, ReadOnly;
        "log.message.downconversion.enable" Boolean = Some("true"), Any, Low, ReadOnly;
        "log.message.format.version" String = Some("3.0-IV1"), Any, Medium, ReadOnly;
        "log.message.timestamp.difference.max.ms" Long = Some("9223372036854775807"), AtLeast(0), Medium, ReadOnly;
        "offsets.commit.required.acks" Short = Some("-1"), Any, High, ReadOnly;
        "offsets.topic.compression.codec" Int = Some("0"), Any, High, ReadOnly;
    }
}

accepted! {
    TOPIC;

    Refused, "There is no tiered storage yet: leave it out, or records would stay on local disks that were meant to move." => {
        "remote.storage.enable" Boolean = Some("false"), Any, Medium, ClusterWide;
    }

    Ignored, "It is part of tiered storage, which is not there yet." => {
        "local.retention.bytes" Long = Some("-2"), AtLeast(-2), Medium, ClusterWide;
        "local.retention.ms" Long = Some("-2"), AtLeast(-2), Medium, ClusterWide;
        "remote.log.copy.disable" Boolean = Some("false"), Any, Medium, ClusterWide;
        "remote.log.delete.on.disable" Boolean = Some("false"), Any, Medium, ClusterWide;
    }

    Ignored, "It tunes how Kafka copies partitions between brokers; here there is nothing like it to tune." => {
        "leader.replication.throttled.replicas" List = Some(""), Any, Medium, ClusterWide;
    }

    Ignored, "It has no effect in today's Kafka either, and is known for the sake of older clients." => {
        "message.downconversion.enable" Boolean = Some("true"), Any, Low, ClusterWide;
        "message.format.version" String = Some("3.0-IV1"), Any, Medium, ClusterWide;
        "message.timestamp.difference.max.ms" Long = Some("9223372036854775807"), AtLeast(0), Medium, ClusterWide;
    }
}
