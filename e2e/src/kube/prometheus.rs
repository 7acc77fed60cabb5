//! Debian's Prometheus on this host, which scrapes pods through the API server's proxy.

pub mod chart;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::manifests::MAIN;
use super::{Kube, Scene, list, operator, text, until};

const READY_LIMIT: Duration = Duration::from_secs(60);

/// A pod to scrape, and the labels that its monitor would give its series.
pub struct Scraped {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// The port of its metrics.
    pub port: u16,
    /// The cluster that it is a broker of.
    pub cluster: Option<String>,
}

/// The pods of [`MAIN`] and the operator's.
pub fn scraped(scene: &Scene) -> Result<Vec<Scraped>> {
    let of = |pod: &Value, port, cluster: Option<&str>| Scraped {
        namespace: text(&pod["metadata"]["namespace"]).to_owned(),
        pod: text(&pod["metadata"]["name"]).to_owned(),
        port,
        cluster: cluster.map(str::to_owned),
    };
    let brokers = scene.pods(MAIN)?;
    let operators = scene
        .kube
        .json(&["-n", operator::NAMESPACE, "get", "pods"])?;
    let mut pods: Vec<Scraped> = brokers
        .iter()
        .map(|pod| of(pod, 9404, Some(MAIN)))
        .collect();
    let operators = list(&operators["items"]).iter();
    pods.extend(operators.map(|pod| of(pod, 8080, None)));
    Ok(pods)
}

/// A running Prometheus. Dropped, it ends, and so does its way to the API server.
pub struct Prometheus {
    server: Child,
    proxy: Child,
    url: String,
}

impl Prometheus {
    /// `None` where it is not installed.
    pub fn start(
        kube: &Kube,
        scraped: &[Scraped],
        rules: &Path,
        folder: &Path,
    ) -> Result<Option<Self>> {
        let version = Command::new("prometheus").arg("--version").output();
        if version.is_err() {
            return Ok(None);
        }
        let (proxy, address) = proxy(kube, folder)?;
        let config = folder.join("prometheus.yml");
        fs::write(&config, configuration(&address, scraped, rules).to_string())?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = File::create(folder.join("prometheus.log"))?;
        let server = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("prometheus").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start prometheus")?;
        let url = format!("http://127.0.0.1:{port}");
        let prometheus = Self { server, proxy, url };
        let targets = scraped.len();
        until("prometheus scrapes every pod", READY_LIMIT, || {
            let up = prometheus.query("count(up == 1)")?;
            let count = format!("=> {targets} @");
            ensure!(
                up.iter().any(|line| line.contains(&count)),
                "{up:?} of {targets}"
            );
            Ok(())
        })?;
        Ok(Some(prometheus))
    }

    /// What a query returns now, a sample a line; a scalar is one too.
    pub fn query(&self, query: &str) -> Result<Vec<String>> {
        let mut command = Command::new("promtool");
        command.args(["query", "instant", &self.url, query]);
        let output = command.output().context("run promtool")?;
        ensure!(
            output.status.success(),
            "{query}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        Ok(lines.map(str::to_owned).collect())
    }

    /// The names of the alerts that fire now and have the labels of one of these selectors, as `pod="a"`.
    pub fn firing(&self, selectors: &[&str]) -> Result<BTreeSet<String>> {
        let fire = |labels: &&str| format!("ALERTS{{alertstate=\"firing\",{labels}}}");
        let any: Vec<String> = selectors.iter().map(fire).collect();
        let fire = format!("count by (alertname) ({})", any.join(" or "));
        let lines = self.query(&fire)?;
        let names = lines.iter().map(|line| {
            let (_, rest) = line.split_once("alertname=\"")?;
            Some(rest.split_once('"')?.0.to_owned())
        });
        let names: Option<BTreeSet<String>> = names.collect();
        names.with_context(|| format!("no names of alerts: {lines:?}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.proxy] {
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("it can't be ended: {error}");
            }
        }
    }
}

/// `kubectl proxy`, and where it serves.
fn proxy(kube: &Kube, folder: &Path) -> Result<(Child, String)> {
    // It complains of each scrape that is given up.
    let log = File::create(folder.join("kubectl-proxy.log"))?;
    let mut proxy = kube
        .command(&["proxy", "--port=0"])
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start kubectl proxy")?;
    let mut line = String::new();
    BufReader::new(proxy.stdout.take().context("its output")?).read_line(&mut line)?;
    let address = line
        .trim()
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .to_owned();
    ensure!(address.contains(':'), "kubectl proxy says {line:?}");
    Ok((proxy, address))
}

/// JSON is YAML.
fn configuration(address: &str, scraped: &[Scraped], rules: &Path) -> Value {
    let jobs = scraped.iter().map(|one| {
        let mut labels = json!({"namespace": one.namespace, "pod": one.pod});
        if let Some(cluster) = &one.cluster {
            labels["kafka_cluster"] = json!(cluster);
        }
        json!({
            "job_name": format!("{}/{}", one.namespace, one.pod),
            "honor_labels": one.cluster.is_none(),
            "metrics_path": format!(
                "/api/v1/namespaces/{}/pods/{}:{}/proxy/metrics", one.namespace, one.pod, one.port
            ),
            "static_configs": [{"targets": [address], "labels": labels}],
        })
    });
    json!({
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "rule_files": [rules],
        "scrape_configs": jobs.collect::<Vec<_>>(),
    })
}
