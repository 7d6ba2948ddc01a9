//! `listeners.NAME.tls`: what clients are shown, and what they must show.

use super::identity::{Files, IDENTITY, Presented, Shown};
use super::routing::Routing;
use super::section::Section;
use super::value::all;
use super::{Check, Checked};
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::yaml::{Name, Node, Value};
use crate::tls::identity::Source;
use crate::tls::rules::{self, Rules};
use crate::tls::{Version, server};

const SETTINGS: &[&str] = &[
    "certificates",
    "min_version",
    "client_auth",
    "client_ca",
    "client_crl",
    "principal_mapping_rules",
    "resumption",
];

/// Settings that mean nothing unless clients show certificates.
const OF_CLIENTS: &[&str] = &["client_ca", "client_crl", "principal_mapping_rules", "resumption"];

/// Certificates of one listener.
const CERTIFICATES_MAX: usize = 256;

pub(super) const VERSIONS: &[(&str, Version)] = &[("1.2", Version::Tls12), ("1.3", Version::Tls13)];

/// Whether clients show certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientAuth {
    None,
    Optional,
    Required,
}

/// TLS towards clients, and where the configuration says so.
pub(super) struct Terminated {
    pub(super) options: server::Options,
    /// Where the certificates are named, in the order of the options.
    pub(super) certificates: Vec<Shown>,
    /// The authorities and revocation lists.
    pub(super) files: Files,
    /// The place of `tls`.
    pub(super) place: Place,
}

