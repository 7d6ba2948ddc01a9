//! What the admin pages show, read from the parts when they are asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::State;
use super::parts::{self, Parts};
use super::uncovered::uncovered;
use crate::advertised::Standing;
use tokio::sync::mpsc;

use crate::admin::state::{
    self, Broker, Check, Cluster, Command, Listener, Range, Readiness, Route, ServiceAddress, Status,
};
use crate::cluster::Routes;
use crate::config;
use crate::kafka::NodeId;
use crate::net::HostPort;
use crate::relay;
use crate::topology::health::Reach;
use crate::topology::{Discovery, Snapshot};

/// The questions of the admin pages, with their answers.
pub(super) fn state(state: &Arc<State>, commands: mpsc::Sender<Command>) -> state::State {
    fn ask<T: 'static>(state: &Arc<State>, answer: fn(&State) -> T) -> state::Ask<T> {
        let state = Arc::clone(state);
        Box::new(move || answer(&state))
    }
    state::State {
        readiness: ask(state, readiness),
        metrics: ask(state, metrics),
        status: ask(state, status),
        listeners: ask(state, listeners),
        clusters: ask(state, clusters),
        routes: ask(state, routes),
        certificates: ask(state, |state| state.parts().sides.certificates()),
        connections: Arc::clone(&state.registry),
        commands,
    }
}

/// Ports bound, clusters answered, not draining. Brokers that are lost later are a warning: all replicas
/// would turn unready together.
pub(super) fn readiness(state: &State) -> Readiness {
    let mut checks = Vec::new();
    let parts = state.parts();
    if state.draining.load(Ordering::Relaxed) {
        checks.push(Check::fail("process", "stopping: clients should go elsewhere"));
    }
    checks.push(state.reloading.check());
    for (name, addresses) in parts.bound() {
        let first = addresses.first().map(ToString::to_string).unwrap_or_default();
        checks.push(Check::ok(
            format!("listener {name}"),
            format!("{} ports are bound, the bootstrap port on {first}", addresses.len()),
        ));
    }
    let listeners = parts.config.listeners.iter().zip(&parts.listeners);
    checks.extend(listeners.filter_map(|(listener, running)| addressed(listener, running)));
    checks.extend(parts.sides.checks());
    for names in uncovered(&parts) {
        let name = format!("certificates of listener {}", names.listener);
        checks.retain(|check| check.name != name || check.is_warning());
        checks.push(Check::warn(name, names.to_string()));
    }
    for (index, snapshot) in snapshots(&parts) {
        let name = format!("cluster {}", snapshot.name);
        checks.push(match (&snapshot.refreshes.failing, snapshot.ready) {
            // What came later must not take away what was ready: all replicas read the same file.
            (_, false) if !parts.is_first(index) => Check::warn(name, unanswered(&parts, index, &snapshot)),
            (_, false) => Check::fail(name, unanswered(&parts, index, &snapshot)),
            (Some((since, error)), true) => {
                Check::warn(name, format!("has not answered since {}: {error}", time(*since)))
            }
            (None, true) => Check::ok(name, format!("{} brokers are known", snapshot.brokers.len())),
        });
        for (node, address, reach) in &snapshot.brokers {
            if let Reach::Down { since, error, .. } = reach {
                checks.push(Check::warn(
                    format!("broker {node} of {}", snapshot.name),
                    format!("{address} cannot be reached since {}: {error}", time(*since)),
                ));
            }
        }
        for (listener, node) in unroutable(&parts, index, &snapshot) {
            let name = format!("listener {}", listener.listen.name);
            checks.push(Check::warn(name, advice(&listener.listen, node)));
        }
    }
    Readiness { checks }
}

/// What is known of an address that is that of a Service.
fn addressed(listener: &config::Listener, running: &parts::Listener) -> Option<Check> {
    let standing = running.follower.as_ref()?.standing();
    let (name, words) = (format!("listener {}", listener.listen.name), standing.words());
    Some(match (&standing.told, &standing.trouble) {
        (Some(_), None) => Check::ok(name, words),
        (Some(_), Some(_)) => Check::warn(name, words),
        // What came later must not take away what was ready: all replicas read the same file.
        (None, _) if !running.first => Check::warn(name, words),
        (None, _) => Check::fail(name, words),
    })
}

