//! Many seeds, each in a process of its own: a run leaves nothing behind that the next could depend on.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use milena_simulation::rule;

use super::run::VIOLATED;
use super::scenario::{self, Scenario, Shown};
use super::{Asked, checks};

/// So many seeds run twice, and have to leave the same trace.
const TWICE: u64 = 5;
/// The seed of written histories: it decides delays, and what clients send.
const SCENARIO_SEED: u64 = 1;
/// How often running processes are looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(10);
/// Looks after which a process counts as hanging: five minutes.
const LOOKS_MAX: u32 = 30_000;

/// One run of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    seed: u64,
    /// 1 for the second run of a seed.
    again: u64,
    scenario: Option<&'static str>,
    broken: Option<&'static str>,
}

#[derive(Debug)]
struct Outcome {
    /// The process's exit code, where it ended by itself.
    code: Option<i32>,
    /// The seed's own line.
    line: String,
    output: String,
}

/// Runs what was asked for, and tells.
pub fn all(asked: &Asked) -> ExitCode {
    let mut wrong = Vec::new();
    let seeds = asked.first..asked.first + asked.seeds;
    let runs = seeds.map(|seed| Run {
        seed,
        again: 0,
        scenario: asked.scenario.map(|scenario| scenario.name),
        broken: asked.broken,
    });
    let twice = (asked.first..asked.first + asked.seeds.min(TWICE)).map(|seed| Run {
        seed,
        again: 1,
        scenario: asked.scenario.map(|scenario| scenario.name),
        broken: asked.broken,
    });
    let outcomes = perform(twice.chain(runs).collect(), asked.jobs, |_, outcome| {
        println!("{}", outcome.line);
        true
    });
    for (run, outcome) in &outcomes {
        if !outcome.is_clean() {
            wrong.push(format!("seed {}:\n{}", run.seed, outcome.output));
        }
        let first = outcomes.get(&Run { again: 0, ..*run });
        if let Some(first) = first.filter(|first| first.line != outcome.line) {
            wrong.push(format!(
                "seed {} does not repeat:\n{}\n{}",
                run.seed, first.line, outcome.line
            ));
        }
    }
    if asked.broken.is_none() && asked.check_rules {
        wrong.extend(checks::failing());
        wrong.extend(check_rules(asked));
    }
    println!("{} runs, {} wrong", outcomes.len(), wrong.len());
    for what in &wrong {
        eprintln!("{what}");
    }
    ExitCode::from(u8::from(!wrong.is_empty()))
}

/// Plays the written histories: whole, each has to be clean; broken, each rule that it shows has to be noticed.
fn check_rules(asked: &Asked) -> Vec<String> {
    let play = |scenario: &'static Scenario, broken: Option<&'static Shown>| Run {
        seed: SCENARIO_SEED,
        again: 0,
        scenario: Some(scenario.name),
        broken: broken.map(|shown| shown.rule),
    };
    let runs = scenario::ALL.iter().flat_map(|scenario| {
        let broken = scenario
            .shows
            .iter()
            .map(|shown| play(scenario, Some(shown)));
        broken.chain([play(scenario, None)])
    });
    let outcomes = perform(runs.collect(), asked.jobs, |_, _| true);
    let mut wrong = Vec::new();
    for (run, outcome) in &outcomes {
        let scenario = run.scenario.unwrap_or_default();
        let Some(rule) = run.broken else {
            match outcome.is_clean() {
                true => println!("{scenario}: clean"),
                false => wrong.push(format!("{scenario}:\n{}", outcome.output)),
            }
            continue;
        };
        let shown = scenario::named(scenario).and_then(|it| scenario::shown(it, rule));
        match shown.and_then(|shown| outcome.noticed(shown)) {
            Some(line) => println!("{scenario}: {rule}, broken, is noticed: {line}"),
            None => wrong.push(format!(
                "{scenario}: {rule}, broken, is not noticed:\n{}",
                outcome.output
            )),
        }
    }
    let shown = |rule: &str| {
        let mut all = scenario::ALL.iter();
        all.any(|it| scenario::shown(it, rule).is_some())
    };
    let unshown = rule::ALL.iter().filter(|(rule, _)| !shown(rule));
    wrong.extend(unshown.map(|(rule, _)| format!("{rule}: no scenario shows it")));
    wrong
}

