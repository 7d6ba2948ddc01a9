//! Routing by server name: one port, and for each broker a name with its id in it.

use std::str::FromStr;

use rustls::pki_types::DnsName;

use super::{Door, Error, NodeRange};
use crate::kafka::NodeId;
use crate::net::Host;

/// Stands for the id in a pattern.
const PLACE: &str = "{node}";

/// The names of the brokers: `b{node}.kafka.example.com`. Held in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    before: Box<str>,
    after: Box<str>,
}

impl Pattern {
    /// The name of a node.
    pub fn name(&self, node: NodeId) -> String {
        format!("{}{node}{}", self.before, self.after)
    }

    /// The node of a name, in any case; the reverse of [`Pattern::name`]. An id has one spelling: no sign
    /// and no zero before it.
    pub fn node(&self, name: &str) -> Option<NodeId> {
        let end = name.len().checked_sub(self.after.len())?;
        let (before, after) = (name.get(..self.before.len())?, name.get(end..)?);
        let id = name.get(self.before.len()..end)?;
        let surrounded = before.eq_ignore_ascii_case(&self.before) && after.eq_ignore_ascii_case(&self.after);
        let spelled = id.bytes().all(|b| b.is_ascii_digit()) && (id == "0" || !id.starts_with('0'));
        if surrounded && spelled { id.parse().ok().map(NodeId) } else { None }
    }
}

impl Pattern {
    /// Whether both may make the same name.
    fn meets(&self, other: &Self) -> bool {
        let (before, after) = (&*self.before, &*self.after);
        (before.starts_with(&*other.before) || other.before.starts_with(before))
            && (after.ends_with(&*other.after) || other.after.ends_with(after))
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{PLACE}{}", self.before, self.after)
    }
}

impl FromStr for Pattern {
    type Err = Error;

    /// # Errors
    /// [`Error`] unless there is one `{node}`, and a DNS name with any id in its place.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let (before, after) = text.split_once(PLACE).ok_or(Error::NoNode)?;
        if after.contains(PLACE) {
            return Err(Error::SeveralNodes);
        }
        let pattern = Self { before: before.into(), after: after.into() };
        let names = [NodeId(0), NodeId(i32::MAX)].map(|node| pattern.name(node));
        if names.iter().all(|name| is_server_name(name)) { Ok(pattern) } else { Err(Error::Name) }
    }
}

/// Whether a client can ask for that name in a handshake: a DNS name, and no address (RFC 6066, 3).
pub fn is_server_name(name: &str) -> bool {
    DnsName::try_from(name).is_ok() && Host::parse(name.as_bytes()).is_ok_and(|host| host.ip().is_none())
}

/// A name for bootstrap, a name for each node, and one port for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The name that clients begin with: in lower case, without a dot at its end, and no node's name.
    pub bootstrap: Box<str>,
    /// The names of the nodes.
    pub brokers: Pattern,
    /// The declared ranges of node ids; they do not overlap.
    pub nodes: Vec<NodeRange>,
    /// The port that clients are told.
    pub port: u16,
}

impl Names {
    /// The name that clients are told of a node; `None` for a node outside every range.
    pub fn advertised(&self, node: NodeId) -> Option<String> {
        self.holds(node).then(|| self.brokers.name(node))
    }

    /// What a server name asks for: in any case, with or without one dot at its end.
    pub fn door(&self, server_name: &str) -> Option<Door> {
        let name = server_name.strip_suffix('.').unwrap_or(server_name);
        if name.eq_ignore_ascii_case(&self.bootstrap) {
            return Some(Door::Bootstrap);
        }
        self.brokers.node(name).filter(|node| self.holds(*node)).map(Door::Node)
    }

