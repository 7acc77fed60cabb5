//! A repair that stops: another ends it, also after a start in between, and nothing that is whole is lost.

use super::*;
use crate::inspect::FindingKind;
use crate::repair::repair;

const BATCHES: usize = 24;

/// A log that was stopped cleanly, and what is in it without the records that are spoilt then.
fn spoilt(data: &Path) -> Found {
    let mut life = Life::filled(data, config(), BATCHES);
    life.log.close().unwrap();
    let segments = life.log.reader().segments();
    let mut found = life.found();
    drop(life);
    DataDirectory::open(data, 1, Some("cluster"))
        .unwrap()
        .mark_clean_shutdown(5)
        .unwrap();
    let folder = data.join(FOLDER);
    let file = |offset: i64, extension: &str| folder.join(format!("{offset:020}.{extension}"));
    let spoil = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= 0x55;
        fs::write(path, bytes).unwrap();
    };
    // The second batch of the second segment, and the last of all, whose offsets are given to no others.
    let (second, last) = (segments[1].base_offset, *segments.last().unwrap());
    let bytes = fs::read(file(second, "log")).unwrap();
    let batch = BatchHeader::parse(&bytes).unwrap().size();
    spoil(&file(second, "log"), batch + 100);
    spoil(&file(last.base_offset, "log"), last.size as usize - 1);
    spoil(&file(0, "index"), 7);
    fs::remove_file(file(segments[2].base_offset, "timeindex")).unwrap();
    fs::write(file(segments[1].base_offset, "snapshot"), "no").unwrap();
    fs::write(folder.join("leader-epoch-checkpoint"), "0\n1\n9 0\n").unwrap();
    let lost = [second + 3, found.end - 3];
    found
        .records
        .retain(|offset, _| !lost.iter().any(|lost| (*lost..lost + 3).contains(offset)));
    found
}

fn mend(data: &Path, end: i64) -> Result<(), LogError> {
    repair(&inspect(&data.join(FOLDER))?, end)
}

#[test]
fn a_repair_that_stops_anywhere_is_ended_by_the_next() {
    let data = scratch().unwrap();
    let expected = spoilt(data.path());
    let kinds = inspect(&data.path().join(FOLDER)).unwrap().findings;
    let records = |kind| matches!(kind, FindingKind::Records(_));
    assert_eq!(kinds.iter().filter(|one| records(one.kind)).count(), 2);
    let work = |data: &Path, stop: Stop| {
        let disk = stop.watch(data);
        let mended = mend(data, expected.end).is_ok();
        (disk, mended)
    };
    let changes = at_every_change(data.path(), work, |data, _, mended| {
        for starts in [false, true] {
            let copy = copy_of(data);
            if mended {
                assert_eq!(inspect(&copy.path().join(FOLDER)).unwrap().findings, []);
            }
            if starts {
                // It may refuse what is still damaged.
                drop(Life::start(copy.path(), config()));
            }
            mend(copy.path(), expected.end).unwrap();
            assert_eq!(next_start(copy.path(), config()).shown(), expected.shown());
            let kept = names(&copy.path().join(FOLDER));
            let damaged = kept.iter().filter(|name| name.ends_with(".log.damaged"));
            assert_eq!(damaged.count(), 2);
        }
    });
    assert!(changes > 30, "{changes}");
}
