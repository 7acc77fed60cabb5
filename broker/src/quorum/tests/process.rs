//! A member with a runtime of its own, which can be killed as a process can.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::config::Voter;

/// A runtime that ends in the background closes its sockets in far less.
const BOUND_WITHIN: Duration = Duration::from_secs(5);

/// As long as a busy machine may take; nothing waits for it that goes well.
pub(super) const BOUND: Duration = Duration::from_secs(20);

/// What is needed to start a member again.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) broker: i32,
    pub(super) dir: PathBuf,
    pub(super) port: u16,
}

/// A running member.
pub(super) struct Process {
    pub(super) place: Place,
    pub(super) quorum: Arc<Quorum>,
    runtime: Option<Runtime>,
}

/// Places for members, in one folder that is removed with it.
pub(super) struct Places {
    _folder: tempfile::TempDir,
    pub(super) all: Vec<Place>,
    /// Silence after which a broker is fenced.
    pub(super) session: Duration,
}

impl Places {
    pub(super) fn new(count: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Held until all have one, so that they differ.
        let held: Vec<TcpListener> = (0..count)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let place = |(broker, socket): (i32, &TcpListener)| Place {
            broker,
            dir: folder.path().join(broker.to_string()),
            port: socket.local_addr().unwrap().port(),
        };
        let all = (1..).zip(&held).map(place).collect();
        Self {
            _folder: folder,
            all,
            session: SESSION_TIMEOUT,
        }
    }

    /// The first three.
    pub(super) fn voters(&self) -> Vec<Voter> {
        let voter = |place: &Place| Voter {
            broker: place.broker,
            host: "127.0.0.1".into(),
            port: place.port,
        };
        self.all.iter().take(3).map(voter).collect()
    }

    pub(super) fn told(&self, is_new: bool) -> Told {
        Told::Voters {
            voters: self.voters(),
            is_new,
        }
    }

    pub(super) fn options(&self, place: &Place, told: Told) -> QuorumOptions {
        QuorumOptions {
            address: Some(("127.0.0.1".into(), place.port)),
            known: self
                .voters()
                .into_iter()
                .map(|voter| (voter.host, voter.port))
                .collect(),
            told,
            request_within: Duration::from_secs(3),
            leading: Leading {
                session_timeout: self.session,
                ..Leading::default()
            },
            ..QuorumOptions::alone(place.dir.clone(), place.broker)
        }
    }

    /// Starts all three voters of a new cluster.
    pub(super) async fn found(&self) -> Vec<Process> {
        let starting = self.all.iter().take(3).map(|place| {
            let options = self.options(place, self.told(true));
            Process::start(place.clone(), options)
        });
        let mut all = Vec::new();
        for started in starting.collect::<Vec<_>>() {
            all.push(started.await.unwrap().unwrap());
        }
        all
    }
}

/// The socket of a life that was killed closes a moment later.
fn bound(port: u16) -> TcpListener {
    let begun = std::time::Instant::now();
    loop {
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(socket) => return socket,
            Err(error) if begun.elapsed() > BOUND_WITHIN => panic!("port {port}: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

pub(super) type Starting = tokio::task::JoinHandle<Result<Process, OpenError>>;

impl Process {
    /// Begins the start; others may have to start before it ends.
    pub(super) fn start(place: Place, options: QuorumOptions) -> Starting {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let control = runtime.handle().clone();
        let socket = bound(place.port);
        socket.set_nonblocking(true).unwrap();
        let listener = PeersListener {
            socket,
            others: Others::default(),
        };
        tokio::spawn(async move {
            let runtime = Background(Some(runtime));
            let quorum = Quorum::open(options, rules(), Some(listener), control).await?;
            Ok(Self {
                place,
                quorum: Arc::new(quorum),
                runtime: runtime.keep(),
            })
        })
    }

    /// As kill -9: every task ends where it is, and every socket closes.
    pub(super) fn kill(mut self) -> Place {
        self.end();
        self.place.clone()
    }

    /// As SIGSTOP: nothing runs, and its sockets stay open; until what it returns is dropped.
    pub(super) fn stop(&self) -> mpsc::Sender<()> {
        let (resume, resumed) = mpsc::channel();
        let stopped = async move { resumed.recv().map_or((), drop) };
        // Its runtime has one worker.
        drop(self.runtime.as_ref().map(|runtime| runtime.spawn(stopped)));
        resume
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.quorum.store.close();
    }

    pub(super) fn leads(&self) -> bool {
        self.quorum.member.is_leader()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A runtime may not be dropped where futures run.
struct Background(Option<Runtime>);

impl Background {
    fn keep(mut self) -> Option<Runtime> {
        self.0.take()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits until it holds, within the bound.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + BOUND;
    while !holds() {
        assert!(
            std::time::Instant::now() < deadline,
            "it did not come about that {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The place of the one that leads.
pub(super) async fn leader_of(all: &[Process]) -> usize {
    until("one leads", || all.iter().any(Process::leads)).await;
    all.iter().position(Process::leads).unwrap()
}
