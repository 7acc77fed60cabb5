//! A snapshot on its way here, part by part.

use bytes::BytesMut;

use super::types::NodeId;
use crate::peer::SnapshotPart;

/// More than the metadata of a million partitions: what goes on beyond is no snapshot.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;

/// The parts so far.
pub(super) struct Receiving {
    from: NodeId,
    id: String,
    bytes: BytesMut,
}

impl Receiving {
    /// Takes the next part; the whole bytes with the last one.
    pub(super) fn take(
        slot: &mut Option<Self>,
        from: NodeId,
        part: &SnapshotPart,
    ) -> Result<Option<bytes::Bytes>, String> {
        let id = &part.meta.snapshot_id;
        if part.offset == 0 {
            *slot = Some(Self {
                from,
                id: id.clone(),
                bytes: BytesMut::new(),
            });
        }
        let Some(receiving) = slot.as_mut().filter(|open| {
            open.from == from && open.id == *id && open.bytes.len() as u64 == part.offset
        }) else {
            return Err(format!("a part of snapshot {id} is not the next one"));
        };
        if part.offset + part.bytes.len() as u64 > SNAPSHOT_BYTES_MAX {
            *slot = None;
            return Err(format!("snapshot {id} is above {SNAPSHOT_BYTES_MAX} bytes"));
        }
        receiving.bytes.extend_from_slice(&part.bytes);
        if !part.last {
            return Ok(None);
        }
        Ok(slot.take().map(|whole| whole.bytes.freeze()))
    }
}
