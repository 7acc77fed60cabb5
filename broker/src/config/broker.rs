//! The broker's settings that have an effect, row by row. `topic.rs` has the topics', `accepted.rs` those
//! of Kafka's that mean nothing here. Names, types, defaults and bounds are Kafka 4's
//! (<https://kafka.apache.org/documentation/#brokerconfigs>) unless the row says otherwise.

use super::setting::Bounds::{Any, AtLeast, Between, BetweenOr, Form, Fraction, NotEmpty, OneOf};
use super::setting::settings;
use super::topic::{NODE_SPREADS, RACK_SPREADS};
use super::value::{CleanupPolicy, CompressionType, LogFormat, TimestampType, are_ids};

const MAX_INT: Option<&str> = Some("2147483647");
const MAX_LONG: Option<&str> = Some("9223372036854775807");

settings! {
    /// The broker's settings with their types; [`super::BrokerConfig`] adds what follows from several.
    BROKER => BrokerSettings;

    // Who and where

    /// This broker's number in its cluster. Kafka requires it; a single broker here is 1 without it.
    "node.id" node_id: i32 = Some("1"), AtLeast(0), High, ReadOnly;
    /// The older name of `node.id`; -1 is unset. Where both are given they must be equal.
    "broker.id" broker_id: i32 = Some("-1"), AtLeast(-1), High, ReadOnly;
    /// The cluster's id, 22 letters of URL-safe base64. Without it the first start makes one. A data
    /// directory that belongs to another cluster stops the start. (Not in Kafka, where formatting sets it.)
    "cluster.id" cluster_id: Option<String> = None, NotEmpty, Medium, ReadOnly;
    /// Where the broker is, such as a zone: the text that clients and replica placement see.
    "broker.rack" broker_rack: Option<String> = None, Any, Medium, ReadOnly;
    /// A file with the annotations of the pod that the broker is in, as a volume of Kubernetes' downward API has it. Of
    /// these, `milena.dev/zone` is the broker's rack where `broker.rack` is not given, and `milena.dev/claim-uid` names
    /// the volume that the data directory is bound to: on another one the broker refuses to run. The file is looked at
    /// every second, and never waited for: until it names a zone, the rack is the one that was last named on the same
    /// `broker.node`, or none. In such a pod the broker also looks at the files of its configuration, and takes over
    /// `advertised.listeners` from them while it runs. (Not in Kafka.)
    "broker.annotations.file" annotations_file: Option<String> = None, NotEmpty, Medium, ReadOnly;
    /// The machine that the broker runs on: no two replicas of a partition are placed on one. Without it, each
    /// broker counts as a machine of its own. (Not in Kafka.)
    "broker.node" broker_node: Option<String> = None, NotEmpty, Medium, ReadOnly;
    /// The pool that the broker belongs to, which topics may name in `placement.pools`. (Not in Kafka.)
    "broker.pool" broker_pool: Option<String> = None, NotEmpty, Medium, ReadOnly;
    /// How consumers are spread over replicas. With `org.apache.kafka.common.replica.RackAwareReplicaSelector` those
    /// whose `client.rack` is the rack of a replica in sync read from it; with any other class, or without one,
    /// everybody reads from the leader.
    "replica.selector.class" replica_selector_class: Option<String> = None, Any, Medium, ReadOnly;
    /// The directories for partitions' data, separated by commas. Without it `log.dir` counts.
    "log.dirs" log_dirs: Option<Vec<String>> = None, NotEmpty, High, ReadOnly;
    /// The directory for partitions' data where `log.dirs` is not given. The default is a folder where
    /// the broker is started (Kafka's is /tmp/kafka-logs).
    "log.dir" log_dir: Vec<String> = Some("./milena-data"), NotEmpty, High, ReadOnly;
    /// Directories that were in `log.dirs` and are gone for good, by the `directory.id` of their `meta.properties`. A start
    /// without a directory is refused while partitions that no other broker has may be in it; with its id here they
    /// begin anew, empty. (Not in Kafka, where they stay offline.)
    "log.dirs.lost" log_dirs_lost: Vec<String> = Some(""), Form("ids, separated by commas", are_ids), Low, ReadOnly;
    /// The directory for the cluster's metadata. Without it, the first data directory.
    "metadata.log.dir" metadata_log_dir: Option<String> = None, NotEmpty, High, ReadOnly;

    // The metadata quorum

    /// The voters of the metadata quorum at its first start, as `id@host:port`, separated by commas: each one's
    /// `node.id` and peers' listener. It has to be the same on all of them. Without it, and without
    /// `controller.quorum.bootstrap.servers`, this broker is a cluster of its own.
    "controller.quorum.voters" quorum_voters: Vec<String> = Some(""), Any, High, ReadOnly;
    /// Where members of the quorum may be found, as `host:port` of their peers' listeners, separated by commas:
    /// for a broker that joins a cluster without being one of its first voters.
    "controller.quorum.bootstrap.servers" quorum_bootstrap_servers: Vec<String> = Some(""), Any, High, ReadOnly;
    /// Says that the cluster of `controller.quorum.voters` is new and may be founded. The voter with the lowest
    /// number does so, once all others have answered that they are empty as well. Take it away afterwards, so
    /// that voters that have lost their disks never found a second one. (Not in Kafka, where formatting says so.)
    "cluster.found" cluster_found: bool = Some("false"), Any, Medium, ReadOnly;

    /// After how many milliseconds without an answer the quorum's leader fences a broker, and others lead its
    /// partitions. A broker whose process is gone is fenced at once. (Kafka's default is 9000.)
    "broker.session.timeout.ms" broker_session_timeout_ms: i32 = Some("3000"), AtLeast(500), Medium, ReadOnly;
    /// Whether the quorum's leader gives partitions back to their preferred leaders.
    "auto.leader.rebalance.enable" auto_leader_rebalance_enable: bool = Some("true"), Any, High, ReadOnly;
    /// How often, in seconds, it looks whether it should.
    "leader.imbalance.check.interval.seconds" leader_imbalance_check_interval_seconds: i64 =
        Some("300"), AtLeast(1), High, ReadOnly;
    /// The percentage of its partitions that a broker may fail to lead before it gets them back.
    "leader.imbalance.per.broker.percentage" leader_imbalance_per_broker_percentage: i32 =
        Some("10"), AtLeast(0), High, ReadOnly;

    // Replication

    /// A follower that has not caught up with its leader for so many milliseconds leaves the in-sync replicas.
    "replica.lag.time.max.ms" replica_lag_time_max_ms: i64 = Some("30000"), AtLeast(1), High, ReadOnly;
    /// How many milliseconds a follower's fetch waits for records.
    "replica.fetch.wait.max.ms" replica_fetch_wait_max_ms: i32 = Some("500"), AtLeast(1), High, ReadOnly;
    /// The most bytes of one partition in a follower's fetch; a larger batch comes all the same.
    "replica.fetch.max.bytes" replica_fetch_max_bytes: i32 = Some("1048576"), AtLeast(0), Medium, ReadOnly;
    /// The most bytes of a follower's fetch.
    "replica.fetch.response.max.bytes" replica_fetch_response_max_bytes: i32 =
        Some("10485760"), AtLeast(0), Medium, ReadOnly;
    /// For how many milliseconds at the most a follower leaves a partition alone that its leader refuses.
    "replica.fetch.backoff.ms" replica_fetch_backoff_ms: i32 = Some("1000"), AtLeast(0), Medium, ReadOnly;
    /// Bytes a second for replicas that catch up, where `follower.replication.throttled.replicas` names them.
    "follower.replication.throttled.rate" follower_replication_throttled_rate: i64 =
        MAX_LONG, AtLeast(0), Medium, ClusterWide;
    /// Bytes a second for replicas that are moved between this broker's data directories.
    "replica.alter.log.dirs.io.max.bytes.per.second" replica_alter_log_dirs_io_max_bytes_per_second: i64 =
        MAX_LONG, AtLeast(0), Medium, ClusterWide;
    /// Whether a replica that may lack records leads where nobody else can: rather lose records than wait. The same at
    /// the start of all brokers: whoever leads the metadata quorum decides by its own.
    "unclean.leader.election.enable" unclean_leader_election_enable: bool =
        Some("false"), Any, High, ClusterWide;

    // Listeners

    /// Where the broker listens: `NAME://host:port`, separated by commas. An empty host is every address;
    /// port 0 is any free port. Names and ports are unique.
    "listeners" listener_urls: Vec<String> = Some("PLAINTEXT://:9092"), NotEmpty, High, ReadOnly;
    /// Where clients find those listeners, in the same form. Without it, what `listeners` says, an empty
    /// host being this machine's name; and where `listeners` is not given either, localhost.
    "advertised.listeners" advertised_listener_urls: Option<Vec<String>> = None, NotEmpty, High, ReadOnly;
    /// Which protocol each listener's name stands for, as `NAME:PROTOCOL`, separated by commas. Only
    /// PLAINTEXT is served so far; PEERS is that where it is not named.
    "listener.security.protocol.map" listener_security_protocol_map: Vec<String> =
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any, Low, ReadOnly;
    /// The listener that brokers use among themselves. Without it, the one named PEERS, or where there is none, the
    /// one of `security.inter.broker.protocol`.
    "inter.broker.listener.name" inter_broker_listener_name: Option<String> = None, NotEmpty, Medium, ReadOnly;
    /// The protocol that brokers use among themselves, where `inter.broker.listener.name` is not given.
    "security.inter.broker.protocol" security_inter_broker_protocol: String =
        Some("PLAINTEXT"), OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly;
    /// Listeners that Kafka keeps for its controllers. There are none here, so listeners of these names
    /// are not opened.
    "controller.listener.names" controller_listener_names: Vec<String> = Some(""), Any, High, ReadOnly;
    /// Where `/metrics` and `/healthz` are served, as `host:port`; empty turns them off. (Not in Kafka.)
    "http.listener" http_listener: String = Some("0.0.0.0:9404"),
        Form("empty or host:port", super::listeners::is_host_port), Medium, ReadOnly;
    /// A file with a token, without which nothing is changed over HTTP: requests under `/v1` that change something need
    /// `Authorization: Bearer` and the file's content. It is read again when it has changed; while it is missing or
    /// empty, all such requests are refused. Without this setting no token is asked for. (Not in Kafka.)
    "http.admin.token.file" http_admin_token_file: Option<String> = None, NotEmpty, Medium, ReadOnly;

    // Requests and connections

    /// The largest request in bytes; a connection that announces more is closed.
    "socket.request.max.bytes" socket_request_max_bytes: i32 = Some("104857600"), AtLeast(1), High, ReadOnly;
    /// How many connections the system keeps waiting to be accepted.
    "socket.listen.backlog.size" socket_listen_backlog_size: i32 = Some("50"), AtLeast(1), Medium, ReadOnly;
    /// How many bytes of requests may be in hand over all connections; beyond that sockets are not read.
    /// -1 is 256 MiB (in Kafka: no bound). It is never less than `socket.request.max.bytes`.
    "queued.max.request.bytes" queued_max_request_bytes: i64 = Some("-1"), AtLeast(-1), Medium, ReadOnly;
    /// How many connections may be open in all; what is beyond is closed.
    "max.connections" max_connections: i32 = MAX_INT, AtLeast(0), Medium, ClusterWide;
    /// How many connections may be open from one address.
    "max.connections.per.ip" max_connections_per_ip: i32 = MAX_INT, AtLeast(0), Medium, ClusterWide;
    /// Other numbers for some addresses: `address:count`, separated by commas.
    "max.connections.per.ip.overrides" max_connections_per_ip_overrides: String = Some(""),
        Form("address:count, separated by commas", super::listeners::are_connection_overrides), Medium, ClusterWide;
    /// A connection on which nothing happens for so many milliseconds is closed; -1 is never.
    "connections.max.idle.ms" connections_max_idle_ms: i64 = Some("600000"), AtLeast(-1), Medium, ReadOnly;
    /// The most bytes that one Fetch answers with, whatever the client asks for; the first batch is
    /// returned even if it is larger.
    "fetch.max.bytes" fetch_max_bytes: i32 = Some("57671680"), AtLeast(1024), Medium, ReadOnly;
    /// How many incremental fetch sessions (KIP-227) are kept.
    "max.incremental.fetch.session.cache.slots" max_incremental_fetch_session_cache_slots: i32 =
        Some("1000"), AtLeast(0), Medium, ReadOnly;
    /// The most partitions that one DescribeTopicPartitions answers with.
    "max.request.partition.size.limit" max_request_partition_size_limit: i32 =
        Some("2000"), AtLeast(1), Medium, ReadOnly;
    /// How many milliseconds a stop may take: in its first half requests in hand are finished, then files are
    /// synced and marked clean. Past it the process ends as if killed. (Not in Kafka.)
    "shutdown.timeout.ms" shutdown_timeout_ms: i64 = Some("30000"), AtLeast(1), Medium, ReadOnly;

    // Topics

    /// How many partitions a topic has that is created without a number.
    "num.partitions" num_partitions: i32 = Some("1"), AtLeast(1), Medium, ReadOnly;
    /// How many replicas a partition has that is created without a number.
    "default.replication.factor" default_replication_factor: i32 = Some("1"), Between(1, 32767), Medium, ReadOnly;
    /// Whether a topic is made when a client asks for one that isn't there.
    "auto.create.topics.enable" auto_create_topics_enable: bool = Some("true"), Any, High, ReadOnly;
    /// Whether topics can be deleted.
    "delete.topic.enable" delete_topic_enable: bool = Some("true"), Any, High, ReadOnly;
    /// How many replicas must have a record before acks=all is answered; with fewer in sync the write is
    /// refused. The same at the start of all brokers: whoever leads the metadata quorum decides by its own.
    "min.insync.replicas" min_insync_replicas: i32 = Some("1"), AtLeast(1), High, ClusterWide;
    /// `required`: no two replicas of a partition are on one machine; `preferred`: where there are too few machines,
    /// they may be. The same at the start of all brokers: whoever leads the metadata quorum decides by its own. (Not in
    /// Kafka.)
    "placement.node.spread" placement_node_spread: String = Some("required"), OneOf(NODE_SPREADS), Medium, ClusterWide;
    /// `preferred`: a partition's replicas are spread over the racks as evenly as can be; `required`: no rack has two
    /// more than another, and what can't be placed so is refused. The same at the start of all brokers. (Not in Kafka.)
    "placement.rack.spread" placement_rack_spread: String = Some("preferred"), OneOf(RACK_SPREADS), Medium, ClusterWide;
    /// The largest batch in bytes, as it is on disk.
    "message.max.bytes" message_max_bytes: i32 = Some("1048588"), AtLeast(0), High, ClusterWide;
    /// How batches are kept: as the producer sent them, or compressed anew.
    "compression.type" compression_type: CompressionType =
        Some("producer"), OneOf(CompressionType::WORDS), High, ClusterWide;
    /// The level for gzip; -1 is the library's default.
    "compression.gzip.level" compression_gzip_level: i32 = Some("-1"), BetweenOr(1, 9, -1), Medium, ClusterWide;
    /// The level for LZ4. Accepted and shown, without effect: LZ4 is written at one level, the fastest.
    "compression.lz4.level" compression_lz4_level: i32 = Some("9"), Between(1, 17), Medium, ClusterWide;
    /// The level for Zstandard.
    "compression.zstd.level" compression_zstd_level: i32 = Some("3"), Between(-131072, 22), Medium, ClusterWide;

    // Logs: segments and indexes

    /// A segment is closed when it has so many bytes. (Kafka 4 asks for at least 1 MiB, Kafka 3 for 14.)
    "log.segment.bytes" log_segment_bytes: i32 = Some("1073741824"), AtLeast(14), High, ClusterWide;
    /// A segment is closed when it is so many milliseconds old; without it `log.roll.hours` counts.
    "log.roll.ms" log_roll_ms: Option<i64> = None, AtLeast(1), High, ClusterWide;
    /// A segment is closed when it is so many hours old.
    "log.roll.hours" log_roll_hours: i32 = Some("168"), AtLeast(1), High, ReadOnly;
    /// By up to how many milliseconds, at random, a segment is closed earlier, so that not all close at
    /// once; without it `log.roll.jitter.hours` counts.
    "log.roll.jitter.ms" log_roll_jitter_ms: Option<i64> = None, AtLeast(0), High, ClusterWide;
    /// By up to how many hours, at random, a segment is closed earlier.
    "log.roll.jitter.hours" log_roll_jitter_hours: i32 = Some("0"), AtLeast(0), High, ReadOnly;
    /// The most bytes of a segment's index.
    "log.index.size.max.bytes" log_index_size_max_bytes: i32 = Some("10485760"), AtLeast(4), Medium, ClusterWide;
    /// After how many bytes of records the index gets another entry.
    "log.index.interval.bytes" log_index_interval_bytes: i32 = Some("4096"), AtLeast(0), Medium, ClusterWide;
    /// Whether space is claimed from the file system before the records come, more at a time the faster a log
    /// grows: that steadies the writes, and costs nothing where logs are small. (Kafka's default is false.)
    "log.preallocate" log_preallocate: bool = Some("true"), Any, Medium, ClusterWide;
    /// How many milliseconds a deleted segment's files stay on disk.
    "log.segment.delete.delay.ms" log_segment_delete_delay_ms: i64 = Some("60000"), AtLeast(0), High, ClusterWide;
    /// How many threads a data directory gets to recover its logs at start.
    "num.recovery.threads.per.data.dir" num_recovery_threads_per_data_dir: i32 =
        Some("2"), AtLeast(1), High, ClusterWide;

    // Logs: how long records stay

    /// What happens to old records: `delete` drops segments past the retention, `compact` keeps the last
    /// record of each key, both do both.
    "log.cleanup.policy" log_cleanup_policy: CleanupPolicy =
        Some("delete"), OneOf(CleanupPolicy::WORDS), Medium, ClusterWide;
    /// How many milliseconds records stay; -1 is for ever; without it `log.retention.minutes` counts.
    "log.retention.ms" log_retention_ms: Option<i64> = None, super::topic::RETENTION, High, ClusterWide;
    /// How many minutes records stay; without it `log.retention.hours` counts.
    "log.retention.minutes" log_retention_minutes: Option<i32> = None, super::topic::RETENTION, High, ReadOnly;
    /// How many hours records stay; -1 is for ever.
    "log.retention.hours" log_retention_hours: i32 = Some("168"), super::topic::RETENTION, High, ReadOnly;
    /// How many bytes a partition keeps; -1 is no bound.
    "log.retention.bytes" log_retention_bytes: i64 = Some("-1"), Any, High, ClusterWide;
    /// How often, in milliseconds, segments are looked over for what can go.
    "log.retention.check.interval.ms" log_retention_check_interval_ms: i64 =
        Some("300000"), AtLeast(1), Medium, ReadOnly;
    /// How many files of logs stay open: beyond that, those that nobody has used for 100 ms are closed; -1 is half of what
    /// the system lets the process open. (Not in Kafka, which keeps all of them open.)
    "log.open.files.max" log_open_files_max: i64 = Some("-1"), AtLeast(-1), Medium, ClusterWide;
    /// Whether logs are compacted at all. Off, topics with cleanup.policy=compact grow for ever.
    "log.cleaner.enable" log_cleaner_enable: bool = Some("true"), Any, Medium, ReadOnly;
    /// The memory in bytes for compaction's tables of keys, shared evenly by the data directories.
    "log.cleaner.dedupe.buffer.size" log_cleaner_dedupe_buffer_size: i64 =
        Some("134217728"), AtLeast(1), Medium, ClusterWide;
    /// How many bytes a second compaction reads and writes at most; not positive is no bound.
    "log.cleaner.io.max.bytes.per.second" log_cleaner_io_max_bytes_per_second: f64 =
        Some("1.7976931348623157E308"), Any, Medium, ClusterWide;
    /// How many milliseconds compaction rests when no log needs it.
    "log.cleaner.backoff.ms" log_cleaner_backoff_ms: i64 = Some("15000"), AtLeast(0), Medium, ClusterWide;
    /// A log is compacted when this part of it is not compacted yet.
    "log.cleaner.min.cleanable.ratio" log_cleaner_min_cleanable_ratio: f64 =
        Some("0.5"), Fraction(0.0, 1.0), Medium, ClusterWide;
    /// How many milliseconds a delete marker stays after its key is compacted away.
    "log.cleaner.delete.retention.ms" log_cleaner_delete_retention_ms: i64 =
        Some("86400000"), AtLeast(0), Medium, ClusterWide;
    /// For how many milliseconds a record is not compacted.
    "log.cleaner.min.compaction.lag.ms" log_cleaner_min_compaction_lag_ms: i64 =
        Some("0"), AtLeast(0), Medium, ClusterWide;
    /// After how many milliseconds a record must be compacted, however little there is to compact.
    "log.cleaner.max.compaction.lag.ms" log_cleaner_max_compaction_lag_ms: i64 =
        MAX_LONG, AtLeast(1), Medium, ClusterWide;

    // Logs: what goes to disk when

    /// After how many records a partition's log is synced to disk; acknowledgements wait for the sync. With 1 whatever is
    /// acknowledged is on disk, and acknowledgements share syncs.
    "log.flush.interval.messages" log_flush_interval_messages: i64 = MAX_LONG, AtLeast(1), High, ClusterWide;
    /// After how many milliseconds, and up to 100 more, a record is synced to disk; nothing waits for it. Without it
    /// `log.flush.scheduler.interval.ms` counts.
    "log.flush.interval.ms" log_flush_interval_ms: Option<i64> = None, AtLeast(0), High, ClusterWide;
    /// How often, in milliseconds, logs are looked over for what must be synced.
    "log.flush.scheduler.interval.ms" log_flush_scheduler_interval_ms: i64 = MAX_LONG, AtLeast(1), High, ReadOnly;
    /// How often, in milliseconds, the point from which a log is recovered is written down.
    "log.flush.offset.checkpoint.interval.ms" log_flush_offset_checkpoint_interval_ms: i32 =
        Some("60000"), AtLeast(0), High, ReadOnly;
    /// How often, in milliseconds, the offsets at which logs start are written down.
    "log.flush.start.offset.checkpoint.interval.ms" log_flush_start_offset_checkpoint_interval_ms: i32 =
        Some("60000"), AtLeast(0), High, ReadOnly;
    /// How often, in milliseconds, high watermarks are written down.
    "replica.high.watermark.checkpoint.interval.ms" replica_high_watermark_checkpoint_interval_ms: i64 =
        Some("5000"), AtLeast(1), High, ReadOnly;

    // Logs: timestamps

    /// Whether a record's timestamp is the producer's or the time of the append.
    "log.message.timestamp.type" log_message_timestamp_type: TimestampType =
        Some("CreateTime"), OneOf(TimestampType::WORDS), Medium, ClusterWide;
    /// By how many milliseconds a producer's timestamp may lie behind the broker's clock.
    "log.message.timestamp.before.max.ms" log_message_timestamp_before_max_ms: i64 =
        MAX_LONG, AtLeast(0), Medium, ClusterWide;
    /// By how many milliseconds a producer's timestamp may lie ahead of the broker's clock.
    "log.message.timestamp.after.max.ms" log_message_timestamp_after_max_ms: i64 =
        Some("3600000"), AtLeast(0), Medium, ClusterWide;

    // Consumer groups and their offsets

    /// The shortest session timeout, in milliseconds, that a group's member may ask for.
    "group.min.session.timeout.ms" group_min_session_timeout_ms: i32 = Some("6000"), AtLeast(0), Medium, ReadOnly;
    /// The longest session timeout, in milliseconds, that a group's member may ask for.
    "group.max.session.timeout.ms" group_max_session_timeout_ms: i32 = Some("1800000"), AtLeast(0), Medium, ReadOnly;
    /// How many milliseconds an empty group waits for more members before its first rebalance.
    "group.initial.rebalance.delay.ms" group_initial_rebalance_delay_ms: i32 =
        Some("3000"), AtLeast(0), Medium, ReadOnly;
    /// How many members a group may have.
    "group.max.size" group_max_size: i32 = MAX_INT, AtLeast(1), Medium, ReadOnly;
    /// The most bytes of metadata with a committed offset.
    "offset.metadata.max.bytes" offset_metadata_max_bytes: i32 = Some("4096"), AtLeast(0), High, ReadOnly;
    /// How many partitions the topic of committed offsets has; it can't change once that topic is there.
    "offsets.topic.num.partitions" offsets_topic_num_partitions: i32 = Some("50"), AtLeast(1), High, ReadOnly;
    /// How many replicas the topic of committed offsets has. With `controller.quorum.voters` it is created once there
    /// are as many brokers; without, it has no more than there are brokers, and grows when others join.
    "offsets.topic.replication.factor" offsets_topic_replication_factor: i16 = Some("3"), AtLeast(1), High, ReadOnly;
    /// The bytes of a segment of the topic of committed offsets.
    "offsets.topic.segment.bytes" offsets_topic_segment_bytes: i32 = Some("104857600"), AtLeast(1), High, ReadOnly;
    /// How many minutes offsets stay after their group was last seen with members.
    "offsets.retention.minutes" offsets_retention_minutes: i32 = Some("10080"), AtLeast(1), High, ReadOnly;
    /// How often, in milliseconds, offsets past that time are looked for.
    "offsets.retention.check.interval.ms" offsets_retention_check_interval_ms: i64 =
        Some("600000"), AtLeast(1), High, ReadOnly;

    // Producers

    /// How many milliseconds an idempotent producer is remembered after its last write.
    "producer.id.expiration.ms" producer_id_expiration_ms: i32 = Some("86400000"), AtLeast(1), Low, ClusterWide;

    // The process itself

    /// How the process writes its own log: lines for people, or one JSON object a line. (Not in Kafka.)
    "milena.log.format" process_log_format: LogFormat = Some("text"), OneOf(LogFormat::WORDS), Low, ReadOnly;
    /// What the process logs: error, warn, info, debug or trace, for all or by module, such as
    /// `info,milena::group=debug`. (Not in Kafka.)
    "milena.log.level" process_log_level: String = Some("info"), NotEmpty, Low, ReadOnly;
}
