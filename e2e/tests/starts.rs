//! How soon a broker is ready that has nothing to recover.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::broker::Broker;

/// The promise is well under a second; this is for an unoptimised broker on a slow machine.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// The quickest of some counts, so that a machine that is busy for a moment is not taken for a slow broker.
const STARTS: usize = 3;

#[test]
fn a_fresh_broker_is_ready_within_two_seconds() -> Result<()> {
    let mut quickest = Duration::MAX;
    for _ in 0..STARTS {
        let begun = Instant::now();
        let _broker = Broker::start(&[])?;
        quickest = quickest.min(begun.elapsed());
    }
    println!("ready after {quickest:?}");
    ensure!(quickest < READY_WITHIN, "it took {quickest:?}");
    Ok(())
}
