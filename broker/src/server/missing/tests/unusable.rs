//! A directory that is there and can't be used.

use milena_log::Checkpoint;

use super::*;

fn garble(dir: &Path) -> PathBuf {
    let file = dir.join(Checkpoint::RecoveryPoint.file_name());
    std::fs::write(&file, "0\n9\nt 0").unwrap();
    file
}

/// Two directories, the metadata in the first, and a life in them.
fn lived_in(folder: &Path) -> [PathBuf; 2] {
    let dirs = ["first", "second"].map(|name| folder.join(name));
    live_and_write(&[&dirs[0], &dirs[1]], &[]);
    dirs
}

#[test]
fn a_first_start_needs_all_its_directories() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    std::fs::create_dir(&second).unwrap();
    let file = garble(&second);
    let refused = ends(&[&first, &second], &[]).unwrap_err();
    assert!(refused.contains(&*file.to_string_lossy()), "{refused}");
}

#[test]
fn the_directory_with_the_metadata_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = lived_in(folder.path());
    let file = garble(&first);
    let refused = ends(&[&first, &second], &[]).unwrap_err();
    assert!(refused.contains(&*file.to_string_lossy()), "{refused}");
}

#[test]
fn what_is_in_a_directory_that_is_given_up_begins_anew_though_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = lived_in(folder.path());
    let id = id_of(&second);
    garble(&second);
    let anew = ends(&[&first, &second], &lost(&id)).unwrap();
    assert!(anew.contains(&0) && anew.contains(&1), "{anew:?}");
}

#[test]
fn what_a_move_may_have_left_is_kept_while_a_directory_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = lived_in(folder.path());
    let file = Checkpoint::RecoveryPoint.file_name();
    let whole = std::fs::read(second.join(file)).unwrap();
    let left = ["delete", "future"].map(|end| first.join(format!("t-0.0123-{end}")));
    left.iter()
        .for_each(|path| std::fs::create_dir(path).unwrap());
    for is_away in [true, false] {
        match is_away {
            true => drop(garble(&second)),
            false => std::fs::write(second.join(file), &whole).unwrap(),
        }
        Runtime::new().unwrap().block_on(async {
            let broker = start(&[&first, &second], &[]).await.unwrap();
            let partitions = broker.partitions().clone();
            let sweeping = move || {
                partitions.sweep();
                let swept = partitions.trash.lock().len();
                partitions.empty_trash();
                swept
            };
            let swept = crate::blocking::spawn(sweeping).await.unwrap();
            if is_away {
                assert_eq!(swept, 0);
                assert!(left.iter().all(|path| path.exists()));
                return;
            }
            let deadline = Instant::now() + Duration::from_secs(60);
            while left.iter().any(|path| path.exists()) {
                assert!(Instant::now() < deadline, "they stay for ever");
                std::thread::yield_now();
            }
        });
    }
}
