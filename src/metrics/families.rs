//! Everything that is registered, once for the process.

use std::sync::Arc;

use prometheus::{Counter, CounterVec, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::histogram::{Family, Histogram, Span};
use super::{names, register};

/// The families that listeners and clusters take their series from.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) build_info: IntGaugeVec,
    pub(super) ready: IntGauge,
    pub(super) draining: IntGauge,
    pub(super) config_reloads: IntCounterVec,
    pub(super) config_successful: IntGauge,
    pub(super) config_success: IntGauge,
    pub(super) advertised_known: IntGaugeVec,
    pub(super) advertised_stale: IntGaugeVec,
    pub(super) advertised_changes: IntCounterVec,
    pub(super) advertised_heard: IntGaugeVec,
    pub(super) advertised_errors: IntCounterVec,
    pub(super) connection_limit: IntGauge,
    pub(super) buffered: IntGauge,
    pub(super) buffer_limit: IntGauge,
    pub(super) splice_pipes: IntGauge,
    pub(super) connections: IntGaugeVec,
    pub(super) accepted: IntCounterVec,
    pub(super) rejected: IntCounterVec,
    pub(super) closed: IntCounterVec,
    pub(super) connection_duration: Family,
    pub(super) received: IntCounterVec,
    pub(super) sent: IntCounterVec,
    /// Client, broker.
    pub(super) added_latency: [Arc<Histogram>; 2],
    /// Client, broker.
    pub(super) backpressure: [Counter; 2],
    pub(super) protocol_errors: IntCounterVec,
    pub(super) handshake_duration: Family,
    pub(super) handshakes: IntCounterVec,
    pub(super) handshake_failures: IntCounterVec,
    pub(super) starts: IntGaugeVec,
    pub(super) expiries: IntGaugeVec,
    pub(super) tls_reloads: IntCounterVec,
    pub(super) tls_refused: IntGaugeVec,
    pub(super) unverified: IntGaugeVec,
    pub(super) requests: IntCounterVec,
    pub(super) request_duration: Family,
    pub(super) long_poll_duration: Family,
    pub(super) rewritten: IntCounterVec,
    pub(super) endpoints: IntCounterVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) upstream_connections: IntGaugeVec,
    pub(super) upstream_connects: IntCounterVec,
    pub(super) connect_duration: Family,
    pub(super) broker_up: IntGaugeVec,
    pub(super) broker_responses: IntCounterVec,
    pub(super) broker_response_seconds: CounterVec,
    pub(super) brokers: IntGaugeVec,
    pub(super) unroutable: IntGaugeVec,
    pub(super) refreshed: IntGaugeVec,
    pub(super) refresh_failures: IntCounterVec,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |definition| register::gauge(registry, definition);
        let gauges = |definition| register::gauges(registry, definition);
        let counters = |definition| register::counters(registry, definition);
        let histograms = |definition| Family::new(registry, definition, Span::Requests);
        let sides = ["client", "broker"];
        let added_latency = histograms(&names::ADDED_LATENCY);
        let backpressure = register::seconds(registry, &names::BACKPRESSURE);
        Self {
            build_info: gauges(&names::BUILD_INFO),
            ready: gauge(&names::READY),
            draining: gauge(&names::DRAINING),
            config_reloads: counters(&names::CONFIG_RELOADS),
            config_successful: gauge(&names::CONFIG_SUCCESSFUL),
            config_success: gauge(&names::CONFIG_SUCCESS),
            advertised_known: gauges(&names::ADVERTISED_KNOWN),
            advertised_stale: gauges(&names::ADVERTISED_STALE),
            advertised_changes: counters(&names::ADVERTISED_CHANGES),
            advertised_heard: gauges(&names::ADVERTISED_HEARD),
            advertised_errors: counters(&names::ADVERTISED_ERRORS),
            connection_limit: gauge(&names::CONNECTION_LIMIT),
            buffered: gauge(&names::BUFFERED),
            buffer_limit: gauge(&names::BUFFER_LIMIT),
            splice_pipes: gauge(&names::SPLICE_PIPES),
            connections: gauges(&names::CONNECTIONS),
            accepted: counters(&names::ACCEPTED),
            rejected: counters(&names::REJECTED),
            closed: counters(&names::CLOSED),
            connection_duration: Family::new(registry, &names::CONNECTION_DURATION, Span::Connections),
            received: counters(&names::RECEIVED),
            sent: counters(&names::SENT),
            added_latency: sides.map(|side| added_latency.with(&[side])),
            backpressure: sides.map(|side| backpressure.with_label_values(&[side])),
            protocol_errors: counters(&names::PROTOCOL_ERRORS),
            handshake_duration: histograms(&names::HANDSHAKE_DURATION),
            handshakes: counters(&names::HANDSHAKES),
            handshake_failures: counters(&names::HANDSHAKE_FAILURES),
            starts: gauges(&names::STARTS),
            expiries: gauges(&names::EXPIRIES),
            tls_reloads: counters(&names::TLS_RELOADS),
            tls_refused: gauges(&names::TLS_REFUSED),
            unverified: gauges(&names::UNVERIFIED),
            requests: counters(&names::REQUESTS),
            request_duration: histograms(&names::REQUEST_DURATION),
            long_poll_duration: histograms(&names::LONG_POLL_DURATION),
            rewritten: counters(&names::REWRITTEN),
            endpoints: counters(&names::ENDPOINTS),
            in_flight: gauges(&names::IN_FLIGHT),
            upstream_connections: gauges(&names::UPSTREAM_CONNECTIONS),
            upstream_connects: counters(&names::UPSTREAM_CONNECTS),
            connect_duration: histograms(&names::UPSTREAM_CONNECT_DURATION),
            broker_up: gauges(&names::BROKER_UP),
            broker_responses: counters(&names::BROKER_RESPONSES),
            broker_response_seconds: register::seconds(registry, &names::BROKER_RESPONSE_SECONDS),
            brokers: gauges(&names::BROKERS),
            unroutable: gauges(&names::UNROUTABLE),
            refreshed: gauges(&names::REFRESHED),
            refresh_failures: counters(&names::REFRESH_FAILURES),
        }
    }

    /// Takes the series of a node out. Handles that are still held count on unseen.
    pub(super) fn remove_node(&self, cluster: &str, node: &str) {
        // An error says that there is no such series, which is what is wanted.
        let _ = self.upstream_connections.remove_label_values(&[cluster, node]);
        let _ = self.broker_up.remove_label_values(&[cluster, node]);
        let _ = self.broker_responses.remove_label_values(&[cluster, node]);
        let _ = self.broker_response_seconds.remove_label_values(&[cluster, node]);
        for dial in super::cluster::Dial::ALL {
            let _ = self.upstream_connects.remove_label_values(&[cluster, node, dial.as_str()]);
        }
    }
}
