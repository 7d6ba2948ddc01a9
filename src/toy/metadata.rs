//! Metadata: the brokers, and the topics with their leaders.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use uuid::Uuid;

use super::call::{Call, text};
use super::world::{Partition, Topic, World};
use crate::kafka::NodeId;

pub(super) fn metadata(call: &Call<'_>, request: MetadataRequest) -> MetadataResponse {
    let names_all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && call.version == 0,
    };
    let wanted: Vec<(String, Uuid)> = request
        .topics
        .unwrap_or_default()
        .into_iter()
        .map(|topic| (topic.name.map(|name| name.to_string()).unwrap_or_default(), topic.topic_id))
        .collect();
    // Before version 4 a client could not say that it wants none made.
    if request.allow_auto_topic_creation || call.version < 4 {
        create_missing(call, &wanted);
    }
    let world = call.shared.world();
    let topics = if names_all {
        world.topics.iter().map(|(name, found)| topic(&world, name, found)).collect()
    } else {
        wanted.iter().map(|(name, id)| asked(&world, name, *id)).collect()
    };
    let brokers = call.endpoints(&world).into_iter().map(|endpoint| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(endpoint.node.0))
            .with_host(text(endpoint.host))
            .with_port(endpoint.port)
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(world.cluster_id.as_str())))
        .with_controller_id(BrokerId(world.controller().0))
        .with_topics(topics)
}

fn create_missing(call: &Call<'_>, wanted: &[(String, Uuid)]) {
    let Some(partitions) = call.shared.options.auto_create_partitions else { return };
    let missing =
        |world: &World, (name, id): &(String, Uuid)| id.is_nil() && !world.topics.contains_key(name);
    if !wanted.iter().any(|topic| missing(&call.shared.world(), topic)) {
        return;
    }
    call.shared.change(|world| {
        let replicas = world.brokers.len().min(3) as i16;
        for (name, id) in wanted {
            if id.is_nil() {
                // What cannot be made is reported as unknown below.
                let _ = world.create(name, partitions, replicas);
            }
        }
    });
}

/// A topic that was asked for, or why there is none.
fn asked(world: &World, name: &str, id: Uuid) -> MetadataResponseTopic {
    match world.topic(name, id) {
        Ok((name, found)) => topic(world, name, found),
        Err(error) => MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(id.is_nil().then(|| TopicName(text(name))))
            .with_topic_id(id),
    }
}

fn topic(world: &World, name: &str, topic: &Topic) -> MetadataResponseTopic {
    let alive = world.alive();
    let partitions = topic.partitions.iter().zip(0..).map(|(p, index)| partition(p, index, &alive));
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

fn partition(partition: &Partition, index: i32, alive: &[NodeId]) -> MetadataResponsePartition {
    let error = if partition.leader.0 < 0 { ResponseError::LeaderNotAvailable.code() } else { 0 };
    let (online, offline): (Vec<NodeId>, Vec<NodeId>) =
        partition.replicas.iter().partition(|node| alive.contains(node));
    MetadataResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(index)
        .with_leader_id(BrokerId(partition.leader.0))
        .with_leader_epoch(partition.epoch)
        .with_replica_nodes(broker_ids(&partition.replicas))
        .with_isr_nodes(broker_ids(&online))
        .with_offline_replicas(broker_ids(&offline))
}

/// Node ids as the messages hold them.
pub(super) fn broker_ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}
