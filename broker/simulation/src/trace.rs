//! Everything that happened, as one number: two runs of one seed have the same.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write};

use parking_lot::Mutex;

use crate::clock;

struct Trace {
    hash: u64,
    events: u64,
    lines: Option<BufWriter<File>>,
}

static TRACE: Mutex<Trace> = Mutex::new(Trace {
    hash: 0,
    events: 0,
    lines: None,
});

/// Also writes every event as a line into a file, to find where two runs part.
pub fn write_to(file: File) {
    TRACE.lock().lines = Some(BufWriter::new(file));
}

/// Folds an event in.
pub fn note(what: &str, values: &[u64], bytes: &[u8]) {
    let mut trace = TRACE.lock();
    let now_ms = clock::elapsed_ms();
    let mut hasher = DefaultHasher::new();
    (trace.hash, now_ms, what, values, bytes).hash(&mut hasher);
    trace.hash = hasher.finish();
    trace.events += 1;
    let hash = trace.hash;
    if let Some(lines) = &mut trace.lines {
        // A trace that can't be written is missed by whoever looks for it.
        let _ = writeln!(
            lines,
            "{now_ms} {what} {values:?} {} {hash:016x}",
            bytes.escape_ascii()
        );
    }
}

/// The number, and of how many events.
pub fn hash() -> (u64, u64) {
    let mut trace = TRACE.lock();
    if let Some(lines) = &mut trace.lines {
        let _ = lines.flush();
    }
    (trace.hash, trace.events)
}
