//! Resumption never outlives trust: the seven cases, in TLS 1.2 and 1.3, with clients that keep their sessions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::HandshakeKind::{Full, FullWithHelloRetryRequest, Resumed};

use super::house::{House, Material, Plan};
use super::peer::{self, Outcome, VERSIONS};
use super::pki::{Authority, List};
use crate::gateway::{ADVERTISED, PORT};
use crate::poll::until;

/// A listener that takes certificates of the same authority.
const OTHER: u16 = 19_092;
/// A listener that asks nobody for a certificate.
const ANONYMOUS: u16 = 29_092;

/// Three listeners with one certificate and one name. Two of them ask for certificates and resume.
async fn house() -> House {
    let material = Material::new();
    std::fs::create_dir(material.files.path("cas")).expect("a directory");
    material.files.put("cas/clients.crt", &material.clients.pem());
    let mutual = material.mutual("required", "resumption: true").replace("clients.crt", "cas");
    let anonymous = material.anonymous("");
    let by_port = |name, port: u16, tls: &str| {
        let first = port + 8;
        format!(
            "  {name}: {{ bind: '$ip:{port}', advertise: gate.example, {tls}, routing: {{ port: {{ ranges: [ {{ nodes: 0-9, bind: {first} }} ] }} }} }}\n"
        )
    };
    let listeners = by_port("other", OTHER, &mutual) + &by_port("anonymous", ANONYMOUS, &anonymous);
    House::build(material, Plan { door: &[&mutual], listeners: &listeners, ..Plan::default() }).await
}

async fn outcome(house: &House, port: u16, config: &Arc<ClientConfig>) -> Outcome {
    peer::outcome(SocketAddr::new(house.ip, port), ADVERTISED, config).await
}

fn is_full(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Answered(Full | FullWithHelloRetryRequest))
}

/// A client that has a session of the door, and has shown that it can take it up.
async fn regular(
    house: &House,
    by: &Authority,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let config = house.config(Some(&by.client("regular")), version);
    let first = outcome(house, PORT, &config).await;
    assert!(is_full(first), "1, a full handshake: {first:?}");
    assert_eq!(outcome(house, PORT, &config).await, Outcome::Answered(Resumed), "2, nothing has changed");
    config
}

#[tokio::test]
async fn a_revoked_client_is_refused_with_its_session_too() {
    for version in VERSIONS {
        let house = house().await;
        let bad = house.material.clients.client("bad");
        let good = regular(&house, &house.material.clients, version).await;
        let config = house.config(Some(&bad), version);
        assert!(is_full(outcome(&house, PORT, &config).await));
        assert_eq!(outcome(&house, PORT, &config).await, Outcome::Answered(Resumed));
        house.material.revoke(&[&bad], List::InForce);
        assert_eq!(house.reload().await.0, 200);
        for _ in 0..3 {
            let told = outcome(&house, PORT, &config).await;
            assert!(matches!(told, Outcome::Alert(_)), "3: {told:?}");
        }
        // Sessions of before are forgotten; who is trusted has a new one at once.
        assert!(is_full(outcome(&house, PORT, &good).await));
        assert_eq!(outcome(&house, PORT, &good).await, Outcome::Answered(Resumed));
    }
}

#[tokio::test]
async fn a_client_whose_authority_is_gone_is_refused_with_its_session_too() {
    for version in VERSIONS {
        let house = house().await;
        let old = Authority::new("old CA of clients");
        house.material.files.put("cas/old.crt", &old.pem());
        assert_eq!(house.reload().await.0, 200);
        let config = regular(&house, &old, version).await;
        house.material.files.remove("cas/old.crt");
        assert_eq!(house.reload().await.0, 200);
        for _ in 0..3 {
            let told = outcome(&house, PORT, &config).await;
            assert!(matches!(told, Outcome::Alert(_)), "4: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_list_that_ran_out_ends_sessions_too() {
    for version in VERSIONS {
        let house = house().await;
        let soon = SystemTime::now() + Duration::from_secs(10);
        house.material.revoke(&[], List::Until(soon));
        assert_eq!(house.reload().await.0, 200);
        let config = regular(&house, &house.material.clients, version).await;
        until("the list runs out", async || SystemTime::now() > soon + Duration::from_secs(1)).await;
        // No file has changed since, and nobody has looked.
        for _ in 0..3 {
            let told = outcome(&house, PORT, &config).await;
            assert!(!matches!(told, Outcome::Answered(_)), "5: {told:?}");
        }
        assert_eq!(house.gateway.metric("gatehouse_connections_closed_total", &["stage=\"dial\""]), 0.0);
    }
}

#[tokio::test]
async fn a_session_of_another_listener_is_nothing_here() {
    for version in VERSIONS {
        let house = house().await;
        let config = regular(&house, &house.material.clients, version).await;
        let other = outcome(&house, OTHER, &config).await;
        assert!(is_full(other), "6: {other:?}");
    }
}

#[tokio::test]
async fn a_session_without_a_certificate_is_nothing_where_one_is_required() {
    for version in VERSIONS {
        let house = house().await;
        let config = house.config(None, version);
        assert!(is_full(outcome(&house, ANONYMOUS, &config).await));
        assert_eq!(
            outcome(&house, ANONYMOUS, &config).await,
            Outcome::Answered(Resumed),
            "they do resume there"
        );
        for port in [PORT, OTHER] {
            let told = outcome(&house, port, &config).await;
            assert!(matches!(told, Outcome::Alert(_)), "7: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_resumed_client_is_who_it_was() {
    for version in VERSIONS {
        let house = house().await;
        let config = regular(&house, &house.material.clients, version).await;
        let mut client = house.connect(&config).await;
        let answered = peer::asked(&mut client).await;
        assert_eq!(answered, Outcome::Answered(Resumed));
        let list = house.page("/api/v1/connections?principal=CN%3Dregular").await;
        assert!(list.contains("\"total\": 1"), "{list}");
    }
}

#[tokio::test]
async fn without_the_setting_certificates_are_checked_each_time() {
    let house = House::mutual("").await;
    for version in VERSIONS {
        let config = house.config(Some(&house.material.clients.client("regular")), version);
        for _ in 0..4 {
            let each = house.outcome(&config).await;
            assert!(is_full(each), "{each:?}");
        }
    }
    assert_eq!(house.gateway.metric("gatehouse_tls_handshakes_total", &["resumed=\"true\""]), 0.0);
}
