use super::*;

/// Written by the software that kept that store: a snapshot at offset 171, and a log up to 196.
const BASE: u64 = 171;
const SNAPSHOT_FILE: &[u8] = include_bytes!("fixture/00000000000000000171.snapshot");
const LOG_FILE: &[u8] = include_bytes!("fixture/00000000000000000171.log");

fn folder(snapshot: &[u8], log: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(path(dir.path(), BASE, SNAPSHOT), snapshot).unwrap();
    fs::write(path(dir.path(), BASE, LOG), log).unwrap();
    dir
}

#[test]
fn the_store_of_older_software_is_read_with_its_ids_and_its_position() {
    let dir = folder(SNAPSHOT_FILE, LOG_FILE);
    let image = read(dir.path()).unwrap().unwrap();
    assert_eq!(&**image.cluster_id().unwrap(), "uXrgk6mQQqyZ-eZ9mAJkmQ");
    assert_eq!(
        image.position(),
        Position {
            epoch: 1,
            offset: 196
        }
    );
    let topics: Vec<_> = image
        .topics()
        .map(|topic| (topic.name.as_str(), topic.id.to_string()))
        .collect();
    let id = |id: &str| id.to_owned();
    assert_eq!(
        topics,
        [
            ("late", id("P51gcWVDRNKvtAlKCLymgw")),
            ("orders", id("N6KHl5RyR9OxHk9V24gbCA")),
            ("payments", id("KcrsTHsQRR2n5s_g77rNfA")),
        ]
    );
    assert_eq!(image.next_producer_id(), 1_000);
    assert_eq!(image.feature("milena.version"), 1);
    fs::write(dir.path().join("metadata.redb"), b"kept").unwrap();
    remove(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(read(dir.path()).unwrap().is_none());
}

#[test]
fn a_log_cut_at_any_byte_is_read_with_every_whole_write() {
    let mut last = 0;
    for cut in 0..=LOG_FILE.len() {
        let dir = folder(SNAPSHOT_FILE, &LOG_FILE[..cut]);
        let offset = read(dir.path()).unwrap().unwrap().position().offset;
        assert!(offset >= last, "cut at {cut}");
        last = offset;
    }
    assert_eq!(last, 196);
}

#[test]
fn damage_and_missing_files_are_refused_by_name() {
    for byte in (0..SNAPSHOT_FILE.len()).step_by(7) {
        let mut changed = SNAPSHOT_FILE.to_vec();
        changed[byte] ^= 0x10;
        assert!(
            read(folder(&changed, LOG_FILE).path()).is_err(),
            "byte {byte}"
        );
        assert!(
            read(folder(&SNAPSHOT_FILE[..byte], LOG_FILE).path()).is_err(),
            "cut at {byte}"
        );
    }
    let mut changed = LOG_FILE.to_vec();
    changed[100] ^= 0x10;
    let error = read(folder(SNAPSHOT_FILE, &changed).path()).unwrap_err();
    assert!(
        matches!(&error, ImportError::Damaged { byte: 16, .. }),
        "{error}"
    );
    for kind in [SNAPSHOT, LOG] {
        let dir = folder(SNAPSHOT_FILE, LOG_FILE);
        let missing = path(dir.path(), BASE, kind);
        fs::remove_file(&missing).unwrap();
        let error = read(dir.path()).unwrap_err();
        assert!(
            matches!(&error, ImportError::Lost { path, .. } if *path == missing),
            "{error}"
        );
    }
}
