//! AlterConfigs (key 33): all settings of a resource at once; what is not named is back at its default. The
//! rules are `config/alter.rs`.

use milena_metadata::{AlterConfigs, ConfigResource, Refusal, ResourceKind};
use milena_protocol::api::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;

/// Each resource changes whole or not at all, and has its own result.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut command = AlterConfigs {
        resources: Vec::new(),
        validate_only: request.validate_only,
    };
    let mut places = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let named = resource_of(resource.resource_type, &resource.resource_name);
        let configs = resource.configs.iter().map(|entry| {
            (
                entry.name.to_string(),
                entry.value.as_ref().map(|value| value.to_string()),
            )
        });
        places.push(named.map(|named| command.resources.push((named, configs.collect()))));
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
    AlterConfigsResponse {
        throttle_time_ms: 0,
        responses: responses.map(told).collect(),
    }
}

/// The resource, if it is of a kind that has settings.
pub(super) fn resource_of(kind: i8, name: &Str) -> Result<ConfigResource, Refusal> {
    match ResourceKind::from_wire(kind) {
        Some(kind) => Ok(ConfigResource {
            kind,
            name: name.as_str().into(),
        }),
        None => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!(
                "Resources of type {kind} can't be changed; what a broker logs is set by milena.log.level at start"
            ),
        )),
    }
}

/// The outcomes of those that were asked for, among the refusals of those that could not be.
pub(super) fn in_places(
    places: Vec<Result<(), Refusal>>,
    outcomes: Vec<Result<(), Refusal>>,
) -> impl Iterator<Item = Result<(), Refusal>> {
    let mut outcomes = outcomes.into_iter();
    let mut next = move || {
        outcomes
            .next()
            .expect("the quorum answers for each resource it was given")
    };
    places
        .into_iter()
        .map(move |place| place.and_then(|()| next()))
}

pub(super) fn code_and_message(outcome: Result<(), Refusal>) -> (ErrorCode, Option<Str>) {
    match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err(refusal) => (refusal.code, Some(Str::from(refusal.message))),
    }
}

fn told(
    (resource, outcome): (AlterConfigsResource, Result<(), Refusal>),
) -> AlterConfigsResourceResponse {
    let (error_code, error_message) = code_and_message(outcome);
    AlterConfigsResourceResponse {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_and_outcomes_come_back_in_the_order_of_the_request() {
        let refusal = |text: &str| Refusal::new(ErrorCode::InvalidConfig, text);
        let places = vec![Ok(()), Err(refusal("place")), Ok(())];
        let outcomes = vec![Err(refusal("first")), Ok(())];
        let merged: Vec<_> = in_places(places, outcomes).collect();
        assert_eq!(
            merged,
            [Err(refusal("first")), Err(refusal("place")), Ok(())]
        );
    }

    #[test]
    fn a_kind_without_settings_is_refused_with_what_to_do() {
        let refused = resource_of(8, &Str::from_static("1")).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRequest);
        assert!(
            refused
                .message
                .ends_with("is set by milena.log.level at start")
        );
    }
}
