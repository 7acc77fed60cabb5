//! Topics that come, grow and go are in the leader's log.

use std::io;

use milena_metadata::{CreatePartitions, DeleteTopics, NewPartitions, TopicReference};
use parking_lot::Mutex;
use tracing::Level;
use tracing::subscriber::set_default;

use super::*;

/// What was logged.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// Takes the lines about topics.
    fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap();
        let lines = text.lines().filter(|line| line.contains("topic"));
        lines.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_topic_that_is_created_grows_or_is_deleted_has_a_line_and_many_have_one() {
    let written = Written::default();
    let to = written.clone();
    let lines = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_ansi(false)
        .with_writer(move || to.clone());
    // The quorum's tasks run on this thread.
    let _guard = set_default(lines.finish());
    let dir = tempfile::tempdir().unwrap();
    let options = QuorumOptions::alone(dir.path().to_owned(), 1);
    let quorum = Quorum::open(options, rules(), None, Handle::current());
    let quorum = quorum.await.unwrap();
    quorum.request(registration()).await.unwrap();
    let one_line = |parts: &[&str]| {
        let lines = written.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in parts {
            assert!(lines[0].contains(part), "{part} is not in {lines:?}");
        }
    };

    let create = topics(["a".into()], 3);
    let id = create.topics[0].id.to_string();
    quorum.request(create.clone()).await.unwrap();
    one_line(&[
        "a topic was created",
        "topic=a",
        &id,
        "partitions=3",
        "replication_factor=1",
    ]);

    // It is there already, or would only be created.
    quorum.request(create).await.unwrap();
    let validated = CreateTopics {
        validate_only: true,
        ..topics(["b".into()], 1)
    };
    quorum.request(validated).await.unwrap();
    assert_eq!(written.take(), [""; 0]);

    let grow = NewPartitions {
        topic: "a".into(),
        count: 5,
        assignments: None,
    };
    let grow = CreatePartitions {
        topics: vec![grow],
        validate_only: false,
    };
    quorum.request(grow).await.unwrap();
    one_line(&["a topic was given partitions", "topic=a", "partitions=5"]);

    let delete = DeleteTopics {
        topics: vec![TopicReference::Name("a".into())],
    };
    quorum.request(delete).await.unwrap();
    one_line(&["a topic was deleted", "topic=a", &id]);

    let names = |count: usize| (0..count).map(|number| format!("t{number}"));
    quorum.request(topics(names(10), 1)).await.unwrap();
    assert_eq!(written.take().len(), 10);
    let more = names(21).skip(10);
    quorum.request(topics(more, 2)).await.unwrap();
    one_line(&["topics were created", "topics=11", "partitions=22"]);
}
