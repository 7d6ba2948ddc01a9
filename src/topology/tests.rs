//! A topology in front of brokers that are told what to answer.

use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, MetadataResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable as _, Encodable, StrBytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::reaching::Reaching;
use super::*;
use crate::connect::{self, Dialer};
use crate::kafka::header::{RequestHeader, read_past};
use crate::metrics::Metrics;
use crate::toy;

/// What a broker answers.
#[derive(Clone)]
struct Script {
    brokers: Vec<(i32, String, i32)>,
    cluster_id: &'static str,
    metadata: (i16, i16),
    password: Option<&'static str>,
    /// Changes the whole frame of a Metadata answer, its length included.
    mangle: fn(Vec<u8>) -> Vec<u8>,
}

/// A broker on loopback.
struct Fake {
    address: HostPort,
    script: Arc<Mutex<Script>>,
    connections: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// A broker that lists itself as node 0.
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: HostPort = listener.local_addr().unwrap().to_string().parse().unwrap();
        let script = Arc::new(Mutex::new(Script {
            brokers: vec![(0, "127.0.0.1".into(), address.port.into())],
            cluster_id: "one",
            metadata: (0, 13),
            password: None,
            mangle: |frame| frame,
        }));
        let (connections, asked) = (Arc::default(), Arc::default());
        let task =
            tokio::spawn(accept(listener, script.clone(), Arc::clone(&connections), Arc::clone(&asked)));
        Self { address, script, connections, asked, task }
    }

    fn told(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn lists(&self, brokers: &[(i32, &str, i32)]) {
        self.told(|script| script.brokers = brokers.iter().map(|(n, h, p)| (*n, (*h).into(), *p)).collect());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    script: Arc<Mutex<Script>>,
    connections: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
) {
    // Dropped with this task, and with it every connection.
    let mut serving = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        serving.spawn(serve(stream, script.clone(), asked.clone()));
    }
}

/// Answers one client until it or the script ends the connection.
async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, asked: Arc<AtomicUsize>) -> Option<()> {
    let mut logged_in = false;
    loop {
        let length = stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).ok()?];
        stream.read_exact(&mut frame).await.ok()?;
        let header = RequestHeader::read(&frame).unwrap();
        let flexible = header.api().unwrap().is_flexible(header.version);
        let body = frame.len() - read_past(&frame, flexible).unwrap().0.remaining();
        let mut body = Bytes::from(frame).slice(body..);
        let script = script.lock().unwrap().clone();
        let mut answer = BytesMut::from(&[0; 4][..]);
        answer.extend_from_slice(&header.correlation_id.0.to_be_bytes());
        match header.key {
            18 => put(&mut answer, &versions(&script), 0),
            17 => {
                let request = SaslHandshakeRequest::decode(&mut body, 1).unwrap();
                let code = if &*request.mechanism == "PLAIN" { 0 } else { 33 };
                let offered = vec![StrBytes::from_static_str("PLAIN")];
                let response =
                    SaslHandshakeResponse::default().with_error_code(code).with_mechanisms(offered);
                put(&mut answer, &response, 1);
            }
            36 => {
                let request = SaslAuthenticateRequest::decode(&mut body, 0).unwrap();
                let expected = format!("\0gatehouse\0{}", script.password.unwrap());
                logged_in = request.auth_bytes == expected;
                let failed = SaslAuthenticateResponse::default()
                    .with_error_code(58)
                    .with_error_message(Some(StrBytes::from_static_str("Authentication failed\x1b")));
                put(&mut answer, &if logged_in { SaslAuthenticateResponse::default() } else { failed }, 0);
            }
            3 if script.password.is_some() && !logged_in => return None,
            3 => {
                if flexible {
                    answer.extend_from_slice(&[0]);
                }
                put(&mut answer, &metadata(&script), header.version);
                asked.fetch_add(1, Ordering::SeqCst);
            }
            key => panic!("asked for API {key}"),
        }
        let length = (answer.len() as u32 - 4).to_be_bytes();
        answer[..4].copy_from_slice(&length);
        let mut answer = answer.to_vec();
        if header.key == 3 {
            answer = (script.mangle)(answer);
        }
        stream.write_all(&answer).await.ok()?;
        if answer.len() < 8 || answer[..4] != (answer.len() as u32 - 4).to_be_bytes() {
            return None;
        }
    }
}

