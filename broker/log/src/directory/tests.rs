use super::*;
use crate::checkpoint::{Checkpoint, Offsets};

#[test]
fn a_directory_keeps_its_identity_and_refuses_another_cluster_or_node_naming_both() {
    let folder = tempfile::tempdir().unwrap();
    let first = DataDirectory::open(folder.path(), 1, None).unwrap();
    let identity = first.identity().clone();
    drop(first);
    let again = DataDirectory::open(folder.path(), 1, None).unwrap();
    assert_eq!(*again.identity(), identity);
    drop(again);
    let error = DataDirectory::open(folder.path(), 1, Some("other"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("other") && error.contains(&identity.cluster_id),
        "{error}"
    );
    let error = DataDirectory::open(folder.path(), 42, None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("node 1") && error.contains("node 42"),
        "{error}"
    );
}

#[test]
fn a_directory_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _held = DataDirectory::open(folder.path(), 1, None).unwrap();
    let error = DataDirectory::open(folder.path(), 1, None).unwrap_err();
    assert!(matches!(error, DirectoryError::InUse { .. }), "{error}");
}

#[test]
fn a_clean_stop_is_known_once() {
    let folder = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(folder.path(), 1, None).unwrap();
    assert_eq!(directory.take_clean_shutdown().unwrap(), None);
    directory.mark_clean_shutdown(77).unwrap();
    assert_eq!(directory.take_clean_shutdown().unwrap(), Some(77));
    assert_eq!(directory.take_clean_shutdown().unwrap(), None);
}

#[test]
fn folders_are_told_apart_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(folder.path(), 1, None).unwrap();
    for name in ["a.b-c-3", "quorum", "x-y"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let long = "t".repeat(249);
    std::fs::create_dir(directory.partition_path(&long, 12)).unwrap();
    std::fs::create_dir(directory.partition_path("u", 0)).unwrap();
    let deleted = directory.rename_deleted(&long, 12).unwrap();
    let stray = directory.rename_stray("u", 0).unwrap();
    let found = directory.partition_folders().unwrap();
    let log = PartitionFolder::Log {
        topic: "a.b-c".into(),
        partition: 3,
        path: folder.path().join("a.b-c-3"),
    };
    assert_eq!(found.len(), 3);
    assert!(found.contains(&log));
    assert!(found.contains(&PartitionFolder::Deleted(deleted)));
    assert!(found.contains(&PartitionFolder::Stray(stray)));
}

#[test]
fn what_a_move_has_left_of_a_partition_counts_as_its_folder_and_what_was_set_aside_does_not() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "a.b-c-3",
        "copied-0.0123-future",
        "replaced-1.0123-delete",
        "unknown-2.0123-stray",
        "quorum",
    ] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let found = partitions_with_folders(folder.path()).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|(topic, at)| (topic.as_str(), *at))
        .collect();
    assert_eq!(found, [("a.b-c", 3), ("copied", 0), ("replaced", 1)]);
}

#[test]
fn a_checkpoint_that_is_replaced_is_kept_as_it_was_first() {
    let folder = tempfile::tempdir().unwrap();
    let locked = LockedFolder::lock(folder.path()).unwrap();
    let checkpoint = Checkpoint::RecoveryPoint;
    let file = folder.path().join(checkpoint.file_name());
    for (text, end) in [("garbled", 7), ("again", 8)] {
        std::fs::write(&file, text).unwrap();
        let offsets = Offsets::from([(("t".to_owned(), 0), end)]);
        locked.replace_checkpoint(checkpoint, &offsets).unwrap();
        assert_eq!(checkpoint.read(folder.path()).unwrap(), offsets);
    }
    let kept = std::fs::read(file.with_added_extension("damaged")).unwrap();
    assert_eq!(kept, b"garbled");
}

#[test]
fn a_folder_is_a_log_by_its_files_and_not_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let locked = LockedDirectory::lock(folder.path(), 1, None).unwrap();
    let has = |file: &str, is_there: bool| {
        let photos = folder.path().join("photos-2024");
        std::fs::create_dir(&photos).unwrap();
        std::fs::write(photos.join(file), "").unwrap();
        assert_eq!(is_log(&photos).unwrap(), is_there, "{file}");
        assert_eq!(locked.has_log("photos", 2024), is_there, "{file}");
        std::fs::remove_dir_all(photos).unwrap();
    };
    has("00000000000000000007.log", true);
    has("partition.metadata", true);
    has("import.log", false);
    has("beach.jpg", false);
    assert!(!locked.has_log("photos", 2024), "there is no folder");
    std::fs::write(folder.path().join("photos-2024"), "").unwrap();
    assert!(!locked.has_log("photos", 2024), "it is a file");
}

#[test]
fn a_directory_is_bound_to_the_first_claim_that_is_known_and_refuses_another_naming_both() {
    let folder = tempfile::tempdir().unwrap();
    let _held = DataDirectory::open(folder.path(), 1, None).unwrap();
    let mut claim = VolumeClaim::of(folder.path()).unwrap();
    assert_eq!(claim.uid(), None);
    assert!(claim.check("3f-1").is_ok());
    assert!(claim.bind("3f-1").unwrap());
    let mut again = VolumeClaim::of(folder.path()).unwrap();
    assert_eq!(again.uid(), Some("3f-1"));
    assert!(!again.bind("3f-1").unwrap());
    let error = again.bind("3f-2").unwrap_err().to_string();
    for word in ["3f-1", "3f-2", ".milena-volume-claim"] {
        assert!(error.contains(word), "{error}");
    }
    let kept = VolumeClaim::of(folder.path()).unwrap();
    assert_eq!(kept.uid(), Some("3f-1"));
}

#[test]
fn a_damaged_binding_is_named_and_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["", "version=2\nclaim.uid=a\n", "version=1\n"] {
        std::fs::write(folder.path().join(".milena-volume-claim"), text).unwrap();
        let error = VolumeClaim::of(folder.path()).unwrap_err().to_string();
        assert!(error.contains(".milena-volume-claim"), "{error}");
    }
}
