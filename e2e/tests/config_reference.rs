//! The operator checks a cluster's settings against the list that the broker prints; it has a copy of it, so that it knows
//! every version it can run.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::command::CommandLine;

#[test]
fn the_operators_copy_of_the_settings_is_the_brokers_list() -> Result<()> {
    let version: Vec<&str> = env!("CARGO_PKG_VERSION").split('.').take(2).collect();
    let name = format!("operator/src/reference/{}.json", version.join("."));
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(&name);
    let copy = std::fs::read_to_string(&path).with_context(|| name.clone())?;
    // No broker is asked: the list is part of the program.
    let list = CommandLine::new("127.0.0.1:1").prints("config reference -o json")?;
    ensure!(
        copy == list,
        "{name} is out of date: cargo run -p milena -- config reference -o json > {name}"
    );
    Ok(())
}
