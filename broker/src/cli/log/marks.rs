//! What a data directory says of its logs: its checkpoints, and the mark of a clean stop. One that says nothing is damage of its
//! own, and nothing is believed in its place.
//!
//! | checkpoint | made anew from the logs |
//! | --- | --- |
//! | `recovery-point-offset-checkpoint` | where each ends, once all they have is on disk |
//! | `log-start-offset-checkpoint` | where each first segment begins |
//! | `replication-offset-checkpoint`, `cleaner-offset-checkpoint` | empty: the replicas tell what is committed, and compaction begins again |

use std::path::{Path, PathBuf};

use milena_log::inspect::{Finding, FindingKind, Hole, Inspection};
use milena_log::{Checkpoint, LogError, Offsets, unopened};
use serde_json::{Value, json};

use super::check::Looked;

/// What a data directory says of its logs.
pub(super) struct Marks {
    pub(super) data: PathBuf,
    is_clean: bool,
    /// Nothing where they can't be read.
    recovery_points: Option<Offsets>,
    high_watermarks: Offsets,
    log_starts: Offsets,
    pub(super) unread: Vec<Unread>,
}

/// A checkpoint that can't be read or understood.
#[derive(Debug, Clone)]
pub(super) struct Unread {
    pub(super) data: PathBuf,
    pub(super) checkpoint: Checkpoint,
    problem: String,
    /// Whether it was read. Otherwise its disk or its rights are to be mended, and it may be whole.
    pub(super) is_garbled: bool,
}

impl Unread {
    fn of(data: &Path, checkpoint: Checkpoint, error: LogError) -> Self {
        let (problem, is_garbled) = match error {
            LogError::Malformed { problem, .. } => (problem, true),
            other => (other.to_string(), false),
        };
        Self {
            data: data.to_path_buf(),
            checkpoint,
            problem,
            is_garbled,
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.data.join(self.checkpoint.file_name())
    }

    /// What is wrong, and what it means for the logs.
    fn in_words(&self) -> String {
        let means = match self.checkpoint {
            Checkpoint::RecoveryPoint => {
                ": what a dying broker was just writing can't be told from damage"
            }
            _ => "",
        };
        format!("{}{means}", self.problem)
    }

    pub(super) fn row(&self) -> [String; 4] {
        let file = self.checkpoint.file_name().to_owned();
        [
            self.data.display().to_string(),
            file,
            String::new(),
            self.in_words(),
        ]
    }

    pub(super) fn shown(&self) -> Value {
        json!({
            "folder": self.data,
            "problems": [{
                "file": self.file(),
                "kind": "checkpoint",
                "problem": self.in_words(),
            }],
        })
    }

    /// The offsets that the logs of the directory tell instead.
    pub(super) fn made_anew(&self, looked: &[Looked]) -> Offsets {
        let offset = |one: &Looked| match self.checkpoint {
            // What was set aside is missed there at the next start, as it should be.
            Checkpoint::RecoveryPoint => Some(one.found.end_offset.max(one.end_offset)),
            Checkpoint::LogStart => Some(one.found.start_offset).filter(|&start| start > 0),
            Checkpoint::HighWatermark | Checkpoint::Cleaner => None,
        };
        let here = looked.iter().filter(|one| one.data == self.data);
        let offsets =
            here.filter_map(|one| Some(((one.topic.clone(), one.partition), offset(one)?)));
        offsets.collect()
    }
}

impl Marks {
    pub(super) fn read(data: &Path) -> Self {
        let mut unread = Vec::new();
        let mut read = |checkpoint: Checkpoint| match checkpoint.read(data) {
            Ok(offsets) => Some(offsets),
            Err(error) => {
                unread.push(Unread::of(data, checkpoint, error));
                None
            }
        };
        let [recovery_points, high_watermarks, log_starts, _] = Checkpoint::ALL.map(&mut read);
        Self {
            data: data.to_path_buf(),
            is_clean: milena_log::is_marked_clean(data),
            recovery_points,
            high_watermarks: high_watermarks.unwrap_or_default(),
            log_starts: log_starts.unwrap_or_default(),
            unread,
        }
    }

    pub(super) fn held_against(
        &self,
        topic: String,
        partition: i32,
        mut found: Inspection,
    ) -> Result<Looked, LogError> {
        let key = (topic, partition);
        let is_clean = unopened::was_closed(&found.folder)?.unwrap_or(self.is_clean);
        let offset = |offsets: &Offsets| offsets.get(&key).copied().unwrap_or(0);
        let recovery_point = self.recovery_points.as_ref().map(offset);
        let end_offset = recovery_point
            .unwrap_or(0)
            .max(offset(&self.high_watermarks));
        let torn = match (is_clean, recovery_point) {
            (false, Some(point)) => take_torn(&mut found, point),
            // A start would cut it, and it may be damage of what was safe.
            _ => None,
        };
        // Where nobody knows up to where the log was safe, all of it counts as that.
        found.hold_noted_damage(match (is_clean, recovery_point) {
            (false, Some(point)) => point,
            _ => i64::MAX,
        });
        let recovery_point = recovery_point.unwrap_or(0);
        if !is_clean {
            found.hold_recovery_point(recovery_point);
        }
        // As a start decides it: without a recovery point nothing is known of the log.
        if recovery_point > 0 {
            found.hold_start(offset(&self.log_starts), is_clean)?;
        }
        if is_clean {
            found.hold_orphans();
        }
        Ok(Looked {
            data: self.data.clone(),
            topic: key.0,
            partition,
            found,
            torn,
            end_offset,
        })
    }
}

/// The end of a log that was being written when its broker died, and what its indexes say of it.
fn take_torn(found: &mut Inspection, recovery_point: i64) -> Option<Hole> {
    let is_torn = |one: &Finding| match one.kind {
        FindingKind::Records(hole) => hole.offset >= recovery_point && hole.next_offset.is_none(),
        _ => false,
    };
    let at = found.findings.iter().position(is_torn)?;
    let FindingKind::Records(hole) = found.findings[at].kind else {
        return None;
    };
    let file = found.findings[at].file.clone();
    // Whatever lies behind it goes with it, and its indexes are made anew.
    found.findings.retain(|one| {
        let is_behind = one.file.file_stem() >= file.file_stem();
        !(is_behind && matches!(one.kind, FindingKind::Records(_) | FindingKind::Index))
    });
    Some(hole)
}
