//! HTTP: `/metrics` for Prometheus, `/healthz/live` and `/healthz/ready` for whoever runs the process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::server::StartError;

/// The format that Prometheus scrapes.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Service {
    broker: Arc<Broker>,
    ready: Arc<AtomicBool>,
}

/// The running HTTP server.
#[derive(Debug)]
pub struct Http {
    ready: Arc<AtomicBool>,
}

impl Http {
    /// From now on `/healthz/ready` answers 200.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }
}

/// Serves on `http.listener` until the broker stops; an empty address turns it off.
pub async fn start(
    broker: &Arc<Broker>,
    config: &BrokerConfig,
    runtime: &Handle,
    stopping: &CancellationToken,
) -> Result<Http, StartError> {
    let ready = Arc::new(AtomicBool::new(false));
    let http = Http {
        ready: ready.clone(),
    };
    if config.http_listener.is_empty() {
        return Ok(http);
    }
    let listener = bind(&config.http_listener).await?;
    let service = Service {
        broker: broker.clone(),
        ready,
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz/live", get(async || "live\n"))
        .route("/healthz/ready", get(readiness))
        .with_state(service);
    let stopping = stopping.clone().cancelled_owned();
    runtime.spawn(async move {
        if let Err(error) = axum::serve(listener, router)
            .with_graceful_shutdown(stopping)
            .await
        {
            tracing::error!(%error, "the HTTP server ended");
        }
    });
    Ok(http)
}

async fn bind(address: &str) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(address).await.map_err(|source| StartError::Listen {
        listener: "http.listener".to_owned(),
        address: address.to_owned(),
        hint: match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another process has the port: stop it, or set http.listener to another port, or to nothing"
            }
            _ => "",
        },
        source,
    })?;
    let address = bound
        .local_addr()
        .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    tracing::info!(%address, "serving /metrics and /healthz");
    Ok(bound)
}

async fn readiness(State(service): State<Service>) -> impl IntoResponse {
    if service.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: partitions are still being opened\n",
        )
    }
}

async fn metrics(State(service): State<Service>) -> impl IntoResponse {
    match service.broker.metrics().render(&service.broker) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, TEXT_FORMAT)], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, TEXT_FORMAT)],
            error.to_string(),
        ),
    }
}
