//! A cluster that is being stopped as a whole.

use super::*;

#[tokio::test]
async fn a_cluster_that_is_being_stopped_lets_every_broker_stop_until_it_is_told_otherwise() {
    let served = Served::new().await;
    register(&served.broker, 2, None).await;
    create_on(&served.broker, "t", &[&[1, 2]]).await;
    let (_, cluster) = served.ask("GET /v1/cluster", "").await;
    assert_eq!(
        (&cluster["stopping"], &cluster["stopping_until_ms"]),
        (&json!(false), &Value::Null)
    );
    let marked = served
        .ask("POST /v1/cluster/stopping", r#"{"stopping":true}"#)
        .await;
    assert_eq!(marked, (200, json!({ "stopping": true })));
    let (_, cluster) = served.ask("GET /v1/cluster", "").await;
    assert_eq!(cluster["stopping"], true);
    let until_ms = cluster["stopping_until_ms"].as_i64().unwrap();
    assert!(until_ms > served.broker.now_ms());
    for id in [1, 2] {
        let ask = format!("POST /v1/brokers/{id}/stop-lease");
        let (status, answer) = served.ask(&ask, "").await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["granted"]["cluster_stopping"], true);
    }
    let taken_back = served
        .ask("POST /v1/cluster/stopping", r#"{"stopping":false}"#)
        .await;
    assert_eq!(taken_back.0, 200);
    for id in [1, 2] {
        let give_back = format!("DELETE /v1/brokers/{id}/stop-lease");
        served.ask(&give_back, "").await;
    }
    let (status, _) = served.ask("POST /v1/brokers/1/stop-lease", "").await;
    assert_eq!(status, 409);
    let (status, _) = served.ask("POST /v1/cluster/stopping", "{}").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn it_shows_that_its_stop_is_waited_for_once_the_hook_has_asked_and_not_when_somebody_else_does()
 {
    let served = Served::new().await;
    let waits = async || served.ask("GET /v1/brokers/self", "").await.1["waits_to_stop"].clone();
    served.ask("POST /v1/brokers/1/stop-lease", "").await;
    assert_eq!(waits().await, false, "an operator, say");
    served
        .ask("POST /v1/brokers/self/stop-lease?hook=true", "")
        .await;
    assert_eq!(waits().await, true);
}
