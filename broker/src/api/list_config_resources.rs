//! ListConfigResources (key 74): which resources there are to configure. Version 0 asks for client metrics
//! alone (KIP-714), of which there are none; later ones for the types they name (KIP-1142).

use milena_metadata::{Image, ResourceKind};
use milena_protocol::api::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;

/// The API's number for a broker's loggers, which the metadata does not know.
const BROKER_LOGGER: i8 = 8;

/// All types, in the order of their numbers.
const TYPES: [i8; 5] = [
    ResourceKind::Topic.to_wire(),
    ResourceKind::Broker.to_wire(),
    BROKER_LOGGER,
    ResourceKind::ClientMetrics.to_wire(),
    ResourceKind::Group.to_wire(),
];

/// A type that there is none of is UNSUPPORTED_VERSION, as in Kafka.
pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    answer(&broker.image(), context.version, &request.resource_types)
}

fn answer(image: &Image, version: i16, types: &[i8]) -> ListConfigResourcesResponse {
    let mut wanted = match types {
        _ if version == 0 => vec![ResourceKind::ClientMetrics.to_wire()],
        [] => TYPES.to_vec(),
        types => types.to_vec(),
    };
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.iter().any(|kind| !TYPES.contains(kind)) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion,
            ..Default::default()
        };
    }
    let resources = wanted.into_iter().flat_map(|kind| {
        let resource = move |resource_name| ConfigResource {
            resource_name,
            resource_type: kind,
        };
        names(image, kind).into_iter().map(resource)
    });
    ListConfigResourcesResponse {
        config_resources: resources.collect(),
        ..Default::default()
    }
}

fn names(image: &Image, kind: i8) -> Vec<Str> {
    match ResourceKind::from_wire(kind) {
        Some(ResourceKind::Topic) => image
            .topics()
            .map(|topic| Str::from(topic.name.as_str()))
            .collect(),
        Some(kind @ (ResourceKind::Group | ResourceKind::ClientMetrics)) => image
            .configured(kind)
            .map(|(name, _)| Str::from(&**name))
            .collect(),
        Some(ResourceKind::Broker) | None => image
            .brokers()
            .map(|broker| Str::from(broker.id.to_string()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_there_is_none_of_is_an_unsupported_version() {
        assert_eq!(
            answer(&Image::default(), 1, &[2, 99]).error_code,
            ErrorCode::UnsupportedVersion
        );
        assert_eq!(
            answer(&Image::default(), 1, &[]).error_code,
            ErrorCode::None
        );
        assert_eq!(
            answer(&Image::default(), 0, &[]).error_code,
            ErrorCode::None
        );
    }
}
