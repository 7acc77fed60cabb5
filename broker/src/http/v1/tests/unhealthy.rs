//! Partitions that want attention.

use super::*;
use crate::broker::tests::beside::fence;

#[tokio::test]
async fn unhealthy_partitions_are_named_worst_first_with_who_may_be_elected() {
    let served = Served::new().await;
    register(&served.broker, 2, None).await;
    create_on(&served.broker, "a", &[&[1, 2]]).await;
    create_on(&served.broker, "z", &[&[2]]).await;
    let (_, none) = served.ask("GET /v1/unhealthy", "").await;
    assert_eq!(none, json!([]));
    fence(&served.broker, 2).await;
    let (_, found) = served.ask("GET /v1/unhealthy", "").await;
    let shown = |key: &str| -> Value {
        let all = found.as_array().unwrap().iter();
        all.map(|one| one[key].clone()).collect()
    };
    assert_eq!(shown("topic"), json!(["z", "a"]));
    assert_eq!(shown("offline"), json!([true, false]));
    assert_eq!(shown("under_replicated"), json!([false, true]));
    assert_eq!(shown("leader"), json!([null, 1]));
    assert_eq!(shown("replicas"), json!([[2], [1, 2]]));
    assert_eq!(shown("in_sync"), json!([[2], [1]]));
    assert_eq!(shown("electable"), json!([[2], [1]]));
    assert_eq!(shown("elected"), json!(["in_sync", "in_sync"]));
}
