//! The story of one connection, from the first byte to the last.

pub mod arrival;
pub mod ended;
pub mod welcome;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use self::arrival::Arrival;
use self::ended::{Ended, Side, Stage, Weight};
use self::welcome::{Tls, Welcomed};
use crate::cluster::Door;
use crate::drain::Signal;
use crate::kafka::{LENGTH_BYTES, header};
use crate::limits::held::HeldBytes;
use crate::limits::networks::Networks;
use crate::limits::spread;
use crate::logging::fold::Fold;
use crate::registry::{Connection, Registry};
use crate::relay::core::{Core, Found, Plan};
use crate::relay::observer::Observer;
use crate::relay::violation::Violation;
use crate::relay::{self, Parts, Relay};
use crate::tls::client::Connector;
use crate::tls::hello;
use crate::tls::stream::Transport;
use crate::topology::{Target, Topology};
use crate::{metrics, proxy_header};

/// How much is read at once while the first request comes.
const FIRST_READ_BYTES: usize = 4 * 1024;

/// The longest header of a first request. Real ones take some hundred bytes; before the dial nothing
/// vouches for a client, and what it makes the gateway keep must stay near what a connection may cost.
const FIRST_HEADER_BYTES_MAX: usize = 16 * 1024;

/// A client of the bootstrap port whose broker failed is given to another one so often, within that time.
const BOOTSTRAP_TRIES: usize = 3;
const BOOTSTRAP_RETRY: Duration = Duration::from_secs(3);

/// How long a client whose broker cannot be reached is kept before it is closed: clients that are let
/// go at once come back at once.
const DIAL_FAILED: Range<Duration> = Duration::from_millis(100)..Duration::from_millis(500);

/// What the connections of one listener share.
#[derive(Debug)]
pub struct Gate {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The name of the cluster behind it.
    pub cluster: Arc<str>,
    /// What the core of each connection follows.
    pub core: Arc<relay::core::Options>,
    /// Waiting that a relay allows.
    pub relay: relay::Options,
    /// The client networks that are served.
    pub networks: Networks,
    /// Whose PROXY headers are required; `None` takes each connection's own address.
    pub proxy_protocol: Option<proxy_header::Options>,
    /// How TLS is ended; `None` on a plain listener.
    pub tls: Option<Tls>,
    /// How TLS is begun with the brokers, with what these clients are towards them; `None` is plaintext.
    pub upstream: Option<Arc<Connector>>,
    /// How long the first request may take to come.
    pub first_request_timeout: Duration,
    /// Knows and reaches the brokers.
    pub topology: Arc<Topology>,
    /// The budget of held bytes.
    pub held: Arc<HeldBytes>,
    /// Counts for the listener.
    pub listener_metrics: Arc<metrics::listener::Listener>,
    /// Counts for the cluster.
    pub cluster_metrics: Arc<metrics::cluster::Cluster>,
    /// Lists the connections that are open.
    pub registry: Arc<Registry>,
    /// Keeps repeated log lines apart from news.
    pub fold: Arc<Fold>,
    /// Whether each connection that ends is logged at `info`.
    pub log_connections: bool,
}

/// Serves one client until either side ends, and tells the log and the counters how.
pub async fn run(mut arrival: Arrival, gate: Arc<Gate>, signal: Signal) {
    let started = Instant::now();
    let Some(address) = arrival::client(&mut arrival, &gate).await else { return };
    let Arrival { stream: client, door, permit: _permit, .. } = arrival;
    let guard = gate.registry.register(&gate.listener, &gate.cluster, address);
    let connection = guard.connection();
    // The set-up's future is large and short: boxed, it is gone while the relay idles for hours.
    let ended = match Box::pin(set_up(client, door, &gate, connection, &signal)).await {
        Ok((relay, _connected)) => Ended::from(relay.run(|found| learn(&gate, found)).await),
        Err(ended) => ended,
    };
    report(&gate, connection, &ended, started);
}

