//! `milena cluster unregister`: forgets brokers that are gone for good.

use clap::Args;

use crate::cli::failure::{Exit, Failure};
use crate::cli::http::Http;
use crate::cli::output::{self, Format};
use crate::http::v1::unregister::Forgotten;

#[derive(Debug, Args)]
pub(super) struct Unregister {
    /// The broker's number
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker: i32,
}

impl Unregister {
    pub(super) async fn run(&self, http: &Http, format: Format) -> Result<(), Failure> {
        let broker = self.broker;
        let path = format!("/v1/brokers/{broker}/unregister");
        let answer = http.post(&path, "").await?.read();
        let forgotten: Forgotten = answer.map_err(|failure| match failure.exit {
            Exit::Failed => failure.hint_if_none(format!(
                "`milena cluster drain {broker}` moves its replicas, `milena cluster voter remove {broker}` takes its vote"
            )),
            _ => failure,
        })?;
        match format {
            Format::Json => output::json(&forgotten),
            Format::Table => output::line(&format!("broker {broker}: forgotten")),
        }
    }
}
