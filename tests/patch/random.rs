//! Responses with random brokers: routable, unroutable, named twice, with racks, tags and nulls.

use gatehouse::kafka::api::Patch;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterResponse, DescribeQuorumResponse, FetchResponse,
    FindCoordinatorResponse, MetadataResponse, ProduceResponse, ProducerId, ShareAcknowledgeResponse,
    ShareFetchResponse, TopicName, api_versions_response, describe_quorum_response, fetch_response,
    find_coordinator_response, produce_response, share_acknowledge_response, share_fetch_response,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::message::{Message, text};

/// What every upstream host name holds, and nothing else does.
pub(crate) const INSIDE: &str = "inside";

/// How the brokers of a response are called.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Naming {
    /// As their cluster calls them: ids in and out of the ranges, some twice.
    Upstream,
    /// As the gateway would call them, each once: nothing is left to rewrite.
    Routed,
}

/// The gateway's name for a node in [`crate::routes`].
pub(crate) const HOST: &str = "kafka.example.com";

/// A node of a response.
struct Node {
    id: i32,
    host: StrBytes,
    port: i32,
    rack: Option<StrBytes>,
}

fn node(dice: &mut Dice, naming: Naming, place: i32) -> Node {
    let rack = match dice.below(3) {
        0 => None,
        1 => Some(text("")),
        _ => Some(text("eu-1a")),
    };
    if naming == Naming::Routed {
        return Node { id: place, host: text(HOST), port: 31_090 + place, rack };
    }
    // Ranges are 0-9 and 1000-1001.
    let id = [0, 1, 2, 3, 9, 10, 77, 999, 1_000, 1_001, 1_002, i32::MAX][dice.below(12)];
    let filler = "x".repeat(dice.below(100));
    let host = format!("b{id}-{filler}.{INSIDE}.test");
    Node { id, host: text(&host), port: 1 + dice.below(65_535) as i32, rack }
}

fn nodes<T>(dice: &mut Dice, naming: Naming, make: impl Fn(&mut Dice, Node) -> T) -> Vec<T> {
    (0..dice.below(10))
        .map(|place| {
            let node = node(dice, naming, place as i32);
            make(dice, node)
        })
        .collect()
}

/// Tags that no version knows.
fn tags(dice: &mut Dice, flexible: bool) -> BTreeMap<i32, bytes::Bytes> {
    let some = flexible && dice.once_in(4);
    let count = if some { dice.below(3) as i32 } else { 0 };
    (0..count).map(|nth| (40 + 100 * nth, dice.bytes(20).into())).collect()
}

fn message(dice: &mut Dice) -> Option<StrBytes> {
    (!dice.once_in(3)).then(|| text("it went wrong"))
}

/// A response of that kind.
pub(crate) fn response(dice: &mut Dice, patch: Patch, version: i16, naming: Naming) -> Message {
    match patch {
        Patch::ApiVersions => Message::ApiVersions(api_versions(dice, version, naming)),
        Patch::Metadata => Message::Metadata(metadata(dice, version, naming)),
        Patch::FindCoordinator => Message::FindCoordinator(find_coordinator(dice, version, naming)),
        Patch::DescribeCluster => Message::DescribeCluster(describe_cluster(dice, version, naming)),
        Patch::Produce => Message::Produce(produce(dice, version, naming)),
        Patch::Fetch => Message::Fetch(fetch(dice, version, naming)),
        Patch::ShareFetch => Message::ShareFetch(share_fetch(dice, naming)),
        Patch::ShareAcknowledge => Message::ShareAcknowledge(share_acknowledge(dice, naming)),
        Patch::DescribeQuorum => Message::DescribeQuorum(describe_quorum(dice, version, naming)),
    }
}

fn api_versions(dice: &mut Dice, version: i16, naming: Naming) -> ApiVersionsResponse {
    let mut response = ApiVersionsResponse::default().with_throttle_time_ms(0);
    if naming == Naming::Upstream && dice.once_in(8) {
        return response.with_error_code(35);
    }
    let api_keys = (0..dice.below(110) as i16)
        .filter_map(|key| {
            let least = dice.below(3) as i16;
            let most = least + dice.below(20) as i16;
            let known = gatehouse::kafka::api::find(key);
            let newest = known.map_or(-1, |api| api.newest);
            let refused = known.is_some_and(|api| api.request == gatehouse::kafka::api::Request::Refuse);
            let offered = naming == Naming::Upstream || (!refused && most <= newest);
            offered.then(|| {
                api_versions_response::ApiVersion::default()
                    .with_api_key(key)
                    .with_min_version(least)
                    .with_max_version(most)
                    .with_unknown_tagged_fields(tags(dice, version >= 3))
            })
        })
        .collect();
    response = response.with_api_keys(api_keys);
    if version >= 3 {
        response = response
            .with_finalized_features_epoch(dice.i64())
            .with_zk_migration_ready(dice.once_in(2))
            .with_unknown_tagged_fields(tags(dice, true));
    }
    response
}

