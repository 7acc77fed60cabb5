//! `milena-operator run`: waits until it leads, then reconciles until it is told to stop or does not lead any more.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use milena_operator::cluster::validate::{Operator, Version};
use milena_operator::cluster::{deletion, fetch};
use milena_operator::context::{BrokerAddressBy, Context, Doors, Memories, Options};
use milena_operator::controller::{self, Namespaces};
use milena_operator::leader::Election;
use milena_operator::metrics::Metrics;
use milena_operator::nodes::Nodes;
use milena_operator::server;
use milena_operator::topic;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What is in hand at a stop has so long: a look's calls are bounded by less.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The reporter of events.
const NAME: &str = "milena-operator";

/// From which version on brokers know which level of the feature `milena.version`.
const LEVELS: [(&str, i16); 1] = [("0.1.0", 1)];
/// What the brokers that are stamped as this build is know besides: see `image.sh`.
const STAMPED: (Option<&str>, Option<&str>) =
    (option_env!("STAMP_VERSION"), option_env!("STAMP_LEVEL"));

fn levels() -> Vec<(Version, i16)> {
    let known = |version: &str| version.parse().expect("the list has versions");
    let mut levels: Vec<(Version, i16)> = LEVELS
        .iter()
        .map(|(version, level)| (known(version), *level))
        .collect();
    if let (Some(version), Some(level)) = STAMPED {
        levels.push((known(version), level.parse().expect("a stamp has a level")));
    }
    levels
}

#[derive(Args, Debug)]
pub struct Run {
    /// The namespaces to look after, with commas between them; all where empty.
    #[arg(long, alias = "watch-namespaces", value_delimiter = ',')]
    namespaces: Vec<String>,
    #[command(flatten)]
    identity: Identity,
    /// Reads no nodes and namespaces. Brokers then have no zone, cordons are not seen, pods on lost nodes stay, and
    /// selectors of `topicAccess` fit nobody.
    #[arg(long)]
    no_cluster_reads: bool,
    /// How brokers are found: by their Service's names, or by their pods' addresses.
    #[arg(long, value_enum, default_value_t)]
    broker_address_by: BrokerAddressBy,
    /// The brokers' image of clusters that name none. Its tag is the version of clusters that name none.
    #[arg(long, default_value = concat!("milena:", env!("CARGO_PKG_VERSION")))]
    broker_image: String,
    /// Where `/metrics` and `/healthz` are served.
    #[arg(long, default_value = "0.0.0.0:8080")]
    http: String,
}

/// Who this process is among the operators.
#[derive(Args, Debug)]
pub struct Identity {
    /// The name of the Lease by which one of several operators leads.
    #[arg(long, default_value = "milena-operator")]
    pub lease: String,
    /// The namespace of the Lease: the operator's own.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// This process's name in the Lease and in events.
    #[arg(long, env = "POD_NAME", default_value = "milena-operator")]
    pub name: String,
}

impl Identity {
    /// The competition for the Lease.
    pub fn election(&self, client: &Client) -> Election {
        let namespace = self
            .namespace
            .as_deref()
            .unwrap_or(client.default_namespace());
        // The name of a pod is not this process's alone: its container may be started again.
        let identity = format!("{}_{}", self.name, uuid::Uuid::new_v4().simple());
        Election::new(client.clone(), namespace, &self.lease, identity)
    }
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
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let metrics = Metrics::new();
    let election = run.identity.election(&client);
    let serving = server::serve(run.http.clone(), metrics.clone(), election.contact());
    tokio::select! {
        served = serving => served.with_context(|| format!("can't serve on {}", run.http)),
        led = work(run, client, &election, metrics, &stop) => led,
    }
}

async fn work(
    run: &Run,
    client: Client,
    election: &Election,
    metrics: Metrics,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let lease = tokio::select! {
        lease = election.win() => lease,
        () = stop.cancelled() => return Ok(()),
    };
    metrics.leads(true);
    let context = context(run, &client, election, metrics.clone())?;
    let namespaces = Namespaces(run.namespaces.clone());
    let topics = topics(run, context.clone())?;
    let running = controller::run(context.clone(), namespaces, stop.clone());
    let mut controllers = tokio::spawn(running);
    let mut topics = tokio::spawn(topics);
    tokio::select! {
        lost = election.keep(lease) => {
            metrics.leads(false);
            // At once: whatever is in hand was decided by somebody who does not lead any more.
            Err(lost.into())
        }
        ended = &mut controllers => ended.context("the controllers ended"),
        ended = &mut topics => ended.context("the topics' controller ended"),
        () = stop.cancelled() => {
            tracing::info!("stopping");
            let leaving = async { tokio::join!(controllers, deletion::leave(&context)) };
            if tokio::time::timeout(STOP_WITHIN, leaving).await.is_err() {
                tracing::warn!("what was in hand is left as it is");
            }
            election.release().await;
            Ok(())
        }
    }
}

/// Looks after Topics, until it is dropped.
fn topics(run: &Run, context: Arc<Context>) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let metrics = topic::Metrics::registered(context.metrics.registry())?;
    let options = topic::Options {
        namespaces: run.namespaces.clone(),
        cluster_reads: !run.no_cluster_reads,
    };
    let client = context.client.clone();
    let opener = topic::Opener::new(move |cluster| {
        let context = context.clone();
        async move { fetch::open(&cluster, &context).await.map(Arc::new) }
    });
    Ok(topic::run(client, opener, Arc::new(metrics), options))
}

fn context(
    run: &Run,
    client: &Client,
    election: &Election,
    metrics: Metrics,
) -> anyhow::Result<Arc<Context>> {
    let leadership = election.leadership();
    let client = leadership.guard(client);
    let (image_repository, version) = image(&run.broker_image)?;
    let reporter = Reporter {
        controller: NAME.to_owned(),
        instance: Some(run.identity.name.clone()),
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
                image_repository,
                levels: levels(),
            },
        },
        metrics,
        nodes: match run.no_cluster_reads {
            true => Nodes::default(),
            false => Nodes::readable(),
        },
        pod_monitors: AtomicBool::new(false),
        memories: Memories::default(),
    }))
}

/// Repository and tag; the tag is a version.
fn image(text: &str) -> anyhow::Result<(String, Version)> {
    let start = text.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = text[start..].split_once(':').with_context(|| {
        format!("--broker-image {text:?} has no tag: name the version, as in milena:0.1.0")
    })?;
    let version = tag.parse().map_err(anyhow::Error::msg)?;
    Ok((format!("{}{name}", &text[..start]), version))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_repository_and_a_version() {
        let (repository, version) = image("registry:5000/a/milena:0.2.0").unwrap();
        assert_eq!(
            (repository.as_str(), version.to_string().as_str()),
            ("registry:5000/a/milena", "0.2.0")
        );
        assert_eq!(image("milena:0.1.0").unwrap().0, "milena");
        assert!(image("registry:5000/milena").is_err());
        assert!(image("milena:latest").is_err());
    }
}
