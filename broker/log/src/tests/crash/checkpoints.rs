//! The small files of a data directory: what was there, or what was to be, and the latter once it was answered.

use super::*;

#[test]
fn a_checkpoint_has_its_old_offsets_or_its_new_ones_wherever_it_stops() {
    use Checkpoint::{Cleaner, HighWatermark, LogStart, RecoveryPoint};
    for file in [RecoveryPoint, HighWatermark, LogStart, Cleaner] {
        let data = scratch().unwrap();
        let offsets = |last: i64| -> Offsets {
            let topics = 0..100;
            topics
                .map(|topic| ((format!("topic{topic}"), 0), last))
                .collect()
        };
        file.write(data.path(), &offsets(5)).unwrap();
        let write = |data: &Path, stop: Stop| {
            let disk = stop.watch(data);
            let written = file.write(data, &offsets(9)).is_ok();
            (disk, written)
        };
        let changes = at_every_change(data.path(), write, |data, _, written| {
            let found = file.read(data).unwrap();
            assert!(found == offsets(9) || !written && found == offsets(5));
            if let Some(kept) = to_keep() {
                fs::create_dir_all(&kept).unwrap();
                fs::copy(data.join(file.file_name()), kept.join(file.file_name())).unwrap();
            }
            file.write(data, &offsets(10)).unwrap();
            assert_eq!(names(data), [file.file_name()]);
        });
        assert_eq!(changes, 5, "made, written, synced, renamed, folder synced");
    }
}

#[test]
fn a_mark_of_a_clean_stop_is_there_or_not_and_gone_once_it_was_taken() {
    let data = scratch().unwrap();
    let open = |data: &Path| DataDirectory::open(data, 1, Some("cluster")).unwrap();
    open(data.path());
    let mark = |data: &Path, stop: Stop| {
        let directory = open(data);
        let disk = stop.watch(data);
        let marked = directory.mark_clean_shutdown(5).is_ok();
        (disk, marked)
    };
    at_every_change(data.path(), mark, |data, _, marked| {
        let found = open(data).take_clean_shutdown().unwrap();
        assert!(found == Some(5) || !marked && found.is_none());
    });
    open(data.path()).mark_clean_shutdown(5).unwrap();
    let take = |data: &Path, stop: Stop| {
        let directory = open(data);
        let disk = stop.watch(data);
        let taken = directory.take_clean_shutdown();
        (disk, taken.is_ok())
    };
    at_every_change(data.path(), take, |data, _, taken| {
        assert!(!taken || !is_marked_clean(data));
    });
}

#[test]
fn a_directory_is_nobodys_or_ours_wherever_its_claim_stops() {
    let nobodys = scratch().unwrap();
    let claim = |data: &Path, stop: Stop| {
        let disk = stop.watch(data);
        let directory = DataDirectory::open(data, 1, Some("cluster"));
        let claimed = directory.map(|directory| directory.identity().clone());
        (disk, claimed.ok())
    };
    at_every_change(nobodys.path(), claim, |data, _, claimed| {
        let directory = DataDirectory::open(data, 1, Some("cluster")).unwrap();
        let found = directory.identity();
        assert!(claimed.is_none_or(|claimed| claimed == *found));
    });
    let bind = |data: &Path, stop: Stop| {
        let mut claim = VolumeClaim::of(data).unwrap();
        let disk = stop.watch(data);
        (disk, claim.bind("a volume").is_ok())
    };
    at_every_change(nobodys.path(), bind, |data, _, bound| {
        let found = VolumeClaim::of(data).unwrap();
        assert!(found.uid() == Some("a volume") || !bound && found.uid().is_none());
    });
}
