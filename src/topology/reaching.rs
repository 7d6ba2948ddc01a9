//! Reaches brokers, and remembers how that went.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

use super::health::Report;
use super::{Discovery, Target, Topology};
use crate::connect::{self, Connected, Dialer};
use crate::logging::chain;
use crate::metrics::cluster::Dial;
use crate::tls::client::Connector;

/// How brokers are reached for the gateway's own requests.
#[derive(Clone, Debug)]
pub struct Reaching {
    /// Dials them.
    pub dialer: Dialer,
    /// Begins TLS with them, showing the gateway's own certificate; `None` is plaintext.
    pub tls: Option<Arc<Connector>>,
}

impl Topology {
    /// Dials a target for a client, with what its clients are towards the brokers, and remembers how that
    /// went: for the metrics, for the log, for the next choice, and for a refresh at once where it failed.
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`Dialer::dial`].
    pub async fn dial(&self, target: &Target, tls: Option<&Connector>) -> Result<Connected, connect::Error> {
        let result = self.reach(target, tls).await;
        if result.is_err() {
            self.wanted.notify_one();
        }
        result
    }

    /// Dials a target for the gateway's own requests.
    pub(super) async fn reach_own(&self, target: &Target) -> Result<Connected, connect::Error> {
        self.reach(target, self.reaching.load_full().tls.as_deref()).await
    }

    /// As [`dial`](Self::dial), but asks for nothing.
    async fn reach(&self, target: &Target, tls: Option<&Connector>) -> Result<Connected, connect::Error> {
        let begin = Instant::now();
        let result = self.reaching.load_full().dialer.dial(&target.address, tls).await;
        match &result {
            Ok(_) => {
                self.metrics.connect_duration.observe(begin.elapsed());
                self.reached(target);
            }
            Err(error) => self.failed(target, error),
        }
        result
    }

    fn reached(&self, target: &Target) {
        self.metrics.node(target.node.map(|node| node.0)).dialled(Dial::Ok);
        let failed_since = self.health().reached(&target.address, Instant::now());
        if let Some(since) = failed_since {
            self.show_reach();
            let down = since.elapsed().unwrap_or_default().as_secs();
            let node = target.node.map(|node| node.0);
            tracing::info!(
                cluster = %self.name, node, broker = %target.address, down_seconds = down,
                "the broker is reached again",
            );
        }
        if !matches!(self.options.load().discovery, Discovery::Own(_)) {
            self.ready.store(true, Ordering::Relaxed);
        }
    }

    fn failed(&self, target: &Target, error: &connect::Error) {
        self.metrics.node(target.node.map(|node| node.0)).dialled(error.dial());
        let error = chain(error);
        let report = self.health().failed(&target.address, error.clone(), Instant::now());
        self.show_reach();
        if let Some(Report { since, failures }) = report {
            let node = target.node.map(|node| node.0);
            tracing::warn!(
                cluster = %self.name, node, broker = %target.address, error, failures,
                since = %humantime::format_rfc3339_seconds(since),
                "the broker cannot be reached",
            );
        }
    }

    /// Sets the metrics of all nodes by what is known of their addresses, however that came to be known: a
    /// node may be at a bootstrap address, or have moved.
    pub(super) fn show_reach(&self) {
        let health = self.health();
        let table = self.table.load();
        self.metrics
            .set_up(table.nodes.iter().map(|(node, entry)| (node.0, !health.is_down(&entry.address))));
    }
}
