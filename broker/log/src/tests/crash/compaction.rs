//! Compaction: of each key the last value stays, wherever the work is cut short.

use std::ops::ControlFlow;

use super::*;

const KEY_BYTES: usize = 1 << 20;

fn compact(life: &mut Life) -> Result<(), LogError> {
    let plan = life.log.cleaning_plan(0, i64::MAX, 1_000)?.unwrap();
    let cleaned = plan.clean(KEY_BYTES, &mut |_| ControlFlow::Continue(()))?;
    let cleaned = cleaned.unwrap();
    let cleaned_to = life.log.install(cleaned, &mut life.trash)?;
    life.checkpoint(Checkpoint::Cleaner, cleaned_to)?;
    life.empty_trash()?;
    Ok(())
}

/// The last record of each key, with its offset.
fn latest(found: &Found) -> BTreeMap<&str, (i64, Option<&str>)> {
    let pairs = found.records.iter();
    pairs
        .map(|(offset, (key, value))| (&**key, (*offset, value.as_deref())))
        .collect()
}

pub(super) fn check(before: &Found, found: &Found) {
    assert_eq!((found.start, found.end), (before.start, before.end));
    assert_eq!(latest(found), latest(before));
    let is_old = |(offset, pair)| before.records.get(offset) == Some(pair);
    assert!(found.records.iter().all(is_old));
}

fn filled(data: &Path) -> Found {
    let (mut life, _) = Life::start(data, compacting()).unwrap();
    for batch in 0..25 {
        // Small ones at first, of which one takes the place of several.
        if batch < 8 && batch % 2 == 0 || batch == 24 {
            life.log.roll(1_000).unwrap();
        }
        life.append(i32::from(batch > 12), batch).unwrap();
    }
    life.flush().unwrap();
    assert!(life.log.reader().segments().len() > 6);
    life.found()
}

#[test]
fn compaction_keeps_the_last_value_of_each_key_wherever_it_stops() {
    let data = scratch().unwrap();
    let before = filled(data.path());
    let changes = operate(data.path(), &compacting(), compact, |_, _, found| {
        check(&before, found);
    });
    assert!(changes > 30, "{changes}");
    let (mut life, _) = Life::start(data.path(), compacting()).unwrap();
    let segments = life.log.reader().segments().len();
    compact(&mut life).unwrap();
    assert!(life.found().records.len() < before.records.len() / 2);
    assert!(life.log.reader().segments().len() < segments);
}

#[test]
fn a_start_that_stops_while_it_ends_a_compaction_leaves_it_to_the_next() {
    let data = scratch().unwrap();
    let before = filled(data.path());
    let is_under_way = |data: &Path| {
        let names = names(&data.join(FOLDER));
        names.iter().any(|name| name.ends_with(".swap"))
    };
    let starts = std::cell::Cell::new(0);
    at_every_change(
        data.path(),
        |data, stop| begin(data, &compacting(), stop, compact),
        |data, stop, _| {
            if stop.end != End::Killed || !is_under_way(data) {
                return;
            }
            let start = |data: &Path, stop: Stop| {
                let disk = stop.watch(data);
                drop(Life::start(data, compacting()));
                (disk, ())
            };
            starts.set(starts.get() + 1);
            let seen = inspect(&data.join(FOLDER)).unwrap();
            assert_eq!((seen.start_offset, seen.end_offset), (0, before.end));
            assert_eq!(seen.findings, []);
            at_every_change(data, start, |data, _, ()| {
                check(&before, &next_start(data, compacting()));
            });
        },
    );
    assert!(starts.get() > 10, "{starts:?}");
}
