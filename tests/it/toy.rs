//! The toy cluster by itself: a test double must be tested too.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gatehouse::kafka::NodeId;
use gatehouse::toy::misbehaviour::{Act, Misbehaviour};
use gatehouse::toy::world::Endpoint;
use gatehouse::toy::{Cluster, Options, User};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_quorum_request as quorum;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use uuid::Uuid;

use crate::client::{AT_MOST, Client, text};
use crate::records::{batch, produce, values};

async fn cluster() -> Cluster {
    Cluster::start(Options::default()).await.expect("a cluster on loopback")
}

async fn to(cluster: &Cluster, node: NodeId) -> Client {
    let found = cluster.addresses().into_iter().find(|(id, _)| *id == node).expect("a running broker");
    Client::connect(found.1).await
}

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A topic of one partition: its id and its leader.
async fn topic(cluster: &Cluster, topic: &str) -> (Uuid, NodeId) {
    assert!(cluster.create_topic(topic, 1, 3));
    let asked = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    let answer = to(cluster, NodeId(0)).await.call(&request, 12).await;
    (answer.topics[0].topic_id, NodeId(answer.topics[0].partitions[0].leader_id.0))
}

fn fetch(topic: (&str, Uuid), offset: i64, wait: i32, version: i16) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topics = if version >= 13 {
        FetchTopic::default().with_topic_id(topic.1)
    } else {
        FetchTopic::default().with_topic(name(topic.0))
    };
    FetchRequest::default()
        .with_max_wait_ms(wait)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topics.with_partitions(vec![partition])])
}

#[tokio::test]
async fn records_come_back_in_every_version() {
    let cluster = cluster().await;
    let (id, leader) = topic(&cluster, "t").await;
    let mut client = to(&cluster, leader).await;
    for version in 3..=13 {
        let request = produce(("t", id), 0, batch(&[&format!("v{version}")], (-1, -1, -1)), -1, version);
        let answer = client.call(&request, version).await;
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, i64::from(version) - 3));
    }
    for version in 4..=18 {
        let answer = client.call(&fetch(("t", id), 2, 0, version), version).await;
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (0, 11), "version {version}");
        let read = values(partition.records.clone().unwrap_or_default());
        assert_eq!(read.first(), Some(&(2, "v5".to_owned())));
        assert_eq!(read.len(), 9);
    }
}

#[tokio::test]
async fn a_fetch_waits_for_records() {
    let cluster = cluster().await;
    let (id, leader) = topic(&cluster, "t").await;
    let (mut reader, mut writer) = (to(&cluster, leader).await, to(&cluster, leader).await);
    let asked = reader.ask(&fetch(("t", id), 0, 60_000, 12), 12).await;
    assert!(cluster.seen().until(AT_MOST, |all| all.iter().any(|r| r.api == 1)).await);
    // Produce with acks=0 has no answer: what comes next answers what comes next.
    writer.ask(&produce(("t", id), 0, batch(&["x"], (-1, -1, -1)), 0, 9), 9).await;
    assert_eq!(writer.call(&ListGroupsRequest::default(), 3).await.error_code, 0);
    let answer = reader.answer::<FetchRequest>(12, asked).await.expect("an answer");
    let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
    assert_eq!(values(records), [(0, "x".to_owned())]);
}

#[tokio::test]
async fn the_wrong_broker_says_who_leads() {
    let cluster = cluster().await;
    let (id, leader) = topic(&cluster, "t").await;
    let other = NodeId((leader.0 + 1) % 3);
    cluster.move_leader("t", 0, other);
    let mut client = to(&cluster, leader).await;
    let answer = client.call(&produce(("t", id), 0, batch(&["x"], (-1, -1, -1)), 1, 10), 10).await;
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!((partition.error_code, partition.current_leader.leader_id.0), (6, other.0));
    assert_eq!(answer.node_endpoints[0].node_id.0, other.0);
    let answer = client.call(&fetch(("t", id), 0, 0, 16), 16).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, 6);
    let port = cluster.addresses().iter().find(|(node, _)| *node == other).map(|(_, a)| a.port());
    assert_eq!(Some(answer.node_endpoints[0].port as u16), port);
    let old = client.call(&fetch(("t", id), 0, 0, 15), 15).await;
    assert!(old.node_endpoints.is_empty());
    // An error of acks=0 can only be told by closing.
    let request = produce(("t", id), 0, batch(&["x"], (-1, -1, -1)), 0, 10);
    client.ask(&request, 10).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_idempotent_producer_that_sends_twice_writes_once() {
    let cluster = cluster().await;
    let (id, leader) = topic(&cluster, "t").await;
    let mut client = to(&cluster, leader).await;
    let given = client.call(&InitProducerIdRequest::default().with_transactional_id(None), 4).await;
    let records = batch(&["a", "b"], (given.producer_id.0, given.producer_epoch, 0));
    for _ in 0..3 {
        let answer = client.call(&produce(("t", id), 0, records.clone(), -1, 11), 11).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, 0);
    }
    assert_eq!(cluster.end_offset("t", 0), Some(2));
    let gap = batch(&["z"], (given.producer_id.0, given.producer_epoch, 9));
    let answer = client.call(&produce(("t", id), 0, gap, -1, 11), 11).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 45);
    let transactional =
        InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("tx"))));
    assert_eq!(client.call(&transactional, 4).await.error_code, 35);
}