fn put(out: &mut BytesMut, message: &impl Encodable, version: i16) {
    message.encode(out, version).unwrap();
}

fn versions(script: &Script) -> ApiVersionsResponse {
    let (least, most) = script.metadata;
    let metadata = ApiVersion::default().with_api_key(3).with_min_version(least).with_max_version(most);
    ApiVersionsResponse::default().with_api_keys(vec![metadata])
}

fn metadata(script: &Script) -> MetadataResponse {
    let broker = |(node, host, port): &(i32, String, i32)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(*node))
            .with_host(StrBytes::from_string(host.clone()))
            .with_port(*port)
    };
    MetadataResponse::default()
        .with_brokers(script.brokers.iter().map(broker).collect())
        .with_cluster_id(Some(StrBytes::from_static_str(script.cluster_id)))
}

const OFTEN: Duration = Duration::from_millis(20);
const NEVER: Duration = Duration::from_secs(3_600);

/// A topology with these bootstrap addresses, and the signal that ends it.
struct Gateway {
    topology: Arc<Topology>,
    shutdown: drain::Signal,
    metrics: Metrics,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

impl std::ops::Deref for Gateway {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        &self.topology
    }
}

fn gateway(bootstrap: &[&HostPort], refresh: Duration, discovery: Discovery) -> Gateway {
    let (metrics, shutdown) = (Metrics::new(&["Produce"]), drain::Signal::new());
    let bootstrap: Vec<HostPort> = bootstrap.iter().map(|&address| address.clone()).collect();
    let loopback: HostPort = "127.0.0.1:1".parse().unwrap();
    let dialer = Dialer::new(connect::Options::default(), bootstrap.iter().cloned().chain([loopback]));
    let options = Options { bootstrap, refresh, discovery, client_id: "gatehouse".into() };
    let topology = Topology::start(
        "main",
        options,
        Reaching { dialer, tls: None },
        metrics.cluster("main"),
        shutdown.clone(),
    );
    Gateway { topology, shutdown, metrics }
}

fn own(bootstrap: &[&HostPort], refresh: Duration) -> Gateway {
    gateway(bootstrap, refresh, Discovery::Own(None))
}

/// Waits for a condition; the test fails when it does not come.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "never: {what}");
}

impl Gateway {
    fn address(&self, node: i32) -> Option<String> {
        self.broker(NodeId(node)).map(|target| target.address.to_string())
    }

    fn failing(&self) -> String {
        self.snapshot().refreshes.failing.map(|(_, error)| error).unwrap_or_default()
    }

    async fn fails_with(&self, words: &str) {
        until(words, || self.failing().contains(words)).await;
    }
}

/// An address of this machine where nobody listens, for as long as the socket is there.
fn closed() -> (socket2::Socket, HostPort) {
    let (socket, address) = connect::tests::closed();
    (socket, address.to_string().parse().unwrap())
}

#[tokio::test]
async fn the_brokers_are_learned_over_one_kept_connection() {
    let fake = Fake::start().await;
    let gateway = own(&[&fake.address], OFTEN);
    assert!(!gateway.ready());
    until("ready", || gateway.ready()).await;
    assert_eq!(gateway.address(0), Some(fake.address.to_string()));
    assert_eq!(gateway.address(1), None);
    until("refreshed on the timer", || fake.asked() > 5).await;
    assert_eq!(fake.connections.load(Ordering::SeqCst), 1);
    let snapshot = gateway.snapshot();
    assert!(snapshot.refreshes.answered.is_some() && snapshot.refreshes.failing.is_none());
    assert!(matches!(snapshot.bootstrap[0].1, Reach::Up { .. }));
    let text = gateway.metrics.render();
    assert!(text.contains("gatehouse_brokers{cluster=\"main\"} 1"), "{text}");
}

#[tokio::test]
async fn every_version_of_metadata_is_spoken() {
    for version in 1..=13 {
        let fake = Fake::start().await;
        fake.told(|script| script.metadata = (version.min(4), version));
        let gateway = own(&[&fake.address], NEVER);
        until("ready", || gateway.ready()).await;
        assert_eq!(gateway.address(0), Some(fake.address.to_string()), "version {version}");
    }
    let fake = Fake::start().await;
    fake.told(|script| script.metadata = (14, 15));
    own(&[&fake.address], NEVER).fails_with("offers no version of Metadata").await;
}

