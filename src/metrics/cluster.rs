//! What is counted for the requests to one cluster and for the connections to its brokers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus::{Counter, IntCounter, IntGauge};

use super::families::Families;
use super::histogram::{Family, Histogram};

/// How a dial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dial {
    /// A connection stands.
    Ok,
    /// The time for it was over.
    Timeout,
    /// No resolved address may be dialled.
    Forbidden,
    /// Refused, unreachable, or not resolved.
    Failed,
    /// Connected, but the TLS handshake failed.
    Tls,
}

impl Dial {
    pub(super) const ALL: [Self; 5] = [Self::Ok, Self::Timeout, Self::Forbidden, Self::Failed, Self::Tls];

    /// The value of the label `result`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
            Self::Tls => "tls",
        }
    }
}

/// How `NodeEndpoints` of a response were rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// Byte for byte, in a response small enough to be held.
    Exact,
    /// Overwritten at equal length as the response streamed.
    Padded,
}

impl Endpoints {
    const ALL: [Self; 2] = [Self::Exact, Self::Padded];

    /// The value of the label `path`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Padded => "padded",
        }
    }
}

/// APIs whose responses carry `NodeEndpoints`, by Kafka's name.
const WITH_ENDPOINTS: [&str; 4] = ["Produce", "Fetch", "ShareFetch", "ShareAcknowledge"];

/// The handles of one cluster. APIs are told by their index in the names that
/// [`Metrics::new`](super::Metrics::new) was given; every index beyond them counts as `other`.
#[derive(Debug)]
pub struct Cluster {
    /// How long dials that succeeded took.
    pub connect_duration: Arc<Histogram>,
    name: Box<str>,
    apis: Box<[Api]>,
    request_duration: Family,
    long_poll_duration: Family,
    in_flight: IntGauge,
    nodes: Mutex<BTreeMap<i32, Arc<Node>>>,
    bootstrap: Arc<Node>,
    unlisted: Arc<Node>,
    brokers: IntGauge,
    unroutable: IntGauge,
    refreshed: IntGauge,
    refresh_failures: IntCounter,
    families: Arc<Families>,
    /// The configuration has the cluster no more: connections that drain must not bring its series back.
    gone: AtomicBool,
}

#[derive(Debug)]
struct Api {
    name: &'static str,
    requests: IntCounter,
    rewritten: IntCounter,
    /// In the order of [`Endpoints::ALL`]; only for [`WITH_ENDPOINTS`].
    endpoints: Option<[IntCounter; 2]>,
    /// Made on first use: few of some ninety APIs are ever seen, and each takes 1.4 KiB.
    round_trip: OnceLock<Arc<Histogram>>,
    long_poll: OnceLock<Arc<Histogram>>,
}

impl Cluster {
    pub(super) fn new(name: &str, apis: &[&'static str], families: &Arc<Families>) -> Self {
        let api = |api: &'static str| Api {
            name: api,
            requests: families.requests.with_label_values(&[name, api]),
            rewritten: families.rewritten.with_label_values(&[name, api]),
            endpoints: WITH_ENDPOINTS.contains(&api).then(|| {
                Endpoints::ALL.map(|path| families.endpoints.with_label_values(&[name, api, path.as_str()]))
            }),
            round_trip: OnceLock::new(),
            long_poll: OnceLock::new(),
        };
        Self {
            connect_duration: families.connect_duration.with(&[name]),
            name: name.into(),
            apis: apis.iter().copied().chain(["other"]).map(api).collect(),
            request_duration: families.request_duration.clone(),
            long_poll_duration: families.long_poll_duration.clone(),
            in_flight: families.in_flight.with_label_values(&[name]),
            nodes: Mutex::default(),
            bootstrap: Arc::new(Node::new(name, "bootstrap", families)),
            unlisted: Arc::new(Node::new(name, "unlisted", families)),
            brokers: families.brokers.with_label_values(&[name]),
            unroutable: families.unroutable.with_label_values(&[name]),
            refreshed: families.refreshed.with_label_values(&[name]),
            refresh_failures: families.refresh_failures.with_label_values(&[name]),
            families: Arc::clone(families),
            gone: AtomicBool::new(false),
        }
    }

