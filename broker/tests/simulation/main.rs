//! Whole brokers in one process, over a network, clocks and disks that one seed decides.
//!
//! `cargo test -p milena --features simulation --test simulation -- [--seeds 50] [--first 1] [--jobs 2]` runs seeds, each
//! in a process of its own; `-- run SEED` runs one, with `--log info` and `--trace FILE` to look at it.

mod admin;
mod clients;
mod cluster;
mod faults;
mod ledger;
mod log;
mod processes;
mod run;

use std::process::ExitCode;

use milena_simulation::rule;

/// What a command line asks for.
#[derive(Debug, Clone)]
struct Asked {
    one: Option<u64>,
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
        seeds: 50,
        first: 1,
        jobs: 2,
        broken: None,
        check_rules: false,
        log: None,
        trace: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "run" => asked.one = Some(number(&value()?)?),
            "--seeds" => asked.seeds = number(&value()?)?,
            "--first" => asked.first = number(&value()?)?,
            "--jobs" => asked.jobs = number(&value()?)?,
            "--rules" => asked.check_rules = true,
            "--log" => asked.log = Some(value()?),
            "--trace" => asked.trace = Some(value()?),
            "--break" => {
                let name = value()?;
                let known = rule::ALL.iter().find(|(known, _)| *known == name);
                asked.broken = Some(known.ok_or(format!("no rule is called {name}"))?.0);
            }
            _ => return Err(format!("{word} is not known")),
        }
    }
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
