//! Compaction: of each key the last value stays, wherever the work is cut short.

use std::ops::ControlFlow;

use super::*;
use crate::cleaner::install;

/// Memory for all keys.
const AMPLE: usize = 1 << 20;
/// For so few that it takes several passes, which end amid a segment, and tombstones go in the later ones.
const SCARCE: usize = 264;

/// Until nothing is dirty any more.
fn compact(life: &mut Life, key_bytes: usize) -> Result<(), LogError> {
    let (mut from, mut now_ms) = (0, 1_000);
    while let Some(plan) = life.log.cleaning_plan(from, i64::MAX, now_ms)? {
        let cleaned = plan.clean(key_bytes, &mut |_| ControlFlow::Continue(()))?;
        let cleaned_to = install(&mut life.log, cleaned.unwrap(), &mut life.trash)?;
        life.checkpoint(Checkpoint::Cleaner, cleaned_to)?;
        life.empty_trash()?;
        from = cleaned_to.unwrap();
        now_ms += PAUSE_MS;
    }
    Ok(())
}

/// The last value of each key that is not deleted, with its offset.
fn live(found: &Found) -> BTreeMap<&str, (i64, &str)> {
    let mut last = BTreeMap::new();
    for (offset, (key, value)) in &found.records {
        last.insert(&**key, (*offset, value.as_deref()));
    }
    let with_value = |(key, (offset, value)): (_, (_, Option<_>))| Some((key, (offset, value?)));
    last.into_iter().filter_map(with_value).collect()
}

pub(super) fn check(before: &Found, found: &Found) {
    assert_eq!((found.start, found.end), (before.start, before.end));
    assert_eq!(live(found), live(before));
    let is_old = |(offset, pair)| before.records.get(offset) == Some(pair);
    assert!(found.records.iter().all(is_old));
}

fn tombstones(found: &Found) -> usize {
    let values = found.records.values();
    values.filter(|(_, value)| value.is_none()).count()
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
    let mut tombstones_left = Vec::new();
    for key_bytes in [AMPLE, SCARCE] {
        let work = |life: &mut Life| compact(life, key_bytes);
        let changes = operate(data.path(), &compacting(), work, |_, _, found| {
            check(&before, found);
        });
        assert!(changes > 30, "{changes}");
        let copy = copy_of(data.path());
        let (mut life, _) = Life::start(copy.path(), compacting()).unwrap();
        let segments = life.log.reader().segments().len();
        work(&mut life).unwrap();
        let after = life.found();
        assert!(after.records.len() < before.records.len() / 2);
        assert!(life.log.reader().segments().len() < segments);
        tombstones_left.push(tombstones(&after));
    }
    assert!(
        tombstones_left[1] < tombstones_left[0],
        "{tombstones_left:?}"
    );
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
        |data, stop| begin(data, &compacting(), stop, |life| compact(life, AMPLE)),
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
