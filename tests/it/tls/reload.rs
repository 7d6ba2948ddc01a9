//! Certificate files change under a gateway that runs: what is right is taken, what is wrong is not, and
//! everybody hears of it.

use std::time::SystemTime;

use kafka_protocol::messages::ListGroupsRequest;
use rcgen::{DnType, ExtendedKeyUsagePurpose};
use rustls::pki_types::CertificateDer;

use super::house::{House, Material, Plan, TOKEN};
use super::lines::Lines;
use super::peer::{self, Outcome, TlsClient, VERSIONS};
use super::pki::{Authority, DAY, HOUR, List, Pair, Wish};
use crate::gateway::ADVERTISED;
use crate::poll::until;

const NAMES: [&str; 2] = [ADVERTISED, "*.gate.example"];

/// What a client is shown that was never here before.
async fn shown(house: &House, shows: Option<&Pair>) -> CertificateDer<'static> {
    let client = house.connect(&house.config(shows, &rustls::version::TLS13)).await;
    client.stream.get_ref().1.peer_certificates().expect("a chain")[0].clone()
}

async fn works(client: &mut TlsClient) -> bool {
    client.try_call(&ListGroupsRequest::default(), 3).await.is_some()
}

fn reloads(house: &House, result: &str) -> f64 {
    let parts = ["listener=\"door\"", &format!("result=\"{result}\"")];
    house.gateway.metric("gatehouse_tls_reloads_total", &parts)
}

fn are_refused(house: &House) -> bool {
    house.gateway.metric("gatehouse_tls_files_refused", &["listener=\"door\""]) == 1.0
}

/// A new pair of the gateway's.
fn renewed(house: &House) -> Pair {
    house.material.servers.server(&NAMES)
}

#[tokio::test]
async fn a_new_pair_is_shown_whichever_way_it_came_and_nobody_is_disturbed() {
    let house = House::anonymous().await;
    let config = house.config(None, &rustls::version::TLS13);
    let mut old = house.connect(&config).await;
    assert!(works(&mut old).await);
    assert_eq!(house.reload().await.1["certificates"][0]["outcome"], "unchanged");

    let renamed = renewed(&house);
    house.material.put_server(&renamed);
    let (status, report) = house.reload().await;
    assert_eq!((status, &report["certificates"][0]["outcome"]), (200, &"changed".into()), "{report}");
    assert_eq!(shown(&house, None).await, *renamed.der(), "renamed into place");

    let written = renewed(&house);
    house.material.files.put_in_place("server.key", &written.key);
    house.material.files.put_in_place("server.crt", &written.cert);
    assert_eq!(house.reload().await.0, 200);
    assert_eq!(shown(&house, None).await, *written.der(), "written over");

    assert!(works(&mut old).await, "who is in stays in");
    assert_eq!((reloads(&house, "changed"), reloads(&house, "failed")), (2.0, 0.0));
}

#[tokio::test]
async fn sixty_swaps_under_load_fail_nobody() {
    let house = House::anonymous().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (address, stopped) = (house.address(), stopped.clone());
            let config = house.config(None, VERSIONS[number % 2]);
            tokio::spawn(async move {
                let mut connections = 0_u32;
                while !*stopped.borrow() {
                    let outcome = peer::outcome(address, ADVERTISED, &config).await;
                    assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
                    connections += 1;
                }
                connections
            })
        })
        .collect();
    let mut live = house.connect(&house.config(None, &rustls::version::TLS13)).await;
    for _ in 0..60 {
        let pair = renewed(&house);
        house.material.put_server(&pair);
        assert_eq!(house.reload().await.0, 200);
        assert_eq!(shown(&house, None).await, *pair.der());
        assert!(works(&mut live).await);
    }
    stop.send_replace(true);
    let mut connections = 0;
    for client in clients {
        connections += client.await.expect("no failure");
    }
    println!("{connections} connections beside 60 swaps, and one that lived through them all");
    assert!(connections > 60);
    assert_eq!((reloads(&house, "changed"), reloads(&house, "failed")), (60.0, 0.0));
}

