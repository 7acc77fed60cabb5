//! `milena cluster start`: several brokers as processes of this machine, for developers.

mod layout;
mod process;

use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep;

use crate::cli::failure::{Exit, Failure};
use crate::cli::http::Http;
use crate::cli::output;
use crate::cli::stop_asked::StopAsked;
use layout::{BROKERS_MAX, Layout};
use process::Process;

/// From start to ready; a cluster on a busy machine takes seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often brokers are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// One question to a broker on this machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// From SIGTERM to the end: above the brokers' own bound.
const STOP_WITHIN: Duration = Duration::from_millis(layout::SHUTDOWN_MS + 2_000);

#[derive(Debug, Args)]
#[command(after_help = "\
Broker N listens for clients on the port base + N - 1, for its peers 100 above that, and has its HTTP 312 above. Its data
is in DIR/N. Ctrl-C stops all brokers one after the other, a second one at once.")]
pub(super) struct Start {
    /// How many brokers [default: as many as DIR has, or 3]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=i64::from(BROKERS_MAX)))]
    brokers: Option<u16>,
    /// Where the brokers' data is
    #[arg(long, value_name = "DIR", default_value = "./milena-cluster")]
    data: std::path::PathBuf,
    /// The first broker's port for clients [default: the one DIR was begun with, or 9092]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65_000))]
    port_base: Option<u16>,
    /// A setting for all of them, but what each has for itself (node.id, listeners, log.dirs); may be given several times
    #[arg(short, long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl Start {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let mut stop = StopAsked::listen()?;
        let layout = Layout::of(&self.data, self.brokers, self.port_base, &self.set)?;
        layout.check()?;
        if layout.is_new() {
            layout.remember()?;
        }
        let mut brokers = Vec::new();
        for number in layout.numbers() {
            brokers.push(Process::start(number, &layout)?);
        }
        let ended = tokio::select! {
            ended = self.serve(&layout, &mut brokers) => ended,
            _ = stop.asked() => Ok(()),
        };
        tokio::select! {
            () = stop_in_order(&mut brokers) => {}
            _ = stop.asked() => {}
        }
        // Whoever still runs is killed when it is dropped.
        ended
    }

    /// Returns when the cluster has failed.
    async fn serve(&self, layout: &Layout, brokers: &mut [Process]) -> Result<(), Failure> {
        until_ready(layout, brokers).await?;
        // Of a cluster begun by older software it is known only now.
        layout.remember()?;
        output::line(&layout.in_words())?;
        loop {
            sleep(LOOK).await;
            for broker in brokers.iter_mut() {
                if let Some(status) = broker.ended_just_now() {
                    eprintln!(
                        "broker {} ended ({status}); start it again by\n  {}",
                        broker.number(),
                        layout.command(broker.number())
                    );
                }
            }
            if brokers.iter_mut().all(|broker| !broker.runs()) {
                return Err(Failure::new(Exit::Failed, "all brokers have ended"));
            }
        }
    }
}

async fn until_ready(layout: &Layout, brokers: &mut [Process]) -> Result<(), Failure> {
    let deadline = Instant::now() + READY_WITHIN;
    for number in layout.numbers() {
        let http = Http::new(vec![layout.http(number)], ANSWER_WITHIN);
        while !http.is_ready().await {
            if let Some(ended) = brokers.iter_mut().position(|broker| !broker.runs()) {
                let broker = &mut brokers[ended];
                let text = format!("broker {} ended before it was ready", broker.number());
                // What it says of its settings it says of ours.
                let exit = match broker.ended_just_now().and_then(|status| status.code()) {
                    Some(code) if code == Exit::Usage as i32 => Exit::Usage,
                    _ => Exit::Failed,
                };
                return Err(Failure::new(exit, text).hint("its last lines above say why"));
            }
            if Instant::now() > deadline {
                let text = format!("broker {number} is not ready after {READY_WITHIN:?}");
                return Err(Failure::new(Exit::TimedOut, text));
            }
            sleep(LOOK).await;
        }
    }
    Ok(())
}

/// The last one first, so that as long as may be a majority is there to take over what each leads.
async fn stop_in_order(brokers: &mut [Process]) {
    for broker in brokers.iter_mut().rev() {
        broker.terminate();
        let deadline = Instant::now() + STOP_WITHIN;
        while broker.runs() && Instant::now() < deadline {
            sleep(LOOK).await;
        }
    }
}
