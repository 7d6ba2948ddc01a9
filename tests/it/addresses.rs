//! Promise 1: every response that carries an address carries the gateway's, in every version. Every
//! client here also fails when any byte of an answer holds the brokers' host.

use gatehouse::kafka::NodeId;
use gatehouse::toy::{Cluster, Options};
use kafka_protocol::messages::describe_quorum_request as quorum;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::TopicProduceData;
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, DescribeClusterRequest, DescribeQuorumRequest, FetchRequest, FetchResponse,
    FindCoordinatorRequest, MetadataRequest, ProduceRequest, TopicName,
};
use uuid::Uuid;

use crate::client::{Client, frame, text};
use crate::gateway::{ADVERTISED, Gateway, Wanted, own_address, port, toy};
use crate::records::{batch, produce, values};

/// The three brokers as clients must be told them.
fn told() -> Vec<(i32, String, i32)> {
    (0..3).map(|node| (node, ADVERTISED.to_owned(), i32::from(port(NodeId(node))))).collect()
}

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// The id of a topic.
async fn id(client: &mut Client, topic: &str) -> Uuid {
    let asked = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let answer = client.call(&MetadataRequest::default().with_topics(Some(vec![asked])), 12).await;
    answer.topics[0].topic_id
}

#[tokio::test]
async fn metadata_names_the_gateway_in_every_version_at_every_door() {
    let cluster = toy(Options::default()).await;
    cluster.create_topic("t", 100, 3);
    let gateway = Gateway::before(&cluster).await;
    let doors =
        [gateway.connect().await, gateway.connect_to(NodeId(0)).await, gateway.connect_to(NodeId(2)).await];
    for mut client in doors {
        for version in 0..=13 {
            let topics = if version == 0 { Some(vec![]) } else { None };
            let answer = client.call(&MetadataRequest::default().with_topics(topics), version).await;
            let brokers = answer.brokers.iter().map(|b| (b.node_id.0, b.host.to_string(), b.port));
            assert_eq!(brokers.collect::<Vec<_>>(), told(), "version {version}");
            assert_eq!(answer.topics[0].partitions.len(), 100, "the topics follow untouched");
        }
    }
}

#[tokio::test]
async fn coordinators_and_cluster_descriptions_name_the_gateway_in_every_version() {
    let cluster = toy(Options::default()).await;
    cluster.move_coordinator("g", NodeId(1));
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect().await;
    let expected = (1, ADVERTISED.to_owned(), i32::from(port(NodeId(1))));
    for version in 0..=6 {
        let request = FindCoordinatorRequest::default();
        let found = if version >= 4 {
            let keys = vec![text("g"), text("")];
            let answer = client.call(&request.with_coordinator_keys(keys), version).await.coordinators;
            // Trap 6: no coordinator is node -1, which is not mapped and fails nothing.
            assert_eq!((answer[1].error_code, answer[1].node_id.0, answer[1].port), (24, -1, -1));
            (answer[0].node_id.0, answer[0].host.to_string(), answer[0].port)
        } else {
            let answer = client.call(&request.with_key(text("g")), version).await;
            (answer.node_id.0, answer.host.to_string(), answer.port)
        };
        assert_eq!(found, expected, "version {version}");
    }
    for version in 0..=2 {
        let answer = client.call(&DescribeClusterRequest::default(), version).await;
        let brokers = answer.brokers.iter().map(|b| (b.broker_id.0, b.host.to_string(), b.port));
        assert_eq!(brokers.collect::<Vec<_>>(), told(), "version {version}");
        let topic = quorum::TopicData::default()
            .with_topic_name(name("__cluster_metadata"))
            .with_partitions(vec![quorum::PartitionData::default()]);
        let answer = client.call(&DescribeQuorumRequest::default().with_topics(vec![topic]), version).await;
        assert_eq!(answer.topics[0].partitions[0].current_voters.len(), 3);
        assert!(answer.nodes.iter().all(|node| node.listeners.is_empty()), "listeners are emptied");
        assert_eq!(answer.nodes.len(), if version == 2 { 3 } else { 0 });
    }
}

