//! Records and partitions that are deleted: what goes, goes from the front, and what was answered for stays away.

use super::*;

const BATCHES: usize = 24;

fn is_rest_of(found: &Found, before: &Found) -> bool {
    let mut records = before.records.clone();
    let rest = records.split_off(&found.start);
    found.end == before.end && found.records == rest
}

#[test]
fn retention_takes_the_oldest_and_leaves_no_gap_wherever_it_stops() {
    let data = scratch().unwrap();
    let config = LogConfig {
        retention_bytes: Some(1_500),
        ..config()
    };
    let life = Life::filled(data.path(), config.clone(), BATCHES);
    let (before, segments) = (life.found(), life.log.reader().segments());
    drop(life);
    let kept = segments[segments.len() - 2].base_offset;
    let retain = |life: &mut Life| {
        let end = life.log.log_end_offset();
        life.log.retain(end, 1_000, &mut life.trash)?;
        life.told.steps += 1;
        life.empty_trash()?;
        Ok(life.flush()?)
    };
    let changes = operate(data.path(), &config, retain, |stop, told, found| {
        assert!(is_rest_of(found, &before), "{found:?}");
        assert!(found.start <= kept);
        let is_done = stop.keeps_what_is_written() && told.steps > 0;
        assert!(!is_done || found.start > 0);
    });
    assert!(changes > 15, "{changes}");
}

/// Also where the log starts with a segment: that the segments before it are gone may not last.
pub(super) fn checkpoint_start(life: &Life) -> Result<(), StorageError> {
    life.checkpoint(Checkpoint::LogStart, Some(life.log.log_start_offset()))
}

#[test]
fn deleted_records_stay_away_once_it_was_answered_wherever_it_stops() {
    let data = scratch().unwrap();
    let life = Life::filled(data.path(), config(), BATCHES);
    let (before, segments) = (life.found(), life.log.reader().segments());
    drop(life);
    let within = segments[2].base_offset + 4;
    for before_offset in [segments[2].base_offset, within] {
        let delete = |life: &mut Life| {
            life.log.delete_records_before(before_offset)?;
            checkpoint_start(life)?;
            life.told.steps += 1;
            let end = life.log.log_end_offset();
            life.log.retain(end, 1_000, &mut life.trash)?;
            life.empty_trash()?;
            checkpoint_start(life)?;
            Ok(life.flush()?)
        };
        let changes = operate(data.path(), &config(), delete, |_, told, found| {
            assert!(is_rest_of(found, &before), "{found:?}");
            let expected = if told.steps > 0 { before_offset } else { 0 };
            assert!(
                found.start == before_offset || found.start == expected,
                "{found:?}"
            );
        });
        assert!(changes > 12, "{changes}");
    }
}

#[test]
fn a_deleted_partition_is_whole_or_waits_for_its_removal_wherever_it_stops() {
    let data = scratch().unwrap();
    let before = Life::filled(data.path(), config(), BATCHES).found();
    let delete = |data: &Path, stop: Stop| {
        let directory = DataDirectory::open(data, 1, Some("cluster")).unwrap();
        directory.sync().unwrap();
        let disk = stop.watch(data);
        let mut is_synced = false;
        let mut delete = || {
            let renamed = directory.rename_deleted("t", 0)?;
            directory.sync()?;
            is_synced = true;
            remove(&renamed)
        };
        let done: Result<(), StorageError> = delete();
        assert!(disk.has_stopped() || done.is_ok());
        (disk, is_synced)
    };
    let changes = at_every_change(data.path(), delete, |data, _, is_synced| {
        for folder in partition_folders(data).unwrap() {
            match folder {
                PartitionFolder::Log { .. } => {
                    assert!(!is_synced);
                    assert_eq!(next_start(data, config()).shown(), before.shown());
                }
                PartitionFolder::Deleted(path) => remove(&path).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        assert!(!is_synced || partition_folders(data).unwrap().is_empty());
    });
    assert!(changes > 20, "{changes}");
}
