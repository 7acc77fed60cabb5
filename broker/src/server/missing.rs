//! What this broker had, and what is not there at its start: a directory of `log.dirs`, or the metadata of a broker
//! alone. An empty log in the place of one that is only away hides its records, and what is written then is in the way
//! when the disk is back. So
//!
//! - what other brokers have as well is copied from them, as on a new disk;
//! - where nobody else has it, the start is refused until the disk is back, or `log.dirs.lost` says that it never will be.
//!
//! Where the broker has other disks than it had, what nobody else has begins anew. They are others if the metadata
//! knows none of the directories, none of them has a log, and the metadata itself is in one of them or new at this
//! start: if the logs alone were away, it would be there. So it is too after a start that ended before it registered.
//!
//! A directory that is there and can't be used (`unusable.rs`) is none of those: its partitions are offline, and begin anew
//! nowhere.
//!
//! A directory that is back after it was given up is looked at in `missing/back.rs`.

mod back;

use std::collections::BTreeSet;
use std::path::Path;

use milena_metadata::{
    BrokerId, DirectoryId, Image, LastEnd, Partition as State, PartitionId, Replica, TopicName,
};
use milena_protocol::Uuid;

use super::StartError;
use super::directories::LockedData;
use crate::config::BrokerConfig;
use crate::partitions::away::Away;
use crate::quorum::Quorum;

/// Directories that are missing, and what that means.
#[derive(Debug, Default)]
pub struct Missing {
    ids: BTreeSet<DirectoryId>,
    /// Directories that are there and can't be used. They are no reason to begin anything anew.
    pub away: Vec<Away>,
    /// Partitions that nobody else has, and that may be there: in a directory that is not said to be lost.
    only_there: Vec<(TopicName, PartitionId)>,
    /// Whether a replica that counts as in sync may be there without the quorum knowing it.
    is_trusted: bool,
    /// Whether the broker has other disks than it had: nothing that the metadata says of the ones before holds.
    has_other_disks: bool,
}

impl Missing {
    /// Finds them before anything is written to the directories, and refuses the start that would hide records.
    /// `was_begun` says whether the quorum's store was there before this start.
    pub fn check(
        data: &LockedData,
        quorum: &Quorum,
        was_begun: bool,
        config: &BrokerConfig,
    ) -> Result<Self, StartError> {
        back::check(data, quorum, config)?;
        let (image, metadata) = (quorum.image(), config.metadata_dir());
        let mut directories = data.ids(&metadata, quorum.directory());
        let (known, lost) = (known(&image, data.node_id()), lost(config));
        let gone: BTreeSet<DirectoryId> = known.difference(&directories).copied().collect();
        let away = data.away(&gone.difference(&lost).copied().collect());
        directories.extend(away.iter().flat_map(|one| &one.ids));
        if known.is_subset(&directories) {
            return Ok(Self {
                away,
                ..Self::default()
            });
        }
        let used = image.broker(data.node_id());
        let used = used.map_or(&[][..], |life| &life.directories);
        let present = Present {
            broker: data.node_id(),
            directories,
            has_logs: data.has_unusable() || data.with_logs()?.is_some(),
            has_metadata_elsewhere: was_begun && !data.contains(&metadata),
            has_log: |topic: &TopicName, partition: PartitionId| {
                let (topic, partition) = (topic.as_str(), partition.get());
                let is_away = away.iter().any(|one| one.has_folder(topic, partition));
                is_away || data.has_log(topic, partition, used)
            },
        };
        let missing = find(&image, &present, &lost);
        if !missing.only_there.is_empty() {
            return Err(StartError::Missing(missing.refusal(data)));
        }
        if !missing.ids.is_empty() {
            tracing::warn!(
                directories = missing.listed(),
                "data directories that this broker had are not there: what was in them is copied from the brokers that \
                 have it, and what log.dirs.lost gives up begins anew"
            );
        }
        Ok(Self { away, ..missing })
    }

    /// The ids of the directories that are away: the broker still has them, and so knows them at its next start.
    pub fn away_ids(&self) -> BTreeSet<DirectoryId> {
        let ids = self.away.iter().flat_map(|one| &one.ids);
        ids.copied().collect()
    }

    /// How the last life ended, by the marks in the directories: on other disks a start that was not finished may have
    /// left some.
    pub fn end(&self, marked: LastEnd) -> LastEnd {
        match self.has_other_disks {
            true => LastEnd::None,
            false => marked,
        }
    }

    /// How the quorum is told of that end: it knows by itself of replicas that it has in a missing directory, and of
    /// others it must hear.
    pub fn end_to_tell(&self, last_end: LastEnd) -> LastEnd {
        match last_end {
            LastEnd::None => LastEnd::None,
            _ if self.is_trusted => LastEnd::Unclean,
            _ => last_end,
        }
    }

    fn listed(&self) -> String {
        let ids: Vec<String> = self.ids.iter().map(DirectoryId::to_string).collect();
        ids.join(",")
    }

