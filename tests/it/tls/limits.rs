//! What many clients, slow clients and silent clients may do on a TLS listener, and how all of them end.

use std::time::{Duration, Instant};

use gatehouse::app::Stopped;
use gatehouse::kafka::NodeId;
use gatehouse::toy::misbehaviour::{Act, Misbehaviour};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, ListGroupsRequest, TopicName};
use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::house::{House, Material, Plan};
use super::peer::{self, Outcome, VERSIONS};
use crate::client::{AT_MOST, text};
use crate::gateway::ADVERTISED;
use crate::poll::{in_time, until};
use crate::records::{batch, produce};

async fn with_limits(limits: &str, rest: &str) -> House {
    let material = Material::new();
    let door = material.anonymous("");
    let limits = format!("limits: {{ {limits} }}");
    House::build(material, Plan { door: &[&door, &limits], rest, ..Plan::default() }).await
}

fn hello(house: &House) -> Vec<u8> {
    let config = house.config(None, &rustls::version::TLS13);
    let mut tls = ClientConnection::new(config, ADVERTISED.try_into().expect("a name")).expect("a client");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("a hello");
    hello
}

#[tokio::test]
async fn handshakes_that_stand_still_keep_nobody_out() {
    // Two at once, and each may take longer than the test does: only a slot given back lets the next one in.
    let house = with_limits("handshake_timeout: 2m", "limits: { max_handshakes: 2 }").await;
    let hello = hello(&house);
    let mut stalled = Vec::new();
    for (sent, count) in [(0, 100), (hello.len() / 2, 100), (hello.len(), 100)] {
        for _ in 0..count {
            let mut socket = TcpStream::connect(house.address()).await.expect("a connection");
            socket.write_all(&hello[..sent]).await.expect("written");
            stalled.push(socket);
        }
    }
    until("all of them", async || house.gateway.app.connections() == 300).await;
    for version in VERSIONS {
        let began = Instant::now();
        let outcome = house.outcome(&house.config(None, version)).await;
        assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        println!("{version:?}: answered after {:?} beside 300 that stand still", began.elapsed());
    }
    assert!(house.gateway.app.connections() >= 300, "they still stand");
}

#[tokio::test]
async fn more_handshakes_than_the_pace_allows_wait_for_their_turn_or_are_turned_away() {
    let house = with_limits("handshakes_per_second: 5, handshake_timeout: 1s", "").await;
    let config = house.config(None, &rustls::version::TLS12);
    let began = Instant::now();
    let clients = (0..40).map(|_| {
        let (address, config) = (house.address(), config.clone());
        tokio::spawn(async move { peer::outcome(address, ADVERTISED, &config).await })
    });
    let mut answered = 0_u32;
    for client in clients.collect::<Vec<_>>() {
        match client.await.expect("a client") {
            Outcome::Answered(_) => answered += 1,
            outcome => assert!(matches!(outcome, Outcome::Closed | Outcome::Alert(_)), "{outcome:?}"),
        }
    }
    println!("{answered} of 40 were answered");
    // A second's worth at once, and what fits into the time until the last one was turned away.
    let most = 5 * (began.elapsed().as_secs() + 2);
    assert!((1..=most).contains(&answered.into()), "{answered} of at most {most}");
    until("all counted", async || {
        house.failed("overloaded") + house.failed("timeout") == f64::from(40 - answered)
    })
    .await;
    assert!(house.failed("overloaded") > 0.0, "told at once: {}", house.gateway.endings());
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_after_its_handshake_is_closed_in_order_and_undialled() {
    let house = with_limits("first_request_timeout: 200ms", "").await;
    let dialled = house.cluster.connections_ever();
    for version in VERSIONS {
        let mut client = house.connect(&house.config(None, version)).await;
        // Without close_notify rustls calls the end unexpected.
        let end = in_time("the end", client.stream.read(&mut [0; 16])).await;
        assert_eq!(end.expect("close_notify"), 0);
    }
    until("both counted", async || house.gateway.ended("timeout") == 2.0).await;
    assert_eq!(house.failed("timeout"), 0.0, "the handshakes were good");
    assert_eq!(house.cluster.connections_ever(), dialled);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_order() {
    let house = with_limits("idle_timeout: 300ms", "").await;
    for version in VERSIONS {
        let mut client = house.connect(&house.config(None, version)).await;
        client.call(&ListGroupsRequest::default(), 3).await;
        let end = in_time("the end", client.stream.read(&mut [0; 16])).await;
        assert_eq!(end.expect("close_notify"), 0);
    }
    until("both counted", async || house.gateway.ended("idle") == 2.0).await;
}

#[tokio::test]
async fn connections_that_grow_old_leave_in_order_and_not_all_at_once() {
    let material = Material::new();
    let door = material.anonymous("");
    let tune = |config: &mut gatehouse::config::Config| {
        config.listeners[0].relay.max_age = Some(Duration::from_secs(2));
    };
    let house = House::build(material, Plan { door: &[&door], tune, ..Plan::default() }).await;
    let mut clients = Vec::new();
    for number in 0..24 {
        let config = house.config(None, VERSIONS[number % 2]);
        clients.push(tokio::spawn({
            let address = house.address();
            async move {
                let mut client = peer::connect(address, ADVERTISED, &config).await.expect("a handshake");
                let began = Instant::now();
                let mut answers = 0;
                // Busy to the last, and never cut within an answer: the client would panic.
                while client.try_call(&ListGroupsRequest::default(), 3).await.is_some() {
                    answers += 1;
                }
                (answers, began.elapsed())
            }
        }));
    }
    let mut lives = Vec::new();
    for client in clients {
        let (answers, life) = client.await.expect("a client");
        assert!(answers > 0);
        lives.push(life);
    }
    lives.sort();
    let (first, last) = (lives[0], lives[lives.len() - 1]);
    println!("24 lives of 2 s, from {first:?} to {last:?}");
    assert!(first >= Duration::from_millis(1_700), "{first:?}");
    assert!(last - first >= Duration::from_millis(40), "all at once");
    until("all counted", async || house.gateway.ended("aged") == 24.0).await;
}

fn fetch_everything() -> FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(i32::MAX);
    let topic = FetchTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![partition]);
    FetchRequest::default().with_min_bytes(1).with_max_bytes(i32::MAX).with_topics(vec![topic])
}

