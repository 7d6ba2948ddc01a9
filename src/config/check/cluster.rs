//! `clusters`: where the brokers are, and how the gateway learns of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::claims::Claims;
use super::section::Section;
use super::value::{all, parse_network};
use super::{Check, Checked, Reported};
use crate::config::Cluster;
use crate::config::codes::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::yaml::{Name, Node, Value};
use crate::connect::{self, policy::AllowList};
use crate::kafka::NodeId;
use crate::net::HostPort;
use crate::sasl::{Credential, Mechanism};
use crate::topology::{self, Discovery};

const SETTINGS: &[&str] = &[
    "bootstrap",
    "connect_timeout",
    "metadata_refresh",
    "tcp_keepalive",
    "discovery",
    "nodes",
    "allow",
    "source_address",
    "tls",
];

const SECOND: Duration = Duration::from_secs(1);

impl Check<'_> {
    /// All clusters, in the order of the file.
    pub(super) fn clusters(
        &mut self,
        file: &Section<'_>,
        client_id: &str,
        claims: &mut Claims,
    ) -> Checked<Vec<Cluster>> {
        let node = self.required(file, "the file", "clusters")?;
        let entries = self.filled_map(node, "`clusters`")?;
        all(entries.iter().map(|(name, value)| self.cluster(name, value, client_id, claims)))
    }

    fn cluster(
        &mut self,
        name: &Name,
        value: &Node,
        client_id: &str,
        claims: &mut Claims,
    ) -> Checked<Cluster> {
        let named = self.name(name);
        let what = format!("cluster `{}`", name.text);
        let section = self.section(value, &name.place, &what, SETTINGS)?;
        let nodes = section.get("nodes").map(|node| self.nodes(node, claims)).transpose();
        let bootstrap = match (section.get("bootstrap"), &nodes) {
            (Some(list), _) => self.brokers(list, claims),
            (None, Ok(Some(nodes))) => Ok(nodes.values().cloned().collect()),
            (None, Ok(None)) => self.required(&section, &what, "bootstrap").and(Err(Reported)),
            (None, Err(Reported)) => Err(Reported),
        };
        let tls = self.cluster_tls(&section);
        let discovery = self.discovery(&section, nodes);
        let timeout = self.duration_or(section.get("connect_timeout"), SECOND * 5, SECOND / 10);
        let refresh = self.duration_or(section.get("metadata_refresh"), SECOND * 30, SECOND);
        self.refresh_without_requests(&section, &discovery);
        let keepalive = self.duration_or(section.get("tcp_keepalive"), SECOND * 60, SECOND);
        let allow = section.get("allow").map(|node| self.allow(node)).transpose();
        let source_address = section.get("source_address").map(|node| self.ip(node)).transpose();
        named?;
        Ok(Cluster {
            name: name.text.clone(),
            topology: topology::Options {
                bootstrap: bootstrap?,
                refresh: refresh?,
                discovery: discovery?,
                client_id: client_id.to_owned(),
            },
            connect: connect::Options {
                timeout: timeout?,
                keepalive: keepalive?,
                source_address: source_address?,
                allow: allow?,
            },
            tls: tls?,
        })
    }

    fn refresh_without_requests(&mut self, section: &Section<'_>, discovery: &Checked<Discovery>) {
        if let (Ok(Discovery::Static(_) | Discovery::LearnOnly), Some((name, _))) =
            (discovery, section.entry("metadata_refresh"))
        {
            let title = "`metadata_refresh` has no effect where the gateway asks nobody";
            self.note(Diagnostic::warning(Code::NoEffect, title, &name.place));
        }
    }

    fn brokers(&mut self, node: &Node, claims: &mut Claims) -> Checked<Vec<HostPort>> {
        let items = self.list(node, "`bootstrap`")?;
        all(items.into_iter().map(|item| {
            let address = self.host_port(item)?;
            claims.dial(&address, &item.place);
            Ok(address)
        }))
    }

    fn nodes(&mut self, node: &Node, claims: &mut Claims) -> Checked<BTreeMap<NodeId, HostPort>> {
        let entries = self.filled_map(node, "`nodes`")?;
        let nodes = all(entries.iter().map(|(id, value)| {
            let address = self.host_port(value);
            let Some(id) = id.text.parse().ok().filter(|id| *id >= 0) else {
                let title = format!("`{}` is not a node id from 0 to {}", id.text, i32::MAX);
                return self.report(Diagnostic::error(Code::NodeRange, title, &id.place));
            };
            let address = address?;
            claims.dial(&address, &value.place);
            Ok((NodeId(id), address))
        }))?;
        Ok(nodes.into_iter().collect())
    }

    fn discovery(
        &mut self,
        section: &Section<'_>,
        nodes: Checked<Option<BTreeMap<NodeId, HostPort>>>,
    ) -> Checked<Discovery> {
        let Some((name, value)) = section.entry("discovery") else {
            return Ok(nodes?.map_or(Discovery::Own(None), Discovery::Static));
        };
        if let Some((nodes, _)) = section.entry("nodes") {
            let fault = Diagnostic::error(Code::TwoDiscoveries, "both `discovery` and `nodes`", &name.place)
                .label("asks the brokers who they are")
                .also(&nodes.place, "says who they are");
            return self.report(fault.help("keep one of them"));
        }
        if !matches!(value.value, Value::Map(_)) {
            return self.choice(value, &[("learn-only", ())]).map(|()| Discovery::LearnOnly);
        }
        let section = self.section(value, &name.place, "`discovery`", &["sasl", "tls"])?;
        let sasl = section.entry("sasl").map(|(name, value)| self.sasl(name, value)).transpose()?;
        Ok(Discovery::Own(sasl))
    }

    fn sasl(&mut self, name: &Name, value: &Node) -> Checked<Credential> {
        let section = self.section(value, &name.place, "`sasl`", &["mechanism", "username", "password"])?;
        let mechanism =
            self.required(&section, "`sasl`", "mechanism").and_then(|node| self.choice(node, MECHANISMS));
        let username = self.required(&section, "`sasl`", "username").and_then(|node| self.text(node));
        let password = self.required(&section, "`sasl`", "password").and_then(|node| self.secret(node));
        Ok(Credential { mechanism: mechanism?, username: username?.to_owned(), password: password? })
    }

    fn allow(&mut self, node: &Node) -> Checked<AllowList> {
        let items = self.list(node, "`allow`")?;
        let mut allow = AllowList::default();
        let checked = all(items.into_iter().map(|item| {
            let text = self.text(item)?;
            if text.contains('/') || parse_network(text).is_some() {
                allow.networks.push(self.network(item)?);
            } else if let Ok(pattern) = text.parse() {
                allow.names.push(pattern);
            } else {
                let need = "a host name, `*.` and a name, or a network";
                return self.bad(Code::Address, item, need, None);
            }
            Ok(())
        }));
        checked.map(|_| allow)
    }
}

const MECHANISMS: &[(&str, Mechanism)] = &[
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-512", Mechanism::ScramSha512),
];
