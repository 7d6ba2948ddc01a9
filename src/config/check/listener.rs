//! `listeners`: where clients come in, from where, how many, and to which cluster.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::claims::{Claims, Kind};
use super::process::Requests;
use super::section::{Section, closest};
use super::value::all;
use super::{Check, Checked, Reported};
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::yaml::{Name, Node};
use crate::config::{Cluster, Listener};
use crate::limits::networks::Networks;
use crate::{limits, listen, proxy_header, relay};

const SETTINGS: &[&str] = &[
    "bind",
    "ipv6_only",
    "cluster",
    "advertise",
    "routing",
    "tls",
    "upstream_identity",
    "proxy_protocol",
    "networks",
    "limits",
    "unknown_apis",
];
const LIMITS: &[&str] = &[
    "max_connections",
    "max_connections_per_ip",
    "handshakes_per_second",
    "handshake_timeout",
    "first_request_timeout",
    "idle_timeout",
    "max_connection_age",
];
/// Limits of handshakes.
const LIMITS_OF_TLS: &[&str] = &["handshakes_per_second", "handshake_timeout"];

/// Listeners of one process; each takes ports, series of metrics and a task.
const LISTENERS_MAX: usize = 256;
/// Connections that live shorter do more handshakes than work.
const AGE_MIN: Duration = Duration::from_secs(10);
/// The default of `max_connections_per_ip` where PROXY headers tell clients apart.
const PER_IP_BEHIND_A_BALANCER: usize = 1000;
/// Addresses of one listener.
const ADDRESSES_MAX: usize = 16;

/// What all listeners have from other sections.
#[derive(Clone, Copy)]
pub(super) struct Shared<'s> {
    pub(super) requests: Requests,
    pub(super) drain_timeout: Duration,
    /// The clusters, in the order of the file; none where one of them has a fault.
    pub(super) clusters: &'s [Cluster],
}

/// How long a client may wait before the gateway closes the connection.
#[derive(Clone, Copy)]
struct Times {
    handshake: Duration,
    first_request: Duration,
    idle: Duration,
    /// How long it may live.
    age: Option<Duration>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            // A broker's own limit is 10 minutes: it closes first, and its close is passed on.
            idle: Duration::from_secs(11 * 60),
            age: None,
        }
    }
}

/// The addresses that a listener binds, all on the same port.
pub(super) struct Bind<'n> {
    pub(super) addresses: Vec<listen::Bind>,
    pub(super) port: u16,
    pub(super) place: &'n Place,
}

