//! How the life before this one ended, as the data directories tell it.
//!
//! | file in each data directory | content |
//! | --- | --- |
//! | `.kafka_cleanshutdown` | Kafka's mark of a clean stop, taken away at the start |
//! | `.milena-boot` | the kernel's boot id and the directory's device, as of this life's start |
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

/// Reads the marks, and leaves this life's. What is new among the directories says nothing of the life before.
pub fn take(dirs: &[DataDir]) -> LastEnd {
    // Each is marked anew, whatever the others say.
    let marks = dirs.iter().map(|dir| (dir, renew(dir.directory.path())));
    let marks: Vec<(&DataDir, bool)> = marks.filter(|(dir, _)| !dir.is_new).collect();
    if marks.is_empty() {
        LastEnd::None
    } else if marks.iter().all(|(dir, _)| dir.known.clean_shutdown) {
        LastEnd::Clean
    } else if marks.iter().all(|(_, survived)| *survived) {
        LastEnd::Killed
    } else {
        LastEnd::Unclean
    }
}

/// Says in the log what an end that was not clean has cost; `took` is how long opening the logs did.
pub fn tell(last_end: LastEnd, partitions: &Partitions, took: Duration) {
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

/// Whether the directory was last used in this boot, from the same device; now it is.
fn renew(dir: &Path) -> bool {
    let Ok(now) = mark(dir) else {
        // Without a boot id nothing is known: an end that was not clean counts as unclean.
        return false;
    };
    let path = dir.join(BOOT_MARK);
    let same = std::fs::read_to_string(&path).is_ok_and(|before| before == now);
    if !same && let Err(error) = std::fs::write(&path, &now) {
        tracing::warn!(%error, file = %path.display(), "the mark of this boot can't be written");
    }
    same
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
    use super::*;

    #[test]
    fn a_directory_used_before_in_this_boot_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!renew(dir.path()), "nobody was here");
        assert!(renew(dir.path()));
        std::fs::write(dir.path().join(BOOT_MARK), "another boot 1\n").unwrap();
        assert!(!renew(dir.path()));
        assert!(renew(dir.path()));
        distrust(dir.path());
        assert!(!renew(dir.path()), "a write had failed");
    }
}
