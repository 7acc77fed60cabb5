//! What is removed, against an API server that is played.

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use hyper::{Method, Request, Response};
use kube::client::Body;

use super::*;
use crate::cluster::build::samples;

/// The deletions that `apply` asks for where the PodMonitor that is there belongs to `owner`.
async fn deleted(owner: &'static str) -> Vec<String> {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let answer = match path.ends_with("/podmonitors/main") {
            true => json!({
                "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
                "metadata": { "name": "main", "namespace": "kafka", "uid": "monitor", "ownerReferences": [
                    { "apiVersion": "v", "kind": "K", "name": "n", "uid": owner, "controller": true }] },
            }),
            false => {
                json!({ "kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": [] })
            }
        };
        let log = log.clone();
        async move {
            if request.method() == Method::DELETE {
                let body = request.into_body().collect().await?.to_bytes();
                let body: Value = serde_json::from_slice(&body)?;
                let uid = body["preconditions"]["uid"].as_str().unwrap_or_default();
                log.lock().unwrap().push(format!("{path} {uid}"));
            }
            let answer = Body::from(answer.to_string().into_bytes());
            Ok::<_, tower::BoxError>(Response::new(answer))
        }
    });
    let client = Client::new(service, "kafka");
    let wanted = samples::wanted(|_| {});
    let mut applying = Applying {
        client: &client,
        wanted: &wanted,
        done: Applied::default(),
    };
    applying.unwanted_pod_monitor().await;
    assert!(applying.done.problems.is_empty(), "{:?}", applying.done);
    let asked = asked.lock().unwrap();
    asked.clone()
}

#[tokio::test]
async fn a_pod_monitor_that_is_not_wanted_any_more_goes_where_it_is_the_clusters() {
    let path = "/apis/monitoring.coreos.com/v1/namespaces/kafka/podmonitors/main";
    let own = deleted("5b1f4f2e-0000-4000-8000-000000000001").await;
    assert_eq!(own, [format!("{path} monitor")]);
    assert_eq!(deleted("somebody else").await, [""; 0]);
}
