//! A whole data directory that a start can't use: what is in it is offline, and begins anew nowhere; all else is served, in that
//! life and in the next, and a start that can use it has everything back.

use milena_metadata::LastEnd;

use super::*;

/// A fault of the directory, armed while the broker is down, and whether what has a folder in it is known all the same.
type OfDirectory = (&'static str, bool, fn(&TwoDisks) -> Undo);

fn forbidden(disks: &TwoDisks, name: &str) -> Undo {
    Box::new(Forbidden::new(disks.dir(true).join(name), 0))
}

fn garbled(disks: &TwoDisks, name: &str) -> Undo {
    let file = disks.dir(true).join(name);
    if !file.exists() {
        std::fs::write(&file, "0\n0\n").unwrap();
    }
    let away = TakenAway::new(file.clone());
    std::fs::write(file, "0\n9\nt 0").unwrap();
    Box::new(away)
}

const FAULTS: &[OfDirectory] = &[
    ("it may not be entered", false, |disks| forbidden(disks, "")),
    ("its lock may not be opened", true, |disks| {
        forbidden(disks, ".lock")
    }),
    ("its identity may not be read", false, |disks| {
        forbidden(disks, "meta.properties")
    }),
    ("a folder is in its identity's place", false, |disks| {
        let file = disks.dir(true).join("meta.properties");
        let away = TakenAway::new(file.clone());
        std::fs::create_dir(file).unwrap();
        Box::new(away)
    }),
    ("its identity is garbled", false, |disks| {
        garbled(disks, "meta.properties")
    }),
    ("its recovery points may not be read", true, |disks| {
        forbidden(disks, Checkpoint::RecoveryPoint.file_name())
    }),
    ("its recovery points are garbled", true, |disks| {
        garbled(disks, Checkpoint::RecoveryPoint.file_name())
    }),
    ("its high watermarks are garbled", true, |disks| {
        garbled(disks, Checkpoint::HighWatermark.file_name())
    }),
    ("its log starts are garbled", true, |disks| {
        garbled(disks, Checkpoint::LogStart.file_name())
    }),
    ("what is compacted is garbled", true, |disks| {
        garbled(disks, Checkpoint::Cleaner.file_name())
    }),
];

/// How many partitions have a folder in the directory, and how many have one nowhere.
fn counts(disks: &TwoDisks) -> (usize, usize) {
    let all = disks.running().broker.partitions().all();
    let folders: Vec<_> = all.iter().map(|one| one.reader().folder()).collect();
    let is_there = |folder: &&std::path::PathBuf| folder.starts_with(disks.dir(true));
    let made = folders.iter().filter(|folder| folder.is_dir());
    let there = made.clone().filter(is_there).count();
    (there, folders.len() - made.count())
}

fn strays(disks: &TwoDisks) -> usize {
    let names = |dir: &std::path::Path| std::fs::read_dir(dir).unwrap();
    let all = [true, false].map(|is_faulty| names(disks.dir(is_faulty)));
    let all = all.into_iter().flatten().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_string_lossy().ends_with("-stray"))
        .count()
}

/// Ends the life in order, or has it killed, and starts the next one once `before` is done.
fn end(disks: &mut TwoDisks, is_clean: bool, before: impl FnOnce(&TwoDisks)) {
    if is_clean {
        assert!(disks.close(), "the stop was not clean");
    }
    disks.kill_and_start(before);
}

fn play((name, is_listed, fault): &OfDirectory, is_clean: bool) {
    eprintln!("{name}, after a clean stop: {is_clean}");
    let mut disks = TwoDisks::start(1, &[]);
    let [hit, neighbour, beside] = disks.topics();
    let partitions = disks.running().broker.partitions().clone();
    partitions.checkpoint().unwrap();
    drop(partitions);
    let (there, nowhere) = counts(&disks);
    let offline = match is_listed {
        true => there,
        false => there + nowhere,
    };
    let (mut armed, mut served) = (None, vec![beside]);
    for life in 0..2 {
        end(&mut disks, is_clean, |disks| {
            armed.get_or_insert_with(|| fault(disks));
        });
        for topic in [&hit, &neighbour] {
            assert_eq!(disks.produce(topic), Err(STORAGE), "{name}");
            assert_eq!(disks.read(topic), Err(STORAGE), "{name}");
        }
        assert_eq!(disks.offline_count(), offline, "{name}");
        let new = format!("new{life}");
        disks.running().create(&new, 1);
        served.push(new);
        served.iter().for_each(|topic| disks.goes_on(topic));
        let broker = &disks.running().broker;
        let image = broker.image();
        let life = image.broker(broker.broker_id()).unwrap();
        assert_eq!(life.directories.len(), 2, "{name}: it is forgotten");
    }
    end(&mut disks, is_clean, |_| drop(armed.take()));
    assert_eq!(disks.offline_count(), 0, "{name}");
    served.extend([hit, neighbour]);
    served.iter().for_each(|topic| disks.goes_on(topic));
    assert_eq!(strays(&disks), 0, "{name}");
    let broker = &disks.running().broker;
    let last_end = match is_clean {
        true => LastEnd::Clean,
        false => LastEnd::Killed,
    };
    let image = broker.image();
    let life = image.broker(broker.broker_id()).unwrap();
    assert_eq!(life.last_end, last_end, "{name}");
}

#[test]
fn a_directory_that_can_not_be_used_costs_its_own_partitions_until_a_start_can_use_it() {
    as_a_user(|| {
        for fault in FAULTS {
            play(fault, false);
            play(fault, true);
        }
    });
}
