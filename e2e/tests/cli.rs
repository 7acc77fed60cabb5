//! Every command of the command line against a running broker, as people and programs use it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::command::CommandLine;
use e2e::process::{poll, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::tempdir;

/// For what a group or a command comes to by itself; far more than it takes.
const LIMIT: Duration = Duration::from_secs(30);

fn start() -> Result<(Broker, CommandLine)> {
    // Groups begin at once, with 3 partitions each topic.
    let settings = ["group.initial.rebalance.delay.ms=0", "num.partitions=3"];
    let broker = Broker::start(&["--set", settings[0], "--set", settings[1]])?;
    let command_line = CommandLine::new(&broker.bootstrap());
    Ok((broker, command_line))
}

#[test]
fn a_topic_lives_from_create_to_delete() -> Result<()> {
    let (_broker, milena) = start()?;
    assert_eq!(
        milena.prints("topic create a -p 2 -c retention.ms=1000")?,
        "topic a: created\n"
    );
    assert_eq!(
        milena.prints("topic create a --if-not-exists")?,
        "topic a: exists already\n"
    );
    assert_eq!(
        milena.prints("topic create b --dry-run")?,
        "topic b: could be created\n"
    );
    let created = milena.prints_json("topic create c")?;
    assert_eq!(created, json!({"topic": "c", "result": "created"}));
    let listed = milena.prints_json("topic list")?;
    assert_eq!(listed[0]["name"], "a");
    assert_eq!(listed[0]["partitions"], 2);
    assert_eq!(listed[1]["partitions"], 3, "the broker's default");
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    let table = milena.prints("topic list")?;
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        lines.next(),
        Some(vec!["TOPIC", "PARTITIONS", "REPLICAS", "ID"])
    );
    assert_eq!(
        lines.next().map(|line| line[..3].to_vec()),
        Some(vec!["a", "2", "1"])
    );
    let changed = "topic alter a -p 4 -c cleanup.policy=compact -d retention.ms";
    assert_eq!(milena.prints(changed)?, "topic a: changed\n");
    assert_eq!(
        milena.prints("topic alter a -p 9 --dry-run")?,
        "topic a: could be changed\n"
    );
    let described = milena.prints_json("topic describe a")?;
    assert_eq!(
        described[0]["configs"],
        json!({"cleanup.policy": "compact"})
    );
    let partition = &described[0]["partition_details"][3];
    assert_eq!(partition["in_sync"], partition["replicas"]);
    assert_eq!(
        (&partition["start"], &partition["end"]),
        (&json!(0), &json!(0))
    );
    let text = milena.prints("topic describe a c --all-configs")?;
    ensure!(
        text.contains("\n  cleanup.policy=compact\n") && text.contains("\nc  id "),
        "{text}"
    );
    ensure!(text.contains("\n  retention.ms=604800000\n"), "{text}");
    assert_eq!(
        milena.prints("topic delete a c")?,
        "topic a: deleted\ntopic c: deleted\n"
    );
    assert_eq!(
        milena.prints("topic delete a --if-exists")?,
        "topic a: was not there\n"
    );
    assert_eq!(milena.prints_json("topic list")?, json!([]));
    Ok(())
}

#[test]
fn records_go_in_and_come_out_in_every_form() -> Result<()> {
    let (_broker, milena) = start()?;
    milena.prints("topic create t")?;
    milena.takes("one\r\ntwo\nlast without an end", "produce t -p 0")?;
    assert_eq!(
        milena.prints("consume t -p 0 --from beginning -e")?,
        "one\ntwo\nlast without an end\n"
    );
    let keyed = "produce t -p 1 -f key:value --null NULL -H a=1 -H b= -z zstd";
    milena.takes("k:v:w\ngone:NULL\n", keyed)?;
    assert_eq!(
        milena.prints("consume t -p 1 --from beginning -e -f key:value")?,
        "k:v:w\ngone:\n"
    );
    let fields = milena
        .prints(r"consume t -p 1 --from beginning -e -f %t/%p/%o\t%k(%K)=%s(%S)\x21%h%%\n")?;
    assert_eq!(
        fields,
        "t/1/0\tk(1)=v:w(3)!a=1,b=%\nt/1/1\tgone(4)=(-1)!a=1,b=%\n"
    );
    let line = r#"{"key":"k","value":"v","headers":{"h":"1","n":null},"partition":2,"timestamp":1700000000000}"#;
    milena.takes(&format!("{line}\n"), "produce t -f json --acks 1 -z lz4")?;
    let consumed: Value =
        serde_json::from_str(&milena.prints("consume t -p 2 --from beginning -n 1 -o json")?)?;
    let mut expected: Value = serde_json::from_str(line)?;
    expected["topic"] = json!("t");
    expected["offset"] = json!(0);
    assert_eq!(consumed, expected);
    let folder = tempdir()?;
    let file = folder.path().join("records");
    std::fs::write(&file, "from a file\n")?;
    milena.takes(
        "not read",
        &format!("produce t {} -p 2 -k key --acks all", file.display()),
    )?;
    assert_eq!(
        milena.prints("consume t -p 2 --from 1 -e -f %k=%s")?,
        "key=from a file"
    );
    let stored = milena
        .run_with("x\ny\n", &["produce", "made", "--create", "-o", "json"])?
        .json()?;
    assert_eq!(stored, json!({"stored": 2, "failed": 0, "unknown": 0}));
    Ok(())
}

