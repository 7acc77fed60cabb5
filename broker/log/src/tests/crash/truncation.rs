//! A follower's truncation: what its leader has stays, and what does not goes, from the end on.

use super::*;

const BATCHES: usize = 24;
/// In the second of many segments, behind some of its batches and within another.
const CUT_AT: i64 = 28;
const CUT_TO: i64 = 27;

fn append(life: &mut Life, batches: usize) -> Result<(), LogError> {
    for batch in 0..batches {
        life.append(3, 100 + batch)?;
    }
    life.flush()?;
    Ok(())
}

/// The recovery point is noted before anything follows, whether or not what was cut is brought to disk first.
fn cut_and_go_on(life: &mut Life, flushes: bool) -> Result<(), LogError> {
    life.log.truncate_to(CUT_AT, 1_000)?;
    life.told.steps += 1;
    if flushes {
        life.flush()?;
    } else {
        let point = life.log.recovery_point();
        life.checkpoint(Checkpoint::RecoveryPoint, Some(point))?;
    }
    append(life, 6)
}

/// Whether the records are those of both up to their ends: the old ones first, then the new, and none is missing.
fn is_a_history(found: &Found, old: &Records, new: &Records, from: i64) -> bool {
    let offsets = found.records.keys().copied();
    let of = |records: &Records, offset| records.get(&offset) == found.records.get(&offset);
    let first_new = offsets.clone().find(|offset| !of(old, *offset));
    let first_new = first_new.unwrap_or(found.end);
    offsets.eq(from..found.end)
        && found
            .records
            .keys()
            .all(|offset| of(if *offset < first_new { old } else { new }, *offset))
}

fn check_cut(stop: Stop, told: &Told, before: &Found, found: &Found) {
    let is_whole = is_a_history(found, &before.records, &told.asked, 0);
    assert!(is_whole && found.end >= CUT_TO, "{found:?}");
    assert_eq!(found.sequences[0], found.sequences[1]);
    let least = if stop.keeps_what_is_written() {
        told.stored
    } else {
        told.flushed
    };
    let is_new = |offset: i64| found.records.get(&offset) == told.asked.get(&offset);
    assert!((CUT_TO..least).all(is_new), "{least}: {found:?}");
    if told.flushed > 0 || stop.keeps_what_is_written() && told.steps > 0 {
        assert!(found.end <= CUT_TO + told.asked.len() as i64);
    }
}

#[test]
fn a_truncated_log_has_no_gap_and_nothing_old_behind_what_is_new_wherever_it_stops() {
    let data = scratch().unwrap();
    let before = Life::filled(data.path(), config(), BATCHES).found();
    for flushes in [true, false] {
        let changes = operate(
            data.path(),
            &config(),
            |life| cut_and_go_on(life, flushes),
            |stop, told, found| check_cut(stop, told, &before, found),
        );
        assert!(changes > 30, "{changes}");
    }
}

#[test]
fn a_log_of_which_only_some_files_were_cut_takes_no_more_records() {
    let data = scratch().unwrap();
    let before = Life::filled(data.path(), config(), BATCHES).found();
    for offset in [0, CUT_AT] {
        for change in 1..CHANGES_MAX {
            let copy = copy_of(data.path());
            let (mut life, _) = Life::start(copy.path(), config()).unwrap();
            life.log.flusher().flush().unwrap();
            let disk = Disk::watch(copy.path(), change, End::Killed).unwrap();
            let cut = life.log.truncate_to(offset, 1_000);
            let has_stopped = disk.has_stopped();
            // The disk works again.
            drop(disk);
            assert_eq!(cut.is_err(), has_stopped);
            assert_eq!(life.append(3, 100).is_err(), has_stopped);
            drop(life);
            let found = next_start(copy.path(), config());
            if !has_stopped {
                break;
            }
            let none = Records::new();
            assert!(is_a_history(&found, &before.records, &none, 0), "{change}");
        }
    }
}

#[test]
fn a_log_that_starts_anew_has_its_old_records_or_its_new_ones_wherever_it_stops() {
    // The leader's log starts behind this one's end, or within.
    for start in [BATCHES as i64 * 3 + 100, 30] {
        let data = scratch().unwrap();
        let before = Life::filled(data.path(), config(), BATCHES).found();
        let restart = |life: &mut Life| {
            life.log.truncate_fully_and_start_at(start, 1_000)?;
            life.told.steps += 1;
            life.flush()?;
            append(life, 6)
        };
        operate(data.path(), &config(), restart, |stop, told, found| {
            let none = Records::new();
            let is_old = is_a_history(found, &before.records, &none, 0);
            let is_new = found.start == start && is_a_history(found, &none, &told.asked, start);
            assert!(is_old || is_new, "{told:?}: {found:?}");
            let is_kept = stop.keeps_what_is_written() && told.steps > 0;
            assert!(!(is_kept || told.flushed > 0) || is_new);
            assert!(found.end >= told.flushed);
        });
    }
}
