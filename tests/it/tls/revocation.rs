//! Trust that changes under clients that are connected: who is trusted no more leaves in order, and nobody else
//! notices.

use std::time::{Duration, SystemTime};

use gatehouse::toy::misbehaviour::{Act, Misbehaviour};
use kafka_protocol::messages::ListGroupsRequest;
use rustls::AlertDescription;

use super::house::{House, Material, Plan};
use super::lines::Lines;
use super::peer::{Outcome, TlsClient, VERSIONS};
use super::pki::{Authority, List};
use crate::poll::{in_time, until};

async fn works(client: &mut TlsClient) -> bool {
    client.try_call(&ListGroupsRequest::default(), 3).await.is_some()
}

/// Clients that have left because they are trusted no more.
fn left(house: &House) -> f64 {
    let parts = ["side=\"gateway\"", "stage=\"relay\"", "reason=\"distrusted\""];
    house.gateway.metric("gatehouse_connections_closed_total", &parts)
}

#[tokio::test]
async fn a_revoked_client_leaves_between_two_frames_and_does_not_come_back() {
    for version in VERSIONS {
        let lines = Lines::begin();
        let house = House::mutual("").await;
        let clients = &house.material.clients;
        let (good, bad) = (clients.client("good"), clients.client("bad"));
        let (good, shows_bad) = (house.config(Some(&good), version), house.config(Some(&bad), version));
        let mut stays = house.connect(&good).await;
        let (mut idle, mut busy) = (house.connect(&shows_bad).await, house.connect(&shows_bad).await);
        assert!(works(&mut stays).await && works(&mut idle).await && works(&mut busy).await);

        // One of them waits for an answer that takes its time.
        house.cluster.behave(Misbehaviour::always(Act::Delay(Duration::from_millis(300))).api(16).times(1));
        let asked = busy.ask(&ListGroupsRequest::default(), 3).await;
        let seen = house.cluster.seen();
        assert!(
            seen.until(crate::client::AT_MOST, |all| all.iter().filter(|r| r.api == 16).count() == 4).await
        );
        house.material.revoke(&[&bad], List::InForce);
        let (status, report) = house.reload().await;
        assert_eq!((status, &report["certificates"][0]["distrusted"]), (200, &2.into()), "{report}");

        let answer = busy.answer::<ListGroupsRequest>(3, asked).await;
        assert!(answer.is_some(), "what it was owed came");
        for mut client in [idle, busy] {
            // An end in order: close_notify, not a cut.
            let mut rest = Vec::new();
            let end = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut rest);
            assert_eq!(in_time("the end", end).await.expect("close_notify"), 0);
        }
        until("both have left", async || left(&house) == 2.0).await;
        assert!(works(&mut stays).await, "nobody else notices");
        let outcome = house.outcome(&shows_bad).await;
        assert_eq!(outcome, Outcome::Alert(AlertDescription::CertificateRevoked));
        until("a line that says who was refused", async || {
            !lines
                .with(&["WARN", "connection ended", "reason=\"revoked\"", "says that it is `CN=bad"])
                .is_empty()
        })
        .await;
        let said = lines.with(&["WARN", "connection ended", "reason=\"distrusted\"", "CN=bad"]);
        assert!(!said.is_empty(), "a line says who left");
        let loaded = lines.with(&["INFO", "certificate files are loaded", "connections_distrusted=2"]);
        assert_eq!(loaded.len(), 1);
    }
}

#[tokio::test]
async fn clients_of_an_authority_that_is_removed_leave() {
    let material = Material::new();
    std::fs::create_dir(material.files.path("cas")).expect("a directory");
    let old = Authority::new("CA of clients");
    material.files.put("cas/new.crt", &material.clients.pem());
    material.files.put("cas/old.crt", &old.pem());
    let door = material.mutual("required", "").replace("clients.crt", "cas");
    let house = House::build(material, Plan { door: &[&door], ..Plan::default() }).await;
    let version = &rustls::version::TLS13;
    let of_old = house.config(Some(&old.client("old")), version);
    let of_new = house.config(Some(&house.material.clients.client("new")), version);
    let (mut stays, mut goes) = (house.connect(&of_new).await, house.connect(&of_old).await);
    assert!(works(&mut stays).await, "its authority has a list");
    assert!(works(&mut goes).await, "its authority has none, and the other's list says nothing of it");
    house.material.files.remove("cas/old.crt");
    let (_, report) = house.reload().await;
    assert_eq!(report["certificates"][0]["distrusted"], 1, "{report}");
    assert!(goes.is_closed().await);
    assert!(works(&mut stays).await);
    until("it has left", async || left(&house) == 1.0).await;
    // An authority of that name is known, but its key is another.
    assert_eq!(house.outcome(&of_old).await, Outcome::Alert(AlertDescription::DecryptError));
}

#[tokio::test]
async fn a_list_takes_effect_within_one_look_of_the_timer() {
    let material = Material::new();
    let door = material.mutual("required", "");
    let plan = Plan { door: &[&door], rest: "tls: { reload_interval: 1s }", ..Plan::default() };
    let house = House::build(material, plan).await;
    let bad = house.material.clients.client("bad");
    let config = house.config(Some(&bad), &rustls::version::TLS13);
    let mut live = house.connect(&config).await;
    assert!(works(&mut live).await);
    let began = std::time::Instant::now();
    house.material.revoke(&[&bad], List::InForce);
    assert!(live.is_closed().await);
    println!("left {:?} after the list was written, with a look each second", began.elapsed());
    assert_eq!(house.outcome(&config).await, Outcome::Alert(AlertDescription::CertificateRevoked));
}

#[tokio::test]
async fn a_list_that_runs_out_under_the_gateway_lets_nobody_in() {
    let material = Material::new();
    // The list ends soon: from then on nobody knows who was revoked.
    material.revoke(&[], List::Until(SystemTime::now() + Duration::from_secs(2)));
    let door = material.mutual("required", "");
    let house = House::build(material, Plan { door: &[&door], ..Plan::default() }).await;
    let known = house.material.clients.client("known");
    for version in VERSIONS {
        let config = house.config(Some(&known), version);
        until("the list runs out", async || {
            house.outcome(&config).await == Outcome::Alert(AlertDescription::UnknownCA)
        })
        .await;
    }
    until("both counted", async || house.failed("crl_expired") >= 2.0).await;
    let ready = house.page("/readyz?verbose").await;
    assert!(ready.contains("clients.crl") && ready.contains("ran out"), "{ready}");
    house.material.revoke(&[], List::InForce);
    assert_eq!(house.reload().await.0, 200);
    let config = house.config(Some(&known), &rustls::version::TLS13);
    assert!(matches!(house.outcome(&config).await, Outcome::Answered(_)), "a new list, and all is well");
}

#[tokio::test]
async fn the_ends_of_all_files_are_told() {
    let house = House::mutual("").await;
    for (kind, file) in [("certificate", "server.crt"), ("ca", "clients.crt"), ("crl", "clients.crl")] {
        let parts = [&format!("kind=\"{kind}\"") as &str, &format!("/{file}\""), "listener=\"door\""];
        let at = house.gateway.metric("gatehouse_tls_not_after_timestamp_seconds", &parts);
        assert!(at > 1.7e9, "{kind} {file}: {at}");
        if kind != "crl" {
            let from = house.gateway.metric("gatehouse_tls_not_before_timestamp_seconds", &parts);
            assert!((1.0..at).contains(&from), "{kind} {file}: from {from}");
        }
    }
}