/// Takes note of what a response said about the cluster.
fn learn(gate: &Gate, found: &Found) {
    gate.topology.learn(&found.brokers);
    let routes = gate.core.routes.load();
    for node in &found.unroutable {
        let subject = format!("{} {node}", gate.listener);
        if let Some(repeated) = gate.fold.admit("unroutable", &subject) {
            tracing::warn!(
                listener = %gate.listener,
                cluster = %gate.cluster,
                node = node.0,
                add = %routes.range_to_add(*node),
                to = %format_args!("listeners.{}.{}", gate.listener, routes.range_setting()),
                repeated,
                "a broker is outside every range, so clients are not told of it",
            );
        }
    }
}

type Ready = (Relay<Transport, Transport>, metrics::cluster::Connected);

/// TLS, first request, broker, dial: everything up to the relay.
async fn set_up(
    client: TcpStream,
    door: Door,
    gate: &Gate,
    connection: &Arc<Connection>,
    signal: &Signal,
) -> Result<Ready, Ended> {
    let Welcomed { stream: mut client, door, distrusted } = tokio::select! {
        welcomed = welcome::welcome(client, door, gate, connection) => welcomed?,
        () = signal.draining() => return Err(Ended::usual(Side::Gateway, Stage::Tls, "drained")),
    };
    let mut core = Core::new(Arc::clone(&gate.core));
    let waited = tokio::select! {
        waited = timeout(gate.first_request_timeout, first_request(&mut client, &mut core)) => waited,
        () = signal.draining() => Ok(Err(Ended::usual(Side::Gateway, Stage::FirstRequest, "drained"))),
    };
    let read = waited.unwrap_or_else(|_| Err(Ended::usual(Side::Client, Stage::FirstRequest, "timeout")));
    let (first, plan) = match read {
        Ok(read) => read,
        Err(ended) => {
            hello::finish(&mut client).await;
            return Err(ended);
        }
    };
    introduce(connection, &first);
    let dialled = tokio::select! {
        dialled = dial(door, gate, connection) => dialled,
        () = signal.stopped() => Err(Ended::usual(Side::Gateway, Stage::Dial, "drained")),
    };
    let (mut broker, target, connected) = match dialled {
        Ok(dialled) => dialled,
        Err(ended) => {
            tokio::time::sleep(spread::within(DIAL_FAILED)).await;
            reset(&client);
            return Err(ended);
        }
    };
    broker.count_in(&gate.held);
    let observer = Observer::new(
        Arc::clone(&gate.listener_metrics),
        Arc::clone(&gate.cluster_metrics),
        Arc::clone(connected.node()),
        Arc::clone(connection),
    );
    let parts = Parts {
        core,
        first,
        plan,
        options: gate.relay,
        held: Arc::clone(&gate.held),
        observer,
        drain: signal.drain_token(),
        moved: target.moved,
        distrusted,
    };
    Ok((Relay::new(client, broker, parts), connected))
}

/// Reads until the core has judged the first request. Probes of load balancers end here, undialled.
async fn first_request(client: &mut Transport, core: &mut Core) -> Result<(Vec<u8>, Plan), Ended> {
    let mut first = Vec::new();
    loop {
        match core.request(&first, Default::default()) {
            Plan::Need(_) if first.len() >= FIRST_HEADER_BYTES_MAX => {
                let what = "the header of the first request is longer than 16 KiB";
                return Err(Ended::violated(Stage::FirstRequest, &Violation::Request { what }));
            }
            Plan::Need(_) => {}
            Plan::Close(violation) => return Err(Ended::violated(Stage::FirstRequest, &violation)),
            plan @ (Plan::Pass(_) | Plan::Drop(_) | Plan::Replace { .. } | Plan::Wait) => {
                return Ok((first, plan));
            }
        }
        first.reserve(FIRST_READ_BYTES);
        match client.read_buf(&mut first).await {
            Ok(0) => return Err(Ended::usual(Side::Client, Stage::FirstRequest, "closed")),
            Ok(_) => {}
            Err(error) => {
                let ended = Ended::usual(Side::Client, Stage::FirstRequest, "failed");
                return Err(Ended { detail: Some(error.to_string()), ..ended });
            }
        }
    }
}