#[tokio::test]
async fn what_a_slow_reader_does_not_take_is_counted_bounded_and_given_back() {
    const CLIENTS: usize = 4;
    let house = House::anonymous().await;
    assert!(house.cluster.create_topic("t", 1, 1));
    let address = house.gateway.node(house.cluster.leader("t", 0).unwrap_or(NodeId(0)));
    let value = "x".repeat(1 << 20);
    let records = batch(&[&value], (-1, -1, -1));
    let mut writer =
        peer::connect(address, ADVERTISED, &house.config(None, VERSIONS[1])).await.expect("a handshake");
    for _ in 0..16 {
        writer.call(&produce(("t", uuid::Uuid::nil()), 0, records.clone(), 1, 9), 9).await;
    }
    let held = || house.gateway.metric("gatehouse_buffered_bytes", &[]);
    let mut readers = Vec::new();
    for number in 0..CLIENTS {
        let config = house.config(None, VERSIONS[number % 2]);
        let mut client = peer::connect(address, ADVERTISED, &config).await.expect("a handshake");
        let asked = client.ask(&fetch_everything(), 11).await;
        readers.push((client, asked));
    }
    // Nobody reads: kernel buffers fill up, then the gateway holds what it has and reads no more.
    until("held bytes", async || held() > 0.0).await;
    let mut most: f64 = 0.0;
    let mut same = 0;
    until("no more is held", async || {
        let now = held();
        same = if now == most { same + 1 } else { 0 };
        most = most.max(now);
        same > 20
    })
    .await;
    println!("{most} bytes are held for {CLIENTS} readers that do not read");
    assert!(most <= (CLIENTS * (600 << 10)) as f64, "{most}");
    for (client, asked) in &mut readers {
        let asked = *asked;
        let answer = client.answer::<FetchRequest>(11, asked).await.expect("an answer");
        let records = answer.responses[0].partitions[0].records.as_ref().expect("records");
        assert!(records.len() > 16 << 20, "all of it, unharmed: {}", records.len());
    }
    until("all given back while they are connected", async || held() == 0.0).await;
    assert!(house.gateway.app.connections() >= CLIENTS);
}

#[tokio::test]
async fn a_drain_answers_what_is_owed_and_ends_with_close_notify() {
    for version in VERSIONS {
        let house = House::anonymous().await;
        let config = house.config(None, version);
        let mut idle = house.connect(&config).await;
        idle.call(&ListGroupsRequest::default(), 3).await;
        let mut busy = house.connect(&config).await;
        let mut silent = house.connect(&config).await;
        let mut stalled = TcpStream::connect(house.address()).await.expect("a connection");
        stalled.write_all(&hello(&house)[..50]).await.expect("written");
        until("four connections", async || house.gateway.app.connections() == 4).await;
        house.cluster.behave(Misbehaviour::always(Act::Delay(Duration::from_millis(300))).api(16).times(1));
        house.cluster.seen().forget();
        let asked = busy.ask(&ListGroupsRequest::default(), 3).await;
        assert!(house.cluster.seen().until(AT_MOST, |all| all.iter().any(|r| r.api == 16)).await);
        let stop = tokio::spawn(house.gateway.app.stop());
        assert!(busy.answer::<ListGroupsRequest>(3, asked).await.is_some(), "what was owed");
        for client in [&mut idle, &mut busy, &mut silent] {
            let end = in_time("the end", client.stream.read(&mut [0; 16])).await;
            assert_eq!(end.expect("close_notify"), 0);
        }
        drop((idle, busy, silent));
        let end = in_time("the end", stalled.read(&mut [0; 16])).await;
        assert!(matches!(end, Ok(0) | Err(_)), "a handshake is not waited for: {end:?}");
        assert_eq!(in_time("the stop", stop).await.expect("a stop"), Stopped::Drained);
    }
}
