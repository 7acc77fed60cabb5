//! Who this broker's cluster is made of: `controller.quorum.voters` and its companions, checked once into
//! [`QuorumConfig`].

use std::fmt;

use super::broker::BrokerSettings;
use super::listeners::{Listener, Problem};

/// The metadata quorum, as far as this broker was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuorumConfig {
    /// The voters of a new cluster; empty where this broker is alone, or joins others.
    pub voters: Vec<Voter>,
    /// Where members may be found, voters included.
    pub known: Vec<(String, u16)>,
    /// Whether the cluster is new, and may be founded.
    pub is_new: bool,
}

/// One of `controller.quorum.voters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Its broker's number.
    pub broker: i32,
    /// Its peers' listener.
    pub host: String,
    /// That listener's port.
    pub port: u16,
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.broker, self.host, self.port)
    }
}

const VOTERS: &str = "controller.quorum.voters";
const BOOTSTRAP: &str = "controller.quorum.bootstrap.servers";

/// Types the settings, or says what is wrong with them.
pub(super) fn resolve(
    settings: &BrokerSettings,
    listeners: &[Listener],
) -> Result<QuorumConfig, Vec<Problem>> {
    let mut problems = Vec::new();
    let voters = parsed(VOTERS, &settings.quorum_voters, voter, &mut problems);
    let bootstrap = parsed(
        BOOTSTRAP,
        &settings.quorum_bootstrap_servers,
        address,
        &mut problems,
    );
    for (at, voter) in voters.iter().enumerate() {
        if voters[..at]
            .iter()
            .any(|other| other.broker == voter.broker)
        {
            problems.push((VOTERS, format!("names broker {} twice", voter.broker)));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let is_kafkas_single_node = |ports: &[u16]| {
        // A file of Kafka's for one combined node names its own controllers' listener, which is not opened here.
        ports.len() == 1 && controller_ports(settings).contains(&ports[0])
    };
    let ports: Vec<u16> = match voters.is_empty() {
        true => bootstrap.iter().map(|(_, port)| *port).collect(),
        false => voters.iter().map(|voter| voter.port).collect(),
    };
    if ports.is_empty() || is_kafkas_single_node(&ports) {
        return Ok(QuorumConfig::default());
    }
    if peers_listener(listeners).is_none() {
        let key = if voters.is_empty() { BOOTSTRAP } else { VOTERS };
        let text = "needs a listener for peers apart from the clients': add PEERS://:9091 to listeners, or name \
                    one that is there in inter.broker.listener.name";
        return Err(vec![(key, text.into())]);
    }
    let voted = voters.iter().map(|voter| (voter.host.clone(), voter.port));
    Ok(QuorumConfig {
        known: voted.chain(bootstrap).collect(),
        voters,
        is_new: settings.cluster_found,
    })
}

/// The listener on which brokers speak to each other, if that is not the clients' only one.
pub(super) fn peers_listener(listeners: &[Listener]) -> Option<&Listener> {
    let peers = listeners.iter().find(|listener| listener.inter_broker);
    peers.filter(|_| listeners.len() > 1)
}

fn controller_ports(settings: &BrokerSettings) -> Vec<u16> {
    let controllers = &settings.controller_listener_names;
    let named = settings.listener_urls.iter().filter(|url| {
        let name = url.split("://").next().unwrap_or_default();
        controllers
            .iter()
            .any(|controller| controller.eq_ignore_ascii_case(name))
    });
    named
        .filter_map(|url| url.rsplit_once(':')?.1.parse().ok())
        .collect()
}

fn parsed<T>(
    key: &'static str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
    problems: &mut Vec<Problem>,
) -> Vec<T> {
    let parse = |text: &String| parse(text).map_err(|why| problems.push((key, why))).ok();
    texts.iter().filter_map(parse).collect()
}

fn voter(text: &str) -> Result<Voter, String> {
    let form = || format!("{text:?} is not id@host:port");
    let (broker, address) = text.split_once('@').ok_or_else(form)?;
    let broker = broker
        .trim()
        .parse()
        .ok()
        .filter(|&broker: &i32| broker >= 0)
        .ok_or_else(form)?;
    let (host, port) = host_port(address).ok_or_else(form)?;
    Ok(Voter { broker, host, port })
}

fn address(text: &str) -> Result<(String, u16), String> {
    host_port(text).ok_or_else(|| format!("{text:?} is not host:port"))
}

fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|inside| inside.strip_suffix(']'))
        .unwrap_or(host);
    let port = port.parse().ok().filter(|&port| port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}
