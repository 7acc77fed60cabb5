//! `milena serve`: a broker in this process, until a signal ends it.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::config::{BrokerConfig, Sources};
use crate::{logging, server};

/// Run a broker. Without any flag: data in ./milena-data, Kafka clients on localhost:9092, metrics and health
/// on :9404.
#[derive(Debug, Args)]
#[command(after_help = "\
Settings count in this order, the last one winning: defaults, --config, the environment (MILENA_NUM_PARTITIONS sets
num.partitions), flags. `milena config reference` lists them all. SIGTERM or Ctrl-C stops the broker cleanly, a
second one half a second later or more at once. SIGHUP is ignored.

Exit codes:
  0  stopped as asked
  1  could not start or go on
  2  the command line or the configuration is wrong; nothing was started")]
pub(super) struct Serve {
    /// A file of settings: Java properties or YAML, told by its ending. May be given several times; of a setting in
    /// several files the last one counts.
    #[arg(short, long, value_name = "FILE", env = "MILENA_CONFIG")]
    config: Vec<PathBuf>,
    /// The directory for data (log.dirs).
    #[arg(short, long, value_name = "DIR")]
    data: Option<String>,
    /// Where to listen, such as PLAINTEXT://:9092 (listeners).
    #[arg(long, value_name = "URLS")]
    listeners: Option<String>,
    /// Where clients find that, such as PLAINTEXT://kafka.example:9092 (advertised.listeners).
    #[arg(long, value_name = "URLS")]
    advertised_listeners: Option<String>,
    /// Where to serve metrics and health, such as 0.0.0.0:9404; empty for nowhere (http.listener).
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// text or json (milena.log.format).
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug or trace, also by module (milena.log.level).
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Any setting; may be given several times.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE, such as num.partitions=3".to_owned()),
    }
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.configure()?;
        server::run(config).map_err(|error| Failure::Failed(error.to_string()))
    }

    /// Loads the configuration and starts the log, in which what has no effect is told.
    fn configure(self) -> Result<BrokerConfig, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
        let (config, warnings) = self.sources().load().map_err(|error| usage(&error))?;
        logging::start(config.process_log_format, &config.process_log_level)
            .map_err(|error| usage(&error))?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }

    fn sources(self) -> Sources {
        let short = [
            ("--data", "log.dirs", self.data),
            ("--listeners", "listeners", self.listeners),
            (
                "--advertised-listeners",
                "advertised.listeners",
                self.advertised_listeners,
            ),
            ("--http", "http.listener", self.http),
            ("--log-format", "milena.log.format", self.log_format),
            ("--log-level", "milena.log.level", self.log_level),
        ];
        let short = short
            .into_iter()
            .filter_map(|(flag, name, value)| Some((flag.into(), name.into(), value?)));
        let set = self
            .set
            .into_iter()
            .map(|(name, value)| ("--set".into(), name, value));
        Sources {
            files: self.config,
            flags: short.chain(set).collect(),
            ..Sources::here()
        }
    }
}
