//! A gateway in this process, in front of a toy cluster, each on loopback addresses of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use gatehouse::app::{App, Runtimes};
use gatehouse::config::{self, Config, Surroundings};
use gatehouse::kafka::NodeId;
use gatehouse::limits::machine::Machine;
use gatehouse::toy::{Cluster, Options};
use tokio::runtime::Handle;

use crate::client::Client;
use crate::poll::until;

/// The name that clients are told. No test resolves it: a door is found by its port.
pub(crate) const ADVERTISED: &str = "gate.example";

/// The bootstrap port; the port of node N is this plus 1 plus N.
pub(crate) const PORT: u16 = 9092;

/// A loopback address that nobody else in this machine's tests is likely to use: the process names two of
/// its bytes, a count the third, and what it carries over.
pub(crate) fn own_address() -> IpAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let [over, count] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 64 + high.wrapping_add(over) % 64, low, count).into()
}

/// A toy cluster on an address of its own.
pub(crate) async fn toy(options: Options) -> Cluster {
    Cluster::start(Options { bind: own_address(), ..options }).await.expect("a cluster on loopback")
}

/// A gateway in front of a cluster.
pub(crate) struct Gateway {
    pub(crate) app: App,
    ip: IpAddr,
    forbidden: String,
}

/// What a test wants otherwise.
pub(crate) struct Wanted<'a> {
    pub(crate) nodes: &'a str,
    /// Lines of the cluster, such as `discovery: learn-only`.
    pub(crate) cluster: &'a str,
    /// What clients are told; `None` is [`ADVERTISED`].
    pub(crate) advertise: Option<IpAddr>,
    /// Where the doors are; `None` is an address of the gateway's own.
    pub(crate) ip: Option<IpAddr>,
    /// Lines of the listener.
    pub(crate) listener: &'a str,
    /// Whether to wait until it is ready.
    pub(crate) ready: bool,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self {
            nodes: "0-9",
            cluster: "metadata_refresh: 1s",
            advertise: None,
            ip: None,
            listener: "unknown_apis: close",
            ready: true,
        }
    }
}

impl Gateway {
    /// In front of all brokers of a cluster.
    pub(crate) async fn before(cluster: &Cluster) -> Self {
        Self::with(cluster, Wanted::default()).await
    }

    pub(crate) async fn with(cluster: &Cluster, wanted: Wanted<'_>) -> Self {
        let ip = wanted.ip.unwrap_or_else(own_address);
        let advertise = wanted.advertise.map_or_else(|| ADVERTISED.to_owned(), |ip| ip.to_string());
        let addresses = cluster.addresses();
        let forbidden = addresses.first().expect("a broker").1.ip().to_string();
        let bootstrap: Vec<String> = addresses.iter().map(|(_, address)| address.to_string()).collect();
        let text = format!(
            "clusters:
  toy:
    bootstrap: [{}]
    {}
listeners:
  door:
    bind: {ip}:{PORT}
    advertise: {advertise}
    routing: {{ port: {{ ranges: [ {{ nodes: {}, bind: {} }} ] }} }}
    {}
admin: {{ bind: null }}
shutdown: {{ ready_delay: 0s, drain_timeout: 10s, hard_stop_after: 20s }}
",
            bootstrap.join(", "),
            wanted.cluster,
            wanted.nodes,
            PORT + 1,
            wanted.listener,
        );
        let gateway = Self::start(&text, ip, forbidden).await;
        if wanted.ready {
            until("readiness", async || gateway.app.is_ready()).await;
        }
        gateway
    }

    /// With a whole configuration. Its clients come to `ip` and must not hear `forbidden`.
    pub(crate) async fn start(text: &str, ip: IpAddr, forbidden: String) -> Self {
        Self::start_tuned(text, ip, forbidden, |_| ()).await
    }

    /// The same with what no configuration may say, such as lifetimes shorter than any that makes sense.
    pub(crate) async fn start_tuned(
        text: &str,
        ip: IpAddr,
        forbidden: String,
        tune: impl FnOnce(&mut Config),
    ) -> Self {
        let surroundings = Surroundings {
            environment: config::yaml::Environment::default(),
            machine: Machine { descriptors: 1 << 16, memory_bytes: 8 << 30 },
            host_name: "it".to_owned(),
            elsewhere: false,
            certificates: false,
        };
        let loaded = config::load("it.yaml", text, &surroundings);
        let (mut config, _) = loaded.unwrap_or_else(|faults| panic!("{faults}"));
        tune(&mut config);
        let runtimes = Runtimes { data: Handle::current(), control: Handle::current() };
        let app = App::start(config, &runtimes).await.expect("free ports");
        Self { app, ip, forbidden }
    }

    /// The address of the bootstrap port.
    pub(crate) fn bootstrap(&self) -> SocketAddr {
        (self.ip, PORT).into()
    }

    /// The address of a node's port.
    pub(crate) fn node(&self, node: NodeId) -> SocketAddr {
        (self.ip, port(node)).into()
    }

    /// A client on the bootstrap port. It fails when it is told an address behind the gateway.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.bootstrap()).await.that_must_not_hear(&self.forbidden)
    }

    /// A client on a node's port.
    pub(crate) async fn connect_to(&self, node: NodeId) -> Client {
        Client::connect(self.node(node)).await.that_must_not_hear(&self.forbidden)
    }

    /// The sum of the samples of a metric whose line holds all the given parts.
    pub(crate) fn metric(&self, name: &str, parts: &[&str]) -> f64 {
        let metrics = self.app.metrics();
        let lines = metrics.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && parts.iter().all(|part| line.contains(part))
        });
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// How many client connections have ended for a reason.
    pub(crate) fn ended(&self, reason: &str) -> f64 {
        self.metric("gatehouse_connections_closed_total", &[&format!("reason=\"{reason}\"")])
    }

    /// Waits until a client connection has ended for a reason.
    pub(crate) async fn until_ended(&self, reason: &str) {
        until(&format!("an ending by {reason}: {}", self.endings()), async || self.ended(reason) > 0.0).await;
    }

    /// All endings there were, for messages.
    pub(crate) fn endings(&self) -> String {
        let metrics = self.app.metrics();
        let lines = metrics.lines().filter(|l| l.contains("connections_closed_total{") && !l.ends_with(" 0"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The port of a node.
pub(crate) fn port(node: NodeId) -> u16 {
    PORT + 1 + u16::try_from(node.0).expect("a node in range")
}
