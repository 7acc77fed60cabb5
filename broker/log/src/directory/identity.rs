//! `meta.properties`: whose data directory it is.
//!
//! | key | value |
//! | --- | --- |
//! | `version` | 1 |
//! | `cluster.id` | the cluster's id |
//! | `node.id` | the broker's |
//! | `directory.id` | this directory's own |

use std::path::Path;

use milena_protocol::Uuid;

use super::{DirectoryError, property};
use crate::error::{LogError, StorageError};
use crate::files::{self, Durability};

const FILE: &str = "meta.properties";

/// Whose a data directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: String,
    /// The node's id.
    pub node_id: i32,
    /// The directory's own id.
    pub directory_id: Uuid,
}

/// Whose a directory is; `None` where it is nobody's. Refuses another's.
pub fn identity_of(
    folder: &Path,
    node_id: i32,
    cluster_id: Option<&str>,
) -> Result<Option<Identity>, DirectoryError> {
    let path = folder.join(FILE);
    let text = files::read_if_there(&path).map_err(StorageError::of("read", &path))?;
    let Some(text) = text else {
        return Ok(None);
    };
    let found = parse(&String::from_utf8_lossy(&text)).map_err(|problem| LogError::Malformed {
        path: path.clone(),
        problem,
    })?;
    let foreign = |what, found: &str, expected: &str| DirectoryError::Foreign {
        path: folder.to_path_buf(),
        what,
        found: found.to_owned(),
        expected: expected.to_owned(),
    };
    if let Some(expected) = cluster_id
        && found.cluster_id != expected
    {
        return Err(foreign("cluster", &found.cluster_id, expected));
    }
    if found.node_id != node_id {
        return Err(foreign(
            "node",
            &found.node_id.to_string(),
            &node_id.to_string(),
        ));
    }
    Ok(Some(found))
}

/// Makes a directory this node's.
pub(super) fn write(
    folder: &Path,
    node_id: i32,
    cluster_id: &str,
    directory_id: Uuid,
) -> Result<Identity, DirectoryError> {
    let path = folder.join(FILE);
    let identity = Identity {
        cluster_id: cluster_id.to_owned(),
        node_id,
        directory_id,
    };
    let text = format!(
        "version=1\ncluster.id={}\nnode.id={node_id}\ndirectory.id={}\n",
        identity.cluster_id, identity.directory_id
    );
    files::replace(&path, text.as_bytes(), Durability::Synced)
        .map_err(StorageError::of("write", &path))?;
    Ok(identity)
}

fn parse(text: &str) -> Result<Identity, String> {
    let value = |key| property(text, key);
    if value("version")? != "1" {
        return Err(format!("its version is {}, not 1", value("version")?));
    }
    let node_id = value("node.id")?;
    let directory_id = value("directory.id")?;
    Ok(Identity {
        cluster_id: value("cluster.id")?.to_owned(),
        node_id: node_id
            .parse()
            .map_err(|_| format!("node.id {node_id} is no number"))?,
        directory_id: Uuid::parse(directory_id)
            .ok_or(format!("directory.id {directory_id} is no id"))?,
    })
}
