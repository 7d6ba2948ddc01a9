//! Produce and InitProducerId: records are appended by the leader alone, and twice-sent ones only once.

use std::collections::BTreeSet;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    BrokerId, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, ProducerId,
};

use super::call::{Call, Closed, text};
use super::world::World;
use crate::kafka::NodeId;

/// The first version that names the new leader of a partition (KIP-951).
const LEADERS_SINCE: i16 = 10;

/// Appends records. `None` is the answer to acks=0; an error there closes the connection, as it does on a
/// broker.
pub(super) fn produce(call: &Call<'_>, request: ProduceRequest) -> Result<Option<ProduceResponse>, Closed> {
    let acks = request.acks;
    let mut leaders = BTreeSet::new();
    let response = call.shared.change(|world| {
        let topics =
            request.topic_data.into_iter().map(|topic| append(call, world, topic, acks, &mut leaders));
        let response = ProduceResponse::default().with_responses(topics.collect());
        world.trim(call.shared.options.log_bytes_max);
        let endpoints = leaders.iter().filter_map(|node| call.endpoint(world, *node)).map(|endpoint| {
            NodeEndpoint::default()
                .with_node_id(BrokerId(endpoint.node.0))
                .with_host(text(endpoint.host))
                .with_port(endpoint.port)
        });
        response.with_node_endpoints(endpoints.collect())
    });
    if acks != 0 {
        return Ok(Some(response));
    }
    let failed = response.responses.iter().flat_map(|t| &t.partition_responses).any(|p| p.error_code != 0);
    if failed { Err(Closed) } else { Ok(None) }
}

fn append(
    call: &Call<'_>,
    world: &mut World,
    topic: TopicProduceData,
    acks: i16,
    leaders: &mut BTreeSet<NodeId>,
) -> TopicProduceResponse {
    let found = world.topic(&topic.name, topic.topic_id).map(|(name, _)| name.to_owned());
    let partitions = topic.partition_data.into_iter().map(|data| {
        let index = data.index;
        let answer = PartitionProduceResponse::default().with_index(index);
        let appended = match &found {
            Err(error) => Err(*error),
            Ok(_) if !(-1..=1).contains(&acks) => Err(ResponseError::InvalidRequiredAcks),
            Ok(name) => append_one(call, world, name, data),
        };
        match appended {
            Ok((base, start)) => answer.with_base_offset(base).with_log_start_offset(start),
            Err(error) => {
                let answer =
                    answer.with_error_code(error.code()).with_base_offset(-1).with_log_start_offset(-1);
                let moved = error == ResponseError::NotLeaderOrFollower && call.version >= LEADERS_SINCE;
                match found.as_ref().ok().filter(|_| moved).and_then(|name| world.partition(name, index).ok())
                {
                    None => answer,
                    Some(partition) => {
                        leaders.insert(partition.leader);
                        answer.with_current_leader(
                            LeaderIdAndEpoch::default()
                                .with_leader_id(BrokerId(partition.leader.0))
                                .with_leader_epoch(partition.epoch),
                        )
                    }
                }
            }
        }
        .with_log_append_time_ms(-1)
    });
    let partitions = partitions.collect();
    TopicProduceResponse::default()
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
        .with_partition_responses(partitions)
}

/// Appends to one partition and returns the first offset and the log's start.
fn append_one(
    call: &Call<'_>,
    world: &mut World,
    topic: &str,
    data: PartitionProduceData,
) -> Result<(i64, i64), ResponseError> {
    let partition = world.partition(topic, data.index)?;
    if partition.leader != call.node {
        return Err(ResponseError::NotLeaderOrFollower);
    }
    let base = partition.log.append(&data.records.unwrap_or_default(), partition.epoch)?;
    partition.log.trim(call.shared.options.partition_bytes_max);
    Ok((base, partition.log.start()))
}

/// Gives an idempotent producer its id. A transactional one is told that there are no transactions here.
pub(super) fn init_producer_id(call: &Call<'_>, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let answer = InitProducerIdResponse::default();
    if request.transactional_id.is_some() {
        let error = ResponseError::UnsupportedVersion.code();
        return answer.with_error_code(error).with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
    }
    answer.with_producer_id(ProducerId(call.shared.world().producer_id()))
}