#[tokio::test]
async fn api_versions_are_told_as_the_broker_tells_them_and_an_unknown_version_is_answered() {
    let cluster = toy(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let direct = cluster.addresses()[0].1;
    for version in 0..=4 {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text(if version >= 3 { "it" } else { "" }))
            .with_client_software_version(text(if version >= 3 { "1" } else { "" }));
        let through = gateway.connect().await.call(&request, version).await;
        let beside = Client::connect(direct).await.call(&request, version).await;
        assert_eq!(through, beside, "nothing here is newer than the gateway knows");
    }
    let mut client = gateway.connect().await;
    // Trap 2: the broker does not know version 5 and says so; its word passes. Trap 14: the gateway does
    // not know version 6 and says so itself.
    for (version, newest) in [(5_i16, 4), (6, 5)] {
        let payload = [
            &18_i16.to_be_bytes()[..],
            &version.to_be_bytes(),
            &[0, 0, 0, 9, 0xff, 0xff, 0, 1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0],
        ]
        .concat();
        client.send(&crate::client::framed(&payload)).await;
        let answer = client.read().await.expect("an answer");
        assert_eq!(answer[..], [0, 0, 0, 9, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, newest], "version {version}");
    }
}

/// A Produce of one batch for each of `partitions` partitions.
fn produce_all(topic: (&str, Uuid), partitions: i32, version: i16) -> ProduceRequest {
    let mut request = produce(topic, 0, batch(&["x"], (-1, -1, -1)), 1, version);
    let one = request.topic_data[0].partition_data[0].clone();
    let all = (0..partitions).map(|index| one.clone().with_index(index));
    let data: TopicProduceData = request.topic_data.remove(0).with_partition_data(all.collect());
    request.with_topic_data(vec![data])
}

/// A cluster with a topic of so many partitions that all moved from broker 0 to broker 1.
async fn moved(partitions: i32) -> Cluster {
    let cluster = toy(Options::default()).await;
    cluster.create_topic("t", partitions, 3);
    for partition in 0..partitions {
        cluster.move_leader("t", partition, NodeId(1));
    }
    cluster
}

#[tokio::test]
async fn produce_says_where_the_leader_is_now() {
    let cluster = moved(2).await;
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect_to(NodeId(0)).await;
    let topic = ("t", id(&mut client, "t").await);
    for version in 3..=13 {
        let answer = client.call(&produce_all(topic, 2, version), version).await;
        assert!(answer.responses[0].partition_responses.iter().all(|p| p.error_code == 6));
        let endpoints = answer.node_endpoints.iter().map(|e| (e.node_id.0, e.host.to_string(), e.port));
        let expected = if version >= 10 { told()[1..2].to_vec() } else { Vec::new() };
        assert_eq!(endpoints.collect::<Vec<_>>(), expected, "version {version}");
    }
    assert!(gateway.metric("gatehouse_node_endpoints_rewritten_total", &["Produce", "exact"]) >= 4.0);
    assert!(gateway.metric("gatehouse_node_endpoints_rewritten_total", &["padded"]) == 0.0);
}

#[tokio::test]
async fn a_large_produce_response_keeps_its_length_and_loses_its_addresses() {
    const PARTITIONS: i32 = 3_000;
    let cluster = moved(PARTITIONS).await;
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect_to(NodeId(0)).await;
    let topic = ("t", id(&mut client, "t").await);
    for version in [10, 12, 13] {
        let answer = client.call(&produce_all(topic, PARTITIONS, version), version).await;
        let partitions = &answer.responses[0].partition_responses;
        assert_eq!(partitions.len(), PARTITIONS as usize);
        assert!(partitions.iter().all(|p| p.error_code == 6 && p.current_leader.leader_id == BrokerId(1)));
        assert!(answer.node_endpoints.is_empty());
        assert!(!answer.unknown_tagged_fields.is_empty(), "padding stands where the addresses stood");
    }
    assert!(gateway.metric("gatehouse_node_endpoints_rewritten_total", &["Produce", "padded"]) >= 3.0);
    assert_eq!(client.call(&MetadataRequest::default(), 1).await.brokers.len(), 3, "the stream goes on");
}

