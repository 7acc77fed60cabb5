use std::fs;

use milena_metadata::{Command, NoConfigRules, decide};

use super::*;
use crate::quorum::tests::{registration, topics};

fn open(dir: &Path) -> (Store, Image) {
    Store::open(dir, StoreOptions::default()).unwrap()
}

fn append(store: &mut Store, image: &mut Image, command: impl Into<Command>) {
    let decision = decide(image, &command.into(), &NoConfigRules).unwrap();
    store.append(image.position(), &decision.records).unwrap();
    image.apply_entry(EPOCH, &decision.records).unwrap();
}

/// A store with a broker and some topics; the image after each write.
fn filled(dir: &Path) -> (Store, Vec<Image>) {
    let (mut store, mut image) = open(dir);
    let mut images = vec![image.clone()];
    append(&mut store, &mut image, registration());
    images.push(image.clone());
    for name in ["a", "b", "c"] {
        append(&mut store, &mut image, topics([name.into()], 2));
        images.push(image.clone());
    }
    (store, images)
}

#[test]
fn a_log_cut_at_any_byte_opens_with_every_whole_write_and_takes_more() {
    let dir = tempfile::tempdir().unwrap();
    let (store, images) = filled(dir.path());
    drop(store);
    let log = fs::read(files::log_path(dir.path(), 0)).unwrap();
    let mut ends = vec![frame::HEADER_BYTES];
    while let Found::Whole(_, next) = frame::read(&log, *ends.last().unwrap()) {
        ends.push(next);
    }
    assert_eq!(*ends.last().unwrap(), log.len());
    for cut in 0..=log.len() {
        let copy = tempfile::tempdir().unwrap();
        fs::write(files::log_path(copy.path(), 0), &log[..cut]).unwrap();
        let whole = ends
            .iter()
            .filter(|&&end| end <= cut)
            .count()
            .saturating_sub(1);
        let (mut store, mut image) = open(copy.path());
        assert_eq!(image, images[whole], "cut at {cut}");
        append(&mut store, &mut image, registration());
        drop(store);
        assert_eq!(open(copy.path()).1, image, "cut at {cut}");
    }
}

#[test]
fn damage_before_the_last_write_refuses_the_start_and_names_file_and_byte() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let path = files::log_path(dir.path(), 0);
    let log = fs::read(&path).unwrap();
    let Found::Whole(_, second) = frame::read(&log, frame::HEADER_BYTES) else {
        panic!("a first write");
    };
    for byte in second..second + 30 {
        let mut damaged = log.clone();
        damaged[byte] ^= 0xff;
        fs::write(&path, &damaged).unwrap();
        let error = Store::open(dir.path(), StoreOptions::default())
            .err()
            .unwrap();
        assert!(matches!(&error, StoreError::Damaged { byte, .. } if *byte == second));
        assert!(
            error
                .to_string()
                .contains(&format!("{} is damaged at byte {second}", path.display()))
        );
        assert_eq!(
            fs::read(&path).unwrap(),
            damaged,
            "the start changes nothing"
        );
    }
}

#[test]
fn a_crash_at_any_step_of_a_snapshot_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, images) = filled(dir.path());
    let image = images.last().unwrap();
    let base = image.position().offset;
    let old_log = fs::read(files::log_path(dir.path(), 0)).unwrap();
    store.snapshot(image).unwrap();
    drop(store);
    assert!(!files::log_path(dir.path(), 0).exists());
    let snapshot = fs::read(files::snapshot_path(dir.path(), base)).unwrap();
    let new_log = fs::read(files::log_path(dir.path(), base)).unwrap();
    let crash = |whole_snapshot: bool, new: Option<&[u8]>, old: bool| {
        let copy = tempfile::tempdir().unwrap();
        let unfinished = copy.path().join(format!("{base:020}.tmp"));
        match whole_snapshot {
            true => fs::write(files::snapshot_path(copy.path(), base), &snapshot).unwrap(),
            false => fs::write(&unfinished, &snapshot[..snapshot.len() / 2]).unwrap(),
        }
        new.inspect(|new| fs::write(files::log_path(copy.path(), base), new).unwrap());
        if old {
            fs::write(files::log_path(copy.path(), 0), &old_log).unwrap();
        }
        let (mut store, mut opened) = open(copy.path());
        assert_eq!(&opened, image);
        assert!(!unfinished.exists());
        append(&mut store, &mut opened, topics(["later".into()], 1));
        drop(store);
        assert_eq!(open(copy.path()).1, opened);
    };
    crash(false, None, true);
    crash(true, None, true);
    for bytes in 0..=new_log.len() {
        crash(true, Some(&new_log[..bytes]), true);
    }
    crash(true, Some(&new_log), false);
}

#[test]
fn a_missing_file_refuses_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, images) = filled(dir.path());
    let image = images.last().unwrap();
    store.snapshot(image).unwrap();
    let base = image.position().offset;
    let (snapshot, log) = (
        files::snapshot_path(dir.path(), base),
        files::log_path(dir.path(), base),
    );
    for missing in [&snapshot, &log] {
        let kept = fs::read(missing).unwrap();
        fs::remove_file(missing).unwrap();
        let error = Store::open(dir.path(), StoreOptions::default())
            .err()
            .unwrap();
        assert!(matches!(&error, StoreError::Lost { path, .. } if path == missing));
        fs::write(missing, kept).unwrap();
    }
    assert_eq!(&open(dir.path()).1, image);
}

#[test]
fn a_snapshot_with_any_byte_changed_or_missing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, images) = filled(dir.path());
    let image = images.last().unwrap();
    store.snapshot(image).unwrap();
    let path = files::snapshot_path(dir.path(), image.position().offset);
    let whole = fs::read(&path).unwrap();
    for byte in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[byte] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        assert!(
            Store::open(dir.path(), StoreOptions::default()).is_err(),
            "byte {byte}"
        );
        fs::write(&path, &whole[..byte]).unwrap();
        assert!(
            Store::open(dir.path(), StoreOptions::default()).is_err(),
            "cut at {byte}"
        );
    }
}

#[test]
fn the_store_stays_short_whatever_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        log_bytes_max: 4_096,
    };
    let (mut store, mut image) = Store::open(dir.path(), options).unwrap();
    for round in 0..200 {
        append(&mut store, &mut image, registration());
        if store.is_long() {
            store.snapshot(&image).unwrap();
        }
        let files = fs::read_dir(dir.path())
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len());
        assert!(files.sum::<u64>() < 8_192, "round {round}");
    }
    drop(store);
    assert_eq!(open(dir.path()).1, image);
}

#[test]
fn a_record_of_newer_software_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = files::log_path(dir.path(), 0);
    let mut log = fs::read(&path).unwrap();
    let newer = b"{\"offset\":0,\"epoch\":1}\n{\"type\":\"topic\",\"version\":9}\n";
    push(&mut log, newer).unwrap();
    fs::write(&path, log).unwrap();
    let error = Store::open(dir.path(), StoreOptions::default())
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("'topic', version 9, is newer than this software")
    );
}
