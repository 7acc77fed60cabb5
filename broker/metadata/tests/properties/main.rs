//! Whatever is asked, in whatever order: decided records apply, and no invariant of the image breaks.

mod asks;
mod brokers;
mod check;
mod configs;
mod leases;
mod ledger;
mod plans;
mod reads;
mod replicas;
mod spread;
mod stopping;
mod unopened;

use milena_metadata::*;
use proptest::prelude::*;

use asks::asks;
use check::check;

/// Three brokers and a topic, so that most asks find something.
fn start() -> Image {
    let mut image = Image::default();
    for id in 0..4 {
        let ask = asks::register(id, 0, LastEnd::Clean, false);
        apply(&mut image, &ask.into()).unwrap();
    }
    apply(&mut image, &asks::create("a", 1, 3, 3).into()).unwrap();
    image
}

fn apply(image: &mut Image, command: &Command) -> Result<Outcome, Refusal> {
    let decision = decide(image, command, &NoConfigRules)?;
    image.apply_entry(1, &decision.records).unwrap();
    Ok(decision.outcome)
}

proptest! {
    #[test]
    fn no_sequence_of_commands_breaks_an_invariant(asks in asks()) {
        let mut image = start();
        for ask in asks {
            let command = ask.on(&image);
            let Ok(decision) = decide(&image, &command, &NoConfigRules) else { continue };
            let before = image.clone();
            image.apply_entry(1, &decision.records).unwrap();
            check(&before, &image);
            let grown = image.position().offset - before.position().offset;
            prop_assert_eq!(grown, decision.records.len() as u64);
        }
        let mut copy = Image::default();
        for record in image.records() {
            let mut json = Vec::new();
            record.write_json(&mut json);
            copy.apply(&Record::from_json(&json).unwrap()).unwrap();
        }
        prop_assert_eq!(copy.at(image.position()), image);
    }

    #[test]
    fn a_stale_entry_is_skipped_whole(asks in asks(), late in 0..60usize) {
        let mut image = start();
        let mut entries = Vec::new();
        for ask in asks {
            let command = ask.on(&image);
            let Ok(decision) = decide(&image, &command, &NoConfigRules) else { continue };
            image.apply_entry(1, &decision.records).unwrap();
            entries.push(decision.records);
        }
        let Some(entry) = entries.get(late) else { return Ok(()) };
        let before = image.clone();
        if image.apply_entry(1, entry).is_err() {
            prop_assert_eq!(image, before);
        }
    }
}