fn fetch(topic: (&str, Uuid), partitions: i32, version: i16) -> FetchRequest {
    let partitions = (0..partitions).map(|partition| {
        FetchPartition::default().with_partition(partition).with_partition_max_bytes(1 << 20)
    });
    let wanted = FetchTopic::default().with_partitions(partitions.collect());
    let wanted = if version >= 13 { wanted.with_topic_id(topic.1) } else { wanted.with_topic(name(topic.0)) };
    FetchRequest::default().with_max_wait_ms(100).with_max_bytes(1 << 20).with_topics(vec![wanted])
}

fn endpoints(answer: &FetchResponse) -> Vec<(i32, String, i32)> {
    answer.node_endpoints.iter().map(|e| (e.node_id.0, e.host.to_string(), e.port)).collect()
}

#[tokio::test]
async fn fetch_says_where_the_leader_is_now() {
    let cluster = moved(2).await;
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect_to(NodeId(0)).await;
    let topic = ("t", id(&mut client, "t").await);
    for version in 4..=18 {
        let answer = client.call(&fetch(topic, 2, version), version).await;
        assert!(answer.responses[0].partitions.iter().all(|p| p.error_code == 6));
        let expected = if version >= 16 { told()[1..2].to_vec() } else { Vec::new() };
        assert_eq!(endpoints(&answer), expected, "version {version}");
    }
    assert!(gateway.metric("gatehouse_node_endpoints_rewritten_total", &["Fetch", "exact"]) >= 3.0);
}

#[tokio::test]
async fn a_large_fetch_response_keeps_its_records_and_loses_its_addresses() {
    let cluster = toy(Options::default()).await;
    cluster.create_topic("t", 2, 3);
    cluster.move_leader("t", 0, NodeId(0));
    cluster.move_leader("t", 1, NodeId(1));
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect_to(NodeId(0)).await;
    let topic = ("t", id(&mut client, "t").await);
    let large = "r".repeat(200_000);
    let written = client.call(&produce(topic, 0, batch(&[&large], (-1, -1, -1)), 1, 9), 9).await;
    assert_eq!(written.responses[0].partition_responses[0].error_code, 0);
    for version in [16, 17, 18] {
        let answer = client.call(&fetch(topic, 2, version), version).await;
        let partitions = &answer.responses[0].partitions;
        assert_eq!(values(partitions[0].records.clone().unwrap_or_default()), [(0, large.clone())]);
        assert_eq!((partitions[1].error_code, partitions[1].current_leader.leader_id), (6, BrokerId(1)));
        assert!(answer.node_endpoints.is_empty() && !answer.unknown_tagged_fields.is_empty());
    }
    assert!(gateway.metric("gatehouse_node_endpoints_rewritten_total", &["Fetch", "padded"]) >= 3.0);
}