fn metadata(dice: &mut Dice, version: i16, naming: Naming) -> MetadataResponse {
    let flexible = version >= 9;
    let brokers = nodes(dice, naming, |dice, node| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node.id))
            .with_host(node.host)
            .with_port(node.port)
            .with_rack(if version >= 1 { node.rack } else { None })
            .with_unknown_tagged_fields(tags(dice, flexible))
    });
    let topics = dice.list(4, |dice| {
        let name = format!("topic-{}", dice.below(100));
        let topic = MetadataResponseTopic::default()
            .with_error_code(dice.i16())
            .with_name(Some(TopicName(text(&name))))
            .with_is_internal(version >= 1 && dice.once_in(2))
            .with_partitions(dice.list(4, |dice| metadata_partition(dice, version)))
            .with_unknown_tagged_fields(tags(dice, flexible));
        if version >= 10 { topic.with_topic_id(uuid::Uuid::from_u128(dice.next().into())) } else { topic }
    });
    let response = MetadataResponse::default()
        .with_brokers(brokers)
        .with_topics(topics)
        .with_controller_id(BrokerId(if version >= 1 { 1 } else { -1 }))
        .with_unknown_tagged_fields(tags(dice, flexible));
    let response = if version >= 2 { response.with_cluster_id(Some(text("a-cluster"))) } else { response };
    let response = if version >= 3 { response.with_throttle_time_ms(dice.i32()) } else { response };
    if version >= 13 { response.with_error_code(dice.i16()) } else { response }
}

fn metadata_partition(dice: &mut Dice, version: i16) -> MetadataResponsePartition {
    let ids = |dice: &mut Dice| dice.list(4, |dice| BrokerId(dice.below(20) as i32));
    MetadataResponsePartition::default()
        .with_error_code(dice.i16())
        .with_partition_index(dice.i32())
        .with_leader_id(BrokerId(dice.below(20) as i32))
        .with_leader_epoch(if version >= 7 { dice.i32() } else { -1 })
        .with_replica_nodes(ids(dice))
        .with_isr_nodes(ids(dice))
        .with_offline_replicas(if version >= 5 { ids(dice) } else { Vec::new() })
        .with_unknown_tagged_fields(tags(dice, version >= 9))
}

fn find_coordinator(dice: &mut Dice, version: i16, naming: Naming) -> FindCoordinatorResponse {
    let response = FindCoordinatorResponse::default()
        .with_throttle_time_ms(if version >= 1 { dice.i32() } else { 0 })
        .with_unknown_tagged_fields(tags(dice, version >= 3));
    if version >= 4 {
        let coordinators = nodes(dice, naming, |dice, node| {
            let node = no_node_sometimes(dice, node);
            find_coordinator_response::Coordinator::default()
                .with_key(text("a-group"))
                .with_node_id(BrokerId(node.id))
                .with_host(node.host)
                .with_port(node.port)
                .with_error_code(dice.i16())
                .with_error_message(message(dice))
                .with_unknown_tagged_fields(tags(dice, true))
        });
        return response.with_coordinators(coordinators);
    }
    let place = dice.below(10) as i32;
    let node = node(dice, naming, place);
    let node = no_node_sometimes(dice, node);
    response
        .with_error_code(dice.i16())
        .with_error_message(if version >= 1 { message(dice) } else { Some(text("")) })
        .with_node_id(BrokerId(node.id))
        .with_host(node.host)
        .with_port(node.port)
}

/// What a broker names with an error (`Node.noNode`).
fn no_node_sometimes(dice: &mut Dice, node: Node) -> Node {
    if dice.once_in(4) { Node { id: -1, host: text(""), port: -1, rack: None } } else { node }
}

