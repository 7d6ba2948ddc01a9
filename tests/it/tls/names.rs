//! One port for all brokers: the server name of the handshake tells them apart.

use std::net::SocketAddr;

use gatehouse::kafka::NodeId;
use kafka_protocol::messages::{ListGroupsRequest, MetadataRequest};
use rcgen::{DnType, ExtendedKeyUsagePurpose};
use rustls::AlertDescription;

use super::house::{House, Material, Plan};
use super::openssl::{self, Sees};
use super::peer::{self, Outcome};
use super::pki::Wish;
use crate::client::Client;
use crate::gateway::{ADVERTISED, PORT};
use crate::poll::until;

/// One port, told as another: as behind a load balancer.
const BY_NAME: &str =
    "{ sni: { bootstrap: gate.example, brokers: 'b{node}.gate.example', nodes: 0-9, advertised_port: 443 } }";

async fn house() -> House {
    let material = Material::new();
    let door = material.anonymous("");
    House::build(material, Plan { door: &[&door], routing: BY_NAME, ..Plan::default() }).await
}

/// The broker that the newest ListGroups came to.
fn asked_last(house: &House) -> NodeId {
    house.cluster.seen().of(16).last().expect("a request").node
}

#[tokio::test]
async fn one_port_leads_to_every_broker_by_its_name() {
    let house = house().await;
    let config = house.config(None, &rustls::version::TLS13);
    let mut client = house.connect(&config).await;
    let answer = client.call(&MetadataRequest::default().with_topics(None), 12).await;
    let told: Vec<_> = answer.brokers.iter().map(|b| (b.node_id.0, b.host.to_string(), b.port)).collect();
    let expected: Vec<_> = (0..3).map(|node| (node, format!("b{node}.{ADVERTISED}"), 443)).collect();
    assert_eq!(told, expected, "names, and the port that is advertised");
    for (node, name, _) in &told {
        for name in [name.clone(), name.to_uppercase()] {
            let outcome = peer::outcome(house.address(), &name, &config).await;
            assert!(matches!(outcome, Outcome::Answered(_)), "{name}: {outcome:?}");
            assert_eq!(asked_last(&house), NodeId(*node), "{name}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_nobodys_hears_unrecognized_name_and_no_broker_hears_of_it() {
    let house = house().await;
    let before = house.cluster.connections_ever();
    let mut refused = 0.0;
    for version in peer::VERSIONS {
        let config = house.config(None, version);
        for name in [
            "other.example",
            "b10.gate.example",
            "b00.gate.example",
            "b01.gate.example",
            "b.gate.example",
            "b-1.gate.example",
            "b4294967296.gate.example",
            "a0.gate.example",
            "b0.gate.example.org",
            "x.b0.gate.example",
            "ate.example",
            // rustls sends no name for an address.
            "127.0.0.1",
        ] {
            let outcome = peer::outcome(house.address(), name, &config).await;
            assert_eq!(outcome, Outcome::Alert(AlertDescription::UnrecognisedName), "{name}");
            refused += 1.0;
        }
    }
    until("every refusal counted", async || house.failed("unknown_name") == refused).await;
    assert_eq!(house.cluster.connections_ever(), before, "nobody was dialled");
    assert_eq!(house.gateway.ended("unknown_name"), refused);
}

#[tokio::test]
async fn a_broker_that_is_not_known_yet_is_looked_for_once_and_only_after_the_handshake() {
    let material = Material::new();
    let door = material.mutual("required", "");
    let house = House::build(material, Plan { door: &[&door], routing: BY_NAME, ..Plan::default() }).await;
    let known = house.material.clients.client("known");
    house.cluster.seen().forget();
    let before = house.cluster.connections_ever();
    let nameless = house.config(None, &rustls::version::TLS13);
    let outcome = peer::outcome(house.address(), "b7.gate.example", &nameless).await;
    assert_eq!(outcome, Outcome::Alert(AlertDescription::CertificateRequired));
    assert_eq!(house.cluster.connections_ever(), before, "nothing is asked for a client without certificate");
    assert!(house.cluster.seen().all().is_empty());

    let config = house.config(Some(&known), &rustls::version::TLS13);
    let outcome = peer::outcome(house.address(), "b7.gate.example", &config).await;
    assert_eq!(outcome, Outcome::Closed, "a handshake, then an end");
    house.gateway.until_ended("unknown_node").await;
    assert_eq!(house.cluster.seen().of(3).len(), 1, "one look for it");

    house.cluster.add_broker(NodeId(7)).await.expect("a broker");
    // At most one refresh a second: the next client may come too early.
    until("the new broker", async || {
        matches!(peer::outcome(house.address(), "b7.gate.example", &config).await, Outcome::Answered(_))
    })
    .await;
    assert_eq!(asked_last(&house), NodeId(7));
}

#[tokio::test]
async fn listeners_by_name_and_by_port_and_without_tls_live_side_by_side() {
    let material = Material::new();
    let door = material.anonymous("");
    let by_port = material.mutual("required", "");
    let listeners = format!(
        "  office:
    bind: $ip:19092
    advertise: office.example
    routing: {{ port: {{ ranges: [ {{ nodes: 0-9, bind: 19100 }} ] }} }}
  partners:
    bind: $ip:29092
    advertise: gate.example
    routing: {{ port: {{ ranges: [ {{ nodes: 0-9, bind: 29100 }} ] }} }}
    {by_port}"
    );
    let plan = Plan { door: &[&door], routing: BY_NAME, listeners: &listeners, ..Plan::default() };
    let house = House::build(material, plan).await;
    let addresses = async |port: u16, config: Option<&std::sync::Arc<rustls::ClientConfig>>| {
        let address = SocketAddr::new(house.ip, port);
        let request = MetadataRequest::default().with_topics(None);
        let answer = match config {
            None => Client::connect(address).await.call(&request, 12).await,
            Some(config) => {
                let client = peer::connect(address, ADVERTISED, config).await;
                client.expect("a handshake").call(&request, 12).await
            }
        };
        answer.brokers.iter().map(|broker| format!("{}:{}", broker.host, broker.port)).collect::<Vec<_>>()
    };
    let anonymous = house.config(None, &rustls::version::TLS12);
    let known = house.config(Some(&house.material.clients.client("known")), &rustls::version::TLS13);
    assert_eq!(
        addresses(PORT, Some(&anonymous)).await,
        ["b0.gate.example:443", "b1.gate.example:443", "b2.gate.example:443"]
    );
    assert_eq!(
        addresses(19_092, None).await,
        ["office.example:19100", "office.example:19101", "office.example:19102"]
    );
    assert_eq!(
        addresses(29_092, Some(&known)).await,
        ["gate.example:29100", "gate.example:29101", "gate.example:29102"]
    );
    // Ports tell the brokers apart there, whatever name a client sends, or none.
    let by_port = SocketAddr::new(house.ip, 29_102);
    let mut client = peer::connect(by_port, "b0.gate.example", &known).await.expect("a handshake");
    client.call(&ListGroupsRequest::default(), 3).await;
    assert_eq!(asked_last(&house), NodeId(2));
}

#[tokio::test]
async fn the_certificate_follows_the_name() {
    let material = Material::new();
    let mut certificates = Vec::new();
    // The common name says which it was.
    for (common_name, name) in
        [("first", ADVERTISED), ("wildcard", "*.gate.example"), ("exact", "b1.gate.example")]
    {
        let subject = [(DnType::CommonName, common_name)];
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        let pair = material.servers.issue(&Wish { names: &[name], usage, ..Wish::of(&subject) });
        let [cert, key] = openssl::pair(&material.files, common_name, &pair);
        certificates.push(format!("{{ cert: {}, key: {} }}", cert.display(), key.display()));
    }
    let tls = format!("tls: {{ certificates: [ {} ] }}", certificates.join(", "));
    let listeners = format!(
        "  names: {{ bind: '$ip:19092', {tls}, routing: {{ sni: {{ bootstrap: gate.example, brokers: 'b{{node}}.gate.example', nodes: 0-9 }} }} }}"
    );
    let house =
        House::build(material, Plan { door: &[&tls], listeners: &listeners, ..Plan::default() }).await;
    let ca = house.material.files.put("servers.pem", &house.material.servers.pem());
    for (port, name, shown) in [
        (PORT, "gate.example", "first"),
        (PORT, "b0.gate.example", "wildcard"),
        (PORT, "B1.Gate.Example", "exact"),
        (PORT, "b1.gate.example.", "exact"),
        // A wildcard stands for one label.
        (PORT, "x.b0.gate.example", "first"),
        (PORT, "other.example", "first"),
        (19_092, "gate.example", "first"),
        (19_092, "b0.gate.example", "wildcard"),
        (19_092, "b1.gate.example", "exact"),
    ] {
        let address = SocketAddr::new(house.ip, port);
        let (_, said) = openssl::ask(address, &ca, &["-servername", name]).await;
        assert!(said.contains(&format!("Peer certificate: CN = {shown}\n")), "{port} {name}: {said}");
    }
    let (_, said) = openssl::ask(house.address(), &ca, &["-noservername"]).await;
    assert!(said.contains("Peer certificate: CN = first\n"), "without a name: {said}");
}

#[tokio::test]
async fn a_name_that_leads_somewhere_but_that_no_certificate_is_for_is_refused_alike() {
    let material = Material::new();
    let pair = material.servers.server(&[ADVERTISED, "b0.gate.example"]);
    let door = material.anonymous("");
    // A configuration with such a gap is refused: here the certificate changes later.
    let plan = Plan { door: &[&door], routing: BY_NAME, ..Plan::default() };
    let house = House::build(material, plan).await;
    house.material.put_server(&pair);
    assert_eq!(house.reload().await.0, 200);
    let ca = house.material.files.put("servers.pem", &house.material.servers.pem());
    for (name, sees) in [
        ("gate.example", Sees::Answer("TLSv1.3")),
        ("b0.gate.example", Sees::Answer("TLSv1.3")),
        ("b1.gate.example", Sees::Alert(112)),
    ] {
        let (saw, said) = openssl::ask(house.address(), &ca, &["-servername", name]).await;
        assert_eq!(saw, sees, "{name}: {said}");
    }
    until("counted", async || house.failed("unknown_name") == 1.0).await;
}
