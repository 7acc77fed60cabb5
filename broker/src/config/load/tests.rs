//! What a start accepts, and what people read when it does not.

use super::super::{CleanupPolicy, QuorumConfig, Voter};
use super::*;

/// A file in a folder of its own, loaded; its path is taken out of messages.
fn load(name: &str, text: &str) -> Result<(BrokerConfig, Vec<String>), String> {
    load_with(name, text, &[], &[])
}

fn load_with(
    name: &str,
    text: &str,
    environment: &[(&str, &str)],
    set: &[(&str, &str)],
) -> Result<(BrokerConfig, Vec<String>), String> {
    load_all(&[(name, text)], environment, set)
}

/// Several files in one folder, loaded in their order.
fn load_all(
    files: &[(&str, &str)],
    environment: &[(&str, &str)],
    set: &[(&str, &str)],
) -> Result<(BrokerConfig, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let sources = Sources {
        files: files
            .iter()
            .map(|(name, _)| folder.path().join(name))
            .collect(),
        environment: environment.iter().map(owned).collect(),
        host_name: "here.example".into(),
        ..Sources::of(set)
    };
    let prefix = format!("{}/", folder.path().display());
    sources
        .load()
        .map_err(|error| error.to_string().replace(&prefix, ""))
}

fn set(settings: &[(&str, &str)]) -> Result<BrokerConfig, String> {
    Sources::of(settings)
        .load()
        .map(|(config, _)| config)
        .map_err(|error| error.to_string())
}

#[test]
fn no_configuration_at_all_is_a_broker_on_localhost() {
    let config = set(&[]).unwrap();
    assert_eq!(config.node_id, 1);
    assert_eq!(config.data_dirs(), [PathBuf::from("./milena-data")]);
    assert_eq!(config.metadata_dir(), PathBuf::from("./milena-data"));
    assert_eq!(config.topic_defaults.retention_ms, 604_800_000);
    let listener = &config.listeners[0];
    assert_eq!((listener.host.as_str(), listener.port), ("", 9092));
    assert_eq!(listener.advertised.as_ref().unwrap().host, "localhost");
}

#[test]
fn every_default_is_allowed_by_its_own_row() {
    for setting in broker_settings().chain(super::super::topic_settings()) {
        if let Some(default) = setting.default {
            assert_eq!(
                setting.check(default).as_deref(),
                Ok(default),
                "{}",
                setting.name
            );
        }
        assert!(
            setting.documentation().ends_with('.') || setting.documentation().ends_with(')'),
            "{}",
            setting.name
        );
    }
}

#[test]
fn no_two_settings_share_a_name_or_a_variable() {
    let mut seen = std::collections::BTreeSet::new();
    for setting in broker_settings() {
        assert!(seen.insert(setting.name.to_owned()), "{}", setting.name);
        assert!(seen.insert(setting.variable()), "{}", setting.name);
        assert!(!is_not_a_setting(&setting.variable()), "{}", setting.name);
    }
}