#[tokio::test]
async fn a_renewal_that_lost_a_name_is_told_until_it_has_it_again() {
    let lines = Lines::begin();
    let material = Material::new();
    let door = material.anonymous("");
    let sni = "{ sni: { bootstrap: gate.example, brokers: 'b{node}.gate.example', nodes: 0-9 } }";
    let house = House::build(material, Plan { door: &[&door], routing: sni, ..Plan::default() }).await;
    let lost = async || {
        let said = house.page("/readyz?verbose").await;
        let line = said.lines().find(|line| line.contains("no certificate of this listener is for `"));
        line.map(|line| line.split('`').nth(1).expect("a name").to_owned())
    };
    assert_eq!(lost().await, None);
    for (names, first, told) in [
        (&[ADVERTISED, "b1.gate.example", "b2.gate.example"][..], "b0.gate.example", "that clients are told"),
        (&["*.gate.example"], ADVERTISED, "that clients are told"),
        (&["other.example"], "b0.gate.example", "and 3 more names that clients are told"),
    ] {
        house.material.put_server(&house.material.servers.server(names));
        assert_eq!(house.reload().await.0, 200);
        assert_eq!(lost().await.as_deref(), Some(first));
        let said = format!("no certificate of this listener is for `{first}` {told}");
        assert_eq!(lines.with(&[&said]).len(), 1, "{said}");
    }
    house.material.put_server(&renewed(&house));
    assert_eq!(house.reload().await.0, 200);
    assert_eq!(lost().await, None);
}

#[tokio::test]
async fn a_mounted_secret_is_followed_by_the_timer_alone() {
    let material = Material::new();
    let pairs = [(); 4].map(|()| material.servers.server(&NAMES));
    let mount = |files: &super::files::Files, version: usize| {
        let pair = &pairs[version];
        files.mount("secret", version as u32, &[("tls.crt", &pair.cert), ("tls.key", &pair.key)]);
    };
    mount(&material.files, 0);
    let door = material.anonymous("");
    let door = door.replace("server.crt", "secret/tls.crt").replace("server.key", "secret/tls.key");
    material.files.remove("server.key");
    let plan = Plan { door: &[&door], rest: "tls: { reload_interval: 1s }", ..Plan::default() };
    let house = House::build(material, plan).await;
    for (version, pair) in pairs.iter().enumerate() {
        if version > 0 {
            mount(&house.material.files, version);
        }
        until("the pair of the newest version", async || shown(&house, None).await == *pair.der()).await;
    }
    until("all three are counted", async || reloads(&house, "changed") == 3.0).await;
    assert_eq!(reloads(&house, "failed"), 0.0);
}

#[tokio::test]
async fn a_signal_and_an_admin_with_the_token_have_the_files_looked_at_and_nobody_else() {
    let house = House::anonymous().await;
    let first = shown(&house, None).await;
    house.material.put_server(&renewed(&house));
    for (head, status) in [
        ("POST /api/v1/reload HTTP/1.1", 401),
        ("POST /api/v1/reload HTTP/1.1\r\nAuthorization: Bearer wrong", 401),
        (&format!("GET /api/v1/reload HTTP/1.1\r\nAuthorization: Bearer {TOKEN}"), 405),
    ] {
        assert_eq!(house.ask(head).await.0, status, "{head}");
    }
    assert_eq!(shown(&house, None).await, first, "nothing was looked at");
    house.gateway.app.reload();
    until("a reload", async || reloads(&house, "changed") == 1.0).await;
    assert_ne!(shown(&house, None).await, first);
}

/// A change that must be refused, and the file that the fault names.
type Bad = (&'static str, &'static str, fn(&House));

fn bad_files() -> Vec<Bad> {
    fn server(house: &House, from: SystemTime, until: SystemTime) -> Pair {
        let subject = [(DnType::CommonName, ADVERTISED)];
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        house.material.servers.issue(&Wish { names: &NAMES, usage, from, until, ..Wish::of(&subject) })
    }
    fn cut(text: &str, part: usize) -> String {
        text[..text.len() * part / 100].to_owned()
    }
    vec![
        ("a certificate without its key", "server.crt", |house| {
            house.material.files.put("server.crt", &renewed(house).cert);
        }),
        ("a key without its certificate", "server.key", |house| {
            house.material.files.put("server.key", &renewed(house).key);
        }),
        ("half a certificate", "server.crt", |house| {
            let pair = renewed(house);
            house.material.files.put("server.key", &pair.key);
            house.material.files.put_in_place("server.crt", &cut(&pair.cert, 60));
        }),
        ("half a key", "server.key", |house| {
            let pair = renewed(house);
            house.material.files.put_in_place("server.key", &cut(&pair.key, 60));
            house.material.files.put("server.crt", &pair.cert);
        }),
        ("an empty certificate", "server.crt", |house| house.material.files.put_in_place("server.crt", "")),
        ("an empty key", "server.key", |house| house.material.files.put_in_place("server.key", "")),
        ("no certificate", "server.crt", |house| house.material.files.remove("server.crt")),
        ("no key", "server.key", |house| house.material.files.remove("server.key")),
        ("garbage", "server.crt", |house| house.material.files.put_in_place("server.crt", "\0\x01\u{fffd}")),
        ("2 MiB", "server.crt", |house| {
            house.material.files.put_in_place("server.crt", &"# filler\n".repeat(240_000));
        }),
        ("files that change places", "server.crt", |house| {
            let pair = renewed(house);
            house.material.files.put("server.crt", &pair.key);
            house.material.files.put("server.key", &pair.cert);
        }),
        ("a certificate that ran out", "server.crt", |house| {
            let now = SystemTime::now();
            house.material.put_server(&server(house, now - DAY, now - HOUR));
        }),
        ("a certificate that is not valid yet", "server.crt", |house| {
            let now = SystemTime::now();
            house.material.put_server(&server(house, now + HOUR, now + DAY));
        }),
        ("an authority that is broken", "cas/broken.crt", |house| {
            house.material.files.put("cas/broken.crt", &cut(&Authority::new("CA").pem(), 70));
        }),
        ("no authority", "cas", |house| house.material.files.remove("cas/clients.crt")),
        ("half a list", "clients.crl", |house| {
            let list = house.material.clients.revoke(&[], List::InForce);
            house.material.files.put("clients.crl", &cut(&list, 70));
        }),
        ("a list that ran out", "clients.crl", |house| house.material.revoke(&[], List::Expired)),
    ]
}

