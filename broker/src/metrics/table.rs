//! Every metric: registration, the page `docs/metrics.md` and the names on `/metrics` come from here.

/// What a metric's values mean, as Prometheus has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the process's start.
    Counter,
    /// A state as it is now.
    Gauge,
    /// A distribution, in buckets.
    Histogram,
}

impl Kind {
    /// As it stands behind `# TYPE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with the unit.
    pub name: &'static str,
    /// What its values mean.
    pub kind: Kind,
    /// What its series are told apart by.
    pub labels: &'static [&'static str],
    /// A sentence for people.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All of them, in the page's order.
        pub static TABLE: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    // Requests
    REQUESTS Counter "milena_requests_total" ["api"]
        "Requests answered.";
    REQUEST_ERRORS Counter "milena_request_errors_total" ["api", "error"]
        "Requests whose answer tells an error, by the first error in it.";
    REQUEST_DURATION Histogram "milena_request_duration_seconds" ["api"]
        "Time from a request's arrival to its answer; the waits of Fetch and of acks=all are part of it.";
    IN_FLIGHT_BYTES Gauge "milena_in_flight_request_bytes" []
        "Bytes of requests that are in hand.";
    IN_FLIGHT_MAX_BYTES Gauge "milena_in_flight_request_max_bytes" []
        "Bytes of requests that may be in hand; beyond it sockets are not read (queued.max.request.bytes).";
    FETCH_SESSIONS Gauge "milena_fetch_sessions" []
        "Incremental fetch sessions that are kept (KIP-227).";

    // Connections
    CONNECTIONS Gauge "milena_connections" []
        "Connections that are open.";
    CONNECTIONS_ACCEPTED Counter "milena_connections_accepted_total" []
        "Connections accepted.";
    CONNECTIONS_REFUSED Counter "milena_connections_refused_total" []
        "Connections closed at once because max.connections or max.connections.per.ip was reached.";
    CLIENT_SOFTWARE Counter "milena_client_software_total" ["name", "version"]
        "ApiVersions requests by what the client says of itself (KIP-511). At most 100 pairs are told apart; the others count as (other).";

    // Topics
    BYTES_IN Counter "milena_topic_bytes_in_total" ["topic"]
        "Bytes of record batches appended. At most 1000 topics are told apart; the others share (other).";
    RECORDS_IN Counter "milena_topic_records_in_total" ["topic"]
        "Records appended. At most 1000 topics are told apart; the others share (other).";
    BYTES_OUT Counter "milena_topic_bytes_out_total" ["topic"]
        "Bytes of record batches in answers to consumers, before a conversion for old clients; what followers copy they count themselves (milena_replication_bytes_total). At most 1000 topics are told apart; the others share (other).";
    RECORDS_OUT Counter "milena_topic_records_out_total" ["topic"]
        "Offsets in answers to consumers from the one asked for on: records, and in a compacted topic also the gaps between them. At most 1000 topics are told apart; the others share (other).";
    APPEND_FAILURES Counter "milena_append_failures_total" []
        "Appends that the disk refused, or that arrived for a log whose disk has refused before.";
    TOPICS Gauge "milena_topics" []
        "Topics with partitions on this broker.";

    // Partitions
    PARTITIONS Gauge "milena_partitions" []
        "Partitions on this broker.";
    PARTITIONS_OFFLINE Gauge "milena_partitions_offline" []
        "Partitions of this broker that can't be written: their log could not be opened, or its disk refused.";
    PARTITIONS_LEFT_OUT Gauge "milena_partitions_left_out" []
        "Partitions without series of their own in the metrics by partition, of which there are 2000 at the most.";
    LOGS_BYTES Gauge "milena_logs_bytes" []
        "Bytes of record batches in all logs, those left out by partition included.";
    LOG_BYTES Gauge "milena_log_bytes" ["topic", "partition"]
        "Bytes of record batches in the log, without indexes.";
    LOG_SEGMENTS Gauge "milena_log_segments" ["topic", "partition"]
        "Segments of the log.";
    LOG_START_OFFSET Gauge "milena_log_start_offset" ["topic", "partition"]
        "First offset that can be read.";
    LOG_END_OFFSET Gauge "milena_log_end_offset" ["topic", "partition"]
        "Offset that the next record gets.";
    HIGH_WATERMARK Gauge "milena_partition_high_watermark" ["topic", "partition"]
        "Offset below which all in-sync replicas hold everything: consumers read up to it.";

    // Replication
    LEADERLESS Gauge "milena_partitions_without_leader" []
        "Partitions of the cluster that nobody leads; each is counted by one broker that runs, one of its own where any does.";
    UNDER_REPLICATED Gauge "milena_partitions_under_replicated" []
        "Partitions led here with a replica that is not in sync.";
    UNDER_MIN_ISR Gauge "milena_partitions_under_min_isr" []
        "Partitions led here with fewer replicas in sync than min.insync.replicas, or than all where those are fewer: writes with acks=all are refused.";
    AT_MIN_ISR Gauge "milena_partitions_at_min_isr" []
        "Partitions led here with exactly as many replicas in sync as writes with acks=all need: one more loss stops them.";
    NOT_PREFERRED Gauge "milena_partitions_not_preferred" []
        "Partitions led here that prefer another leader.";
    REASSIGNING Gauge "milena_partitions_reassigning" []
        "Partitions led here that are on their way to other brokers.";
    LOSSY Gauge "milena_partitions_lossy" []
        "Partitions led here whose leader was elected although it may lack committed records.";
    MISPLACED Gauge "milena_partitions_misplaced" []
        "Partitions led here whose replicas break a rule of placement, such as two on one node.";
    ISR_CHANGES Counter "milena_isr_changes_total" ["change"]
        "Replicas that left (shrink) or joined (expand) the in-sync replicas of partitions led here.";
    LEADERSHIPS Counter "milena_leaderships_taken_total" []
        "Times that this broker began to lead a partition.";
    LOSSY_ELECTIONS Counter "milena_lossy_elections_total" []
        "Times among them that it was elected although it may lack committed records. A later election by the rule does not take them back; the log names the partitions.";
    REPLICATION_LAG Gauge "milena_replication_lag_records" ["follower"]
        "Records that the replicas on another broker lack of the partitions led here.";
    REPLICATION_LAG_MAX Gauge "milena_replication_lag_max_records" ["follower"]
        "Records that the replica farthest behind lacks, of those on another broker of the partitions led here.";
    REPLICATION_BYTES Counter "milena_replication_bytes_total" []
        "Bytes of record batches copied from other brokers.";
    CATCH_UP_BYTES Counter "milena_replication_catch_up_bytes_total" []
        "Bytes of them that were copied by replicas out of sync: those that a reassignment adds, and those that were away.";
    REASSIGNMENT_BYTES Counter "milena_reassignment_bytes_total" []
        "Bytes of those, in turn, that were copied by replicas that a reassignment adds.";

    // Consumer groups
    GROUPS Gauge "milena_groups" ["state"]
        "Consumer groups that this broker coordinates.";
    GROUPS_LEFT_OUT Gauge "milena_groups_left_out" []
        "Groups without series of their own in the metrics by group, of which there are 1000 at the most.";
    GROUP_OFFSETS_LEFT_OUT Gauge "milena_group_offsets_left_out" []
        "Committed offsets without series of their own, of which there are 5000 at the most; those of groups left out are among them.";
    GROUP_SHARDS_UNREAD Gauge "milena_group_shards_unread" []
        "Partitions of __consumer_offsets whose groups are missing here because they are being loaded or wait for a slow disk.";
    GROUP_STATE Gauge "milena_group_state" ["group", "state"]
        "1 for the state that the group is in.";
    GROUP_MEMBERS Gauge "milena_group_members" ["group"]
        "Members of the group.";
    GROUP_OFFSET Gauge "milena_group_committed_offset" ["group", "topic", "partition"]
        "Offset that the group has committed: the next that it will read.";
    GROUP_LAG Gauge "milena_group_lag" ["group", "topic", "partition"]
        "Offsets between the group's committed offset and the high watermark. Missing where the partition is not on this broker.";

    // Care of the logs
    RETENTION_SEGMENTS Counter "milena_retention_segments_total" []
        "Segments deleted by retention.ms, retention.bytes or DeleteRecords.";
    RETENTION_BYTES Counter "milena_retention_bytes_total" []
        "Bytes of record batches in those segments.";
    COMPACTIONS Counter "milena_compactions_total" []
        "Compactions of a log that were brought to an end.";
    COMPACTED_BYTES Counter "milena_compaction_bytes_total" []
        "Bytes of record batches that compactions have read so far: what is not compacted yet twice, the rest once.";
    COMPACTION_LEFT Gauge "milena_compaction_left_bytes" []
        "Bytes that the compactions under way have still to read; 0 where none is.";
    RECLAIMED_BYTES Counter "milena_compaction_reclaimed_bytes_total" []
        "Bytes of record batches that compactions have left out.";
    CARE_FAILURES Counter "milena_log_care_failures_total" ["work"]
        "Retention, flush or compaction of a log that failed; the log tells why.";
    FLUSH_DURATION Histogram "milena_log_flush_duration_seconds" []
        "Time that the disk took for a log's new batches: where acknowledgements wait for it (flush.messages), and by flush.ms.";
    LOGS_TO_OPEN Gauge "milena_logs_to_open" []
        "Logs that are still to be opened, and recovered where the last stop was not clean. During a start these metrics, and those of the process, are all there are.";
    RECOVERED_SEGMENTS Counter "milena_recovery_segments_total" []
        "Segments that were read from end to end because the last stop was not clean.";
    RECOVERED_BATCHES Counter "milena_recovery_batches_total" []
        "Record batches whose checksums were verified because the last stop was not clean.";
    RECOVERY_BYTES Counter "milena_recovery_bytes_total" []
        "Bytes of record batches that were read to find the logs' ends because the last stop was not clean; counted while a log is being checked.";
    RECOVERY_BYTES_CUT Counter "milena_recovery_bytes_cut_total" []
        "Bytes behind the last valid batch that were cut off logs when they were opened.";
    DIR_BYTES Gauge "milena_log_dir_bytes" ["dir"]
        "Size of the file system that the data directory is on.";
    DIR_USABLE_BYTES Gauge "milena_log_dir_usable_bytes" ["dir"]
        "Bytes of it that this process may still write.";

    // The metadata quorum
    QUORUM_LEADER Gauge "milena_quorum_leader" []
        "Number of the broker that leads the metadata quorum, as far as this broker knows; -1 where it knows of none, has heard nothing of it for 3 s, or leads itself and hears from no majority of the voters.";
    QUORUM_IS_LEADER Gauge "milena_quorum_is_leader" []
        "1 on the broker that leads the metadata quorum and hears from a majority of the voters, 0 on the others.";
    QUORUM_TERM Gauge "milena_quorum_term" []
        "Term of the metadata quorum.";
    QUORUM_VOTERS Gauge "milena_quorum_voters" []
        "Members of the metadata quorum that vote.";
    QUORUM_LAST_INDEX Gauge "milena_quorum_log_last_index" []
        "Last entry of this broker's copy of the metadata log; -1 where it has none.";
    QUORUM_APPLIED_INDEX Gauge "milena_quorum_log_applied_index" []
        "Last entry of the metadata log that this broker has applied, and so knows to be committed; -1 where there is none.";
    QUORUM_COMMIT_LAG Gauge "milena_quorum_commit_lag_entries" []
        "Entries of this broker's copy of the metadata log that it has not applied yet.";
    QUORUM_MEMBER_LAG Gauge "milena_quorum_member_lag_entries" ["broker"]
        "Entries of the metadata log that a member of the quorum is not known to have; only the leader knows.";
    QUORUM_ELECTIONS Counter "milena_quorum_elections_total" []
        "Leaders of the metadata quorum that this broker has seen come.";
    BROKERS_FENCED Counter "milena_broker_fenced_total" ["reason"]
        "Brokers that this one has fenced while it led the metadata quorum: silent for broker.session.timeout.ms, refused where nobody listens any more, closed where the broker closed its connection and can't be reached.";

    // The process
    BUILD_INFO Gauge "milena_build_info" ["version"]
        "1, with the version.";
    UPTIME Gauge "milena_uptime_seconds" []
        "Time since the broker began to start.";
    PROCESS_CPU Counter "process_cpu_seconds_total" []
        "User and system CPU time spent, in seconds.";
    PROCESS_START Gauge "process_start_time_seconds" []
        "Start of the process, in seconds since 1970.";
    PROCESS_RESIDENT Gauge "process_resident_memory_bytes" []
        "Memory that is resident.";
    PROCESS_VIRTUAL Gauge "process_virtual_memory_bytes" []
        "Memory that is mapped.";
    PROCESS_THREADS Gauge "process_threads" []
        "Threads of the process.";
    PROCESS_FDS Gauge "process_open_fds" []
        "File descriptors that are open.";
    PROCESS_FDS_MAX Gauge "process_max_fds" []
        "File descriptors that may be open.";
    SCRAPE_DURATION Gauge "milena_scrape_duration_seconds" []
        "Time that gathering these states took.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_kept_to_the_conventions() {
        let mut names = HashSet::new();
        for metric in TABLE {
            let name = metric.name;
            assert!(names.insert(name), "{name} is there twice");
            let letters = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.chars().all(letters), "{name} is not in snake case");
            assert!(
                name.starts_with("milena_") || name.starts_with("process_"),
                "{name} has no prefix"
            );
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{name}: counters, and only they, end in _total"
            );
            for suffix in ["_count", "_sum", "_bucket"] {
                assert!(
                    !name.ends_with(suffix),
                    "{name} looks like a part of a histogram"
                );
            }
        }
    }

    #[test]
    fn units_are_base_units() {
        let others = [
            "ms",
            "milliseconds",
            "micros",
            "nanos",
            "minutes",
            "kb",
            "mb",
            "kilobytes",
            "percent",
        ];
        for metric in TABLE {
            let word = metric.name.split('_').find(|word| others.contains(word));
            assert_eq!(word, None, "{} is not in a base unit", metric.name);
            if metric.kind == Kind::Histogram {
                assert!(
                    metric.name.ends_with("_seconds"),
                    "{} lacks its unit",
                    metric.name
                );
            }
        }
    }

    #[test]
    fn every_help_is_a_sentence() {
        for metric in TABLE {
            assert!(
                metric.help.ends_with('.') && metric.help.len() > 10,
                "{} has no help",
                metric.name
            );
        }
    }

    #[test]
    fn labels_are_names_that_prometheus_leaves_to_us() {
        for metric in TABLE {
            let mut labels = HashSet::new();
            for label in metric.labels {
                assert!(labels.insert(label), "{}: {label} twice", metric.name);
                assert!(!["le", "quantile", "job", "instance"].contains(label));
                assert!(label.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            }
        }
    }
}
