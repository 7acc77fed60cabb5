//! HTTP: `/metrics` for Prometheus, `/healthz/live` and `/healthz/ready` for whoever runs the process, `/v1` for whoever
//! runs the cluster.
//!
//! It answers before the data is opened and while the broker stops, and on a runtime of its own, so that a slow
//! disk makes a broker unready and never mute.

mod connections;
pub mod v1;

#[cfg(test)]
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::identity::{Identity, Known};
use crate::metrics::Metrics;
use crate::quorum::StartWait;
use crate::readiness::Readiness;
use crate::server::StartError;
use v1::admin_token::AdminToken;
use v1::changes::Feed;

/// The format that Prometheus scrapes.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const PATHS: &str = "\
/metrics        metrics in Prometheus' text format
/healthz/live   200 as long as the process answers
/healthz/ready  200 once every replica here has been in sync, 503 with what is awaited before, and while it stops
/v1/...         the cluster, as JSON: cluster, brokers, quorum, metadata, reassignments, misplaced, plans
";

/// What the answers depend on.
#[derive(Default)]
struct Stage {
    known: Arc<Known>,
    /// There before the partitions are opened.
    metrics: OnceLock<Arc<Metrics>>,
    /// There once partitions are open.
    broker: OnceLock<Arc<Broker>>,
    readiness: Arc<Readiness>,
    start_wait: StartWait,
    stopping: CancellationToken,
    /// One scrape at a time: a disk that does not answer must not gather threads.
    scraping: Arc<Mutex<()>>,
    /// What requests that change something have to bring, where that is set.
    admin_token: Option<Arc<AdminToken>>,
    /// What has changed in topics, for those who follow.
    changes: Feed,
    /// When `milena cluster lease --self` last asked whether this broker may stop.
    hook_asked: parking_lot::Mutex<Option<Instant>>,
}

impl Stage {
    /// What the broker waits for before it is ready; none once it is.
    fn awaits(&self) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("stopping".to_owned());
        }
        let awaits = self.readiness.awaits()?;
        Some(match self.start_wait.why() {
            Some(why) => format!("waits for the metadata quorum: {why}"),
            None => awaits.to_string(),
        })
    }
}

/// The running HTTP server; it ends when this is dropped.
pub struct Http {
    stage: Arc<Stage>,
    /// Where it listens; `None` where it is turned off.
    #[cfg(test)]
    pub(crate) address: Option<SocketAddr>,
    _end: DropGuard,
}

impl Http {
    /// Who the broker is, for whoever asks before there is one.
    pub fn known(&self) -> &Arc<Known> {
        &self.stage.known
    }

    /// From now on `/metrics` shows how the start goes on.
    pub fn show_start(&self, metrics: Arc<Metrics>) {
        let _ = self.stage.metrics.set(metrics);
    }

    /// From now on `/metrics` and `/v1` show the broker.
    pub fn show(&self, broker: Arc<Broker>) {
        self.stage.known.set(Identity {
            broker: broker.node_id(),
            cluster_id: broker.image().cluster_id().map(|id| id.to_string()),
            directory_id: Some(broker.quorum().directory().to_string()),
            ..self.stage.known.get()
        });
        // A second broker in one process does not happen; the first stays.
        let _ = self.stage.broker.set(broker);
    }

    /// What `/healthz/ready` says while the start waits for the quorum.
    pub fn start_wait(&self) -> &StartWait {
        &self.stage.start_wait
    }

    /// What `/healthz/ready` answers until the broker stops.
    pub fn readiness(&self) -> &Arc<Readiness> {
        &self.stage.readiness
    }
}

/// Serves on `http.listener`, on `runtime`; an empty address turns it off.
pub fn start(
    config: &BrokerConfig,
    runtime: &Handle,
    stopping: &CancellationToken,
) -> Result<Http, StartError> {
    let end = CancellationToken::new();
    let stage = Arc::new(Stage {
        stopping: stopping.clone(),
        admin_token: admin_token(config),
        ..Stage::default()
    });
    let mut address = None;
    if !config.http_listener.is_empty() {
        let listener = bind(&config.http_listener)?;
        address = listener.local_addr().ok();
        let (router, end) = (router(stage.clone()), end.clone());
        runtime.spawn(connections::serve(listener, router, end));
    }
    if let Some(address) = address {
        tracing::info!(%address, "serving /metrics, /healthz and /v1");
    }
    Ok(Http {
        stage,
        #[cfg(test)]
        address,
        _end: end.drop_guard(),
    })
}

fn admin_token(config: &BrokerConfig) -> Option<Arc<AdminToken>> {
    let path = config.http_admin_token_file.as_ref()?;
    Some(Arc::new(AdminToken::of(path.into())))
}

fn router(stage: Arc<Stage>) -> Router {
    Router::new()
        .route("/", get(async || plain(StatusCode::OK, PATHS)))
        .route("/metrics", get(metrics))
        .route(
            "/healthz/live",
            get(async || plain(StatusCode::OK, "live\n")),
        )
        .route("/healthz/ready", get(readiness))
        .nest("/v1", v1::router(&stage))
        .fallback(async |uri: Uri| {
            let hint = format!("{} is not served here; these are:\n{PATHS}", uri.path());
            plain(StatusCode::NOT_FOUND, hint)
        })
        .with_state(stage)
}

/// Bound outside of any runtime: it is served on another than the one that starts it.
fn bind(address: &str) -> Result<std::net::TcpListener, StartError> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| StartError::Listen {
        listener: "http.listener".to_owned(),
        address: address.to_owned(),
        hint: match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another process has the port: stop it, or set http.listener to another port, or to nothing"
            }
            _ => "",
        },
        source,
    })
}

async fn readiness(State(stage): State<Arc<Stage>>) -> impl IntoResponse {
    match stage.awaits() {
        None => plain(StatusCode::OK, "ready\n".to_owned()).into_response(),
        awaits => not_ready(awaits).into_response(),
    }
}

fn not_ready(awaits: Option<String>) -> impl IntoResponse + use<> {
    let text = format!("{}\n", in_words(awaits));
    plain(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Without a reason the broker has only just become ready.
fn in_words(awaits: Option<String>) -> String {
    format!("not ready: {}", awaits.as_deref().unwrap_or("starting"))
}

async fn metrics(State(stage): State<Arc<Stage>>) -> impl IntoResponse {
    let Some(broker) = stage.broker.get().cloned() else {
        return match stage.metrics.get() {
            Some(metrics) => page(metrics.render_starting()),
            None => not_ready(stage.awaits()).into_response(),
        };
    };
    let turn = stage.scraping.clone().lock_owned().await;
    let groups = broker.groups().snapshot().await;
    let render = move || {
        let page = broker.metrics().render(&broker, groups);
        drop(turn);
        page
    };
    // Reading many partitions takes a while, and the runtime has timers to keep.
    match crate::blocking::spawn(render).await {
        Ok(rendered) => page(rendered),
        Err(error) => failed(&error),
    }
}

fn page(rendered: Result<String, prometheus::Error>) -> axum::response::Response {
    match rendered {
        Ok(page) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], page).into_response(),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> axum::response::Response {
    tracing::error!(%error, "metrics could not be gathered");
    let text = format!("metrics could not be gathered: {error}\n");
    plain(StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

fn plain<T: IntoResponse>(status: StatusCode, text: T) -> impl IntoResponse + use<T> {
    (status, [(header::CONTENT_TYPE, PLAIN)], text)
}

#[cfg(test)]
mod tests;