fn unanswered(parts: &Parts, index: usize, snapshot: &Snapshot) -> String {
    if let Some((since, error)) = &snapshot.refreshes.failing {
        return format!("has not answered since {}: {error}", time(*since));
    }
    match parts.config.clusters.get(index).map(|cluster| &cluster.topology.discovery) {
        Some(Discovery::LearnOnly) => {
            "no broker was reached yet; the cluster is learn-only, so brokers become known as clients ask"
                .to_owned()
        }
        Some(Discovery::Own(_) | Discovery::Static(_)) | None => "has not answered yet".to_owned(),
    }
}

/// `/metrics`, with the gauges that follow other parts.
pub(super) fn metrics(state: &State) -> String {
    let held = state.limits.held();
    state.metrics.set_buffered(held.bytes(), held.budget());
    state.metrics.set_splice_pipes(relay::pipes_in_use());
    state.metrics.set_connection_limit(state.limits.options().max_connections);
    state.metrics.set_ready(readiness(state).is_ready());
    let parts = state.parts();
    for (index, snapshot) in snapshots(&parts) {
        let mut nodes: Vec<_> = unroutable(&parts, index, &snapshot).map(|(_, node)| node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        state.metrics.cluster(&snapshot.name).set_unroutable(nodes.len());
    }
    state.metrics.render()
}

fn status(state: &State) -> Status {
    let held = state.limits.held();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: time(state.started_at),
        uptime_seconds: state.started.elapsed().as_secs(),
        draining: state.draining.load(Ordering::Relaxed),
        connections: state.registry.count(),
        max_connections: state.limits.options().max_connections,
        held_bytes: held.bytes(),
        held_bytes_limit: held.budget(),
    }
}

fn listeners(state: &State) -> Vec<Listener> {
    let parts = state.parts();
    let mut listeners: Vec<_> = parts
        .config
        .listeners
        .iter()
        .zip(&parts.listeners)
        .map(|(listener, running)| {
            let routes = running.routes.load();
            Listener {
                name: listener.listen.name.clone(),
                cluster: cluster_name(&parts, listener.cluster),
                bind: binds(listener, listener.listen.port),
                advertise: routes.bootstrap().map(advertise),
                advertise_from: running.follower.as_ref().map(|follower| advertise_from(follower.standing())),
                mode: routes.mode().to_owned(),
                ranges: ranges(&routes),
                connections: running.limits.connections(),
            }
        })
        .collect();
    listeners.sort_by(|a, b| a.name.cmp(&b.name));
    listeners
}

/// The declared nodes; those that are told apart by name have no port of their own.
fn ranges(routes: &Routes) -> Vec<Range> {
    let ports = |first: NodeId| routes.port_ranges().iter().find(|range| range.first == first);
    let ranges = routes.ranges().map(|range| Range {
        first_node: range.first.0,
        last_node: range.last.0,
        bind: ports(range.first).map(|range| range.bind),
        advertise: ports(range.first).map(|range| range.advertise),
    });
    ranges.collect()
}

fn clusters(state: &State) -> Vec<Cluster> {
    let parts = state.parts();
    let mut clusters: Vec<_> = snapshots(&parts)
        .map(|(index, snapshot)| {
            let mut outside: Vec<_> = unroutable(&parts, index, &snapshot).map(|(_, node)| node.0).collect();
            outside.sort_unstable();
            outside.dedup();
            Cluster {
                discovery: discovery(&parts, index).to_owned(),
                answered: snapshot.ready,
                bootstrap: snapshot.bootstrap.iter().map(|(address, _)| address.to_string()).collect(),
                brokers: snapshot.brokers.iter().map(broker).collect(),
                refreshed: snapshot.refreshes.answered.map(time),
                error: snapshot.refreshes.failing.as_ref().map(|(_, error)| error.clone()),
                unroutable: outside,
                name: snapshot.name,
            }
        })
        .collect();
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    clusters
}

fn broker((node, address, reach): &(NodeId, HostPort, Reach)) -> Broker {
    let (since, error) = match reach {
        Reach::Untried => (None, None),
        Reach::Up { since } => (Some(time(*since)), None),
        Reach::Down { since, error, .. } => (Some(time(*since)), Some(error.clone())),
    };
    Broker { node: node.0, address: address.to_string(), up: up(reach), since, error }
}

