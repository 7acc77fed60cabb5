//! Annotations that come, change and contradict, seen by a broker over a directory of its own.

use std::path::Path;

use super::*;
use crate::config::Sources;
use crate::identity::Identity;
use crate::server::assemble_alone;

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
    let following = tokio::spawn(follow(pod, broker.clone(), known.clone()));
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
