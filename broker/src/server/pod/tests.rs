//! Annotations that come, change and contradict, seen by a broker over a directory of its own.

use std::path::Path;

use super::*;
use crate::config::Sources;
use crate::identity::Identity;
use crate::server::{assemble_alone, listen};

const SOON: Duration = Duration::from_secs(20);

struct Told {
    dir: tempfile::TempDir,
}

impl Told {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        Self { dir }
    }

    /// As kubelet does: a new file under the old name.
    fn say(&self, annotations: &[(&str, &str)]) {
        let lines = annotations.iter();
        let text: String = lines
            .map(|(key, value)| format!("milena.dev/{key}={value:?}\n"))
            .collect();
        let next = self.dir.path().join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("annotations")
    }

    fn config(&self, further: &[(&str, &str)]) -> BrokerConfig {
        let text = |path: &Path| path.display().to_string();
        let (data, file) = (text(&self.dir.path().join("data")), text(&self.file()));
        let mut set = vec![
            ("log.dirs", data.as_str()),
            ("broker.annotations.file", file.as_str()),
            ("broker.node", "worker-1"),
        ];
        set.extend(further);
        Sources::of(&set).load().unwrap().0
    }

    /// Of a file that says where clients outside find it.
    fn reached_at(&self, external: &str) -> BrokerConfig {
        self.advertise(&[external]);
        let mut sources = Sources::of(&[
            (
                "log.dirs",
                &self.dir.path().join("data").display().to_string(),
            ),
            (
                "broker.annotations.file",
                &self.file().display().to_string(),
            ),
            ("listeners", "PEERS://127.0.0.1:0,EXTERNAL://127.0.0.1:0"),
            (
                "listener.security.protocol.map",
                "PEERS:PLAINTEXT,EXTERNAL:PLAINTEXT",
            ),
        ]);
        sources.files = vec![self.properties()];
        sources.load().unwrap().0
    }

    fn properties(&self) -> PathBuf {
        self.dir.path().join("1.properties")
    }

    /// The peers' listener at a name that changes with each, and these.
    fn advertise(&self, external: &[&str]) {
        let peers = format!("PEERS://peer-{}:9091", external.len());
        let urls: Vec<&str> = [&*peers]
            .into_iter()
            .chain(external.iter().copied())
            .collect();
        let text = format!("advertised.listeners={}\n", urls.join(","));
        let next = self.dir.path().join("next.properties");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.properties()).unwrap();
    }

    fn seen(&self, further: &[(&str, &str)]) -> Result<Pod, DirectoryError> {
        Pod::first_seen(&self.config(further), &self.dir.path().join("data"))
    }
}

fn rack_of(broker: &Broker) -> Option<String> {
    let image = broker.image();
    let rack = &image.broker(broker.broker_id()).unwrap().rack;
    rack.as_deref().map(str::to_owned)
}

async fn until(what: impl Fn() -> bool) {
    let met = async {
        while !what() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, met)
        .await
        .expect("it takes too long");
}

#[test]
fn the_rack_is_what_is_given_or_what_the_pod_says() {
    let told = Told::new();
    assert_eq!(told.seen(&[]).unwrap().rack(), None, "there is no file yet");
    told.say(&[]);
    assert_eq!(told.seen(&[]).unwrap().rack(), None);
    told.say(&[("zone", "eu-1a")]);
    assert_eq!(told.seen(&[]).unwrap().rack(), Some("eu-1a"));
    let given = told.seen(&[("broker.rack", "mine")]).unwrap();
    assert_eq!((given.rack(), given.told_rack()), (Some("mine"), None));
}

#[test]
fn until_the_pod_says_the_machines_last_rack_holds() {
    let told = Told::new();
    told.say(&[("zone", "eu-1a")]);
    told.seen(&[]).unwrap().remember();
    std::fs::remove_file(told.file()).unwrap();
    assert_eq!(told.seen(&[]).unwrap().rack(), Some("eu-1a"));
    let elsewhere = told.seen(&[("broker.node", "worker-2")]).unwrap();
    assert_eq!(elsewhere.rack(), None, "it has moved to another machine");
    told.say(&[("zone", "eu-1b")]);
    assert_eq!(
        told.seen(&[]).unwrap().rack(),
        Some("eu-1b"),
        "it was relabelled"
    );
}

#[test]
fn a_file_that_loses_a_line_or_breaks_takes_nothing_back() {
    let told = Told::new();
    told.say(&[("zone", "eu-1a"), ("claim-uid", "3f-1")]);
    let mut pod = told.seen(&[]).unwrap();
    let before = pod.annotations.clone();
    told.say(&[]);
    pod.look();
    std::fs::write(told.file(), "milena.dev/zone=eu").unwrap();
    pod.look();
    assert!(
        pod.problem.as_deref().unwrap().contains("line 1"),
        "{:?}",
        pod.problem
    );
    std::fs::remove_file(told.file()).unwrap();
    pod.look();
    assert_eq!(pod.annotations, before);
}