fn describe_cluster(dice: &mut Dice, version: i16, naming: Naming) -> DescribeClusterResponse {
    let brokers = nodes(dice, naming, |dice, node| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(node.id))
            .with_host(node.host)
            .with_port(node.port)
            .with_rack(node.rack)
            .with_is_fenced(version >= 2 && dice.once_in(2))
            .with_unknown_tagged_fields(tags(dice, true))
    });
    DescribeClusterResponse::default()
        .with_throttle_time_ms(dice.i32())
        .with_error_code(dice.i16())
        .with_error_message(message(dice))
        .with_endpoint_type(if version >= 1 { 1 + dice.below(2) as i8 } else { 1 })
        .with_cluster_id(text("a-cluster"))
        .with_controller_id(BrokerId(dice.i32()))
        .with_brokers(brokers)
        .with_cluster_authorized_operations(dice.i32())
        .with_unknown_tagged_fields(tags(dice, true))
}

fn topic_name(version: i16) -> TopicName {
    TopicName(text(if version >= 13 { "" } else { "a-topic" }))
}

fn topic_id(dice: &mut Dice, version: i16) -> uuid::Uuid {
    if version >= 13 { uuid::Uuid::from_u128(dice.next().into()) } else { uuid::Uuid::nil() }
}

macro_rules! endpoints {
    ($dice:expr, $naming:expr, $module:ident) => {
        nodes($dice, $naming, |dice, node| {
            $module::NodeEndpoint::default()
                .with_node_id(BrokerId(node.id))
                .with_host(node.host)
                .with_port(node.port)
                .with_rack(node.rack)
                .with_unknown_tagged_fields(tags(dice, true))
        })
    };
}

fn produce(dice: &mut Dice, version: i16, naming: Naming) -> ProduceResponse {
    let partition = |dice: &mut Dice| {
        let leader = produce_response::LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(dice.i32()))
            .with_leader_epoch(dice.i32());
        let partition = produce_response::PartitionProduceResponse::default()
            .with_index(dice.i32())
            .with_error_code(dice.i16())
            .with_base_offset(dice.i64())
            .with_log_append_time_ms(dice.i64())
            .with_log_start_offset(dice.i64())
            .with_record_errors(dice.list(2, |dice| {
                produce_response::BatchIndexAndErrorMessage::default()
                    .with_batch_index(dice.i32())
                    .with_batch_index_error_message(message(dice))
            }))
            .with_error_message(message(dice))
            .with_unknown_tagged_fields(tags(dice, true));
        if version >= 10 { partition.with_current_leader(leader) } else { partition }
    };
    let responses = dice.list(3, |dice| {
        produce_response::TopicProduceResponse::default()
            .with_name(topic_name(version))
            .with_topic_id(topic_id(dice, version))
            .with_partition_responses(dice.list(3, partition))
            .with_unknown_tagged_fields(tags(dice, true))
    });
    ProduceResponse::default()
        .with_responses(responses)
        .with_throttle_time_ms(dice.i32())
        .with_node_endpoints(if version >= 10 { endpoints!(dice, naming, produce_response) } else { vec![] })
        .with_unknown_tagged_fields(tags(dice, true))
}

fn fetch(dice: &mut Dice, version: i16, naming: Naming) -> FetchResponse {
    let partition = |dice: &mut Dice| {
        let leader = fetch_response::LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(dice.i32()))
            .with_leader_epoch(dice.i32());
        let aborted = dice.list(2, |dice| {
            fetch_response::AbortedTransaction::default()
                .with_producer_id(ProducerId(dice.i64()))
                .with_first_offset(dice.i64())
        });
        fetch_response::PartitionData::default()
            .with_partition_index(dice.i32())
            .with_error_code(dice.i16())
            .with_high_watermark(dice.i64())
            .with_last_stable_offset(dice.i64())
            .with_log_start_offset(dice.i64())
            .with_aborted_transactions((!dice.once_in(3)).then_some(aborted))
            .with_preferred_read_replica(BrokerId(dice.i32()))
            .with_records((!dice.once_in(3)).then(|| dice.bytes(300).into()))
            .with_current_leader(leader)
            .with_unknown_tagged_fields(tags(dice, true))
    };
    let responses = dice.list(3, |dice| {
        fetch_response::FetchableTopicResponse::default()
            .with_topic(topic_name(version))
            .with_topic_id(topic_id(dice, version))
            .with_partitions(dice.list(3, partition))
            .with_unknown_tagged_fields(tags(dice, true))
    });
    FetchResponse::default()
        .with_throttle_time_ms(dice.i32())
        .with_error_code(dice.i16())
        .with_session_id(dice.i32())
        .with_responses(responses)
        .with_node_endpoints(if version >= 16 { endpoints!(dice, naming, fetch_response) } else { vec![] })
        .with_unknown_tagged_fields(tags(dice, true))
}