impl Check<'_> {
    /// All listeners, in the order of the file.
    pub(super) fn listeners(
        &mut self,
        file: &Section<'_>,
        shared: Shared<'_>,
        claims: &mut Claims,
    ) -> Checked<Vec<Listener>> {
        let node = self.required(file, "the file", "listeners")?;
        let entries = self.filled_map(node, "`listeners`")?;
        if let Some((name, _)) = entries.get(LISTENERS_MAX) {
            let title = format!("more than {LISTENERS_MAX} listeners");
            return self.report(Diagnostic::error(Code::Number, title, &name.place));
        }
        // A fault in `clusters` is reported there.
        let clusters = file.get("clusters").map(Node::entries).unwrap_or_default();
        let clusters: Vec<&str> = clusters.iter().map(|(name, _)| name.text.as_str()).collect();
        all(entries.iter().map(|(name, value)| self.listener((name, value), &clusters, shared, claims)))
    }

    fn listener(
        &mut self,
        (name, value): (&Name, &Node),
        clusters: &[&str],
        shared: Shared<'_>,
        claims: &mut Claims,
    ) -> Checked<Listener> {
        let named = self.name(name);
        let what = format!("listener `{}`", name.text);
        let section = self.section(value, &name.place, &what, SETTINGS)?;
        let bind = self.bind(&section, &what);
        if let Ok(bind) = &bind {
            claims.bind(bind, bind.port..=bind.port, bind.place, Kind::Bootstrap(&name.text));
        }
        let cluster = self.which_cluster(&section, &what, clusters);
        let routing = self.routes(&section, &name.text, bind.as_ref().ok(), claims);
        let tls = self.listener_tls(&section, routing.as_ref().ok());
        let leads_to = cluster.ok().and_then(|index| shared.clusters.get(index));
        let upstream = self.listener_upstream(&section, &name.text, &tls, leads_to);
        let proxy_protocol =
            section.entry("proxy_protocol").map(|(name, node)| self.proxy_header(name, node));
        let networks = section.entry("networks").map(|(name, node)| self.client_networks(name, node));
        let limits = section.entry("limits");
        let has_tls = section.get("tls").is_some();
        let limits = limits.map(|(name, node)| self.listener_limits(name, node, has_tls)).transpose();
        let choices = &[("close", false), ("pass", true)];
        let pass_unknown_apis = section.get("unknown_apis").map(|node| self.choice(node, choices));
        named?;
        let (mut limits, times) = limits?.unwrap_or_default();
        let proxy_protocol = proxy_protocol.transpose()?;
        if proxy_protocol.is_some() {
            // A header tells the clients behind one balancer apart; without it they share its address.
            limits.max_connections_per_ip.get_or_insert(PER_IP_BEHIND_A_BALANCER);
        }
        let (bind, routing) = (bind?, routing?);
        let routes = Arc::new(routing.routes);
        Ok(Listener {
            cluster: cluster?,
            advertised: routing.advertised,
            networks: networks.transpose()?.unwrap_or_default(),
            proxy_protocol,
            limits,
            core: relay::core::Options {
                routes: Arc::clone(&routes).into(),
                pass_unknown_apis: pass_unknown_apis.transpose()?.unwrap_or_default(),
                max_request_bytes: shared.requests.max_bytes,
                max_in_flight: shared.requests.max_in_flight,
            },
            relay: relay::Options {
                idle_timeout: times.idle,
                drain_timeout: shared.drain_timeout,
                max_age: times.age,
            },
            first_request_timeout: times.first_request,
            tls: tls?.map(|tls| tls.options),
            handshake_timeout: times.handshake,
            upstream: upstream?,
            listen: listen::Options {
                name: name.text.clone(),
                binds: bind.addresses,
                port: bind.port,
                routes,
            },
        })
    }

    fn bind<'n>(&mut self, section: &Section<'n>, what: &str) -> Checked<Bind<'n>> {
        let ipv6_only = section.get("ipv6_only").map(|node| self.switch(node)).transpose();
        let node = self.required(section, what, "bind")?;
        let items = self.list(node, "`bind`")?;
        if items.len() > ADDRESSES_MAX {
            let title = format!("more than {ADDRESSES_MAX} addresses");
            return self.report(Diagnostic::error(Code::Number, title, &self.visible(&node.place)));
        }
        let first = items.first().map_or(&node.place, |item| &item.place);
        let mut addresses: Vec<SocketAddr> = Vec::new();
        all(items.iter().map(|item| {
            let address = self.bind_address(item, 9092)?;
            if let Some(other) = addresses.first().filter(|other| other.port() != address.port()) {
                let title = "the addresses of one listener have the same port";
                let fault = Diagnostic::error(Code::Address, title, &item.place)
                    .label(format!("port {}", address.port()))
                    .also(first, format!("port {}", other.port()));
                return self.report(fault.help("make it another listener"));
            }
            addresses.push(address);
            Ok(())
        }))?;
        // IPv4 addresses beside `[::]` would be bound twice if that took IPv4 too.
        let ipv6_only = ipv6_only?;
        if let Some((name, _)) =
            section.entry("ipv6_only").filter(|_| addresses.iter().all(SocketAddr::is_ipv4))
        {
            let title = "`ipv6_only` has no effect without an IPv6 address";
            self.note(Diagnostic::warning(Code::NoEffect, title, &name.place).also(first, "IPv4"));
        }
        let ipv6_only = ipv6_only.unwrap_or(addresses.iter().any(SocketAddr::is_ipv4));
        let port = addresses.first().ok_or(Reported)?.port();
        let bind =
            |address: &SocketAddr| listen::Bind { ip: address.ip(), v6_only: ipv6_only && address.is_ipv6() };
        Ok(Bind { addresses: addresses.iter().map(bind).collect(), port, place: first })
    }

    /// An address to bind.
    pub(super) fn bind_address(&mut self, node: &Node, usual: u16) -> Checked<SocketAddr> {
        let text = self.text(node)?;
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(address),
            Ok(_) | Err(_) => {
                let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
                let guess = match (port, text.parse::<IpAddr>()) {
                    (Ok(port), _) if port != 0 => Some(format!("0.0.0.0:{port}")),
                    (_, Ok(ip)) => Some(SocketAddr::new(ip, usual).to_string()),
                    _ => None,
                };
                let quoted = guess.map(|g| if g.starts_with('[') { format!("\"{g}\"") } else { g });
                self.bad(Code::Address, node, "an IP address and a port, `0.0.0.0:9092`", quoted.as_deref())
            }
        }
    }

    /// Warns of clusters to which no listener leads.
    pub(super) fn unused(&mut self, file: &Section<'_>, listeners: &Checked<Vec<Listener>>) {
        let (Ok(listeners), Some(clusters)) = (listeners, file.get("clusters")) else { return };
        for (index, (name, _)) in clusters.entries().iter().enumerate() {
            if listeners.iter().all(|listener| listener.cluster != index) {
                let title = format!("no listener leads to cluster `{}`", name.text);
                self.note(Diagnostic::warning(Code::NoEffect, title, &name.place));
            }
        }
    }

    fn which_cluster(&mut self, section: &Section<'_>, what: &str, clusters: &[&str]) -> Checked<usize> {
        let Some(node) = section.get("cluster") else {
            return match clusters {
                [] => Err(Reported),
                [_] => Ok(0),
                several => {
                    let title = format!("{what} does not say which cluster it leads to");
                    let fault = Diagnostic::error(Code::WhichCluster, title, section.name);
                    let help = format!("add `cluster: NAME` with one of {}", several.join(", "));
                    self.report(fault.label("`cluster` is missing here").help(help))
                }
            };
        };
        let text = self.text(node)?;
        if let Some(index) = clusters.iter().position(|cluster| *cluster == text) {
            return Ok(index);
        }
        if clusters.is_empty() {
            return Err(Reported);
        }
        let need = format!("a cluster of this file; there is {}", clusters.join(", "));
        self.bad(Code::NoSuchCluster, node, &need, closest(text, clusters))
    }

    fn client_networks(&mut self, name: &Name, node: &Node) -> Checked<Networks> {
        let section = self.section(node, &name.place, "`networks`", &["allow", "deny"])?;
        let allow = section.get("allow").map(|node| self.networks(node, "`allow`")).transpose();
        let deny = section.get("deny").map(|node| self.networks(node, "`deny`")).transpose();
        Ok(Networks { allow: allow?.unwrap_or_default(), deny: deny?.unwrap_or_default() })
    }

    /// From which load balancers PROXY headers are required.
    fn proxy_header(&mut self, name: &Name, node: &Node) -> Checked<proxy_header::Options> {
        let section = self.section(node, &name.place, "`proxy_protocol`", &["required_from"])?;
        let node = self.required(&section, "`proxy_protocol`", "required_from")?;
        let required_from = self.networks(node, "`required_from`")?;
        if required_from.iter().any(|network| network.prefix_len() == 0) {
            let title = "whoever connects can claim any address";
            let fault = Diagnostic::warning(Code::EverybodyBelieved, title, &self.visible(&node.place));
            self.note(fault.label("this is every network").help("name the networks of the load balancers"));
        }
        Ok(proxy_header::Options { required_from })
    }

    fn listener_limits(
        &mut self,
        name: &Name,
        node: &Node,
        has_tls: bool,
    ) -> Checked<(limits::ListenerOptions, Times)> {
        let section = self.section(node, &name.place, "`limits`", LIMITS)?;
        for (name, _) in LIMITS_OF_TLS.iter().filter(|_| !has_tls).filter_map(|name| section.entry(name)) {
            let title = format!("`{}` has no effect without `tls`", name.text);
            self.note(Diagnostic::warning(Code::NoEffect, title, &name.place));
        }
        let max_connections = section.get("max_connections").map(|node| self.limit(node)).transpose();
        let per_ip = section.get("max_connections_per_ip").map(|node| self.limit(node)).transpose();
        let default = Times::default();
        let least = Duration::from_millis(100);
        let handshakes = section.get("handshakes_per_second").map(|node| self.limit(node)).transpose();
        let handshake = self.duration_or(section.get("handshake_timeout"), default.handshake, least);
        let idle = self.duration_or(section.get("idle_timeout"), default.idle, least);
        let age = section.get("max_connection_age").map(|node| self.duration(node, AGE_MIN)).transpose();
        let first = self.duration_or(section.get("first_request_timeout"), default.first_request, least);
        let limits = limits::ListenerOptions {
            max_connections: max_connections?,
            max_connections_per_ip: per_ip?,
            handshakes_per_second: handshakes?.and_then(|number| u32::try_from(number).ok()),
        };
        Ok((limits, Times { handshake: handshake?, first_request: first?, idle: idle?, age: age? }))
    }
}