    fn refusal(&self, data: &LockedData) -> String {
        let (ids, count) = (self.listed(), self.only_there.len());
        let (topic, partition) = &self.only_there[0];
        let others: Vec<_> = data
            .without_identity()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let instead = match others.is_empty() {
            true => String::new(),
            false => format!(" (without meta.properties: {})", others.join(", ")),
        };
        format!(
            "no directory of log.dirs has the directory.id {ids}, which this broker had{instead}: {count} partition(s) \
             that no other broker has may be there, {topic}-{partition} first, and would begin anew, empty. Put the \
             disk back, or its path into log.dirs. If it is gone for good, start with log.dirs.lost={ids} to go on \
             without what was on it"
        )
    }
}

/// Refuses to begin with empty metadata, in a `store` that no life has begun, where there are logs: their topics would be unknown, and new ones
/// of their names would set them aside.
pub fn check_metadata(
    store: &Path,
    data: &LockedData,
    config: &BrokerConfig,
) -> Result<(), StartError> {
    if config.is_in_a_cluster() {
        return Ok(());
    }
    match data.with_logs()? {
        None => Ok(()),
        Some(logs) => Err(StartError::Missing(format!(
            "there is no metadata in {}, and {} has logs of partitions, whose topics only the metadata knows. Put the \
             disk with the metadata back, or its path first into log.dirs, or into metadata.log.dir. If it is gone for \
             good, keep the logs elsewhere and start with empty directories",
            store.display(),
            logs.display()
        ))),
    }
}

/// The directories that `log.dirs.lost` gives up.
fn lost(config: &BrokerConfig) -> BTreeSet<DirectoryId> {
    let ids = config.log_dirs_lost.iter().filter_map(|id| Uuid::parse(id));
    ids.map(DirectoryId).collect()
}

/// What a broker starts with.
struct Present<F> {
    broker: BrokerId,
    directories: BTreeSet<DirectoryId>,
    /// Whether a log of any partition is in one of them.
    has_logs: bool,
    /// Whether the metadata is in none of them, and was there before.
    has_metadata_elsewhere: bool,
    /// Whether a partition's log is in one of them, and is not older than one that is elsewhere.
    has_log: F,
}

/// The replicas that a broker has, with the partitions' names and states.
fn hosted(
    image: &Image,
    broker: BrokerId,
) -> impl Iterator<Item = (&TopicName, PartitionId, &State, &Replica)> {
    image.topics().flat_map(move |topic| {
        topic.partitions().filter_map(move |(number, state)| {
            let mut replicas = state.replicas.iter();
            let replica = replicas.find(|replica| replica.broker == broker)?;
            Some((&topic.name, number, &**state, replica))
        })
    })
}

/// The directories that the metadata knows of a broker: of its last life, and of its replicas.
fn known(image: &Image, broker: BrokerId) -> BTreeSet<DirectoryId> {
    let registered = image.broker(broker).into_iter();
    let registered = registered.flat_map(|life| life.directories.iter().copied());
    let assigned = hosted(image, broker).map(|(_, _, _, replica)| replica.directory);
    let none = [DirectoryId::UNASSIGNED, DirectoryId::LOST];
    let known = registered.chain(assigned);
    known.filter(|id| !none.contains(id)).collect()
}

fn find(
    image: &Image,
    present: &Present<impl Fn(&TopicName, PartitionId) -> bool>,
    lost: &BTreeSet<DirectoryId>,
) -> Missing {
    let me = present.broker;
    let known = known(image, me);
    let ids: BTreeSet<DirectoryId> = known.difference(&present.directories).copied().collect();
    if ids.is_empty() {
        return Missing::default();
    }
    if ids.len() == known.len() && !present.has_logs && !present.has_metadata_elsewhere {
        return Missing {
            has_other_disks: true,
            ..Missing::default()
        };
    }
    let mut missing = Missing {
        ids,
        ..Missing::default()
    };
    let is_unexplained = !missing.ids.is_subset(lost);
    for (topic, number, state, replica) in hosted(image, me) {
        if !counts(state, replica, &missing.ids) || (present.has_log)(topic, number) {
            continue;
        }
        let others_have_it = state.isr.iter().chain(&state.elr).any(|id| *id != me);
        if others_have_it {
            missing.is_trusted = true;
            continue;
        }
        let may_be_back = match replica.directory {
            DirectoryId::UNASSIGNED => is_unexplained,
            directory => !lost.contains(&directory),
        };
        if may_be_back {
            missing.only_there.push((topic.clone(), number));
        }
    }
    missing
}

/// Whether a replica may be in a missing directory, and the quorum would have it lead or be in sync all the same. Of a
/// replica beside others it would not, where it knows the directory.
fn counts(state: &State, replica: &Replica, missing: &BTreeSet<DirectoryId>) -> bool {
    let me = replica.broker;
    match replica.directory {
        DirectoryId::UNASSIGNED => {
            let members = state.isr.iter().chain(&state.elr);
            let mut trusted = members.chain(&state.leader).chain(&state.last_leader);
            trusted.any(|id| *id == me)
        }
        directory => state.replicas.len() == 1 && missing.contains(&directory),
    }
}

#[cfg(test)]
mod tests;
