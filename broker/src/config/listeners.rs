//! Where the broker listens and what it tells clients: `listeners` and `advertised.listeners` as in Kafka
//! (KIP-103, KIP-797), checked once into [`Listener`].

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::broker::BrokerSettings;

/// The name of a listener that is for peers without being named in `inter.broker.listener.name`.
const PEERS: &str = "PEERS";

/// One listener of this broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, such as `PLAINTEXT` or `INTERNAL`.
    pub name: String,
    /// What is spoken on it.
    pub protocol: SecurityProtocol,
    /// The address to bind; empty is every address.
    pub host: String,
    /// The port to bind; 0 is any free one.
    pub port: u16,
    /// Where clients are told to find it; `None` is nowhere.
    pub advertised: Option<Advertised>,
    /// Whether brokers use it among themselves.
    pub inter_broker: bool,
}

impl Listener {
    /// Where the others are told to find it; port 0 stands for the one that was bound.
    pub fn advertised(&self, bound: u16) -> Option<(String, u16)> {
        let advertised = self.advertised.as_ref()?;
        let port = match advertised.port {
            0 => bound,
            port => port,
        };
        Some((advertised.host.clone(), port))
    }
}

/// Where clients find a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// A name or an address.
    pub host: String,
    /// The port; 0 is the one that was bound.
    pub port: u16,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Kafka's protocol without encryption or authentication.
    Plaintext,
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plaintext => f.write_str("PLAINTEXT"),
        }
    }
}

/// What was given at the start, as far as the listeners depend on it.
pub(super) struct Surroundings<'a> {
    /// Whether the file, environment or flags named this setting.
    pub given: &'a dyn Fn(&str) -> bool,
    /// This machine's name, for listeners that are not advertised and have no host.
    pub host_name: &'a str,
}

