//! A gateway with a TLS listener in front of a toy cluster, and everything that it was made of.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gatehouse::config::Config;
use gatehouse::toy::{Cluster, Options};
use rustls::{ClientConfig, SupportedProtocolVersion};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::files::Files;
use super::peer::{self, Outcome, TlsClient};
use super::pki::{Authority, List, Pair};
use crate::gateway::{ADVERTISED, Gateway, PORT, own_address, toy};
use crate::poll::{in_time, until};

/// What admin asks for before it changes something.
pub(crate) const TOKEN: &str = "a-token-of-the-tests";

/// Authorities, and the files that a gateway is given.
pub(crate) struct Material {
    pub(crate) files: Files,
    /// Signs what the gateway shows to clients.
    pub(crate) servers: Authority,
    /// Signs what clients show to the gateway.
    pub(crate) clients: Authority,
}

impl Material {
    /// A pair of the gateway's for [`ADVERTISED`] and all names below it, an authority of clients, and its list,
    /// which revokes nothing.
    pub(crate) fn new() -> Self {
        let material = Self {
            files: Files::new(),
            servers: Authority::new("CA of servers"),
            clients: Authority::new("CA of clients"),
        };
        material.put_server(&material.servers.server(&[ADVERTISED, &format!("*.{ADVERTISED}")]));
        material.files.put("clients.crt", &material.clients.pem());
        material.revoke(&[], List::InForce);
        material
    }

    /// Puts the key first: whoever looks between the two sees a pair that does not fit.
    pub(crate) fn put_server(&self, pair: &Pair) {
        self.files.put("server.key", &pair.key);
        self.files.put("server.crt", &pair.cert);
    }

    pub(crate) fn revoke(&self, pairs: &[&Pair], list: List) {
        self.files.put("clients.crl", &self.clients.revoke(pairs, list));
    }

    fn file(&self, name: &str) -> String {
        self.files.path(name).display().to_string()
    }

    /// `tls` of a listener that asks no client for anything, with more settings.
    pub(crate) fn anonymous(&self, more: &str) -> String {
        let (cert, key) = (self.file("server.crt"), self.file("server.key"));
        format!("tls: {{ certificates: [ {{ cert: {cert}, key: {key} }} ], {more} }}")
    }

    /// `tls` of a listener that asks for certificates, with more settings.
    pub(crate) fn mutual(&self, auth: &str, more: &str) -> String {
        let (ca, crl) = (self.file("clients.crt"), self.file("clients.crl"));
        self.anonymous(&format!("client_auth: {auth}, client_ca: {ca}, client_crl: {crl}, {more}"))
    }
}

/// What a test wants otherwise.
pub(crate) struct Plan<'a> {
    /// Lines of the listener `door`, such as [`Material::mutual`].
    pub(crate) door: &'a [&'a str],
    /// Its `routing`; by default its ports tell the brokers apart.
    pub(crate) routing: &'a str,
    /// Lines of the cluster.
    pub(crate) cluster: &'a [&'a str],
    /// Its brokers; the toy's own ports when there is none.
    pub(crate) bootstrap: &'a [String],
    /// Whether to wait until it is ready.
    pub(crate) ready: bool,
    /// Further listeners, on the address `$ip`.
    pub(crate) listeners: &'a str,
    /// Further sections.
    pub(crate) rest: &'a str,
    /// Changes what no file may say.
    pub(crate) tune: fn(&mut Config),
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            door: &[],
            routing: BY_PORT,
            cluster: &[],
            bootstrap: &[],
            ready: true,
            listeners: "",
            rest: "tls: { reload_interval: 1h }",
            tune: |_| (),
        }
    }
}

const BY_PORT: &str = "{ port: { ranges: [ { nodes: 0-9, bind: 9093 } ] } }";

/// All of it.
pub(crate) struct House {
    pub(crate) cluster: Cluster,
    pub(crate) gateway: Gateway,
    pub(crate) material: Material,
    pub(crate) ip: IpAddr,
}

