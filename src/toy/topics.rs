//! CreateTopics, DeleteTopics, CreatePartitions and DeleteRecords.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use uuid::Uuid;

use super::call::{Call, text};
use super::world::World;
use crate::kafka::NodeId;

fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, |error| error.code())
}

pub(super) fn create(call: &Call<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let only_check = request.validate_only;
    let topics = call.shared.change(|world| {
        let topics = request.topics.into_iter().map(|topic| create_one(call, world, topic, only_check));
        topics.collect()
    });
    CreateTopicsResponse::default().with_topics(topics)
}

fn create_one(
    call: &Call<'_>,
    world: &mut World,
    topic: CreatableTopic,
    only_check: bool,
) -> CreatableTopicResult {
    let (partitions, replicas) = match topic.assignments.first() {
        Some(first) => (topic.assignments.len() as i32, first.broker_ids.len() as i16),
        None => (
            if topic.num_partitions == -1 { default_partitions(call) } else { topic.num_partitions },
            if topic.replication_factor == -1 {
                world.brokers.len().min(3) as i16
            } else {
                topic.replication_factor
            },
        ),
    };
    let made = world.create(&topic.name, partitions, replicas).and_then(|()| {
        // An assignment that names no broker is found out after the topic was made.
        assign(world, &topic).inspect_err(|_| {
            world.topics.remove(topic.name.as_str());
        })
    });
    let id = world.topics.get(topic.name.as_str()).map(|topic| topic.id);
    if only_check && made.is_ok() {
        world.topics.remove(topic.name.as_str());
    }
    CreatableTopicResult::default()
        .with_error_code(code(&made))
        .with_error_message(made.err().map(|error| text(error.to_string())))
        .with_topic_id(id.filter(|_| made.is_ok() && !only_check).unwrap_or_default())
        .with_num_partitions(if made.is_ok() { partitions } else { -1 })
        .with_replication_factor(if made.is_ok() { replicas } else { -1 })
        .with_configs(Some(Vec::new()))
        .with_name(topic.name)
}

fn default_partitions(call: &Call<'_>) -> i32 {
    call.shared.options.auto_create_partitions.unwrap_or(1)
}

/// Gives a new topic the replicas that the request lists.
fn assign(world: &mut World, topic: &CreatableTopic) -> Result<(), ResponseError> {
    let known: Vec<NodeId> = world.brokers.keys().copied().collect();
    for assignment in &topic.assignments {
        let replicas: Vec<NodeId> = assignment.broker_ids.iter().map(|id: &BrokerId| NodeId(id.0)).collect();
        if replicas.is_empty() || !replicas.iter().all(|node| known.contains(node)) {
            return Err(ResponseError::InvalidReplicaAssignment);
        }
        let partition = world.partition(&topic.name, assignment.partition_index);
        let partition = partition.map_err(|_| ResponseError::InvalidReplicaAssignment)?;
        partition.leader = replicas[0];
        partition.replicas = replicas;
    }
    world.elect();
    Ok(())
}

pub(super) fn delete(call: &Call<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let named = request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
    let stated = request.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
    let responses = call.shared.change(|world| {
        let responses = named.chain(stated).map(|(name, id)| {
            let asked = name.as_ref().map_or("", |name| name.as_str());
            let found = world.topic(asked, id).map(|(name, topic)| (name.to_owned(), topic.id));
            let answer = DeletableTopicResult::default().with_error_code(code(&found));
            match found {
                Err(_) => answer.with_name(name).with_topic_id(id),
                Ok((name, id)) => {
                    world.topics.remove(&name);
                    for group in world.groups.values_mut() {
                        group.offsets.retain(|(topic, _), _| *topic != name);
                    }
                    answer.with_name(Some(TopicName(text(name)))).with_topic_id(id)
                }
            }
        });
        responses.collect()
    });
    DeleteTopicsResponse::default().with_responses(responses)
}

pub(super) fn grow(call: &Call<'_>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let only_check = request.validate_only;
    let results = call.shared.change(|world| {
        let results = request.topics.into_iter().map(|topic| {
            let have = world.topics.get(topic.name.as_str()).map_or(0, |topic| topic.partitions.len());
            let grown = world.grow(&topic.name, topic.count);
            if let Some(topic) = world.topics.get_mut(topic.name.as_str()).filter(|_| only_check) {
                topic.partitions.truncate(have);
            }
            CreatePartitionsTopicResult::default()
                .with_name(topic.name)
                .with_error_code(code(&grown))
                .with_error_message(grown.err().map(|error| text(error.to_string())))
        });
        results.collect()
    });
    CreatePartitionsResponse::default().with_results(results)
}

pub(super) fn delete_records(call: &Call<'_>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = call.shared.change(|world| {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let start = delete_before(call, world, &topic.name, (wanted.partition_index, wanted.offset));
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code(&start))
                    .with_low_watermark(start.unwrap_or(-1))
            });
            let partitions = partitions.collect();
            DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
        });
        topics.collect()
    });
    DeleteRecordsResponse::default().with_topics(topics)
}

/// Drops what stands before an offset, by whole batches, and returns where the log then starts.
fn delete_before(
    call: &Call<'_>,
    world: &mut World,
    topic: &str,
    (index, offset): (i32, i64),
) -> Result<i64, ResponseError> {
    let partition = world.partition(topic, index)?;
    if partition.leader != call.node {
        return Err(ResponseError::NotLeaderOrFollower);
    }
    let log = &mut partition.log;
    let offset = if offset == -1 { log.end() } else { offset };
    if offset > log.end() {
        return Err(ResponseError::OffsetOutOfRange);
    }
    log.trim_before(offset);
    Ok(log.start())
}
