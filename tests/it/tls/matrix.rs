//! Every kind of client that comes to a TLS listener: what it sees, what is counted, and whether a broker
//! heard of it. The table is printed: `cargo test --test it tls::matrix -- --nocapture`.

use std::net::SocketAddr;
use std::time::SystemTime;

use rcgen::{DnType, ExtendedKeyUsagePurpose};

use super::house::{House, Material, Plan};
use super::openssl::{self, Sees};
use super::pki::{Authority, DAY, HOUR, List, Pair, Wish};
use crate::gateway::PORT;
use crate::poll::until;

/// By name, for clients without a certificate.
const NAMES: u16 = 10_092;
/// TLS 1.3 alone.
const NEWER: u16 = 11_092;
/// Certificates required, and optional.
const PARTNERS: u16 = 12_092;
const GUESTS: u16 = 13_092;
/// Certificates required, by a list that has run out.
const STALE: u16 = 14_092;

/// Every listener, each on its own port: the door itself ends TLS and asks for nothing.
async fn house() -> House {
    let material = Material::new();
    let (anonymous, newer) = (material.anonymous(""), material.anonymous("min_version: '1.3'"));
    let (partners, guests) = (material.mutual("required", ""), material.mutual("optional", ""));
    let stale = partners.replace("clients.crl", "stale.crl");
    material.files.put("stale.crl", &material.clients.revoke(&[], List::Expired));
    let by_port = |name: &str, port: u16, tls: &str| {
        format!(
            "  {name}: {{ bind: '$ip:{port}', advertise: gate.example, {tls}, routing: {{ port: {{ ranges: [ {{ nodes: 0-9, bind: {} }} ] }} }} }}\n",
            port + 1
        )
    };
    let listeners = [
        format!("  names: {{ bind: '$ip:{NAMES}', {anonymous}, routing: {{ sni: {{ bootstrap: gate.example, brokers: 'b{{node}}.gate.example', nodes: 0-9 }} }} }}\n"),
        by_port("newer", NEWER, &newer),
        by_port("partners", PARTNERS, &partners),
        by_port("guests", GUESTS, &guests),
        by_port("stale", STALE, &stale),
    ]
    .concat();
    House::build(material, Plan { door: &[&anonymous], listeners: &listeners, ..Plan::default() }).await
}

/// What a client shows.
struct Wallet {
    good: Pair,
    revoked: Pair,
    expired: Pair,
    early: Pair,
    stranger: Pair,
    server: Pair,
}

impl Wallet {
    fn of(house: &House) -> Self {
        let clients = &house.material.clients;
        let subject = [(DnType::CommonName, "client")];
        let (now, wish) = (SystemTime::now(), Wish::of(&subject));
        let revoked = clients.client("revoked");
        house.material.revoke(&[&revoked], List::InForce);
        Self {
            good: clients.client("good"),
            revoked,
            expired: clients.issue(&Wish { from: now - DAY, until: now - HOUR, ..wish.clone() }),
            early: clients.issue(&Wish { from: now + HOUR, until: now + DAY, ..wish.clone() }),
            stranger: Authority::new("CA of others").client("stranger"),
            server: clients.issue(&Wish { usage: ExtendedKeyUsagePurpose::ServerAuth, ..wish }),
        }
    }
}

/// A row of the table.
struct Row<'a> {
    client: String,
    port: u16,
    arguments: Vec<&'a str>,
    shows: Option<&'a Pair>,
    sees: Sees,
    /// The reason that is counted; none for a client that is let in.
    reason: &'static str,
}

const V12: &str = "TLSv1.2";
const V13: &str = "TLSv1.3";

/// What has nothing to do with certificates of clients.
fn rows_of_hellos<'a>() -> Vec<Row<'a>> {
    let row = |client: &str, port, arguments: &[&'a str], sees, reason| Row {
        client: client.to_owned(),
        port,
        arguments: arguments.to_vec(),
        shows: None,
        sees,
        reason,
    };
    let old = "DEFAULT@SECLEVEL=0";
    vec![
        row("TLS 1.2", PORT, &["-tls1_2"], Sees::Answer(V12), ""),
        row("TLS 1.3", PORT, &["-tls1_3"], Sees::Answer(V13), ""),
        row("TLS 1.0", PORT, &["-tls1", "-cipher", old], Sees::Alert(70), "no_common_version"),
        row("TLS 1.1", PORT, &["-tls1_1", "-cipher", old], Sees::Alert(70), "no_common_version"),
        row("TLS 1.3 where it alone is taken", NEWER, &["-tls1_3"], Sees::Answer(V13), ""),
        row("TLS 1.2 where 1.3 alone is taken", NEWER, &["-tls1_2"], Sees::Alert(70), "no_common_version"),
        row(
            "no common cipher",
            PORT,
            &["-tls1_2", "-cipher", "AES128-SHA256"],
            Sees::Alert(40),
            "no_common_cipher",
        ),
        row("no common group", PORT, &["-tls1_3", "-groups", "X448"], Sees::Alert(40), "no_common_cipher"),
        row("no name, by port", PORT, &["-noservername"], Sees::Answer(V13), ""),
        row("another name, by port", PORT, &["-servername", "other.example"], Sees::Answer(V13), ""),
        row("no name, by name", NAMES, &["-noservername"], Sees::Alert(112), "unknown_name"),
        row("no name, by name, 1.2", NAMES, &["-noservername", "-tls1_2"], Sees::Alert(112), "unknown_name"),
        row("another name", NAMES, &["-servername", "other.example"], Sees::Alert(112), "unknown_name"),
        row(
            "a node outside the range",
            NAMES,
            &["-servername", "b10.gate.example"],
            Sees::Alert(112),
            "unknown_name",
        ),
        row(
            "a node written otherwise",
            NAMES,
            &["-servername", "b01.gate.example"],
            Sees::Alert(112),
            "unknown_name",
        ),
        row("an address as a name", NAMES, &["-servername", "127.0.0.1"], Sees::Alert(112), "unknown_name"),
        row("the bootstrap name", NAMES, &["-servername", "gate.example"], Sees::Answer(V13), ""),
        row("a node's name", NAMES, &["-servername", "b1.gate.example"], Sees::Answer(V13), ""),
        row("a node's name, in capitals", NAMES, &["-servername", "B1.GATE.Example"], Sees::Answer(V13), ""),
        row("a node's name, with a dot", NAMES, &["-servername", "b1.gate.example."], Sees::Answer(V13), ""),
    ]
}

