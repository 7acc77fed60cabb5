//! Topics' configs that are lists, an item at a time (KIP-339): two who change one list keep what the other did.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::api::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::api::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterableConfig,
};

use super::{Each, Resource, SOURCE_TOPIC, refusal};
use crate::client::call;
use crate::retry::retry;
use crate::{Client, Error};

/// Topics asked for at once.
const TOPICS_MAX: usize = 1_000;

/// What happens to a list's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ListChange {
    /// It is not set any more, with whatever was in it.
    Reset = 1,
    /// They are in it, once.
    Append = 2,
    /// They are not in it.
    Subtract = 3,
}

/// A change of one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEdit {
    /// The config that is the list.
    pub config: String,
    /// What happens.
    pub change: ListChange,
    /// To these items; to none of its own where it is reset.
    pub items: Vec<String>,
}

impl ListEdit {
    fn alterable(&self) -> IncrementalAlterableConfig {
        let value = self.items.join(",").into();
        IncrementalAlterableConfig {
            name: self.config.as_str().into(),
            config_operation: self.change as i8,
            value: (self.change != ListChange::Reset).then_some(value),
        }
    }
}

impl Client {
    /// Changes a list that is a topic's config, and leaves the items of others as they are.
    pub async fn alter_list(
        &self,
        topic: &str,
        config: &str,
        change: ListChange,
        items: &[String],
    ) -> Result<(), Error> {
        let edit = ListEdit {
            config: config.to_owned(),
            change,
            items: items.to_vec(),
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![IncrementalAlterConfigsResource {
                resource_type: Resource::Topic as i8,
                resource_name: topic.into(),
                configs: vec![edit.alterable()],
            }],
            validate_only: false,
        };
        let check = |code, message: &_| refusal(topic, code, message);
        self.call_controller(&request, |response| {
            let mut results = response.responses.iter();
            results.try_for_each(|result| check(result.error_code, &result.error_message))
        })
        .await
        .map(drop)
    }

    /// Changes lists of topics in one request; one result a topic, in their order.
    pub async fn alter_lists(&self, topics: &[(String, Vec<ListEdit>)]) -> Result<Each<()>, Error> {
        let resource = |(name, edits): &(String, Vec<ListEdit>)| IncrementalAlterConfigsResource {
            resource_type: Resource::Topic as i8,
            resource_name: name.into(),
            configs: edits.iter().map(ListEdit::alterable).collect(),
        };
        self.alter_each(topics.iter().map(resource).collect()).await
    }

    /// A list as topics have set it themselves, by topic. Topics that have not, or are gone by now, are left out.
    pub async fn own_lists(
        &self,
        topics: &[&str],
        config: &str,
    ) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let mut lists = BTreeMap::new();
        for some in topics.chunks(TOPICS_MAX) {
            let wanted = some.iter().map(|topic| DescribeConfigsResource {
                resource_type: Resource::Topic as i8,
                resource_name: (*topic).into(),
                configuration_keys: Some(vec![config.into()]),
            });
            let request = DescribeConfigsRequest {
                resources: wanted.collect(),
                ..Default::default()
            };
            let asked = retry(self.options().deadline, || async {
                call(&self.any().await?, &request).await
            });
            for result in &asked.await?.results {
                let topic = &result.resource_name;
                match result.error_code {
                    ErrorCode::UnknownTopicOrPartition => continue,
                    code => refusal(topic, code, &result.error_message)?,
                }
                let mut own = result.configs.iter();
                let own = own.find(|one| &*one.name == config && one.config_source == SOURCE_TOPIC);
                if let Some(own) = own {
                    let value = own.value.as_deref().unwrap_or_default();
                    lists.insert(topic.to_string(), items(value));
                }
            }
        }
        Ok(lists)
    }
}

fn items(list: &str) -> Vec<String> {
    let items = list.split(',').map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}