/// Runs all, a few at a time, until `see` has seen enough.
fn perform(
    runs: Vec<Run>,
    jobs: usize,
    mut see: impl FnMut(&Run, &Outcome) -> bool,
) -> BTreeMap<Run, Outcome> {
    let mut waiting = runs.into_iter();
    let mut running: Vec<(Run, Process)> = Vec::new();
    let mut outcomes = BTreeMap::new();
    let mut go_on = true;
    loop {
        while go_on && running.len() < jobs.max(1) {
            let Some(run) = waiting.next() else { break };
            running.push((run, Process::start(&run)));
        }
        if running.is_empty() {
            return outcomes;
        }
        sleep(LOOK_PERIOD);
        let mut at = 0;
        while at < running.len() {
            match running[at].1.ended() {
                Some(outcome) => {
                    let (run, _) = running.swap_remove(at);
                    go_on &= see(&run, &outcome);
                    outcomes.insert(run, outcome);
                }
                None => at += 1,
            }
        }
    }
}

impl Outcome {
    fn is_clean(&self) -> bool {
        self.code == Some(0)
    }

    /// The first line of a check that tells of the broken rule. A history that did not come about says nothing, nor does a
    /// panic: it may be of anything.
    fn noticed(&self, shown: &Shown) -> Option<&str> {
        let mut lines = self.output.lines();
        let line = lines.find(|line| line.starts_with("WRONG") && shown.is_noticed_by(line));
        line.filter(|_| self.code == Some(VIOLATED.into()))
    }
}

struct Process {
    child: Child,
    folder: PathBuf,
    looks: u32,
}

impl Process {
    fn start(run: &Run) -> Self {
        let folder = scratch().join(format!(
            "milena-simulation-{}-{}-{}-{}-{}",
            std::process::id(),
            run.seed,
            run.again,
            run.scenario.unwrap_or("drawn"),
            run.broken.unwrap_or("whole")
        ));
        std::fs::create_dir_all(&folder).expect("a folder");
        let output = std::fs::File::create(folder.join("output")).expect("a file");
        let both = output.try_clone().expect("a file");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("run").arg(run.seed.to_string());
        if let Some(scenario) = run.scenario {
            command.args(["--scenario", scenario]);
        }
        if let Some(rule) = run.broken {
            command.args(["--break", rule]);
        }
        let child = command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(both)
            .spawn()
            .expect("a process");
        Self {
            child,
            folder,
            looks: 0,
        }
    }

    fn ended(&mut self) -> Option<Outcome> {
        self.looks += 1;
        let status = self.child.try_wait().expect("a process");
        let hangs = status.is_none() && self.looks > LOOKS_MAX;
        if hangs {
            // It may have ended just now.
            let _ = self.child.kill();
            let _ = self.child.wait();
        } else if status.is_none() {
            return None;
        }
        let mut output = String::new();
        let read = std::fs::File::open(self.folder.join("output"));
        read.and_then(|mut file| file.read_to_string(&mut output))
            .expect("the output");
        std::fs::remove_dir_all(&self.folder).expect("the folder");
        if hangs {
            output.push_str("it hangs\n");
        }
        let line = output.lines().rfind(|line| line.starts_with("seed "));
        let line = line.unwrap_or("no end").to_owned();
        Some(Outcome {
            code: status.and_then(|status| status.code()),
            line,
            output,
        })
    }
}

/// Memory where there is some for files: their inodes are used once only, and nothing waits for a disk.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => memory.to_owned(),
        false => std::env::temp_dir(),
    }
}
