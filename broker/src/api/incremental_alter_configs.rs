//! IncrementalAlterConfigs (key 44, KIP-339): some settings of a resource; what is not named stays. The rules
//! are `config/alter.rs`.

use milena_metadata::{
    ConfigChange, ConfigOperation, ConfigResource, IncrementalAlterConfigs, Refusal,
};
use milena_protocol::ErrorCode;
use milena_protocol::api::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource,
    IncrementalAlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

use super::RequestContext;
use super::alter_configs::{code_and_message, in_places, resource_of};
use crate::broker::Broker;

/// Each resource changes whole or not at all, and has its own result.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut command = IncrementalAlterConfigs {
        resources: Vec::new(),
        validate_only: request.validate_only,
    };
    let mut places = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        places.push(changes_of(resource).map(|changes| command.resources.push(changes)));
    }
    let count = command.resources.len();
    let outcomes = match broker.change(command).await {
        Ok(outcomes) => outcomes,
        Err(refusal) => vec![Err(refusal); count],
    };
    let responses = request
        .resources
        .into_iter()
        .zip(in_places(places, outcomes));
    IncrementalAlterConfigsResponse {
        throttle_time_ms: 0,
        responses: responses.map(told).collect(),
    }
}

fn changes_of(
    resource: &IncrementalAlterConfigsResource,
) -> Result<(ConfigResource, Vec<ConfigChange>), Refusal> {
    let named = resource_of(resource.resource_type, &resource.resource_name)?;
    let changes = resource.configs.iter().map(|entry| {
        let unknown = || {
            let text = format!(
                "{}: there is no operation {}",
                entry.name.as_str(),
                entry.config_operation
            );
            Refusal::new(ErrorCode::InvalidRequest, text)
        };
        Ok(ConfigChange {
            key: entry.name.to_string(),
            operation: ConfigOperation::from_wire(entry.config_operation).ok_or_else(unknown)?,
            value: entry.value.as_ref().map(|value| value.to_string()),
        })
    });
    Ok((named, changes.collect::<Result<_, Refusal>>()?))
}

fn told(
    (resource, outcome): (IncrementalAlterConfigsResource, Result<(), Refusal>),
) -> IncrementalAlterConfigsResourceResponse {
    let (error_code, error_message) = code_and_message(outcome);
    IncrementalAlterConfigsResourceResponse {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
    }
}