#[test]
fn a_topics_stated_default_is_what_the_brokers_defaults_give() {
    let layers = Layers::default();
    for setting in super::super::topic_settings().filter(|setting| !setting.synonyms.is_empty()) {
        let inherited = super::super::topic::inherited(setting, &layers);
        assert_eq!(inherited.as_deref(), setting.default, "{}", setting.name);
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "num.partitions=2\ngroup.max.size=2\nfetch.max.bytes=2000\n";
    let environment = [
        ("MILENA_GROUP_MAX_SIZE", "3"),
        ("MILENA_FETCH_MAX_BYTES", "3000"),
        ("HOME", "/"),
    ];
    let (config, _) = load_with(
        "a.properties",
        file,
        &environment,
        &[("fetch.max.bytes", "4000")],
    )
    .unwrap();
    assert_eq!(
        (
            config.num_partitions,
            config.group_max_size,
            config.fetch_max_bytes
        ),
        (2, 3, 4000)
    );
}

#[test]
fn a_file_written_for_kafka_starts_us() {
    let file = "\
process.roles=broker,controller
node.id=7
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://broker.example:9092,CONTROLLER://broker.example:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";
    let (config, warnings) = load("server.properties", file).unwrap();
    assert_eq!(config.node_id, 7);
    assert_eq!(
        config.listeners.len(),
        1,
        "the controllers' listener is not opened"
    );
    assert!(config.listeners[0].inter_broker);
    assert_eq!(
        config.quorum,
        QuorumConfig::default(),
        "its one controller is itself"
    );
    let threads = "server.properties:9: num.network.threads has no effect. It sizes Kafka's pools of threads or \
                   queues; here threads follow the CPU limit and queues have bounds of their own.";
    assert!(
        warnings.iter().any(|warning| warning.ends_with(threads)),
        "{warnings:#?}"
    );
    assert_eq!(warnings.len(), 6);
}

#[test]
fn voters_are_read_and_need_a_listener_of_their_own() {
    let voters = "controller.quorum.voters=1@a:9091, 2@[::1]:9091\ncluster.found=true\n";
    let peers = "listeners=PLAINTEXT://h:9092,PEERS://h:9091\n";
    let (config, _) = load("server.properties", &format!("{voters}{peers}")).unwrap();
    let voter = |broker, host: &str| Voter {
        broker,
        host: host.into(),
        port: 9091,
    };
    assert_eq!(config.quorum.voters, [voter(1, "a"), voter(2, "::1")]);
    assert_eq!(config.quorum.known.len(), 2);
    assert!(config.quorum.is_new);
    assert_eq!(config.peers_listener().unwrap().name, "PEERS");
    let problem = |text: &str| load("server.properties", text).unwrap_err();
    assert!(problem(voters).contains("add PEERS://:9091 to listeners"));
    let bad = "controller.quorum.voters=1@a,x@a:1,1@a:0\ncontroller.quorum.bootstrap.servers=a:b\n";
    let told = problem(&format!("{bad}{peers}"));
    for text in [
        "\"1@a\" is not id@host:port",
        "\"x@a:1\"",
        "\"1@a:0\"",
        "\"a:b\" is not host:port",
    ] {
        assert!(told.contains(text), "{told}");
    }
    let twice = problem(&format!("controller.quorum.voters=1@a:1,1@b:1\n{peers}"));
    assert!(twice.contains("names broker 1 twice"), "{twice}");
}

#[test]
fn a_name_written_otherwise_beside_the_right_one_is_told_with_both_places() {
    let file = "num.partitions: 3\nnum_partitions: 4\n";
    let flags = [("log_dirs", "/a"), ("log.dirs", "/b")];
    let problems = load_with("a.yaml", file, &[], &flags).unwrap_err();
    let expected = "\
--set: log_dirs: is not a setting; did you mean log.dirs? That is given too: --set; keep one of them
a.yaml:2: num_partitions: is not a setting; did you mean num.partitions? That is given too: a.yaml:1; keep one of them";
    assert_eq!(problems, expected);
}

#[test]
fn every_problem_is_told_at_once_with_its_place_and_the_nearest_name() {
    let file = "num.partitons=3\nlog.retention.ms=0\n# fine\ngroup.max.size = many\nnum.io.threads=0\nxyzzy=1\n";
    let environment = [
        ("MILENA_NUM_PARTITION", "3"),
        ("MILENA_MIN_INSYNC_REPLICAS", "0"),
    ];
    let flags = [
        ("log.cleanup.policy", "shred,delete"),
        ("authorizer.class.name", "x.Y"),
    ];
    let problems = load_with("server.properties", file, &environment, &flags).unwrap_err();
    let expected = "\
environment variable MILENA_NUM_PARTITION: is not a setting; did you mean MILENA_NUM_PARTITIONS? \
Unset it if it is meant for another program.
--set: authorizer.class.name: \"x.Y\" can't be honoured. There is no authorizer yet, and running without one must \
not go unnoticed: leave it out to let every client do everything.
server.properties:4: group.max.size: \"many\" is not a whole number of 32 bits
--set: log.cleanup.policy: \"shred,delete\" is not allowed: it must be one of compact, delete
server.properties:2: log.retention.ms: \"0\" is not allowed: it must be -1 or at least 1
environment variable MILENA_MIN_INSYNC_REPLICAS: min.insync.replicas: \"0\" is not allowed: it must be at least 1
server.properties:5: num.io.threads: \"0\" is not allowed: it must be at least 1
server.properties:1: num.partitons: is not a setting; did you mean num.partitions?
server.properties:6: xyzzy: is not a setting; `milena config reference` lists all that are";
    assert_eq!(problems, expected);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let problem = set(&[
        ("group.min.session.timeout.ms", "9"),
        ("group.max.session.timeout.ms", "8"),
    ])
    .unwrap_err();
    assert_eq!(
        problem,
        "--set: group.min.session.timeout.ms: 9 is above group.max.session.timeout.ms, 8"
    );
    let problem = set(&[("node.id", "1"), ("broker.id", "2")]).unwrap_err();
    assert_eq!(
        problem,
        "--set: broker.id: is 2 but node.id is 1; give one of them"
    );
    assert_eq!(set(&[("broker.id", "2")]).unwrap().node_id, 2);
}

#[test]
fn yaml_may_be_flat_or_nested_with_lists() {
    let file = "\
# a broker
num:
  partitions: 3
log.retention:
  hours: 2
listeners:
  - PLAINTEXT://127.0.0.1:0
  - INSIDE://127.0.0.1:19092
listener.security.protocol.map: \"PLAINTEXT:PLAINTEXT, INSIDE:PLAINTEXT\"
log.cleanup.policy: [compact, delete]
delete.topic.enable: no
auto.create.topics.enable: false
";
    let problem = load("a.yaml", file).unwrap_err();
    assert_eq!(
        problem,
        "a.yaml:11: delete.topic.enable: \"no\" is neither true nor false"
    );
    let (config, _) = load("a.yaml", &file.replace(" no\n", " True\n")).unwrap();
    assert_eq!(
        (config.num_partitions, config.auto_create_topics_enable),
        (3, false)
    );
    assert_eq!(config.topic_defaults.retention_ms, 7_200_000);
    assert_eq!(
        config.topic_defaults.cleanup_policy,
        CleanupPolicy {
            compact: true,
            delete: true
        }
    );
    assert_eq!(config.listeners[1].name, "INSIDE");
}

#[test]
fn yaml_problems_name_the_line() {
    assert_eq!(
        load("a.yml", "num:\n  partitions: 0\n").unwrap_err(),
        "a.yml:2: num.partitions: \"0\" is not allowed: it must be at least 1"
    );
    assert_eq!(
        load("a.yml", "node.id: 3\nlog.dirs:\n").unwrap_err(),
        "a.yml:2: log.dirs has no value; write \"\" for an empty one"
    );
    assert!(
        load("a.yml", "node.id: [3\n")
            .unwrap_err()
            .starts_with("a.yml:")
    );
    assert!(
        load("a.yml", "- 3\n")
            .unwrap_err()
            .starts_with("a.yml:1: is neither")
    );
}

#[test]
fn a_name_given_twice_in_a_file_is_refused() {
    let problem = load("a.conf", "node.id=1\nnode.id=2\n").unwrap_err();
    assert_eq!(
        problem,
        "a.conf:2: node.id: is given in line 1 already; keep one of them"
    );
    let problem = load("a.yaml", "node.id: 1\nnode:\n  id: 2\n").unwrap_err();
    assert_eq!(
        problem,
        "a.yaml:3: node.id: is given in line 1 already; keep one of them"
    );
}

#[test]
fn properties_know_javas_separators_escapes_and_long_lines() {
    let file =
        "\u{20}! note\nlog.dirs = /a,\\\n   /b\nbroker.rack: K\\u00f6ln\\\\\nnum.partitions 3";
    let (config, _) = load("server.conf", file).unwrap();
    assert_eq!(
        config.data_dirs(),
        [PathBuf::from("/a"), PathBuf::from("/b")]
    );
    assert_eq!(config.broker_rack.as_deref(), Some("Köln\\"));
    assert_eq!(config.num_partitions, 3);
}

#[test]
fn a_file_without_a_known_ending_is_told_by_its_first_line() {
    assert_eq!(
        load("config", "# x\nnum.partitions: 4\n")
            .unwrap()
            .0
            .num_partitions,
        4
    );
    assert_eq!(
        load("config", "# x\nnum.partitions=4\n")
            .unwrap()
            .0
            .num_partitions,
        4
    );
    assert_eq!(
        load("config", "listeners=PLAINTEXT://a:1\n")
            .unwrap()
            .0
            .listeners[0]
            .port,
        1
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let sources = Sources {
        files: vec!["/nowhere/server.properties".into()],
        ..Sources::default()
    };
    let problem = sources.load().unwrap_err().to_string();
    assert_eq!(
        problem,
        "/nowhere/server.properties: can't be read: No such file or directory (os error 2)"
    );
}

#[test]
fn of_several_files_the_last_one_counts_and_problems_name_theirs() {
    let cluster = (
        "cluster.properties",
        "node.id=0\nnum.partitions=0\ngroup.max.size=7\n",
    );
    let own = ("3.yaml", "node.id: 3\nnum.partitions: 2\n");
    let set = [("group.max.size", "9")];
    let (config, _) = load_all(&[cluster, own], &[], &set).unwrap();
    let found = (config.node_id, config.num_partitions, config.group_max_size);
    assert_eq!(
        found,
        (3, 2, 9),
        "a value that is not in force is not checked"
    );
    assert_eq!(
        load_all(&[own, cluster], &[], &set).unwrap_err(),
        "cluster.properties:2: num.partitions: \"0\" is not allowed: it must be at least 1"
    );
    let twice = ("own.properties", "node.id=1\nnode.id=2\n");
    assert_eq!(
        load_all(&[cluster, twice, own], &[], &set).unwrap_err(),
        "own.properties:2: node.id: is given in line 1 already; keep one of them"
    );
}

#[test]
fn a_file_that_is_named_twice_is_refused_by_whatever_path() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    std::fs::write(&file, "node.id: 3\n").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for again in [&file, &link] {
        let sources = Sources {
            files: vec![file.clone(), again.clone()],
            ..Sources::default()
        };
        let problem = sources.load().unwrap_err().to_string();
        assert!(
            problem.starts_with(&format!("{}: is named twice", again.display())),
            "{problem}"
        );
    }
}

#[test]
fn a_service_of_kubernetes_named_milena_is_no_mistake() {
    let pod = [
        ("MILENA_SERVICE_HOST", "10.0.0.1"),
        ("MILENA_PORT", "tcp://10.0.0.1:9092"),
        ("MILENA_PORT_9092_TCP_ADDR", "10.0.0.1"),
        ("MILENA_HEADLESS_SERVICE_PORT_KAFKA", "9092"),
        ("MILENA_HEADLESS_PORT_9092_TCP", "tcp://10.0.0.1:9092"),
    ];
    assert!(load_with("a.yaml", "", &pod, &[]).is_ok());
}
