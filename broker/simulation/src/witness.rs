//! What the brokers themselves have to say to the checks.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::machine::{self, Machine};
use crate::trace;

type Place = (String, i32, i32);

static LEADERS: Mutex<BTreeMap<Place, (Machine, u64)>> = Mutex::new(BTreeMap::new());
static WRONG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The calling broker begins to lead a partition in an epoch. Nobody else ever does in the same, nor does it again in
/// another life.
pub fn leads(topic: &str, partition: i32, epoch: i32) {
    let Some(machine) = machine::current() else {
        return;
    };
    let who = (machine, machine::life(machine));
    trace::note(
        "leads",
        &[machine.number() as u64, epoch.unsigned_abs().into()],
        topic.as_bytes(),
    );
    let before = *LEADERS
        .lock()
        .entry((topic.to_owned(), partition, epoch))
        .or_insert(who);
    if before != who {
        WRONG.lock().push(format!(
            "{topic}-{partition} is led in epoch {epoch} by machine {} in its life {}, after machine {} in its life {}",
            who.0.number(),
            who.1,
            before.0.number(),
            before.1
        ));
    }
}

/// What was found wrong since this was asked before.
pub fn take_wrong() -> Vec<String> {
    std::mem::take(&mut WRONG.lock())
}