#[tokio::test]
async fn new_moved_removed_and_reused_nodes_need_no_restart() {
    let fake = Fake::start().await;
    fake.lists(&[(0, "kafka-0", 9092), (1, "kafka-1", 9092), (2, "kafka-2", 9092)]);
    let gateway = own(&[&fake.address], OFTEN);
    until("ready", || gateway.ready()).await;
    let before: Vec<_> = (0..3).map(|node| gateway.broker(NodeId(node)).unwrap()).collect();
    // 1 moves to where 2 was, 2 is gone, 3 is new.
    fake.lists(&[(0, "kafka-0", 9092), (1, "kafka-2", 9092), (3, "kafka-3", 9092)]);
    until("the new node", || gateway.address(3).is_some()).await;
    assert_eq!(gateway.address(1).as_deref(), Some("kafka-2:9092"));
    assert_eq!(gateway.address(2), None);
    let cancelled: Vec<_> = before.iter().map(|target| target.moved.is_cancelled()).collect();
    assert_eq!(cancelled, [false, true, true]);
    assert!(!gateway.broker(NodeId(1)).unwrap().moved.is_cancelled());
    let text = gateway.metrics.render();
    assert!(text.contains("gatehouse_broker_up{cluster=\"main\",node=\"3\"}"), "{text}");
    assert!(!text.contains("node=\"2\""), "{text}");
}

