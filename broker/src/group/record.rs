//! The records of `__consumer_offsets`, in Kafka's own formats: a key and a value, each led by a version.
//!
//! | key version | key | value | versions read | written |
//! | --- | --- | --- | --- | --- |
//! | 0, 1 | group, topic, partition | [`CommittedOffset`] | 0-4 | key 1, value 4; 1 with an expiry |
//! | 2 | group | [`GroupMetadata`] | 0-4 | key 2, value 3 |
//!
//! | offset value | fields |
//! | --- | --- |
//! | 0 | offset, metadata, commit timestamp |
//! | 1 | and expire timestamp |
//! | 2 | as 0 |
//! | 3 | leader epoch behind the offset |
//! | 4 | flexible; topic id as tag 0 (KIP-848, from Kafka 4.1) |
//!
//! | group value | fields |
//! | --- | --- |
//! | 0 | protocol type, generation, protocol, leader, members without rebalance timeout |
//! | 1 | rebalance timeout |
//! | 2 | the state's timestamp |
//! | 3 | instance ids |
//! | 4 | flexible |
//!
//! Other key versions belong to group kinds that this broker does not run; they are kept and not read.

use bytes::Bytes;
use milena_protocol::{DecodeError, Reader, Str, Uuid, Wire, Writer};

const OFFSET_KEY_VERSION: i16 = 1;
const GROUP_KEY_VERSION: i16 = 2;
const OFFSET_VALUE_VERSION: i16 = 4;
const OFFSET_VALUE_VERSION_WITH_EXPIRY: i16 = 1;
const GROUP_VALUE_VERSION: i16 = 3;
const FLEXIBLE_FROM: i16 = 4;
const VALUE_VERSIONS: std::ops::RangeInclusive<i16> = 0..=4;
const TOPIC_ID_TAG: u32 = 0;
/// What a frame puts before a message, and a record does not.
const FRAME_LENGTH_SIZE: usize = 4;

/// A record to be appended: its key, and its value or a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    /// The value's bytes; `None` deletes what the key named.
    pub value: Option<Bytes>,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A group's offset of one partition.
    Offset {
        group: String,
        topic: String,
        partition: i32,
    },
    /// A group's members.
    Group(String),
    /// A key version that this broker does not know.
    Unknown(i16),
}

/// A committed offset, as kept and as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record to consume.
    pub offset: i64,
    /// The leader epoch of the last consumed record, or -1.
    pub leader_epoch: i32,
    /// The client's own text.
    pub metadata: String,
    /// When it was committed, ms since 1970.
    pub commit_timestamp_ms: i64,
    /// When it expires, ms since 1970, if the commit said so (OffsetCommit 2-4).
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id when it was committed; zero where unknown.
    pub topic_id: Uuid,
}

/// A group of the classic protocol, as recorded when its generation is settled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupMetadata {
    /// Such as `consumer`; empty for a group that only stores offsets.
    pub protocol_type: String,
    pub generation: i32,
    /// The chosen assignor.
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// Since when the group is in its state, ms since 1970; -1 in old records.
    pub state_timestamp_ms: i64,
    pub members: Vec<MemberMetadata>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of Kafka's GroupMetadataValue
