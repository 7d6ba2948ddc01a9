//! TLS towards brokers: who is taken for a broker, and who the gateway is to it.

use std::net::IpAddr;
use std::sync::Arc;

use gatehouse::kafka::NodeId;
use gatehouse::toy::{Cluster, Options};
use kafka_protocol::messages::ListGroupsRequest;
use rustls::ServerConfig;

use super::front::{self, Front, Wants};
use super::house::{House, Material, Plan};
use super::peer::{Outcome, VERSIONS};
use super::pki::{Authority, Pair};
use crate::gateway::{own_address, toy};
use crate::poll::until;

/// The client id of the tests' clients.
const CLIENT: &str = "it";

/// A cluster behind TLS.
struct Brokers {
    cluster: Cluster,
    front: Front,
    /// Signs what the gateway shows to brokers.
    gateways: Authority,
    material: Material,
    bootstrap: Vec<String>,
}

impl Brokers {
    /// Brokers that are called `host`, or go by their address; `names` is what their certificate says, `$ip`
    /// their address.
    async fn start(host: Option<&str>, names: &[&str], wants: Wants) -> Self {
        let (authority, gateways) = (Authority::new("CA of brokers"), Authority::new("CA of gateways"));
        let ip: IpAddr = if host.is_some() { [127, 0, 0, 1].into() } else { own_address() };
        let names: Vec<String> = names.iter().map(|name| name.replace("$ip", &ip.to_string())).collect();
        let pair = authority.server(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let config = front::config(&pair, &gateways, wants, &VERSIONS);
        Self::behind(ip, host, (authority, gateways), &config).await
    }

    async fn behind(
        ip: IpAddr,
        host: Option<&str>,
        (authority, gateways): (Authority, Authority),
        config: &Arc<ServerConfig>,
    ) -> Self {
        let cluster = toy(Options::default()).await;
        let host = host.map_or_else(|| ip.to_string(), str::to_owned);
        let front = Front::start(&cluster, ip, &host, config).await;
        let material = Material::new();
        material.files.put("brokers.crt", &authority.pem());
        let bootstrap = front.addresses.iter().map(|address| format!("{host}:{}", address.port())).collect();
        Self { cluster, front, gateways, material, bootstrap }
    }

    /// `tls` of the cluster, with more settings.
    fn tls(&self, more: &str) -> String {
        format!("tls: {{ ca: {}, {more} }}", self.material.files.path("brokers.crt").display())
    }

    /// A pair in files, as a map.
    fn identity(&self, name: &str) -> (Pair, String) {
        let pair = self.gateways.client(name);
        let cert = self.material.files.put(&format!("{name}.crt"), &pair.cert);
        let key = self.material.files.put(&format!("{name}.key"), &pair.key);
        (pair, format!("{{ cert: {}, key: {} }}", cert.display(), key.display()))
    }

    /// A gateway before them, and the front.
    async fn house(self, plan: Plan<'_>) -> (House, Front) {
        let plan = Plan { bootstrap: &self.bootstrap, ..plan };
        (House::before(self.cluster, self.material, plan).await, self.front)
    }
}

/// Whether a client of the bootstrap port gets an answer.
async fn is_answered(house: &House) -> bool {
    house.gateway.connect().await.try_call(&ListGroupsRequest::default(), 3).await.is_some()
}

#[tokio::test]
async fn discovery_and_clients_alike_reach_brokers_over_tls_by_their_own_names() {
    let brokers = Brokers::start(Some("localhost"), &["localhost"], Wants::Anybody).await;
    let tls = brokers.tls("");
    let (house, front) = brokers.house(Plan { cluster: &[&tls], ..Plan::default() }).await;
    assert!(is_answered(&house).await, "at the bootstrap port");
    for node in [0, 1, 2].map(NodeId) {
        let mut client = house.gateway.connect_to(node).await;
        client.call(&ListGroupsRequest::default(), 3).await;
        assert_eq!(front.visits().last().map(|visit| visit.node), Some(node));
    }
    let visits = front.visits();
    assert!(visits.len() > front.visits_of(CLIENT).len(), "discovery came too: {visits:?}");
    for visit in visits {
        assert_eq!(visit.name.as_deref(), Some("localhost"), "the server name of the hello");
        assert_eq!(visit.shown, None, "there is nothing to show");
    }
    assert_eq!(house.gateway.metric("gatehouse_upstream_tls_unverified", &["cluster=\"toy\""]), 0.0);
}

/// Brokers that are not who they must be: what the gateway says of them.
async fn refused(names: &[&str], tls: impl FnOnce(&Brokers) -> String) -> (House, Front, String) {
    let brokers = Brokers::start(None, names, Wants::Anybody).await;
    let tls = tls(&brokers);
    let plan = Plan { cluster: &[&tls, "connect_timeout: 1s"], ready: false, ..Plan::default() };
    let (house, front) = brokers.house(plan).await;
    let mut said = String::new();
    until("what discovery thinks", async || {
        said = house.ask("GET /readyz?verbose HTTP/1.1").await.1;
        said.contains("has not answered since")
    })
    .await;
    (house, front, said)
}

#[tokio::test]
async fn a_broker_with_another_name_is_refused_loudly_before_a_byte_is_sent() {
    let (house, front, said) = refused(&["kafka-0.internal", "127.0.0.1"], |brokers| brokers.tls("")).await;
    println!("{said}");
    assert!(said.contains("not valid for name") && said.contains("kafka-0.internal"), "{said}");
    assert!(!is_answered(&house).await);
    house.gateway.until_ended("tls").await;
    assert!(front.visits().is_empty(), "nobody said anything to it");
    assert!(front.failures().iter().all(|failure| failure.contains("BadCertificate")), "it was told");
}

#[tokio::test]
async fn a_broker_of_another_authority_is_refused_loudly_before_a_byte_is_sent() {
    let (house, front, said) = refused(&["$ip"], |brokers| {
        brokers.material.files.put("brokers.crt", &Authority::new("CA of others").pem());
        brokers.tls("")
    })
    .await;
    println!("{said}");
    assert!(said.contains("UnknownIssuer") || said.contains("unknown"), "{said}");
    assert!(!is_answered(&house).await);
    house.gateway.until_ended("tls").await;
    assert!(front.visits().is_empty(), "nobody said anything to it");
}

#[tokio::test]
async fn a_chain_alone_is_enough_where_the_configuration_says_so() {
    let brokers = Brokers::start(None, &["kafka-0.internal"], Wants::Anybody).await;
    let tls = brokers.tls("verify: ca");
    let (house, _front) = brokers.house(Plan { cluster: &[&tls], ..Plan::default() }).await;
    assert!(is_answered(&house).await);
    let (house, front, said) = refused(&["kafka-0.internal"], |brokers| {
        brokers.material.files.put("brokers.crt", &Authority::new("CA of others").pem());
        brokers.tls("verify: ca")
    })
    .await;
    assert!(!is_answered(&house).await, "the chain still counts: {said}");
    assert!(front.visits().is_empty());
}

#[tokio::test]
async fn anybody_may_pretend_to_be_a_broker_where_the_configuration_says_so_and_it_is_counted() {
    let brokers = Brokers::start(None, &["kafka-0.internal"], Wants::Anybody).await;
    let plan = Plan { cluster: &["tls: { verify: insecure-none }"], ..Plan::default() };
    let (house, _front) = brokers.house(plan).await;
    assert!(is_answered(&house).await);
    assert_eq!(house.gateway.metric("gatehouse_upstream_tls_unverified", &["cluster=\"toy\""]), 1.0);
}

#[tokio::test]
async fn brokers_that_speak_otherwise_are_no_brokers() {
    // Plaintext where TLS is expected.
    let material = Material::new();
    let plan = Plan {
        cluster: &["tls: { verify: insecure-none }", "connect_timeout: 1s"],
        ready: false,
        ..Plan::default()
    };
    let house = House::build(material, plan).await;
    until("a failed dial", async || {
        house.ask("GET /readyz?verbose HTTP/1.1").await.1.contains("has not answered since")
    })
    .await;
    assert!(!is_answered(&house).await);
    // TLS where plaintext is expected.
    let brokers = Brokers::start(None, &["$ip"], Wants::Anybody).await;
    let plan = Plan { cluster: &["connect_timeout: 1s"], ready: false, ..Plan::default() };
    let (house, front) = brokers.house(plan).await;
    assert!(!is_answered(&house).await);
    assert!(front.visits().is_empty());
}

#[tokio::test]
async fn an_old_broker_is_refused_where_only_tls_1_3_is_taken() {
    let (authority, gateways) = (Authority::new("CA of brokers"), Authority::new("CA of gateways"));
    let ip = own_address();
    let pair = authority.server(&[&ip.to_string()]);
    let config = front::config(&pair, &gateways, Wants::Anybody, &[&rustls::version::TLS12]);
    let brokers = Brokers::behind(ip, None, (authority, gateways), &config).await;
    let tls = brokers.tls("min_version: '1.3'");
    let plan = Plan { cluster: &[&tls, "connect_timeout: 1s"], ready: false, ..Plan::default() };
    let (house, front) = brokers.house(plan).await;
    assert!(!is_answered(&house).await);
    assert!(front.visits().is_empty());
    assert!(!house.gateway.app.is_ready());
}

#[tokio::test]
async fn what_the_gateway_is_to_brokers_is_never_what_its_clients_are() {
    let brokers = Brokers::start(None, &["$ip"], Wants::Anybody).await;
    let (own, own_map) = brokers.identity("discovery");
    let (partner, partner_map) = brokers.identity("partner");
    let (tls, discovery) = (brokers.tls(""), format!("discovery: {{ tls: {own_map} }}"));
    let mutual = brokers.material.mutual("required", "");
    let listeners = format!(
        "  partners:
    bind: $ip:19092
    advertise: gate.example
    routing: {{ port: {{ ranges: [ {{ nodes: 0-9, bind: 19100 }} ] }} }}
    upstream_identity: {{ tls: {partner_map} }}
    {mutual}"
    );
    let plan = Plan { cluster: &[&tls, &discovery], listeners: &listeners, ..Plan::default() };
    let (house, front) = brokers.house(plan).await;
    let known = house.config(Some(&house.material.clients.client("known")), &rustls::version::TLS13);
    let own = own.certified().cert.first().cloned();
    let partner = partner.certified().cert.first().cloned();
    // Bootstrap, every node, a node that is looked for: again and again, so that sessions could be resumed.
    for round in 0..5 {
        assert!(is_answered(&house).await);
        for node in [0, 1, 2].map(NodeId) {
            house.gateway.connect_to(node).await.call(&ListGroupsRequest::default(), 3).await;
        }
        let mut lost = house.gateway.connect_to(NodeId(9)).await;
        assert!(lost.try_call(&ListGroupsRequest::default(), 3).await.is_none());
        let visits = front.visits_of(CLIENT);
        assert_eq!(visits.len(), 4, "round {round}");
        assert!(visits.iter().all(|visit| visit.shown.is_none()), "clients of a plain listener are nobody");

        for port in [19_092, 19_100, 19_101, 19_102] {
            let address = (house.ip, port).into();
            let outcome = super::peer::outcome(address, "gate.example", &known).await;
            assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        }
        let all = front.visits_of(CLIENT);
        let (_, partners) = all.split_at(4);
        assert_eq!(partners.len(), 4);
        assert!(partners.iter().all(|visit| visit.shown == partner), "clients of the other are partners");
        assert_eq!(all.iter().all(|visit| visit.resumed), round > 0, "by sessions of their own");
        front.forget_clients(CLIENT);
    }
    let discoveries = front.visits();
    assert!(!discoveries.is_empty());
    assert!(discoveries.iter().all(|visit| visit.shown == own), "discovery is itself: {discoveries:?}");
}

#[tokio::test]
async fn a_broker_that_wants_certificates_is_not_shown_the_gateways_own_by_clients() {
    let brokers = Brokers::start(None, &["$ip"], Wants::Known).await;
    let (_, own) = brokers.identity("discovery");
    let (tls, discovery) = (brokers.tls(""), format!("discovery: {{ tls: {own} }}"));
    let (house, front) = brokers.house(Plan { cluster: &[&tls, &discovery], ..Plan::default() }).await;
    assert!(!is_answered(&house).await, "the broker refuses it");
    let mut client = house.gateway.connect_to(NodeId(1)).await;
    assert!(client.try_call(&ListGroupsRequest::default(), 3).await.is_none());
    assert!(front.visits_of(CLIENT).is_empty(), "no request of a client came that far");
    assert!(!front.visits().is_empty(), "discovery is let in");
    assert!(
        front.failures().iter().any(|failure| failure.contains("peer sent no certificates")),
        "{:?}",
        front.failures()
    );
}

#[tokio::test]
async fn a_broker_that_stands_still_in_the_handshake_costs_no_more_than_the_time_of_a_dial() {
    let silent = tokio::net::TcpListener::bind((own_address(), 0)).await.expect("a port");
    let bootstrap = [silent.local_addr().expect("an address").to_string()];
    // It accepts, since the kernel does, and says nothing.
    let cluster = ["tls: { verify: insecure-none }", "connect_timeout: 300ms"];
    let plan = Plan { cluster: &cluster, bootstrap: &bootstrap, ready: false, ..Plan::default() };
    let house = House::build(Material::new(), plan).await;
    // On a busy machine the dial itself may take all the time.
    until("a handshake that ended", async || {
        assert!(!is_answered(&house).await);
        house.gateway.ended("tls") > 0.0
    })
    .await;
    until("readiness says why", async || {
        house.ask("GET /readyz?verbose HTTP/1.1").await.1.contains("does it speak TLS?")
    })
    .await;
}
