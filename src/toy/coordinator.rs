//! FindCoordinator: which broker looks after a group.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::call::{Call, text};
use super::world::{Endpoint, World};

/// The key type of a group; 1 is a transaction, 2 a share group.
const GROUP: i8 = 0;

/// The first version that asks for several coordinators.
const SEVERAL_SINCE: i16 = 4;

pub(super) fn find(call: &Call<'_>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let world = call.shared.world();
    let answer = FindCoordinatorResponse::default();
    if call.version >= SEVERAL_SINCE {
        let coordinators = request.coordinator_keys.into_iter().map(|key| {
            let (error, broker) = coordinator(call, &world, request.key_type, &key);
            Coordinator::default()
                .with_key(key)
                .with_node_id(broker.0)
                .with_host(broker.1)
                .with_port(broker.2)
                .with_error_code(error)
        });
        return answer.with_coordinators(coordinators.collect());
    }
    let (error, broker) = coordinator(call, &world, request.key_type, &request.key);
    answer.with_node_id(broker.0).with_host(broker.1).with_port(broker.2).with_error_code(error)
}

/// The error and the broker; without one, -1, no host and port -1, as a broker says it.
fn coordinator(call: &Call<'_>, world: &World, kind: i8, key: &str) -> (i16, (BrokerId, StrBytes, i32)) {
    let found = match kind {
        GROUP if key.is_empty() => Err(ResponseError::InvalidGroupId),
        GROUP => {
            let node = world.coordinator(key);
            let endpoint = node.and_then(|node| call.endpoint(world, node));
            endpoint.ok_or(ResponseError::CoordinatorNotAvailable)
        }
        // There are neither transactions nor share groups.
        _ => Err(ResponseError::UnsupportedVersion),
    };
    match found {
        Ok(Endpoint { node, host, port }) => (0, (BrokerId(node.0), text(host), port)),
        Err(error) => (error.code(), (BrokerId(-1), StrBytes::default(), -1)),
    }
}