#[tokio::test]
async fn a_hostile_answer_leaves_the_table_as_it_was() {
    type Mangle = fn(Vec<u8>) -> Vec<u8>;
    // Version 1: length, correlation id, brokers, controller, topics.
    let hostile: [(&str, Mangle); 9] = [
        ("more than 1000", |mut frame| {
            frame[8..12].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
            frame
        }),
        ("is malformed", |mut frame| {
            frame[8..12].copy_from_slice(&999_u32.to_be_bytes());
            frame
        }),
        ("is malformed", |mut frame| {
            let topics = frame.len() - 4;
            frame[topics..].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
            frame
        }),
        ("bytes are left over", |mut frame| {
            frame.push(0);
            frame[3] += 1;
            frame
        }),
        ("correlation id", |mut frame| {
            frame[7] ^= 0x40;
            frame
        }),
        ("closed the connection", |mut frame| {
            frame[0] = 2;
            frame
        }),
        ("has a length of -1 bytes", |_| vec![0xff; 8]),
        ("this is an HTTP server", |_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("this is a TLS alert", |_| vec![0x15, 3, 3, 0, 2, 2, 10]),
    ];
    for (words, mangle) in hostile {
        let fake = Fake::start().await;
        fake.told(|script| script.metadata = (0, 1));
        let gateway = own(&[&fake.address], OFTEN);
        until("ready", || gateway.ready()).await;
        let target = gateway.broker(NodeId(0)).unwrap();
        fake.told(|script| script.mangle = mangle);
        gateway.fails_with(words).await;
        assert_eq!(gateway.address(0), Some(fake.address.to_string()), "{words}");
        assert!(!target.moved.is_cancelled() && gateway.ready());
        fake.told(|script| script.mangle = |frame| frame);
        until("recovered", || gateway.failing().is_empty()).await;
    }
}

#[tokio::test]
async fn a_hundred_thousand_nodes_are_refused() {
    let fake = Fake::start().await;
    let gateway = own(&[&fake.address], OFTEN);
    until("ready", || gateway.ready()).await;
    fake.told(|script| script.brokers = (0..100_000).map(|id| (id, "kafka".into(), 9092)).collect());
    gateway.fails_with("claims 100000 brokers").await;
    assert_eq!(gateway.snapshot().brokers.len(), 1);
}

#[tokio::test]
async fn hosts_that_are_none_are_left_out() {
    let fake = Fake::start().await;
    let long = "a".repeat(254);
    let mut listed = vec![(7, "kafka-7", 9092), (-1, "kafka-8", 9092), (9, "kafka-9", 0)];
    let hosts = ["", "a\nb", "a b", "a%25", "\u{e9}", "a@b", "[::1]", "a:1", "\0", &long];
    listed.extend(hosts.iter().enumerate().map(|(index, host)| (index as i32 + 20, *host, 9092)));
    listed.extend([(10, "kafka-10", 65_536), (11, "kafka-11", -1)]);
    fake.lists(&listed);
    let gateway = own(&[&fake.address], NEVER);
    until("ready", || gateway.ready()).await;
    let brokers: Vec<_> = gateway.snapshot().brokers.iter().map(|(node, ..)| node.0).collect();
    assert_eq!(brokers, [7]);
}

#[tokio::test]
async fn a_cluster_that_lists_nobody_does_not_empty_the_table() {
    let fake = Fake::start().await;
    let gateway = own(&[&fake.address], OFTEN);
    until("ready", || gateway.ready()).await;
    fake.lists(&[]);
    gateway.fails_with("lists no broker").await;
    assert!(gateway.broker(NodeId(0)).is_some());
}

fn credential(mechanism: sasl::Mechanism, password: &str) -> Discovery {
    let (username, password) = ("gatehouse".into(), password.into());
    Discovery::Own(Some(sasl::Credential { mechanism, username, password }))
}

#[tokio::test]
async fn the_login_is_made_where_there_is_one() {
    let fake = Fake::start().await;
    fake.told(|script| script.password = Some("s3cret"));
    let plain = sasl::Mechanism::Plain;
    let right = gateway(&[&fake.address], NEVER, credential(plain, "s3cret"));
    until("ready", || right.ready()).await;

    let wrong = gateway(&[&fake.address], NEVER, credential(plain, "wrong"));
    wrong.fails_with("SaslAuthenticate with error 58: Authentication failed").await;
    assert!(!wrong.ready() && !wrong.failing().contains(char::is_control));

    let scram = gateway(&[&fake.address], NEVER, credential(sasl::Mechanism::ScramSha512, "s3cret"));
    scram.fails_with("the broker offers no SCRAM-SHA-512, but PLAIN").await;

    let none = own(&[&fake.address], NEVER);
    none.fails_with("closed the connection at Metadata: it may want TLS, or a login by SASL").await;
}

/// The toy cluster's side of SCRAM was written apart from the gateway's.
#[tokio::test]
async fn every_mechanism_is_proven_to_a_broker_that_checks_it() {
    let users = vec![toy::User { name: "gatehouse".into(), password: "p\u{e4}ss,=".into() }];
    let cluster = toy::Cluster::start(toy::Options { users, ..toy::Options::default() }).await.unwrap();
    let addresses = cluster.addresses();
    let first: HostPort = addresses[0].1.to_string().parse().unwrap();
    for mechanism in sasl::Mechanism::ALL {
        let right = gateway(&[&first], NEVER, credential(mechanism, "p\u{e4}ss,="));
        until("ready", || right.ready()).await;
        assert_eq!(right.snapshot().brokers.len(), 3, "{mechanism}");
        let wrong = gateway(&[&first], NEVER, credential(mechanism, "wrong"));
        until("a failure", || !wrong.failing().is_empty()).await;
        assert!(!wrong.ready() && !wrong.failing().contains("wrong"), "{}", wrong.failing());
    }
}

#[tokio::test]
async fn the_next_bootstrap_broker_is_asked_then_the_known_ones() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    let port = i32::from(second.address.port);
    first.lists(&[(1, "127.0.0.1", port)]);
    second.lists(&[(1, "127.0.0.1", port), (2, "kafka-2", 9092)]);
    let (_closed, gone) = closed();
    let gateway = own(&[&gone, &first.address], OFTEN);
    until("ready", || gateway.ready()).await;
    assert_eq!(gateway.address(2), None);
    drop(first);
    until("a known broker was asked", || gateway.address(2).is_some()).await;
    let Target { node, address, .. } = gateway.bootstrap().unwrap();
    assert_eq!((node, address), (Some(NodeId(1)), second.address.clone()), "no bootstrap address is up");
}

#[tokio::test]
async fn only_a_bootstrap_address_leads_to_another_cluster() {
    let (bootstrap, reused) = (Fake::start().await, Fake::start().await);
    let port = i32::from(reused.address.port);
    bootstrap.lists(&[(1, "127.0.0.1", port)]);
    reused.told(|script| script.cluster_id = "two");
    let gateway = own(&[&bootstrap.address], OFTEN);
    until("ready", || gateway.ready()).await;
    drop(bootstrap);
    gateway.fails_with("the broker belongs to cluster two, not one").await;
    assert_eq!(gateway.snapshot().brokers.len(), 1);
    assert_eq!(gateway.address(0), None, "the other cluster's node is not taken");
}

