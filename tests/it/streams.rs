//! Promises 2, 4 and 5: bytes pass as they are, in order, on one connection each, and closes fall between
//! frames.

use std::time::Duration;

use bytes::Bytes;
use gatehouse::app::Stopped;
use gatehouse::kafka::NodeId;
use gatehouse::sasl::{Credential, Login, Mechanism, Step};
use gatehouse::toy::misbehaviour::{Act, Misbehaviour};
use gatehouse::toy::{Cluster, Options, User};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{
    FetchRequest, ListGroupsRequest, MetadataRequest, ProduceRequest, SaslAuthenticateRequest,
    SaslHandshakeRequest, TopicName,
};
use uuid::Uuid;

use crate::client::{AT_MOST, Client, frame, framed, text};
use crate::gateway::{Gateway, Wanted, toy};
use crate::poll::{in_time, until};
use crate::records::{batch, produce, values};

const NOBODY: (i64, i16, i32) = (-1, -1, -1);

/// A cluster with a topic of one partition that broker 0 leads.
async fn with_topic(options: Options) -> Cluster {
    let cluster = toy(options).await;
    assert!(cluster.create_topic("t", 1, 1));
    assert_eq!(cluster.leader("t", 0), Some(NodeId(0)));
    cluster
}

fn fetch(offset: i64, wait: i32) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(i32::MAX);
    let topic = FetchTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(wait)
        .with_min_bytes(1)
        .with_max_bytes(i32::MAX)
        .with_topics(vec![topic])
}

