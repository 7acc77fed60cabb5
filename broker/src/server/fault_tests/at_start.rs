//! Faults that a start comes upon: the partition is offline, the broker serves all others, and a start without the fault
//! has it back.

use super::*;

/// A fault of the log of one topic, armed while the broker is down.
type AtStart = (&'static str, fn(&TwoDisks) -> Undo);

const FAULTS: &[AtStart] = &[
    ("the log can't be read", |disks| {
        on_one(disks, Fault::FailReads)
    }),
    ("the segment may not be opened", |disks| {
        Box::new(Forbidden::new(disks.file(&disks.hit, "log"), 0))
    }),
    ("the folder may not be entered", |disks| {
        Box::new(Forbidden::new(disks.folder(&disks.hit), 0))
    }),
    ("the folder may not be listed", |disks| {
        Box::new(Forbidden::new(disks.folder(&disks.hit), 0o300))
    }),
];

fn play((name, fault): &AtStart, was_killed: bool) {
    eprintln!("{name}, after a kill: {was_killed}");
    let disks = TwoDisks::start(1, &[]);
    if !was_killed {
        assert!(disks.close());
    }
    is_offline_and_back(disks, name, *fault);
}

/// The life after the one of `disks` comes upon the fault, and the one after that does not.
fn is_offline_and_back(mut disks: TwoDisks, name: &str, fault: fn(&TwoDisks) -> Undo) {
    let [hit, neighbour, beside] = disks.topics();
    let mut armed = None;
    disks.kill_and_start(|disks| armed = Some(fault(disks)));
    assert_eq!(disks.produce(&hit), Err(STORAGE), "{name}");
    assert_eq!(disks.read(&hit), Err(STORAGE), "{name}");
    assert_eq!(disks.offline_count(), 1, "{name}");
    disks.goes_on(&neighbour);
    disks.goes_on(&beside);
    // What the checkpoints know of it stays: the next start may cut nothing.
    disks.close();
    drop(armed);
    assert_eq!(disks.produce(&hit), Err(STORAGE), "{name}");
    disks.kill_and_start(|_| {});
    disks.topics().iter().for_each(|topic| disks.goes_on(topic));
}

/// Faults of the second segment's file, which takes the appends. Without it nothing says that it was there but where the
/// log ended at its clean stop.
const OF_THE_LAST_FILE: &[AtStart] = &[
    ("the last segment is gone", |disks| {
        Box::new(TakenAway::new(disks.last_segment(&disks.hit)))
    }),
    ("a folder is in the last segment's place", |disks| {
        let file = disks.last_segment(&disks.hit);
        let away = TakenAway::new(file.clone());
        std::fs::create_dir(file).unwrap();
        Box::new(away)
    }),
    ("the last segment may not be opened", |disks| {
        Box::new(Forbidden::new(disks.last_segment(&disks.hit), 0))
    }),
];

#[test]
fn a_last_segment_that_is_gone_or_forbidden_after_a_clean_stop_is_offline_and_back_with_it() {
    as_a_user(|| {
        for (name, fault) in OF_THE_LAST_FILE {
            eprintln!("{name}");
            let mut disks = TwoDisks::start(1, &[]);
            let hit = disks.hit.clone();
            disks.roll(&hit);
            disks.goes_on(&hit);
            assert!(disks.close());
            is_offline_and_back(disks, name, *fault);
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