fn routes(state: &State) -> Vec<Route> {
    let parts = state.parts();
    let mut listeners: Vec<_> = parts.config.listeners.iter().zip(&parts.listeners).collect();
    listeners.sort_by(|(a, _), (b, _)| a.listen.name.cmp(&b.listen.name));
    let mut all = Vec::new();
    for (listener, running) in listeners {
        let Some(cluster) = parts.clusters.get(listener.cluster) else { continue };
        let snapshot = cluster.topology.snapshot();
        let routes = running.routes.load();
        let first = snapshot.bootstrap.first();
        let route = |node: Option<NodeId>| Route {
            listener: listener.listen.name.clone(),
            cluster: snapshot.name.clone(),
            node: node.map(|node| node.0),
            bind: Vec::new(),
            advertise: None,
            broker: None,
            up: None,
        };
        all.push(Route {
            bind: binds(listener, listener.listen.port),
            advertise: routes.bootstrap().map(advertise),
            broker: first.map(|(address, _)| address.to_string()),
            up: first.and_then(|(_, reach)| up(reach)),
            ..route(None)
        });
        for (node, address, reach) in &snapshot.brokers {
            all.push(Route {
                bind: reached(listener, *node),
                advertise: routes.advertised(*node).map(|(host, port)| advertise((&host, port))),
                broker: Some(address.to_string()),
                up: up(reach),
                ..route(Some(*node))
            });
        }
    }
    all
}

fn snapshots(parts: &Parts) -> impl Iterator<Item = (usize, Snapshot)> + '_ {
    parts.clusters.iter().map(|cluster| cluster.topology.snapshot()).enumerate()
}

/// The known nodes of a cluster that a listener has no port for.
fn unroutable<'a>(
    parts: &'a Parts,
    cluster: usize,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = (&'a config::Listener, NodeId)> {
    let listeners = parts.config.listeners.iter().filter(move |listener| listener.cluster == cluster);
    listeners.flat_map(|listener| {
        let nodes = snapshot.brokers.iter().map(|(node, ..)| *node);
        nodes.filter(|node| !listener.listen.routes.holds(*node)).map(move |node| (listener, node))
    })
}

/// What to do about a node that clients are not told of, down to the line to add.
fn advice(listener: &crate::listen::Options, node: NodeId) -> String {
    format!(
        "node {node} is outside every range, so clients are not told of it; add `{}` to listeners.{}.{}",
        listener.routes.range_to_add(node),
        listener.name,
        listener.routes.range_setting(),
    )
}

fn up(reach: &Reach) -> Option<bool> {
    match reach {
        Reach::Untried => None,
        Reach::Up { .. } => Some(true),
        Reach::Down { .. } => Some(false),
    }
}

/// The addresses at which a node is served: its own port, or the one that all share.
fn reached(listener: &config::Listener, node: NodeId) -> Vec<String> {
    let routes = &listener.listen.routes;
    let port = routes.holds(node).then(|| routes.bound(node).unwrap_or(listener.listen.port));
    port.map(|port| binds(listener, port)).unwrap_or_default()
}

fn binds(listener: &config::Listener, port: u16) -> Vec<String> {
    let address = |bind: &crate::listen::Bind| std::net::SocketAddr::new(bind.ip, port).to_string();
    listener.listen.binds.iter().map(address).collect()
}

fn advertise_from(standing: Standing) -> ServiceAddress {
    let Standing { service, since, trouble, .. } = standing;
    ServiceAddress {
        service: service.name.into(),
        namespace: service.namespace.map(Into::into),
        since: since.map(time),
        error: trouble.map(|(why, _)| why),
    }
}

fn advertise((host, port): (&str, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn cluster_name(parts: &Parts, index: usize) -> String {
    parts.config.clusters.get(index).map(|cluster| cluster.name.clone()).unwrap_or_default()
}

fn discovery(parts: &Parts, index: usize) -> &'static str {
    match parts.config.clusters.get(index).map(|cluster| &cluster.topology.discovery) {
        Some(Discovery::Own(_)) | None => "own",
        Some(Discovery::Static(_)) => "static",
        Some(Discovery::LearnOnly) => "learn-only",
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}