#[tokio::test]
async fn trap_1_acks_0_has_no_answer_in_any_version() {
    let cluster = with_topic(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect_to(NodeId(0)).await;
    let metadata = client.call(&MetadataRequest::default().with_topics(None), 12).await;
    let id = metadata.topics[0].topic_id;
    for version in 3..=13 {
        let request = produce(("t", id), 0, batch(&["x"], NOBODY), 0, version);
        let first = client.ask(&request, version).await;
        let second = client.ask(&request, version).await;
        assert_eq!(client.call(&ListGroupsRequest::default(), 3).await.error_code, 0);
        assert!(first < second);
    }
    assert_eq!(cluster.end_offset("t", 0), Some(22));
    // An error can only be told by closing, and the close is passed on.
    cluster.move_leader("t", 0, NodeId(1));
    client.ask(&produce(("t", Uuid::nil()), 0, batch(&["x"], NOBODY), 0, 9), 9).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn requests_come_to_the_broker_as_they_were_sent() {
    let cluster = with_topic(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect_to(NodeId(0)).await;
    cluster.seen().forget();
    // Trap 12: one correlation id three times, two of them in flight.
    let requests = [
        frame(&ListGroupsRequest::default(), 3, i32::MAX),
        frame(&MetadataRequest::default(), 12, i32::MAX),
        frame(&produce(("t", Uuid::nil()), 0, batch(&["x"], NOBODY), 1, 9), 9, i32::MAX),
    ];
    // In pieces of one byte: the pieces that a client writes mean nothing.
    for byte in requests.concat() {
        client.send(&[byte]).await;
    }
    for _ in &requests {
        let answer = client.read().await.expect("an answer");
        assert_eq!(answer[..4], i32::MAX.to_be_bytes());
    }
    let seen: Vec<_> =
        cluster.seen().all().into_iter().filter(|r| r.client_id.as_deref() == Some("it")).collect();
    assert_eq!(seen.len(), requests.len());
    for (request, seen) in requests.iter().zip(seen) {
        assert_eq!(request[4..4 + seen.header.len()], seen.header[..]);
        assert_eq!(request.len() - 4, seen.frame_bytes);
        assert_eq!(seen.node, NodeId(0));
    }
}

#[tokio::test]
async fn trap_16_one_client_connection_is_one_broker_connection_so_that_sessions_stay_apart() {
    let cluster = with_topic(Options::default()).await;
    let gateway =
        Gateway::with(&cluster, Wanted { cluster: "metadata_refresh: 1h", ..Wanted::default() }).await;
    cluster.seen().forget();
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = gateway.connect_to(NodeId(1)).await;
        for _ in 0..3 {
            client.call(&ListGroupsRequest::default(), 3).await;
        }
        clients.push(client);
    }
    let connections: std::collections::BTreeSet<u64> =
        cluster.seen().of(16).iter().map(|r| r.connection).collect();
    assert_eq!((connections.len(), cluster.seen().of(16).len()), (10, 30));
    let open = cluster.connections();
    clients.truncate(4);
    assert!(cluster.until_connections(AT_MOST, |now| *now == open - 6).await, "ends are passed on");
}

#[tokio::test]
async fn large_frames_pass_unharmed_and_are_never_held() {
    let cluster = with_topic(Options { log_bytes_max: 1 << 30, ..Options::default() }).await;
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect_to(NodeId(0)).await;
    let large: String = (0..24 << 20).map(|n: u32| char::from(b'a' + (n % 23) as u8)).collect();
    let written = client.call(&produce(("t", Uuid::nil()), 0, batch(&[&large], NOBODY), 1, 9), 9).await;
    assert_eq!(written.responses[0].partition_responses[0].error_code, 0);
    for version in [4, 11, 12] {
        let sent = || gateway.metric("gatehouse_sent_bytes_total", &["client"]);
        let before = sent();
        let id = client.ask(&fetch(0, 0), version).await;
        // The answer is under way and its reader does not read.
        until("an answer", async || {
            sent() > before + 100_000.0 && gateway.metric("gatehouse_in_flight_requests", &[]) == 0.0
        })
        .await;
        let held = gateway.metric("gatehouse_buffered_bytes", &[]);
        assert!(held <= f64::from(1 << 20), "{held} bytes are held");
        let answer = client.answer::<FetchRequest>(version, id).await.expect("an answer");
        let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
        assert!(values(records) == [(0, large.clone())], "version {version}");
    }
}

/// A cluster that wants a login, and a gateway with one of its own.
async fn secured(mechanism: &str) -> (Cluster, Gateway) {
    let users = ["alice", "gatehouse"].map(|name| User { name: name.into(), password: "secret".into() });
    let cluster = with_topic(Options { users: users.to_vec(), ..Options::default() }).await;
    let discovery =
        format!("discovery: {{ sasl: {{ mechanism: {mechanism}, username: gatehouse, password: secret }} }}");
    let gateway = Gateway::with(&cluster, Wanted { cluster: &discovery, ..Wanted::default() }).await;
    (cluster, gateway)
}

/// The tokens of a login, each handed to `send`, which returns the broker's.
async fn log_in(mechanism: Mechanism, mut send: impl AsyncFnMut(Vec<u8>) -> Bytes) {
    let credential = Credential { mechanism, username: "alice".into(), password: "secret".into() };
    let (mut login, mut message) = Login::start(&credential).expect("a start");
    loop {
        let answer = send(message).await;
        match login.step(&answer).expect("a broker that knows the password") {
            Step::Done => return,
            Step::Send(next) => message = next,
        }
    }
}

const MECHANISMS: [(&str, Mechanism); 3] = [
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-512", Mechanism::ScramSha512),
];

#[tokio::test]
async fn logins_pass_through_raw_tokens_among_them() {
    for (name, mechanism) in MECHANISMS {
        let (cluster, gateway) = secured(name).await;
        let handshake = SaslHandshakeRequest::default().with_mechanism(text(name));
        // Version 1: tokens in SaslAuthenticate.
        let mut client = gateway.connect().await;
        assert_eq!(client.call(&handshake, 1).await.error_code, 0);
        log_in(mechanism, async |token| {
            let request = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
            client.call(&request, 2).await.auth_bytes
        })
        .await;
        assert_eq!(client.call(&MetadataRequest::default(), 12).await.brokers.len(), 3);
        // Trap 11, version 0: tokens without a header, the last one of PLAIN empty.
        let mut client = gateway.connect().await;
        assert_eq!(client.call(&handshake, 0).await.error_code, 0);
        log_in(mechanism, async |token| {
            client.send(&framed(&token)).await;
            client.read().await.expect("a token")
        })
        .await;
        assert_eq!(client.call(&MetadataRequest::default(), 12).await.brokers.len(), 3, "{name}");
        let raw = cluster.seen().of(-1).len();
        assert_eq!(raw, if name == "PLAIN" { 1 } else { 2 });
    }
}

#[tokio::test]
async fn trap_15_why_a_login_failed_is_told_before_the_close() {
    let (_cluster, gateway) = secured("PLAIN").await;
    let mut client = gateway.connect().await;
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    assert_eq!(client.call(&handshake, 1).await.error_code, 0);
    let wrong = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"\0alice\0wrong"));
    assert_eq!(client.call(&wrong, 2).await.error_code, 58);
    assert!(client.is_closed().await);
    let mut client = gateway.connect().await;
    let unknown = SaslHandshakeRequest::default().with_mechanism(text("GSSAPI"));
    let answer = client.call(&unknown, 1).await;
    assert_eq!((answer.error_code, answer.mechanisms.len()), (33, 3));
    assert!(client.is_closed().await);
    // Without a login there is nothing but the broker's close.
    assert!(gateway.connect().await.try_call(&MetadataRequest::default(), 12).await.is_none());
}