pub struct MemberMetadata {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

/// The record of an offset, or with `None` its tombstone.
pub fn offset_record(
    group: &str,
    topic: &str,
    partition: i32,
    value: Option<&CommittedOffset>,
) -> Record {
    let mut w = versioned(OFFSET_KEY_VERSION);
    Str::from(group).write(&mut w);
    Str::from(topic).write(&mut w);
    partition.write(&mut w);
    Record {
        key: finish(w),
        value: value.map(offset_value),
    }
}

/// The record of a group, or with `None` its tombstone.
pub fn group_record(group: &str, value: Option<&GroupMetadata>) -> Record {
    let mut w = versioned(GROUP_KEY_VERSION);
    Str::from(group).write(&mut w);
    Record {
        key: finish(w),
        value: value.map(group_value),
    }
}

pub fn read_key(key: &Bytes) -> Result<Key, DecodeError> {
    let mut r = Reader::new(key.clone(), 0, false);
    match field(&mut r, "key.version")? {
        0 | OFFSET_KEY_VERSION => Ok(Key::Offset {
            group: text(&mut r, "OffsetCommitKey.group")?,
            topic: text(&mut r, "OffsetCommitKey.topic")?,
            partition: field(&mut r, "OffsetCommitKey.partition")?,
        }),
        GROUP_KEY_VERSION => Ok(Key::Group(text(&mut r, "GroupMetadataKey.group")?)),
        unknown => Ok(Key::Unknown(unknown)),
    }
}

/// Reads an offset record's value; `None` for a version of a later Kafka.
pub fn read_offset(value: &Bytes) -> Result<Option<CommittedOffset>, DecodeError> {
    let Some((mut r, version)) = open_value(value)? else {
        return Ok(None);
    };
    let r = &mut r;
    let offset = field(r, "OffsetCommitValue.offset")?;
    let leader_epoch = match version {
        3.. => field(r, "OffsetCommitValue.leaderEpoch")?,
        _ => -1,
    };
    let metadata = text(r, "OffsetCommitValue.metadata")?;
    let commit_timestamp_ms = field(r, "OffsetCommitValue.commitTimestamp")?;
    let expiry: i64 = match version {
        1 => field(r, "OffsetCommitValue.expireTimestamp")?,
        _ => -1,
    };
    let mut topic_id = Uuid::ZERO;
    if version >= FLEXIBLE_FROM {
        read_tags(r, |tag, content| {
            if tag == TOPIC_ID_TAG {
                topic_id = Uuid::read(content)?;
            }
            Ok(())
        })?;
    }
    Ok(Some(CommittedOffset {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp_ms,
        expire_timestamp_ms: (expiry != -1).then_some(expiry),
        topic_id,
    }))
}

/// Reads a group record's value; `None` for a version of a later Kafka.
pub fn read_group(value: &Bytes) -> Result<Option<GroupMetadata>, DecodeError> {
    let Some((mut r, version)) = open_value(value)? else {
        return Ok(None);
    };
    let r = &mut r;
    let metadata = GroupMetadata {
        protocol_type: text(r, "GroupMetadataValue.protocolType")?,
        generation: field(r, "GroupMetadataValue.generation")?,
        protocol: nullable_text(r, "GroupMetadataValue.protocol")?,
        leader: nullable_text(r, "GroupMetadataValue.leader")?,
        state_timestamp_ms: match version {
            2.. => field(r, "GroupMetadataValue.currentStateTimestamp")?,
            _ => -1,
        },
        members: field(r, "GroupMetadataValue.members")?,
    };
    if version >= FLEXIBLE_FROM {
        read_tags(r, |_, _| Ok(()))?;
    }
    Ok(Some(metadata))
}

fn offset_value(value: &CommittedOffset) -> Bytes {
    // A version with both an expiry and a leader epoch does not exist; Kafka drops the epoch too.
    let version = match value.expire_timestamp_ms {
        Some(_) => OFFSET_VALUE_VERSION_WITH_EXPIRY,
        None => OFFSET_VALUE_VERSION,
    };
    let mut w = versioned(version);
    value.offset.write(&mut w);
    if version >= 3 {
        value.leader_epoch.write(&mut w);
    }
    Str::from(&value.metadata).write(&mut w);
    value.commit_timestamp_ms.write(&mut w);
    if let Some(expiry) = value.expire_timestamp_ms {
        expiry.write(&mut w);
    }
    if version >= FLEXIBLE_FROM {
        let tags = u32::from(!value.topic_id.is_zero());
        w.uvarint(tags);
        if tags > 0 {
            w.uvarint(TOPIC_ID_TAG);
            w.uvarint(size_of::<Uuid>() as u32);
            value.topic_id.write(&mut w);
        }
    }
    finish(w)
}

fn group_value(value: &GroupMetadata) -> Bytes {
    let mut w = versioned(GROUP_VALUE_VERSION);
    Str::from(&value.protocol_type).write(&mut w);
    value.generation.write(&mut w);
    value.protocol.as_ref().map(Str::from).write(&mut w);
    value.leader.as_ref().map(Str::from).write(&mut w);
    value.state_timestamp_ms.write(&mut w);
    value.members.write(&mut w);
    finish(w)
}

impl Wire for MemberMetadata {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let version = r.version();
        let member_id = text(r, "MemberMetadata.memberId")?;
        let instance_id = match version {
            3.. => nullable_text(r, "MemberMetadata.groupInstanceId")?,
            _ => None,
        };
        let client_id = text(r, "MemberMetadata.clientId")?;
        let client_host = text(r, "MemberMetadata.clientHost")?;
        let rebalance_timeout_ms = match version {
            1.. => field(r, "MemberMetadata.rebalanceTimeout")?,
            _ => -1,
        };
        let session_timeout_ms = field(r, "MemberMetadata.sessionTimeout")?;
        let member = Self {
            member_id,
            instance_id,
            client_id,
            client_host,
            // Before there was a rebalance timeout the session's served for both.
            rebalance_timeout_ms: match rebalance_timeout_ms {
                -1 => session_timeout_ms,
                timeout_ms => timeout_ms,
            },
            session_timeout_ms,
            subscription: bytes(r, "MemberMetadata.subscription")?,
            assignment: bytes(r, "MemberMetadata.assignment")?,
        };
        if version >= FLEXIBLE_FROM {
            read_tags(r, |_, _| Ok(()))?;
        }
        Ok(member)
    }

