//! A directory that was given up and is back: where its log is opened, what was written elsewhere since is hidden, and
//! the other way round. Where the metadata says which one counts, the others are set aside when it is opened; where it
//! does not, as it was not told yet, the start is refused.

use milena_metadata::{DirectoryId, Image, Topic};

use crate::config::BrokerConfig;
use crate::partitions::holders::{Ambiguous, choose};
use crate::quorum::Quorum;
use crate::server::StartError;
use crate::server::directories::LockedData;

pub fn check(data: &LockedData, quorum: &Quorum, config: &BrokerConfig) -> Result<(), StartError> {
    let metadata = config.metadata_dir();
    let image = quorum.image();
    let mut ambiguous = Vec::new();
    for (name, number) in data.in_several()? {
        let Some((topic, named)) = hosted(&image, data, &name, number) else {
            continue;
        };
        let holders = data.holders(topic, number, (&metadata, quorum.directory()));
        if let Err(Ambiguous(one, other)) = choose(&holders, named) {
            let path = |place| data.partition_path(place, &name, number);
            ambiguous.push((path(one), path(other), name, number));
        }
    }
    let Some((one, other, topic, partition)) = ambiguous.first() else {
        return Ok(());
    };
    Err(StartError::Ambiguous(format!(
        "{topic}-{partition} has a log in {} and another in {}, as where a directory that was given up is back, and \
         the metadata does not say which one counts: whichever is opened hides what only the other has. Move the one \
         that is not wanted out of its directory, and start again ({} partition(s) in all are so)",
        one.display(),
        other.display(),
        ambiguous.len()
    )))
}

/// A partition of this broker, and the directory that the metadata has for it.
fn hosted<'a>(
    image: &'a Image,
    data: &LockedData,
    topic: &str,
    number: i32,
) -> Option<(&'a Topic, DirectoryId)> {
    let topic = image.topic(topic)?;
    let mut replicas = topic.partition(number)?.replicas.iter();
    let here = replicas.find(|replica| replica.broker == data.node_id())?;
    Some((topic, here.directory))
}
