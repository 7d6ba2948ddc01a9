//! ListOffsets and OffsetForLeaderEpoch: where a log starts, ends, and stood at a time or epoch.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use super::call::Call;
use super::fetch::check_epoch;
use super::log::Log;
use super::world::{Partition, World};

/// What clients ask for in place of a time.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

pub(super) fn list(call: &Call<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let world = &mut call.shared.world();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
            let found = led(call, world, &topic.name, wanted.partition_index)
                .and_then(|p| check_epoch(wanted.current_leader_epoch, p.epoch).map(|()| p));
            match found {
                Err(error) => answer.with_error_code(error.code()).with_offset(-1).with_timestamp(-1),
                Ok(partition) => {
                    let (offset, timestamp) = position(&partition.log, wanted.timestamp);
                    let epoch = if call.version >= 4 && offset >= 0 { partition.epoch } else { -1 };
                    answer.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
                }
            }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// The offset for a time, and the time of the record there; -1 where there is none.
fn position(log: &Log, timestamp: i64) -> (i64, i64) {
    match timestamp {
        LATEST => (log.end(), -1),
        EARLIEST | EARLIEST_LOCAL => (log.start(), -1),
        MAX_TIMESTAMP => log.newest().unwrap_or((-1, -1)),
        time if time >= 0 => log.offset_at(time).unwrap_or((-1, -1)),
        // Nothing of the log is tiered.
        _ => (-1, -1),
    }
}

/// A partition, if this broker leads it.
fn led<'a>(
    call: &Call<'_>,
    world: &'a mut World,
    topic: &str,
    index: i32,
) -> Result<&'a mut Partition, ResponseError> {
    let partition = world.partition(topic, index)?;
    if partition.leader == call.node { Ok(partition) } else { Err(ResponseError::NotLeaderOrFollower) }
}

pub(super) fn end_of_epoch(
    call: &Call<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let world = &mut call.shared.world();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let answer = EpochEndOffset::default().with_partition(wanted.partition);
            let found = led(call, world, &topic.topic, wanted.partition)
                .and_then(|p| check_epoch(wanted.current_leader_epoch, p.epoch).map(|()| p));
            match found.map(|partition| partition.log.end_of_epoch(wanted.leader_epoch)) {
                Err(error) => answer.with_error_code(error.code()).with_leader_epoch(-1).with_end_offset(-1),
                Ok(None) => answer.with_leader_epoch(-1).with_end_offset(-1),
                Ok(Some((epoch, end))) => answer.with_leader_epoch(epoch).with_end_offset(end),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
