//! Clients that take a broker's connections, its descriptors and the memory for its requests.

use std::net::TcpStream;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::kube::{Kube, broker, text};
use e2e::wire::Wire;
use serde_json::Value;

use crate::stage::{BROKERS, CONNECTIONS_MAX, REQUEST_MAX, Stage};
use crate::undo::Undo;

const BROKER: i32 = BROKERS[2];
/// Of the largest, so that others have a little room left.
const ANNOUNCED: usize = REQUEST_MAX - REQUEST_MAX / 50;
/// A request whose bytes stop coming is given up after 10 s.
const TRICKLE: Duration = Duration::from_secs(2);
/// Beyond the bound.
const REFUSED: usize = 10;
/// So many of a hundred descriptors are to be open.
const OPEN_PERCENT: usize = 92;

/// Requests that were announced and come byte by byte, until this is dropped.
struct Trickle {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Trickle {
    fn begin(address: &str, requests: usize) -> Result<Self> {
        let mut wires = Vec::new();
        for _ in 0..requests {
            let mut wire = Wire::connect(address)?;
            wire.send_bytes(&(ANNOUNCED as u32).to_be_bytes())?;
            wires.push(wire);
        }
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            while ended.recv_timeout(TRICKLE) == Err(RecvTimeoutError::Timeout) {
                // What the broker has given up shows in its metrics.
                wires.retain_mut(|wire| wire.send_bytes(&[0]).is_ok());
            }
        });
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Connections up to the bound and some more, so few descriptors that those are nearly all, and requests that never come.
pub fn take_all<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    let address = stage.address(BROKER);
    let trickle = Trickle::begin(address, 2)?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS_MAX + REFUSED {
        connections.push(TcpStream::connect(address)?);
    }
    let process = Process {
        kube: &stage.scene.kube,
        pod: stage.pod(BROKER)?,
    };
    let before = process.descriptors_max()?;
    let fewer = process.descriptors()? * 100 / OPEN_PERCENT;
    process.limit_descriptors(fewer)?;
    Ok(Undo::by(move || {
        drop((trickle, connections));
        process.limit_descriptors(before)
    }))
}

/// A broker's process, as its node sees it.
struct Process<'a> {
    kube: &'a Kube,
    pod: Value,
}

impl Process<'_> {
    /// How many are open.
    fn descriptors(&self) -> Result<usize> {
        self.number("ls /proc/$p/fd | wc -l")
    }

    /// How many may be open.
    fn descriptors_max(&self) -> Result<usize> {
        self.number(&limits("--output=SOFT --noheadings --raw --nofile"))
    }

    fn limit_descriptors(&self, most: usize) -> Result<()> {
        self.run(&limits(&format!("--nofile={most}:"))).map(drop)
    }

    fn number(&self, command: &str) -> Result<usize> {
        let printed = self.run(command)?;
        let number = printed.trim().parse();
        number.with_context(|| format!("{command} prints {printed:?}"))
    }

    /// Runs a command on the node, to which the process is $p.
    fn run(&self, command: &str) -> Result<String> {
        let uid = text(&self.pod["metadata"]["uid"]);
        let find = format!(
            "for c in /proc/[0-9]*/comm; do \
               [ \"$(cat $c 2>/dev/null)\" = milena ] || continue; p=$(basename $(dirname $c)); \
               tr _ - < /proc/$p/cgroup | grep -q 'pod{uid}' && {{ {command}; exit; }}; \
             done; exit 1"
        );
        let node = broker::node(&self.pod)?;
        self.kube.on_node(node, &["sh", "-c", &find])
    }
}

/// By the process' own user, who may lower what is not the hard limit and raise it again: a node's root may not be let to.
fn limits(arguments: &str) -> String {
    let user = "--reuid=$(stat -c %u /proc/$p) --regid=$(stat -c %g /proc/$p) --clear-groups";
    format!("setpriv {user} prlimit --pid=$p {arguments}")
}
