//! `gatehouse check` before brokers, files and ports with one fault each.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use gatehouse::app::{App, Runtimes};
use gatehouse::check;
use gatehouse::check::report::{Line, Outcome, Report};
use gatehouse::config::codes::Code;
use gatehouse::config::diagnostic::Diagnostics;
use gatehouse::config::{self, Config, Surroundings};
use gatehouse::kafka::NodeId;
use gatehouse::limits::machine::Machine;
use gatehouse::toy::{Cluster, Options, User};
use rcgen::{DnType, ExtendedKeyUsagePurpose};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::files::Files;
use super::front::{self, Front, Wants};
use super::peer::VERSIONS;
use super::pki::{Authority, DAY, List, Pair, Wish};
use crate::gateway::{own_address, toy};
use crate::poll::{in_time, until};

const MACHINE: Machine = Machine { descriptors: 1 << 16, memory_bytes: 8 << 30 };

fn loaded(text: &str) -> (Config, Diagnostics) {
    let surroundings = Surroundings {
        environment: config::yaml::Environment::default(),
        machine: MACHINE,
        host_name: "it".to_owned(),
        elsewhere: false,
        certificates: false,
    };
    config::load("it.yaml", text, &surroundings).unwrap_or_else(|faults| panic!("{faults}"))
}

async fn checked(text: &str) -> Report {
    checked_within(text, Duration::from_secs(20)).await
}

async fn checked_within(text: &str, timeout: Duration) -> Report {
    let loaded = loaded(text);
    in_time("a report", check::run("it.yaml", &loaded, &MACHINE, timeout)).await
}

/// A file with this cluster and this listener; the machine's own settings are not looked at by any test.
fn file(cluster: &str, listener: &str) -> String {
    format!(
        "clusters:\n  toy: {{ {cluster} }}\nlisteners:\n  door: {{ {listener} }}\nadmin: {{ bind: null }}\n"
    )
}

/// A listener on an address of its own, which clients call `localhost`.
fn door(more: &str) -> String {
    format!("bind: '{}:9092', advertise: localhost{more}", own_address())
}

fn lines<'r>(report: &'r Report, group: &str) -> Vec<&'r Line> {
    let found = report.groups.iter().find(|found| found.name == group);
    found.unwrap_or_else(|| panic!("no group {group}: {}", report.text())).lines.iter().collect()
}

/// The one line of a group that is not fine.
fn fault<'r>(report: &'r Report, group: &str) -> &'r Line {
    let faults: Vec<_> =
        lines(report, group).into_iter().filter(|line| line.outcome != Outcome::Ok).collect();
    match faults.as_slice() {
        [fault] => fault,
        others => panic!("{} faults: {}", others.len(), report.text()),
    }
}

fn code(line: &Line) -> Code {
    line.code.unwrap_or_else(|| panic!("no code: {line:?}"))
}

/// Brokers behind TLS, and the file of the authority that signed them.
struct Brokers {
    _cluster: Cluster,
    front: Front,
    files: Files,
    ip: IpAddr,
}

impl Brokers {
    async fn showing(pair: impl FnOnce(&Authority, IpAddr) -> Pair, wants: Wants) -> Self {
        let (authority, gateways) = (Authority::new("CA of brokers"), Authority::new("CA of gateways"));
        let ip = own_address();
        let config = front::config(&pair(&authority, ip), &gateways, wants, &VERSIONS);
        let cluster = toy(Options::default()).await;
        let front = Front::start(&cluster, ip, &ip.to_string(), &config).await;
        let files = Files::new();
        files.put("ca.crt", &authority.pem());
        files.put("other.crt", &Authority::new("another CA").pem());
        Self { _cluster: cluster, front, files, ip }
    }

    async fn right() -> Self {
        Self::showing(|authority, ip| authority.server(&[&ip.to_string()]), Wants::Anybody).await
    }

    /// The cluster's settings, by one bootstrap address.
    fn cluster(&self, ca: &str) -> String {
        let first = self.front.addresses[0];
        format!("bootstrap: ['{first}'], tls: {{ ca: {} }}", self.files.path(ca).display())
    }

