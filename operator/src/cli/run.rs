//! `milena-operator run`: waits until it leads, then reconciles until it is told to stop or does not lead any more.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use milena_operator::cluster::validate::{Operator, Version};
use milena_operator::context::{BrokerAddressBy, Context, Doors, Memories, Options};
use milena_operator::controller::{self, Namespaces};
use milena_operator::leader::Election;
use milena_operator::metrics::Metrics;
use milena_operator::nodes::Nodes;
use milena_operator::server;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What is in hand at a stop has so long: a look's calls are bounded by less.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The name of the Lease, and of the reporter of events.
const NAME: &str = "milena-operator";

#[derive(Args, Debug)]
pub struct Run {
    /// The namespaces to look after, with commas between them; all where empty.
    #[arg(long, env = "MILENA_OPERATOR_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// The namespace of the Lease: the operator's own.
    #[arg(long, env = "MILENA_OPERATOR_NAMESPACE")]
    namespace: Option<String>,
    /// This process's name in the Lease and in events, such as its pod's.
    #[arg(long, env = "MILENA_OPERATOR_NAME")]
    name: Option<String>,
    /// Whether nodes may be read. Without it brokers have no zone, cordons are not seen, and pods on lost nodes stay.
    #[arg(long, env = "MILENA_OPERATOR_CLUSTER_READS", default_value_t = true, action = clap::ArgAction::Set)]
    cluster_reads: bool,
    /// How brokers are found: by their Service's names, or by their pods' addresses.
    #[arg(
        long,
        env = "MILENA_OPERATOR_BROKER_ADDRESS_BY",
        value_enum,
        default_value_t
    )]
    broker_address_by: BrokerAddressBy,
    /// The brokers' image without a tag, where a cluster names none.
    #[arg(long, env = "MILENA_OPERATOR_BROKER_IMAGE", default_value = "milena")]
    broker_image: String,
    /// The brokers' version of clusters that name none.
    #[arg(long, env = "MILENA_OPERATOR_BROKER_VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    broker_version: String,
    /// Where `/metrics` and `/healthz` are served.
    #[arg(long, env = "MILENA_OPERATOR_HTTP", default_value = "0.0.0.0:8080")]
    http: String,
}

pub fn run(run: &Run) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let done = runtime.block_on(lead(run));
    // What still runs does not lead: it must not be waited for.
    runtime.shutdown_background();
    done
}

async fn lead(run: &Run) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("no way to a Kubernetes API server")?;
    let namespace = run.namespace.clone();
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let metrics = Metrics::new();
    let serving = server::serve(&run.http, metrics.clone(), stop.clone());
    let serving = std::pin::pin!(serving);
    let leading = work(run, client, &namespace, metrics, &stop);
    let leading = std::pin::pin!(leading);
    tokio::select! {
        served = serving => served.with_context(|| format!("can't serve on {}", run.http)),
        led = leading => led,
    }
}

async fn work(
    run: &Run,
    client: Client,
    namespace: &str,
    metrics: Metrics,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let host = run.name.clone().unwrap_or_else(|| NAME.to_owned());
    // The name of a pod is not this process's alone: its container may be started again.
    let identity = format!("{host}_{}", uuid::Uuid::new_v4().simple());
    let election = Election::new(client.clone(), namespace, NAME, identity);
    let lease = tokio::select! {
        lease = election.win() => lease,
        () = stop.cancelled() => return Ok(()),
    };
    metrics.leads(true);
    let context = context(run, &client, &election, metrics.clone(), host)?;
    let namespaces = Namespaces(run.watch_namespaces.clone());
    let mut controllers = tokio::spawn(controller::run(context, namespaces, stop.clone()));
    tokio::select! {
        lost = election.keep(lease) => {
            metrics.leads(false);
            // At once: whatever is in hand was decided by somebody who does not lead any more.
            Err(lost.into())
        }
        ended = &mut controllers => ended.context("the controllers ended"),
        () = stop.cancelled() => {
            tracing::info!("stopping");
            if tokio::time::timeout(STOP_WITHIN, controllers).await.is_err() {
                tracing::warn!("what was in hand is left as it is");
            }
            election.release().await;
            Ok(())
        }
    }
}

fn context(
    run: &Run,
    client: &Client,
    election: &Election,
    metrics: Metrics,
    host: String,
) -> anyhow::Result<Arc<Context>> {
    let leadership = election.leadership();
    let client = leadership.guard(client);
    let version: Version = run.broker_version.parse().map_err(anyhow::Error::msg)?;
    let reporter = Reporter {
        controller: NAME.to_owned(),
        instance: Some(host),
    };
    Ok(Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        doors: Doors::new(leadership.clone()),
        leadership,
        options: Options {
            broker_address_by: run.broker_address_by,
            operator: Operator {
                version,
                image_repository: run.broker_image.clone(),
                levels: Vec::new(),
            },
        },
        metrics,
        nodes: match run.cluster_reads {
            true => Nodes::readable(),
            false => Nodes::default(),
        },
        memories: Memories::default(),
    }))
}

fn stop_on_signals(stop: &CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}
