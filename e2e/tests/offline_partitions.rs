//! A topic of which one partition's log can't be read: commands show it and read the others, and say what they leave out.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::command::CommandLine;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Done, but for what is left out.
const IN_PART: i32 = 7;
const EXIT: &[&str] = &["--from", "beginning", "--exit", "--format", r"%p:%s\n"];

/// A broker with a topic of three partitions, each with one record, of which the middle one lost its segment while the
/// broker was stopped; and the segment.
fn broker() -> Result<(Broker, PathBuf, Vec<u8>)> {
    let mut broker = Broker::start(&[])?;
    let milena = CommandLine::new(&broker.bootstrap());
    milena.prints("topic create t -p 3")?;
    for partition in ["0", "1", "2"] {
        let put = format!("produce t -p {partition}");
        milena.takes(&format!("v{partition}\n"), &put)?;
    }
    broker.stop()?;
    let segment = broker.data().join("t-1").join(format!("{:020}.log", 0));
    let bytes = fs::read(&segment).context("a segment")?;
    fs::remove_file(&segment)?;
    broker.start_again()?;
    Ok((broker, segment, bytes))
}

/// Why it is offline is told by the metadata, or by the broker that leads it.
fn is_reason(text: &str) -> bool {
    text.contains("no leader") || text.contains("its log on broker 1 can't be read")
}

#[test]
fn a_topic_is_described_with_the_partition_that_is_offline_and_why() -> Result<()> {
    let (broker, ..) = broker()?;
    let milena = CommandLine::new(&broker.bootstrap());
    let described = milena.prints_json("topic describe t")?;
    let details = &described[0]["partition_details"];
    for led in [0usize, 2] {
        assert_eq!(details[led]["end"], 1);
        assert_eq!(details[led]["offline"], Value::Null);
    }
    assert_eq!(details[1]["start"], Value::Null);
    assert_eq!(details[1]["end"], Value::Null);
    let why = details[1]["offline"].as_str().context("a reason")?;
    ensure!(is_reason(why), "{why}");
    let text = milena.prints("topic describe t")?;
    ensure!(
        text.contains(&format!("partition 1 is offline: {why}")),
        "{text}"
    );
    Ok(())
}

#[test]
fn what_can_be_read_is_read_and_what_can_not_is_named_once() -> Result<()> {
    let (broker, ..) = broker()?;
    let milena = CommandLine::new(&broker.bootstrap());
    let read = milena.run(&[&["consume", "t"], EXIT].concat())?;
    let mut lines: Vec<&str> = read.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0:v0", "2:v2"]);
    assert_eq!(read.status, Some(IN_PART), "{read:#?}");
    let told: Vec<&str> = read.stderr.lines().collect();
    ensure!(
        told[0].starts_with("left out: t-1 is offline") && is_reason(told[0]),
        "{read:#?}"
    );
    assert_eq!(told[1], "error: all was read but what is in t-1");
    ensure!(
        told[2].starts_with("  hint: ") && told.len() == 3,
        "{read:#?}"
    );

    let asked_for = milena.run(&[&["consume", "t", "-p", "0,1"], EXIT].concat())?;
    asked_for.failed(1, &["error: t-1 is offline", "hint: "])
}

#[test]
fn who_follows_a_topic_reads_a_partition_once_it_is_back() -> Result<()> {
    let (mut broker, segment, bytes) = broker()?;
    let milena = CommandLine::new(&broker.bootstrap());
    let follow = [
        "consume",
        "t",
        "--from",
        "beginning",
        "--format",
        r"%p:%s\n",
    ];
    let mut child = milena.start(&follow)?;
    let mut printed = BufReader::new(child.stdout.take().context("its output")?).lines();
    let mut next = || -> Result<String> { Ok(printed.next().context("it has ended")??) };
    let mut first = [next()?, next()?];
    first.sort_unstable();
    assert_eq!(first, ["0:v0", "2:v2"]);
    broker.stop()?;
    fs::write(&segment, &bytes)?;
    broker.start_again()?;
    assert_eq!(next()?, "1:v1");
    milena.takes("more\n", "produce t -p 1")?;
    assert_eq!(next()?, "1:more");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM)?;
    let mut complained = String::new();
    let mut stderr = child.stderr.take().context("its complaints")?;
    stderr.read_to_string(&mut complained)?;
    assert_eq!(child.wait()?.code(), Some(0), "{complained}");
    let told: Vec<&str> = complained.lines().collect();
    ensure!(
        told.len() == 2
            && told[0].starts_with("left out: t-1")
            && told[1].starts_with("t-1 can be read again"),
        "{complained}"
    );
    Ok(())
}
