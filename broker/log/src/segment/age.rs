//! How old a segment is: by its records' times, or by its file's where they have none.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{NO_TIMESTAMP, Segment};
use crate::error::StorageError;

impl Segment {
    /// Its youngest record's time, or its file's last change where records have none, ms. The first time it may have to
    /// read the segment.
    pub fn youngest_ms(&self) -> Result<i64, StorageError> {
        match self.youngest()?.timestamp {
            NO_TIMESTAMP => {
                let since = self.modified()?.duration_since(UNIX_EPOCH);
                Ok(i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX))
            }
            timestamp => Ok(timestamp),
        }
    }

    fn modified(&self) -> Result<SystemTime, StorageError> {
        let path = self.path("log");
        let modified = std::fs::metadata(&path).and_then(|file| file.modified());
        modified.map_err(StorageError::of("read", &path))
    }

    /// Makes a file that is written from this one's batches as old as it: a copy must not make records younger. A file
    /// system that keeps no such time costs no more than that.
    pub fn keep_time(&self, copy: &Path) {
        if let Ok(modified) = self.modified() {
            let file = std::fs::File::options().write(true).open(copy);
            let _ = file.and_then(|file| file.set_modified(modified));
        }
    }
}
