//! Kafka's error codes (<https://kafka.apache.org/protocol#protocol_error_codes>), in one place.

macro_rules! error_codes {
    ($($code:literal $name:ident $text:literal,)*) => {
        /// An error as Kafka's protocol names it; the number is what goes over the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = $text]
                $name = $code,
            )*
            /// A code that this version of the protocol does not name.
            Unrecognised = i16::MIN,
        }

        impl ErrorCode {
            /// The error in words, without a full stop.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unrecognised => "an error code that this version does not know",
                }
            }

            /// Kafka's own name for the error, such as `UNKNOWN_TOPIC_OR_PARTITION`.
            pub fn name(self) -> String {
                let name = match self {
                    $(Self::$name => stringify!($name),)*
                    Self::Unrecognised => "Unrecognised",
                };
                kafka_name(name)
            }
        }

        impl From<i16> for ErrorCode {
            fn from(code: i16) -> Self {
                match code {
                    $($code => Self::$name,)*
                    _ => Self::Unrecognised,
                }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError "unexpected error on the server",
    0 None "no error",
    1 OffsetOutOfRange "the requested offset is not in the range the server keeps",
    2 CorruptMessage "the message fails its checksum, exceeds the valid size, has a null key where one is needed, or is otherwise corrupt",
    3 UnknownTopicOrPartition "this server does not host this topic-partition",
    4 InvalidFetchSize "the requested fetch size is invalid",
    5 LeaderNotAvailable "there is no leader for this topic-partition as we are in the middle of a leadership election",
    6 NotLeaderOrFollower "this is not the leader, or for a follower fetch not a replica, of the topic-partition",
    7 RequestTimedOut "the request timed out",
    8 BrokerNotAvailable "the broker is not available",
    9 ReplicaNotAvailable "the replica is not available for the requested topic-partition",
    10 MessageTooLarge "the request included a message larger than the server accepts",
    11 StaleControllerEpoch "the controller moved to another broker",
    12 OffsetMetadataTooLarge "the metadata of the offset commit is too large",
    13 NetworkException "the server disconnected before a response was received",
    14 CoordinatorLoadInProgress "the coordinator is loading and can't process requests",
    15 CoordinatorNotAvailable "the coordinator is not available",
    16 NotCoordinator "this is not the correct coordinator",
    17 InvalidTopicException "the topic name is invalid",
    18 RecordListTooLarge "the request included a batch larger than the segment size",
    19 NotEnoughReplicas "fewer in-sync replicas than required",
    20 NotEnoughReplicasAfterAppend "appended, but to fewer in-sync replicas than required",
    21 InvalidRequiredAcks "the produce request has an invalid value for acks",
    22 IllegalGeneration "the group generation is not the current one",
    23 InconsistentGroupProtocol "the member's protocols are incompatible with those of the group",
    24 InvalidGroupId "the group id is invalid",
    25 UnknownMemberId "the coordinator is not aware of this member",
    26 InvalidSessionTimeout "the session timeout is outside the range that the broker allows",
    27 RebalanceInProgress "the group is rebalancing, so a rejoin is needed",
    28 InvalidCommitOffsetSize "the committing offset data is too large",
    29 TopicAuthorizationFailed "topic authorization failed",
    30 GroupAuthorizationFailed "group authorization failed",
    31 ClusterAuthorizationFailed "cluster authorization failed",
    32 InvalidTimestamp "the timestamp of the message is out of the acceptable range",
    33 UnsupportedSaslMechanism "the broker does not support the SASL mechanism",
    34 IllegalSaslState "the request is not valid in the current SASL state",
    35 UnsupportedVersion "the version of the API is not supported",
    36 TopicAlreadyExists "a topic of this name already exists",
    37 InvalidPartitions "the number of partitions is invalid",
    38 InvalidReplicationFactor "the replication factor is below 1 or above the number of available brokers",
    39 InvalidReplicaAssignment "the replica assignment is invalid",
    40 InvalidConfig "the configuration is invalid",
    41 NotController "this is not the correct controller of the cluster",
    42 InvalidRequest "the request is malformed or of an incompatible version; see the broker's log",
    43 UnsupportedForMessageFormat "the message format on the broker does not support the request",
    44 PolicyViolation "the parameters do not satisfy the configured policy",
    45 OutOfOrderSequenceNumber "the broker received an out of order sequence number",
    46 DuplicateSequenceNumber "the broker received a duplicate sequence number",
    47 InvalidProducerEpoch "the producer attempted an operation with an old epoch",
    48 InvalidTxnState "the producer attempted a transactional operation in an invalid state",
    49 InvalidProducerIdMapping "the producer id is not the one assigned to the transactional id",
    50 InvalidTransactionTimeout "the transaction timeout is larger than the maximum that the broker allows",
    51 ConcurrentTransactions "another concurrent operation on the transaction is in progress",
    52 TransactionCoordinatorFenced "the transaction coordinator is no longer the current one",
    53 TransactionalIdAuthorizationFailed "transactional id authorization failed",
    54 SecurityDisabled "security features are disabled",
    55 OperationNotAttempted "the operation was not attempted: another one in the same batch failed",
    56 KafkaStorageError "disk error when accessing the log on the disk",
    57 LogDirNotFound "the log directory is not in the broker's configuration",
    58 SaslAuthenticationFailed "SASL authentication failed",
    59 UnknownProducerId "the producer id is not known to the broker",
    60 ReassignmentInProgress "a partition reassignment is in progress",
    61 DelegationTokenAuthDisabled "delegation tokens are not enabled",
    62 DelegationTokenNotFound "the delegation token is not found",
    63 DelegationTokenOwnerMismatch "the principal is not the token's owner or renewer",
    64 DelegationTokenRequestNotAllowed "delegation token requests are not allowed on this channel",
    65 DelegationTokenAuthorizationFailed "delegation token authorization failed",
    66 DelegationTokenExpired "the delegation token is expired",
    67 InvalidPrincipalType "the principal type is not supported",
    68 NonEmptyGroup "the group is not empty",
    69 GroupIdNotFound "the group id does not exist",
    70 FetchSessionIdNotFound "the fetch session id was not found",
    71 InvalidFetchSessionEpoch "the fetch session epoch is invalid",
    72 ListenerNotFound "the leader has no listener that matches the one of the request",
    73 TopicDeletionDisabled "topic deletion is disabled",
    74 FencedLeaderEpoch "the leader epoch of the request is older than the broker's",
    75 UnknownLeaderEpoch "the leader epoch of the request is newer than the broker's",
    76 UnsupportedCompressionType "the compression type is not supported in this version",
    77 StaleBrokerEpoch "the broker epoch has changed",
    78 OffsetNotAvailable "the leader's high watermark has not caught up after an election",
    79 MemberIdRequired "the member needs a valid member id before it can join the group",
    80 PreferredLeaderNotAvailable "the preferred leader is not available",
    81 GroupMaxSizeReached "the group has reached its maximum size",
    82 FencedInstanceId "another member with the same group.instance.id has joined since",
    83 EligibleLeadersNotAvailable "no eligible leader is available",
    84 ElectionNotNeeded "the leader election is not needed",
    85 NoReassignmentInProgress "no partition reassignment is in progress",
    86 GroupSubscribedToTopic "a member of the group is subscribed to the topic",
    87 InvalidRecord "a record failed the broker's validation",
    88 UnstableOffsetCommit "there are unstable offsets that need to be cleared",
    89 ThrottlingQuotaExceeded "the throttling quota has been exceeded",
    90 ProducerFenced "a newer producer with the same transactional id fences this one",
    91 ResourceNotFound "the resource is not found",
    92 DuplicateResource "a resource of this name already exists",
    93 UnacceptableCredential "the credential does not meet the criteria",
    94 InconsistentVoterSet "the voter set is inconsistent with the quorum's",
    95 InvalidUpdateVersion "the given update version is invalid",
    96 FeatureUpdateFailed "the features could not be updated",
    97 PrincipalDeserializationFailure "the forwarded principal could not be read",
    98 SnapshotNotFound "the requested snapshot is not found",
    99 PositionOutOfRange "the requested position is not in the snapshot",
    100 UnknownTopicId "this server does not know this topic id",
    101 DuplicateBrokerRegistration "this broker id is already in use",
    102 BrokerIdNotRegistered "the broker id is not registered",
    103 InconsistentTopicId "the topic id of the request is not that of the log",
    104 InconsistentClusterId "the cluster id of the request is not that of the server",
    105 TransactionalIdNotFound "the transactional id is not found",
    106 FetchSessionTopicIdError "the fetch session met inconsistent use of topic ids",
    107 IneligibleReplica "the new in-sync set holds a replica that may not join it",
    108 NewLeaderElected "the change of the partition elected a new leader",
    109 OffsetMovedToTieredStorage "the offset has moved to tiered storage",
    110 FencedMemberEpoch "the member epoch is fenced by the coordinator",
    111 UnreleasedInstanceId "the instance id is still used by another member",
    112 UnsupportedAssignor "the assignor is not supported by the group",
    113 StaleMemberEpoch "the member epoch is stale",
    114 MismatchedEndpointType "the request was sent to an endpoint of the wrong type",
    115 UnsupportedEndpointType "this endpoint type is not supported",
    116 UnknownControllerId "this controller id is not known",
    117 UnknownSubscriptionId "the telemetry subscription id is invalid",
    118 TelemetryTooLarge "the telemetry metrics exceed the configured size",
    119 InvalidRegistration "the controller found the broker registration invalid",
    120 TransactionAbortable "an error on the transaction that the client can abort",
    121 InvalidRecordState "the record's state is invalid",
    122 ShareSessionNotFound "the share session was not found",
    123 InvalidShareSessionEpoch "the share session epoch is invalid",
    124 FencedStateEpoch "the share coordinator refused a stale state epoch",
    125 InvalidVoterKey "the voter key does not match that of the receiving replica",
    126 DuplicateVoter "the voter is already part of the voter set",
    127 VoterNotFound "the voter is not part of the voter set",
    128 InvalidRegularExpression "the regular expression is not valid",
    129 RebootstrapRequired "the client's metadata is stale, so it must bootstrap again",
    130 StreamsInvalidTopology "the topology is invalid",
    131 StreamsInvalidTopologyEpoch "the topology epoch is invalid",
    132 StreamsTopologyFenced "the topology epoch is outdated",
    133 ShareSessionLimitReached "the limit of share sessions has been reached",
}

impl ErrorCode {
    /// Whether there is no error.
    pub fn is_none(self) -> bool {
        self == Self::None
    }

    /// `Ok` where there is no error.
    pub fn ok(self) -> Result<(), Self> {
        if self.is_none() { Ok(()) } else { Err(self) }
    }
}

// Every response starts without an error. A macro's variant can't be marked for the derive.
#[allow(clippy::derivable_impls)]
impl Default for ErrorCode {
    fn default() -> Self {
        Self::None
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text(), self.name())
    }
}

impl std::error::Error for ErrorCode {}

/// `NotLeaderOrFollower` as `NOT_LEADER_OR_FOLLOWER`.
fn kafka_name(camel: &str) -> String {
    let mut name = String::with_capacity(camel.len() + 8);
    for letter in camel.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_kafkas_numbers_and_names() {
        assert_eq!(ErrorCode::from(3), ErrorCode::UnknownTopicOrPartition);
        assert_eq!(
            ErrorCode::UnknownTopicOrPartition.name(),
            "UNKNOWN_TOPIC_OR_PARTITION"
        );
        assert_eq!(ErrorCode::RebootstrapRequired as i16, 129);
        assert_eq!(ErrorCode::from(9999), ErrorCode::Unrecognised);
        assert_eq!(ErrorCode::default(), ErrorCode::None);
    }
}
