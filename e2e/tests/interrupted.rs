//! Commands that are ended from outside: by Ctrl-C, or because nobody reads what they print.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::broker::Broker;
use e2e::command::CommandLine;
use e2e::process::{poll, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// For what a command or a group comes to by itself; far more than it takes.
const LIMIT: Duration = Duration::from_secs(30);

fn start() -> Result<(Broker, CommandLine)> {
    let no_delay = "group.initial.rebalance.delay.ms=0";
    let broker = Broker::start(&["--set", no_delay])?;
    let command_line = CommandLine::new(&broker.bootstrap());
    Ok((broker, command_line))
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_command_without_a_complaint() -> Result<()> {
    let (_broker, milena) = start()?;
    milena.prints("topic create t -p 1")?;
    milena.takes(&"a line\n".repeat(10), "produce t")?;
    for command in [
        &["consume", "t", "--from", "beginning"][..],
        &["config", "reference"],
        &["topic", "describe", "t"],
    ] {
        let mut child = milena.start(command)?;
        drop(child.stdout.take());
        if command[0] == "consume" {
            // It waits for records: the next one finds nobody to read it.
            milena.takes("one more\n", "produce t")?;
        }
        ends_quietly(child).with_context(|| format!("milena {command:?}"))?;
    }
    Ok(())
}

/// The child ends by itself, with status 0 and nothing on stderr.
fn ends_quietly(mut child: Child) -> Result<()> {
    let Some(status) = wait(&mut child, LIMIT) else {
        child.kill()?;
        child.wait()?;
        bail!("it still runs after {LIMIT:?}");
    };
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut complaint)?;
    }
    ensure!(
        status.success() && complaint.is_empty(),
        "{status}: {complaint}"
    );
    Ok(())
}

#[test]
fn ctrl_c_and_sigterm_end_consuming_and_the_member_leaves_its_group() -> Result<()> {
    let (_broker, milena) = start()?;
    milena.prints("topic create t -p 1")?;
    milena.takes("a line\n", "produce t")?;
    for (signal, arguments) in [
        (Signal::INT, &["consume", "t"][..]),
        (Signal::TERM, &["consume", "t"]),
        (Signal::INT, &["consume", "t", "-g", "by-int"]),
        (Signal::TERM, &["consume", "t", "-g", "by-term"]),
    ] {
        let mut child = milena.start(&[arguments, &["--from", "beginning"]].concat())?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
        assert_eq!(line, "a line\n");
        kill_process(Pid::from_child(&child), signal)?;
        ends_quietly(child).with_context(|| format!("milena {arguments:?}"))?;
    }
    for group in ["by-int", "by-term"] {
        let described = milena.prints_json(&format!("group describe {group}"))?;
        assert_eq!(
            (&described["state"], &described["members"]),
            (&json!("Empty"), &json!(0))
        );
        assert_eq!(described["partitions"][0]["committed"], 1);
    }
    Ok(())
}

#[test]
fn partitions_that_are_added_are_consumed_soon() -> Result<()> {
    let (_broker, milena) = start()?;
    for (topic, group) in [("alone", &[][..]), ("shared", &["-g", "g"])] {
        milena.prints(&format!("topic create {topic} -p 1"))?;
        milena.takes("first\n", &format!("produce {topic}"))?;
        let begin = ["consume", topic, "--from", "beginning"];
        let mut child = milena.start(&[&begin, group].concat())?;
        let mut printed = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        assert_eq!(printed.next().context("nothing")??, "first");
        milena.prints(&format!("topic alter {topic} -p 2"))?;
        milena.takes("second\n", &format!("produce {topic} -p 1"))?;
        let begun = Instant::now();
        assert_eq!(printed.next().context("nothing more")??, "second");
        ensure!(begun.elapsed() < LIMIT, "only after {:?}", begun.elapsed());
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        ends_quietly(child)?;
    }
    Ok(())
}

#[test]
fn a_member_that_is_interrupted_while_it_joins_leaves_its_group_as_well() -> Result<()> {
    let delay = "group.initial.rebalance.delay.ms=60000";
    let broker = Broker::start(&["--set", delay])?;
    let milena = CommandLine::new(&broker.bootstrap());
    milena.prints("topic create t -p 1")?;
    let child = milena.start(&["consume", "t", "-g", "g"])?;
    let joins = poll(LIMIT, || {
        let described = milena.prints_json("group describe g").ok()?;
        (described["state"] == "PreparingRebalance").then_some(())
    });
    joins.context("it does not join")?;
    kill_process(Pid::from_child(&child), Signal::INT)?;
    ends_quietly(child)?;
    let described = milena.prints_json("group describe g")?;
    assert_eq!(described["members"], 0);
    Ok(())
}

#[test]
fn ctrl_c_ends_producing_with_all_that_was_typed() -> Result<()> {
    let (_broker, milena) = start()?;
    milena.prints("topic create t -p 1")?;
    let mut child = milena.start(&["produce", "t"])?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(b"first\nsecond\n")?;
    assert_eq!(
        milena.prints("consume t --from beginning -n 2")?,
        "first\nsecond\n"
    );
    kill_process(Pid::from_child(&child), Signal::INT)?;
    ends_quietly(child)?;
    assert_eq!(
        milena.prints("consume t --from beginning -e")?,
        "first\nsecond\n"
    );
    Ok(())
}

