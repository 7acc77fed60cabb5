//! HTTP of the operator: `/metrics` and `/healthz`. It answers whether or not this process leads.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// The format that Prometheus scrapes.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves on `address` until `stop`.
pub async fn serve(
    address: &str,
    metrics: Metrics,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address, "serving /metrics and /healthz");
    let page = move || {
        let page = metrics.page();
        async { ([(CONTENT_TYPE, TEXT_FORMAT)], page) }
    };
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/healthz", get(async || "ok\n"));
    let serving = axum::serve(listener, router);
    serving.with_graceful_shutdown(stop.cancelled_owned()).await
}