#[tokio::test]
async fn what_passes_adds_nodes_and_asks_for_one_refresh_a_second() {
    let fake = Fake::start().await;
    let begin = Instant::now();
    let gateway = own(&[&fake.address], NEVER);
    until("ready", || gateway.ready()).await;
    let passing = |node, address: &str| Broker { node: NodeId(node), address: address.parse().unwrap() };
    gateway.learn(&[passing(0, &fake.address.to_string()), passing(5, "kafka-5:9092")]);
    assert_eq!(gateway.address(5).as_deref(), Some("kafka-5:9092"));
    let known = gateway.broker(NodeId(0)).unwrap();
    for expected in 2..=3 {
        for port in 1..1_000 {
            gateway.learn(&[passing(0, &format!("lagging:{port}"))]);
        }
        assert_eq!(gateway.address(0), Some(fake.address.to_string()), "what passes moves nothing");
        until("a refresh", || fake.asked() == expected).await;
    }
    assert!(begin.elapsed() > Duration::from_millis(1_500), "two refreshes within {:?}", begin.elapsed());
    assert!(!known.moved.is_cancelled());
    until("the refresh counts", || gateway.address(5).is_none()).await;
}

#[tokio::test]
async fn a_failed_dial_is_remembered_and_asks_at_once() {
    let fake = Fake::start().await;
    let (_closed, gone) = closed();
    fake.lists(&[(0, "127.0.0.1", gone.port.into())]);
    let gateway = own(&[&fake.address], NEVER);
    until("ready", || gateway.ready()).await;
    let target = gateway.broker(NodeId(0)).unwrap();
    fake.lists(&[(0, "127.0.0.1", fake.address.port.into())]);
    let error = gateway.dial(&target, None).await.unwrap_err();
    assert!(error.to_string().contains(&gone.to_string()), "{error}");
    assert!(matches!(&gateway.snapshot().brokers[0].2, Reach::Down { error, failures: 1, .. }
        if error.contains("refused")));
    until("the broker's new place is known", || target.moved.is_cancelled()).await;
    assert!(gateway.dial(&gateway.broker(NodeId(0)).unwrap(), None).await.is_ok());
    assert!(matches!(gateway.snapshot().brokers[0].2, Reach::Up { .. }));
}

#[tokio::test]
async fn a_broker_that_lost_touch_is_not_believed_for_ever() {
    let (stale, other) = (Fake::start().await, Fake::start().await);
    let (_closed, gone) = closed();
    for fake in [&stale, &other] {
        fake.lists(&[(0, "127.0.0.1", gone.port.into())]);
    }
    let gateway = own(&[&stale.address, &other.address], NEVER);
    until("ready", || gateway.ready()).await;
    // Whoever was asked first goes on telling the old place; the other one knows better.
    let better = if stale.asked() > 0 { &other } else { &stale };
    better.lists(&[(0, "127.0.0.1", better.address.port.into())]);
    let target = gateway.broker(NodeId(0)).unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    for _ in 0..2 {
        // Both are asked by turns; at the latest the second time it is the other one's.
        if !target.moved.is_cancelled() {
            let asked = stale.asked() + other.asked();
            assert!(gateway.dial(&target, None).await.is_err());
            until("another refresh", || stale.asked() + other.asked() > asked).await;
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(10)).await;
            tokio::time::resume();
        }
    }
    until("the new place is known", || target.moved.is_cancelled()).await;
    assert_eq!(gateway.address(0), Some(better.address.to_string()));
}

#[tokio::test]
async fn an_unknown_node_is_asked_for_once() {
    let fake = Fake::start().await;
    let gateway = own(&[&fake.address], NEVER);
    until("ready", || gateway.ready()).await;
    fake.lists(&[(0, "kafka-0", 9092), (4, "kafka-4", 9092)]);
    let target = gateway.find(NodeId(4)).await.unwrap();
    assert_eq!(target.address.to_string(), "kafka-4:9092");
    assert!(gateway.find(NodeId(9)).await.is_none());
    assert_eq!(fake.asked(), 3);
}