#[tokio::test]
async fn metadata_and_coordinators_are_told_in_every_version() {
    let cluster = cluster().await;
    topic(&cluster, "t").await;
    let mut client = to(&cluster, NodeId(1)).await;
    for version in 0..=13 {
        let request = MetadataRequest::default().with_topics(if version > 0 { None } else { Some(vec![]) });
        let answer = client.call(&request, version).await;
        assert_eq!((answer.brokers.len(), answer.topics.len()), (3, 1), "version {version}");
        let none = MetadataRequest::default().with_topics(Some(vec![]));
        assert_eq!(client.call(&none, version).await.topics.len(), usize::from(version == 0));
    }
    let expected = cluster.coordinator("g").expect("a coordinator");
    for version in 0..=6 {
        let request = FindCoordinatorRequest::default();
        let node = if version >= 4 {
            let answer = client.call(&request.with_coordinator_keys(vec![text("g")]), version).await;
            answer.coordinators[0].node_id
        } else {
            client.call(&request.with_key(text("g")), version).await.node_id
        };
        assert_eq!(node.0, expected.0);
    }
    let request = FindCoordinatorRequest::default().with_key(text("tx")).with_key_type(1);
    let answer = client.call(&request, 2).await;
    assert_eq!((answer.error_code, answer.node_id.0, answer.host.as_str(), answer.port), (35, -1, "", -1));
}

#[tokio::test]
async fn what_describes_the_cluster_decodes_in_every_version() {
    let cluster = cluster().await;
    topic(&cluster, "t").await;
    let mut client = to(&cluster, NodeId(0)).await;
    for version in 0..=4 {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text(if version >= 3 { "it" } else { "" }))
            .with_client_software_version(text(if version >= 3 { "1.0" } else { "" }));
        let answer = client.call(&request, version).await;
        assert_eq!(answer.error_code, 0);
        assert_eq!(answer.api_keys.iter().find(|a| a.api_key == 0).map(|a| a.min_version), Some(0));
        assert!(answer.api_keys.iter().all(|a| a.api_key != 26), "no transactions");
    }
    for version in 0..=2 {
        assert_eq!(client.call(&DescribeClusterRequest::default(), version).await.brokers.len(), 3);
        let partition = quorum::PartitionData::default();
        let topic = quorum::TopicData::default()
            .with_topic_name(name("__cluster_metadata"))
            .with_partitions(vec![partition]);
        let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
        let answer = client.call(&request, version).await;
        assert_eq!(answer.nodes.len(), if version == 2 { 3 } else { 0 });
    }
    for version in 1..=4 {
        let resource = |kind, name| {
            describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(None)
        };
        let request =
            DescribeConfigsRequest::default().with_resources(vec![resource(2, "t"), resource(4, "0")]);
        let answer = client.call(&request, version).await;
        assert!(answer.results.iter().all(|r| r.error_code == 0 && !r.configs.is_empty()));
    }
    let answer = client.call(&DescribeTopicPartitionsRequest::default(), 0).await;
    assert_eq!(answer.topics[0].partitions.len(), 1);
    for version in 1..=10 {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let asked = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let answer = client.call(&ListOffsetsRequest::default().with_topics(vec![asked]), version).await;
        assert_eq!(
            (answer.topics[0].partitions[0].error_code, answer.topics[0].partitions[0].offset),
            (0, 0)
        );
    }
}