#[tokio::test]
async fn a_node_without_a_port_is_left_out_and_everything_else_works() {
    let cluster = toy(Options::default()).await;
    cluster.create_topic("t", 3, 3);
    cluster.move_coordinator("far", NodeId(2));
    cluster.move_coordinator("near", NodeId(1));
    let gateway = Gateway::with(&cluster, Wanted { nodes: "0-1", ..Wanted::default() }).await;
    let mut client = gateway.connect().await;
    for version in 0..=13 {
        let answer = client
            .call(&MetadataRequest::default().with_topics((version == 0).then(Vec::new)), version)
            .await;
        assert_eq!(answer.brokers.iter().map(|b| b.node_id.0).collect::<Vec<_>>(), [0, 1]);
        let leaders: Vec<i32> = answer.topics[0].partitions.iter().map(|p| p.leader_id.0).collect();
        assert_eq!(leaders, [0, 1, 2], "leaders stay as they are");
    }
    for version in 0..=2 {
        let answer = client.call(&DescribeClusterRequest::default(), version).await;
        assert_eq!(answer.brokers.len(), 2);
    }
    for version in 0..=6 {
        let request = FindCoordinatorRequest::default();
        let found = if version >= 4 {
            let keys = vec![text("far"), text("near")];
            let answer = client.call(&request.with_coordinator_keys(keys), version).await.coordinators;
            assert_eq!((answer[1].error_code, answer[1].node_id.0), (0, 1));
            (answer[0].error_code, answer[0].node_id.0, answer[0].host.to_string(), answer[0].port)
        } else {
            let answer = client.call(&request.with_key(text("far")), version).await;
            (answer.error_code, answer.node_id.0, answer.host.to_string(), answer.port)
        };
        assert_eq!(found, (15, -1, String::new(), -1), "version {version}");
    }
    // A leader that has no port is not named in NodeEndpoints either.
    cluster.move_leader("t", 0, NodeId(2));
    let topic = ("t", id(&mut client, "t").await);
    let mut first = gateway.connect_to(NodeId(0)).await;
    let answer = first.call(&produce(topic, 0, batch(&["x"], (-1, -1, -1)), 1, 11), 11).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 6);
    assert!(answer.node_endpoints.is_empty());
    assert!(endpoints(&first.call(&fetch(topic, 1, 17), 17).await).is_empty());
    assert!(gateway.metric("gatehouse_brokers_unroutable", &[]) >= 1.0);
}

/// The request of one API in one version, as bytes.
fn request_of(key: i16, version: i16, topic: (&str, Uuid)) -> bytes::Bytes {
    match key {
        0 => frame(&produce_all(topic, 2, version), version, 1),
        1 => frame(&fetch(topic, 2, version), version, 1),
        3 => {
            let topics = if version == 0 { Some(vec![]) } else { None };
            frame(&MetadataRequest::default().with_topics(topics), version, 1)
        }
        10 if version >= 4 => {
            let keys = vec![text("g"), text("")];
            frame(&FindCoordinatorRequest::default().with_coordinator_keys(keys), version, 1)
        }
        10 => frame(&FindCoordinatorRequest::default().with_key(text("g")), version, 1),
        _ => frame(&DescribeClusterRequest::default(), version, 1),
    }
}

#[tokio::test]
async fn what_names_the_gateway_already_passes_byte_for_byte() {
    let cluster = moved(2).await;
    let ip = own_address();
    let nodes: Vec<String> = cluster.addresses().iter().map(|(node, at)| format!("{node}: {at}")).collect();
    let fixed = format!("nodes: {{ {} }}", nodes.join(", "));
    let wanted = Wanted { cluster: &fixed, advertise: Some(ip), ip: Some(ip), ..Wanted::default() };
    let gateway = Gateway::with(&cluster, wanted).await;
    for node in (0..3).map(NodeId) {
        cluster.advertise(node, &ip.to_string(), port(node).into());
    }
    let mut beside = Client::connect(cluster.addresses()[0].1).await;
    let mut through = Client::connect(gateway.node(NodeId(0))).await;
    let topic = ("t", id(&mut beside, "t").await);
    let mut compared = 0;
    for (key, versions) in [(0, 3..=13), (1, 4..=18), (3, 0..=13), (10, 0..=6), (60, 0..=2)] {
        for version in versions {
            let request = request_of(key, version, topic);
            beside.send(&request).await;
            through.send(&request).await;
            let (expected, got) = (beside.read().await, through.read().await);
            assert!(expected.is_some() && got == expected, "API {key} version {version}");
            compared += 1;
        }
    }
    assert_eq!(compared, 11 + 15 + 14 + 7 + 3);
}
