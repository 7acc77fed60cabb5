//! HTTP connections, bounded in number and in time, and in number by address: one that opens too many must not keep
//! others out, the probes of the process's own health among them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::limits::{Connections, Limits};

/// Connections at once: scrapers and probes are a handful. Beyond it they wait in the listen queue.
pub const CONNECTIONS_MAX: usize = 64;
/// Of those, from one address; others are closed at once.
pub const OF_ADDRESS_MAX: usize = 24;
const LIMITS: Limits = Limits {
    total: CONNECTIONS_MAX,
    per_address: OF_ADDRESS_MAX,
};
/// A request's head must be there in this time; so long an unused connection is kept, too. It is no usual interval
/// between scrapes, so that a connection does not end just when it is used again.
pub const HEAD_READ_MAX: Duration = Duration::from_secs(20);
/// After this a connection ends behind the answer in hand, so that a slow reader holds no place for ever.
const LIFETIME_MAX: Duration = Duration::from_secs(300);
/// What the answer in hand then has left: more than `/v1/metadata/changes` may wait.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(40);
/// Bytes of a request's head, and of what is read ahead.
const HEAD_SIZE_MAX: usize = 16 * 1024;
/// Accepting fails while descriptors are short; it is tried again after this.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts and serves until `end`; connections end with it.
pub async fn serve(listener: std::net::TcpListener, router: Router, end: CancellationToken) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "HTTP can't be served");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = Arc::new(Connections::default());
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = end.cancelled() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let Ok(counted) = connections.admit(from.ip(), &LIMITS) else {
                    tracing::debug!(%from, "too many HTTP connections from this address");
                    continue;
                };
                let (router, end) = (router.clone(), end.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(stream, router) => {}
                        () = end.cancelled() => {}
                    }
                    drop((place, counted));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_buf_size(HEAD_SIZE_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = sleep(LIFETIME_MAX) => {
            serving.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER_MAX, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}