#[tokio::test]
async fn topics_are_made_grown_and_deleted() {
    let cluster = cluster().await;
    let mut client = to(&cluster, NodeId(2)).await;
    for version in 2..=7 {
        let topic = format!("t{version}");
        let wanted = CreatableTopic::default()
            .with_name(name(&topic))
            .with_num_partitions(2)
            .with_replication_factor(3);
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]);
        assert_eq!(client.call(&request, version).await.topics[0].error_code, 0);
        assert_eq!(client.call(&request, version).await.topics[0].error_code, 36, "twice");
    }
    for version in 0..=3 {
        let more = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(name("t2"))
            .with_count(3 + i32::from(version))
            .with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![more]);
        assert_eq!(client.call(&request, version).await.results[0].error_code, 0);
    }
    assert_eq!(cluster.end_offset("t2", 5), Some(0));
    for version in 1..=6 {
        let gone = name(&format!("t{}", version + 1));
        let request = if version == 6 {
            let state = delete_topics_request::DeleteTopicState::default().with_name(Some(gone));
            DeleteTopicsRequest::default().with_topics(vec![state])
        } else {
            DeleteTopicsRequest::default().with_topic_names(vec![gone])
        };
        assert_eq!(client.call(&request, version).await.responses[0].error_code, 0);
    }
    let all = client.call(&MetadataRequest::default().with_topics(None), 12).await;
    assert!(all.topics.is_empty());
    let asked = MetadataRequestTopic::default().with_name(Some(name("made")));
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    let no = request.clone().with_allow_auto_topic_creation(false);
    assert_eq!(client.call(&no, 9).await.topics[0].error_code, 3);
    assert_eq!(client.call(&request, 9).await.topics[0].partitions.len(), 3);
}

fn join(group: &str, member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"subscription"));
    JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text("consumer"))
        .with_member_id(text(member))
        .with_protocols(vec![protocol])
}

fn sync(generation: i32, member: &str, assignments: &[(&str, &'static str)]) -> SyncGroupRequest {
    let assignments = assignments.iter().map(|(member, what)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(member))
            .with_assignment(Bytes::from_static(what.as_bytes()))
    });
    SyncGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments.collect())
}

/// Commits an offset in every version and reads it back in every version.
async fn commit_and_fetch(client: &mut Client, group: &GroupId, member: &str) {
    for version in 2..=9 {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(version.into());
        let commit = OffsetCommitRequest::default()
            .with_group_id(group.clone())
            .with_generation_id_or_member_epoch(2)
            .with_member_id(text(member))
            .with_topics(vec![
                OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]),
            ]);
        assert_eq!(client.call(&commit, version).await.topics[0].partitions[0].error_code, 0);
    }
    for version in 1..=7 {
        let topic =
            OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0, 9]);
        let request =
            OffsetFetchRequest::default().with_group_id(group.clone()).with_topics(Some(vec![topic]));
        let found = client.call(&request, version).await.topics;
        let offsets: Vec<i64> = found[0].partitions.iter().map(|p| p.committed_offset).collect();
        assert_eq!(offsets, [9, -1]);
    }
    for version in 8..=9 {
        let wanted = OffsetFetchRequestGroup::default().with_group_id(group.clone()).with_topics(None);
        let request = OffsetFetchRequest::default().with_groups(vec![wanted]);
        let found = client.call(&request, version).await;
        assert_eq!(found.groups[0].topics[0].partitions[0].committed_offset, 9);
    }
}