/// What clients show, in both versions, where it is required and where it is optional.
fn rows_of_certificates(wallet: &Wallet) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (flag, version) in [("-tls1_2", V12), ("-tls1_3", V13)] {
        let mut row = |client: &str, port, shows, sees, reason| {
            rows.push(Row {
                client: format!("{client}, {version}"),
                port,
                arguments: vec![flag],
                shows,
                sees,
                reason,
            });
        };
        row("no certificate, required", PARTNERS, None, Sees::Alert(116), "no_certificate");
        row("no certificate, optional", GUESTS, None, Sees::Answer(version), "");
        for (port, word) in [(PARTNERS, "required"), (GUESTS, "optional")] {
            for (client, shows, sees, reason) in [
                ("good certificate", &wallet.good, Sees::Answer(version), ""),
                ("expired", &wallet.expired, Sees::Alert(45), "expired"),
                ("not yet valid", &wallet.early, Sees::Alert(45), "not_yet_valid"),
                ("wrong CA", &wallet.stranger, Sees::Alert(48), "unknown_ca"),
                ("revoked", &wallet.revoked, Sees::Alert(44), "revoked"),
                ("a server's certificate", &wallet.server, Sees::Alert(43), "bad_certificate"),
            ] {
                row(&format!("{client}, {word}"), port, Some(shows), sees, reason);
            }
        }
        row("list has run out", STALE, Some(&wallet.good), Sees::Alert(48), "crl_expired");
    }
    rows
}

#[tokio::test]
async fn openssl_sees_what_it_should() {
    let house = house().await;
    let wallet = Wallet::of(&house);
    assert_eq!(house.reload().await.0, 200);
    let ca = house.material.files.put("servers.pem", &house.material.servers.pem());
    println!("{:44} {:>6}  {:18} {:18} dialled", "client", "port", "sees", "counted as");
    let mut wrong = Vec::new();
    for row in rows_of_hellos().into_iter().chain(rows_of_certificates(&wallet)) {
        let dialled = house.cluster.connections_ever();
        let counted = house.failed(row.reason);
        let shows = row.shows.map(|pair| openssl::pair(&house.material.files, "client", pair));
        let mut arguments = row.arguments.clone();
        if let Some([cert, key]) = &shows {
            arguments.extend([
                "-cert",
                cert.to_str().expect("a path"),
                "-key",
                key.to_str().expect("a path"),
            ]);
        }
        let (sees, said) = openssl::ask(SocketAddr::new(house.ip, row.port), &ca, &arguments).await;
        let good = sees == row.sees;
        if good && !row.reason.is_empty() {
            until(&format!("{} for {}", row.reason, row.client), async || {
                house.failed(row.reason) == counted + 1.0
            })
            .await;
        }
        let dialled = house.cluster.connections_ever() - dialled;
        println!(
            "{:44} {:>6}  {:18} {:18} {dialled}",
            row.client,
            row.port,
            format!("{sees:?}"),
            if row.reason.is_empty() { "-" } else { row.reason }
        );
        if !good || dialled != u64::from(row.reason.is_empty()) {
            wrong.push(format!("{}: {sees:?}, not {:?}; dialled {dialled}\n{said}", row.client, row.sees));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(house.gateway.metric("gatehouse_connections_closed_total", &["stage=\"dial\""]), 0.0);
}

#[tokio::test]
async fn nobody_renegotiates() {
    let house = House::anonymous().await;
    let ca = house.material.files.put("servers.pem", &house.material.servers.pem());
    let said = openssl::renegotiate(house.address(), &ca).await;
    assert!(said.contains("no renegotiation"), "{said}");
}

#[tokio::test]
async fn nobody_sends_early_data() {
    let house = House::anonymous().await;
    let files = &house.material.files;
    let ca = files.put("servers.pem", &house.material.servers.pem());
    let (session, request) = (files.path("session"), files.put("request", "0123456789"));
    let (session, request) = (session.to_str().expect("a path"), request.to_str().expect("a path"));
    let (sees, said) = openssl::ask(house.address(), &ca, &["-tls1_3", "-sess_out", session]).await;
    assert_eq!(sees, Sees::Answer(V13), "{said}");
    let text = openssl::session(session).await;
    assert!(text.contains("Max Early Data: 0"), "{text}");
    let arguments = ["-tls1_3", "-sess_in", session, "-early_data", request];
    let (sees, said) = openssl::ask(house.address(), &ca, &arguments).await;
    assert_eq!(sees, Sees::Answer(V13), "the session is taken, without early data: {said}");
    let resumed = house.gateway.metric("gatehouse_tls_handshakes_total", &["resumed=\"true\""]);
    assert_eq!(resumed, 1.0);
}
