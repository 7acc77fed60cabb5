//! The removal of folders that were set aside because the metadata did not know their partitions, or another log counted.
//! They are kept for a week, for a person to look at them.
//!
//! A folder's age is that of its renaming, by the machine's clock, which may be wrong at a start, or set while the broker runs.
//! So two clocks must have the week over, neither in the first hour of a life: the machine's, and what it showed when this
//! life began with the time since.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use milena_log::PartitionFolder;

use super::Partitions;
use crate::clock::Clock;

const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often they are looked at, and for how long a life removes none: a wrong clock is mostly set right within minutes.
pub const PERIOD: Duration = Duration::from_secs(60 * 60);

/// How the clocks stood when the broker's life began, ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    wall: i64,
    monotonic: i64,
}

impl Begun {
    pub(super) fn now(clock: Clock) -> Self {
        Self {
            wall: clock.now_ms(),
            monotonic: clock.monotonic_ms(),
        }
    }

    /// The earliest time that it may be, by a machine's clock and one that nobody sets.
    fn earliest(self, wall: i64, monotonic: i64) -> i64 {
        let since = monotonic.saturating_sub(self.monotonic);
        wall.min(self.wall.saturating_add(since))
    }

    /// Whether what was changed then has been kept for long enough.
    fn is_over(self, (wall, monotonic): (i64, i64), changed: i64) -> bool {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let is_young = monotonic.saturating_sub(self.monotonic) < ms(PERIOD);
        let age = self.earliest(wall, monotonic).saturating_sub(changed);
        !is_young && age > ms(KEPT)
    }
}

impl Partitions {
    /// Has those of a data directory removed whose time is over.
    pub fn remove_strays(&self, dir: usize) {
        if !self.away.is_empty() {
            // What is set aside may be all that is left of what is there.
            return;
        }
        let folders = match self.dirs[dir].directory.partition_folders() {
            Ok(folders) => folders,
            Err(error) => {
                tracing::error!(%error, "a data directory can't be listed");
                return;
            }
        };
        let clocks = (self.clock.now_ms(), self.clock.monotonic_ms());
        for folder in folders {
            if let PartitionFolder::Stray(path) = folder
                && changed_ms(&path).is_some_and(|changed| self.begun.is_over(clocks, changed))
            {
                self.trash.lock().put(path, clocks.1);
            }
        }
    }
}

/// When a folder was last changed, be it by its renaming: the time of the last write would be that of the partition's last
/// roll, long before it was set aside.
fn changed_ms(path: &Path) -> Option<i64> {
    let changed_s = std::fs::metadata(path).ok()?.ctime();
    Some(changed_s.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * 60 * 1_000;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn a_folder_is_kept_for_a_week_whatever_is_done_to_the_clock() {
        let begun = Begun {
            wall: 100 * DAY,
            monotonic: 5,
        };
        let is_over = |age_at_start: i64, lived: i64, set_forward: i64| {
            let wall = begun.wall + lived + set_forward;
            let clocks = (wall, begun.monotonic + lived);
            begun.is_over(clocks, begun.wall - age_at_start)
        };
        assert!(!is_over(6 * DAY, 2 * HOUR, 0));
        assert!(is_over(6 * DAY, DAY + HOUR, 0));
        assert!(is_over(8 * DAY, 2 * HOUR, 0));
        // The clock was set forward in this life ...
        assert!(!is_over(0, 2 * HOUR, 8 * DAY));
        // ... or was wrong when it began, and is set right by now ...
        assert!(!is_over(8 * DAY, 2 * HOUR, -8 * DAY));
        // ... or is to be.
        assert!(!is_over(8 * DAY, HOUR / 2, 0));
    }
}
