//! What a trial tells: a line for who runs it, and a row for `make chaos`, which gathers them in a table.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

/// Where rows are added, one a trial, if it is set.
const FILE: &str = "MILENA_CHAOS_RESULTS";

/// One trial.
pub struct Row {
    pub fault: String,
    pub brokers: usize,
    /// By producer, of each round the longest time in which one partition acknowledged nothing to it.
    pub gaps: Vec<(String, Vec<Duration>)>,
    pub acknowledged: usize,
    pub lost: usize,
    pub duplicated: usize,
    pub misread: usize,
}

impl Row {
    /// Prints it, and adds it to the table.
    pub fn tell(&self) -> Result<()> {
        println!("{}", self.text());
        let Some(path) = std::env::var_os(FILE) else {
            return Ok(());
        };
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("{FILE}: {}", path.display()))?;
        // One write, so that rows of trials that end together do not mix.
        file.write_all(format!("{}\n", self.markdown()).as_bytes())?;
        Ok(())
    }

    fn rounds(&self) -> usize {
        self.gaps.first().map_or(0, |(_, gaps)| gaps.len())
    }

    fn text(&self) -> String {
        let gaps: Vec<String> = self
            .gaps
            .iter()
            .map(|(name, gaps)| format!("{name} {}", median_and_max(gaps)))
            .collect();
        format!(
            "{}, {} brokers, {} rounds: gaps (median / max) {}; {} acknowledged, {} lost, {} duplicated, {} misread",
            self.fault,
            self.brokers,
            self.rounds(),
            gaps.join(", "),
            self.acknowledged,
            self.lost,
            self.duplicated,
            self.misread
        )
    }

    /// The columns are those of `chaos/run.sh`.
    fn markdown(&self) -> String {
        let gaps: Vec<String> = self
            .gaps
            .iter()
            .map(|(_, gaps)| median_and_max(gaps))
            .collect();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            self.fault,
            self.brokers,
            self.rounds(),
            gaps.join(" | "),
            self.acknowledged,
            self.lost,
            self.duplicated,
            self.misread
        )
    }
}

fn median_and_max(gaps: &[Duration]) -> String {
    let mut sorted = gaps.to_vec();
    sorted.sort();
    let Some(max) = sorted.last() else {
        return "-".to_owned();
    };
    let middle = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2;
    format!("{:.2} s / {:.2} s", middle.as_secs_f64(), max.as_secs_f64())
}