#[test]
fn what_consume_writes_as_json_produce_reads_back_to_the_same_records() -> Result<()> {
    let (_broker, milena) = start()?;
    milena.prints("topic create from -p 1")?;
    milena.prints("topic create to -p 1")?;
    let headers = "produce from -f key:value --null - -H twice=1 -H twice=2 -H once=3";
    milena.takes("k:v\nk:-\n:\n", headers)?;
    let lines = milena.prints("consume from --from beginning -e -f json")?;
    milena.takes(&lines, "produce to -f json")?;
    let form = "--from beginning -e -f %o/%T/%k/%S/%s/%h\\n";
    let (from, to) = (format!("consume from {form}"), format!("consume to {form}"));
    assert_eq!(milena.prints(&from)?, milena.prints(&to)?);
    Ok(())
}

#[test]
fn consuming_begins_and_ends_where_it_is_told() -> Result<()> {
    let (_broker, milena) = start()?;
    milena.prints("topic create t -p 1")?;
    let records: String = (0..5)
        .map(|n| {
            format!(
                "{{\"value\":\"{n}\",\"timestamp\":{}}}\n",
                1_700_000_000_000_i64 + n * 1000
            )
        })
        .collect();
    milena.takes(&records, "produce t -f json")?;
    for (from, expected) in [
        ("beginning", "0\n1\n2\n3\n4\n"),
        ("earliest -n 2", "0\n1\n"),
        ("3", "3\n4\n"),
        ("5", ""),
        ("-2", "3\n4\n"),
        ("-9", "0\n1\n2\n3\n4\n"),
        ("end", ""),
        ("2023-11-14T22:13:22Z", "2\n3\n4\n"),
        ("2023-11-14T23:13:22.500+01:00", "3\n4\n"),
        ("2033-01-01", ""),
    ] {
        let printed = milena.prints(&format!("consume t -e --from {from}"))?;
        ensure!(printed == expected, "--from {from}: {printed:?}");
    }
    assert_eq!(milena.prints("consume t -e")?, "", "only what is new");
    Ok(())
}

#[test]
fn a_group_is_consumed_with_described_moved_and_deleted() -> Result<()> {
    let (_broker, milena) = start()?;
    milena.prints("topic create t -p 1")?;
    milena.takes("0\n1\n2\n3\n", "produce t")?;
    assert_eq!(
        milena.prints("consume t -g g --from beginning -n 3")?,
        "0\n1\n2\n"
    );
    assert_eq!(
        milena.prints("consume t -g g -e")?,
        "3\n",
        "it goes on where it was"
    );
    let listed = milena.prints_json("group list")?;
    assert_eq!(
        (&listed[0]["group"], &listed[0]["state"]),
        (&json!("g"), &json!("Empty"))
    );
    let described = milena.prints_json("group describe g")?;
    let offsets = &described["partitions"][0];
    assert_eq!(
        (&offsets["committed"], &offsets["lag"]),
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
        let shown = milena.prints_json(&format!("group reset-offsets g -t t {to}"))?;
        ensure!(shown["partitions"][0]["to"] == offset, "{to}: {shown}");
        ensure!(shown["executed"] == false, "{to}: {shown}");
    }
    ensure!(
        milena.prints_json("group describe g")? == described,
        "showing moved it"
    );
    let text = milena.prints("group reset-offsets g --all-topics --to-offset 2")?;
    ensure!(text.contains("give --execute"), "{text}");
    milena.prints("group reset-offsets g -t t:0 --to-offset 2 --execute")?;
    let text = milena.prints("group describe g")?;
    let row = text.lines().last().unwrap_or_default();
    let words: Vec<&str> = row.split_whitespace().collect();
    ensure!(words[..5] == ["t", "0", "2", "4", "2"], "{text}");
    assert_eq!(milena.prints("consume t -g g -e")?, "2\n3\n");
    assert_eq!(milena.prints("group delete g")?, "group g: deleted\n");
    assert_eq!(milena.prints_json("group list")?, json!([]));
    ensure!(
        milena
            .prints("topic list --internal")?
            .contains("__consumer_offsets")
    );
    Ok(())
}

