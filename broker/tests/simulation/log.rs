//! The brokers' log lines with the simulation's time. The usual subscriber draws keys for its hash maps: with it, a seed
//! would run otherwise than without.

use std::fmt::{Debug, Write};

use milena_simulation::clock;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

struct Lines(Level);

/// Shows lines from this level on.
pub fn start(level: &str) -> Result<(), String> {
    let level: Level = level.parse().map_err(|_| format!("{level} is no level"))?;
    tracing::subscriber::set_global_default(Lines(level)).map_err(|error| error.to_string())
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = ["milena", "simulation"];
        *metadata.level() <= self.0
            && metadata.is_event()
            && ours.iter().any(|name| metadata.target().starts_with(name))
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let metadata = event.metadata();
        let machine = milena_simulation::machine::current()
            .map_or(String::new(), milena_simulation::machine::name);
        eprintln!(
            "{:>6} {machine:<3} {:<5} {}:{}",
            clock::elapsed_ms(),
            metadata.level(),
            metadata.target().trim_start_matches("milena::"),
            line.0
        );
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing into a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
