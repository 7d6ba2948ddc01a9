//! OffsetCommit and OffsetFetch: where the groups have read to.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use tokio::time::Instant;

use super::call::{Call, text};
use super::membership::group;
use super::rebalance::Committed;
use super::world::World;

/// A broker's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4_096;

/// The first version that asks for several groups.
const GROUPS_SINCE: i16 = 8;

pub(super) fn commit(call: &Call<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = call.shared.change(|world| {
        let instance = request.group_instance_id.as_deref();
        let allowed = group(call, world, &request.group_id).and_then(|group| {
            let generation = request.generation_id_or_member_epoch;
            group.may_commit(&request.member_id, instance, generation, Instant::now())
        });
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| {
                let index = partition.partition_index;
                let committed = allowed.and_then(|()| keep(world, &request.group_id, &topic.name, partition));
                OffsetCommitResponsePartition::default()
                    .with_partition_index(index)
                    .with_error_code(committed.err().map_or(0, |error| error.code()))
            });
            let partitions = partitions.collect();
            OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
        });
        topics.collect()
    });
    OffsetCommitResponse::default().with_topics(topics)
}

fn keep(
    world: &mut World,
    group: &str,
    topic: &str,
    partition: OffsetCommitRequestPartition,
) -> Result<(), ResponseError> {
    let metadata = partition.committed_metadata.map(|text| text.to_string()).unwrap_or_default();
    if metadata.len() > METADATA_BYTES_MAX {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    world.partition(topic, partition.partition_index)?;
    let (offset, leader_epoch) = (partition.committed_offset, partition.committed_leader_epoch);
    let committed = Committed { offset, leader_epoch, metadata };
    world.group(group)?.offsets.insert((topic.to_owned(), partition.partition_index), committed);
    Ok(())
}

/// Topic, partition, and what is committed there.
type Found = (String, i32, Option<Committed>);

/// What a group has committed for the given partitions, or all that it has.
fn committed(
    call: &Call<'_>,
    world: &World,
    id: &str,
    wanted: Option<Vec<(String, i32)>>,
) -> Result<Vec<Found>, ResponseError> {
    if world.coordinator(id) != Some(call.node) {
        return Err(ResponseError::NotCoordinator);
    }
    let offsets = world.groups.get(id).map(|group| &group.offsets);
    Ok(match wanted {
        Some(wanted) => wanted
            .into_iter()
            .map(|key| {
                let found = offsets.and_then(|offsets| offsets.get(&key)).cloned();
                (key.0, key.1, found)
            })
            .collect(),
        None => offsets
            .into_iter()
            .flatten()
            .map(|((topic, index), found)| (topic.clone(), *index, Some(found.clone())))
            .collect(),
    })
}

/// Groups what follows each other by topic.
fn by_topic<T>(found: Vec<Found>, one: impl Fn(i32, Option<Committed>) -> T) -> Vec<(TopicName, Vec<T>)> {
    let mut topics: Vec<(TopicName, Vec<T>)> = Vec::new();
    for (topic, index, committed) in found {
        let partition = one(index, committed);
        match topics.last_mut() {
            Some((name, partitions)) if name.as_str() == topic => partitions.push(partition),
            _ => topics.push((TopicName(text(topic)), vec![partition])),
        }
    }
    topics
}

fn keys<'a>(topics: impl Iterator<Item = (&'a TopicName, &'a Vec<i32>)>) -> Vec<(String, i32)> {
    topics.flat_map(|(name, indexes)| indexes.iter().map(|index| (name.to_string(), *index))).collect()
}

pub(super) fn fetch(call: &Call<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let world = call.shared.world();
    let answer = OffsetFetchResponse::default();
    if call.version >= GROUPS_SINCE {
        let groups = request.groups.into_iter().map(|wanted| {
            let topics = wanted.topics.as_ref();
            let keys = topics.map(|t| keys(t.iter().map(|t| (&t.name, &t.partition_indexes))));
            let group = OffsetFetchResponseGroup::default().with_group_id(wanted.group_id.clone());
            match committed(call, &world, &wanted.group_id, keys) {
                Err(error) => group.with_error_code(error.code()),
                Ok(found) => group.with_topics(several(found)),
            }
        });
        return answer.with_groups(groups.collect());
    }
    let topics = request.topics.as_ref();
    let keys = topics.map(|topics| keys(topics.iter().map(|t| (&t.name, &t.partition_indexes))));
    let error = match committed(call, &world, &request.group_id, keys.clone()) {
        Ok(found) => return answer.with_topics(one(found, 0)),
        Err(error) => error.code(),
    };
    // Version 1 has its error in the partitions alone.
    let missing = keys.unwrap_or_default().into_iter().map(|(topic, index)| (topic, index, None)).collect();
    answer.with_topics(one(missing, error)).with_error_code(error)
}

fn several(found: Vec<Found>) -> Vec<OffsetFetchResponseTopics> {
    let partition = |index, committed: Option<Committed>| {
        let partition = OffsetFetchResponsePartitions::default().with_partition_index(index);
        match committed {
            None => partition
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(text(""))),
            Some(committed) => partition
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(text(committed.metadata))),
        }
    };
    let topics = by_topic(found, partition).into_iter();
    topics.map(|(name, p)| OffsetFetchResponseTopics::default().with_name(name).with_partitions(p)).collect()
}

fn one(found: Vec<Found>, error: i16) -> Vec<OffsetFetchResponseTopic> {
    let partition = |index, committed: Option<Committed>| {
        let partition =
            OffsetFetchResponsePartition::default().with_partition_index(index).with_error_code(error);
        match committed {
            None => partition
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(text(""))),
            Some(committed) => partition
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(text(committed.metadata))),
        }
    };
    let topics = by_topic(found, partition).into_iter();
    topics.map(|(name, p)| OffsetFetchResponseTopic::default().with_name(name).with_partitions(p)).collect()
}
