//! The cluster by HTTP, of one broker: over a socket.

mod changes;
mod members;
mod stopping;
mod token;
mod unhealthy;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::broker::tests::beside::{create_on, register};
use crate::broker::tests::create_with;
use crate::config::Sources;
use crate::http::{Http, start};
use crate::identity::Identity;
use crate::server::assemble_alone;

struct Served {
    http: Http,
    broker: Arc<Broker>,
    _dir: tempfile::TempDir,
}

impl Served {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(set: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let own = [
            ("log.dirs", path.as_str()),
            ("http.listener", "127.0.0.1:0"),
        ];
        let set = [&own[..], set].concat();
        let config = Sources::of(&set).load().unwrap().0;
        let http = start(&config, &Handle::current(), &CancellationToken::new()).unwrap();
        let broker = assemble_alone(config).await;
        http.show(broker.clone());
        Self {
            http,
            broker,
            _dir: dir,
        }
    }

    /// The status and the answer.
    async fn ask(&self, request: &str, body: &str) -> (u16, Value) {
        ask(&self.http, request, body).await
    }
}

#[tokio::test]
async fn a_key_that_is_not_known_is_refused_by_its_name() {
    let served = Served::new().await;
    for (path, body) in [
        (
            "brokers/self/drain",
            json!({ "draining": true, "drainig": 1 }),
        ),
        (
            "cluster/stopping",
            json!({ "stopping": true, "drainig": 1 }),
        ),
        ("quorum/voters", json!({ "add": 1, "drainig": 1 })),
    ] {
        let request = format!("POST /v1/{path}");
        let (status, answer) = served.ask(&request, &body.to_string()).await;
        let told = answer["error"].as_str().unwrap();
        assert_eq!(status, 400, "{path}: {told}");
        assert!(told.contains("drainig"), "{path}: {told}");
    }
    let (_, shown) = served.ask("GET /v1/brokers/self", "").await;
    assert_eq!(shown["state"], "serving", "nothing was done");
}

#[tokio::test]
async fn what_is_not_served_is_told_as_json_too() {
    let served = Served::new().await;
    for (request, status) in [
        ("GET /v1/broker", 404),
        ("GET /v1", 404),
        ("PUT /v1/brokers", 405),
    ] {
        let (answered, answer) = served.ask(request, "").await;
        assert_eq!(answered, status, "{request}");
        let told = answer["error"].as_str().unwrap();
        assert!(told.contains("/v1"), "{request}: {told}");
    }
}

