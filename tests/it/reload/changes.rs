//! What a change of each kind does: to who comes, and to who is there.

use gatehouse::admin::state::Configured;
use kafka_protocol::messages::MetadataRequest;
use tokio::net::TcpStream;

use super::{Followed, Traffic, asks, both, cluster, text, three_brokers, two};
use crate::client::Client;
use crate::tls::lines::Lines;
use crate::tls::peer;
use crate::tls::pki::Authority;

/// The ids and ports of the nodes that a client is told of.
async fn told(client: &mut Client) -> Vec<(i32, i32)> {
    let answer = client.call(&MetadataRequest::default(), 1).await;
    let mut nodes: Vec<_> = answer.brokers.iter().map(|broker| (broker.node_id.0, broker.port)).collect();
    nodes.sort_unstable();
    nodes
}

#[tokio::test]
async fn a_listener_comes_and_goes_and_takes_its_series_along() {
    let toy = three_brokers().await;
    let alone = |followed: &Followed| {
        text(&cluster("toy", &toy), &followed.listener("kept", 9092, "0-9", "cluster: toy"))
    };
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let with = both(followed.ip, &toy, "0-9", "cluster: toy");
    let traffic = Traffic::at([followed.door(9092), followed.door(9093)]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(followed.door(19_092)).await;
        assert!(asks(&mut client).await);
        clients.push(client);
    }
    let reload = followed.apply(&alone(&followed)).await;
    assert_eq!((reload.draining, reload.changes.len()), (3, 1), "{reload:?}");
    assert_eq!(reload.changes[0].path, "listeners.other");
    for mut client in clients {
        assert!(client.is_closed().await, "its connections leave");
    }
    assert!(TcpStream::connect(followed.door(19_092)).await.is_err(), "its ports are free");
    assert!(!followed.app.metrics().contains("listener=\"other\""), "{}", followed.app.metrics());
    let reload = followed.apply(&with).await;
    assert_eq!(reload.draining, 0);
    assert!(asks(&mut Client::connect(followed.door(19_093)).await).await, "it is there again");
    assert_eq!(followed.metric("gatehouse_connections_accepted_total", &["listener=\"other\""]), 1.0);
    assert_eq!(traffic.end().await, 0);
}

#[tokio::test]
async fn a_listener_that_is_renamed_keeps_its_ports() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let mut before = Client::connect(followed.door(19_093)).await;
    assert!(asks(&mut before).await);
    let renamed = both(followed.ip, &toy, "0-9", "cluster: toy").replace("  other:", "  another:");
    followed.apply(&renamed).await;
    assert!(before.is_closed().await);
    assert!(asks(&mut Client::connect(followed.door(19_093)).await).await);
    assert_eq!(followed.metric("gatehouse_connections_accepted_total", &["listener=\"another\""]), 1.0);
}

#[tokio::test]
async fn a_wider_range_is_heard_of_by_who_is_connected_and_a_narrower_one_closes_its_ports_alone() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-1", "cluster: toy").await;
    let mut client = Client::connect(followed.door(19_092)).await;
    assert_eq!(told(&mut client).await, [(0, 19_093), (1, 19_094)]);
    let reload = followed.apply(&both(followed.ip, &toy, "0-9", "cluster: toy")).await;
    assert_eq!(reload.changes[0].effect, "opens 8 ports");
    assert_eq!(told(&mut client).await, [(0, 19_093), (1, 19_094), (2, 19_095)], "the same connection");
    let mut new = Client::connect(followed.door(19_095)).await;
    assert!(asks(&mut new).await, "the port of the new node");
    let reload = followed.apply(&both(followed.ip, &toy, "0-1", "cluster: toy")).await;
    assert_eq!(reload.draining, 1, "{reload:?}");
    assert!(new.is_closed().await);
    assert_eq!(told(&mut client).await, [(0, 19_093), (1, 19_094)], "who is elsewhere stays");
}

#[tokio::test]
async fn other_limits_hold_for_who_comes() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(followed.door(19_092)).await;
        assert!(asks(&mut client).await);
        clients.push(client);
    }
    let limits = "cluster: toy\n    limits: { max_connections: 2 }";
    let reload = followed.apply(&both(followed.ip, &toy, "0-9", limits)).await;
    assert_eq!(reload.changes[0].change, "limits.max_connections not set -> 2");
    assert!(Client::connect(followed.door(19_092)).await.is_closed().await, "one too many");
    for client in &mut clients {
        assert!(asks(client).await, "who is in stays");
    }
    followed.apply(&both(followed.ip, &toy, "0-9", "networks: { deny: [ 127.0.0.0/8 ] }")).await;
    assert!(Client::connect(followed.door(19_092)).await.is_closed().await, "a network that is denied");
    followed.apply(&both(followed.ip, &toy, "0-9", "cluster: toy")).await;
    assert!(asks(&mut Client::connect(followed.door(19_092)).await).await);
    for client in &mut clients {
        assert!(asks(client).await, "through all of it");
    }
}

