//! A directory that was given up, and is back.

use milena_log::{Checkpoint, Offsets};

use super::*;

/// The folders of `t`'s partitions in a directory.
fn folders(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("t-")).collect()
}

/// Places in a folder, and one for the metadata, which is in none of the data directories.
fn places<const N: usize>(folder: &Path, names: [&str; N]) -> ([PathBuf; N], String) {
    let metadata = folder.join("metadata").display().to_string();
    (names.map(|name| folder.join(name)), metadata)
}

#[test]
fn a_broker_alone_does_not_choose_between_two_logs_of_a_partition() {
    let folder = tempfile::tempdir().unwrap();
    let ([given_up, other, away], metadata) = places(folder.path(), ["given-up", "other", "away"]);
    let dirs = &[given_up.as_path(), other.as_path()];
    let beside = ("metadata.log.dir", metadata.as_str());
    live_and_write(dirs, &[beside]);
    let id = id_of(&given_up);
    std::fs::rename(&given_up, &away).unwrap();
    live_and_write(&[&other], &[beside, ("log.dirs.lost", &id)]);
    let since = ends(&[&other], &[beside]).unwrap();
    assert!(since.contains(&1) && since.contains(&2), "{since:?}");

    std::fs::rename(&away, &given_up).unwrap();
    let twice = folders(&given_up);
    for _ in 0..2 {
        let refused = ends(dirs, &[beside]).unwrap_err();
        let is_named = |name: &&String| {
            let path = |dir: &Path| dir.join(name).display().to_string();
            refused.contains(&format!("{name} has a log"))
                && dirs.iter().all(|dir| refused.contains(&path(dir)))
        };
        assert!(twice.iter().any(|name| is_named(&name)), "{refused}");
        assert!(refused.contains("out of its directory"), "{refused}");
        assert_eq!(folders(&given_up), twice, "what is there is left as it was");
    }
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for name in twice {
        std::fs::rename(given_up.join(&name), elsewhere.join(&name)).unwrap();
    }
    assert_eq!(ends(dirs, &[beside]).unwrap(), since);
}

#[test]
fn a_directory_that_is_back_in_the_place_of_another_does_not_pass_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["given-up", "other", "away", "instead"];
    let ([given_up, other, away, instead], metadata) = places(folder.path(), names);
    let dirs = &[given_up.as_path(), other.as_path()];
    let beside = ("metadata.log.dir", metadata.as_str());
    live_and_write(dirs, &[beside]);
    let id = id_of(&given_up);
    std::fs::rename(&given_up, &away).unwrap();
    live_and_write(dirs, &[beside, ("log.dirs.lost", &id)]);
    let since = ends(dirs, &[beside]).unwrap();

    std::fs::rename(&given_up, &instead).unwrap();
    std::fs::rename(&away, &given_up).unwrap();
    let refused = ends(dirs, &[beside]).unwrap_err();
    assert!(refused.contains(&id_of(&instead)), "{refused}");
    put_back(&instead, &given_up);
    assert_eq!(ends(dirs, &[beside]).unwrap(), since);
}

#[test]
fn the_log_in_the_directory_that_the_metadata_names_counts_and_the_other_is_kept_aside() {
    let folder = tempfile::tempdir().unwrap();
    let ([given_up, other, away], metadata) = places(folder.path(), ["given-up", "other", "away"]);
    let beside = ("metadata.log.dir", metadata.as_str());
    // Of the only directory the metadata knows without being told.
    live_and_write(&[&given_up], &[beside]);
    let id = id_of(&given_up);
    std::fs::rename(&given_up, &away).unwrap();
    for _ in 0..2 {
        live_and_write(&[&other], &[beside, ("log.dirs.lost", &id)]);
    }
    std::fs::rename(&away, &given_up).unwrap();
    let dirs = &[given_up.as_path(), other.as_path()];
    let key = ("t".to_owned(), 0);
    let compacted = Offsets::from([(key.clone(), 1)]);
    Checkpoint::Cleaner.write(&given_up, &compacted).unwrap();
    for life in 3..5 {
        live_and_write(dirs, &[beside]);
        let ends = ends(dirs, &[beside]).unwrap();
        assert_eq!(ends, vec![life; PARTITIONS as usize]);
        let compacted = Checkpoint::Cleaner.read(&other).unwrap();
        assert_eq!(compacted.get(&key), None, "that was of the other log");
        let aside = folders(&given_up);
        assert_eq!(aside.len(), PARTITIONS as usize);
        assert!(
            aside.iter().all(|name| name.ends_with("-stray")),
            "{aside:?}"
        );
    }
}
