//! Who votes, and who is forgotten.

use super::*;
use crate::broker::tests::beside::fence;

#[tokio::test]
async fn a_broker_is_forgotten_when_it_is_gone_and_has_nothing() {
    let served = Served::new().await;
    register(&served.broker, 2, None).await;
    register(&served.broker, 3, None).await;
    create_on(&served.broker, "t", &[&[1, 2]]).await;
    let refused = async |id: i32, word: &str| {
        let ask = format!("POST /v1/brokers/{id}/unregister");
        let (status, answer) = served.ask(&ask, "").await;
        assert_eq!(status, 409, "{answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(word), "{error}");
    };
    refused(1, "votes in the metadata quorum").await;
    refused(3, "Broker 3 is running").await;
    fence(&served.broker, 2).await;
    refused(2, "still has 1 replica(s), of t-0").await;
    fence(&served.broker, 3).await;
    let forgotten = served.ask("POST /v1/brokers/3/unregister", "").await;
    assert_eq!(forgotten, (200, json!({ "unregistered": 3 })));
    let again = served.ask("POST /v1/brokers/3/unregister", "").await;
    assert_eq!(again.0, 404);
}

#[tokio::test]
async fn voters_are_shown_with_their_directory_and_the_last_one_stays() {
    let served = Served::new().await;
    let (_, cluster) = served.ask("GET /v1/cluster", "").await;
    let directory = served.broker.quorum().directory().to_string();
    let voter = &cluster["quorum"]["voters"][0];
    assert_eq!(
        (&voter["broker"], &voter["directory"]),
        (&json!(1), &json!(directory))
    );
    let ask = "POST /v1/quorum/voters";
    let already = served.ask(ask, r#"{"add":1}"#).await;
    let vote = json!({ "broker": 1, "directory": directory, "votes": true, "changed": false });
    assert_eq!(already, (200, vote));
    for (body, status, word) in [
        (r#"{"remove":1}"#, 409, "last voter"),
        (r#"{"add":9}"#, 404, "no member"),
        (r#"{"give":1}"#, 400, "give"),
        (r#"{"add":1,"remove":1}"#, 400, "JSON"),
        ("", 400, "JSON"),
    ] {
        let (found, answer) = served.ask(ask, body).await;
        assert_eq!(found, status, "{body}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(word), "{body}: {error}");
    }
}
