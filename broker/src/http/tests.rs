//! HTTP as its clients see it: over a socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::config::Sources;
use crate::server::assemble_alone;

fn config(dir: &std::path::Path) -> BrokerConfig {
    let dir = dir.display().to_string();
    let set = [("log.dirs", dir.as_str()), ("http.listener", "127.0.0.1:0")];
    Sources::of(&set).load().unwrap().0
}

fn started(config: &BrokerConfig) -> Http {
    start(config, &Handle::current(), &CancellationToken::new()).unwrap()
}

async fn is_ok(http: &Http, path: &str) -> bool {
    get(http, path).await.0.starts_with("HTTP/1.1 200")
}

/// The answer's head and body.
async fn get(http: &Http, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(http.address.unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn it_is_live_from_the_start_ready_with_the_broker_and_unready_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let (config, stopping) = (config(dir.path()), CancellationToken::new());
    let http = start(&config, &Handle::current(), &stopping).unwrap();
    assert!(is_ok(&http, "/healthz/live").await);
    for path in ["/healthz/ready", "/metrics"] {
        let (head, body) = get(&http, path).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{path}: {head}");
        assert!(body.contains("starting"), "{path}: {body}");
    }
    let metrics = Metrics::new().unwrap();
    metrics.logs_to_open(3);
    metrics.log_opened();
    http.show_start(metrics);
    let (head, body) = get(&http, "/metrics").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.contains("\nmilena_logs_to_open 2\n"), "{body}");
    assert!(
        !body.contains("milena_partitions"),
        "there is no broker yet"
    );
    http.show(assemble_alone(config).await);
    let (_, body) = get(&http, "/metrics").await;
    assert!(body.contains("\nmilena_logs_to_open 0\n"), "{body}");
    assert!(!is_ok(&http, "/healthz/ready").await);
    http.readiness().latch();
    assert!(is_ok(&http, "/healthz/ready").await);
    stopping.cancel();
    let (head, body) = get(&http, "/healthz/ready").await;
    assert!(head.starts_with("HTTP/1.1 503") && body.contains("stopping"));
    assert!(is_ok(&http, "/healthz/live").await);
}

#[tokio::test]
async fn metrics_show_a_broker() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let http = started(&config);
    http.show(assemble_alone(config).await);
    let (head, body) = get(&http, "/metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "milena_partitions 0",
        "milena_connections 0",
        "milena_partitions_offline 0",
    ] {
        assert!(body.lines().any(|l| l == line), "{line} is not in\n{body}");
    }
    let dir = format!("milena_log_dir_bytes{{dir=\"{}\"}}", dir.path().display());
    assert!(body.contains(&dir));
}

#[tokio::test]
async fn an_unknown_path_is_told_the_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let http = started(&config(dir.path()));
    let (head, body) = get(&http, "/metric").await;
    assert!(head.starts_with("HTTP/1.1 404"));
    assert!(body.contains("/metric is not served") && body.contains("/healthz/ready"));
    let (head, body) = get(&http, "/").await;
    assert!(head.starts_with("HTTP/1.1 200") && body.contains("/metrics"));
}

/// A request that is never finished, from one of the loopback addresses.
async fn half_asked(http: &Http, from: usize) -> TcpStream {
    let from = std::net::Ipv4Addr::new(127, 0, 1, u8::try_from(from).unwrap());
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(http.address.unwrap()).await.unwrap();
    stream.write_all(b"GET /healthz").await.unwrap();
    stream
}

#[tokio::test]
async fn one_address_does_not_keep_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let http = started(&config(dir.path()));
    let mut silent = Vec::new();
    for _ in 0..2 * connections::CONNECTIONS_MAX {
        silent.push(half_asked(&http, 1).await);
    }
    assert!(is_ok(&http, "/healthz/live").await);
    let mut rest = Vec::new();
    let closed = silent.pop().unwrap().read_to_end(&mut rest).await;
    assert!(closed.is_err() || rest.is_empty(), "more than it may have");
}

#[tokio::test]
async fn silent_connections_are_bounded_in_number_and_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let http = started(&config(dir.path()));
    let mut silent = Vec::new();
    for number in 0..connections::CONNECTIONS_MAX {
        silent.push(half_asked(&http, number / connections::OF_ADDRESS_MAX).await);
    }
    // All places are taken: the next waits until the others' time is over, which is virtual from here on.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    assert!(is_ok(&http, "/healthz/live").await);
    let waited = begin.elapsed();
    let bound = connections::HEAD_READ_MAX + Duration::from_secs(1);
    assert!(waited < bound, "waited {waited:?}");
    let mut rest = Vec::new();
    assert!(
        silent[0].read_to_end(&mut rest).await.is_err()
            || rest.is_empty()
            || rest.starts_with(b"HTTP/1.1 408")
    );
}
