//! The Topic controller alone, against brokers at given addresses: for development beside a local broker.
//!
//! `cargo run -p milena-operator --example topics -- --kafka 127.0.0.1:9092 --http 127.0.0.1:9404`

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use clap::Parser;
use milena_operator::door::Door;
use milena_operator::topic::{Metrics, Opener, Options, run};
use prometheus::{Registry, TextEncoder};
use tracing_subscriber::filter::LevelFilter;

#[derive(Debug, Parser)]
struct Args {
    /// A broker's Kafka address; of every KafkaCluster.
    #[arg(long)]
    kafka: Vec<String>,
    /// A broker's HTTP address, in the order of the brokers' ids.
    #[arg(long)]
    http: Vec<String>,
    /// The token for changes by HTTP.
    #[arg(long)]
    token: Option<String>,
    /// A namespace to look at; all without one.
    #[arg(long)]
    namespace: Vec<String>,
    /// Where metrics are shown.
    #[arg(long, default_value = "127.0.0.1:0")]
    metrics: String,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .init();
    let args = Args::parse();
    let client = kube::Client::try_default().await?;
    let registry = Registry::new();
    let metrics = Arc::new(Metrics::registered(&registry)?);
    let listener = tokio::net::TcpListener::bind(&args.metrics).await?;
    println!("metrics at http://{}/metrics", listener.local_addr()?);
    let shown = move || {
        let text = TextEncoder::new().encode_to_string(&registry.gather());
        async move {
            text.context("metrics")
                .unwrap_or_else(|error| error.to_string())
        }
    };
    let router = Router::new().route("/metrics", get(shown));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let http: Vec<(i32, String)> = (0..).zip(args.http).collect();
    let open = Opener::new(move |_| {
        let door = Door::new(http.clone(), args.kafka.clone(), args.token.clone());
        async move { Ok(Arc::new(door)) }
    });
    let options = Options {
        namespaces: args.namespace,
        cluster_reads: true,
    };
    run(client, open, metrics, options).await;
    Ok(())
}
