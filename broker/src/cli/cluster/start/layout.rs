//! Which broker of a local cluster is where, and how it is configured.

use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::cli::failure::{Exit, Failure};
use crate::cli::http::PORT_ABOVE_CLIENTS;
use crate::config::Sources;

/// Brokers of one machine: enough to try things, and few enough for ports side by side.
pub(super) const BROKERS_MAX: u16 = 50;
/// Brokers where nobody says how many: the least that outlive one.
const BROKERS_DEFAULT: u16 = 3;
/// By how much a peers' port is above the clients'.
const PEERS_ABOVE_CLIENTS: u16 = 100;
/// Brokers that vote: one may fail.
const VOTERS_MAX: u16 = 3;
/// `shutdown.timeout.ms`: a person waits for each broker's end.
pub(super) const SHUTDOWN_MS: u64 = 8_000;
/// In a data directory once its cluster has a name.
const IDENTITY: &str = "meta.properties";
/// Beside the brokers' directories: the port base that the cluster was begun with.
const PORT_BASE: &str = "port-base";
/// Kafka's port.
const PORT_BASE_DEFAULT: u16 = 9092;

/// What each broker has for itself, and `--set` would give to all of them; and why nobody has to.
const OWN: &[(&str, &str)] = &[
    ("node.id", NUMBERED),
    ("broker.id", NUMBERED),
    ("log.dirs", IN_DATA),
    ("log.dir", IN_DATA),
    ("metadata.log.dir", IN_DATA),
    ("listeners", BY_PORT_BASE),
    ("http.listener", BY_PORT_BASE),
    (
        "controller.quorum.voters",
        "the first three brokers vote, or the only one of fewer",
    ),
    (
        "cluster.found",
        "a cluster is founded where the directory has none",
    ),
];
const NUMBERED: &str = "the brokers are numbered from 1 on";
const IN_DATA: &str = "each broker's data is below the directory that --data names";
const BY_PORT_BASE: &str = "--port-base says which ports they have";

/// A local cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    dir: PathBuf,
    brokers: u16,
    port_base: u16,
    /// No broker has been part of a cluster yet: this one may be founded.
    is_new: bool,
    set: Vec<String>,
}

impl Layout {
    /// Goes on where the directory has a cluster already.
    pub(super) fn of(
        dir: &Path,
        brokers: Option<u16>,
        port_base: Option<u16>,
        set: &[String],
    ) -> Result<Self, Failure> {
        check_directory(dir)?;
        check_set(set)?;
        let here = |number: &u16| dir.join(number.to_string()).is_dir();
        let known = (1..=BROKERS_MAX).filter(here).max();
        let brokers = brokers.or(known).unwrap_or(BROKERS_DEFAULT);
        if let Some(known) = known.filter(|known| *known > brokers) {
            let text = format!("{} has the data of {known} brokers", dir.display());
            let hint =
                format!("--brokers {known} starts them; `milena cluster drain` empties some");
            return Err(Failure::new(Exit::Usage, text).hint(hint));
        }
        let is_named = |number| dir.join(format!("{number}")).join(IDENTITY).exists();
        let is_new = !(1..=brokers).any(is_named);
        let begun_with = port_base_of(dir).filter(|_| !is_new);
        if let (Some(begun), Some(given)) = (begun_with, port_base)
            && begun != given
        {
            let text = format!(
                "the brokers of {} know each other by their ports from {begun} on",
                dir.display()
            );
            let hint = "leave --port-base out to go on there; --data with another directory begins another cluster";
            return Err(Failure::new(Exit::Usage, text).hint(hint));
        }
        Ok(Self {
            dir: dir.to_owned(),
            brokers,
            port_base: port_base.or(begun_with).unwrap_or(PORT_BASE_DEFAULT),
            is_new,
            set: set.to_vec(),
        })
    }