#[tokio::test]
async fn files_that_are_wrong_change_nothing_but_what_is_said() {
    let lines = Lines::begin();
    let material = Material::new();
    std::fs::create_dir(material.files.path("cas")).expect("a directory");
    material.files.put("cas/clients.crt", &material.clients.pem());
    let door = material.mutual("required", "").replace("clients.crt", "cas");
    let house = House::build(material, Plan { door: &[&door], ..Plan::default() }).await;
    let known = house.material.clients.client("known");
    let config = house.config(Some(&known), &rustls::version::TLS13);
    let mut live = house.connect(&config).await;
    assert!(works(&mut live).await);
    let first = shown(&house, Some(&known)).await;
    let mut good: Vec<_> = ["server.key", "server.crt", "cas/clients.crt", "clients.crl"]
        .map(|name| (name, std::fs::read_to_string(house.material.files.path(name)).expect("text")))
        .into();

    for (what, file, spoil) in bad_files() {
        let (changed, failed) = (reloads(&house, "changed"), reloads(&house, "failed"));
        spoil(&house);
        let (status, report) = house.reload().await;
        let error = report["certificates"][0]["error"].to_string();
        println!("{what:36} {error}");
        assert_eq!(status, 422, "{what}: {report}");
        assert!(error.contains(file), "{what} names {file}: {error}");
        assert_eq!(
            (reloads(&house, "changed"), reloads(&house, "failed")),
            (changed, failed + 1.0),
            "{what}"
        );
        assert!(are_refused(&house), "{what}");
        let said = lines.with(&["ERROR", "certificate files are refused", file]);
        assert!(!said.is_empty(), "{what}: a line");
        // Looked at again, it is the same news.
        assert_eq!(house.reload().await.0, 422, "{what}");
        assert_eq!(reloads(&house, "failed"), failed + 1.0, "{what} is counted once");

        let ready = house.page("/readyz?verbose").await;
        assert!(
            ready.contains("ready\n") && ready.contains("refused since") && ready.contains(file),
            "{ready}"
        );
        let page = house.page("/api/v1/certificates").await;
        assert!(page.contains("fault") && page.contains(file), "{page}");
        assert_eq!(shown(&house, Some(&known)).await, first, "{what}: the pair of before");
        assert!(matches!(house.outcome(&config).await, Outcome::Answered(_)), "{what}: the trust of before");

        let _ = std::fs::remove_file(house.material.files.path("cas/broken.crt"));
        for (name, text) in &good {
            house.material.files.put(name, text);
        }
        let (status, report) = house.reload().await;
        assert_eq!((status, &report["certificates"][0]["outcome"]), (200, &"unchanged".into()), "{what}");
        assert!(!are_refused(&house), "{what}");
        assert!(!house.page("/readyz?verbose").await.contains("in use since"));
        // What is new and right is taken after it, and there is no way back from a newer list.
        house.material.revoke(&[], List::InForce);
        assert_eq!(house.reload().await.1["certificates"][0]["outcome"], "changed", "{what}");
        good[3].1 = std::fs::read_to_string(house.material.files.path("clients.crl")).expect("text");
    }
    assert!(works(&mut live).await, "who is in stays in");
}
