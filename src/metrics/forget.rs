//! Takes out the series of a listener or a cluster that the configuration no longer has.

use std::collections::HashMap;
use std::sync::PoisonError;

use prometheus::core::{Collector as _, MetricVec, MetricVecBuilder};

use super::Metrics;
use super::families::Families;
use super::tls::Side;

impl Metrics {
    /// Takes the series of a listener out. Connections that still drain are counted no more.
    pub fn forget_listener(&self, name: &str) {
        if let Some(listener) = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            listener.forget();
        }
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.families.forget(&[("listener", name)]);
    }

    /// Takes the series of a listener's handshakes out: it ends TLS no more.
    pub fn forget_handshakes(&self, listener: &str) {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).remove(listener);
        let families = &self.families;
        let labels = [("listener", listener)];
        families.handshake_duration.forget(&labels);
        forget(&families.handshakes, &labels);
        forget(&families.handshake_failures, &labels);
    }

    /// Takes the series of a listener's advertised address out: it is that of the configuration now.
    pub fn forget_advertised(&self, listener: &str) {
        let (families, labels) = (&self.families, [("listener", listener)]);
        for gauges in [&families.advertised_known, &families.advertised_stale, &families.advertised_heard] {
            forget(gauges, &labels);
        }
        forget(&families.advertised_changes, &labels);
        forget(&families.advertised_errors, &labels);
    }

    /// Takes the series of a cluster out.
    pub fn forget_cluster(&self, name: &str) {
        if let Some(cluster) = self.clusters.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            cluster.forget();
        }
        self.families.forget(&[("cluster", name)]);
    }

    /// Takes the series of the files of a side out: it has none any more.
    pub fn forget_side(&self, side: Side<'_>) {
        let labels = [("listener", side.listener), ("cluster", side.cluster)];
        forget(&self.families.tls_reloads, &labels);
        forget(&self.families.tls_refused, &labels);
    }
}

impl Families {
    /// Removes every series with these labels, of whatever family has them.
    fn forget(&self, labels: &[(&str, &str)]) {
        let counters = [
            &self.advertised_changes,
            &self.advertised_errors,
            &self.accepted,
            &self.rejected,
            &self.closed,
            &self.received,
            &self.sent,
            &self.handshakes,
            &self.handshake_failures,
            &self.tls_reloads,
            &self.requests,
            &self.rewritten,
            &self.endpoints,
            &self.upstream_connects,
            &self.broker_responses,
            &self.refresh_failures,
        ];
        let gauges = [
            &self.advertised_known,
            &self.advertised_stale,
            &self.advertised_heard,
            &self.connections,
            &self.starts,
            &self.expiries,
            &self.tls_refused,
            &self.unverified,
            &self.in_flight,
            &self.upstream_connections,
            &self.broker_up,
            &self.brokers,
            &self.unroutable,
            &self.refreshed,
        ];
        let histograms = [
            &self.connection_duration,
            &self.handshake_duration,
            &self.request_duration,
            &self.long_poll_duration,
            &self.connect_duration,
        ];
        counters.iter().for_each(|family| forget(family, labels));
        forget(&self.broker_response_seconds, labels);
        gauges.iter().for_each(|family| forget(family, labels));
        histograms.iter().for_each(|family| family.forget(labels));
    }
}

fn forget<T: MetricVecBuilder>(family: &MetricVec<T>, labels: &[(&str, &str)]) {
    for metric in family.collect().iter().flat_map(|family| family.get_metric()) {
        let own: HashMap<&str, &str> = metric.get_label().iter().map(|l| (l.name(), l.value())).collect();
        if labels.iter().all(|(name, value)| own.get(name) == Some(value)) {
            // An error says that there is no such series, which is what is wanted.
            let _ = family.remove(&own);
        }
    }
}
