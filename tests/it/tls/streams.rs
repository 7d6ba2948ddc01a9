//! What comes over an encrypted connection after its handshake: pieces of every size, new keys, damage, and
//! every way to end.

use std::time::Duration;

use bytes::Bytes;
use gatehouse::kafka::NodeId;
use gatehouse::toy::misbehaviour::{Act, Misbehaviour};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, ListGroupsRequest, TopicName};
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::house::House;
use super::peer::{self, Outcome, TlsClient, VERSIONS};
use crate::client::{frame, text};
use crate::gateway::ADVERTISED;
use crate::poll::{in_time, until};
use crate::records::{batch, produce, values};

async fn with_topic() -> House {
    let house = House::anonymous().await;
    assert!(house.cluster.create_topic("t", 1, 1));
    assert_eq!(house.cluster.leader("t", 0), Some(NodeId(0)));
    house
}

fn fetch_everything() -> FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(i32::MAX);
    let topic = FetchTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![partition]);
    FetchRequest::default().with_min_bytes(1).with_max_bytes(i32::MAX).with_topics(vec![topic])
}

#[tokio::test]
async fn records_of_every_size_come_through_unharmed_both_ways() {
    // 2 MiB that are nowhere like themselves.
    let mut number = 1_u64;
    let mut next = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (number >> 33) as u8 % 64)
    };
    let value: String = (0..2 << 20).map(|_| next()).collect();
    for version in VERSIONS {
        for fragment in [64, 1_000, 16_384] {
            let house = with_topic().await;
            let mut config = (*house.config(None, version)).clone();
            config.max_fragment_size = Some(fragment);
            let node = house.gateway.node(NodeId(0));
            let mut client = peer::connect(node, ADVERTISED, &config.into()).await.expect("a handshake");
            let records: Bytes = batch(&[&value, "last"], (-1, -1, -1));
            let answer = client.call(&produce(("t", uuid::Uuid::nil()), 0, records, 1, 9), 9).await;
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
            let answer = client.call(&fetch_everything(), 11).await;
            let back = answer.responses[0].partitions[0].records.clone().expect("records");
            let back = values(back);
            assert_eq!((back.len(), back[1].1.as_str()), (2, "last"));
            assert!(back[0].1 == value, "{version:?}, records of {fragment}");
        }
    }
}

#[tokio::test]
async fn keys_are_renewed_while_requests_are_under_way() {
    let house = House::anonymous().await;
    let mut client = house.connect(&house.config(None, &rustls::version::TLS13)).await;
    for _ in 0..200 {
        let asked = client.ask(&ListGroupsRequest::default(), 3).await;
        client.stream.get_mut().1.refresh_traffic_keys().expect("TLS 1.3");
        assert!(client.answer::<ListGroupsRequest>(3, asked).await.is_some());
    }
}

#[tokio::test]
async fn keys_that_are_renewed_for_nothing_end_the_connection() {
    let house = House::anonymous().await;
    let mut client = house.connect(&house.config(None, &rustls::version::TLS13)).await;
    client.call(&ListGroupsRequest::default(), 3).await;
    for _ in 0..1_000 {
        client.stream.get_mut().1.refresh_traffic_keys().expect("TLS 1.3");
        if client.stream.flush().await.is_err() {
            break;
        }
    }
    let end = in_time("the end", client.stream.read(&mut [0; 16])).await;
    assert!(end.is_err(), "no end in order: {end:?}");
    until("a counted end", async || house.gateway.ended("failed") == 1.0).await;
}

/// Writes bytes past the encryption.
async fn damage(client: &mut TlsClient, bytes: &[u8]) {
    client.stream.get_mut().0.write_all(bytes).await.expect("written");
}

#[tokio::test]
async fn a_record_that_is_damaged_ends_the_connection_and_says_so() {
    let house = House::anonymous().await;
    let forged = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
    let long = [&[23, 3, 3, 0xff, 0xff][..], &[7; 64]].concat();
    let plain = frame(&ListGroupsRequest::default(), 3, 1).to_vec();
    for version in VERSIONS {
        for bytes in [&forged, &long, &plain] {
            let failed = house.gateway.ended("failed");
            let mut client = house.connect(&house.config(None, version)).await;
            client.call(&ListGroupsRequest::default(), 3).await;
            damage(&mut client, bytes).await;
            let end = in_time("the end", client.stream.read(&mut [0; 16])).await;
            let fault = end.expect_err("no end in order");
            let fault = fault.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            assert!(matches!(fault, Some(rustls::Error::AlertReceived(_))), "{version:?}: {fault:?}");
            println!("{version:?} {:?}: {fault:?}", &bytes[..5]);
            drop(client);
            until("a counted end", async || house.gateway.ended("failed") == failed + 1.0).await;
        }
    }
    let open = async || house.cluster.connections() <= 1;
    until("the brokers hear of the ends too", open).await;
}

#[tokio::test]
async fn a_damaged_first_request_ends_the_connection_undialled() {
    let house = House::anonymous().await;
    let dialled = house.cluster.connections_ever();
    for version in VERSIONS {
        let mut client = house.connect(&house.config(None, version)).await;
        damage(&mut client, &[&[23, 3, 3, 0, 40][..], &[7; 40]].concat()).await;
        let outcome = peer::asked(&mut client).await;
        assert!(matches!(outcome, Outcome::Alert(AlertDescription::BadRecordMac)), "{outcome:?}");
    }
    until("counted", async || {
        let parts = ["stage=\"first_request\"", "reason=\"failed\""];
        house.gateway.metric("gatehouse_connections_closed_total", &parts) == 2.0
    })
    .await;
    assert_eq!(house.cluster.connections_ever(), dialled);
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    for version in VERSIONS {
        let house = with_topic().await;
        let node = house.gateway.node(NodeId(0));
        let mut client =
            peer::connect(node, ADVERTISED, &house.config(None, version)).await.expect("a handshake");
        client.call(&ListGroupsRequest::default(), 3).await;
        house.cluster.behave(Misbehaviour::always(Act::Delay(Duration::from_millis(200))).api(0).times(1));
        let request = produce(("t", uuid::Uuid::nil()), 0, batch(&["x"], (-1, -1, -1)), 1, 9);
        let asked = client.ask(&request, 9).await;
        // close_notify and the end of the stream, with an answer to come.
        client.stream.shutdown().await.expect("a half close");
        let answer = client.answer::<kafka_protocol::messages::ProduceRequest>(9, asked).await;
        assert!(answer.is_some(), "{version:?}");
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn a_client_that_goes_without_a_word_is_gone_and_no_fault() {
    for version in VERSIONS {
        let house = House::anonymous().await;
        let mut client = house.connect(&house.config(None, version)).await;
        client.call(&ListGroupsRequest::default(), 3).await;
        // No close_notify: frames have lengths of their own.
        client.stream.get_mut().0.shutdown().await.expect("a FIN");
        house.gateway.until_ended("closed").await;
        until("the broker hears of it", async || house.cluster.connections() <= 1).await;
    }
}

#[tokio::test]
async fn answers_that_wait_for_a_reader_are_all_there_when_it_comes() {
    let house = with_topic().await;
    for version in VERSIONS {
        let mut client = house.connect(&house.config(None, version)).await;
        let mut asked = Vec::new();
        for _ in 0..100 {
            asked.push(client.ask(&ListGroupsRequest::default(), 3).await);
        }
        for id in asked {
            assert!(client.answer::<ListGroupsRequest>(3, id).await.is_some());
        }
    }
}
