//! What the gateway counts, and the text that Prometheus scrapes.
//!
//! Labels are names of the configuration, node ids of the topology table, Kafka's names of APIs, and
//! words of closed lists: nothing that a peer sends adds a series. Whoever counts resolves its handles
//! once, at start or when a connection opens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Registry, TextEncoder};

pub mod advertised;
pub mod cluster;
mod families;
mod forget;
pub mod histogram;
pub mod listener;
mod names;
mod process;
mod register;
pub mod reload;
pub mod tls;

use cluster::Cluster;
use families::Families;
use listener::Listener;

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The optional features that this build has.
pub fn features() -> Vec<&'static str> {
    let all = [
        ("keystore", cfg!(feature = "keystore")),
        ("kubernetes", cfg!(feature = "kubernetes")),
        ("mimalloc", cfg!(feature = "mimalloc")),
    ];
    all.into_iter().filter(|(_, built_in)| *built_in).map(|(name, _)| name).collect()
}

/// Everything the process counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Families>,
    apis: Box<[&'static str]>,
    listeners: Mutex<BTreeMap<Box<str>, Arc<Listener>>>,
    clusters: Mutex<BTreeMap<Box<str>, Arc<Cluster>>>,
    handshakes: Mutex<BTreeMap<Box<str>, Arc<tls::Handshakes>>>,
}

impl Metrics {
    /// Registers every metric. `api_names` are Kafka's names of the APIs, in the order of the indices that
    /// [`Cluster`]'s methods are called with.
    pub fn new(api_names: &[&'static str]) -> Self {
        let registry = Registry::new();
        let families = Arc::new(Families::new(&registry));
        register::collector(&registry, process::Process::new());
        let revision = option_env!("GATEHOUSE_REVISION").unwrap_or("unknown");
        families
            .build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION"), revision, &features().join(",")])
            .set(1);
        Self {
            registry,
            families,
            apis: api_names.into(),
            listeners: Mutex::default(),
            clusters: Mutex::default(),
            handshakes: Mutex::default(),
        }
    }

    /// The handles of a listener of the configuration; its series start at 0 with the first call.
    pub fn listener(&self, name: &str) -> Arc<Listener> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Listener::new(name, &self.families));
        Arc::clone(listeners.entry(name.into()).or_insert_with(new))
    }

    /// The handles of the handshakes of a listener that ends TLS; their series start at 0 with the first call.
    pub fn handshakes(&self, listener: &str) -> Arc<tls::Handshakes> {
        let mut handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(tls::Handshakes::new(listener, &self.families));
        Arc::clone(handshakes.entry(listener.into()).or_insert_with(new))
    }

    /// The handles of a cluster of the configuration; its series start at 0 with the first call.
    pub fn cluster(&self, name: &str) -> Arc<Cluster> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Cluster::new(name, &self.apis, &self.families));
        Arc::clone(clusters.entry(name.into()).or_insert_with(new))
    }

    /// Sets what `/readyz` answers.
    pub fn set_ready(&self, ready: bool) {
        self.families.ready.set(i64::from(ready));
    }

    /// Sets whether the process was asked to stop.
    pub fn set_draining(&self, draining: bool) {
        self.families.draining.set(i64::from(draining));
    }

    /// Sets how many client connections the process takes.
    pub fn set_connection_limit(&self, limit: usize) {
        self.families.connection_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// Sets how many bytes are held for peers that do not take them, and the budget.
    pub fn set_buffered(&self, bytes: u64, limit: u64) {
        self.families.buffered.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.families.buffer_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// Sets how many pipes hold the rest of a large frame.
    pub fn set_splice_pipes(&self, pipes: usize) {
        self.families.splice_pipes.set(i64::try_from(pipes).unwrap_or(i64::MAX));
    }

    /// The text of a scrape, format 0.0.4.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // The encoder fails for a family without a name or without samples; the registry makes neither.
        let _ = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }
}

#[cfg(test)]
mod tests;