#[test]
fn a_member_without_a_partition_is_shown_and_its_groups_offsets_stay() -> Result<()> {
    let (_broker, milena) = start()?;
    milena.prints("topic create t -p 1")?;
    let member = || milena.start(&["consume", "t", "-g", "g"]);
    let mut members = [member()?, member()?];
    let described = poll(LIMIT, || {
        let described = milena.prints_json("group describe g").ok()?;
        let settled = described["state"] == "Stable" && described["members"] == 2;
        settled.then_some(described)
    });
    let described = described.context("the members don't settle")?;
    let (owner, idle) = (&described["partitions"], &described["idle_members"]);
    ensure!(
        owner.as_array().map(Vec::len) == Some(1) && idle.as_array().map(Vec::len) == Some(1),
        "{described}"
    );
    ensure!(owner[0]["member"] != idle[0]["member"], "{described}");
    let text = milena.prints("group describe g")?;
    let last: Vec<&str> = text
        .lines()
        .last()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    ensure!(
        last[..5] == ["-"; 5] && idle[0]["member"] == last[5],
        "{text}"
    );
    let shown = milena.run(&["group", "reset-offsets", "g", "-t", "t", "--to-earliest"])?;
    let moved = milena.run(&[
        "group",
        "reset-offsets",
        "g",
        "-t",
        "t",
        "--to-earliest",
        "--execute",
    ])?;
    assert_eq!(shown.stderr, moved.stderr, "a dry run says the same");
    shown.failed(1, &["the group \"g\" has members", "hint: stop them first"])?;
    moved.failed(1, &["the group \"g\" has members"])?;
    for member in &mut members {
        kill_process(Pid::from_child(member), Signal::TERM)?;
        wait(member, LIMIT).context("it goes on")?;
    }
    milena.prints("group reset-offsets g -t t --to-earliest --execute")?;
    Ok(())
}

#[test]
fn a_latency_benchmark_counts_no_wait_behind_its_last_record() -> Result<()> {
    let (_broker, milena) = start()?;
    let figures = milena.prints_json("bench latency -t b -n 101 -r 200 --warm-up 0s")?;
    let number = |value: &Value| value.as_f64().with_context(|| format!("{figures}"));
    let (seconds, max_ms) = (
        number(&figures["seconds"])?,
        number(&figures["latency_ms"]["max"])?,
    );
    // The last record is due half a second after the first, and took no longer than the slowest.
    ensure!(
        (0.5..0.5 + max_ms * 0.001 + 0.01).contains(&seconds),
        "{figures}"
    );
    Ok(())
}

#[test]
fn benchmarks_tell_their_figures_to_people_and_programs() -> Result<()> {
    let (_broker, milena) = start()?;
    for (command, has_latency) in [
        ("bench produce -t b -n 500", true),
        ("bench consume -t b -n 500", false),
        ("bench latency -t b -n 200 --warm-up 0s", true),
    ] {
        let figures = milena.prints_json(command)?;
        let positive = |name: &str| figures[name].as_f64().is_some_and(|n| n > 0.0);
        ensure!(
            [
                "records",
                "bytes",
                "seconds",
                "records_per_second",
                "mb_per_second"
            ]
            .iter()
            .all(|name| positive(name)),
            "{command}: {figures}"
        );
        assert_eq!(figures["failed"], 0);
        let max = figures["latency_ms"]["max"].as_f64();
        let p50 = figures["latency_ms"]["p50"].as_f64();
        ensure!(
            p50.is_some() == has_latency && p50 <= max,
            "{command}: {figures}"
        );
        // The progress bar, if any, is on stderr and only for a terminal.
        let text = milena.prints(command)?;
        ensure!(
            text.contains("records/s") && text.contains("MB/s"),
            "{text}"
        );
        ensure!(text.contains("p99.9") == has_latency, "{text}");
    }
    Ok(())
}