impl House {
    /// A gateway that asks clients for nothing.
    pub(crate) async fn anonymous() -> Self {
        let material = Material::new();
        let door = material.anonymous("");
        Self::build(material, Plan { door: &[&door], ..Plan::default() }).await
    }

    /// A gateway that lets nobody in without a certificate, with more settings of its `tls`.
    pub(crate) async fn mutual(more: &str) -> Self {
        let material = Material::new();
        let door = material.mutual("required", more);
        Self::build(material, Plan { door: &[&door], ..Plan::default() }).await
    }

    pub(crate) async fn build(material: Material, plan: Plan<'_>) -> Self {
        Self::before(toy(Options::default()).await, material, plan).await
    }

    /// In front of a cluster.
    pub(crate) async fn before(cluster: Cluster, material: Material, plan: Plan<'_>) -> Self {
        let ip = own_address();
        let addresses = cluster.addresses();
        let forbidden = addresses.first().expect("a broker").1.ip().to_string();
        let own: Vec<String> = addresses.iter().map(|(_, address)| address.to_string()).collect();
        let bootstrap = if plan.bootstrap.is_empty() { &own } else { plan.bootstrap };
        let gateway = Gateway::start_tuned(&Self::text(ip, bootstrap, &plan), ip, forbidden, plan.tune).await;
        if plan.ready {
            until("readiness", async || gateway.app.is_ready()).await;
        }
        Self { cluster, gateway, material, ip }
    }

    /// The configuration.
    pub(crate) fn text(ip: IpAddr, bootstrap: &[String], plan: &Plan<'_>) -> String {
        let advertise = match plan.routing.contains("sni") {
            true => String::new(),
            false => format!("advertise: {ADVERTISED}"),
        };
        let text = format!(
            "clusters:
  toy:
    bootstrap: [{}]
    metadata_refresh: 1h
    {}
listeners:
  door:
    bind: $ip:{PORT}
    {advertise}
    routing: {}
    {}
{}
admin: {{ bind: $ip:9910, token: {TOKEN} }}
shutdown: {{ ready_delay: 0s, drain_timeout: 10s, hard_stop_after: 20s }}
{}
",
            bootstrap.join(", "),
            plan.cluster.join("\n    "),
            plan.routing,
            plan.door.join("\n    "),
            plan.listeners,
            plan.rest,
        );
        text.replace("$ip", &ip.to_string())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.bootstrap()
    }

    /// A client's configuration that trusts this house.
    pub(crate) fn config(
        &self,
        shows: Option<&Pair>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        peer::config(&self.material.servers, shows, version)
    }

    /// A client with a connection that must come about.
    pub(crate) async fn connect(&self, config: &Arc<ClientConfig>) -> TlsClient {
        peer::connect(self.address(), ADVERTISED, config).await.expect("a handshake")
    }

    /// What becomes of a client of the bootstrap port.
    pub(crate) async fn outcome(&self, config: &Arc<ClientConfig>) -> Outcome {
        peer::outcome(self.address(), ADVERTISED, config).await
    }

    /// Handshakes that failed for a reason.
    pub(crate) fn failed(&self, reason: &str) -> f64 {
        self.gateway.metric("gatehouse_tls_handshake_failures_total", &[&format!("reason=\"{reason}\"")])
    }

    /// Has the files looked at, and returns what came of it with the status of the response.
    pub(crate) async fn reload(&self) -> (u16, Value) {
        let (status, body) =
            self.ask(&format!("POST /api/v1/reload HTTP/1.1\r\nAuthorization: Bearer {TOKEN}")).await;
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// An admin page.
    pub(crate) async fn page(&self, path: &str) -> String {
        let (status, body) = self.ask(&format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}")).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Sends the head of a request to admin; returns status and body.
    pub(crate) async fn ask(&self, head: &str) -> (u16, String) {
        ask((self.ip, 9910).into(), head).await
    }
}

/// Sends the head of a request to an admin address; returns status and body.
pub(crate) async fn ask(admin: SocketAddr, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).await.expect("admin");
    let request = format!("{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    in_time("an admin page", stream.read_to_string(&mut answer)).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}