#[tokio::test]
async fn tls_comes_and_goes_for_who_comes() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let authority = Authority::new("servers");
    let pair = authority.server(&["gate.example"]);
    let (cert, key) = (followed.files.put("a.crt", &pair.cert), followed.files.put("a.key", &pair.key));
    let mut plain = Client::connect(followed.door(19_092)).await;
    assert!(asks(&mut plain).await);
    let (cert, key) = (cert.display(), key.display());
    let tls = format!("tls: {{ certificates: [ {{ cert: {cert}, key: {key} }} ] }}");
    followed.apply(&both(followed.ip, &toy, "0-9", &tls)).await;
    let config = peer::config(&authority, None, &rustls::version::TLS13);
    let mut encrypted = peer::connect(followed.door(19_092), "gate.example", &config).await.expect("TLS");
    assert!(encrypted.try_call(&kafka_protocol::messages::ListGroupsRequest::default(), 3).await.is_some());
    assert!(!asks(&mut Client::connect(followed.door(19_092)).await).await, "plaintext is refused now");
    assert!(asks(&mut plain).await, "who came before goes on");
    let handshakes = "gatehouse_tls_handshakes_total";
    assert_eq!(followed.metric(handshakes, &["listener=\"other\""]), 1.0);
    let lines = Lines::begin();
    let renamed = both(followed.ip, &toy, "0-9", &tls).replace("gate.example", "new.example");
    followed.apply(&renamed).await;
    let lost =
        lines.with(&["ERROR", "no certificate of this listener is for `new.example` that clients are told"]);
    assert!(lost.len() == 1 && lost[0].contains("listener=\"other\""), "{lost:?}");
    followed.apply(&both(followed.ip, &toy, "0-9", "cluster: toy")).await;
    assert!(asks(&mut Client::connect(followed.door(19_092)).await).await, "plaintext again");
    assert!(encrypted.try_call(&kafka_protocol::messages::ListGroupsRequest::default(), 3).await.is_some());
    assert!(!followed.app.metrics().contains("gatehouse_tls_handshake"), "no series of handshakes is left");
}

#[tokio::test]
async fn who_is_trusted_no_more_by_the_new_settings_leaves() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let (servers, ours, theirs) =
        (Authority::new("servers"), Authority::new("ours"), Authority::new("theirs"));
    let pair = servers.server(&["gate.example"]);
    let files = &followed.files;
    let put = |name: &str, text: &str| files.put(name, text).display().to_string();
    let (cert, key) = (put("a.crt", &pair.cert), put("a.key", &pair.key));
    let (both_cas, one_ca) = (put("both.crt", &(ours.pem() + &theirs.pem())), put("one.crt", &ours.pem()));
    let trusting = |ca: &str| {
        let pair = format!("certificates: [ {{ cert: {cert}, key: {key} }} ]");
        both(followed.ip, &toy, "0-9", &format!("tls: {{ {pair}, client_auth: required, client_ca: {ca} }}"))
    };
    followed.apply(&trusting(&both_cas)).await;
    let request = kafka_protocol::messages::ListGroupsRequest::default();
    let mut clients = Vec::new();
    for authority in [&ours, &theirs] {
        let shows = authority.client("anna");
        let config = peer::config(&servers, Some(&shows), &rustls::version::TLS13);
        let mut client = peer::connect(followed.door(19_092), "gate.example", &config).await.expect("TLS");
        assert!(client.try_call(&request, 3).await.is_some());
        clients.push(client);
    }
    followed.apply(&trusting(&one_ca)).await;
    assert!(clients[1].is_closed().await, "its authority is gone");
    assert!(clients[0].try_call(&request, 3).await.is_some(), "the other one stays");
}

