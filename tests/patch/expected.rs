//! What each response must have become: said once more, on decoded messages.

use gatehouse::cluster::Routes;
use gatehouse::kafka::NodeId;
use gatehouse::kafka::api::{self, Request};
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

use crate::message::{Message, text};

/// Host and port that clients are told.
fn address(routes: &Routes, id: BrokerId) -> Option<(StrBytes, i32)> {
    routes.advertised(NodeId(id.0)).map(|(host, port)| (text(&host), i32::from(port)))
}

macro_rules! route_nodes {
    ($nodes:expr, $id:ident, $routes:expr) => {{
        let mut listed = Vec::new();
        $nodes.retain_mut(|node| {
            let Some((host, port)) = address($routes, node.$id) else { return false };
            (node.host, node.port) = (host, port);
            let is_first = !listed.contains(&node.$id);
            listed.push(node.$id);
            is_first
        });
    }};
}

macro_rules! route_coordinator {
    ($coordinator:expr, $routes:expr) => {
        // Without a host there is no node: an error's, or the fields that version 4 gave up.
        if !$coordinator.host.is_empty() {
            let node = &mut $coordinator;
            (node.host, node.port) = address($routes, node.node_id).unwrap_or_else(|| {
                (node.node_id, node.error_code) = (BrokerId(-1), 15);
                (text(""), -1)
            });
        }
    };
}

/// The same response with the gateway's addresses and nothing else changed.
pub(crate) fn expected(mut message: Message, routes: &Routes) -> Message {
    match &mut message {
        Message::Metadata(m) => route_nodes!(m.brokers, node_id, routes),
        Message::DescribeCluster(m) => route_nodes!(m.brokers, broker_id, routes),
        Message::Produce(m) => route_nodes!(m.node_endpoints, node_id, routes),
        Message::Fetch(m) => route_nodes!(m.node_endpoints, node_id, routes),
        Message::ShareFetch(m) => route_nodes!(m.node_endpoints, node_id, routes),
        Message::ShareAcknowledge(m) => route_nodes!(m.node_endpoints, node_id, routes),
        Message::FindCoordinator(m) => {
            route_coordinator!(*m, routes);
            for coordinator in &mut m.coordinators {
                route_coordinator!(*coordinator, routes);
            }
        }
        Message::DescribeQuorum(m) => m.nodes.iter_mut().for_each(|node| node.listeners.clear()),
        Message::ApiVersions(m) => m.api_keys.retain_mut(|offered| {
            let Some(known) = api::find(offered.api_key) else { return false };
            let shared = known.newest >= offered.min_version && known.request != Request::Refuse;
            offered.max_version = offered.max_version.min(known.newest);
            shared
        }),
    }
    message
}
