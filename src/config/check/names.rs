//! `routing.sni`: one port for all brokers, which the server name of the handshake tells apart.

use super::claims::Claims;
use super::listener::Bind;
use super::section::Section;
use super::value::all;
use super::{Check, Checked, Reported};
use crate::cluster::names::is_server_name;
use crate::cluster::{Error, Names, NodeRange, Pattern};
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::yaml::{Name, Node, Value};
use crate::kafka::NodeId;

const SETTINGS: &[&str] = &["bootstrap", "brokers", "nodes", "advertised_port"];

/// Node ids that have a name where the file does not say: 0 to 99.
const DEFAULT_NODES: NodeRange = NodeRange { first: NodeId(0), last: NodeId(99) };
/// Ranges of one listener.
const RANGES_MAX: usize = 64;
/// Nodes of one listener: as many as there are ports, so that they can be listed.
const NODES_MAX: u32 = 65_536;

/// Names that tell brokers apart, and where the configuration says so.
pub(super) struct Named {
    pub(super) names: Names,
    /// The place of `sni`.
    pub(super) place: Place,
    /// The place of the bootstrap name.
    pub(super) bootstrap: Place,
    /// The place of the pattern.
    pub(super) brokers: Place,
}

impl Check<'_> {
    /// The names of one listener.
    pub(super) fn names(
        &mut self,
        (name, node): (&Name, &Node),
        listener: &str,
        bind: Option<&Bind<'_>>,
        claims: &mut Claims,
    ) -> Checked<Named> {
        let section = self.section(node, &name.place, "`sni`", SETTINGS)?;
        let bootstrap = self.required(&section, "`sni`", "bootstrap");
        let bootstrap = bootstrap.and_then(|node| Ok((self.server_name(node)?, node.place.clone())));
        let brokers = self.required(&section, "`sni`", "brokers");
        let brokers = brokers.and_then(|node| Ok((self.pattern(node)?, node.place.clone())));
        let nodes = section.get("nodes").map(|node| self.node_ranges(node)).transpose();
        let port = section.get("advertised_port").map(|node| self.port(node)).transpose();
        let ((bootstrap, bootstrap_place), (brokers, brokers_place)) = (bootstrap?, brokers?);
        if let Some(node) = brokers.node(&bootstrap) {
            let title = format!("`{bootstrap}` is the bootstrap name and that of node {node}");
            let fault = Diagnostic::error(Code::NamesMeet, title, &bootstrap_place)
                .label("any broker will do")
                .also(&brokers_place, format!("node {node}"));
            return self.report(fault.help("give bootstrap a name that the pattern does not make"));
        }
        let (nodes, port) = (nodes?.unwrap_or_else(|| vec![DEFAULT_NODES]), port?);
        let port = port.map_or_else(|| bind.map(|bind| bind.port).ok_or(Reported), Ok)?;
        let named = Named {
            names: Names { bootstrap: bootstrap.into(), brokers, nodes, port },
            place: name.place.clone(),
            bootstrap: bootstrap_place,
            brokers: brokers_place,
        };
        claims.name(&named, listener);
        Ok(named)
    }

    /// A name that clients can ask for, in lower case and without a dot at its end.
    fn server_name(&mut self, node: &Node) -> Checked<String> {
        let text = self.text(node)?;
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if is_server_name(&name) {
            return Ok(name);
        }
        let bare = name.rsplit_once(':').map(|(host, _)| host).filter(|host| is_server_name(host));
        self.bad(Code::NamePattern, node, "a DNS name; the port is `advertised_port`", bare)
    }

    fn pattern(&mut self, node: &Node) -> Checked<Pattern> {
        let text = self.text(node)?;
        let error = match text.parse() {
            Ok(pattern) => return Ok(pattern),
            Err(error) => error,
        };
        let fix = match error {
            Error::NoNode => text.strip_prefix("*.").map(|rest| format!("b{{node}}.{rest}")),
            Error::Name => text.rsplit_once(':').map(|(pattern, _)| pattern.to_owned()),
            Error::SeveralNodes => None,
        };
        let fix = fix.filter(|fix| fix.parse::<Pattern>().is_ok());
        let need = format!("a pattern of names such as `b{{node}}.kafka.example.com`: {error}");
        self.bad(Code::NamePattern, node, &need, fix.as_deref())
    }

    fn node_ranges(&mut self, node: &Node) -> Checked<Vec<NodeRange>> {
        let items = self.list(node, "`nodes`")?;
        if items.len() > RANGES_MAX {
            let title = format!("more than {RANGES_MAX} ranges");
            return self.report(Diagnostic::error(Code::Number, title, &self.visible(&node.place)));
        }
        let ranges = all(items.into_iter().map(|item| Ok((self.node_range(item)?, &item.place))))?;
        self.no_overlap(&ranges)?;
        let ranges: Vec<NodeRange> = ranges.into_iter().map(|(range, _)| range).collect();
        let count: u32 =
            ranges.iter().map(|range| range.last.0.abs_diff(range.first.0)).fold(0, u32::saturating_add);
        if count >= NODES_MAX {
            let need = format!("at most {NODES_MAX} nodes");
            return self.bad(Code::NodeRange, node, &need, None);
        }
        Ok(ranges)
    }

    /// Reports a node that two ranges hold.
    pub(super) fn no_overlap(&mut self, ranges: &[(NodeRange, &Place)]) -> Checked<()> {
        for (at, (range, place)) in ranges.iter().enumerate() {
            let before = ranges.get(..at).unwrap_or_default();
            let overlap =
                |(other, _): &&(NodeRange, &Place)| other.first <= range.last && range.first <= other.last;
            if let Some((other, other_place)) = before.iter().find(overlap) {
                let first = range.first.max(other.first);
                let fault =
                    Diagnostic::error(Code::RangesOverlap, format!("node {first} is in two ranges"), place)
                        .label(format!("nodes {} to {}", range.first, range.last))
                        .also(other_place, format!("nodes {} to {}", other.first, other.last));
                return self.report(fault);
            }
        }
        Ok(())
    }

    /// The first and the last id of a range.
    pub(super) fn node_range(&mut self, node: &Node) -> Checked<NodeRange> {
        let text = self.text(node)?;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let id = |text: &str| text.trim().parse::<i32>().ok().filter(|id| *id >= 0).map(NodeId);
        match (id(first), id(last)) {
            (Some(first), Some(last)) if first <= last => Ok(NodeRange { first, last }),
            (Some(first), Some(last)) => {
                let fix = format!("{last}-{first}");
                self.bad(Code::NodeRange, node, "a range: the last id is below the first", Some(&fix))
            }
            _ => self.bad(Code::NodeRange, node, "a range of node ids such as `0-99`", None),
        }
    }

    /// Settings that only mean something where ports tell brokers apart.
    pub(super) fn no_advertise(&mut self, section: &Section<'_>, named: &Named) {
        if let Some((name, node)) = section.entry("advertise") {
            if let Value::Map(_) = node.value {
                let title = "a listener that routes by name cannot take the address of a Service";
                let fault = Diagnostic::error(Code::NoService, title, &name.place)
                    .also(&named.place, "says what clients are told: names");
                self.note(
                    fault.help(
                        "take it out, and have your DNS lead these names to the address of the Service",
                    ),
                );
                return;
            }
            let title = "`advertise` has no effect beside `sni`";
            let warning = Diagnostic::warning(Code::NoEffect, title, &name.place)
                .also(&named.place, "says what clients are told");
            self.note(warning.help("take it out; the port that clients are told is `advertised_port`"));
        }
    }
}
