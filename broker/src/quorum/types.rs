//! The quorum's types: who its members are, and what an entry of its log says.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use milena_metadata::{DirectoryId, Image, Mismatch, Position, Record};
use serde::{Deserialize, Serialize};

/// A member's id: drawn at random with its directory, so that a broker with a new disk is another member.
pub type NodeId = u64;

/// A member, voter or learner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The directory of its metadata.
    pub directory: DirectoryId,
    pub broker: i32,
    /// Where its peers' listener is found; empty for a broker that is alone.
    pub host: String,
    /// That listener's port.
    pub port: u16,
}

/// Nobody; openraft asks for one.
impl Default for Node {
    fn default() -> Self {
        Self {
            directory: DirectoryId::UNASSIGNED,
            broker: -1,
            host: String::new(),
            port: 0,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broker {} at {}:{}", self.broker, self.host, self.port)
    }
}

openraft::declare_raft_types!(
    /// What openraft works with.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = NodeId,
        Node = Node,
        SnapshotData = Bytes,
);

/// The place of an entry.
pub type LogId = openraft::LogId<NodeId>;
/// A vote, or a leader's term.
pub type Vote = openraft::Vote<NodeId>;
pub type Entry = openraft::Entry<TypeConfig>;
/// The members as of one entry.
pub type Membership = openraft::StoredMembership<NodeId, Node>;
/// What a snapshot is of.
pub type SnapshotMeta = openraft::SnapshotMeta<NodeId, Node>;
/// The running member.
pub type Raft = openraft::Raft<TypeConfig>;

/// Records that are applied whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The offset of the image that they were decided on. On any other they are skipped; the records' own
    /// epochs of partitions and brokers are checked besides.
    pub based_on: u64,
    /// Where they stood before: of a store that another software kept. They make an image from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedAt>,
    /// What they say.
    pub records: Arc<Vec<Record>>,
}

/// The position of an imported image: broker epochs have grown with it, and must go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedAt {
    /// See [`Position::epoch`].
    pub epoch: u64,
    /// See [`Position::offset`].
    pub offset: u64,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// It is in the image.
    Done,
    /// It was decided on another image, and nobody has applied it.
    Skipped(String),
}

impl Proposal {
    /// Applies the records to the image, or leaves it as it is.
    pub fn apply(&self, term: u64, image: &mut Image) -> Applied {
        let offset = image.position().offset;
        if offset != self.based_on {
            return Applied::Skipped(format!(
                "it was decided at offset {}, and the metadata is at {offset}",
                self.based_on
            ));
        }
        let applied = match self.imported {
            None => image.apply_entry(term, &self.records),
            Some(at) => self.import(at, image),
        };
        match applied {
            Ok(()) => Applied::Done,
            Err(mismatch) => Applied::Skipped(mismatch.to_string()),
        }
    }

    fn import(&self, at: ImportedAt, image: &mut Image) -> Result<(), Mismatch> {
        let mut imported = image.clone();
        imported.apply_entry(at.epoch, &self.records)?;
        let (epoch, offset) = (at.epoch, at.offset);
        *image = imported.at(Position { epoch, offset });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use milena_metadata::ClusterRecord;
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;

    fn cluster() -> Proposal {
        let cluster_id = "c".into();
        Proposal {
            based_on: 0,
            imported: None,
            records: Arc::new(vec![ClusterRecord { cluster_id }.into()]),
        }
    }

    #[test]
    fn entries_stay_readable_as_they_were_written() {
        let log_id = LogId::new(CommittedLeaderId::new(3, 9), 7);
        let payload = EntryPayload::Normal(cluster());
        let entry = Entry { log_id, payload };
        let written = r#"{"log_id":{"leader_id":{"term":3,"node_id":9},"index":7},"payload":{"Normal":{"based_on":0,"records":[{"type":"cluster","version":1,"cluster_id":"c"}]}}}"#;
        assert_eq!(serde_json::to_string(&entry).unwrap(), written);
        assert_eq!(serde_json::from_str::<Entry>(written).unwrap(), entry);
        let members = r#"{"log_id":{"leader_id":{"term":0,"node_id":0},"index":0},"payload":{"Membership":{"configs":[[9]],"nodes":{"9":{"directory":"AAAAAAAAAAAAAAAAAAAABA","broker":1,"host":"h","port":9091}}}}}"#;
        let entry: Entry = serde_json::from_str(members).unwrap();
        assert_eq!(serde_json::to_string(&entry).unwrap(), members);
    }

    #[test]
    fn an_entry_that_was_decided_on_another_image_is_skipped_whole() {
        let mut image = Image::default();
        assert_eq!(cluster().apply(1, &mut image), Applied::Done);
        let before = image.clone();
        assert!(
            matches!(cluster().apply(1, &mut image), Applied::Skipped(why) if why.contains("offset 0"))
        );
        let again = Proposal {
            based_on: 1,
            ..cluster()
        };
        assert!(
            matches!(again.apply(1, &mut image), Applied::Skipped(why) if why.contains("already"))
        );
        assert_eq!(image, before);
    }
}
