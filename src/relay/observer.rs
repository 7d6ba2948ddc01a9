//! What one connection reports while it runs: counters, and what responses said about the cluster.

use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Event, Found};
use super::in_flight::Stamp;
use crate::metrics;
use crate::metrics::cluster::Endpoints;

/// The handles of one connection. They are resolved before it starts: nothing is looked up per frame.
#[derive(Debug)]
pub struct Observer {
    listener: Arc<metrics::listener::Listener>,
    cluster: Arc<metrics::cluster::Cluster>,
    in_flight: metrics::cluster::InFlight,
    unknown_api: usize,
    found: Vec<Found>,
}

impl Observer {
    /// The observer of a new connection.
    pub fn new(listener: Arc<metrics::listener::Listener>, cluster: Arc<metrics::cluster::Cluster>) -> Self {
        let in_flight = cluster.in_flight();
        Self { listener, cluster, in_flight, unknown_api: crate::kafka::api::APIS.len(), found: Vec::new() }
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
                if expects_response {
                    self.in_flight.sent();
                }
            }
            Event::Response { api, since, rewritten } => {
                self.in_flight.answered();
                let index = api.map_or(self.unknown_api, |api| api.index());
                let took = Duration::from_micros(now.0.saturating_sub(since.0));
                if api.is_some_and(|api| api.long_poll) {
                    self.cluster.long_poll(index, took);
                } else {
                    self.cluster.round_trip(index, took);
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

    pub(super) fn listener(&self) -> &metrics::listener::Listener {
        &self.listener
    }
}
