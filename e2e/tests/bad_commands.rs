//! Bad command lines, and brokers that can't start: a sentence that says what was wrong and what to do, an exit
//! status that programs can tell apart, and nothing changed.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::command::{CommandLine, Done};
use e2e::load::{batch, create_topic, fetch_one, produce_one};
use e2e::process;
use e2e::wire::Wire;
use milena_protocol::ErrorCode;
use milena_protocol::records::Compression;
use tempfile::tempdir;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const UNREACHABLE: i32 = 3;
const NOT_FOUND: i32 = 4;
/// For a consumer that looks for its topic at times.
const GONE_LIMIT: Duration = Duration::from_secs(30);

/// A command, its exit status, and words of its message.
type Case<'a> = (&'a [&'a str], i32, &'a [&'a str]);

fn check(command_line: &CommandLine, cases: &[Case]) -> Result<()> {
    for (arguments, status, words) in cases {
        let done = command_line.run_with("a record\n", arguments)?;
        ensure!(
            done.stderr.starts_with("error: "),
            "{arguments:?}: {done:#?}"
        );
        done.failed(*status, words)
            .with_context(|| format!("milena {arguments:?}"))?;
    }
    Ok(())
}

#[test]
fn a_bad_topic_command_says_what_was_wrong_and_changes_nothing() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), "orders", 3, &[])?;
    let command_line = CommandLine::new(&broker.bootstrap());
    let before = command_line
        .run(&["topic", "describe", "orders", "--all-configs"])?
        .printed()?;
    #[rustfmt::skip]
    let cases: &[Case] = &[
        (&["topic", "describe", "order"], NOT_FOUND, &["no topic \"order\"", "hint: similar names: orders"]),
        (&["topic", "describe", "zzz"], NOT_FOUND, &["no topic \"zzz\"", "`milena topic list`"]),
        (&["topic", "delete", "zzz"], NOT_FOUND, &["no topic \"zzz\""]),
        (&["topic", "alter", "zzz", "-p", "3"], NOT_FOUND, &["no topic \"zzz\""]),
        (&["topic", "create", "a b"], FAILED, &["'a b'", "hint: a name has 1 to 249"]),
        (&["topic", "create", ""], FAILED, &["hint: a name has 1 to 249"]),
        (&["topic", "create", "orders"], FAILED, &["already exists", "hint: --if-not-exists"]),
        (&["topic", "create", "x", "-p", "0"], USAGE, &["0 is not in 1..="]),
        (&["topic", "create", "x", "-p", "-3"], USAGE, &["-3 is not in 1..="]),
        (&["topic", "create", "x", "-p", "10001"], FAILED, &["10001, of 10000 at the most"]),
        (&["topic", "create", "x", "-p", "many"], USAGE, &["'many'", "--partitions"]),
        (&["topic", "create", "x", "-r", "2"], FAILED, &["hint: the cluster has one broker"]),
        (&["topic", "create", "x", "-r", "0"], USAGE, &["0 is not in 1..="]),
        (&["topic", "create", "x", "-c", "retention.mss=1"], FAILED, &["did you mean retention.ms?"]),
        (&["topic", "create", "x", "-c", "retention.ms=soon"], FAILED, &["\"soon\" is not a whole number"]),
        (&["topic", "create", "x", "-c", "retention.ms"], USAGE, &["give NAME=VALUE"]),
        (&["topic", "alter", "orders"], USAGE, &["nothing to change", "hint: give --partitions"]),
        (&["topic", "alter", "orders", "-p", "2"], FAILED, &["3 partition", "their number only grows"]),
        (&["topic", "alter", "orders", "-c", "cleanup.policy=shred"], FAILED, &["one of compact, delete"]),
        (&["topic", "alter", "orders", "-d", "retention.mss"], FAILED, &["\"retention.mss\"", "retention.ms"]),
        (&["topic", "frobnicate"], USAGE, &["'frobnicate'"]),
    ];
    check(&command_line, cases)?;
    let topics = command_line.run(&["topic", "list", "-o", "json"])?.json()?;
    ensure!(
        topics.as_array().is_some_and(|topics| topics.len() == 1),
        "{topics}"
    );
    let after = command_line
        .run(&["topic", "describe", "orders", "--all-configs"])?
        .printed()?;
    ensure!(before == after, "before:\n{before}\nafter:\n{after}");
    Ok(())
}