#[tokio::test]
async fn two_members_share_a_group_and_keep_its_offsets() {
    let cluster = cluster().await;
    topic(&cluster, "t").await;
    cluster.move_coordinator("g", NodeId(2));
    let (mut a, mut b) = (to(&cluster, NodeId(2)).await, to(&cluster, NodeId(2)).await);
    let wrong = to(&cluster, NodeId(1)).await.call(&join("g", ""), 9).await;
    assert_eq!(wrong.error_code, 16, "not the coordinator");
    let first = a.call(&join("g", ""), 9).await;
    assert_eq!(first.error_code, 79, "the id comes first");
    let a_id = first.member_id.to_string();
    assert_eq!(a.call(&join("g", &a_id), 9).await.generation_id, 1);
    // Version 3 is let in at once, and waits for a.
    let asked = b.ask(&join("g", ""), 3).await;
    let group = [GroupId(text("g"))];
    let mut other = to(&cluster, NodeId(2)).await;
    loop {
        let described = other.call(&DescribeGroupsRequest::default().with_groups(group.to_vec()), 5).await;
        if described.groups[0].members.len() == 2 {
            break;
        }
    }
    let beat = HeartbeatRequest::default()
        .with_group_id(group[0].clone())
        .with_generation_id(1)
        .with_member_id(text(&a_id));
    assert_eq!(a.call(&beat, 4).await.error_code, 27, "a has to join again");
    let again = a.call(&join("g", &a_id), 9).await;
    let joined = b.answer::<JoinGroupRequest>(3, asked).await.expect("an answer");
    assert_eq!((again.generation_id, joined.generation_id), (2, 2));
    let (leader, follower) = if again.members.is_empty() { (&mut b, &mut a) } else { (&mut a, &mut b) };
    let leader_id = again.leader.to_string();
    let follower_id = if leader_id == a_id { joined.member_id.to_string() } else { a_id };
    let waiting = follower.ask(&sync(2, &follower_id, &[]), 5).await;
    let own = leader.call(&sync(2, &leader_id, &[(&leader_id, "L"), (&follower_id, "F")]), 5).await;
    let theirs = follower.answer::<SyncGroupRequest>(5, waiting).await.expect("an answer");
    assert_eq!((own.assignment.as_ref(), theirs.assignment.as_ref()), (&b"L"[..], &b"F"[..]));
    commit_and_fetch(leader, &group[0], &leader_id).await;
    let listed = other.call(&ListGroupsRequest::default(), 5).await;
    assert_eq!(listed.groups[0].group_state.as_str(), "Stable");
    let delete = DeleteGroupsRequest::default().with_groups_names(group.to_vec());
    assert_eq!(other.call(&delete, 2).await.results[0].error_code, 68, "not empty");
    for (client, id) in [(&mut a, leader_id), (&mut b, follower_id)] {
        let leaving = leave_group_request::MemberIdentity::default().with_member_id(text(&id));
        let request =
            LeaveGroupRequest::default().with_group_id(group[0].clone()).with_members(vec![leaving]);
        assert_eq!(client.call(&request, 4).await.members[0].error_code, 0);
    }
    assert_eq!(other.call(&delete, 2).await.results[0].error_code, 0);
}

