//! What connects the brokers of a cluster: addresses of the loopback interface, or, where root allows, a network
//! namespace for each, which can be cut off from others. The bridge between them is in a namespace too: filters that
//! the machine has for its own, as Docker sets them, do not see what passes.
//!
//! A broker's address is its own and its ports are fixed: nothing that runs beside it can take the port of a broker
//! that is down, as happens with free ports of one address.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result, ensure};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Addresses in 127.0.0.0/8, of which Linux has all without being told.
    Loopback,
    /// Namespaces and a bridge between them, in 10.0.0.0/8.
    Namespaces,
}

/// Makes clusters of one process different.
static COUNT: AtomicU8 = AtomicU8::new(0);
/// The host part of the tests' own address on the bridge.
const OWN_HOST: u8 = 254;
/// An Ethernet address that nobody has: frames to it are gone, without a word to the sender.
const NOBODY: &str = "02:00:00:00:00:fe";
/// The bridge's name, in its namespace.
const BRIDGE: &str = "bridge";
/// Of every name that is the machine's.
const PREFIX: &str = "mz";

/// A cluster's network; namespaces and bridge are gone when it is dropped.
#[derive(Debug)]
pub struct Network {
    kind: Kind,
    /// The first three octets of every address.
    net: [u8; 3],
    /// In the names of interfaces and namespaces: at most 15 letters for an interface.
    tag: String,
    hosts: BTreeSet<i32>,
}

impl Network {
    /// A network for brokers 1 to `brokers`.
    pub(super) fn of(kind: Kind, brokers: i32) -> Result<Self> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = id().to_be_bytes();
        let first = match kind {
            Kind::Loopback => 127,
            Kind::Namespaces => 10,
        };
        let mut network = Self {
            kind,
            net: [first, 64 + (high ^ count.rotate_left(4)) % 128, low],
            tag: format!("{PREFIX}{}x{count:02x}", id()),
            hosts: BTreeSet::new(),
        };
        if kind == Kind::Namespaces {
            remove_leftovers();
            network.build_bridge()?;
        }
        for broker in 1..=brokers {
            network.admit(broker)?;
        }
        Ok(network)
    }

    /// Why there can be no namespaces here; `None` where there can.
    pub fn missing() -> Option<String> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}x{count:02x}try", id());
        let tried = ip(&["netns", "add", &name]).and_then(|_| ip(&["netns", "del", &name]));
        tried
            .err()
            .map(|error| format!("network namespaces need root and Debian's iproute2: {error:#}"))
    }

    /// A broker's address.
    pub fn host(&self, broker: i32) -> String {
        let [a, b, c] = self.net;
        format!("{a}.{b}.{c}.{broker}")
    }

    /// The namespace that a broker runs in.
    pub(super) fn namespace(&self, broker: i32) -> Option<String> {
        (self.kind == Kind::Namespaces).then(|| self.namespace_name(broker))
    }

    fn hub(&self) -> String {
        format!("{}h", self.tag)
    }

    fn namespace_name(&self, broker: i32) -> String {
        format!("{}n{broker}", self.tag)
    }

    /// The bridge's namespace, and the tests' own cable to it.
    fn build_bridge(&self) -> Result<()> {
        let (hub, own) = (self.hub(), format!("{}o", self.tag));
        let address = format!("{}/24", self.host(OWN_HOST.into()));
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", BRIDGE, "up"])?;
        ip(&[
            "link", "add", &own, "type", "veth", "peer", "name", "own", "netns", &hub,
        ])?;
        ip(&["-n", &hub, "link", "set", "own", "master", BRIDGE, "up"])?;
        ip(&["addr", "add", &address, "dev", &own])?;
        ip(&["link", "set", &own, "up"])
    }

    /// Connects one more broker.
    pub(super) fn admit(&mut self, broker: i32) -> Result<()> {
        self.hosts.insert(broker);
        if self.kind == Kind::Loopback {
            return Ok(());
        }
        let (namespace, hub) = (self.namespace_name(broker), self.hub());
        let (cable, address) = (
            format!("broker{broker}"),
            format!("{}/24", self.host(broker)),
        );
        ip(&["netns", "add", &namespace])?;
        ip(&[
            "-n", &hub, "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns",
            &namespace,
        ])?;
        ip(&["-n", &hub, "link", "set", &cable, "master", BRIDGE, "up"])?;
        ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])
    }

    /// From now on nothing that `from` sends reaches `to`; the other direction is left as it is.
    pub fn cut_one_way(&self, from: i32, to: i32) -> Result<()> {
        let (namespace, host) = (self.namespace_name(from), self.host(to));
        ip(&[
            "-n",
            &namespace,
            "neigh",
            "replace",
            &host,
            "lladdr",
            NOBODY,
            "nud",
            "permanent",
            "dev",
            "eth0",
        ])
    }

    /// Both directions.
    pub fn cut(&self, one: i32, other: i32) -> Result<()> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// A broker from all others; clients still reach it.
    pub fn isolate(&self, broker: i32) -> Result<()> {
        let others = self.hosts.iter().filter(|&&other| other != broker);
        others
            .copied()
            .try_for_each(|other| self.cut(broker, other))
    }

    /// Everything that was cut is whole again.
    pub fn heal(&self) -> Result<()> {
        for &broker in &self.hosts {
            let namespace = self.namespace_name(broker);
            ip(&[
                "-n",
                &namespace,
                "neigh",
                "flush",
                "nud",
                "permanent",
                "dev",
                "eth0",
            ])?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if self.kind == Kind::Namespaces {
            remove(&self.tag);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(arguments).output().context("ip")?;
    ensure!(
        done.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(())
}

/// The namespaces that there are.
fn namespaces() -> Vec<String> {
    let Ok(listed) = Command::new("ip").args(["netns", "list"]).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let name = |line: &str| line.split(' ').next().map(str::to_owned);
    text.lines().filter_map(name).collect()
}

/// Removes what belongs to a tag. A namespace takes its ends of cables with it, and those the other ends.
fn remove(tag: &str) {
    for namespace in namespaces() {
        if namespace.starts_with(tag)
            && let Err(error) = ip(&["netns", "del", &namespace])
        {
            eprintln!("a network namespace is not removed: {error:#}");
        }
    }
}

/// Removes what tests left that were killed: their process is no more.
fn remove_leftovers() {
    let namespaces = namespaces();
    let owners: BTreeSet<&str> = namespaces
        .iter()
        .filter_map(|name| name.strip_prefix(PREFIX)?.split_once('x'))
        .map(|(owner, _)| owner)
        .filter(|owner| owner.parse::<u32>().is_ok())
        .filter(|owner| !Path::new("/proc").join(owner).exists())
        .collect();
    for owner in owners {
        remove(&format!("{PREFIX}{owner}x"));
    }
}
