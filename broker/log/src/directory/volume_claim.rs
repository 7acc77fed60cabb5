//! `.milena-volume-claim`: which volume the data directory is on, where that is known. It is not in `meta.properties`,
//! which Kafka's tools write anew without keys that they don't know.
//!
//! | key | value |
//! | --- | --- |
//! | `version` | 1 |
//! | `claim.uid` | the uid of the volume's claim (Kubernetes' PersistentVolumeClaim) |

use std::path::{Path, PathBuf};

use super::{DirectoryError, property};
use crate::error::{LogError, StorageError};
use crate::files::{self, Durability};

const FILE: &str = ".milena-volume-claim";

/// The claim that a data directory is bound to.
#[derive(Debug)]
pub struct VolumeClaim {
    folder: PathBuf,
    uid: Option<String>,
}

impl VolumeClaim {
    /// Of a directory that this process has locked.
    pub fn of(folder: &Path) -> Result<Self, DirectoryError> {
        let path = folder.join(FILE);
        let text = files::read_if_there(&path).map_err(StorageError::of("read", &path))?;
        let uid = text.map(|text| parse(&String::from_utf8_lossy(&text)));
        let uid = uid.transpose();
        Ok(Self {
            folder: folder.to_path_buf(),
            uid: uid.map_err(|problem| LogError::Malformed { path, problem })?,
        })
    }

    /// The uid of the claim, where the directory is bound to one.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// Refuses another claim than the one that the directory is bound to.
    pub fn check(&self, found: &str) -> Result<(), DirectoryError> {
        match &self.uid {
            Some(bound) if bound != found => Err(DirectoryError::Copied {
                path: self.folder.clone(),
                bound: bound.clone(),
                found: found.to_owned(),
                file: self.folder.join(FILE),
            }),
            _ => Ok(()),
        }
    }

    /// Binds the directory to the claim, for ever; refuses where it is bound to another. Whether it was not bound.
    pub fn bind(&mut self, uid: &str) -> Result<bool, DirectoryError> {
        self.check(uid)?;
        if self.uid.is_some() {
            return Ok(false);
        }
        let path = self.folder.join(FILE);
        let text = format!("version=1\nclaim.uid={uid}\n");
        files::replace(&path, text.as_bytes(), Durability::Synced)
            .map_err(StorageError::of("write", &path))?;
        self.uid = Some(uid.to_owned());
        Ok(true)
    }
}

fn parse(text: &str) -> Result<String, String> {
    match property(text, "version")? {
        "1" => Ok(property(text, "claim.uid")?.to_owned()),
        other => Err(format!("its version is {other}, not 1")),
    }
}