    pub(super) fn forget(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn api(&self, index: usize) -> Option<&Api> {
        self.apis.get(index).or_else(|| self.apis.last())
    }

    /// Counts a request that goes to a broker.
    pub fn requested(&self, api: usize) {
        if let Some(api) = self.api(api) {
            api.requests.inc();
        }
    }

    /// Counts the time from a request sent to its response, for an API that a broker answers at once.
    pub fn round_trip(&self, api: usize, took: Duration) {
        if let Some(api) = self.api(api).filter(|_| !self.is_gone()) {
            let family = &self.request_duration;
            api.round_trip.get_or_init(|| family.with(&[&self.name, api.name])).observe(took);
        }
    }

    /// The same for an API whose response a broker may hold back until something happens.
    pub fn long_poll(&self, api: usize, took: Duration) {
        if let Some(api) = self.api(api).filter(|_| !self.is_gone()) {
            let family = &self.long_poll_duration;
            api.long_poll.get_or_init(|| family.with(&[&self.name, api.name])).observe(took);
        }
    }

    /// Counts a response in which a byte was changed.
    pub fn rewritten(&self, api: usize) {
        if let Some(api) = self.api(api) {
            api.rewritten.inc();
        }
    }

    /// Counts a response whose `NodeEndpoints` were rewritten, apart from [`Cluster::rewritten`].
    pub fn endpoints_rewritten(&self, api: usize, path: Endpoints) {
        let counters = self.api(api).and_then(|api| api.endpoints.as_ref());
        if let Some(counter) = counters.and_then(|counters| counters.get(path as usize)) {
            counter.inc();
        }
    }

    /// One connection's share of the requests in flight; what is left of it when it is dropped is taken off.
    pub fn in_flight(&self) -> InFlight {
        InFlight { all: self.in_flight.clone(), own: 0 }
    }

    /// The handles of a broker, or of the bootstrap addresses. A node that the table does not list shares
    /// one series, `unlisted`, with all others of its kind.
    pub fn node(&self, node: Option<i32>) -> Arc<Node> {
        let Some(node) = node else { return Arc::clone(&self.bootstrap) };
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(nodes.get(&node).unwrap_or(&self.unlisted))
    }

    /// Makes the series of the nodes of the table, at most the first [`NODES_MAX`] of them, and removes
    /// those of nodes that are gone.
    pub fn set_nodes(&self, listed: impl IntoIterator<Item = i32>) {
        if self.is_gone() {
            return;
        }
        let listed: std::collections::BTreeSet<i32> = listed.into_iter().take(NODES_MAX).collect();
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|node, _| {
            let stays = listed.contains(node);
            if !stays {
                self.families.remove_node(&self.name, &node.to_string());
            }
            stays
        });
        for node in &listed {
            nodes.entry(*node).or_insert_with(|| Arc::new(self.listed(*node)));
        }
        self.brokers.set(i64::try_from(nodes.len()).unwrap_or(i64::MAX));
    }

    fn listed(&self, node: i32) -> Node {
        let label = node.to_string();
        let node = Node::new(&self.name, &label, &self.families);
        let up = self.families.broker_up.with_label_values(&[&*self.name, &label]);
        up.set(1);
        Node { up: Some(up), ..node }
    }

    /// Sets which of the nodes that have series are up.
    pub fn set_up(&self, nodes: impl IntoIterator<Item = (i32, bool)>) {
        let known = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, up) in nodes {
            if let Some(gauge) = known.get(&node).and_then(|node| node.up.as_ref()) {
                gauge.set(i64::from(up));
            }
        }
    }

    /// Sets how many brokers stand outside the ranges of at least one listener.
    pub fn set_unroutable(&self, brokers: usize) {
        self.unroutable.set(i64::try_from(brokers).unwrap_or(i64::MAX));
    }

    /// Notes that the cluster answered a request of the gateway's own just now.
    pub fn refreshed(&self) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.refreshed.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }

    /// Counts a request of the gateway's own that failed.
    pub fn refresh_failed(&self) {
        self.refresh_failures.inc();
    }
}

/// How many nodes of one cluster have series of their own.
pub const NODES_MAX: usize = 1000;

/// The handles of one broker.
#[derive(Debug)]
pub struct Node {
    connections: IntGauge,
    /// In the order of [`Dial::ALL`].
    connects: [IntCounter; Dial::ALL.len()],
    up: Option<IntGauge>,
    responses: IntCounter,
    response_seconds: Counter,
}

impl Node {
    fn new(cluster: &str, node: &str, families: &Families) -> Self {
        Self {
            connections: families.upstream_connections.with_label_values(&[cluster, node]),
            connects: Dial::ALL
                .map(|dial| families.upstream_connects.with_label_values(&[cluster, node, dial.as_str()])),
            up: None,
            responses: families.broker_responses.with_label_values(&[cluster, node]),
            response_seconds: families.broker_response_seconds.with_label_values(&[cluster, node]),
        }
    }

    /// Counts a dial.
    pub fn dialled(&self, dial: Dial) {
        if let Some(counter) = self.connects.get(dial as usize) {
            counter.inc();
        }
    }

    /// Counts a connection to the broker, which is open until the value is dropped.
    #[must_use = "the connection counts as open until this is dropped"]
    pub fn connected(self: &Arc<Self>) -> Connected {
        self.connections.inc();
        Connected(Arc::clone(self))
    }

    /// Counts a response to a request that the broker answers at once, and what that took.
    pub fn answered(&self, took: Duration) {
        self.responses.inc();
        self.response_seconds.inc_by(took.as_secs_f64());
    }
}

/// A connection to a broker that is open.
#[derive(Debug)]
pub struct Connected(Arc<Node>);

impl Connected {
    /// The handles of the broker.
    pub fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// The requests of one connection that await a response.
#[derive(Debug)]
pub struct InFlight {
    all: IntGauge,
    own: i64,
}

impl InFlight {
    /// One more.
    pub fn sent(&mut self) {
        self.own += 1;
        self.all.inc();
    }

    /// One less.
    pub fn answered(&mut self) {
        self.own -= 1;
        self.all.dec();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.all.sub(self.own);
    }
}
