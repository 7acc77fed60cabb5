//! DescribeCluster (key 60): the brokers and the cluster's id (KIP-700).

use milena_protocol::api::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use super::metadata::{CLUSTER_OPERATIONS, controller};
use crate::broker::Broker;

/// Asks for brokers; 2 asks for controllers, which are not reached on a broker's listener (KIP-919).
const ENDPOINT_BROKERS: i8 = 1;

/// The brokers that the client's listener reaches.
pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != ENDPOINT_BROKERS {
        let known = request.endpoint_type == 2;
        let error_code = if known {
            ErrorCode::MismatchedEndpointType
        } else {
            ErrorCode::UnsupportedEndpointType
        };
        let error_message = Some(Str::from(
            "this listener is a broker's: ask it for brokers (endpoint type 1)",
        ));
        return DescribeClusterResponse {
            error_code,
            error_message,
            ..Default::default()
        };
    }
    let image = broker.image();
    let shown = image
        .brokers()
        .filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let brokers = shown.filter_map(|broker| {
        let endpoint = broker.endpoint(&context.listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.get(),
            host: Str::from(&*endpoint.host),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Str::from),
            is_fenced: broker.fenced,
        })
    });
    DescribeClusterResponse {
        endpoint_type: ENDPOINT_BROKERS,
        cluster_id: image
            .cluster_id()
            .map(|id| Str::from(&**id))
            .unwrap_or_default(),
        controller_id: controller(&image, &context.listener),
        brokers: brokers.collect(),
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..Default::default()
    }
}
