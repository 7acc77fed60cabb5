//! FindCoordinator (key 10): which broker coordinates a group; creates `__consumer_offsets` at first need.

use milena_protocol::api::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::group::OFFSETS_TOPIC;
use crate::group::host::GroupHost;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// The first version that asks for several keys.
const SEVERAL_FROM: i16 = 4;

/// The coordinators, with their addresses on the client's listener.
pub async fn handle(
    broker: &impl GroupHost,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let usable = match request.key_type {
        GROUP => broker.ensure_offsets_topic().await,
        // Until transactions exist: an error that clients do not retry for ever.
        TRANSACTION => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let find =
        |key: Str| match usable.and_then(|()| coordinator_of(broker, &context.listener, &key)) {
            Ok((node_id, host, port)) => Coordinator {
                key,
                node_id,
                host,
                port,
                ..Default::default()
            },
            Err(error_code) => Coordinator {
                key,
                node_id: -1,
                port: -1,
                error_code,
                error_message: Some(error_code.text().into()),
                ..Default::default()
            },
        };
    if context.version >= SEVERAL_FROM {
        let coordinators = request.coordinator_keys.into_iter().map(find).collect();
        return FindCoordinatorResponse {
            coordinators,
            ..Default::default()
        };
    }
    let found = find(request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

/// Id, host and port of the broker that leads the group's partition.
fn coordinator_of(
    broker: &impl GroupHost,
    listener: &str,
    group: &str,
) -> Result<(i32, Str, i32), ErrorCode> {
    let image = broker.image();
    let endpoint = || {
        let partition = image.partition(OFFSETS_TOPIC, broker.groups().partition_of(group))?;
        let leader = image
            .broker(partition.leader?)
            .filter(|leader| !leader.fenced)?;
        let endpoint = leader.endpoint(listener)?;
        Some((
            leader.id.get(),
            Str::from(&*endpoint.host),
            i32::from(endpoint.port),
        ))
    };
    endpoint().ok_or(ErrorCode::CoordinatorNotAvailable)
}
