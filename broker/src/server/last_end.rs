//! How the life before this one ended, as the data directories tell it.
//!
//! | file in each data directory | content |
//! | --- | --- |
//! | `.kafka_cleanshutdown` | Kafka's mark of a clean stop, taken away at the start |
//! | `.milena-boot` | the kernel's boot id and the directory's device, as of the last start that was registered |
//!
//! Where the boot and the device are those of the life before, the page cache that it wrote into is still there: its
//! process was killed, and nothing that it acknowledged is lost (KIP-966 knows only clean and unclean ends).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use milena_metadata::LastEnd;

use crate::partitions::{DataDir, Partitions};

const BOOT_MARK: &str = ".milena-boot";
#[cfg(not(feature = "simulation"))]
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Reads the marks. What is new among the directories says nothing of the life before.
///
/// They stay as they are until [`leave`]: a start that ends before that is followed by one that finds the same.
pub fn take(dirs: &[DataDir]) -> LastEnd {
    let mut old = dirs.iter().filter(|dir| !dir.is_new).peekable();
    if old.peek().is_none() {
        return LastEnd::None;
    }
    let end = if old.clone().all(|dir| dir.known.clean_shutdown) {
        LastEnd::Clean
    } else if old.all(|dir| has_survived(dir.directory.path())) {
        LastEnd::Killed
    } else {
        LastEnd::Unclean
    };
    // All is on disk there, and the mark that said so is taken away.
    for dir in dirs.iter().filter(|dir| dir.known.clean_shutdown) {
        renew(dir.directory.path());
    }
    end
}

/// Leaves this life's marks, once the quorum knows how the life before ended.
pub fn leave(dirs: &[DataDir]) {
    for dir in dirs {
        renew(dir.directory.path());
    }
}

/// Says in the log what an end that was not clean has cost; `took` is how long opening the logs did.
pub fn tell(last_end: LastEnd, partitions: &Partitions, took: Duration) {
    let took = Duration::from_millis(took.as_millis().try_into().unwrap_or(u64::MAX));
    let checked = partitions.recovery();
    let (count, segments) = (partitions.all().len(), checked.segments_scanned);
    let (batches, bytes_cut) = (checked.batches_checked, checked.bytes_cut);
    match last_end {
        LastEnd::Clean => {}
        LastEnd::None => tracing::warn!(
            partitions = count,
            "the data directories are new: what this broker had before is not in them, and is copied from the brokers \
             that have it; a partition that others have, and none of them in sync, waits for an unclean election \
             (kafka-leader-election), and one that nobody else has begins anew"
        ),
        LastEnd::Killed => tracing::info!(
            partitions = count,
            segments_checked = segments,
            batches_checked = batches,
            bytes_cut,
            ?took,
            "the last stop was not clean: the process was killed; the ends of its logs have been checked"
        ),
        LastEnd::Unclean => tracing::warn!(
            partitions = count,
            segments_checked = segments,
            batches_checked = batches,
            bytes_cut,
            ?took,
            "the last stop was not clean, and the machine may have lost what was not on disk; the ends of the logs \
             have been checked"
        ),
    }
}

/// A write has failed there: what the page cache holds is not to be trusted by the next life.
pub fn distrust(dir: &Path) {
    let path = dir.join(BOOT_MARK);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, file = %path.display(), "the mark of this boot can't be removed");
        }
        _ => {}
    }
}

/// Whether the directory was last used in this boot, from the same device.
fn has_survived(dir: &Path) -> bool {
    // Without a boot id nothing is known: an end that was not clean counts as unclean.
    let before = std::fs::read_to_string(dir.join(BOOT_MARK));
    mark(dir).is_ok_and(|now| before.is_ok_and(|before| before == now))
}

fn renew(dir: &Path) {
    let Ok(now) = mark(dir) else { return };
    let path = dir.join(BOOT_MARK);
    // One that holds is not written: who is killed at that would leave a part of it.
    if !has_survived(dir)
        && let Err(error) = std::fs::write(&path, now)
    {
        tracing::warn!(%error, file = %path.display(), "the mark of this boot can't be written");
    }
}

fn mark(dir: &Path) -> io::Result<String> {
    let boot = boot_id()?;
    let device = std::fs::metadata(dir)?.dev();
    Ok(format!("{} {device}\n", boot.trim()))
}

#[cfg(not(feature = "simulation"))]
fn boot_id() -> io::Result<String> {
    std::fs::read_to_string(BOOT_ID)
}

#[cfg(feature = "simulation")]
fn boot_id() -> io::Result<String> {
    Ok(milena_simulation::machine::boot_id())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use milena_log::LockedDirectory;

    use super::*;
    use crate::partition::room::AppendRoom;
    use crate::partitions::open::Known;

    /// A directory that was used before.
    fn used(dir: &Path, was_clean: bool) -> [DataDir; 1] {
        let locked = LockedDirectory::lock(dir, 1, None).unwrap();
        [DataDir {
            directory: locked.claim("c", None).unwrap(),
            is_new: false,
            known: Known::read(dir, was_clean).unwrap(),
            appends: Arc::new(AppendRoom::new(1)),
        }]
    }

    #[test]
    fn a_directory_used_before_in_this_boot_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_survived(dir.path()), "nobody was here");
        leave(&used(dir.path(), false));
        assert!(has_survived(dir.path()));
        distrust(dir.path());
        assert!(!has_survived(dir.path()), "a write had failed");
    }

    #[test]
    fn an_unclean_end_is_found_by_each_start_until_one_has_told_of_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(BOOT_MARK), "another boot 1\n").unwrap();
        for _ in 0..2 {
            assert_eq!(take(&used(dir.path(), false)), LastEnd::Unclean);
        }
        leave(&used(dir.path(), false));
        assert_eq!(take(&used(dir.path(), false)), LastEnd::Killed);
    }

    #[test]
    fn after_a_clean_end_in_another_boot_a_start_that_is_killed_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(BOOT_MARK), "another boot 1\n").unwrap();
        assert_eq!(take(&used(dir.path(), true)), LastEnd::Clean);
        // The mark of the clean stop is gone with the first start.
        assert_eq!(take(&used(dir.path(), false)), LastEnd::Killed);
    }
}
