//! Routing by port: one host, and for each broker a port that is arithmetic on its id.

use super::NodeRange;
use crate::kafka::NodeId;

/// A run of node ids and the ports that lead to them: the port of a node is the first port plus the
/// distance of its id from the first id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first id, at least 0.
    pub first: NodeId,
    /// The last id, not below the first.
    pub last: NodeId,
    /// The port that the gateway binds for the first id.
    pub bind: u16,
    /// The port that clients are told for the first id.
    pub advertise: u16,
}

impl PortRange {
    /// The ids without their ports.
    pub fn nodes(&self) -> NodeRange {
        NodeRange { first: self.first, last: self.last }
    }

    fn offset(&self, node: NodeId) -> Option<u16> {
        self.nodes().contains(node).then(|| node.0.checked_sub(self.first.0))??.try_into().ok()
    }

    /// The port that the gateway binds for a node of the range.
    pub fn bound(&self, node: NodeId) -> Option<u16> {
        self.bind.checked_add(self.offset(node)?)
    }

    /// The port that clients are told of a node of the range.
    pub fn advertised(&self, node: NodeId) -> Option<u16> {
        self.advertise.checked_add(self.offset(node)?)
    }

    /// Every node of the range with the port that is bound for it.
    pub fn bindings(&self) -> impl Iterator<Item = (NodeId, u16)> + '_ {
        self.nodes().nodes().filter_map(|node| Some((node, self.bound(node)?)))
    }

    /// How many ports the range takes, or `None` where it runs past port 65535.
    pub fn ports(&self) -> Option<u16> {
        let last = self.offset(self.last)?;
        self.bind.checked_add(last)?;
        self.advertise.checked_add(last)?;
        last.checked_add(1)
    }
}

/// One host, one port for each node id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The host that clients are told; `None` while it is awaited, when no node has an address.
    pub host: Option<Box<str>>,
    /// The bootstrap port that clients are told.
    pub bootstrap: u16,
    /// The declared ranges of node ids; they do not overlap.
    pub ranges: Vec<PortRange>,
}

impl Ports {
    /// The port that clients are told of a node; `None` for a node outside every range.
    pub fn advertised(&self, node: NodeId) -> Option<u16> {
        self.ranges.iter().find_map(|range| range.advertised(node))
    }

    /// The range to add for a node that has none, as a line of the configuration. Where the ports that
    /// clients are told differ from those that are bound, the line has both.
    pub fn range_to_add(&self, node: NodeId) -> String {
        let behind = |first: fn(&PortRange) -> u16| {
            let last = |range: &PortRange| Some(first(range).checked_add(range.offset(range.last)?)?.into());
            let last: u32 = self.ranges.iter().filter_map(last).max().unwrap_or(self.bootstrap.into());
            u16::try_from(last + 1).map_or_else(|_| "PORT".to_owned(), |port| port.to_string())
        };
        let bind = behind(|range| range.bind);
        if self.ranges.iter().all(|range| range.bind == range.advertise) {
            return format!("- {{ nodes: {node}, bind: {bind} }}");
        }
        format!("- {{ nodes: {node}, bind: {bind}, advertise: {} }}", behind(|range| range.advertise))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Routes;

    fn ports() -> Ports {
        let range = |first, last, bind, advertise| PortRange {
            first: NodeId(first),
            last: NodeId(last),
            bind,
            advertise,
        };
        Ports {
            host: Some("kafka.example.com".into()),
            bootstrap: 9092,
            ranges: vec![range(0, 9, 9093, 31090), range(1000, 1001, 9200, 9200)],
        }
    }

    #[test]
    fn the_port_of_a_node_is_arithmetic_on_its_id() {
        let ports = ports();
        assert_eq!(ports.advertised(NodeId(0)), Some(31090));
        assert_eq!(ports.advertised(NodeId(9)), Some(31099));
        assert_eq!(ports.ranges[0].bound(NodeId(9)), Some(9102));
        assert_eq!(ports.advertised(NodeId(1001)), Some(9201));
    }

    #[test]
    fn a_node_outside_every_range_has_no_address() {
        let ports = ports();
        for id in [-1, 10, 999, 1002, i32::MAX, i32::MIN] {
            assert_eq!(ports.advertised(NodeId(id)), None, "{id}");
            assert!(ports.ranges.iter().all(|range| range.bound(NodeId(id)).is_none()), "{id}");
        }
    }

    #[test]
    fn the_range_to_add_starts_behind_the_last_port() {
        let mut ports = ports();
        let told = "- { nodes: 120, bind: 9202, advertise: 31100 }";
        assert_eq!(ports.range_to_add(NodeId(120)), told);
        ports.ranges.remove(0);
        assert_eq!(ports.range_to_add(NodeId(120)), "- { nodes: 120, bind: 9202 }");
    }

    #[test]
    fn every_node_is_listed_once_with_its_port() {
        let routes = Routes::Ports(ports());
        let nodes: Vec<_> = routes.bindings().collect();
        assert_eq!(nodes.len(), 12);
        assert!(nodes.iter().all(|(node, port)| routes.bound(*node) == Some(*port)));
    }

    #[test]
    fn a_range_past_the_last_port_is_seen() {
        let range = PortRange { first: NodeId(0), last: NodeId(99), bind: 65500, advertise: 9093 };
        assert_eq!(range.ports(), None);
        assert_eq!(PortRange { bind: 9093, ..range }.ports(), Some(100));
    }
}