#[tokio::test]
async fn learn_only_follows_what_passes_and_drains_nothing() {
    let fake = Fake::start().await;
    let gateway = gateway(&[&fake.address], NEVER, Discovery::LearnOnly);
    until("reached once", || gateway.ready()).await;
    let target = gateway.broker(NodeId(3)).unwrap();
    assert_eq!((target.node, &target.address), (None, &fake.address));
    let other = gateway.broker(NodeId(4)).unwrap();
    let passing = |address: &str| [Broker { node: NodeId(3), address: address.parse().unwrap() }];
    gateway.learn(&passing("kafka-3:9092"));
    assert!(target.moved.is_cancelled(), "its client would stay at the wrong broker");
    assert!(!other.moved.is_cancelled());
    let target = gateway.broker(NodeId(3)).unwrap();
    gateway.learn(&passing("kafka-3b:9092"));
    assert_eq!(gateway.address(3).as_deref(), Some("kafka-3b:9092"));
    assert!(!target.moved.is_cancelled());
    assert_eq!(fake.asked(), 0, "nothing is asked");
}

#[tokio::test]
async fn a_static_map_is_neither_added_to_nor_moved() {
    let fake = Fake::start().await;
    let nodes = BTreeMap::from([(NodeId(0), fake.address.clone())]);
    let gateway = gateway(&[], NEVER, Discovery::Static(nodes));
    until("reached once", || gateway.ready()).await;
    let passing = |node| Broker { node: NodeId(node), address: "kafka:9092".parse().unwrap() };
    gateway.learn(&[passing(0), passing(1)]);
    assert_eq!(gateway.address(0), Some(fake.address.to_string()));
    assert!(gateway.find(NodeId(1)).await.is_none());
    assert_eq!(gateway.bootstrap().unwrap().node, Some(NodeId(0)));
}

#[tokio::test]
async fn the_signal_ends_it() {
    let fake = Fake::start().await;
    let gateway = own(&[&fake.address], OFTEN);
    until("ready", || gateway.ready()).await;
    gateway.shutdown.drain();
    gateway.shutdown.finished().await;
}

#[tokio::test]
async fn bootstrap_addresses_take_turns() {
    let (one, two) = (Fake::start().await, Fake::start().await);
    let gateway = own(&[&one.address, &two.address], NEVER);
    let seen: std::collections::BTreeSet<_> = (0..4).map(|_| gateway.bootstrap().unwrap().address).collect();
    assert_eq!(seen.len(), 2);
}

/// The options of a cluster that begins at these brokers.
fn options(bootstrap: &[&HostPort], discovery: Discovery) -> (Options, Reaching) {
    let bootstrap: Vec<HostPort> = bootstrap.iter().map(|&address| address.clone()).collect();
    let dialer = Dialer::new(connect::Options::default(), bootstrap.iter().cloned());
    let options = Options { bootstrap, refresh: OFTEN, discovery, client_id: "gatehouse".into() };
    (options, Reaching { dialer, tls: None })
}

#[tokio::test]
async fn other_options_drain_only_whom_the_new_answer_contradicts() {
    let (one, two) = (Fake::start().await, Fake::start().await);
    one.lists(&[(0, "127.0.0.1", one.address.port.into()), (1, "127.0.0.1", 7001)]);
    two.lists(&[(0, "127.0.0.1", one.address.port.into()), (1, "127.0.0.1", 7002)]);
    let gateway = own(&[&one.address], OFTEN);
    until("two nodes", || gateway.address(1).is_some()).await;
    let (stays, moves) = (gateway.broker(NodeId(0)).unwrap(), gateway.broker(NodeId(1)).unwrap());
    let entered = gateway.bootstrap().unwrap();
    let (more, reaching) = options(&[&one.address, &two.address], Discovery::Own(None));
    gateway.topology.change(more, reaching, gateway.shutdown.child()).await;
    assert!(!entered.moved.is_cancelled() && !moves.moved.is_cancelled(), "nothing was taken away");
    assert!(gateway.ready() && gateway.address(1).is_some(), "what is known holds on");
    let (other, reaching) = options(&[&two.address], Discovery::Own(None));
    gateway.topology.change(other, reaching, gateway.shutdown.child()).await;
    assert!(entered.moved.is_cancelled(), "its bootstrap address is one no more");
    until("the answer of the second", || gateway.address(1) == Some("127.0.0.1:7002".into())).await;
    assert!(moves.moved.is_cancelled() && !stays.moved.is_cancelled());
    let asked = one.asked();
    until("asked again and again", || two.asked() > 5).await;
    assert!(one.asked() <= asked + 1, "nobody asks where one began before");
}

