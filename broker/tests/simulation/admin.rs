//! What an operator does meanwhile.

use std::time::Duration;

use milena_protocol::api::create_topics::{CreatableTopic, CreateTopicsRequest};
use milena_protocol::{ErrorCode, Str};
use tokio::time::sleep;

use super::clients::Client;

/// Creates a topic, however long it takes.
pub async fn create(client: &mut Client, name: &'static str, partitions: i32) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: Str::from(name),
            num_partitions: partitions,
            replication_factor: 3,
            ..CreatableTopic::default()
        }],
        timeout_ms: 5_000,
        ..CreateTopicsRequest::default()
    };
    loop {
        let broker = client.any_broker();
        let answer = client.ask(broker, &request, 7).await;
        let code = answer.ok().and_then(|answer| Some(answer.topics.first()?.error_code));
        match code {
            Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => return,
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
}