    /// What is said of the first broker.
    async fn fault(&self, ca: &str) -> Line {
        let report = checked(&file(&self.cluster(ca), &door(""))).await;
        fault(&report, "cluster toy").clone()
    }
}

#[tokio::test]
async fn every_broker_is_found_and_asked_over_tls() {
    let brokers = Brokers::right().await;
    let report = checked(&file(&brokers.cluster("ca.crt"), &door(""))).await;
    let cluster = lines(&report, "cluster toy");
    assert_eq!(cluster.len(), 3, "{}", report.text());
    for (line, (node, address)) in cluster.iter().zip(brokers.front.addresses.iter().enumerate()) {
        assert_eq!((line.outcome, &line.subject), (Outcome::Ok, &address.to_string()), "{}", report.text());
        let facts = line.facts.join(" ");
        for fact in [format!("node {node}"), "TLS 1.3 AES_256_GCM".into(), "certificate 29 days left".into()]
        {
            assert!(facts.contains(&fact), "{fact} in {facts}");
        }
    }
    assert_eq!(lines(&report, "listener door").len(), 2);
    assert_eq!(report.count(Outcome::Fail), 0, "{}", report.text());
    assert_eq!(brokers.front.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn a_broker_that_is_down_is_named_and_the_others_are_asked() {
    let cluster = toy(Options::default()).await;
    let ip = own_address();
    let down: SocketAddr = (ip, 9).into();
    cluster.advertise(NodeId(2), &ip.to_string(), 9);
    let bootstrap = cluster.addresses()[0].1;
    let report = checked(&file(&format!("bootstrap: ['{bootstrap}']"), &door(""))).await;
    let line = fault(&report, "cluster toy");
    assert_eq!((code(line), line.subject.clone()), (Code::BrokerUnreachable, down.to_string()));
    assert!(line.facts.concat().contains("connection refused") && line.hint.is_some(), "{line:?}");
    assert_eq!(lines(&report, "cluster toy").len(), 3);
}

#[tokio::test]
async fn what_is_wrong_with_a_brokers_certificate_is_said() {
    let line = Brokers::right().await.fault("other.crt").await;
    assert_eq!(code(&line), Code::BrokerUntrusted);
    assert!(line.facts.concat().contains("certificate is of `CN=CA of brokers`"), "{line:?}");

    let expired = |authority: &Authority, ip: IpAddr| {
        let (subject, ip) = ([(DnType::CommonName, "kafka-0")], ip.to_string());
        let now = SystemTime::now();
        authority.issue(&Wish {
            names: &[&ip],
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            from: now - 30 * DAY,
            until: now - 3 * DAY - DAY / 2,
            ..Wish::of(&subject)
        })
    };
    let line = Brokers::showing(expired, Wants::Anybody).await.fault("ca.crt").await;
    assert_eq!(
        (code(&line), line.facts),
        (Code::BrokerCertificateExpired, vec!["certificate expired 3 days ago".into()])
    );

    let other = |authority: &Authority, _| authority.server(&["kafka-7.internal"]);
    let line = Brokers::showing(other, Wants::Anybody).await.fault("ca.crt").await;
    assert_eq!(
        (code(&line), line.facts),
        (Code::BrokerName, vec!["certificate is for kafka-7.internal".into()])
    );

    let right = |authority: &Authority, ip: IpAddr| authority.server(&[&ip.to_string()]);
    let line = Brokers::showing(right, Wants::Known).await.fault("ca.crt").await;
    assert_eq!(code(&line), Code::GatewayCertificate, "{line:?}");
    assert!(line.hint.is_some_and(|hint| hint.contains("discovery.tls")));
}

#[tokio::test]
async fn tls_on_one_side_alone_is_told_either_way() {
    let brokers = Brokers::right().await;
    let cluster = format!("bootstrap: ['{}']", brokers.front.addresses[0]);
    let report = checked(&file(&cluster, &door(""))).await;
    let line = fault(&report, "cluster toy");
    assert_eq!(code(line), Code::NotKafka);
    assert!(line.hint.as_ref().is_some_and(|hint| hint.contains("tls:")), "{line:?}");

    let plain = toy(Options { bind: brokers.ip, ..Options::default() }).await;
    let ca = brokers.files.path("ca.crt");
    let cluster = format!("bootstrap: ['{}'], tls: {{ ca: {} }}", plain.addresses()[0].1, ca.display());
    let report = checked(&file(&cluster, &door(""))).await;
    assert_eq!(code(fault(&report, "cluster toy")), Code::BrokerSpeaksNoTls, "{}", report.text());
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let user = User { name: "gatehouse".to_owned(), password: "right".to_owned() };
    let cluster = toy(Options { users: vec![user], ..Options::default() }).await;
    let text = |password: &str| {
        let sasl = format!("{{ mechanism: SCRAM-SHA-512, username: gatehouse, password: {password} }}");
        let bootstrap = cluster.addresses()[0].1;
        file(&format!("bootstrap: ['{bootstrap}'], discovery: {{ sasl: {sasl} }}"), &door(""))
    };
    let report = checked(&text("hunter2")).await;
    assert_eq!(code(fault(&report, "cluster toy")), Code::Login, "{}", report.text());
    assert!(!report.text().contains("hunter2") && !report.json().to_string().contains("hunter2"));
    let report = checked(&text("right")).await;
    let facts = lines(&report, "cluster toy").iter().map(|line| line.facts.join(" ")).collect::<Vec<_>>();
    assert!(facts.len() == 3 && facts.iter().all(|facts| facts.contains("SCRAM-SHA-512")), "{facts:?}");
}

#[tokio::test]
async fn who_never_answers_takes_no_more_than_the_time_there_is() {
    let silent = TcpListener::bind((own_address(), 0)).await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let text = file(&format!("bootstrap: ['{address}']"), &door(""));
    let report = checked_within(&text, Duration::from_millis(300)).await;
    assert_eq!(code(fault(&report, "cluster toy")), Code::CheckTooLong);
}

#[tokio::test]
async fn a_port_is_free_taken_or_the_gateways_own() {
    let cluster = toy(Options::default()).await;
    let ip = own_address();
    let admin: SocketAddr = (ip, 9910).into();
    let text = format!(
        "clusters: {{ toy: {{ bootstrap: ['{}'] }} }}
listeners:
  door: {{ bind: '{ip}:9092', advertise: localhost, routing: {{ port: {{ ranges: [ {{ nodes: 0-2, bind: 9093 }} ] }} }} }}
admin: {{ bind: '{admin}' }}
shutdown: {{ ready_delay: 0s, drain_timeout: 1s, hard_stop_after: 2s }}
",
        cluster.addresses()[0].1
    );
    let said = |report: &Report| lines(report, "listener door")[0].subject.clone();
    let report = checked(&text).await;
    assert_eq!(said(&report), format!("{ip}:9092 and the ports of 3 brokers are free"));
    assert_eq!(lines(&report, "admin")[0].subject, format!("{admin} is free"));

    let taken = TcpListener::bind((ip, 9094)).await.expect("a free port");
    let report = checked(&text).await;
    let line = fault(&report, "listener door");
    assert_eq!((code(line), line.subject.clone()), (Code::PortTaken, format!("{ip}:9094 is taken")));
    drop(taken);

    let runtimes = Runtimes { data: Handle::current(), control: Handle::current() };
    let app = App::start(loaded(&text).0, &runtimes).await.expect("free ports");
    until("readiness", async || app.is_ready()).await;
    let report = checked(&text).await;
    assert_eq!(
        said(&report),
        format!("{ip}:9092 and the ports of 3 brokers are held by the gateway that runs")
    );
    assert_eq!(lines(&report, "admin")[0].subject, format!("{admin}: a gateway runs here"));
    assert_eq!(report.count(Outcome::Fail), 0, "{}", report.text());
    app.stop().await;
}

#[tokio::test]
async fn a_node_outside_every_range_comes_with_the_line_to_add() {
    let cluster = toy(Options { first_node: NodeId(7), brokers: 1, ..Options::default() }).await;
    let bootstrap = format!("bootstrap: ['{}']", cluster.addresses()[0].1);
    let range = ", routing: { port: { ranges: [ { nodes: 0-2, bind: 9093 } ] } }";
    let report = checked(&file(&bootstrap, &door(range))).await;
    let line = fault(&report, "listener door");
    assert_eq!((code(line), line.subject.as_str()), (Code::NodeOutside, "node 7 is outside every range"));
    let hint = line.hint.as_deref().unwrap_or_default();
    assert!(
        hint.contains("`- { nodes: 7, bind: 9096 }` belongs in listeners.door.routing.port.ranges"),
        "{hint}"
    );
}

/// A listener that tells brokers apart by name, with these files.
async fn names(pair: &Pair, key: &str, more: &str, files: &Files) -> Report {
    let cluster = toy(Options::default()).await;
    let bootstrap = format!("bootstrap: ['{}']", cluster.addresses()[0].1);
    let cert = files.put("tls.crt", &pair.cert);
    let key = files.put("tls.key", key);
    let listener = format!(
        "bind: '{}:9092', routing: {{ sni: {{ bootstrap: localhost, brokers: 'b{{node}}.localhost', nodes: 0-9 }} }}, \
         tls: {{ certificates: [ {{ cert: {}, key: {} }} ]{more} }}",
        own_address(),
        cert.display(),
        key.display(),
    );
    checked(&file(&bootstrap, &listener)).await
}

#[tokio::test]
async fn certificates_must_be_for_every_name_that_clients_are_told() {
    let (authority, files) = (Authority::new("CA"), Files::new());
    let said = |report: &Report, code: Code| -> Vec<(Outcome, String)> {
        let lines = lines(report, "listener door").into_iter().filter(|line| line.code == Some(code));
        lines.map(|line| (line.outcome, line.subject.clone())).collect()
    };
    let covered = async |names_of: &[&str]| {
        let pair = authority.server(names_of);
        said(&names(&pair, &pair.key, "", &files).await, Code::NameNotCovered)
    };
    assert_eq!(covered(&["localhost", "*.localhost"]).await, []);
    let missing = covered(&["*.localhost"]).await;
    assert_eq!(missing, [(Outcome::Fail, "no certificate is for localhost".to_owned())]);
    let missing = covered(&["localhost", "b0.localhost", "b2.localhost"]).await;
    let later = "no certificate is for b3.localhost, b4.localhost, b5.localhost, b6.localhost and 3 more, should \
                 such brokers come";
    let expected = [(Outcome::Fail, "no certificate is for b1.localhost"), (Outcome::Warn, later)];
    assert_eq!(missing, expected.map(|(outcome, text)| (outcome, text.to_owned())));
}

#[tokio::test]
async fn the_files_of_a_listener_are_judged_with_everything_else() {
    let (authority, files) = (Authority::new("CA"), Files::new());
    let pair = authority.server(&["localhost", "*.localhost"]);
    let other = authority.server(&["localhost", "*.localhost"]);
    let codes = |report: &Report| -> Vec<Code> {
        let lines = lines(report, "listener door").into_iter().filter(|line| line.outcome == Outcome::Fail);
        lines.map(code).collect()
    };
    let report = names(&pair, &other.key, "", &files).await;
    assert_eq!(codes(&report), [Code::ListenerFiles], "{}", report.text());
    assert_eq!(lines(&report, "cluster toy").len(), 3, "the brokers are asked all the same");

    let subject = [(DnType::CommonName, "localhost")];
    let now = SystemTime::now();
    let expired = authority.issue(&Wish {
        names: &["localhost", "*.localhost"],
        usage: ExtendedKeyUsagePurpose::ServerAuth,
        until: now - DAY - DAY / 2,
        from: now - 9 * DAY,
        ..Wish::of(&subject)
    });
    let report = names(&expired, &expired.key, "", &files).await;
    assert_eq!(codes(&report), [Code::CertificateExpired]);
    assert!(report.text().contains("certificate tls.crt ended 1 day ago"), "{}", report.text());

    let ca = files.put("clients.crt", &authority.pem());
    let list = files.put("clients.crl", &authority.revoke(&[], List::Expired));
    let more =
        format!(", client_auth: required, client_ca: {}, client_crl: {}", ca.display(), list.display());
    let report = names(&pair, &pair.key, &more, &files).await;
    assert_eq!(codes(&report), [Code::RevocationListEnds], "{}", report.text());
}
