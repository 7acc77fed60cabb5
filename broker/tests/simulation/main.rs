//! Whole brokers in one process, over a network, clocks and disks that one seed decides.
//!
//! `cargo test -p milena --features simulation --test simulation -- [--seeds 50] [--first 1] [--jobs 2]` runs seeds, each
//! in a process of its own; `-- run SEED` runs one, with `--log info` and `--trace FILE` to look at it. `-- --rules` plays
//! the written histories, each with the rules whole and with those broken that it shows, and tries the checks by values;
//! `-- run SEED --scenario NAME [--break RULE]` plays one.

mod admin;
mod checks;
mod clients;
mod cluster;
mod faults;
mod ledger;
mod log;
mod processes;
mod run;
mod scenario;
mod view;

use std::process::ExitCode;

use milena_simulation::rule;
use scenario::Scenario;

/// Where nothing else is asked for.
const SEEDS: u64 = 50;

/// What a command line asks for.
#[derive(Debug, Clone)]
struct Asked {
    one: Option<u64>,
    scenario: Option<&'static Scenario>,
    seeds: u64,
    first: u64,
    jobs: usize,
    broken: Option<&'static str>,
    /// Whether each broken rule has to be noticed.
    check_rules: bool,
    log: Option<String>,
    trace: Option<String>,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked {
        one: None,
        scenario: None,
        seeds: 0,
        first: 1,
        jobs: 2,
        broken: None,
        check_rules: false,
        log: None,
        trace: None,
    };
    let mut seeds = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "run" => asked.one = Some(number(&value()?)?),
            "--seeds" => seeds = Some(number(&value()?)?),
            "--first" => asked.first = number(&value()?)?,
            "--jobs" => asked.jobs = number(&value()?)?,
            "--rules" => asked.check_rules = true,
            "--log" => asked.log = Some(value()?),
            "--trace" => asked.trace = Some(value()?),
            "--scenario" => {
                let name = value()?;
                let known = scenario::named(&name);
                asked.scenario = Some(known.ok_or(format!("no scenario is called {name}"))?);
            }
            "--break" => {
                let name = value()?;
                let known = rule::ALL.iter().find(|(known, _)| *known == name);
                asked.broken = Some(known.ok_or(format!("no rule is called {name}"))?.0);
            }
            _ => return Err(format!("{word} is not known")),
        }
    }
    asked.seeds = seeds.unwrap_or(if asked.check_rules { 0 } else { SEEDS });
    Ok(asked)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    match asked.one {
        Some(seed) => run::one(seed, &asked),
        None => processes::all(&asked),
    }
}