    fn write(&self, w: &mut Writer) {
        Str::from(&self.member_id).write(w);
        self.instance_id.as_ref().map(Str::from).write(w);
        Str::from(&self.client_id).write(w);
        Str::from(&self.client_host).write(w);
        self.rebalance_timeout_ms.write(w);
        self.session_timeout_ms.write(w);
        self.subscription.write(w);
        self.assignment.write(w);
    }
}

fn versioned(version: i16) -> Writer {
    let mut w = Writer::new(version, version >= FLEXIBLE_FROM);
    version.write(&mut w);
    w
}

fn finish(w: Writer) -> Bytes {
    w.into_frame().to_vec().split_off(FRAME_LENGTH_SIZE).into()
}

/// Reads a value's version; `None` where it is none that this broker knows.
fn open_value(value: &Bytes) -> Result<Option<(Reader, i16)>, DecodeError> {
    let mut r = Reader::new(value.clone(), 0, false);
    let version = field(&mut r, "value.version")?;
    r.set_version(version, version >= FLEXIBLE_FROM);
    Ok(VALUE_VERSIONS.contains(&version).then_some((r, version)))
}

fn read_tags(
    r: &mut Reader,
    mut each: impl FnMut(u32, &mut Reader) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut read = || {
        for _ in 0..r.uvarint()? {
            let tag = r.uvarint()?;
            let len = r.uvarint()? as usize;
            let content = r.take(len)?;
            each(tag, &mut Reader::new(content, r.version(), true))?;
        }
        Ok(())
    };
    read().map_err(|e: DecodeError| e.within("value tags"))
}

fn field<T: Wire>(r: &mut Reader, name: &'static str) -> Result<T, DecodeError> {
    T::read(r).map_err(|e| e.within(name))
}

fn text(r: &mut Reader, name: &'static str) -> Result<String, DecodeError> {
    field(r, name).map(|text: Str| text.as_str().to_owned())
}

fn nullable_text(r: &mut Reader, name: &'static str) -> Result<Option<String>, DecodeError> {
    field(r, name).map(|text: Option<Str>| text.map(|text| text.as_str().to_owned()))
}

/// Copied: the record's batch need not live as long as the member.
fn bytes(r: &mut Reader, name: &'static str) -> Result<Bytes, DecodeError> {
    field(r, name).map(|bytes: Bytes| Bytes::copy_from_slice(&bytes))
}

#[cfg(test)]
mod tests;