async fn ask(http: &Http, request: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(http.address.unwrap()).await.unwrap();
    let request = format!(
        "{request} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    (status, body)
}

#[tokio::test]
async fn the_broker_that_answers_says_who_it_is_as_far_as_that_is_known_yet() {
    let config = Sources::of(&[("http.listener", "127.0.0.1:0")]);
    let config = config.load().unwrap().0;
    let http = start(&config, &Handle::current(), &CancellationToken::new()).unwrap();
    let known = Identity {
        broker: 7,
        claim_uid: Some("3f-1".into()),
        ..Identity::default()
    };
    http.known().set(known);
    let (status, early) = ask(&http, "GET /v1/brokers/self", "").await;
    assert_eq!(status, 200);
    let shown = ["id", "state", "ready", "claim_uid", "cluster_id"].map(|key| early[key].clone());
    assert_eq!(
        Value::from(shown.to_vec()),
        json!([7, "starting", false, "3f-1", null])
    );
    assert!(early["awaits"].as_str().unwrap().contains("starting"));

    let served = Served::new().await;
    served.http.readiness().latch();
    let (_, late) = served.ask("GET /v1/brokers/self", "").await;
    let shown = ["id", "state", "ready", "awaits"].map(|key| late[key].clone());
    assert_eq!(
        Value::from(shown.to_vec()),
        json!([1, "serving", true, null])
    );
    let image = served.broker.image();
    let life = image.broker(served.broker.broker_id()).unwrap();
    assert_eq!(late["incarnation"], life.incarnation.to_string());
    assert_eq!(late["cluster_id"], image.cluster_id().unwrap().to_string());
    assert_eq!(late["directory_id"], life.directories[0].to_string());
}

#[tokio::test]
async fn a_lease_is_refused_with_the_reasons_granted_where_it_may_pause_and_given_back() {
    let served = Served::new().await;
    create_with(&served.broker, "t", 1).await;
    let (status, refused) = served.ask("POST /v1/brokers/1/stop-lease", "").await;
    assert_eq!(status, 409);
    assert_eq!(refused["refused"]["never_safe"], json!([["t", 0]]));
    assert_eq!(refused["refused"]["quorum"]["voters"], 1);
    let allowed =
        "POST /v1/brokers/self/stop-lease?never_safe=allow&duration=90s&max_unavailable=1";
    let (status, granted) = served.ask(allowed, "").await;
    assert_eq!(status, 200);
    let granted = &granted["granted"];
    assert_eq!(granted["lease"]["broker"], 1);
    assert_eq!(
        (&granted["pausing"], &granted["quorum_pauses"]),
        (&json!([["t", 0]]), &json!(true))
    );
    let (_, brokers) = served.ask("GET /v1/brokers", "").await;
    assert_eq!(
        brokers[0]["lease_expires_ms"],
        granted["lease"]["expires_ms"]
    );
    for released in [true, false] {
        let answer = served.ask("DELETE /v1/brokers/1/stop-lease", "").await;
        assert_eq!(answer, (200, json!({ "released": released })));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_told() {
    let served = Served::new().await;
    for (request, status, word) in [
        ("POST /v1/brokers/x/stop-lease", 400, "no broker's number"),
        ("POST /v1/brokers/7/stop-lease", 404, "not registered"),
        (
            "POST /v1/brokers/1/stop-lease?duration=soon",
            400,
            "no duration",
        ),
        (
            "POST /v1/brokers/1/stop-lease?never_safe=maybe",
            400,
            "maybe",
        ),
        ("POST /v1/brokers/1/stop-lease?for=1m", 400, "for"),
        ("POST /v1/brokers/1/drain", 400, "JSON"),
        ("POST /v1/plans/drain", 400, "brokers"),
        ("POST /v1/plans/drain?brokers=9", 404, "9"),
        ("POST /v1/plans/tidy", 404, "tidy"),
        ("POST /v1/plans/repair?brokers=1", 400, "leave"),
        ("POST /v1/plans/repair?topic=t", 400, "leave"),
        ("POST /v1/plans/replication?topic=t", 400, "factor"),
        ("POST /v1/plans/replication?topic=t&factor=2", 404, "t"),
    ] {
        let (found, answer) = served.ask(request, "").await;
        assert_eq!(found, status, "{request}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(word), "{request}: {error}");
    }
}

#[tokio::test]
async fn brokers_are_shown_with_what_they_carry_and_drain_when_told() {
    let served = Served::new().await;
    register(&served.broker, 2, Some("b")).await;
    register(&served.broker, 3, None).await;
    create_on(&served.broker, "t", &[&[1, 2], &[2, 3]]).await;
    let (status, draining) = served
        .ask("POST /v1/brokers/2/drain", r#"{"draining":true}"#)
        .await;
    assert_eq!((status, draining), (200, json!({ "draining": true })));
    let (_, brokers) = served.ask("GET /v1/brokers", "").await;
    let shown: Vec<Value> = ["id", "state", "leaders", "replicas", "rack", "software"]
        .iter()
        .map(|key| brokers[1][key].clone())
        .collect();
    assert_eq!(
        Value::from(shown),
        json!([2, "draining", 0, 2, "b", "test"]),
        "another leads what it led"
    );
    assert_eq!(brokers[1]["endpoints"]["PLAINTEXT"], "host-2:9092");
    assert_eq!(
        (&brokers[0]["state"], &brokers[0]["replicas"]),
        (&json!("serving"), &json!(1))
    );
}

#[tokio::test]
async fn a_plan_is_shown_before_it_is_applied_and_is_on_its_way_afterwards() {
    let served = Served::new().await;
    register(&served.broker, 2, None).await;
    register(&served.broker, 3, None).await;
    create_on(&served.broker, "t", &[&[1, 2]]).await;
    let (status, shown) = served.ask("POST /v1/plans/drain?brokers=2", "").await;
    let moved = json!([{ "topic": "t", "partition": 0, "from": [1, 2], "to": [1, 3] }]);
    assert_eq!(
        (status, &shown["moves"], &shown["applied"]),
        (200, &moved, &json!(false))
    );
    let (_, none) = served.ask("GET /v1/reassignments", "").await;
    assert_eq!(none, json!([]));
    let (_, applied) = served
        .ask("POST /v1/plans/drain?brokers=2&apply=true", "")
        .await;
    assert_eq!(
        (&applied["copies"], &applied["refused"]),
        (&json!(1), &json!([]))
    );
    served.broker.take_over().await;
    let (_, ways) = served.ask("GET /v1/reassignments", "").await;
    let way = json!([{
        "topic": "t", "partition": 0, "from": [1, 2], "to": [1, 3], "copying": [3], "bytes_left": 0,
        "bytes_done": 0
    }]);
    assert_eq!(ways, way);
    let (_, cluster) = served.ask("GET /v1/cluster", "").await;
    let partitions = &cluster["partitions"];
    assert_eq!(
        (&partitions["all"], &partitions["reassigning"]),
        (&json!(1), &json!(1))
    );
    let quorum = &cluster["quorum"];
    assert_eq!(
        (&quorum["leader"], &quorum["voters"][0]["lag"]),
        (&json!(1), &json!(0))
    );
    let (_, misplaced) = served.ask("GET /v1/misplaced", "").await;
    assert_eq!(misplaced, json!([]));
}

#[tokio::test]
async fn a_topic_gets_another_number_of_replicas_and_no_other_topic_does() {
    let served = Served::new().await;
    register(&served.broker, 2, None).await;
    create_on(&served.broker, "t", &[&[1]]).await;
    create_on(&served.broker, "other", &[&[1]]).await;
    let moved = json!([{ "topic": "t", "partition": 0, "from": [1], "to": [1, 2] }]);
    let (_, applied) = served
        .ask("POST /v1/plans/replication?topic=t&factor=2&apply=true", "")
        .await;
    assert_eq!(
        (&applied["moves"], &applied["refused"]),
        (&moved, &json!([]))
    );
    let (_, stuck) = served
        .ask("POST /v1/plans/replication?topic=other&factor=3", "")
        .await;
    assert_eq!(stuck["moves"], json!([]));
    assert_eq!(stuck["stuck"][0]["topic"], "other");
}

#[tokio::test]
async fn two_replicas_on_one_node_are_told_of() {
    let breach = milena_metadata::placement::Breach::SharedNode {
        node: "n1".into(),
        brokers: vec![BrokerId::new(1).unwrap(), BrokerId::new(2).unwrap()],
    };
    assert_eq!(
        misplaced::in_words(&breach),
        "brokers 1, 2 are on one node, n1"
    );
}