#[tokio::test]
async fn another_way_of_discovery_takes_effect_at_once() {
    let fake = Fake::start().await;
    let gateway = own(&[&fake.address], OFTEN);
    until("a node", || gateway.address(0).is_some()).await;
    let (own_node, entered) = (gateway.broker(NodeId(0)).unwrap(), gateway.bootstrap().unwrap());
    let nodes = BTreeMap::from([(NodeId(5), "127.0.0.1:7005".parse().unwrap())]);
    let (fixed, reaching) = options(&[&fake.address], Discovery::Static(nodes));
    gateway.topology.change(fixed, reaching, gateway.shutdown.child()).await;
    assert_eq!((gateway.address(0), gateway.address(5)), (None, Some("127.0.0.1:7005".into())));
    assert!(own_node.moved.is_cancelled() && !entered.moved.is_cancelled());
    let (learn, reaching) = options(&[&fake.address], Discovery::LearnOnly);
    gateway.topology.change(learn, reaching, gateway.shutdown.child()).await;
    assert_eq!(gateway.address(5), Some(fake.address.to_string()), "a bootstrap broker stands in");
    let stand_in = gateway.broker(NodeId(5)).unwrap();
    let (again, reaching) = options(&[&fake.address], Discovery::Own(None));
    gateway.topology.change(again, reaching, gateway.shutdown.child()).await;
    assert!(stand_in.moved.is_cancelled(), "it need not stand in where the cluster is asked");
}

#[tokio::test]
async fn a_broker_that_is_back_is_noticed_though_no_client_dials_it() {
    let (silent, address) = closed();
    let fake = Fake::start().await;
    fake.lists(&[(0, "127.0.0.1", fake.address.port.into()), (1, "127.0.0.1", address.port.into())]);
    // The same broker under its bootstrap address alone: what is known is known of the address.
    let gateway = own(&[&fake.address, &address], NEVER);
    until("ready", || gateway.ready()).await;
    let up = |up| {
        gateway.metrics.render().contains(&format!("gatehouse_broker_up{{cluster=\"main\",node=\"1\"}} {up}"))
    };
    assert!(up(1), "nobody tried");
    let entrance = Target { node: None, address: address.clone(), moved: CancellationToken::new() };
    assert!(gateway.dial(&entrance, None).await.is_err());
    assert!(up(0));
    let dials = |result| {
        let series =
            format!("gatehouse_upstream_connects_total{{cluster=\"main\",node=\"1\",result=\"{result}\"}} ");
        let text = gateway.metrics.render();
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse::<u32>().unwrap()
    };
    later(redial::AGAIN_AFTER).await;
    until("dialled again", || dials("failed") == 1).await;
    assert!(up(0));
    silent.listen(8).unwrap();
    later(redial::AGAIN_AFTER).await;
    until("dialled again", || dials("ok") == 1).await;
    assert!(up(1));
    assert!(matches!(gateway.snapshot().brokers[1].2, Reach::Up { .. }));
}

#[tokio::test]
async fn an_address_that_is_listed_no_more_is_not_dialled_again() {
    let (fake, (_closed, gone)) = (Fake::start().await, closed());
    let gateway = own(&[&fake.address, &gone], NEVER);
    until("ready", || gateway.ready()).await;
    let target = Target { node: None, address: gone.clone(), moved: CancellationToken::new() };
    assert!(gateway.dial(&target, None).await.is_err());
    let (fewer, reaching) = options(&[&fake.address], Discovery::Own(None));
    gateway.topology.change(fewer, reaching, gateway.shutdown.child()).await;
    // One that was under way meanwhile.
    assert!(gateway.dial(&target, None).await.is_err());
    assert!(gateway.health().is_down(&gone));
    later(redial::AGAIN_AFTER).await;
    until("forgotten", || !gateway.health().is_down(&gone)).await;
    let failed = "gatehouse_upstream_connects_total{cluster=\"main\",node=\"bootstrap\",result=\"failed\"} 2";
    assert!(gateway.metrics.render().contains(failed), "{}", gateway.metrics.render());
}

/// Lets this much time pass, and what looks every few seconds look.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time + redial::LOOK_EVERY).await;
    tokio::time::resume();
}
