//! Who a client is by its certificate: in the list of connections, in the log, and by the mapping rules.

use kafka_protocol::messages::ListGroupsRequest;
use rcgen::DnType;
use serde_json::Value;

use super::house::{House, Material, Plan};
use super::lines::Lines;
use super::peer::{Outcome, TlsClient, VERSIONS};
use super::pki::{Pair, Wish};
use crate::poll::until;

/// A client of that name, of a unit and an organisation.
fn of_acme(house: &House, name: &str) -> Pair {
    let subject = [
        (DnType::CountryName, "DE"),
        (DnType::OrganizationName, "Acme, Inc"),
        (DnType::OrganizationalUnitName, "Ops"),
        (DnType::CommonName, name),
    ];
    house.material.clients.issue(&Wish::of(&subject))
}

async fn in_use(house: &House, pair: Option<&Pair>) -> TlsClient {
    let mut client = house.connect(&house.config(pair, &rustls::version::TLS13)).await;
    client.call(&ListGroupsRequest::default(), 3).await;
    client
}

/// The connections that a query lists: how many there are, and the principal of each that is shown.
async fn listed(house: &House, query: &str) -> (u64, Vec<Option<String>>) {
    let page: Value =
        serde_json::from_str(&house.page(&format!("/api/v1/connections{query}")).await).expect("JSON");
    let principal = |entry: &Value| entry["principal"].as_str().map(str::to_owned);
    let all = page["connections"].as_array().expect("a list").iter().map(principal).collect();
    (page["total"].as_u64().expect("a number"), all)
}

async fn with_auth(auth: &str, more: &str) -> House {
    let material = Material::new();
    let door = material.mutual(auth, more);
    House::build(material, Plan { door: &[&door], ..Plan::default() }).await
}

#[tokio::test]
async fn a_client_is_what_its_subject_says_as_a_broker_would_call_it() {
    let lines = Lines::begin();
    let house = with_auth("required", "").await;
    let alice = in_use(&house, Some(&of_acme(&house, "alice"))).await;
    let _bob = in_use(&house, Some(&of_acme(&house, "bob"))).await;
    let name = r"CN=alice,OU=Ops,O=Acme\, Inc,C=DE";
    let mut all = listed(&house, "").await.1;
    all.sort();
    assert_eq!(all, [Some(name.to_owned()), Some(name.replace("alice", "bob"))]);
    let query = format!("?principal={}", form(name));
    assert_eq!(listed(&house, &query).await, (1, vec![Some(name.to_owned())]));
    assert_eq!(listed(&house, &format!("{query}&listener=door")).await.0, 1);
    assert_eq!(listed(&house, &format!("{query}&listener=window")).await.0, 0);
    assert_eq!(listed(&house, "?principal=alice").await.0, 0, "a part of a name is another name");
    drop(alice);
    until("a line with the principal", async || {
        !lines.with(&["connection ended", &format!("principal={name:?}"), "reason=\"closed\""]).is_empty()
    })
    .await;
}

fn form(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn mapping_rules_name_clients_and_turn_away_whom_they_do_not_name() {
    let rules = r"principal_mapping_rules: 'RULE:^CN=([^,]+),OU=Ops,.*$/$1@acme/U,RULE:^CN=(svc-[^,]+)$/$1/'";
    for (auth, version) in [("required", VERSIONS[0]), ("optional", VERSIONS[1])] {
        let house = with_auth(auth, rules).await;
        let _alice = in_use(&house, Some(&of_acme(&house, "alice"))).await;
        let _service = in_use(&house, Some(&house.material.clients.client("svc-1"))).await;
        let mut all = listed(&house, "").await.1;
        all.sort();
        assert_eq!(all, [Some("ALICE@ACME".to_owned()), Some("svc-1".to_owned())]);
        assert_eq!(listed(&house, "?principal=ALICE%40ACME").await.0, 1);

        let dialled = house.cluster.connections_ever();
        let nobody = house.config(Some(&house.material.clients.client("nobody")), version);
        let outcome = house.outcome(&nobody).await;
        assert!(!matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        until("counted", async || house.failed("principal") == 1.0).await;
        house.gateway.until_ended("principal").await;
        assert_eq!(house.cluster.connections_ever(), dialled, "nobody was dialled");
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_nobody_where_it_is_optional() {
    let house = with_auth("optional", "").await;
    let _anonymous = in_use(&house, None).await;
    let _alice = in_use(&house, Some(&house.material.clients.client("alice"))).await;
    let mut all = listed(&house, "").await.1;
    all.sort();
    assert_eq!(all, [None, Some("CN=alice".to_owned())]);
    assert_eq!(listed(&house, "?principal=").await.0, 0);
    assert_eq!(listed(&house, "?principal=ANONYMOUS").await.0, 0);
}

#[tokio::test]
async fn a_name_that_forges_lines_or_pages_is_shown_as_what_it_is() {
    let lines = Lines::begin();
    let house = with_auth("required", "").await;
    let name = "x\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}[31m<script>alert(1)</script>\" \u{202e}principal=\"CN=root";
    let client = in_use(&house, Some(&house.material.clients.client(name))).await;
    let json = house.page("/api/v1/connections").await;
    assert!(!json.contains(['\u{1b}', '\u{202e}']) && !json.contains("\r\n2026"), "{json}");
    let home = house.page("/").await;
    assert!(!home.contains("<script>alert") && !home.contains('\u{202e}'), "{home}");
    drop(client);
    until("its end", async || house.gateway.ended("closed") > 0.0).await;
    assert!(
        lines.with(&["forged"]).iter().all(|line| !line.starts_with("2026-01-01T")),
        "no line of its own"
    );
    assert!(
        lines.with(&["\u{1b}[31m"]).is_empty() && lines.with(&["\u{202e}"]).is_empty(),
        "no colour, no turn"
    );
    assert!(!house.gateway.app.metrics().contains("forged"), "no label");
}