#[test]
fn a_signal_that_leaves_lines_unsent_is_told_with_how_far_it_came() -> Result<()> {
    let (_broker, milena) = start()?;
    for (signal, name, status) in [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143)] {
        let topic = name.to_lowercase();
        milena.prints(&format!("topic create {topic} -p 1"))?;
        let mut child = milena.start(&["produce", &topic])?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        // Until nobody reads it: there is always a line left.
        let line = [&[b'x'; 10_000][..], b"\n"].concat();
        let writer = thread::spawn(move || while stdin.write_all(&line).is_ok() {});
        milena.prints(&format!("consume {topic} --from beginning -n 1"))?;
        kill_process(Pid::from_child(&child), signal)?;
        let ended = wait(&mut child, LIMIT).context("it goes on")?;
        ensure!(writer.join().is_ok(), "the writer panicked");
        let mut told = String::new();
        let mut stderr = child.stderr.take().context("no stderr")?;
        stderr.read_to_string(&mut told)?;
        let offsets = milena.prints(&format!("consume {topic} --from beginning -e -f %o\\n"))?;
        let stored = offsets.lines().count();
        let sentence = format!(
            "error: {stored} records were stored, then: {name} ended it before line {} was sent\n",
            stored + 1
        );
        ensure!(told.starts_with(&sentence), "stored {stored}, told: {told}");
        ensure!(ended.code() == Some(status), "{ended}");
    }
    Ok(())
}

/// What a command that is no more than a few seconds from its end may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// Longer than all of it, so that nothing ends for this.
const PATIENT: [&str; 2] = ["--timeout", "90s"];

/// What the child exits with, and says on stderr.
fn told(mut child: Child) -> Result<(Option<i32>, String)> {
    let mut told = String::new();
    let mut stderr = child.stderr.take().context("no stderr")?;
    stderr.read_to_string(&mut told)?;
    Ok((child.wait()?.code(), told))
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<u64> {
    let words = text.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn a_signal_ends_producing_soon_where_the_broker_is_gone_and_memory_is_full() -> Result<()> {
    let (mut broker, milena) = start()?;
    milena.prints("topic create t -p 1")?;
    let mut child = milena.start(&[&["produce", "t"][..], &PATIENT].concat())?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let written = Arc::new(AtomicU64::new(0));
    let line = [&[b'x'; 10_000][..], b"\n"].concat();
    let writing = written.clone();
    let writer = thread::spawn(move || {
        while stdin.write_all(&line).is_ok() {
            writing.fetch_add(1, Ordering::Relaxed);
        }
    });
    milena.prints("consume t --from beginning -n 1")?;
    broker.kill9()?;
    until_it_stands_still(&written)?;
    kill_process(Pid::from_child(&child), Signal::INT)?;
    let ended = wait(&mut child, SOON).is_some();
    child.kill()?;
    ensure!(writer.join().is_ok(), "the writer panicked");
    let (status, told) = told(child)?;
    ensure!(ended && status == Some(130), "{status:?}, told: {told}");
    let [stored, unknown, line, ..] = numbers(&told)[..] else {
        bail!("told: {told}");
    };
    ensure!(unknown > 0 && stored + unknown + 1 == line, "told: {told}");
    let words = format!(
        "error: {stored} records were stored, of {unknown} more that is not known: SIGINT ended it before line {line} was sent\n"
    );
    ensure!(told.starts_with(&words), "told: {told}");
    Ok(())
}

/// Nothing is taken any more.
fn until_it_stands_still(count: &AtomicU64) -> Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    let stands = poll(LIMIT, || {
        let now = count.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(1)).then_some(())
    });
    stands.context("it takes on and on")
}

#[test]
fn what_was_typed_is_not_waited_for_long_after_a_signal_and_not_at_all_after_two() -> Result<()> {
    let (mut broker, milena) = start()?;
    milena.prints("topic create t -p 1")?;
    let start = || -> Result<Child> {
        let mut child = milena.start(&[&["produce", "t"][..], &PATIENT].concat())?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        stdin.write_all(b"first\n")?;
        milena.prints("consume t --from beginning -n 1")?;
        child.stdin = Some(stdin);
        Ok(child)
    };
    let children = [(1, start()?), (2, start()?)];
    broker.kill9()?;
    for (signals, mut child) in children {
        let mut stdin = child.stdin.take().context("no stdin")?;
        stdin.write_all(b"second\n")?;
        drop(stdin);
        let begun = Instant::now();
        let mut sent = 0;
        let ended = poll(SOON, || {
            // A second one that is not the first once more comes half a second after it at the earliest.
            if sent == 0 || signals > 1 && begun.elapsed() > sent * Duration::from_millis(700) {
                kill_process(Pid::from_child(&child), Signal::TERM).ok()?;
                sent += 1;
            }
            child.try_wait().ok().flatten().map(|_| begun.elapsed())
        });
        child.kill()?;
        let (status, told) = told(child)?;
        let ended = ended.with_context(|| format!("it goes on after {sent} signals: {told}"))?;
        ensure!(status == Some(143), "{status:?}, told: {told}");
        ensure!(told.contains("SIGTERM ended it before"), "told: {told}");
        ensure!(signals == 1 || ended < Duration::from_secs(4), "{ended:?}");
    }
    Ok(())
}
