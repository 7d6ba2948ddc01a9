//! The names that clients see and the brokers behind them: a pure function of configuration and node id.

pub mod names;
pub mod ports;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use names::{Names, Pattern};
pub use ports::{PortRange, Ports};

use crate::kafka::NodeId;
use crate::net::{Host, HostPort};

/// Why a text is no pattern of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Every broker would have the same name.
    #[error("it has no `{{node}}`, so every broker would have the same name")]
    NoNode,
    /// A name could be read in two ways.
    #[error("it has `{{node}}` more than once")]
    SeveralNodes,
    /// With an id in it, it is nothing that a client can ask for.
    #[error("with a node id in it, it is no DNS name")]
    Name,
}

/// A broker as its cluster advertises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub node: NodeId,
    /// Where its own cluster says it is.
    pub address: HostPort,
}

/// What a client asked for, by the port that it came to or by the server name of its TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The bootstrap address: any broker will do.
    Bootstrap,
    /// One broker.
    Node(NodeId),
}

/// A run of node ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeRange {
    /// The first id, at least 0.
    pub first: NodeId,
    /// The last id, not below the first.
    pub last: NodeId,
}

impl NodeRange {
    /// Whether the node is one of them.
    pub fn contains(&self, node: NodeId) -> bool {
        (self.first..=self.last).contains(&node)
    }

    /// Each node.
    pub fn nodes(self) -> impl Iterator<Item = NodeId> {
        (self.first.0..=self.last.0).map(NodeId)
    }
}

/// As the configuration writes it: `0-99`, or `7`.
impl fmt::Display for NodeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// Routes that can be replaced while connections use them: what a client is told next, it is told by the new
/// ones. A clone is the same.
#[derive(Clone, Debug)]
pub struct LiveRoutes(Arc<ArcSwap<Routes>>);

impl LiveRoutes {
    /// The routes of now, for one answer to a client.
    pub fn load(&self) -> arc_swap::Guard<Arc<Routes>> {
        self.0.load()
    }

    /// The routes of now, to keep for a while.
    pub fn load_full(&self) -> Arc<Routes> {
        self.0.load_full()
    }

    /// Replaces them for every connection. Routes that await their host go on with the one of before.
    pub fn replace(&self, routes: &Arc<Routes>) {
        self.0.rcu(|before| match (routes.bootstrap(), before.bootstrap()) {
            (None, Some((host, _))) => Arc::new(routes.told(host)),
            (Some(_), _) | (None, None) => Arc::clone(routes),
        });
    }

    /// Has every client told another host from now on, wherever ports tell the brokers apart.
    pub fn tell(&self, host: &Host) {
        self.0.rcu(|before| before.told(host.as_str()));
    }
}

impl From<Arc<Routes>> for LiveRoutes {
    fn from(routes: Arc<Routes>) -> Self {
        Self(Arc::new(ArcSwap::new(routes)))
    }
}

impl From<Routes> for LiveRoutes {
    fn from(routes: Routes) -> Self {
        Arc::new(routes).into()
    }
}

/// How the clients of one listener reach each broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routes {
    /// One host, and a port for each node.
    Ports(Ports),
    /// One port, and a server name for each node.
    Names(Names),
}

impl Routes {
    /// The name of the mode, as the configuration has it.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Ports(_) => "port",
            Self::Names(_) => "sni",
        }
    }

    /// What clients are told to begin with, host and port; `None` while the host is awaited.
    pub fn bootstrap(&self) -> Option<(&str, u16)> {
        match self {
            Self::Ports(ports) => Some((ports.host.as_deref()?, ports.bootstrap)),
            Self::Names(names) => Some((&names.bootstrap, names.port)),
        }
    }

    /// The same with that host in the place of theirs; names stay what they are.
    pub fn told(&self, host: &str) -> Self {
        match self {
            Self::Ports(ports) => Self::Ports(Ports { host: Some(host.into()), ..ports.clone() }),
            Self::Names(names) => Self::Names(names.clone()),
        }
    }

    /// What clients are told of a node; `None` for a node outside every range, and for every node while the
    /// host is awaited: it is left out of what they are told.
    pub fn advertised(&self, node: NodeId) -> Option<(Cow<'_, str>, u16)> {
        match self {
            Self::Ports(ports) => Some((Cow::Borrowed(ports.host.as_deref()?), ports.advertised(node)?)),
            Self::Names(names) => Some((Cow::Owned(names.advertised(node)?), names.port)),
        }
    }

    /// What a server name asks for: in any case, with or without one dot at its end. `None` for a name
    /// that is nobody's, and wherever ports tell the brokers apart.
    pub fn door(&self, server_name: &str) -> Option<Door> {
        match self {
            Self::Ports(_) => None,
            Self::Names(names) => names.door(server_name),
        }
    }

    /// The declared runs of node ids with their ports; none wherever names tell the brokers apart.
    pub fn port_ranges(&self) -> &[PortRange] {
        match self {
            Self::Ports(ports) => &ports.ranges,
            Self::Names(_) => &[],
        }
    }

    /// The declared runs of node ids; they do not overlap.
    pub fn ranges(&self) -> impl Iterator<Item = NodeRange> + '_ {
        let names = match self {
            Self::Ports(_) => &[],
            Self::Names(names) => names.nodes.as_slice(),
        };
        self.port_ranges().iter().map(PortRange::nodes).chain(names.iter().copied())
    }

    /// Whether a range holds the node.
    pub fn holds(&self, node: NodeId) -> bool {
        self.ranges().any(|range| range.contains(node))
    }

    /// Every node of every range.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ranges().flat_map(NodeRange::nodes)
    }

    /// Every node that has a port of its own, with the port that the gateway binds for it. Wherever names
    /// tell the brokers apart there is none: the bootstrap port serves them all.
    pub fn bindings(&self) -> impl Iterator<Item = (NodeId, u16)> + '_ {
        self.port_ranges().iter().flat_map(PortRange::bindings)
    }

    /// The port that the gateway binds for a node alone.
    pub fn bound(&self, node: NodeId) -> Option<u16> {
        self.port_ranges().iter().find_map(|range| range.bound(node))
    }

    /// What to add for a node that no range holds, as a line of the configuration.
    pub fn range_to_add(&self, node: NodeId) -> String {
        match self {
            Self::Ports(ports) => ports.range_to_add(node),
            Self::Names(names) => names.range_to_add(node),
        }
    }

    /// Where in a listener that line belongs.
    pub fn range_setting(&self) -> &'static str {
        match self {
            Self::Ports(_) => "routing.port.ranges",
            Self::Names(_) => "routing.sni",
        }
    }
}