#[test]
fn bad_records_offsets_and_groups_are_told_in_a_sentence() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), "orders", 3, &[])?;
    create_topic(
        &broker.bootstrap(),
        "keyed",
        1,
        &[("cleanup.policy", "compact")],
    )?;
    create_topic(
        &broker.bootstrap(),
        "small",
        1,
        &[("max.message.bytes", "10")],
    )?;
    let command_line = CommandLine::new(&broker.bootstrap());
    #[rustfmt::skip]
    let cases: &[Case] = &[
        (&["produce", "zzz"], NOT_FOUND, &["no topic \"zzz\"", "hint: "]),
        (&["produce", "a b", "--create"], FAILED, &["\"a b\"", "hint: a name has 1 to 249"]),
        (&["produce", "orders", "-p", "7"], NOT_FOUND, &["partitions 0 to 2, and no 7"]),
        (&["produce", "orders", "-p", "-1"], USAGE, &["-1 is not in 0..="]),
        (&["produce", "orders", "-f", "json"], USAGE, &["line 1: "]),
        (&["produce", "orders", "-f", "key:value"], USAGE, &["line 1: there is no \":\""]),
        (&["produce", "orders", "/nowhere/records"], NOT_FOUND, &["/nowhere/records", "No such file"]),
        (&["produce", "orders", "/"], FAILED, &["/ can't be read"]),
        (&["produce", "keyed"], FAILED, &["1 of 1 records were not stored", "without a key"]),
        (&["produce", "small"], FAILED, &["1 of 1 records were not stored", "hint: ", "max.message.bytes"]),
        (&["consume", "zzz", "-e"], NOT_FOUND, &["no topic \"zzz\""]),
        (&["consume", "orders", "-e", "-p", "7"], NOT_FOUND, &["partitions 0 to 2, and no 7"]),
        (&["consume", "orders", "-e", "--from", "5"], NOT_FOUND, &["offsets 0 to 0, and no 5", "hint: "]),
        (&["consume", "orders", "--from", "soon"], USAGE, &["'soon'", "give beginning, end"]),
        (&["consume", "orders", "-f", "%q"], USAGE, &["%q is no field"]),
        (&["consume", "orders", "-g", "g", "--from", "5"], USAGE, &["a group begins at no offset", "hint: "]),
        (&["consume", "orders", "-g", "", "-e"], USAGE, &["--group"]),
        (&["consume", "orders", "-g", "g", "-p", "0"], USAGE, &["cannot be used with"]),
        (&["group", "describe", "zzz"], NOT_FOUND, &["no group \"zzz\"", "hint: "]),
        (&["group", "describe", ""], USAGE, &["GROUP"]),
        (&["group", "delete", "zzz"], NOT_FOUND, &["no group \"zzz\""]),
        (&["group", "reset-offsets", "g"], USAGE, &["--to-earliest"]),
        (&["group", "reset-offsets", "g", "--to-earliest"], USAGE, &["no topic is named", "hint: "]),
        (&["group", "reset-offsets", "g", "-t", "zzz", "--to-earliest"], NOT_FOUND, &["no topic \"zzz\""]),
        (&["group", "reset-offsets", "g", "-t", "orders:7", "--to-latest"], NOT_FOUND, &["and no 7"]),
        (&["group", "reset-offsets", "g", "-t", "orders", "--to-offset", "-1"], USAGE, &["-1 is not in 0.."]),
        (&["group", "reset-offsets", "g", "--all-topics", "--to-latest"], NOT_FOUND, &["no group \"g\""]),
        (&["bench", "consume", "-t", "zzz", "-n", "1"], NOT_FOUND, &["no topic \"zzz\""]),
        (&["bench", "latency", "-t", "b", "-d", "1s"], USAGE, &["within the warm-up of 1s", "hint: "]),
        (&["log", "dump", "/nowhere.log"], NOT_FOUND, &["/nowhere.log", "No such file"]),
        (&["log", "dump", "/"], USAGE, &["/: no file of a log", "hint: "]),
        (&["log", "dump", "/etc/passwd"], USAGE, &["no file of a log", "hint: "]),
    ];
    check(&command_line, cases)
}

#[test]
fn what_was_stored_before_a_bad_line_is_told() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), "orders", 1, &[])?;
    let milena = CommandLine::new(&broker.bootstrap());
    let lines = "{\"value\":\"first\"}\nno record\n";
    let done = milena.run_with(lines, &["produce", "orders", "-f", "json"])?;
    done.failed(FAILED, &["1 record was stored", "line 2: "])?;
    let stored = milena.prints("consume orders --from beginning -e")?;
    ensure!(stored == "first\n", "{stored}");

    let too_long = tempfile::NamedTempFile::new()?;
    let line = vec![b'x'; (32 << 20) + 1];
    fs::write(
        too_long.path(),
        [b"second\n", &line[..], b"\nthird\n"].concat(),
    )?;
    let done = milena.run(&["produce", "orders", &too_long.path().to_string_lossy()])?;
    let words = &[
        "1 record was stored",
        "line 2: ",
        "longer than 33554432 bytes",
    ];
    done.failed(FAILED, words)?;
    let stored = milena.prints("consume orders --from beginning -e")?;
    ensure!(stored == "first\nsecond\n", "{stored}");
    Ok(())
}

