//! Who may come in, how many, and how long they may stay silent.

use gatehouse::kafka::NodeId;
use gatehouse::toy::Options;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, ListGroupsRequest, TopicName};

use crate::client::text;
use crate::gateway::{Gateway, Wanted, toy};
use crate::poll::until;

fn rejected(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric("gatehouse_connections_rejected_total", &[&format!("reason=\"{reason}\"")])
}

#[tokio::test]
async fn one_too_many_is_turned_away_until_another_leaves() {
    for (limit, reason) in [("max_connections: 2", "limit"), ("max_connections_per_ip: 2", "per_ip")] {
        let cluster = toy(Options::default()).await;
        let listener = format!("limits: {{ {limit} }}");
        let gateway = Gateway::with(&cluster, Wanted { listener: &listener, ..Wanted::default() }).await;
        let (mut first, mut second) = (gateway.connect().await, gateway.connect_to(NodeId(1)).await);
        first.call(&ListGroupsRequest::default(), 3).await;
        second.call(&ListGroupsRequest::default(), 3).await;
        let mut third = gateway.connect().await;
        assert!(third.is_closed().await, "{limit}");
        assert_eq!(rejected(&gateway, reason), 1.0);
        drop((first, third));
        until("room for another", async || {
            gateway.connect().await.try_call(&ListGroupsRequest::default(), 3).await.is_some()
        })
        .await;
        assert_eq!(second.call(&ListGroupsRequest::default(), 3).await.error_code, 0, "nobody else suffers");
    }
}

#[tokio::test]
async fn a_network_that_is_denied_hears_nothing() {
    let cluster = toy(Options::default()).await;
    let listener = "networks: { deny: [ 127.0.0.0/8 ] }";
    let gateway = Gateway::with(&cluster, Wanted { listener, ..Wanted::default() }).await;
    cluster.seen().forget();
    let mut client = gateway.connect().await;
    assert!(client.is_closed().await);
    assert!(cluster.seen().of(16).is_empty());
    let listener = "networks: { allow: [ 127.0.0.0/8 ] }";
    let gateway = Gateway::with(&cluster, Wanted { listener, ..Wanted::default() }).await;
    gateway.connect().await.call(&ListGroupsRequest::default(), 3).await;
}

#[tokio::test]
async fn who_is_idle_is_closed_and_who_waits_for_records_is_not() {
    let cluster = toy(Options::default()).await;
    assert!(cluster.create_topic("t", 1, 1));
    let listener = "limits: { idle_timeout: 1s }";
    let gateway = Gateway::with(&cluster, Wanted { listener, ..Wanted::default() }).await;
    let (mut idle, mut waiting) = (gateway.connect().await, gateway.connect_to(NodeId(0)).await);
    let partition = FetchPartition::default().with_partition_max_bytes(1_000);
    let topic = FetchTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_wait_ms(2_500).with_min_bytes(1).with_topics(vec![topic]);
    let asked = waiting.ask(&request, 12).await;
    idle.call(&ListGroupsRequest::default(), 3).await;
    assert!(idle.is_closed().await);
    gateway.until_ended("idle").await;
    assert!(waiting.answer::<FetchRequest>(12, asked).await.is_some(), "a pending answer is not idle");
    assert!(waiting.is_closed().await, "now it is");
}
