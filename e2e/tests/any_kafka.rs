//! The command line against Apache Kafka, where `../shared/kafka/kafka` or `MILENA_BENCH_KAFKA` starts one.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::command::CommandLine;
use e2e::process;
use e2e::skip::skipped;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A download of Kafka on a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
/// A start, a stop or a tool, on a machine that is busy with the other tests.
const RUN_LIMIT: Duration = Duration::from_secs(150);
/// Until the broker has heard of what its controller has done.
const HEARD_LIMIT: Duration = Duration::from_secs(30);
/// Kafka's controller listens so far above the clients' port.
const CONTROLLER_ABOVE: u16 = 100;
const PORT_TRIES: usize = 100;
/// Groups begin at once, and one partition is enough for what they commit.
const SETTINGS: [&str; 3] = [
    "group.initial.rebalance.delay.ms=0",
    "num.partitions=3",
    "offsets.topic.num.partitions=1",
];

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const UNREACHABLE: i32 = 3;
const NOT_FOUND: i32 = 4;

/// One node of Apache Kafka. Dropped, it is killed and its data is gone.
struct Kafka {
    program: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Kafka {
    /// Installs it on first use. `None`, and a line on stderr, where it can't be had.
    fn start() -> Result<Option<Self>> {
        let program = program();
        if let Some(why) = missing(&program) {
            skipped("any_kafka", &why)?;
            return Ok(None);
        }
        let kafka = Self {
            program,
            folder: tempfile::tempdir().context("a temporary folder for Kafka")?,
            port: free_port()?,
        };
        kafka.run(INSTALL_LIMIT, &["install"])?;
        let (folder, port) = (kafka.folder(), kafka.port.to_string());
        let mut start = vec!["start", "--dir", &folder, "--port-base", &port];
        start.extend(SETTINGS.iter().flat_map(|setting| ["--set", setting]));
        kafka.run(RUN_LIMIT, &start)?;
        Ok(Some(kafka))
    }

    fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn folder(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Runs one of Kafka's own tools against it.
    fn tool(&self, arguments: &str) -> Result<()> {
        let bootstrap = self.bootstrap();
        let mut all = vec!["tool"];
        all.extend(arguments.split(' '));
        all.extend(["--bootstrap-server", &bootstrap]);
        self.run(RUN_LIMIT, &all)
    }

    /// An error with all that was printed unless it succeeds in time.
    fn run(&self, limit: Duration, arguments: &[&str]) -> Result<()> {
        let output = tempfile::NamedTempFile::new()?;
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env_remove("KAFKA_VERSION")
            .env("KAFKA_HEAP_OPTS", "-Xmx512m")
            // What lives for seconds gains nothing from the optimising compiler.
            .env("KAFKA_OPTS", "-XX:TieredStopAtLevel=1")
            .stdin(Stdio::null())
            .stdout(output.reopen()?)
            .stderr(output.reopen()?)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        let ended = process::wait(&mut child, limit);
        if ended.is_none() {
            child.kill()?;
            child.wait()?;
        }
        ensure!(
            ended.is_some_and(|status| status.success()),
            "kafka {arguments:?}: {ended:?} within {limit:?}\n{}",
            String::from_utf8_lossy(&std::fs::read(output.path())?)
        );
        Ok(())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let stop = ["stop", "--dir", &self.folder(), "--kill", "--wipe"];
        if let Err(error) = self.run(RUN_LIMIT, &stop) {
            eprintln!("{error:#}");
        }
    }
}

fn program() -> PathBuf {
    let shared = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kafka/kafka");
    std::env::var_os("MILENA_BENCH_KAFKA").map_or_else(shared, PathBuf::from)
}

/// Why Kafka can't be run here.
fn missing(program: &Path) -> Option<String> {
    if !program.exists() {
        return Some(format!(
            "there is no {}; MILENA_BENCH_KAFKA names another",
            program.display()
        ));
    }
    let tools = [
        ("python3", "python3"),
        ("java", "openjdk-17-jre-headless"),
        ("mvn", "maven"),
    ];
    let is_missing = |name: &str| {
        let mut command = Command::new(name);
        command.arg("--version");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_err()
    };
    let (name, package) = tools.into_iter().find(|(name, _)| is_missing(name))?;
    Some(format!(
        "{name} is not on the PATH; Debian has it in the package {package}"
    ))
}

/// A port that was free a moment ago, as was the controller's above it.
fn free_port() -> Result<u16> {
    for _ in 0..PORT_TRIES {
        let listener = TcpListener::bind("127.0.0.1:0").context("a free port")?;
        let port = listener.local_addr()?.port();
        let above = port.checked_add(CONTROLLER_ABOVE);
        if above.is_some_and(|above| TcpListener::bind(("127.0.0.1", above)).is_ok()) {
            return Ok(port);
        }
    }
    bail!("no two free ports {CONTROLLER_ABOVE} apart in {PORT_TRIES} tries")
}

/// Asks again until the answer is as wanted: a broker of Apache Kafka hears of what was done a moment later.
fn until(milena: &CommandLine, command: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = String::new();
    let found = process::poll(HEARD_LIMIT, || {
        let answer = milena.prints_json(command);
        last = format!("{answer:?}");
        answer.ok().filter(|answer| wanted(answer))
    });
    found.with_context(|| format!("milena {command} after {HEARD_LIMIT:?}: {last}"))
}

fn create(milena: &CommandLine, topic: &str, arguments: &str) -> Result<()> {
    let created = milena.prints(&format!("topic create {topic} {arguments}"))?;
    assert_eq!(created, format!("topic {topic}: created\n"));
    until(milena, &format!("topic describe {topic}"), |_| true).map(drop)
}

fn has_topic(listed: &Value, name: &str) -> bool {
    let mut topics = listed.as_array().into_iter().flatten();
    topics.any(|topic| topic["name"] == name)
}

#[test]
fn every_command_works_against_apache_kafka() -> Result<()> {
    let Some(kafka) = Kafka::start()? else {
        return Ok(());
    };
    let milena = CommandLine::new(&kafka.bootstrap());
    a_topic_lives_from_create_to_delete(&milena).context("topics")?;
    records_go_in_and_come_out(&milena).context("records")?;
    consuming_begins_where_it_is_told(&milena).context("places")?;
    a_group_is_consumed_with_described_moved_and_deleted(&milena).context("groups")?;
    benchmarks_tell_their_figures(&milena).context("benchmarks")?;
    what_was_wrong_is_told_in_a_sentence(&milena).context("bad input")?;
    what_transactions_leave_is_passed_over(&kafka, &milena).context("transactions")?;
    offsets_of_a_group_of_the_newer_protocol_are_told(&kafka, &milena).context("KIP-848")
}

fn a_topic_lives_from_create_to_delete(milena: &CommandLine) -> Result<()> {
    create(milena, "a", "-p 2 -c retention.ms=100000")?;
    create(milena, "default", "--replication-factor 1")?;
    let again = milena.prints("topic create a --if-not-exists")?;
    assert_eq!(again, "topic a: exists already\n");
    let tried = milena.prints("topic create b --dry-run")?;
    assert_eq!(tried, "topic b: could be created\n");
    let listed = milena.prints_json("topic list")?;
    ensure!(
        has_topic(&listed, "a") && !has_topic(&listed, "b"),
        "{listed}"
    );
    assert_eq!(
        milena.prints("topic alter a -p 4 -c cleanup.policy=compact -d retention.ms")?,
        "topic a: changed\n"
    );
    let tried = milena.prints("topic alter a -p 9 --dry-run")?;
    assert_eq!(tried, "topic a: could be changed\n");
    let described = until(milena, "topic describe a", |topics| {
        topics[0]["partitions"] == 4 && topics[0]["configs"] == json!({"cleanup.policy": "compact"})
    })?;
    let partition = &described[0]["partition_details"][3];
    assert_eq!(partition["in_sync"], partition["replicas"]);
    let offsets = (&partition["start"], &partition["end"]);
    assert_eq!(offsets, (&json!(0), &json!(0)));
    let text = milena.prints("topic describe a --all-configs")?;
    ensure!(text.contains("\n  retention.ms=604800000\n"), "{text}");
    let deleted = milena.prints("topic delete a default")?;
    assert_eq!(deleted, "topic a: deleted\ntopic default: deleted\n");
    until(milena, "topic list", |topics| !has_topic(topics, "a"))?;
    let gone = milena.prints("topic delete a --if-exists")?;
    assert_eq!(gone, "topic a: was not there\n");
    Ok(())
}

fn records_go_in_and_come_out(milena: &CommandLine) -> Result<()> {
    create(milena, "t", "-p 4")?;
    let mut expected = String::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let keyed = format!("produce t -p 1 -f key:value --null NULL -H a=1 -H b=2 -z {codec}");
        milena.takes(&format!("k:{codec}\ngone:NULL\n"), &keyed)?;
        expected += &format!("1 k={codec} a=1,b=2\n1 gone= a=1,b=2\n");
    }
    let read = milena.prints(r"consume t -p 1 --from beginning -e -f %p\x20%k=%s\x20%h\n")?;
    assert_eq!(read, expected);
    let line = r#"{"key":"k","value":"v","headers":{"h":"1","n":null},"partition":2,"timestamp":1700000000000}"#;
    milena.takes(&format!("{line}\n"), "produce t -f json --acks 1 -z lz4")?;
    let read = milena.prints("consume t -p 2 --from beginning -n 1 -o json")?;
    let mut expected: Value = serde_json::from_str(line)?;
    expected["topic"] = json!("t");
    expected["offset"] = json!(0);
    assert_eq!(serde_json::from_str::<Value>(&read)?, expected);
    for _ in 0..10 {
        milena.takes("unanswered\n", "produce t -p 3 --acks 0")?;
    }
    let read = milena.prints("consume t -p 3 --from beginning -n 10")?;
    assert_eq!(read, "unanswered\n".repeat(10));
    let made = milena.run_with("x\ny\n", &["produce", "made", "--create", "-o", "json"])?;
    assert_eq!(
        made.json()?,
        json!({"stored": 2, "failed": 0, "unknown": 0})
    );
    Ok(())
}

fn consuming_begins_where_it_is_told(milena: &CommandLine) -> Result<()> {
    create(milena, "places", "-p 1")?;
    let record = |n: i64| format!("{{\"value\":\"{n}\",\"timestamp\":{}}}\n", n * 1000);
    let records: String = (0..5).map(|n| record(1_700_000_000 + n)).collect();
    milena.takes(&records, "produce places -f json")?;
    for (from, expected) in [
        ("beginning -n 2", 0..2),
        ("3", 3..5),
        ("-2", 3..5),
        ("end", 5..5),
        ("2023-11-14T22:13:22Z", 2..5),
        ("2033-01-01", 5..5),
    ] {
        let read = milena.prints(&format!("consume places -e --from {from}"))?;
        let expected: String = expected
            .map(|n| format!("{}\n", 1_700_000_000 + n))
            .collect();
        ensure!(read == expected, "--from {from}: {read:?}");
    }
    Ok(())
}

fn a_group_is_consumed_with_described_moved_and_deleted(milena: &CommandLine) -> Result<()> {
    create(milena, "grouped", "-p 1")?;
    milena.takes("0\n1\n2\n3\n", "produce grouped")?;
    let read = milena.prints("consume grouped -g g --from beginning -n 3")?;
    assert_eq!(read, "0\n1\n2\n");
    assert_eq!(milena.prints("consume grouped -g g -e")?, "3\n");
    let listed = milena.prints_json("group list")?;
    assert_eq!(listed[0]["group"], "g");
    let described = milena.prints_json("group describe g")?;
    let partition = &described["partitions"][0];
    assert_eq!(described["state"], "Empty");
    assert_eq!(
        (&partition["committed"], &partition["lag"]),
        (&json!(4), &json!(0))
    );
    for (to, offset) in [
        ("--to-earliest", 0),
        ("--to-latest", 4),
        ("--to-offset 1", 1),
        ("--shift-by -3", 1),
        ("--by-duration 1h", 0),
        ("--to-current", 4),
        ("--to-datetime 2033-01-01T00:00:00Z", 4),
    ] {
        let shown = milena.prints_json(&format!("group reset-offsets g -t grouped {to}"))?;
        ensure!(shown["partitions"][0]["to"] == offset, "{to}: {shown}");
    }
    milena.prints("group reset-offsets g --all-topics --to-offset 2 --execute")?;
    assert_eq!(milena.prints("consume grouped -g g -e")?, "2\n3\n");
    assert_eq!(milena.prints("group delete g")?, "group g: deleted\n");
    assert_eq!(milena.prints_json("group list")?, json!([]));
    Ok(())
}

fn benchmarks_tell_their_figures(milena: &CommandLine) -> Result<()> {
    for command in [
        "bench produce -t b -n 500",
        "bench produce -t b -n 500 --acks all --idempotent -z zstd",
        "bench consume -t b -n 1000",
        "bench consume -t b -n 1000 --headers-only",
        "bench latency -t b -n 200 --warm-up 0s",
    ] {
        let figures = milena.prints_json(command)?;
        let records = figures["records"].as_u64();
        ensure!(
            records.is_some_and(|records| records >= 200) && figures["failed"] == 0,
            "{command}: {figures}"
        );
    }
    Ok(())
}

fn what_was_wrong_is_told_in_a_sentence(milena: &CommandLine) -> Result<()> {
    create(milena, "orders", "-p 3")?;
    #[rustfmt::skip]
    let cases: &[(&str, i32, &[&str])] = &[
        ("topic create orders", FAILED, &["already exists", "hint: --if-not-exists"]),
        ("topic create x -c retention.mss=1", FAILED, &["retention.mss", "hint: "]),
        ("topic create x -c retention.ms=soon", FAILED, &["soon", "retention.ms"]),
        ("topic create a/b", FAILED, &["hint: a name has 1 to 249"]),
        ("topic create x -r 2", FAILED, &["hint: the cluster has one broker"]),
        ("topic describe order", NOT_FOUND, &["no topic \"order\"", "hint: similar names: orders"]),
        ("topic delete zzz", NOT_FOUND, &["no topic \"zzz\""]),
        ("topic alter orders -p 2", FAILED, &["their number only grows"]),
        ("topic alter orders -c cleanup.policy=shred", FAILED, &["shred"]),
        ("topic alter orders -d retention.mss", FAILED, &["\"retention.mss\"", "retention.ms"]),
        ("topic delete __consumer_offsets", USAGE, &["nothing was deleted"]),
        ("produce zzz", NOT_FOUND, &["no topic \"zzz\""]),
        ("produce orders -p 7", NOT_FOUND, &["partitions 0 to 2, and no 7"]),
        ("consume zzz -e", NOT_FOUND, &["no topic \"zzz\""]),
        ("consume orders -e --from 5", NOT_FOUND, &["offsets 0 to 0, and no 5"]),
        ("group describe zzz", NOT_FOUND, &["no group \"zzz\""]),
        ("group delete zzz", NOT_FOUND, &["no group \"zzz\""]),
        ("bench consume -t zzz -n 1", NOT_FOUND, &["no topic \"zzz\""]),
        ("cluster describe", UNREACHABLE, &["no broker's HTTP", "hint: --http"]),
    ];
    for (command, status, words) in cases {
        let arguments: Vec<&str> = command.split(' ').collect();
        let done = milena.run_with("a record\n", &arguments)?;
        ensure!(done.stderr.starts_with("error: "), "{command}: {done:#?}");
        done.failed(*status, words)
            .with_context(|| format!("milena {command}"))?;
    }
    Ok(())
}

fn what_transactions_leave_is_passed_over(kafka: &Kafka, milena: &CommandLine) -> Result<()> {
    create(milena, "paid", "-p 1")?;
    kafka.tool(
        "kafka-producer-perf-test --topic paid --num-records 20 --record-size 9 --throughput -1 \
         --transactional-id pay --transaction-duration-ms 1000",
    )?;
    let read = milena.prints("consume paid --from beginning -e")?;
    assert_eq!(read.lines().count(), 20);
    assert_eq!(milena.prints_json("bench consume -t paid")?["records"], 20);
    Ok(())
}

fn offsets_of_a_group_of_the_newer_protocol_are_told(
    kafka: &Kafka,
    milena: &CommandLine,
) -> Result<()> {
    kafka.tool(
        "kafka-console-consumer --topic places --from-beginning --max-messages 5 --group newer \
         --command-property group.protocol=consumer",
    )?;
    let described = milena.prints_json("group describe newer")?;
    assert_eq!(described["state"], "Empty");
    assert_eq!(described["partitions"][0]["committed"], 5);
    milena.prints("group reset-offsets newer -t places --to-offset 3 --execute")?;
    assert_eq!(
        milena.prints("consume places -g newer -e")?.lines().count(),
        2
    );
    Ok(())
}