#[test]
fn kafkas_own_topics_are_deleted_only_where_that_is_said() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), "orders", 1, &[])?;
    let milena = CommandLine::new(&broker.bootstrap());
    milena.takes("a record\n", "produce orders")?;
    milena.prints("consume orders -g g --from beginning -n 1")?;
    let both = ["topic", "delete", "orders", "__consumer_offsets"];
    milena.run(&both)?.failed(
        USAGE,
        &[
            "__consumer_offsets",
            "nothing was deleted",
            "hint: --internal",
        ],
    )?;
    milena.prints("topic describe orders")?;
    let deleted = milena.prints("topic delete --internal orders __consumer_offsets")?;
    ensure!(deleted.lines().count() == 2, "{deleted}");
    Ok(())
}

#[test]
fn a_consumer_is_told_that_its_topic_was_deleted() -> Result<()> {
    let broker = Broker::start(&[])?;
    let milena = CommandLine::new(&broker.bootstrap());
    for group in [&[][..], &["-g", "g"]] {
        create_topic(&broker.bootstrap(), "short", 1, &[])?;
        milena.takes("a record\n", "produce short")?;
        let begin = ["consume", "short", "--from", "beginning"];
        let mut consumer = milena.start(&[&begin, group].concat())?;
        let mut printed = BufReader::new(consumer.stdout.take().context("no stdout")?);
        printed.read_line(&mut String::new())?;
        milena.prints("topic delete short")?;
        let ended = process::wait(&mut consumer, GONE_LIMIT);
        let status = ended.context("it goes on without its topic")?.code();
        let mut told = String::new();
        consumer
            .stderr
            .take()
            .context("no stderr")?
            .read_to_string(&mut told)?;
        ensure!(status == Some(NOT_FOUND), "{status:?}: {told}");
        ensure!(told.contains("\"short\" has been deleted"), "{told}");
    }
    Ok(())
}

#[test]
fn a_bad_setting_of_a_local_cluster_starts_nothing() -> Result<()> {
    let folder = tempdir()?;
    let data = folder.path().join("data");
    let data = data.to_string_lossy();
    for (setting, words) in [
        (
            "num.partition=3",
            ["num.partition", "did you mean num.partitions?"],
        ),
        ("node.id=7", ["--set node.id", "numbered from 1"]),
        ("log.dirs=/x", ["--set log.dirs", "--data"]),
    ] {
        let start = ["cluster", "start", "--data", &data, "--set", setting];
        let done = CommandLine::new("127.0.0.1:1").run(&start)?;
        done.failed(USAGE, &words)?;
    }
    ensure!(
        fs::read_dir(folder.path())?.next().is_none(),
        "it left something"
    );
    Ok(())
}

#[test]
fn a_cluster_that_can_not_be_reached_has_a_status_of_its_own() -> Result<()> {
    let broker = Broker::start(&[])?;
    let http = broker.http();
    #[rustfmt::skip]
    let cases: &[Case] = &[
        (&["topic", "list", "-b", "127.0.0.1:1"], UNREACHABLE, &["connection refused", "hint: is the broker running"]),
        (&["topic", "list", "-b", &http], UNREACHABLE, &["this is no Kafka broker"]),
        (&["topic", "list", "-b", "localhost:none"], USAGE, &["\"localhost:none\" is no HOST:PORT"]),
        (&["topic", "list", "-b", ""], USAGE, &["give at least one HOST:PORT"]),
    ];
    check(&CommandLine::new(&broker.bootstrap()), cases)
}

/// `milena serve` that is to fail: on this data directory, without a port unless the arguments name one.
fn serve(data: &Path, arguments: &[&str]) -> Result<Done> {
    let data = data.to_string_lossy();
    let mut all = vec!["serve", "--data", &data, "--http", ""];
    if !arguments.contains(&"--listeners") {
        all.extend(["--listeners", "PLAINTEXT://127.0.0.1:0"]);
    }
    all.extend(arguments);
    CommandLine::new("").run(&all)
}

/// A broker that was stopped, with a record in each of two partitions.
fn stopped_with_records() -> Result<Broker> {
    let mut broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), "orders", 2, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    for partition in 0..2 {
        let records = batch(&[Some(b"kept")], Compression::None);
        produce_one(&mut wire, "orders", partition, records)??;
    }
    broker.stop()?;
    Ok(broker)
}

/// A data directory that a broker has left.
fn used_data(into: &Path) -> Result<PathBuf> {
    let broker = stopped_with_records()?;
    let data = into.join("data");
    copy(&broker.data(), &data)?;
    Ok(data)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(drop)?,
        }
    }
    Ok(())
}

/// Root may read everything, so a folder stands in for a file that can't be read.
fn make_unreadable(file: &Path) -> Result<()> {
    fs::remove_file(file).with_context(|| file.display().to_string())?;
    Ok(fs::create_dir(file)?)
}