#[test]
fn a_directory_that_was_copied_to_another_volume_is_refused_at_the_start() {
    let (told, known) = (Told::new(), Known::default());
    told.say(&[("claim-uid", "3f-1")]);
    let mut pod = told.seen(&[]).unwrap();
    assert_eq!(
        pod.claim_uid(),
        None,
        "a first start binds it when it is a cluster's"
    );
    pod.bind(&known).unwrap();
    assert_eq!(known.get().claim_uid.as_deref(), Some("3f-1"));
    assert_eq!(told.seen(&[]).unwrap().claim_uid(), Some("3f-1"));
    told.say(&[("claim-uid", "3f-2")]);
    let refused = told.seen(&[]).err().unwrap().to_string();
    assert!(
        refused.contains("3f-1") && refused.contains("3f-2"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_running_broker_moves_to_the_rack_and_binds_to_the_claim_that_come_late() {
    let told = Told::new();
    let broker = assemble_alone(told.config(&[])).await;
    let epoch = broker.broker_epoch();
    assert_eq!(rack_of(&broker), None);
    let known = Arc::new(Known::default());
    let pod = told.seen(&[]).unwrap();
    let addresses = Addresses::of(&Arc::new(told.config(&[])), &[]);
    let following = follow(pod, addresses, broker.clone(), known.clone());
    let following = tokio::spawn(following);
    told.say(&[("zone", "eu-1a"), ("claim-uid", "3f-1")]);
    until(|| rack_of(&broker).as_deref() == Some("eu-1a")).await;
    let bound = Identity {
        claim_uid: Some("3f-1".into()),
        ..Identity::default()
    };
    assert_eq!(known.get(), bound);
    told.say(&[("zone", "eu-1b"), ("claim-uid", "3f-1")]);
    until(|| rack_of(&broker).as_deref() == Some("eu-1b")).await;
    let image = broker.image();
    let life = image.broker(broker.broker_id()).unwrap();
    assert_eq!(
        (life.epoch, life.fenced),
        (epoch, false),
        "without a new life"
    );
    told.say(&[("claim-uid", "3f-2")]);
    let copied = tokio::time::timeout(SOON, following)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(copied, DirectoryError::Copied { .. }), "{copied}");
}

/// Where the metadata has it, as `advertised.listeners`.
fn endpoints_of(broker: &Broker) -> String {
    let image = broker.image();
    addresses::shown(&image.broker(broker.broker_id()).unwrap().endpoints)
}

#[tokio::test]
async fn a_running_broker_is_reached_where_its_changed_configuration_says() {
    let told = Told::new();
    let config = told.reached_at("EXTERNAL://10.0.0.1:31001");
    let listeners = listen::bind_all(&config).unwrap();
    let broker = assemble_alone(config.clone()).await;
    let epoch = broker.broker_epoch();
    let addresses = Addresses::of(&Arc::new(config), &listeners);
    let pod = told.seen(&[]).unwrap();
    let _following = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(follow(
        pod,
        addresses,
        broker.clone(),
        Arc::default(),
    )));
    let at = |external: &str| format!("PEERS://peer-1:9091,EXTERNAL://{external}");
    until(|| endpoints_of(&broker) == at("10.0.0.1:31001")).await;
    told.advertise(&["EXTERNAL://[fd00::2]:31001"]);
    until(|| endpoints_of(&broker) == at("[fd00::2]:31001")).await;
    let image = broker.image();
    let life = image.broker(broker.broker_id()).unwrap();
    assert_eq!(
        (life.epoch, life.fenced),
        (epoch, false),
        "without a new life"
    );
}

#[test]
fn an_address_that_is_not_told_any_more_or_not_rightly_stays_and_so_does_the_peers() {
    let told = Told::new();
    let config = told.reached_at("EXTERNAL://10.0.0.1:31001");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let listeners = listen::bind_all(&config).unwrap();
    let mut addresses = Addresses::of(&Arc::new(config), &listeners);
    let mut look = || {
        addresses.look();
        let shown = addresses::shown(&addresses.endpoints());
        (shown, addresses.problem.clone().unwrap_or_default())
    };
    let first = "PEERS://peer-1:9091,EXTERNAL://10.0.0.1:31001";
    assert_eq!(look(), (first.to_owned(), String::new()));
    told.advertise(&[]);
    assert_eq!(look(), (first.to_owned(), String::new()));
    told.advertise(&["EXTERNAL://10.0.0.2:no-port"]);
    let (shown, problem) = look();
    assert_eq!(shown, first);
    assert!(problem.contains("1.properties"), "{problem}");
    told.advertise(&["EXTERNAL://10.0.0.2:31001"]);
    let second = "PEERS://peer-1:9091,EXTERNAL://10.0.0.2:31001";
    assert_eq!(look(), (second.to_owned(), String::new()));
}
