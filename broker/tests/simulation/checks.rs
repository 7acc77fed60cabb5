//! What the checks themselves have to notice, and what not, as values: drawn faults bring it about too seldom.

use std::collections::BTreeMap;

use super::ledger::{At, Ledger, Place};
use super::scenario::{self, Scenario};

const PLACE: Place = ("t", 0);

/// Those that do not.
pub fn failing() -> Vec<String> {
    let all = [
        (
            "an acknowledged record whose offset was not told is missed behind the log's begin",
            lost_differences(20) == ["p0-1 was acknowledged and is not there"],
        ),
        (
            "an acknowledged record whose offset was not told may be deleted",
            lost_differences(9).is_empty(),
        ),
        (
            "slowness is no sign of a broken rule, but of those that keep a cluster from ever being whole",
            scenario::ALL
                .iter()
                .flat_map(by_slowness)
                .eq(["joins-once", "founds-once"]),
        ),
    ];
    let failing = all.into_iter().filter(|(_, holds)| !holds);
    failing
        .map(|(promise, _)| format!("not so: {promise}"))
        .collect()
}

/// A record is gone that was sent when all before offset `from` was committed. The log begins with 10.
fn lost_differences(from: i64) -> Vec<String> {
    let mut ledger = Ledger::default();
    ledger.may_start_at(PLACE, 10);
    ledger.acked(PLACE, At::From(from), "p0-1");
    let held = (10..30).map(|offset| (offset, format!("p1-{offset}")));
    ledger.differences(PLACE, &held.collect::<BTreeMap<_, _>>())
}

fn by_slowness(scenario: &Scenario) -> impl Iterator<Item = &'static str> {
    let slow = [
        "not all replicas are in sync 20000 ms after the last fault",
        "clients have no answers 20000 ms after the last fault",
        "(\"t\", 0) can't be read in the end",
        "the topic could not be created",
    ];
    let shows = scenario.shows.iter();
    let shows = shows.filter(move |shown| slow.iter().any(|line| shown.is_noticed_by(line)));
    shows.map(|shown| shown.rule)
}