fn share_fetch(dice: &mut Dice, naming: Naming) -> ShareFetchResponse {
    let partition = |dice: &mut Dice| {
        let leader =
            share_fetch_response::LeaderIdAndEpoch::default().with_leader_id(dice.i32()).with_leader_epoch(7);
        share_fetch_response::PartitionData::default()
            .with_partition_index(dice.i32())
            .with_error_code(dice.i16())
            .with_error_message(message(dice))
            .with_acknowledge_error_message(message(dice))
            .with_current_leader(leader)
            .with_records((!dice.once_in(3)).then(|| dice.bytes(300).into()))
            .with_acquired_records(dice.list(3, |dice| {
                share_fetch_response::AcquiredRecords::default()
                    .with_first_offset(dice.i64())
                    .with_delivery_count(dice.i16())
            }))
            .with_unknown_tagged_fields(tags(dice, true))
    };
    let responses = dice.list(3, |dice| {
        share_fetch_response::ShareFetchableTopicResponse::default()
            .with_topic_id(topic_id(dice, 13))
            .with_partitions(dice.list(3, partition))
            .with_unknown_tagged_fields(tags(dice, true))
    });
    ShareFetchResponse::default()
        .with_throttle_time_ms(dice.i32())
        .with_error_message(message(dice))
        .with_acquisition_lock_timeout_ms(dice.i32())
        .with_responses(responses)
        .with_node_endpoints(endpoints!(dice, naming, share_fetch_response))
}

fn share_acknowledge(dice: &mut Dice, naming: Naming) -> ShareAcknowledgeResponse {
    let partition = |dice: &mut Dice| {
        share_acknowledge_response::PartitionData::default()
            .with_partition_index(dice.i32())
            .with_error_code(dice.i16())
            .with_error_message(message(dice))
            .with_unknown_tagged_fields(tags(dice, true))
    };
    let responses = dice.list(3, |dice| {
        share_acknowledge_response::ShareAcknowledgeTopicResponse::default()
            .with_topic_id(topic_id(dice, 13))
            .with_partitions(dice.list(3, partition))
    });
    ShareAcknowledgeResponse::default()
        .with_throttle_time_ms(dice.i32())
        .with_error_message(message(dice))
        .with_responses(responses)
        .with_node_endpoints(endpoints!(dice, naming, share_acknowledge_response))
        .with_unknown_tagged_fields(tags(dice, true))
}

fn describe_quorum(dice: &mut Dice, version: i16, naming: Naming) -> DescribeQuorumResponse {
    let replica = |dice: &mut Dice| {
        describe_quorum_response::ReplicaState::default()
            .with_replica_id(BrokerId(dice.i32()))
            .with_replica_directory_id(if version >= 2 { topic_id(dice, 13) } else { uuid::Uuid::nil() })
            .with_log_end_offset(dice.i64())
    };
    let partition = |dice: &mut Dice| {
        describe_quorum_response::PartitionData::default()
            .with_partition_index(dice.i32())
            .with_error_message(if version >= 2 { message(dice) } else { Some(text("")) })
            .with_current_voters(dice.list(3, replica))
            .with_observers(dice.list(3, replica))
            .with_unknown_tagged_fields(tags(dice, true))
    };
    let topics = dice.list(2, |dice| {
        describe_quorum_response::TopicData::default()
            .with_topic_name(TopicName(text("__cluster_metadata")))
            .with_partitions(dice.list(2, partition))
    });
    let quorum_nodes = nodes(dice, naming, |dice, node| {
        let listener = describe_quorum_response::Listener::default()
            .with_name(text("CONTROLLER"))
            .with_host(node.host)
            .with_port(node.port as u16);
        let listeners = if naming == Naming::Upstream { vec![listener; dice.below(3)] } else { vec![] };
        describe_quorum_response::Node::default()
            .with_node_id(BrokerId(node.id))
            .with_listeners(listeners)
            .with_unknown_tagged_fields(tags(dice, true))
    });
    DescribeQuorumResponse::default()
        .with_error_message(if version >= 2 { message(dice) } else { Some(text("")) })
        .with_topics(topics)
        .with_nodes(if version >= 2 { quorum_nodes } else { vec![] })
        .with_unknown_tagged_fields(tags(dice, true))
}
