//! What counts as done, against brokers that are played.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use axum::routing::{delete, post};
use axum::{Json, Router};
use hyper::{Method, Request, Response, StatusCode};
use kube::client::Body;
use kube::runtime::events::{Recorder, Reporter};
use tokio::net::TcpListener;

use super::*;
use crate::cluster::build::samples::operator;
use crate::cluster::step::{Undo, samples};
use crate::context::{BrokerAddressBy, Doors, Memories, Options};
use crate::crd::KafkaCluster;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::nodes::Nodes;

/// What the API server was asked to change in place, by path.
type Patched = Arc<Mutex<Vec<String>>>;

/// With an API server that answers everything with an empty object.
fn context(patched: Patched) -> Context {
    let service = tower::service_fn(move |request: Request<Body>| {
        if request.method() == Method::PATCH {
            let path = request.uri().path().to_owned();
            patched.lock().unwrap().push(path);
        }
        async { Ok::<_, tower::BoxError>(Response::new(Body::from(b"{}".to_vec()))) }
    });
    let client = kube::Client::new(service, "kafka");
    let reporter = Reporter {
        controller: "test".to_owned(),
        instance: None,
    };
    Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        leadership: Leadership::default(),
        options: Options {
            broker_address_by: BrokerAddressBy::Dns,
            operator: operator(),
        },
        metrics: Metrics::new(),
        nodes: Nodes::default(),
        pod_monitors: AtomicBool::new(false),
        doors: Doors::default(),
        memories: Memories::default(),
    }
}

async fn brokers(router: Router) -> Arc<Door> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Arc::new(Door::new(vec![(0, address)], Vec::new(), None))
}

/// What becomes of steps in a healthy cluster whose brokers answer so.
async fn done(context: &Context, router: Router, steps: &[Step]) -> Outcome {
    let cluster = KafkaCluster::default();
    let (wanted, observed) = samples::healthy();
    let performer = Performer {
        context,
        key: &Key::of(&cluster),
        events: &Events::new(&context.recorder, &cluster),
        wanted: &wanted,
        observed: &observed,
        door: Some(brokers(router).await),
        may_repair: true,
        may_unthrottle: true,
    };
    performer.perform(steps).await
}

#[tokio::test]
async fn a_refused_restart_counts_as_none_and_a_failed_step_keeps_no_other() {
    let lease = post(async || {
        let refused = json!({ "refused": { "leases_out": [2], "quorum": null } });
        (StatusCode::CONFLICT, Json(refused))
    });
    let voters = post(async |Json(body): Json<Value>| match body["add"].as_i64() {
        Some(1) => (StatusCode::CONFLICT, Json(json!({ "error": "behind" }))),
        _ => (StatusCode::OK, Json(json!({}))),
    });
    let router = Router::new()
        .route("/v1/brokers/{id}/stop-lease", lease)
        .route("/v1/quorum/voters", voters);
    let context = context(Patched::default());
    let (_, observed) = samples::healthy();
    let restart = Step::Restart(vec![(1, Named::pod(&observed.pods[&1]))]);
    let steps = [restart, Step::AddVoter(1), Step::AddVoter(2)];
    let outcome = done(&context, router, &steps).await;
    assert_eq!(
        (outcome.done, outcome.failures.len()),
        (1, 1),
        "{outcome:?}"
    );
    assert_eq!(outcome.waits[0].0, Waiting::Roll);
    let page = String::from_utf8(context.metrics.page()).unwrap();
    assert!(!page.contains("step=\"restart\""), "{page}");
    assert!(page.contains("milena_operator_steps_total{step=\"add_voter\"} 1"));
}

#[tokio::test]
async fn what_is_noted_of_a_broker_goes_last_and_only_once_all_else_is_taken_back() {
    let router = |drained: StatusCode| {
        let answer = move || async move { (drained, Json(json!({ "error": "not now" }))) };
        let given_back = delete(async || Json(json!({})));
        Router::new()
            .route("/v1/brokers/{id}/drain", post(answer))
            .route("/v1/brokers/{id}/stop-lease", given_back)
    };
    let (_, observed) = samples::healthy();
    let claim = Named::claim(&observed.claims[&1]);
    let undo = Undo {
        moves: false,
        lease: true,
        draining: true,
    };
    let stay = Step::Stay { id: 1, claim, undo };
    for (drained, notes) in [(StatusCode::CONFLICT, 0), (StatusCode::OK, 1)] {
        let patched = Patched::default();
        let context = context(patched.clone());
        let outcome = done(&context, router(drained), std::slice::from_ref(&stay)).await;
        assert_eq!(outcome.done, notes, "{outcome:?}");
        assert_eq!(patched.lock().unwrap().len(), notes, "{drained}");
    }
}

#[test]
fn no_throttle_is_taken_off_before_the_moves_of_the_same_turn_have_begun() {
    let steps = [
        Step::Unthrottle(vec!["t".to_owned()]),
        Step::Repair,
        Step::HandOver(1),
    ];
    let [unthrottle, repair, hand_over] = &steps;
    assert_eq!(in_order(&steps), [repair, hand_over, unthrottle]);
}
