//! Faults that a start comes upon: the partition is offline, the broker serves all others, and a start without the fault
//! has it back.

use super::*;

/// A fault of the log of one topic, armed while the broker is down, and whether a note of how it ended can be left in its
/// folder meanwhile: if not, the stop is not marked clean.
type AtStart = (&'static str, bool, fn(&TwoDisks) -> Undo);

const FAULTS: &[AtStart] = &[
    ("the log can't be read", true, |disks| {
        on_one(disks, Fault::FailReads)
    }),
    ("the segment may not be opened", true, |disks| {
        Box::new(Forbidden::new(disks.file(&disks.hit, "log"), 0))
    }),
    ("the folder may not be entered", false, |disks| {
        Box::new(Forbidden::new(disks.folder(&disks.hit), 0))
    }),
    ("the folder may not be listed", true, |disks| {
        Box::new(Forbidden::new(disks.folder(&disks.hit), 0o300))
    }),
];

fn play(fault: &AtStart, was_killed: bool) {
    eprintln!("{}, after a kill: {was_killed}", fault.0);
    let disks = TwoDisks::start(1, &[]);
    if was_killed {
        let mut file = std::fs::File::options();
        let mut file = file
            .append(true)
            .open(disks.last_segment(&disks.hit))
            .unwrap();
        file.write_all(&[0; TORN]).unwrap();
    } else {
        assert!(disks.close());
    }
    is_offline_and_back(disks, fault);
}

/// The life after the one of `disks` comes upon the fault, and the one after that does not.
fn is_offline_and_back(mut disks: TwoDisks, (name, is_noted, fault): &AtStart) {
    let [hit, neighbour, beside] = disks.topics();
    let mut armed = None;
    disks.kill_and_start(|disks| armed = Some(fault(disks)));
    assert_eq!(disks.produce(&hit), Err(STORAGE), "{name}");
    assert_eq!(disks.read(&hit), Err(STORAGE), "{name}");
    assert_eq!(disks.offline_count(), 1, "{name}");
    disks.goes_on(&neighbour);
    disks.goes_on(&beside);
    // What the checkpoints know of it stays: the next start may cut nothing that was whole.
    assert_eq!(disks.close(), *is_noted, "{name}");
    drop(armed);
    assert_eq!(disks.produce(&hit), Err(STORAGE), "{name}");
    disks.kill_and_start(|_| {});
    disks.topics().iter().for_each(|topic| disks.goes_on(topic));
}

/// Faults of the second segment's file, which takes the appends. Without it nothing says that it was there but where the
/// log ended at its clean stop.
const OF_THE_LAST_FILE: &[AtStart] = &[
    ("the last segment is gone", true, |disks| {
        Box::new(TakenAway::new(disks.last_segment(&disks.hit)))
    }),
    ("a folder is in the last segment's place", true, |disks| {
        let file = disks.last_segment(&disks.hit);
        let away = TakenAway::new(file.clone());
        std::fs::create_dir(file).unwrap();
        Box::new(away)
    }),
    ("the last segment may not be opened", true, |disks| {
        Box::new(Forbidden::new(disks.last_segment(&disks.hit), 0))
    }),
];

#[test]
fn a_last_segment_that_is_gone_or_forbidden_after_a_clean_stop_is_offline_and_back_with_it() {
    as_a_user(|| {
        for fault in OF_THE_LAST_FILE {
            eprintln!("{}", fault.0);
            let mut disks = TwoDisks::start(1, &[]);
            let hit = disks.hit.clone();
            disks.roll(&hit);
            disks.goes_on(&hit);
            assert!(disks.close());
            is_offline_and_back(disks, fault);
        }
    });
}

#[test]
fn a_log_that_can_not_be_opened_at_a_start_is_back_with_the_next() {
    as_a_user(|| {
        for fault in FAULTS {
            play(fault, true);
            play(fault, false);
        }
    });
}

#[test]
fn a_partition_whose_folder_can_not_be_made_is_offline_until_the_next_start() {
    as_a_user(|| {
        let mut disks = TwoDisks::start(1, &[]);
        let [hit, neighbour, beside] = disks.topics();
        let forbidden = Forbidden::new(disks.dir(true).to_owned(), 0o500);
        let mut refused = Vec::new();
        for number in 0..4 {
            let topic = format!("new{number}");
            disks.running().create(&topic, 1);
            if let Err(told) = disks.produce(&topic) {
                assert_eq!(told, STORAGE);
                refused.push(topic);
            }
        }
        assert!(!refused.is_empty());
        assert_eq!(disks.offline_count(), refused.len());
        for topic in [&hit, &neighbour, &beside] {
            disks.goes_on(topic);
        }
        drop(forbidden);
        for topic in &refused {
            assert_eq!(disks.produce(topic), Err(STORAGE));
        }
        disks.kill_and_start(|_| {});
        for topic in refused.iter().chain([&hit, &neighbour, &beside]) {
            disks.goes_on(topic);
        }
    });
}