/// What is wrong: the setting, and the sentence.
pub(super) type Problem = (&'static str, String);

/// Types the listeners, or says everything that is wrong with them.
pub(super) fn resolve(
    settings: &BrokerSettings,
    around: &Surroundings<'_>,
) -> Result<Vec<Listener>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut note = |key: &'static str, text: String| problems.push((key, text));
    let bound = parse_all("listeners", &settings.listener_urls, &mut note);
    let advertised = match &settings.advertised_listener_urls {
        Some(urls) => parse_all("advertised.listeners", urls, &mut note),
        None => advertised_by_default(&bound, around),
    };
    let controllers = &settings.controller_listener_names;
    let not_controllers = |urls: Vec<Url>| -> Vec<Url> {
        urls.into_iter()
            .filter(|url| !controllers.contains(&url.name))
            .collect()
    };
    let (bound, advertised) = (not_controllers(bound), not_controllers(advertised));
    if bound.is_empty() {
        note("listeners", "none is left for clients".into());
    }
    check_unique_ports(&bound, &mut note);
    let told = match settings.advertised_listener_urls {
        Some(_) => "advertised.listeners",
        None => "listeners",
    };
    check_advertised(told, &bound, &advertised, &mut note);
    let protocols = protocols(settings, &mut note);
    let has_peers = bound.iter().any(|url| url.name == PEERS);
    let inter_broker = inter_broker(settings, around, has_peers, &mut note);
    if !bound.is_empty() && !advertised.iter().any(|url| url.name == inter_broker) {
        note(
            "inter.broker.listener.name",
            format!("no advertised listener has the name {inter_broker}; set it to one that has"),
        );
    }
    let listeners = bound.into_iter().filter_map(|url| {
        let protocol = protocols.protocol(&url.name, &mut note)?;
        let advertised = advertised.iter().find(|other| other.name == url.name);
        Some(Listener {
            protocol,
            inter_broker: url.name == inter_broker,
            advertised: advertised.map(|url| Advertised {
                host: url.host.clone(),
                port: url.port,
            }),
            name: url.name,
            host: url.host,
            port: url.port,
        })
    });
    let listeners = listeners.collect();
    if problems.is_empty() {
        Ok(listeners)
    } else {
        Err(problems)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Url {
    name: String,
    host: String,
    port: u16,
}

fn parse_all(
    key: &'static str,
    texts: &[String],
    note: &mut impl FnMut(&'static str, String),
) -> Vec<Url> {
    let mut urls: Vec<Url> = Vec::new();
    for text in texts {
        match parse(text) {
            Ok(url) if urls.iter().any(|other| other.name == url.name) => {
                note(
                    key,
                    format!(
                        "{} is named twice; each listener needs a name of its own",
                        url.name
                    ),
                );
            }
            Ok(url) => urls.push(url),
            Err(problem) => note(key, format!("{text:?} {problem}; write NAME://host:port")),
        }
    }
    urls
}

/// `NAME://host:port`, an IPv6 address in brackets, the host possibly empty. Names are upper case, as Kafka
/// compares them.
fn parse(text: &str) -> Result<Url, String> {
    let (name, rest) = text.split_once("://").ok_or("has no ://")?;
    let (host, port) = rest.rsplit_once(':').ok_or("has no port")?;
    let port = port
        .parse()
        .map_err(|_| format!("has the port {port:?}, which is not a number up to 65535"))?;
    let host = match host.strip_prefix('[') {
        Some(inside) => {
            let address = inside.strip_suffix(']').ok_or("has no closing bracket")?;
            address
                .parse::<Ipv6Addr>()
                .map_err(|_| format!("has {address:?} in brackets, which is no IPv6 address"))?;
            address
        }
        None if host.contains(':') => return Err("has an IPv6 address without brackets".into()),
        None => host,
    };
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if !is_name {
        return Err("has no name of letters, digits, _, - and . before ://".into());
    }
    if host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(format!(
            "has the host {host:?}, which is neither a name nor an address"
        ));
    }
    Ok(Url {
        name: name.to_ascii_uppercase(),
        host: host.to_owned(),
        port,
    })
}

fn advertised_by_default(bound: &[Url], around: &Surroundings<'_>) -> Vec<Url> {
    let here = if (around.given)("listeners") {
        around.host_name
    } else {
        "localhost"
    };
    let advertise = |url: &Url| match url.host.as_str() {
        "" => Url {
            host: here.to_owned(),
            ..url.clone()
        },
        _ => url.clone(),
    };
    bound.iter().map(advertise).collect()
}

fn check_unique_ports(bound: &[Url], note: &mut impl FnMut(&'static str, String)) {
    for (at, url) in bound.iter().enumerate().filter(|(_, url)| url.port != 0) {
        let clash =
            |other: &&Url| other.port == url.port && !one_of_each_family(&url.host, &other.host);
        if let Some(other) = bound[..at].iter().find(clash) {
            note(
                "listeners",
                format!(
                    "{} and {} have the same port {}",
                    other.name, url.name, url.port
                ),
            );
        }
    }
}

/// KIP-797: an IPv4 and an IPv6 address may share a port.
fn one_of_each_family(a: &str, b: &str) -> bool {
    matches!(
        (a.parse(), b.parse()),
        (Ok(IpAddr::V4(_)), Ok(IpAddr::V6(_))) | (Ok(IpAddr::V6(_)), Ok(IpAddr::V4(_)))
    )
}

fn check_advertised(
    key: &'static str,
    bound: &[Url],
    advertised: &[Url],
    note: &mut impl FnMut(&'static str, String),
) {
    for Url { name, host, port } in advertised {
        let Some(listener) = bound.iter().find(|other| other.name == *name) else {
            note(key, format!("{name} is not among the listeners"));
            continue;
        };
        if is_every_address(host) {
            let problem = "clients can't connect to it; set advertised.listeners to the name or address under which \
                           they reach this broker";
            note(
                key,
                format!("{name} would be advertised as {host:?}: {problem}"),
            );
        }
        if *port == 0 && listener.port != 0 {
            note(
                key,
                format!("{name} would be advertised with port 0; give the port that clients use"),
            );
        }
    }
}

fn is_every_address(host: &str) -> bool {
    host.is_empty() || host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified())
}

fn inter_broker(
    settings: &BrokerSettings,
    around: &Surroundings<'_>,
    has_peers: bool,
    note: &mut impl FnMut(&'static str, String),
) -> String {
    match &settings.inter_broker_listener_name {
        Some(_) if (around.given)("security.inter.broker.protocol") => {
            note(
                "inter.broker.listener.name",
                "give this or security.inter.broker.protocol, not both".into(),
            );
            String::new()
        }
        Some(name) => name.to_ascii_uppercase(),
        None if has_peers && !(around.given)("security.inter.broker.protocol") => PEERS.to_owned(),
        None => settings.security_inter_broker_protocol.clone(),
    }
}

struct Protocols(HashMap<String, String>);

fn protocols(settings: &BrokerSettings, note: &mut impl FnMut(&'static str, String)) -> Protocols {
    const KEY: &str = "listener.security.protocol.map";
    let mut map = HashMap::new();
    for pair in &settings.listener_security_protocol_map {
        let Some((name, protocol)) = pair.rsplit_once(':') else {
            note(KEY, format!("{pair:?} is not NAME:PROTOCOL"));
            continue;
        };
        let (name, protocol) = (
            name.trim().to_ascii_uppercase(),
            protocol.trim().to_ascii_uppercase(),
        );
        if !["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&protocol.as_str()) {
            note(
                KEY,
                format!("{protocol} is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
            );
        } else if map.insert(name.clone(), protocol).is_some() {
            note(KEY, format!("{name} is named twice"));
        }
    }
    Protocols(map)
}

impl Protocols {
    fn protocol(
        &self,
        listener: &str,
        note: &mut impl FnMut(&'static str, String),
    ) -> Option<SecurityProtocol> {
        match self.0.get(listener).map(String::as_str) {
            Some("PLAINTEXT") => return Some(SecurityProtocol::Plaintext),
            Some(other) => note(
                "listeners",
                format!(
                    "{listener} speaks {other}, which is not served yet; use PLAINTEXT or take it out"
                ),
            ),
            None if listener == PEERS => return Some(SecurityProtocol::Plaintext),
            None => {
                note(
                    "listener.security.protocol.map",
                    format!("{listener} is missing; add {listener}:PLAINTEXT"),
                );
            }
        }
        None
    }
}

/// Whether the text is empty or `host:port`.
pub(super) fn is_host_port(text: &str) -> bool {
    text.is_empty() || parse(&format!("HTTP://{text}")).is_ok()
}

/// Whether the text is `address:count` pairs, separated by commas.
pub(super) fn are_connection_overrides(text: &str) -> bool {
    super::setting::items(text).all(|item| connection_override(item).is_some())
}

/// One `address:count`; the address may be a name.
pub(super) fn connection_override(item: &str) -> Option<(&str, u32)> {
    let (host, count) = item.rsplit_once(':')?;
    let host = host.trim().trim_start_matches('[').trim_end_matches(']');
    let count = count
        .trim()
        .parse()
        .ok()
        .filter(|count: &u32| i32::try_from(*count).is_ok())?;
    (!host.is_empty()).then_some((host, count))
}

#[cfg(test)]
mod tests;
