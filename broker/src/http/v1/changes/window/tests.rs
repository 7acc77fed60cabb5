//! What is remembered, on images that decisions have made.

use milena_metadata::{
    ChangeBroker, Command, ConfigChange, ConfigOperation, ConfigResource, CreatePartitions,
    CreateTopics, DeleteTopics, IncrementalAlterConfigs, NewPartitions, NewTopic, NoConfigRules,
    TopicReference, decide,
};

use super::*;
use crate::broker::tests::beside::registration;

/// The metadata of two brokers.
struct Metadata(Image);

impl Metadata {
    fn new() -> Self {
        let mut metadata = Self(Image::default());
        for id in [1, 2] {
            metadata.apply(registration(id));
        }
        metadata
    }

    fn apply(&mut self, command: impl Into<Command>) {
        let decision = decide(&self.0, &command.into(), &NoConfigRules).unwrap();
        self.0.apply_entry(1, &decision.records).unwrap();
    }

    fn create(&mut self, names: &[&str]) {
        let topic = |name: &&str| NewTopic {
            name: (*name).to_owned(),
            id: TopicId::random(),
            partitions: 1,
            replication_factor: 2,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        self.apply(CreateTopics {
            topics: names.iter().map(topic).collect(),
            default_partitions: 1,
            default_replication_factor: 1,
            validate_only: false,
        });
    }

    fn delete(&mut self, name: &str) {
        let topics = vec![TopicReference::Name(name.to_owned())];
        self.apply(DeleteTopics { topics });
    }

    fn configure(&mut self, name: &str, value: Option<&str>) {
        let resource = ConfigResource {
            kind: ResourceKind::Topic,
            name: name.into(),
        };
        let change = ConfigChange {
            key: "retention.ms".to_owned(),
            operation: match value {
                Some(_) => ConfigOperation::Set,
                None => ConfigOperation::Delete,
            },
            value: value.map(str::to_owned),
        };
        self.apply(IncrementalAlterConfigs {
            resources: vec![(resource, vec![change])],
            validate_only: false,
        });
    }

    fn image(&self) -> Arc<Image> {
        Arc::new(self.0.clone())
    }

    fn offset(&self) -> u64 {
        self.0.position().offset
    }
}

fn names(news: News) -> Vec<String> {
    match news {
        News::None => Vec::new(),
        News::Changed(topics) => topics.iter().map(|(name, _)| name.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_topic_was_asked_to_be_is_news_and_how_it_fares_is_not() {
    let mut metadata = Metadata::new();
    metadata.create(&["a", "b"]);
    let mut window = Window::from(metadata.image());
    let mut seen = |metadata: &Metadata| {
        let before = window.image().position().offset;
        window.follow(metadata.image());
        names(window.after(before))
    };
    metadata.configure("b", Some("1000"));
    assert_eq!(seen(&metadata), ["b"]);
    metadata.configure("b", None);
    assert_eq!(seen(&metadata), ["b"]);
    metadata.apply(CreatePartitions {
        topics: vec![NewPartitions {
            topic: "a".to_owned(),
            count: 3,
            assignments: None,
        }],
        validate_only: false,
    });
    assert_eq!(seen(&metadata), ["a"]);
    let broker = metadata.0.brokers().next().unwrap().clone();
    metadata.apply(ChangeBroker {
        id: broker.id,
        epoch: broker.epoch,
        fenced: Some(true),
        draining: None,
        stopping: None,
    });
    let none: [&str; 0] = [];
    assert_eq!(seen(&metadata), none, "leaders and ISRs");
    metadata.create(&["c"]);
    assert_eq!(seen(&metadata), ["c"]);
    metadata.delete("a");
    assert_eq!(seen(&metadata), ["a"]);
}

#[test]
fn a_name_that_another_topic_has_by_now_is_told_of_twice() {
    let mut metadata = Metadata::new();
    metadata.create(&["a"]);
    let (since, mut window) = (metadata.offset(), Window::from(metadata.image()));
    let first = metadata.0.topic("a").unwrap().id;
    metadata.delete("a");
    metadata.create(&["a"]);
    window.follow(metadata.image());
    let second = metadata.0.topic("a").unwrap().id;
    let News::Changed(topics) = window.after(since) else {
        panic!("no news");
    };
    let ids: BTreeSet<TopicId> = topics.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, BTreeSet::from([first, second]));
}

#[test]
fn an_offset_from_before_the_first_image_is_unknown_and_one_to_come_is_ahead() {
    let mut metadata = Metadata::new();
    metadata.create(&["a"]);
    let (offset, mut window) = (metadata.offset(), Window::from(metadata.image()));
    assert_eq!(window.after(offset - 1), News::Unknown);
    assert_eq!(window.after(offset), News::None);
    assert_eq!(window.after(offset + 1), News::Ahead);
    // One between two images that were seen is as good as one of theirs.
    metadata.create(&["b", "c"]);
    window.follow(metadata.image());
    assert_eq!(names(window.after(offset + 1)), ["b", "c"]);
    // And an older image takes nothing back.
    window.follow(Arc::new(Image::default()));
    assert_eq!(window.image().position().offset, metadata.offset());
}

#[test]
fn no_more_changes_are_remembered_than_the_bound() {
    let mut metadata = Metadata::new();
    metadata.create(&["a"]);
    let mut window = Window::from(metadata.image());
    let first = metadata.offset();
    for change in 0..=CHANGES_MAX {
        metadata.configure("a", Some(&change.to_string()));
        window.follow(metadata.image());
    }
    assert_eq!(window.changed.len(), CHANGES_MAX);
    assert_eq!(window.after(first), News::Unknown);
    assert_eq!(names(window.after(first + 1)), ["a"]);
}
