//! Which topics have changed of late, by the offset of the metadata.
//!
//! What changed is found by comparing two images, which skips unseen what both share: the cost is that of the change.
//! Only topics' names are kept, so that no old image is held for those who follow late.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use milena_metadata::{Change, Image, ResourceKind, Topic, TopicId, TopicName};

use super::replication_factor;

/// Changes that are remembered. Who lacks more is told of all topics: that is no more work by then.
const CHANGES_MAX: usize = 10_000;

/// The last changes, up to an image.
pub struct Window {
    image: Arc<Image>,
    /// All changes after this offset are here.
    since: u64,
    /// In the order of their offsets.
    changed: VecDeque<Changed>,
}

/// A topic that was made, changed or deleted by the offset.
struct Changed {
    offset: u64,
    name: TopicName,
    id: TopicId,
}

/// What there is after an offset.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    None,
    /// These topics have changed, some of which may be gone.
    Changed(BTreeSet<(TopicName, TopicId)>),
    /// That is too long ago.
    Unknown,
    /// The image has not come so far yet.
    Ahead,
}

impl Window {
    /// Remembers what changes after an image.
    pub fn from(image: Arc<Image>) -> Self {
        let since = image.position().offset;
        let changed = VecDeque::new();
        Self {
            image,
            since,
            changed,
        }
    }

    /// The newest image that was followed.
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Remembers what is other in an image; one that is older than another that was followed says nothing new.
    pub fn follow(&mut self, image: Arc<Image>) {
        let offset = image.position().offset;
        if offset <= self.image.position().offset {
            return;
        }
        let before = std::mem::replace(&mut self.image, image);
        let image = self.image.clone();
        let topics = image.changed_topics(&before).filter_map(|change| {
            let topic = change.after().or(change.before())?;
            is_news(&change).then_some(topic)
        });
        let configured = image
            .changed_configs(&before)
            .filter(|(kind, _, _)| *kind == ResourceKind::Topic)
            .filter_map(|(_, name, _)| image.topic(name));
        for topic in topics.chain(configured) {
            self.changed.push_back(Changed {
                offset,
                name: topic.name.clone(),
                id: topic.id,
            });
        }
        while self.changed.len() > CHANGES_MAX {
            let oldest = self.changed.pop_front();
            self.since = oldest.map_or(self.since, |oldest| oldest.offset);
        }
    }

    /// What has changed after an offset.
    pub fn after(&self, since: u64) -> News {
        if since < self.since {
            return News::Unknown;
        }
        if since > self.image.position().offset {
            return News::Ahead;
        }
        let known = self.changed.partition_point(|one| one.offset <= since);
        let news: BTreeSet<_> = self
            .changed
            .range(known..)
            .map(|one| (one.name.clone(), one.id))
            .collect();
        match news.is_empty() {
            true => News::None,
            false => News::Changed(news),
        }
    }
}

/// Whether what is shown of a topic itself is other than before.
fn is_news(change: &Change<'_, Arc<Topic>>) -> bool {
    let asked = |topic: &Arc<Topic>| (topic.partition_count(), replication_factor(topic));
    change.before().map(asked) != change.after().map(asked)
}

#[cfg(test)]
mod tests;
