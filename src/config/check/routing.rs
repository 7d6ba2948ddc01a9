//! `advertise` and `routing`: which name and which port lead to which broker.

use super::claims::{Claims, Kind};
use super::listener::Bind;
use super::names::Named;
use super::section::Section;
use super::value::all;
use super::{Check, Checked, Reported};
use crate::advertised::{self, Service};
use crate::cluster::{NodeRange, PortRange, Ports, Routes};
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::yaml::{Node, Value};
use crate::kafka::NodeId;
use crate::net::{Host, HostPort};

/// Node ids that have a port where `routing` is left out: 0 to 99.
const DEFAULT_NODES: u16 = 100;
/// Ranges of one listener.
const RANGES_MAX: usize = 64;

/// What clients are told, and where the configuration says so.
pub(super) struct Routing {
    pub(super) routes: Routes,
    /// Whose address clients are told, where it is not written.
    pub(super) advertised: Option<Service>,
    /// The place of the host, or of the bootstrap name.
    pub(super) told: Place,
    /// The places of names, where names tell the brokers apart.
    pub(super) named: Option<Named>,
}

impl Check<'_> {
    /// What clients are told, and what leads to which broker.
    pub(super) fn routes(
        &mut self,
        section: &Section<'_>,
        listener: &str,
        bind: Option<&Bind<'_>>,
        claims: &mut Claims,
    ) -> Checked<Routing> {
        let routing = match section.entry("routing") {
            None => None,
            Some((name, node)) => {
                self.no_passthrough(node)?;
                let routing = self.section(node, &name.place, "`routing`", &["port", "sni"])?;
                if let (Some((port, _)), Some((sni, _))) = (routing.entry("port"), routing.entry("sni")) {
                    let title = "a listener routes by `port` or by `sni`, not by both";
                    let fault =
                        Diagnostic::error(Code::WrongKind, title, &sni.place).also(&port.place, "and this");
                    return self.report(fault.help("make it two listeners of one cluster"));
                }
                Some(routing)
            }
        };
        let Some((name, node)) = routing.and_then(|routing| routing.entry("sni")) else {
            return self.ports(section, routing, (listener, bind), claims);
        };
        self.no_passthrough(node)?;
        let named = self.names((name, node), listener, bind, claims)?;
        self.no_advertise(section, &named);
        Ok(Routing {
            told: named.bootstrap.clone(),
            routes: Routes::Names(named.names.clone()),
            advertised: None,
            named: Some(named),
        })
    }

    /// One host and a port for each node.
    fn ports(
        &mut self,
        section: &Section<'_>,
        routing: Option<Section<'_>>,
        (listener, bind): (&str, Option<&Bind<'_>>),
        claims: &mut Claims,
    ) -> Checked<Routing> {
        let what = format!("listener `{listener}`");
        let advertised = self
            .required(section, &what, "advertise")
            .and_then(|node| Ok((self.advertise(node)?, &node.place)));
        let declared = routing.map(|routing| self.ranges(&routing)).transpose();
        let bind = bind.ok_or(Reported)?;
        let told = advertised.as_ref().ok().and_then(|((_, port), _)| *port).unwrap_or(bind.port);
        let ranges = match declared? {
            Some(ranges) => ranges,
            None => vec![self.default_range(bind, told)?],
        };
        for (range, place) in &ranges {
            let ports = range.ports().ok_or(Reported)?;
            let kind = Kind::Nodes(listener, range.first.0, range.last.0);
            claims.bind(bind, range.bind..=range.bind + (ports - 1), place, kind);
        }
        let ((address, _), place) = advertised?;
        let host = address.as_ref().ok();
        claims.tell(host, told..=told, place, Kind::Bootstrap(listener));
        for (range, place) in &ranges {
            let ports = range.ports().ok_or(Reported)?;
            let kind = Kind::Nodes(listener, range.first.0, range.last.0);
            claims.tell(host, range.advertise..=range.advertise + (ports - 1), place, kind);
        }
        let routes = Routes::Ports(Ports {
            host: host.map(|host| host.as_str().into()),
            bootstrap: told,
            ranges: ranges.into_iter().map(|(range, _)| range).collect(),
        });
        Ok(Routing { routes, advertised: address.err(), told: place.clone(), named: None })
    }

    /// `host`, or `host:port` where clients see another port than the one that is bound; or a Service.
    fn advertise(&mut self, node: &Node) -> Checked<(Result<Host, Service>, Option<u16>)> {
        if let Value::Map(_) = node.value {
            return self.service(node);
        }
        let text = self.text(node)?;
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        let (host, port) = match (text.parse::<HostPort>(), Host::parse(bare.as_bytes())) {
            (Ok(address), _) => (address.host, Some(address.port)),
            (Err(_), Ok(host)) => (host, None),
            (Err(_), Err(_)) => {
                return self.bad(Code::Address, node, "a host name or address, with or without a port", None);
            }
        };
        if host.is_everybodys() {
            let title = format!("no client can connect to `{host}`");
            let fault = Diagnostic::error(Code::Unreachable, title, &node.place);
            return self.report(fault.help("give the name or address by which clients reach this machine"));
        }
        if host.is_mistaken_address() {
            return self.bad(Code::Address, node, "a host name or address", None);
        }
        Ok((Ok(host), port))
    }

    /// `{ service: NAME }`: the address of a Service in Kubernetes.
    fn service(&mut self, node: &Node) -> Checked<(Result<Host, Service>, Option<u16>)> {
        let section = self.section(node, &node.place, "`advertise`", &["service", "namespace", "port"])?;
        let name = self.required(&section, "`advertise`", "service").and_then(|node| self.label(node));
        let namespace = section.get("namespace").map(|node| self.label(node)).transpose();
        let port = section.get("port").map(|node| self.port(node)).transpose();
        // What is checked for elsewhere may be for another build.
        if !advertised::IS_BUILT_IN && !self.surroundings.elsewhere {
            let title = "this build of the gateway cannot ask Kubernetes for an address";
            let fault = Diagnostic::error(Code::NoService, title, &self.visible(&node.place));
            let help = "take a build with the feature `kubernetes` (`gatehouse version` shows the features), or write \
                        the host that clients connect to";
            return self.report(fault.help(help));
        }
        Ok((Err(Service { name: name?, namespace: namespace? }), port?))
    }

    /// A DNS label, as Kubernetes names things.
    fn label(&mut self, node: &Node) -> Checked<Box<str>> {
        let text = self.text(node)?;
        let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=63).contains(&text.len())
            && text.bytes().all(is_inner)
            && !text.starts_with('-')
            && !text.ends_with('-')
        {
            return Ok(text.into());
        }
        self.bad(Code::NoService, node, "a name in Kubernetes: lower-case letters, digits and `-`", None)
    }

    fn default_range(&mut self, bind: &Bind<'_>, told: u16) -> Checked<(PortRange, Place)> {
        let last = NodeId(i32::from(DEFAULT_NODES) - 1);
        let range = bind.port.checked_add(1).zip(told.checked_add(1)).map(|(bind, advertise)| PortRange {
            first: NodeId(0),
            last,
            bind,
            advertise,
        });
        match range.filter(|range| range.ports().is_some()) {
            Some(range) => Ok((range, bind.place.clone())),
            None => {
                let title = "the ports of the nodes 0 to 99 run past 65535";
                let fault = Diagnostic::error(Code::PortsEnd, title, bind.place)
                    .label(format!("the nodes take the {DEFAULT_NODES} ports after this one"));
                let help = "take a lower port, or say which nodes there are: `routing: { port: { ranges: \
                            [{ nodes: 0-9, bind: 19100 }] } }`";
                self.report(fault.help(help))
            }
        }
    }

    fn ranges(&mut self, routing: &Section<'_>) -> Checked<Vec<(PortRange, Place)>> {
        let node = self.required(routing, "`routing`", "port")?;
        let port = self.section(node, routing.name, "`port`", &["ranges"])?;
        let node = self.required(&port, "`port`", "ranges")?;
        let items = self.list(node, "`ranges`")?;
        if items.len() > RANGES_MAX {
            let title = format!("more than {RANGES_MAX} ranges");
            return self.report(Diagnostic::error(Code::Number, title, &self.visible(&node.place)));
        }
        let ranges = all(items.into_iter().map(|item| self.range(item)))?;
        let nodes: Vec<_> = ranges.iter().map(|(range, place)| (range.nodes(), place)).collect();
        self.no_overlap(&nodes)?;
        Ok(ranges)
    }

    fn range(&mut self, item: &Node) -> Checked<(PortRange, Place)> {
        let section = self.section(item, &item.place, "a range", &["nodes", "bind", "advertise"])?;
        let nodes = self.required(&section, "the range", "nodes");
        let place = nodes.map(|node| node.place.clone());
        let nodes = nodes.and_then(|node| self.node_range(node));
        let bind = self.required(&section, "the range", "bind").and_then(|node| self.port(node));
        let advertise = section.get("advertise").map(|node| self.port(node)).transpose();
        let (NodeRange { first, last }, bind, place) = (nodes?, bind?, place?);
        let range = PortRange { first, last, bind, advertise: advertise?.unwrap_or(bind) };
        if range.ports().is_some() {
            return Ok((range, place));
        }
        let count = i64::from(last.0) - i64::from(first.0) + 1;
        let title = format!("{count} ports from {} on run past 65535", range.bind.max(range.advertise));
        let fault = Diagnostic::error(Code::PortsEnd, title, &place);
        self.report(
            fault.label("each node id takes one port").help("declare the ids that there are, or start lower"),
        )
    }
}
