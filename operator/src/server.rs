//! HTTP of the operator: `/metrics`, `/healthz/live` and `/healthz/ready`. It answers whether or not this process leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// The format that Prometheus scrapes.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves on `address` for ever. Ready is who has reached the API server, so that it leads or can take over.
pub async fn serve(
    address: String,
    metrics: Metrics,
    contact: Arc<AtomicBool>,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(&address).await?;
    tracing::info!(address, "serving /metrics and /healthz");
    let page = move || {
        let page = metrics.page();
        std::future::ready(([(CONTENT_TYPE, TEXT_FORMAT)], page))
    };
    let ready = move || {
        std::future::ready(match contact.load(Ordering::Acquire) {
            true => (StatusCode::OK, "ready\n"),
            false => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the API server has not answered yet\n",
            ),
        })
    };
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/healthz/live", get(async || "live\n"))
        .route("/healthz/ready", get(ready));
    axum::serve(listener, router).await
}
