//! What one connection reports while it runs: counters, and what responses said about the cluster.

use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Event, Found};
use super::in_flight::Stamp;
use crate::metrics;
use crate::metrics::cluster::Endpoints;
use crate::registry::Connection;

/// Bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) read: u64,
    pub(super) written: u64,
}

/// The handles of one connection. They are resolved before it starts: nothing is looked up per frame.
#[derive(Debug)]
pub struct Observer {
    listener: Arc<metrics::listener::Listener>,
    cluster: Arc<metrics::cluster::Cluster>,
    node: Arc<metrics::cluster::Node>,
    in_flight: metrics::cluster::InFlight,
    connection: Arc<Connection>,
    unknown_api: usize,
    found: Vec<Found>,
}

impl Observer {
    /// The observer of a new connection.
    pub fn new(
        listener: Arc<metrics::listener::Listener>,
        cluster: Arc<metrics::cluster::Cluster>,
        node: Arc<metrics::cluster::Node>,
        connection: Arc<Connection>,
    ) -> Self {
        let in_flight = cluster.in_flight();
        let unknown_api = crate::kafka::api::APIS.len();
        Self { listener, cluster, node, in_flight, connection, unknown_api, found: Vec::new() }
    }

    /// Takes what the last plan of the core meant.
    pub(super) fn observe(&mut self, core: &mut Core, now: Stamp) {
        if let Some(found) = core.take_found() {
            self.found.push(*found);
        }
        let Some(event) = core.take_event() else { return };
        match event {
            Event::Request { api, expects_response } => {
                self.cluster.requested(api.map_or(self.unknown_api, |api| api.index()));
                self.connection.requested(api.map_or(-1, |api| api.key));
                if expects_response {
                    self.in_flight.sent();
                } else {
                    self.connection.answered();
                }
            }
            Event::Response { api, since, rewritten } => {
                self.in_flight.answered();
                self.connection.answered();
                let index = api.map_or(self.unknown_api, |api| api.index());
                let took = Duration::from_micros(now.0.saturating_sub(since.0));
                if api.is_some_and(|api| api.long_poll) {
                    self.cluster.long_poll(index, took);
                } else {
                    self.cluster.round_trip(index, took);
                    self.node.answered(took);
                }
                if rewritten {
                    self.cluster.rewritten(index);
                    if api.is_some_and(|api| api.carries_endpoints()) {
                        self.cluster.endpoints_rewritten(index, Endpoints::Exact);
                    }
                }
            }
            Event::Padded { api } => {
                self.cluster.rewritten(api.index());
                self.cluster.endpoints_rewritten(api.index(), Endpoints::Padded);
            }
        }
    }

    /// What responses said about the cluster since the last call.
    pub(super) fn take_found(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    /// Counts bytes that were read and written since the last call, and the time that was spent on them.
    pub(super) fn moved(&self, requests: Moved, responses: Moved, inside: Duration) {
        for (leg, read) in [(&self.listener.client, requests.read), (&self.listener.broker, responses.read)] {
            if read > 0 {
                leg.received.inc_by(read);
                leg.added_latency.observe(inside);
            }
        }
        self.listener.broker.sent.inc_by(requests.written);
        self.listener.client.sent.inc_by(responses.written);
        self.connection.add_from_client(requests.read);
        self.connection.add_to_client(responses.written);
    }

    pub(super) fn listener(&self) -> &metrics::listener::Listener {
        &self.listener
    }
}
