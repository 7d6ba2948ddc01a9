//! DescribeCluster, DescribeQuorum and DescribeTopicPartitions.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, DescribeQuorumRequest, DescribeQuorumResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};

use super::call::{Call, text};
use super::metadata::broker_ids;
use super::world::World;
use crate::kafka::NodeId;

/// The first version of DescribeQuorum that names listeners.
const LISTENERS_SINCE: i16 = 2;

pub(super) fn cluster(call: &Call<'_>, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let world = call.shared.world();
    let answer = DescribeClusterResponse::default()
        .with_cluster_id(text(world.cluster_id.as_str()))
        .with_controller_id(BrokerId(world.controller().0));
    // The endpoints of controllers (2) are asked of controllers, which a toy has none of.
    if request.endpoint_type != 1 {
        return answer.with_error_code(ResponseError::MismatchedEndpointType.code());
    }
    let brokers = call.endpoints(&world).into_iter().map(|endpoint| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(endpoint.node.0))
            .with_host(text(endpoint.host))
            .with_port(endpoint.port)
    });
    answer.with_brokers(brokers.collect())
}

/// The quorum is made up of the brokers, so that it names listeners as a real one does.
pub(super) fn quorum(call: &Call<'_>, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let world = call.shared.world();
    let controller = BrokerId(world.controller().0);
    let voters: Vec<ReplicaState> = world
        .alive()
        .into_iter()
        .map(|node| ReplicaState::default().with_replica_id(BrokerId(node.0)).with_log_end_offset(1))
        .collect();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let answer = PartitionData::default().with_partition_index(wanted.partition_index);
            if topic.topic_name.as_str() != "__cluster_metadata" || wanted.partition_index != 0 {
                return answer.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            }
            answer
                .with_leader_id(controller)
                .with_leader_epoch(1)
                .with_high_watermark(1)
                .with_current_voters(voters.clone())
        });
        let partitions = partitions.collect();
        TopicData::default().with_topic_name(topic.topic_name).with_partitions(partitions)
    });
    let answer = DescribeQuorumResponse::default().with_topics(topics.collect());
    if call.version < LISTENERS_SINCE {
        return answer;
    }
    let nodes = call.endpoints(&world).into_iter().map(|endpoint| {
        let listener = Listener::default()
            .with_name(text("CONTROLLER"))
            .with_host(text(endpoint.host))
            .with_port(u16::try_from(endpoint.port).unwrap_or_default());
        Node::default().with_node_id(BrokerId(endpoint.node.0)).with_listeners(vec![listener])
    });
    answer.with_nodes(nodes.collect())
}

/// Every partition of the topics that were asked for, or of all. A cursor is honoured; none is given out,
/// because everything is answered at once.
pub(super) fn topic_partitions(
    call: &Call<'_>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let world = call.shared.world();
    let mut names: Vec<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
    if names.is_empty() {
        names = world.topics.keys().cloned().collect();
    }
    names.sort();
    let from = request.cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
    let (from, first) = from.unwrap_or_default();
    let topics = names.into_iter().filter(|name| *name >= from).map(|name| {
        let skip = if name == from { usize::try_from(first).unwrap_or_default() } else { 0 };
        described(&world, name, skip)
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}

fn described(world: &World, name: String, skip: usize) -> DescribeTopicPartitionsResponseTopic {
    let answer = DescribeTopicPartitionsResponseTopic::default();
    let Some(topic) = world.topics.get(&name) else {
        let error = ResponseError::UnknownTopicOrPartition.code();
        return answer.with_error_code(error).with_name(Some(TopicName(text(name))));
    };
    let alive = world.alive();
    let partitions = topic.partitions.iter().zip(0..).skip(skip).map(|(partition, index)| {
        let (online, offline): (Vec<NodeId>, Vec<NodeId>) =
            partition.replicas.iter().partition(|node| alive.contains(node));
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(partition.leader.0))
            .with_leader_epoch(partition.epoch)
            .with_replica_nodes(broker_ids(&partition.replicas))
            .with_isr_nodes(broker_ids(&online))
            .with_offline_replicas(broker_ids(&offline))
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    let partitions = partitions.collect();
    answer.with_name(Some(TopicName(text(name)))).with_topic_id(topic.id).with_partitions(partitions)
}