    /// The setting that has the node too: the range beside it widened, or a range of its own.
    pub fn range_to_add(&self, node: NodeId) -> String {
        let mut ranges = self.nodes.clone();
        ranges.push(NodeRange { first: node, last: node });
        ranges.sort_unstable();
        let mut joined: Vec<NodeRange> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.first.0.saturating_sub(1) <= last.last.0 => {
                    last.last = last.last.max(range.last);
                }
                Some(_) | None => joined.push(range),
            }
        }
        let texts: Vec<_> = joined.iter().map(ToString::to_string).collect();
        match texts.as_slice() {
            [one] => format!("nodes: {one}"),
            several => format!("nodes: [{}]", several.join(", ")),
        }
    }

    /// A name that leads somewhere here and there.
    pub fn common(&self, other: &Self) -> Option<String> {
        let bootstrap = [self, other].map(|names| &names.bootstrap);
        let shared = bootstrap.into_iter().find(|name| self.door(name).and(other.door(name)).is_some());
        if let Some(name) = shared {
            return Some(name.to_string());
        }
        // Patterns that differ may still make one name: `b{node}` and `b1{node}`.
        if !self.brokers.meets(&other.brokers) {
            return None;
        }
        let nodes = self.nodes.iter().copied().flat_map(NodeRange::nodes);
        nodes.map(|node| self.brokers.name(node)).find(|name| other.door(name).is_some())
    }

    fn holds(&self, node: NodeId) -> bool {
        self.nodes.iter().any(|range| range.contains(node))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> Names {
        let range = |first, last| NodeRange { first: NodeId(first), last: NodeId(last) };
        Names {
            bootstrap: "kafka.example.com".into(),
            brokers: "B{node}.Kafka.example.com.".parse().unwrap(),
            nodes: vec![range(0, 99), range(1_000, i32::MAX)],
            port: 9092,
        }
    }

    #[test]
    fn a_name_leads_to_its_node_in_any_case_and_with_a_dot() {
        let names = names();
        for (name, door) in [
            ("kafka.example.com", Some(Door::Bootstrap)),
            ("KAFKA.example.COM.", Some(Door::Bootstrap)),
            ("b0.kafka.example.com", Some(Door::Node(NodeId(0)))),
            ("B99.KAFKA.example.com.", Some(Door::Node(NodeId(99)))),
            ("b2147483647.kafka.example.com", Some(Door::Node(NodeId(i32::MAX)))),
        ] {
            assert_eq!(names.door(name), door, "{name}");
        }
    }

    #[test]
    fn every_other_name_leads_nowhere() {
        for name in [
            "",
            ".",
            "b",
            "b.kafka.example.com",
            "b00.kafka.example.com",
            "b01.kafka.example.com",
            "b+1.kafka.example.com",
            "b-1.kafka.example.com",
            "b100.kafka.example.com",
            "b2147483648.kafka.example.com",
            "b99999999999999999999.kafka.example.com",
            "b1.kafka.example.com..",
            "b1.kafka.example.org",
            "xb1.kafka.example.com",
            "b\u{661}.kafka.example.com",
            ".kafka.example.com",
            "kafka.example.com.evil.example",
        ] {
            assert_eq!(names().door(name), None, "{name}");
        }
    }

    #[test]
    fn a_node_outside_every_range_has_no_name() {
        for id in [-1, 100, 999, i32::MIN] {
            assert_eq!(names().advertised(NodeId(id)), None, "{id}");
        }
    }

    #[test]
    fn a_pattern_has_one_place_for_the_id_and_is_a_name() {
        let error = |text: &str| text.parse::<Pattern>().unwrap_err();
        assert_eq!(error("kafka.example.com"), Error::NoNode);
        assert_eq!(error("b{node}.{node}.example.com"), Error::SeveralNodes);
        let long = format!("{}{{node}}.example.com", "b".repeat(60));
        for text in ["10.0.0.{node}", "b{node} .example.com", "*.b{node}.example.com", "b{node}..com", &long]
        {
            assert_eq!(error(text), Error::Name, "{text}");
        }
        assert_eq!("B{node}.X.y.".parse::<Pattern>().unwrap().to_string(), "b{node}.x.y");
    }

    #[test]
    fn the_range_beside_the_node_is_widened() {
        let mut names = names();
        assert_eq!(names.range_to_add(NodeId(120)), "nodes: [0-99, 120, 1000-2147483647]");
        assert_eq!(names.range_to_add(NodeId(100)), "nodes: [0-100, 1000-2147483647]");
        names.nodes.truncate(1);
        assert_eq!(names.range_to_add(NodeId(100)), "nodes: 0-100");
    }

    #[test]
    fn names_of_two_listeners_may_meet() {
        let names = |bootstrap: &str, brokers: &str, last| Names {
            bootstrap: bootstrap.into(),
            brokers: brokers.parse().unwrap(),
            nodes: vec![NodeRange { first: NodeId(0), last: NodeId(last) }],
            port: 9092,
        };
        let one = names("kafka.x", "b{node}.kafka.x", 9);
        let common = |other: &Names| one.common(other);
        assert_eq!(common(&one).as_deref(), Some("kafka.x"));
        assert_eq!(common(&names("b3.kafka.x", "c{node}.kafka.x", 9)).as_deref(), Some("b3.kafka.x"));
        assert_eq!(common(&names("kafka.y", "b{node}.kafka.x", 0)).as_deref(), Some("b0.kafka.x"));
        assert_eq!(
            common(&names("kafka.y", "b1{node}.kafka.x", 9)),
            None,
            "ten and more are no nodes of the first"
        );
        let wide = names("kafka.z", "b{node}.kafka.x", 19);
        assert_eq!(wide.common(&names("kafka.y", "b1{node}.kafka.x", 9)).as_deref(), Some("b10.kafka.x"));
        assert_eq!(common(&names("kafka.y", "b{node}.kafka.y", 9)), None);
    }

    proptest! {
        #[test]
        fn from_a_node_to_its_name_and_back(
            before in "[a-zA-Z]([a-z0-9-]{0,8}[a-z])?",
            after in "(-[a-z])?(\\.[a-zA-Z][a-z0-9]{0,8}){1,3}",
            id in 0..=i32::MAX,
            case in any::<u64>(),
            dot in any::<bool>(),
        ) {
            let brokers: Pattern = format!("{before}{{node}}{after}").parse().unwrap();
            let nodes = vec![NodeRange { first: NodeId(0), last: NodeId(i32::MAX) }];
            let names = Names { bootstrap: "kafka".into(), brokers, nodes, port: 9092 };
            let name = names.advertised(NodeId(id)).unwrap();
            prop_assert_eq!(names.advertised(NodeId(id)), Some(name.clone()), "the same each time");
            let shouted = name.char_indices().map(|(at, c)| match case >> (at % 64) & 1 {
                0 => c,
                _ => c.to_ascii_uppercase(),
            });
            let asked: String = shouted.chain(dot.then_some('.')).collect();
            prop_assert_eq!(names.door(&asked), Some(Door::Node(NodeId(id))));
        }

        #[test]
        fn no_name_makes_it_panic_and_what_leads_somewhere_is_spelled_as_it_is_told(name in "\\PC{0,24}|b[0-9]{0,12}\\.[kK]afka\\.example\\.com\\.?") {
            let names = names();
            if let Some(Door::Node(node)) = names.door(&name) {
                let told = names.advertised(node).unwrap();
                prop_assert_eq!(told, name.trim_end_matches('.').to_ascii_lowercase());
            }
        }
    }
}