impl Check<'_> {
    /// What a listener does about TLS, its files checked.
    pub(super) fn listener_tls(
        &mut self,
        section: &Section<'_>,
        routing: Option<&Routing>,
    ) -> Checked<Option<Terminated>> {
        let named = routing.and_then(|routing| routing.named.as_ref());
        let Some((name, node)) = section.entry("tls") else {
            return named.map_or(Ok(None), |named| self.names_need_tls(&named.place));
        };
        let terminated = self.terminated(name, node, named.is_some())?;
        self.read_terminated(&terminated, routing)?;
        Ok(Some(terminated))
    }

    /// The settings of a listener. `by_name_only` says that names tell its brokers apart.
    fn terminated(&mut self, name: &Name, node: &Node, by_name_only: bool) -> Checked<Terminated> {
        self.no_passthrough(node)?;
        let section = self.section(node, &name.place, "`tls`", SETTINGS)?;
        let mut files = Files::default();
        let certificates =
            self.required(&section, "`tls`", "certificates").and_then(|node| self.certificates(node));
        let min_version = section.get("min_version").map(|node| self.choice(node, VERSIONS)).transpose();
        let clients = self.clients(&section, &mut files);
        let (sources, shown) = certificates?;
        Ok(Terminated {
            options: server::Options {
                certificates: sources,
                min_version: min_version?.unwrap_or_default(),
                clients: clients?,
                by_name_only,
            },
            certificates: shown,
            files,
            place: name.place.clone(),
        })
    }

    /// Refuses what cannot be had: a gateway that does not see what it must rewrite.
    pub(super) fn no_passthrough(&mut self, node: &Node) -> Checked<()> {
        match &node.value {
            Value::Scalar(text) if text.to_ascii_lowercase().replace(['-', '_'], "") == "passthrough" => {
                self.report(passthrough(&node.place))
            }
            _ => Ok(()),
        }
    }

    fn certificates(&mut self, node: &Node) -> Checked<(Vec<Source>, Vec<Shown>)> {
        let items = match node.value {
            Value::Map(_) => vec![node],
            _ => self.list(node, "`certificates`")?,
        };
        if items.len() > CERTIFICATES_MAX {
            let title = format!("more than {CERTIFICATES_MAX} certificates");
            return self.report(Diagnostic::error(Code::Number, title, &self.visible(&node.place)));
        }
        let presented = all(items.into_iter().map(|item| {
            let section = self.section(item, &item.place, "a certificate", IDENTITY)?;
            self.presented(&section, "the certificate")
        }))?;
        Ok(presented.into_iter().map(|Presented { source, shown }| (source, shown)).unzip())
    }

    fn clients(&mut self, section: &Section<'_>, files: &mut Files) -> Checked<Option<server::Clients>> {
        let choices = &[
            ("none", ClientAuth::None),
            ("optional", ClientAuth::Optional),
            ("required", ClientAuth::Required),
        ];
        let auth = section.get("client_auth").map(|node| self.choice(node, choices)).transpose();
        let ca = section.get("client_ca").map(|node| self.trusted(node, "`client_ca`", files)).transpose();
        let crl = section.get("client_crl").map(|node| self.trusted(node, "`client_crl`", files)).transpose();
        let rules = section.get("principal_mapping_rules").map(|node| self.rules(node)).transpose();
        let resumption = section.get("resumption").map(|node| self.switch(node)).transpose();
        let auth = auth?.unwrap_or(ClientAuth::None);
        if auth == ClientAuth::None {
            self.without_client_auth(section)?;
            return Ok(None);
        }
        let Some(ca) = ca? else {
            let place = section.entry("client_auth").map_or(section.name, |(_, node)| &node.place);
            let fault = Diagnostic::error(Code::ClientAuth, "`client_auth` without `client_ca`", place)
                .label("whose certificates are taken?");
            return self.report(fault.help(
                "add `client_ca: FILE` with the authorities of your clients; those of the system are never taken, \
                 because anybody can have a certificate of theirs",
            ));
        };
        Ok(Some(server::Clients {
            required: auth == ClientAuth::Required,
            trust: crate::tls::trust::Options { ca, crl: crl?.unwrap_or_default() },
            rules: rules?.unwrap_or_default(),
            resumption: resumption?.unwrap_or_default(),
        }))
    }

    /// Settings of clients' certificates, without anybody asking for one.
    fn without_client_auth(&mut self, section: &Section<'_>) -> Checked<()> {
        let said = section.entry("client_auth").map(|(_, node)| &node.place);
        let mut result = Ok(());
        for (name, _) in OF_CLIENTS.iter().filter_map(|name| section.entry(name)) {
            let title = format!("`{}` without `client_auth`", name.text);
            let fault = Diagnostic::error(Code::ClientAuth, title, &name.place)
                .label("no client is asked for a certificate");
            let fault = match said {
                Some(place) => fault.also(place, "because of this"),
                None => fault,
            };
            let help = "add `client_auth: required`, or `optional` to take clients without a certificate too";
            result = self.report(fault.help(help));
        }
        result
    }

    fn rules(&mut self, node: &Node) -> Checked<Rules> {
        let text = self.text(node)?;
        let error = match Rules::parse(text) {
            Ok(rules) => return Ok(rules),
            Err(error) => error,
        };
        // The part that is at fault, where the file has it letter by letter.
        let faulty = match &error {
            rules::Error::Syntax(part)
            | rules::Error::Pattern { pattern: part, .. }
            | rules::Error::Replacement { replacement: part, .. } => part.as_str(),
            _ => "",
        };
        let written = self.source.get(node.place.clone()).unwrap_or_default();
        let place = match written.find(faulty).filter(|_| !faulty.is_empty()) {
            Some(at) => node.place.start + at..node.place.start + at + faulty.len(),
            None => self.visible(&node.place),
        };
        let title = match node.value {
            Value::Variable(_) => "the value of the variable is not a list of mapping rules".to_owned(),
            _ => error.to_string(),
        };
        self.report(Diagnostic::error(Code::MappingRules, title, &self.visible(&place)))
    }

    /// The certificates that a part of the configuration presents, which is a map with certificate and key.
    pub(super) fn identity(&mut self, name: &Name, node: &Node, what: &str) -> Checked<Presented> {
        let section = self.section(node, &name.place, what, IDENTITY)?;
        self.presented(&section, what)
    }

    /// Names that only a handshake tells need a handshake that ends here.
    fn names_need_tls<T>(&mut self, place: &Place) -> Checked<T> {
        let title = "routing by server name without `tls`";
        let fault = Diagnostic::error(Code::NamesWithoutTls, title, place)
            .label("a server name is only seen in a TLS handshake");
        self.report(fault.help(
            "add `tls: { certificates: [{ cert: FILE, key: FILE }] }` to this listener, or route by `port`. The \
             gateway must end TLS itself: it rewrites the addresses in the brokers' answers, which it cannot read \
             in a connection that is sealed between client and broker",
        ))
    }
}

/// Why TLS that the gateway does not see into cannot be had.
pub(super) fn passthrough(place: &Place) -> Diagnostic {
    Diagnostic::error(Code::Passthrough, "TLS cannot be passed through", place)
        .label("the gateway must see what it rewrites")
        .help(PASSTHROUGH)
}

const PASSTHROUGH: &str = "end TLS here with `tls: { certificates: [{ cert: FILE, key: FILE }] }`, and speak it to the brokers with \
     `clusters.NAME.tls`. Sealed between client and broker, the brokers' answers would reach clients with the \
     brokers' own addresses in them: the gateway could not rewrite what it cannot read";
