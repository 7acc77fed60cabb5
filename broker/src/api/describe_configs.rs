//! DescribeConfigs (key 32): every setting of a topic or of this broker, with where its value comes from.
//! A broker's loggers, client metrics and groups have no settings of their own here, and so none to list.

use milena_metadata::{Image, ResourceKind, TopicName};
use milena_protocol::api::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::config::describe::{Described, Source, Synonym};
use crate::config::{BrokerConfig, Values};

/// The API's number for a broker's loggers, which the metadata does not know.
const BROKER_LOGGER: i8 = 8;

/// Each resource has its own result.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    answer(
        broker.node_id(),
        &broker.config(),
        &broker.image(),
        &request,
    )
}

fn answer(
    node_id: i32,
    config: &BrokerConfig,
    image: &Image,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        match describe(node_id, config, image, resource) {
            Ok(described) => {
                let wanted = described
                    .into_iter()
                    .filter(|entry| is_wanted(resource, entry));
                let is_topic = resource.resource_type == ResourceKind::Topic.to_wire();
                result.configs = wanted.map(|entry| told(entry, is_topic, request)).collect();
            }
            Err((code, message)) => {
                result.error_code = code;
                result.error_message = Some(Str::from(message));
            }
        }
        result
    });
    DescribeConfigsResponse {
        throttle_time_ms: 0,
        results: results.collect(),
    }
}

fn describe(
    node_id: i32,
    config: &BrokerConfig,
    image: &Image,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, (ErrorCode, String)> {
    let name = resource.resource_name.as_str();
    let refuse = |text: String| Err((ErrorCode::InvalidRequest, text));
    let is_here = name.parse() == Ok(node_id);
    match ResourceKind::from_wire(resource.resource_type) {
        Some(ResourceKind::Topic) => describe_topic(config, image, name),
        Some(ResourceKind::Broker) if name.is_empty() => Ok(config.describe_all_brokers()),
        Some(ResourceKind::Broker) if is_here => Ok(config.describe_broker()),
        Some(ResourceKind::Broker) => refuse(format!(
            "This is broker {node_id}: ask for it, for all by the empty name, or ask broker {name:?}"
        )),
        Some(ResourceKind::Group | ResourceKind::ClientMetrics) if !name.is_empty() => {
            Ok(Vec::new())
        }
        Some(ResourceKind::Group | ResourceKind::ClientMetrics) => {
            refuse("The resource needs a name".into())
        }
        None if resource.resource_type == BROKER_LOGGER && is_here => Ok(Vec::new()),
        None if resource.resource_type == BROKER_LOGGER => refuse(format!(
            "This is broker {node_id}: ask broker {name:?} for its loggers"
        )),
        None => refuse(format!(
            "There are no resources of type {}",
            resource.resource_type
        )),
    }
}

fn describe_topic(
    config: &BrokerConfig,
    image: &Image,
    name: &str,
) -> Result<Vec<Described>, (ErrorCode, String)> {
    if let Err(problem) = TopicName::new(name) {
        return Err((ErrorCode::InvalidTopicException, problem.to_string()));
    }
    if image.topic(name).is_none() {
        return Err((
            ErrorCode::UnknownTopicOrPartition,
            format!("There is no topic {name:?}"),
        ));
    }
    let own = image.configs(ResourceKind::Topic, name);
    let own = own.into_iter().flat_map(|configs| configs.iter());
    let own: Values = own
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    Ok(config.describe_topic(&own))
}

/// No names ask for all.
fn is_wanted(resource: &DescribeConfigsResource, entry: &Described) -> bool {
    let names = resource.configuration_keys.as_deref().unwrap_or_default();
    names.is_empty() || names.iter().any(|name| name.as_str() == entry.setting.name)
}

fn told(
    entry: Described,
    is_topic: bool,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResourceResult {
    let synonym = |synonym: Synonym| DescribeConfigsSynonym {
        name: Str::from_static(synonym.name),
        value: synonym.value.map(Str::from),
        source: synonym.source.code(),
    };
    let synonyms = if request.include_synonyms {
        entry.synonyms
    } else {
        Vec::new()
    };
    DescribeConfigsResourceResult {
        name: Str::from_static(entry.setting.name),
        value: entry.value.map(Str::from),
        read_only: entry.read_only,
        // Version 0 knows only this flag, and takes what is not default for the resource's own.
        is_default: entry.source == Source::Default
            || (is_topic && entry.source != Source::DynamicTopic),
        config_source: entry.source.code(),
        is_sensitive: entry.setting.is_sensitive(),
        synonyms: synonyms.into_iter().map(synonym).collect(),
        config_type: entry.setting.kind.code(),
        documentation: request
            .include_documentation
            .then(|| Str::from(entry.setting.documentation())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn ask(kind: i8, name: &'static str, keys: Option<&[&'static str]>) -> DescribeConfigsResult {
        let (config, _) = Sources::of(&[("max.connections", "9")]).load().unwrap();
        let resource = DescribeConfigsResource {
            resource_type: kind,
            resource_name: Str::from_static(name),
            configuration_keys: keys
                .map(|keys| keys.iter().map(|key| Str::from_static(key)).collect()),
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            include_documentation: true,
        };
        answer(1, &config, &Image::default(), &request)
            .results
            .remove(0)
    }

    #[test]
    fn a_brokers_setting_is_told_in_the_codes_of_the_api() {
        let result = ask(4, "1", Some(&["max.connections"]));
        assert_eq!(
            (result.error_code, result.configs.len()),
            (ErrorCode::None, 1)
        );
        let entry = &result.configs[0];
        assert_eq!(entry.value.as_deref(), Some("9"));
        assert_eq!(
            (
                entry.config_source,
                entry.config_type,
                entry.read_only,
                entry.is_default
            ),
            (4, 3, false, false)
        );
        assert_eq!(entry.synonyms.len(), 2);
        assert!(
            entry
                .documentation
                .as_ref()
                .unwrap()
                .starts_with("How many connections")
        );
    }

    #[test]
    fn no_names_and_an_empty_list_of_them_ask_for_all() {
        let all = crate::config::broker_settings().count();
        assert_eq!(ask(4, "1", None).configs.len(), all);
        assert_eq!(ask(4, "1", Some(&[])).configs.len(), all);
        assert_eq!(ask(4, "", None).configs.len(), 0);
    }

    #[test]
    fn what_is_not_there_gets_kafkas_code() {
        assert_eq!(
            ask(2, "t", None).error_code,
            ErrorCode::UnknownTopicOrPartition
        );
        assert_eq!(
            ask(2, "a b", None).error_code,
            ErrorCode::InvalidTopicException
        );
        assert_eq!(ask(4, "2", None).error_code, ErrorCode::InvalidRequest);
        assert_eq!(ask(4, "x", None).error_code, ErrorCode::InvalidRequest);
        assert_eq!(ask(8, "1", None).error_code, ErrorCode::None);
        assert_eq!(ask(99, "1", None).error_code, ErrorCode::InvalidRequest);
    }
}