#[tokio::test]
async fn a_drain_finishes_what_must_finish_and_closes_between_frames() {
    let cluster = with_topic(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let (mut idle, mut writer, mut reader) =
        (gateway.connect().await, gateway.connect_to(NodeId(0)).await, gateway.connect_to(NodeId(0)).await);
    idle.call(&ListGroupsRequest::default(), 3).await;
    cluster.behave(Misbehaviour::always(Act::Delay(Duration::from_millis(700))).api(0).times(1));
    let written = writer.ask(&produce(("t", Uuid::nil()), 0, batch(&["x"], NOBODY), 1, 9), 9).await;
    reader.ask(&fetch(1, 60_000), 12).await;
    let both =
        |all: &[gatehouse::toy::seen::Request]| [0, 1].iter().all(|api| all.iter().any(|r| r.api == *api));
    assert!(cluster.seen().until(AT_MOST, both).await);
    let address = gateway.bootstrap();
    let stopping = tokio::spawn(gateway.app.stop());
    assert!(in_time("the end of the idle one", idle.is_closed()).await);
    assert!(in_time("the end of the long poll", reader.is_closed()).await, "a fetch is not waited for");
    let answer = writer.answer::<ProduceRequest>(9, written).await.expect("the answer that was due");
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    assert!(writer.is_closed().await);
    let stopped = in_time("the stop", stopping).await.expect("a stop without a fault");
    assert_eq!(stopped, Stopped::Drained);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the door is closed");
    assert!(cluster.until_connections(AT_MOST, |open| *open == 0).await, "own requests stop too");
}

#[tokio::test]
async fn a_broker_that_stops_ends_its_clients_and_no_others() {
    let cluster = with_topic(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let (mut first, mut second): (Client, Client) =
        (gateway.connect_to(NodeId(0)).await, gateway.connect_to(NodeId(1)).await);
    first.call(&ListGroupsRequest::default(), 3).await;
    second.call(&ListGroupsRequest::default(), 3).await;
    cluster.stop_broker(NodeId(0)).await;
    assert!(first.is_closed().await);
    second.call(&ListGroupsRequest::default(), 3).await;
    let mut late = gateway.connect_to(NodeId(0)).await;
    let answer = in_time("a prompt close", late.try_call(&ListGroupsRequest::default(), 3)).await;
    assert!(answer.is_none());
    cluster.start_broker(NodeId(0)).await.expect("the same port");
    until("the broker at its door again", async || {
        gateway.connect_to(NodeId(0)).await.try_call(&ListGroupsRequest::default(), 3).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_request_takes_its_broker_connection_along() {
    let cluster = with_topic(Options::default()).await;
    let gateway =
        Gateway::with(&cluster, Wanted { cluster: "metadata_refresh: 1h", ..Wanted::default() }).await;
    let before = cluster.connections();
    let request = frame(&produce(("t", Uuid::nil()), 0, batch(&["x"], NOBODY), 1, 9), 9, 1);
    for cut in [1, 4, 8, 30, request.len() - 1] {
        let mut client = gateway.connect_to(NodeId(0)).await;
        client.call(&ListGroupsRequest::default(), 3).await;
        client.send(&request[..cut]).await;
        drop(client);
        assert!(cluster.until_connections(AT_MOST, |open| *open == before).await, "cut at {cut}");
    }
    assert_eq!(cluster.end_offset("t", 0), Some(0), "half a request is none");
}

#[tokio::test]
async fn a_client_that_has_said_all_gets_what_it_could_not_ask_for_again() {
    let cluster = with_topic(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect_to(NodeId(0)).await;
    for _ in 0..3 {
        client.ask(&produce(("t", Uuid::nil()), 0, batch(&["x"], NOBODY), 1, 9), 9).await;
    }
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.expect("half a close");
    for id in 1..=3 {
        assert!(client.answer::<ProduceRequest>(9, id).await.is_some(), "answer {id}");
    }
    assert!(client.is_closed().await);
}
