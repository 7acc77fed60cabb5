use super::*;

#[test]
fn groups_lie_where_kafka_puts_them() {
    // String.hashCode of Java.
    assert_eq!(java_hash(""), 0);
    assert_eq!(java_hash("my-group"), -1_906_497_762);
    assert_eq!(java_hash("é😀"), 1_996_812);
}

#[tokio::test(start_paused = true)]
async fn bad_group_ids_and_timeouts_are_refused_before_anything_else() {
    let log = coordinator::memory_log::MemoryLog::new();
    let settings = Settings {
        limits: Limits {
            size_max: 10,
            initial_rebalance_delay_ms: 0,
        },
        session_timeout_ms: 6_000..=30_000,
        offset_metadata_size_max: 4096,
        offsets_retention_ms: 1000,
        offsets_retention_check_interval_ms: 100,
    };
    let groups = Groups::new(log, 50, settings);
    assert_eq!(
        groups.delete(String::new()).await,
        Err(ErrorCode::InvalidGroupId)
    );
    let join = Join {
        member_id: String::new(),
        instance_id: None,
        client_id: String::new(),
        client_host: String::new(),
        session_timeout_ms: 5_999,
        rebalance_timeout_ms: 1,
        protocol_type: "consumer".to_owned(),
        protocols: Vec::new(),
        unique: "1".to_owned(),
        requires_known_id: true,
        can_skip_assignment: true,
    };
    let answer = groups.join("g".to_owned(), join.clone()).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidSessionTimeout);
    let answer = groups
        .join(
            "g".to_owned(),
            Join {
                session_timeout_ms: 6_000,
                ..join
            },
        )
        .await;
    assert_eq!(answer.error_code, ErrorCode::NotCoordinator);
    assert_eq!(groups.list().await, Ok(Vec::new()));
    groups.elected(groups.partition_of("g"), 0);
    while groups.list().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(groups.describe("g".to_owned()).await, Ok(None));
    assert!(groups.snapshot().await.groups.is_empty());
}
