//! What a caller sees of a cleaning that goes on, and can end.

use std::fs;

use super::*;

fn plan(log: &Log, from: i64) -> CleaningPlan {
    log.cleaning_plan(from, i64::MAX, 0).unwrap().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_cleaning_given_up_at_any_batch_leaves_the_log_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 30);
    let (records, names) = (all(&log).unwrap(), files(folder.path()));
    for batches in 1.. {
        let mut left = batches;
        let mut pace = |_: CleaningIo| {
            left -= 1;
            match left {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        if plan(&log, 0).clean(1 << 20, &mut pace).unwrap().is_some() {
            // Each of 30 batches is read twice, and something is written.
            assert!(batches > 61, "{batches}");
            return;
        }
        assert_eq!(files(folder.path()), names, "given up at batch {batches}");
        assert_eq!(all(&log).unwrap(), records);
    }
}

#[test]
fn what_a_cleaning_is_to_read_is_what_it_tells_to_have_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 30);
    let cleaned_to = clean(&mut log, 0, 1 << 20, 0).unwrap();
    fill(&mut log, 30);
    for from in [0, cleaned_to] {
        let plan = plan(&log, from);
        let (expected, mut told) = (plan.bytes(), 0);
        let mut written = 0;
        let mut pace = |io| {
            match io {
                CleaningIo::Read(bytes) => told += bytes,
                CleaningIo::Written(bytes) => written += bytes,
            }
            ControlFlow::Continue(())
        };
        let cleaned = plan.clean(1 << 20, &mut pace).unwrap().unwrap();
        assert_eq!(told, expected, "from {from}");
        assert_eq!(written, cleaned.bytes_after());
    }
}

#[test]
fn a_batch_that_the_disk_has_spoilt_is_not_given_a_new_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 30);
    let segment = folder.path().join("00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    // A value of the first batch, which is not compressed.
    let at = bytes.windows(2).position(|two| two == b"v0").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let names = files(folder.path());
    let error = plan(&log, 0).clean(1 << 20, &mut unhurried).unwrap_err();
    assert!(
        error.to_string().contains("offset 0, byte 0: checksum"),
        "{error}"
    );
    assert_eq!(files(folder.path()), names);
}