#[test]
fn a_port_or_directory_in_use_stops_the_start() -> Result<()> {
    let broker = Broker::start(&[])?;
    let folder = tempdir()?;
    let listener = format!("PLAINTEXT://{}", broker.bootstrap());
    serve(&folder.path().join("new"), &["--listeners", &listener])?.failed(
        FAILED,
        &[
            "error: PLAINTEXT can't listen on",
            "another process has the port",
            "set listeners",
        ],
    )?;
    serve(&broker.data(), &[])?.failed(FAILED, &["is in use by another process; stop that broker"])
}

#[test]
fn the_data_of_another_cluster_or_node_stops_the_start() -> Result<()> {
    let folder = tempdir()?;
    let data = used_data(folder.path())?;
    serve(&data, &["--set", "node.id=9"])?.failed(
        FAILED,
        &[
            "belongs to node 1, but this broker is of node 9",
            "correct its configuration",
        ],
    )?;
    serve(&data, &["--set", "cluster.id=AAAAAAAAAAAAAAAAAAAAAA"])?.failed(
        FAILED,
        &["belongs to cluster", "but this broker is of cluster AAAA"],
    )?;
    let identity = data.join("meta.properties");
    let text = fs::read_to_string(&identity)?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("cluster.id="));
    let id = id.context("no cluster.id in meta.properties")?;
    fs::write(&identity, text.replace(id, "AAAAAAAAAAAAAAAAAAAAAA"))?;
    serve(&data, &[])?.failed(FAILED, &["of cluster", "they do not belong together"])
}

#[test]
fn a_file_that_can_not_be_read_is_named() -> Result<()> {
    let folder = tempdir()?;
    let data = used_data(folder.path())?;
    serve(&data, &["--config", "/nowhere.yaml"])?
        .failed(USAGE, &["/nowhere.yaml: can't be read: No such file"])?;
    serve(&data, &["--config", "/"])?.failed(USAGE, &["/: can't be read: Is a directory"])?;
    let metadata = fs::read_dir(data.join("quorum"))?
        .next()
        .context("no metadata")??;
    make_unreadable(&metadata.path())?;
    let name = metadata.path().display().to_string();
    serve(&data, &[])?.failed(
        FAILED,
        &["metadata can't be used", &name, "let this user read"],
    )?;
    make_unreadable(&data.join("meta.properties"))?;
    serve(&data, &[])?.failed(FAILED, &["meta.properties", "let this user read"])?;
    let file = folder.path().join("file");
    fs::write(&file, "not a folder")?;
    serve(&file, &[])?.failed(FAILED, &[&file.display().to_string(), "another directory"])
}

#[test]
fn a_partition_whose_file_can_not_be_read_is_offline_and_others_go_on() -> Result<()> {
    let mut broker = stopped_with_records()?;
    let segment = broker.data().join("orders-0/00000000000000000000.log");
    let kept = fs::read(&segment)?;
    make_unreadable(&segment)?;
    broker.start_again()?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let records = || batch(&[Some(b"more")], Compression::None);
    assert_eq!(
        produce_one(&mut wire, "orders", 0, records())?,
        Err(ErrorCode::KafkaStorageError)
    );
    assert_eq!(
        fetch_one(&mut wire, "orders", 0, 0)?,
        Err(ErrorCode::KafkaStorageError)
    );
    assert_eq!(produce_one(&mut wire, "orders", 1, records())?, Ok(1));
    ensure!(
        broker.log_tail().contains("orders-0"),
        "{}",
        broker.log_tail()
    );
    broker.stop()?;
    fs::remove_dir(&segment)?;
    fs::write(&segment, kept)?;
    broker.start_again()?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    ensure!(
        !fetch_one(&mut wire, "orders", 0, 0)??.is_empty(),
        "the record is gone"
    );
    Ok(())
}

#[test]
fn an_unknown_setting_stops_the_start_wherever_it_stands() -> Result<()> {
    let folder = tempdir()?;
    let data = folder.path().join("data");
    let file = folder.path().join("server.properties");
    fs::write(&file, "num.partitions=3\nnum.partitons=4\n")?;
    serve(&data, &["--config", &file.to_string_lossy()])?.failed(
        USAGE,
        &[
            "server.properties:2: num.partitons",
            "did you mean num.partitions?",
        ],
    )?;
    serve(&data, &["--set", "xyzzy=1"])?.failed(
        USAGE,
        &[
            "--set: xyzzy: is not a setting",
            "`milena config reference`",
        ],
    )?;
    serve(&data, &["--set", "num.partitions=0"])?.failed(USAGE, &["it must be at least 1"])?;
    ensure!(
        !data.exists(),
        "a broker that did not start made {}",
        data.display()
    );
    Ok(())
}