#[test]
fn the_files_of_a_log_can_be_looked_into() -> Result<()> {
    let (mut broker, milena) = start()?;
    milena.prints("topic create t -p 1 -c index.interval.bytes=0")?;
    for value in ["one", "two"] {
        milena.takes(value, "produce t -H h=1")?;
    }
    broker.stop()?;
    let file = |name: &str| broker.data().join(name).display().to_string();
    // A folder stands for its files, and what is none of a log's is named.
    std::fs::write(broker.data().join("t-0/a-note"), "to whom it may concern")?;
    let whole = milena.run(&["log", "dump", &file("t-0")])?;
    ensure!(
        whole.status == Some(0)
            && whole.stderr.contains("t-0/a-note is skipped")
            && whole.stdout.contains("leader-epoch-checkpoint:\n")
            && whole.stdout.contains("0.timeindex:\n"),
        "{whole:#?}"
    );
    let segment = file("t-0/00000000000000000000.log");
    let text = milena.prints(&format!("log dump {segment} --records"))?;
    ensure!(
        text.starts_with(&format!("{segment}:\n")) && text.contains("value \"one\""),
        "{text}"
    );
    let lines = milena.prints(&format!("log dump {segment} --records -o json"))?;
    let entries: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(entries.len(), 4, "two batches of one record each");
    assert_eq!(
        (&entries[2]["base_offset"], &entries[3]["value"]),
        (&json!(1), &json!("two"))
    );
    for name in [
        "t-0/00000000000000000000.index",
        "t-0/00000000000000000000.timeindex",
        "t-0/leader-epoch-checkpoint",
        "recovery-point-offset-checkpoint",
    ] {
        let text = milena.prints(&format!("log dump {}", file(name)))?;
        let counted = text.ends_with(" entries\n") || text.ends_with(" 1 entry\n");
        ensure!(counted, "{name}: {text}");
    }
    Ok(())
}

#[test]
fn what_the_environment_gives_is_in_no_usage_line() -> Result<()> {
    // It is in the environment of every command here.
    let milena = CommandLine::new("127.0.0.1:1");
    let usage = "Usage: milena topic create <TOPIC>\n";
    let missing = milena.run(&["topic", "create"])?;
    missing.failed(2, &["not provided", usage])?;
    let unknown = milena.run(&["topic", "create", "t", "--frobnicate"])?;
    unknown.failed(2, &["'--frobnicate'", usage])?;
    let words = ["Usage: milena topic [OPTIONS] <COMMAND>", "describe"];
    milena.run(&["topic"])?.failed(2, &words)?;
    let wrong = CommandLine::new("here:there").run(&["topic", "list"])?;
    wrong.failed(2, &["\"here:there\" is no HOST:PORT"])
}

#[test]
fn the_program_explains_itself() -> Result<()> {
    let milena = CommandLine::new("127.0.0.1:1");
    let reference: Value = serde_json::from_str(&milena.prints("config reference -o json")?)?;
    ensure!(!reference.is_null(), "no settings");
    ensure!(
        milena
            .prints("config reference")?
            .contains("num.partitions  (int, default: 1)")
    );
    ensure!(
        milena
            .prints("config reference -o markdown")?
            .contains("| `num.partitions` |")
    );
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = milena.prints(&format!("completions {shell}"))?;
        ensure!(script.contains("reset-offsets"), "{shell}");
    }
    ensure!(milena.prints("--version")?.starts_with("milena "));
    ensure!(milena.prints("--help")?.contains("Exit codes:"));
    for command in [
        "serve",
        "topic",
        "topic list",
        "topic create",
        "topic describe",
        "topic alter",
        "topic delete",
        "produce",
        "consume",
        "group",
        "group list",
        "group describe",
        "group reset-offsets",
        "group delete",
        "bench",
        "bench produce",
        "bench consume",
        "bench latency",
        "log dump",
        "config reference",
        "completions",
    ] {
        let help = milena.prints(&format!("{command} --help"))?;
        ensure!(
            help.contains(&format!("Usage: milena {command}")),
            "{command}: {help}"
        );
    }
    Ok(())
}