    /// Refuses, before anything runs, settings that the brokers would refuse, and ports that others have: whoever
    /// answers there would be taken for this cluster.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for number in self.numbers() {
            let settings = self.settings(number).into_iter();
            let flag = |(name, value): (String, String)| ("--set".to_owned(), name, value);
            let sources = Sources {
                flags: settings.map(flag).collect(),
                ..Sources::here()
            };
            let checked = sources.load();
            checked.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
            for port in [
                self.port(number),
                self.peers_port(number),
                self.http_port(number),
            ] {
                if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
                    let text = format!("broker {number} can't have the port {port}: {error}");
                    let hint = match self.is_new {
                        true => "--port-base takes other ports",
                        false => {
                            "stop who has it: the cluster's brokers know each other by their ports"
                        }
                    };
                    return Err(Failure::new(Exit::Failed, text).hint(hint));
                }
            }
        }
        Ok(())
    }

    /// The next start takes the same ports.
    pub(super) fn remember(&self) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.dir)?;
        std::fs::write(self.dir.join(PORT_BASE), format!("{}\n", self.port_base))?;
        Ok(())
    }

    /// Whether no broker has been part of a cluster yet.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The brokers.
    pub(super) fn numbers(&self) -> RangeInclusive<u16> {
        1..=self.brokers
    }

    /// Where a broker's HTTP is.
    pub(super) fn http(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.http_port(number))
    }

    fn http_port(&self, number: u16) -> u16 {
        self.port(number) + PORT_ABOVE_CLIENTS
    }

    fn port(&self, number: u16) -> u16 {
        self.port_base + number - 1
    }

    fn peers_port(&self, number: u16) -> u16 {
        self.port(number) + PEERS_ABOVE_CLIENTS
    }

    fn voters(&self) -> String {
        let voters = if self.brokers < VOTERS_MAX {
            1
        } else {
            VOTERS_MAX
        };
        let voter = |number| format!("{number}@127.0.0.1:{}", self.peers_port(number));
        let voters: Vec<String> = (1..=voters).map(voter).collect();
        voters.join(",")
    }

    /// A broker's settings, those of the command line last.
    fn settings(&self, number: u16) -> Vec<(String, String)> {
        let replicas = self.brokers.min(VOTERS_MAX);
        let (clients, peers) = (self.port(number), self.peers_port(number));
        let settings = [
            format!("node.id={number}"),
            format!("listeners=PLAINTEXT://127.0.0.1:{clients},PEERS://127.0.0.1:{peers}"),
            format!("http.listener={}", self.http(number)),
            format!("controller.quorum.voters={}", self.voters()),
            format!("cluster.found={}", self.is_new),
            format!("default.replication.factor={replicas}"),
            format!("offsets.topic.replication.factor={replicas}"),
            format!("shutdown.timeout.ms={SHUTDOWN_MS}"),
        ];
        let all = settings.iter().chain(&self.set);
        all.filter_map(|setting| {
            let (name, value) = setting.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
    }

    /// The arguments of `milena` for a broker.
    pub(super) fn arguments(&self, number: u16) -> Vec<String> {
        let data = self.dir.join(number.to_string());
        let mut arguments = vec!["serve".to_owned(), "--data".to_owned()];
        arguments.push(data.display().to_string());
        for (name, value) in self.settings(number) {
            arguments.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
        arguments
    }

    /// How a person starts a broker again, of a cluster that there is by then.
    pub(super) fn command(&self, number: u16) -> String {
        let begun = Self {
            is_new: false,
            ..self.clone()
        };
        format!("milena {}", begun.arguments(number).join(" "))
    }

    /// What a person is told once all are ready.
    pub(super) fn in_words(&self) -> String {
        let clients = |number| format!("127.0.0.1:{}", self.port(number));
        let clients: Vec<String> = self.numbers().map(clients).collect();
        let noun = if self.brokers == 1 {
            "broker is"
        } else {
            "brokers are"
        };
        format!(
            "{} {noun} ready; clients: {}; data: {}; `milena cluster describe -b {}` shows them; Ctrl-C stops",
            self.brokers,
            clients.join(","),
            self.dir.display(),
            clients[0],
        )
    }
}

/// Brokers below the directory of another would be a cluster inside its data.
fn check_directory(dir: &Path) -> Result<(), Failure> {
    if !dir.join(IDENTITY).exists() {
        return Ok(());
    }
    let dir = dir.display();
    let text = format!(
        "{dir} is the data directory of one broker, not of a cluster that was started here"
    );
    let hint =
        format!("`milena serve --data {dir}` starts that broker; give --data another directory");
    Err(Failure::new(Exit::Usage, text).hint(hint))
}

fn check_set(set: &[String]) -> Result<(), Failure> {
    for one in set {
        let Some((name, _)) = one.split_once('=') else {
            let text = format!("--set {one} is not NAME=VALUE");
            return Err(Failure::new(Exit::Usage, text));
        };
        if let Some((name, why)) = OWN.iter().find(|(own, _)| *own == name.trim()) {
            let text =
                format!("--set {name} is not for all brokers: `cluster start` gives each its own");
            return Err(Failure::new(Exit::Usage, text).hint(*why));
        }
    }
    Ok(())
}

fn port_base_of(dir: &Path) -> Option<u16> {
    let written = std::fs::read_to_string(dir.join(PORT_BASE)).ok()?;
    written.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<'a>(arguments: &'a [String], name: &str) -> &'a str {
        let name = format!("{name}=");
        let mut values = arguments.iter().filter_map(|one| one.strip_prefix(&name));
        values.next_back().unwrap()
    }

    #[test]
    fn three_brokers_vote_and_more_follow() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::of(
            dir.path(),
            Some(5),
            Some(9092),
            &["num.partitions=7".into()],
        )
        .unwrap();
        let fifth = layout.arguments(5);
        let voters = "1@127.0.0.1:9192,2@127.0.0.1:9193,3@127.0.0.1:9194";
        assert_eq!(set(&fifth, "controller.quorum.voters"), voters);
        assert_eq!(
            set(&fifth, "listeners"),
            "PLAINTEXT://127.0.0.1:9096,PEERS://127.0.0.1:9196"
        );
        assert_eq!(set(&fifth, "http.listener"), "127.0.0.1:9408");
        assert_eq!(set(&fifth, "cluster.found"), "true");
        assert_eq!(set(&fifth, "num.partitions"), "7");
        let again = layout.command(5);
        assert!(again.contains("cluster.found=false"), "{again}");
        assert_eq!(set(&fifth, "default.replication.factor"), "3");
    }

    #[test]
    fn what_each_broker_has_for_itself_is_not_set_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |set: &str| Layout::of(dir.path(), Some(2), None, &[set.into()]).unwrap_err();
        for (name, _) in OWN {
            let failure = refused(&format!("{name}=x"));
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.text().contains(name), "{failure}");
        }
        assert_eq!(refused("num.partitions").exit, Exit::Usage);
        let own: Vec<&str> = OWN.iter().map(|(name, _)| *name).collect();
        for (name, value) in Layout::of(dir.path(), None, None, &[]).unwrap().settings(1) {
            let is_default = name.ends_with("replication.factor") || name == "shutdown.timeout.ms";
            assert!(own.contains(&&*name) != is_default, "{name}={value}");
        }
    }

    #[test]
    fn the_data_of_a_lone_broker_is_no_clusters() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(IDENTITY), "").unwrap();
        let failure = Layout::of(dir.path(), None, None, &[]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.to_string().contains("milena serve --data"),
            "{failure}"
        );
    }

    #[test]
    fn a_cluster_that_is_there_goes_on_and_is_not_founded_again() {
        let dir = tempfile::tempdir().unwrap();
        for number in 1..=4 {
            std::fs::create_dir(dir.path().join(number.to_string())).unwrap();
        }
        let begun = Layout::of(dir.path(), None, Some(9092), &[]).unwrap();
        assert_eq!(
            (begun.brokers, begun.is_new),
            (4, true),
            "none got so far as to have a name"
        );
        std::fs::write(dir.path().join("2").join(IDENTITY), "").unwrap();
        assert!(
            !Layout::of(dir.path(), None, Some(9092), &[])
                .unwrap()
                .is_new
        );
        assert!(
            !Layout::of(dir.path(), Some(5), Some(9092), &[])
                .unwrap()
                .is_new
        );
        begun.remember().unwrap();
        assert_eq!(
            Layout::of(dir.path(), None, None, &[]).unwrap().port_base,
            9092
        );
        let moved = Layout::of(dir.path(), None, Some(9192), &[]).unwrap_err();
        assert_eq!(
            moved.exit,
            Exit::Usage,
            "its brokers would not find each other"
        );
        let fewer = Layout::of(dir.path(), Some(3), Some(9092), &[]).unwrap_err();
        assert_eq!(fewer.exit, Exit::Usage);
    }
}
