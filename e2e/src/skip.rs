//! What a test can't try on this machine is said at once, and once more when all tests are through.

use std::fs;
use std::io::{Write, stderr};
use std::path::Path;

use anyhow::{Context, Result};

use crate::suite;

/// Says that `what` is skipped and why, on stderr and to `e2e/clients/skipped.sh`, which ends `make test`.
pub fn skipped(what: &str, why: &str) -> Result<()> {
    // Not by eprintln, which the test harness keeps to itself when a test passes.
    writeln!(stderr(), "SKIPPED {what}: {why}")?;
    record(&suite::installed_in(), what, why)
}

/// As `install.sh` does it, which forgets them when it begins to install all suites.
fn record(clients: &Path, what: &str, why: &str) -> Result<()> {
    let folder = clients.join("skipped");
    let file = folder.join(what.replace('/', "-"));
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, format!("{why}\n")));
    written.with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_was_skipped_is_listed_by_its_reason() -> Result<()> {
        let clients = tempfile::tempdir()?;
        for (what, why) in [
            ("any_kafka", "there is no Kafka"),
            ("smoke", "no cluster"),
            ("drain/3", "no cluster"),
        ] {
            record(clients.path(), what, why)?;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/skipped.sh");
        let mut list = Command::new(script);
        let listed = list.env("MILENA_CLIENTS_DIR", clients.path()).output()?;
        assert_eq!(
            String::from_utf8(listed.stdout)?,
            "SKIPPED any_kafka: there is no Kafka\nSKIPPED drain-3, smoke: no cluster\n"
        );
        Ok(())
    }
}