#[tokio::test]
async fn a_listener_that_stops_routing_by_name_serves_who_sends_none() {
    let toy = three_brokers().await;
    let authority = Authority::new("servers");
    let pair = authority.server(&["kafka.example", "*.kafka.example"]);
    let files = |files: &crate::tls::files::Files| {
        files.put("a.crt", &pair.cert);
        files.put("a.key", &pair.key);
    };
    let sni = "sni: { bootstrap: kafka.example, brokers: 'b{node}.kafka.example', nodes: 0-9 }";
    let port = "port: { ranges: [ { nodes: 0-9, bind: 9093 } ] }";
    let text_of = |ip: std::net::IpAddr, folder: &str, routing: &str| {
        let advertise = if routing == port { "advertise: kafka.example" } else { "unknown_apis: close" };
        let listener = format!(
            "  door:\n    bind: {ip}:9092\n    {advertise}\n    routing:\n      {routing}\n    \
             tls: {{ certificates: [ {{ cert: {folder}/a.crt, key: {folder}/a.key }} ] }}\n"
        );
        text(&cluster("toy", &toy), &listener)
    };
    let folder = std::cell::RefCell::new(String::new());
    let prepare = |made: &crate::tls::files::Files| {
        files(made);
        *folder.borrow_mut() = made.path("").display().to_string();
    };
    let followed =
        Followed::start_at("gatehouse.yaml", prepare, |ip| text_of(ip, &folder.borrow(), sni)).await;
    let mut nameless = (*peer::config(&authority, None, &rustls::version::TLS13)).clone();
    nameless.enable_sni = false;
    let nameless = std::sync::Arc::new(nameless);
    let door = followed.door(9092);
    let refused = peer::Outcome::Alert(rustls::AlertDescription::UnrecognisedName);
    assert_eq!(peer::outcome(door, "kafka.example", &nameless).await, refused);
    let folder = folder.borrow().clone();
    followed.apply(&text_of(followed.ip, &folder, port)).await;
    let outcome = peer::outcome(door, "kafka.example", &nameless).await;
    assert!(matches!(outcome, peer::Outcome::Answered(_)), "{outcome:?}");
    followed.apply(&text_of(followed.ip, &folder, sni)).await;
    assert_eq!(peer::outcome(door, "kafka.example", &nameless).await, refused, "no fallback");
}

#[tokio::test]
async fn a_cluster_that_moved_is_followed_and_its_clients_with_it() {
    let (toy, old, new) = (three_brokers().await, three_brokers().await, three_brokers().await);
    let file = |ip, moving| {
        let listeners = super::listener(ip, "kept", 9092, "0-9", "cluster: toy")
            + &super::listener(ip, "moving", 19_092, "0-9", "cluster: moving");
        text(&(cluster("toy", &toy) + &cluster("moving", moving)), &listeners)
    };
    let followed = Followed::start(|ip| file(ip, &old)).await;
    let traffic = Traffic::at([followed.door(9092), followed.door(9094)]).await;
    let mut at_bootstrap = Client::connect(followed.door(19_092)).await;
    let mut at_node = Client::connect(followed.door(19_094)).await;
    assert!(asks(&mut at_bootstrap).await && asks(&mut at_node).await);
    let reload = followed.apply(&file(followed.ip, &new)).await;
    assert!(reload.may_drain_more && reload.changes[0].path == "clusters.moving.bootstrap", "{reload:?}");
    assert!(at_bootstrap.is_closed().await && at_node.is_closed().await);
    new.seen().forget();
    for port in [19_092, 19_094] {
        assert!(asks(&mut Client::connect(followed.door(port)).await).await);
    }
    assert_eq!(new.seen().of(16).len(), 2, "the new brokers answer");
    assert!(followed.app.is_ready());
    assert_eq!(traffic.end().await, 0);
}

#[tokio::test]
async fn a_listener_that_leads_elsewhere_lets_everybody_come_again() {
    let (toy, more) = (three_brokers().await, three_brokers().await);
    let file = |ip, leads: &str| {
        let listeners = super::listener(ip, "kept", 9092, "0-9", "cluster: toy")
            + &super::listener(ip, "other", 19_092, "0-9", leads);
        text(&(cluster("toy", &toy) + &cluster("more", &more)), &listeners)
    };
    let followed = Followed::start(|ip| file(ip, "cluster: toy")).await;
    let traffic = Traffic::at([followed.door(9092)]).await;
    let mut client = Client::connect(followed.door(19_092)).await;
    assert!(asks(&mut client).await);
    let reload = followed.apply(&file(followed.ip, "cluster: more")).await;
    assert_eq!(reload.draining, 1);
    assert!(client.is_closed().await);
    more.seen().forget();
    assert!(asks(&mut Client::connect(followed.door(19_092)).await).await);
    assert_eq!(more.seen().of(16).len(), 1);
    assert_eq!(traffic.end().await, 0);
}

#[tokio::test]
async fn what_needs_a_restart_waits_and_the_rest_is_applied() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let format = both(followed.ip, &toy, "0-4", "cluster: toy") + "log: { format: text }\n";
    let reload = followed.apply(&format).await;
    let waiting: Vec<_> = reload.changes.iter().filter(|c| c.needs_restart).map(|c| &*c.path).collect();
    assert_eq!((waiting, reload.changes.len()), (vec!["log.format"], 2), "{reload:?}");
    assert!(TcpStream::connect(followed.door(19_098)).await.is_err(), "the rest is in use");
    let again = followed.app.reloaded(false).await;
    assert_eq!((again.config, again.changes.len()), (Configured::Unchanged, 1), "it still waits");
    assert!(followed.app.is_ready());
}