/// Notes who the client says it is, as far as its first bytes tell.
fn introduce(connection: &Connection, first: &[u8]) {
    let payload = first.get(LENGTH_BYTES..).unwrap_or_default();
    let Ok(request) = header::RequestHeader::read(payload) else { return };
    let Some(api) = request.api() else { return };
    let flexible = api.is_flexible(request.version);
    if let Ok((_, Some(client_id))) = header::read_past(payload, flexible) {
        connection.client_id(client_id);
    }
    if flexible
        && api.request == crate::kafka::api::Request::ApiVersions
        && let Ok((name, version)) = header::client_software(payload)
    {
        connection.software(name, version);
    }
}

type Dialled = (Transport, Target, metrics::cluster::Connected);

/// Finds the broker of the door and connects to it.
async fn dial(door: Door, gate: &Gate, connection: &Connection) -> Result<Dialled, Ended> {
    let target = match door {
        Door::Bootstrap => gate.topology.bootstrap(),
        Door::Node(node) => gate.topology.find(node).await,
    };
    let Some(mut target) = target else {
        let what = match door {
            Door::Node(node) => format!("the cluster has no broker with id {node}"),
            Door::Bootstrap => "the cluster has no broker".to_owned(),
        };
        return Err(Ended::notable(Side::Broker, Stage::Dial, "unknown_node", what));
    };
    let begin = Instant::now();
    let mut tries = 1;
    loop {
        let dialled = gate.topology.dial(&target, gate.upstream.as_deref()).await;
        let failed = match dialled {
            Ok(connected) => {
                connection.dialled(target.node, target.address.clone());
                let node = gate.cluster_metrics.node(target.node.map(|node| node.0));
                return Ok((connected.stream, target, node.connected()));
            }
            Err(error) => error,
        };
        // Any broker will do at the bootstrap port. The one that failed is passed over from now on.
        let next = gate.topology.bootstrap().filter(|next| {
            let again = tries < BOOTSTRAP_TRIES && begin.elapsed() < BOOTSTRAP_RETRY;
            door == Door::Bootstrap && again && next.address != target.address
        });
        let Some(next) = next else {
            connection.dialled(target.node, target.address.clone());
            return Err(Ended::not_dialled(&failed));
        };
        target = next;
        tries += 1;
    }
}

/// Has the connection end with a reset when it is dropped. A client that cannot have its broker is answered as by
/// a broker that is not there: an end in order before the first response tells franz-go that it is configured
/// wrongly, and it fails records in place of asking another broker.
fn reset(client: &Transport) {
    let _ = socket2::SockRef::from(client.socket()).set_linger(Some(Duration::ZERO));
}

/// Says how the connection ended: one counter, and at most one line.
fn report(gate: &Gate, connection: &Connection, ended: &Ended, started: Instant) {
    let Ended { side, stage, reason, weight, detail } = ended;
    gate.listener_metrics.closed(side.as_str(), stage.as_str(), reason);
    if let Some(side) = ended.protocol_error() {
        gate.listener_metrics.protocol_error(side, reason);
    }
    let entry = connection.entry();
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    macro_rules! line {
        ($level:ident, $repeated:expr) => {
            tracing::$level!(
                listener = %gate.listener,
                cluster = %gate.cluster,
                conn = entry.id,
                client = %entry.client,
                node = entry.node,
                broker = entry.broker,
                principal = entry.principal,
                client_id = entry.client_id,
                software = entry.software,
                side = side.as_str(),
                stage = stage.as_str(),
                reason,
                error = detail,
                bytes_in = entry.bytes_in,
                bytes_out = entry.bytes_out,
                duration_ms,
                repeated = $repeated,
                "connection ended"
            )
        };
    }
    // What is folded is no warning, but still a connection that ended.
    let warned = match weight {
        Weight::Notable => gate.fold.admit(reason, &gate.listener),
        Weight::Usual => None,
    };
    match warned {
        Some(repeated) => line!(warn, repeated),
        None if gate.log_connections => line!(info, None::<u64>),
        None => line!(debug, None::<u64>),
    }
}
