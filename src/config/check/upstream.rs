//! TLS towards brokers: whom the gateway trusts, and what it or its clients are to them.

use super::identity::{Files, Presented, Shown};
use super::section::Section;
use super::tls::{Terminated, VERSIONS};
use super::{Check, Checked, Reported};
use crate::config::Cluster;
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::yaml::{Name, Node};
use crate::tls::client::{self, Roots, Verify};

const SETTINGS: &[&str] = &["ca", "verify", "min_version"];

const VERIFY: &[(&str, Verify)] =
    &[("full", Verify::Full), ("ca", Verify::Chain), ("insecure-none", Verify::InsecureNone)];

/// TLS towards the brokers of a cluster, and where the configuration says so.
pub(super) struct Upstream {
    pub(super) options: client::Options,
    /// The authorities.
    pub(super) files: Files,
    /// The place of `tls`.
    pub(super) place: Place,
    /// Where the certificate that is presented is named.
    pub(super) shown: Option<Shown>,
}

impl Upstream {
    /// The same trust, with something to present.
    pub(super) fn present(&mut self, presented: Presented) {
        self.options.identity = Some(presented.source);
        self.shown = Some(presented.shown);
    }
}

impl Check<'_> {
    /// `clusters.NAME.tls`, and what the gateway itself is to the brokers.
    pub(super) fn cluster_tls(&mut self, section: &Section<'_>) -> Checked<Option<client::Options>> {
        let upstream = section.entry("tls").map(|(name, node)| self.upstream(name, node)).transpose();
        let mut upstream = upstream?;
        self.own_identity(section, &mut upstream)?;
        if let Some(upstream) = &upstream {
            self.read_upstream(upstream)?;
        }
        Ok(upstream.map(|upstream| upstream.options))
    }

    /// `clusters.NAME.tls`: trust, for every leg.
    fn upstream(&mut self, name: &Name, node: &Node) -> Checked<Upstream> {
        self.no_passthrough(node)?;
        let section = self.section(node, &name.place, "`tls`", SETTINGS)?;
        let mut files = Files::default();
        let ca = section.get("ca").map(|node| self.trusted(node, "`ca`", &mut files)).transpose();
        let min_version = section.get("min_version").map(|node| self.choice(node, VERSIONS)).transpose();
        let verify = section.get("verify").map(|node| self.choice(node, VERIFY)).transpose();
        let verify = verify?.unwrap_or_default();
        if verify == Verify::InsecureNone {
            self.insecure(&section);
        }
        let options = client::Options {
            roots: ca?.map_or(Roots::System, Roots::Files),
            verify,
            min_version: min_version?.unwrap_or_default(),
            identity: None,
        };
        Ok(Upstream { options, files, place: name.place.clone(), shown: None })
    }

    fn insecure(&mut self, section: &Section<'_>) {
        let place = section.entry("verify").map_or(section.name, |(_, node)| &node.place);
        let title = "the brokers' certificates are not verified at all";
        let warning = Diagnostic::warning(Code::InsecureVerification, title, place)
            .label("whoever answers is taken for a broker, and is given what clients log in with");
        let warning = match section.entry("ca") {
            Some((name, _)) => warning.also(&name.place, "has no effect beside it"),
            None => warning,
        };
        self.note(warning.help("take it out, and name the brokers' authority with `ca: FILE`"));
    }

    /// `clusters.NAME.discovery.tls`: what the gateway itself is to the brokers.
    fn own_identity(&mut self, section: &Section<'_>, upstream: &mut Option<Upstream>) -> Checked<()> {
        let discovery = section.get("discovery").map(Node::entries).unwrap_or_default();
        let Some((name, node)) = discovery.iter().find(|(name, _)| name.text == "tls") else { return Ok(()) };
        let presented = self.identity(name, node, "`tls`");
        match upstream {
            Some(upstream) => upstream.present(presented?),
            None => {
                self.needs_upstream_tls("`discovery` has a certificate, but speaks no TLS", &name.place)?;
            }
        }
        Ok(())
    }

    /// TLS for the connections of a listener's clients: the trust of the cluster, and what they are to the
    /// brokers.
    pub(super) fn listener_upstream(
        &mut self,
        section: &Section<'_>,
        listener: &str,
        tls: &Checked<Option<Terminated>>,
        cluster: Option<&Cluster>,
    ) -> Checked<Option<client::Options>> {
        let trust = cluster.and_then(|cluster| cluster.tls.clone());
        let Some((name, node)) = section.entry("upstream_identity") else {
            return Ok(trust.map(|trust| client::Options { identity: None, ..trust }));
        };
        let presented = self.upstream_identity((name, node), listener, tls)?;
        if cluster.is_some_and(|cluster| cluster.tls.is_none()) {
            return self.needs_upstream_tls("`upstream_identity`, but no TLS to the brokers", &name.place);
        }
        self.read_identity(&presented.source, &presented.shown)?;
        Ok(trust.map(|trust| client::Options { identity: Some(presented.source), ..trust }))
    }

    /// `listeners.NAME.upstream_identity`: what the clients of that listener are to the brokers.
    fn upstream_identity(
        &mut self,
        (name, node): (&Name, &Node),
        listener: &str,
        tls: &Checked<Option<Terminated>>,
    ) -> Checked<Presented> {
        let section = self.section(node, &name.place, "`upstream_identity`", &["tls"])?;
        let presented = match section.entry("tls") {
            Some((name, node)) => self.identity(name, node, "`tls`"),
            None => self.required(&section, "`upstream_identity`", "tls").and(Err(Reported)),
        };
        let tls = tls.as_ref().map_err(|_| Reported)?;
        let clients = tls.as_ref().and_then(|tls| tls.options.clients.as_ref());
        if clients.is_some_and(|clients| clients.required) {
            return presented;
        }
        let title =
            format!("`upstream_identity`, but listener `{listener}` does not authenticate every client");
        let fault = Diagnostic::error(Code::UpstreamIdentity, title, &name.place)
            .label("whoever reaches the listener would be this to the brokers");
        self.report(fault.help(
            "add `client_auth: required` and `client_ca` to the `tls` of this listener, or take \
             `upstream_identity` out",
        ))
    }

    fn needs_upstream_tls<T>(&mut self, title: &str, place: &Place) -> Checked<T> {
        let fault = Diagnostic::error(Code::NoUpstreamTls, title, place);
        self.report(
            fault.help("add `tls: { ca: FILE }` to the cluster, or `tls: {}` to trust the system's roots"),
        )
    }
}
