//! Many topics in one request: for whoever keeps hundreds of them in step. Each topic has its own result, in the order
//! in which they were given; an error of the whole means that none has one.

use std::collections::HashMap;

use milena_protocol::api::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use milena_protocol::api::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_protocol::api::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use milena_protocol::api::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterableConfig,
};
use milena_protocol::{ErrorCode, Str, Uuid};

use super::{ConfigChange, NewTopic, Resource, refusal};
use crate::client::call_in;
use crate::retry::retry;
use crate::{Client, Error};

/// The DeleteTopics version that takes ids (KIP-516).
const DELETE_BY_ID: i16 = 6;
/// CreateTopics' wish for the broker's default.
const DEFAULT: i32 = -1;

/// One result for each topic asked about.
pub type Each<T> = Vec<Result<T, Error>>;

impl Client {
    /// Creates topics, and returns their ids: zero where the broker is too old to tell.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<Each<Uuid>, Error> {
        let creatable = |topic: &NewTopic| CreatableTopic {
            name: Str::from(&topic.name),
            num_partitions: topic.partitions.unwrap_or(DEFAULT),
            replication_factor: topic.replication_factor.unwrap_or(DEFAULT as i16),
            assignments: Vec::new(),
            configs: topic
                .configs
                .iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: name.into(),
                    value: Some(value.into()),
                })
                .collect(),
        };
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let told = self.call_controller(&request, |told| {
            somewhere_else(told.topics.iter().map(|one| one.error_code))
        });
        let told = told.await?;
        let answers = told.topics.into_iter().map(|one| {
            let refused = refusal(&one.name, one.error_code, &one.error_message);
            (one.name.to_string(), refused.map(|()| one.topic_id))
        });
        Ok(in_order(
            topics.iter().map(|topic| topic.name.clone()),
            answers.collect(),
        ))
    }

    /// Changes configs of topics and leaves their others as they are.
    pub async fn alter_topics(
        &self,
        topics: &[(String, Vec<ConfigChange>)],
    ) -> Result<Each<()>, Error> {
        let change = |(name, value): &ConfigChange| IncrementalAlterableConfig {
            name: name.into(),
            config_operation: i8::from(value.is_none()),
            value: value.as_ref().map(Str::from),
        };
        let resource =
            |(name, changes): &(String, Vec<ConfigChange>)| IncrementalAlterConfigsResource {
                resource_type: Resource::Topic as i8,
                resource_name: name.into(),
                configs: changes.iter().map(change).collect(),
            };
        self.alter_each(topics.iter().map(resource).collect()).await
    }

    /// One request; one result a resource, in their order.
    pub(super) async fn alter_each(
        &self,
        resources: Vec<IncrementalAlterConfigsResource>,
    ) -> Result<Each<()>, Error> {
        let request = IncrementalAlterConfigsRequest {
            resources,
            validate_only: false,
        };
        let told = self.call_controller(&request, |told| {
            somewhere_else(told.responses.iter().map(|one| one.error_code))
        });
        let answers = told.await?.responses.into_iter().map(|one| {
            let refused = refusal(&one.resource_name, one.error_code, &one.error_message);
            (one.resource_name.to_string(), refused)
        });
        let names = request.resources.iter();
        Ok(in_order(
            names.map(|one| one.resource_name.to_string()),
            answers.collect(),
        ))
    }

    /// Gives each topic more partitions: so many in all.
    pub async fn grow_topics(&self, topics: &[(String, i32)]) -> Result<Each<()>, Error> {
        let grown = |(name, count): &(String, i32)| CreatePartitionsTopic {
            name: name.into(),
            count: *count,
            assignments: None,
        };
        let request = CreatePartitionsRequest {
            topics: topics.iter().map(grown).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let told = self.call_controller(&request, |told| {
            somewhere_else(told.results.iter().map(|one| one.error_code))
        });
        let answers = told.await?.results.into_iter().map(|one| {
            let refused = refusal(&one.name, one.error_code, &one.error_message);
            (one.name.to_string(), refused)
        });
        Ok(in_order(
            topics.iter().map(|(name, _)| name.clone()),
            answers.collect(),
        ))
    }

    /// Deletes topics by their ids, with all their records: a topic made anew under the same name is left alone.
    pub async fn delete_topics_by_id(&self, ids: &[Uuid]) -> Result<Each<()>, Error> {
        let by_id = |id: &Uuid| DeleteTopicState {
            name: None,
            topic_id: *id,
        };
        let request = DeleteTopicsRequest {
            topics: ids.iter().map(by_id).collect(),
            timeout_ms: self.timeout_ms(),
            ..Default::default()
        };
        let told = retry(self.options().deadline, || async {
            let connection = self.controller().await?;
            let told = call_in(&connection, &request, DELETE_BY_ID).await?;
            somewhere_else(told.responses.iter().map(|one| one.error_code))?;
            Ok(told)
        });
        let answers = told.await?.responses.into_iter().map(|one| {
            let refused = refusal(
                &one.topic_id.to_string(),
                one.error_code,
                &one.error_message,
            );
            (one.topic_id, refused)
        });
        Ok(in_order(ids.iter().copied(), answers.collect()))
    }
}

/// An error where the broker says that another one has to be asked: it has done nothing.
fn somewhere_else(mut codes: impl Iterator<Item = ErrorCode>) -> Result<(), Error> {
    match codes.any(|code| code == ErrorCode::NotController) {
        true => Error::check("the request", ErrorCode::NotController),
        false => Ok(()),
    }
}

/// The answers in the order of the questions; what was not answered is an error of its own.
fn in_order<K: Eq + std::hash::Hash + std::fmt::Display, T>(
    asked: impl Iterator<Item = K>,
    mut answers: HashMap<K, Result<T, Error>>,
) -> Each<T> {
    asked
        .map(|key| {
            answers.remove(&key).unwrap_or_else(|| {
                Err(Error::refused(
                    key.to_string(),
                    ErrorCode::UnknownServerError,
                    Some("the broker's answer does not name it"),
                ))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_in_the_order_of_the_questions_and_a_missing_one_is_an_error() {
        let answers = HashMap::from([("b", Ok(2)), ("a", Ok(1))]);
        let answers = in_order(["a", "b", "c"].into_iter(), answers);
        assert_eq!(answers[0].as_ref().unwrap(), &1);
        assert_eq!(answers[1].as_ref().unwrap(), &2);
        let missing = answers[2].as_ref().unwrap_err().to_string();
        assert_eq!(missing, "c: the broker's answer does not name it");
    }

    #[test]
    fn not_controller_for_one_topic_sends_the_request_elsewhere() {
        let codes = [ErrorCode::None, ErrorCode::NotController];
        assert!(
            somewhere_else(codes.into_iter())
                .unwrap_err()
                .is_retriable()
        );
        assert!(somewhere_else([ErrorCode::TopicAlreadyExists].into_iter()).is_ok());
    }
}