#[tokio::test]
async fn a_stopped_broker_hands_its_partitions_over_and_comes_back() {
    let cluster = cluster().await;
    let (_, leader) = topic(&cluster, "t").await;
    let mut client = to(&cluster, leader).await;
    let address = cluster.addresses()[0].1;
    assert!(cluster.until_connections(AT_MOST, |open| *open == 1).await);
    cluster.stop_broker(leader).await;
    assert!(client.is_closed().await);
    assert_eq!(cluster.connections(), 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is closed");
    assert_ne!(cluster.leader("t", 0), Some(leader));
    cluster.start_broker(leader).await.expect("the same port again");
    assert_eq!(cluster.addresses()[0].1, address);
    cluster.add_broker(NodeId(7)).await.expect("a fourth broker");
    cluster.advertise(NodeId(7), "elsewhere", 1);
    let brokers = to(&cluster, NodeId(7)).await.call(&MetadataRequest::default(), 9).await.brokers;
    assert_eq!(brokers.iter().map(|b| b.node_id.0).collect::<Vec<_>>(), [0, 1, 2, 7]);
    assert_eq!((brokers[3].host.as_str(), brokers[3].port), ("elsewhere", 1));
    cluster.remove_broker(NodeId(7)).await;
    assert_eq!(cluster.addresses().len(), 3);
}

#[tokio::test]
async fn a_broker_misbehaves_as_it_is_told() {
    let cluster = cluster().await;
    let list = ListGroupsRequest::default();
    let always = |act| Misbehaviour::always(act).api(16).times(1);
    cluster.behave(always(Act::WrongCorrelationId(5)));
    let mut client = to(&cluster, NodeId(0)).await;
    let id = client.ask(&list, 3).await;
    assert_eq!(client.read().await.expect("an answer")[..4], (id + 5).to_be_bytes());
    for act in [Act::DropBefore, Act::DropAfter] {
        cluster.behave(always(act));
        let mut client = to(&cluster, NodeId(1)).await;
        assert!(client.try_call(&list, 3).await.is_none());
    }
    cluster.behave(always(Act::DropMidFrame(6)));
    let mut client = to(&cluster, NodeId(1)).await;
    client.ask(&list, 3).await;
    let mut all = BytesMut::new();
    while tokio::io::AsyncReadExt::read_buf(&mut client.stream, &mut all).await.is_ok_and(|n| n > 0) {}
    assert_eq!(all.len(), 6);
    let mut client = to(&cluster, NodeId(1)).await;
    cluster.behave(always(Act::Raw(Bytes::from_static(b"\0\0\0\x01x"))));
    client.ask(&list, 3).await;
    assert_eq!(client.read().await, Some(Bytes::from_static(b"x")));
    cluster.behave(always(Act::Body(Bytes::from_static(b"body"))));
    let id = client.ask(&list, 3).await;
    let body = client.read().await.expect("an answer");
    assert_eq!((&body[..4], &body[4..]), (&id.to_be_bytes()[..], &b"\0body"[..]));
    cluster.behave(always(Act::Delay(Duration::from_millis(1))));
    assert_eq!(client.call(&list, 3).await.error_code, 0);
    let hostile = Endpoint { node: NodeId(4), host: "169.254.169.254".into(), port: 80 };
    cluster.behave(Misbehaviour::always(Act::Announce(vec![hostile])).api(3).node(NodeId(1)));
    let brokers = client.call(&MetadataRequest::default(), 5).await.brokers;
    assert_eq!((brokers.len(), brokers[0].host.as_str()), (1, "169.254.169.254"));
    cluster.behave_well();
    assert_eq!(client.call(&MetadataRequest::default(), 5).await.brokers.len(), 3);
    cluster.behave(Misbehaviour::always(Act::Silence));
    client.ask(&list, 3).await;
    drop(client);
    assert!(cluster.until_connections(AT_MOST, |open| *open <= 1).await, "the end is noticed");
}

#[tokio::test]
async fn what_no_broker_answers_closes_the_connection() {
    let cluster = cluster().await;
    let header =
        |key: i16, version: i16| [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1]].concat();
    let frames: [Vec<u8>; 8] = [
        [&[0, 0, 0, 10][..], &header(26, 1), &[255, 255]].concat(),
        [&[0, 0, 0, 10][..], &header(3, 14), &[255, 255]].concat(),
        [&[0, 0, 0, 14][..], &header(3, 1), &[255, 255, 0x7f, 255, 255, 255]].concat(),
        vec![0x80, 0, 0, 0],
        vec![0, 0, 0, 0],
        vec![0x7f, 0xff, 0xff, 0xff],
        [&[0x06, 0, 0, 0][..], &header(3, 1)].concat(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for frame in frames {
        let mut client = to(&cluster, NodeId(0)).await;
        client.send(&frame).await;
        assert!(client.is_closed().await, "{frame:?}");
    }
    let mut client = to(&cluster, NodeId(0)).await;
    client.send(&[&[0, 0, 0, 10][..], &header(18, 99), &[255, 255]].concat()).await;
    let answer = client.read().await.expect("an answer");
    assert_eq!(answer[..], [0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
}

#[tokio::test]
async fn a_login_is_asked_for_where_there_are_users() {
    let users = vec![User { name: "alice".into(), password: "secret".into() }];
    let cluster = Cluster::start(Options { users, ..Options::default() }).await.expect("a cluster");
    let mut client = to(&cluster, NodeId(0)).await;
    assert!(client.try_call(&MetadataRequest::default(), 1).await.is_none(), "not logged in");
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    for version in 0..=2 {
        let mut client = to(&cluster, NodeId(0)).await;
        assert_eq!(client.call(&handshake, 1).await.error_code, 0);
        let token = |password: &str| {
            SaslAuthenticateRequest::default().with_auth_bytes(format!("\0alice\0{password}").into())
        };
        assert_eq!(client.call(&token("secret"), version).await.error_code, 0);
        assert_eq!(client.call(&MetadataRequest::default(), 1).await.brokers.len(), 3);
        let mut client = to(&cluster, NodeId(0)).await;
        client.call(&handshake, 1).await;
        assert_eq!(client.call(&token("wrong"), version).await.error_code, 58);
        assert!(client.is_closed().await);
    }
    let mut client = to(&cluster, NodeId(0)).await;
    assert_eq!(client.call(&handshake, 0).await.error_code, 0);
    client.send(b"\0\0\0\x0d\0alice\0secret").await;
    assert_eq!(client.read().await, Some(Bytes::new()), "the empty token of success");
    assert_eq!(client.call(&MetadataRequest::default(), 1).await.brokers.len(), 3);
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let options = Options { partition_bytes_max: 10_000, log_bytes_max: 15_000, ..Options::default() };
    let cluster = Cluster::start(options).await.expect("a cluster");
    let (id, leader) = topic(&cluster, "t").await;
    let mut client = to(&cluster, leader).await;
    let large = "x".repeat(1_000);
    for _ in 0..100 {
        client.call(&produce(("t", id), 0, batch(&[&large], (-1, -1, -1)), 1, 9), 9).await;
    }
    let answer = client.call(&fetch(("t", id), 99, 0, 12), 12).await;
    let partition = &answer.responses[0].partitions[0];
    assert!(partition.log_start_offset > 85 && partition.high_watermark == 100);
    let gone = client.call(&fetch(("t", id), 0, 0, 12), 12).await;
    assert_eq!(gone.responses[0].partitions[0].error_code, 1, "out of range");
}
