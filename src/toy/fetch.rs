//! Fetch: records from the leader, waited for as long as the client allows. Sessions are answered as if
//! there were none, which is how a broker without room for one answers.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};
use tokio::time::Instant;

use super::call::{Call, text};
use super::world::World;
use crate::kafka::NodeId;

/// The first version that names where the new leader of a partition is (KIP-951).
const ENDPOINTS_SINCE: i16 = 16;

/// The first version that names the new leader of a partition.
const LEADERS_SINCE: i16 = 12;

/// The longest that a fetch waits, whatever the client allows.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A fetch that is being put together.
struct Answer {
    bytes: usize,
    bytes_max: usize,
    failed: bool,
    leaders: BTreeSet<NodeId>,
}

pub(super) async fn fetch(call: &Call<'_>, request: FetchRequest) -> FetchResponse {
    let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64).min(WAIT_MAX);
    let until = Instant::now() + wait;
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or_default();
    call.shared
        .wait(|world| {
            let (response, answer) = read(call, world, &request);
            let ready = answer.failed || answer.bytes >= bytes_min || Instant::now() >= until;
            if ready { Ok(response) } else { Err(until) }
        })
        .await
}

fn read(call: &Call<'_>, world: &mut World, request: &FetchRequest) -> (FetchResponse, Answer) {
    let mut answer = Answer {
        bytes: 0,
        bytes_max: usize::try_from(request.max_bytes).unwrap_or_default(),
        failed: false,
        leaders: BTreeSet::new(),
    };
    let topics: Vec<_> =
        request.topics.iter().map(|topic| read_topic(call, world, topic, &mut answer)).collect();
    let endpoints = answer.leaders.iter().filter_map(|node| call.endpoint(world, *node)).map(|endpoint| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(endpoint.node.0))
            .with_host(text(endpoint.host))
            .with_port(endpoint.port)
    });
    (FetchResponse::default().with_responses(topics).with_node_endpoints(endpoints.collect()), answer)
}

fn read_topic(
    call: &Call<'_>,
    world: &mut World,
    topic: &FetchTopic,
    answer: &mut Answer,
) -> FetchableTopicResponse {
    let found = world.topic(&topic.topic, topic.topic_id).map(|(name, _)| name.to_owned());
    let partitions = topic.partitions.iter().map(|wanted| {
        let read = match &found {
            Err(error) => Err(*error),
            Ok(name) => read_partition(call, world, name, wanted, answer),
        };
        let data = PartitionData::default().with_partition_index(wanted.partition);
        match read {
            Ok(log) => data
                .with_high_watermark(log.end)
                .with_last_stable_offset(log.end)
                .with_log_start_offset(log.start)
                .with_records(Some(log.records)),
            Err(error) => {
                answer.failed = true;
                let leader = found.as_ref().ok().and_then(|name| leader(call, world, name, wanted, error));
                if let Some(leader) = leader.as_ref().filter(|_| call.version >= ENDPOINTS_SINCE) {
                    answer.leaders.insert(NodeId(leader.leader_id.0));
                }
                data.with_error_code(error.code())
                    .with_high_watermark(-1)
                    .with_last_stable_offset(-1)
                    .with_log_start_offset(-1)
                    .with_records(Some(Bytes::new()))
                    .with_current_leader(leader.unwrap_or_default())
            }
        }
    });
    let partitions = partitions.collect();
    FetchableTopicResponse::default()
        .with_topic(topic.topic.clone())
        .with_topic_id(topic.topic_id)
        .with_partitions(partitions)
}

/// Who leads a partition now, for a client that asked the wrong broker.
fn leader(
    call: &Call<'_>,
    world: &mut World,
    topic: &str,
    wanted: &FetchPartition,
    error: ResponseError,
) -> Option<LeaderIdAndEpoch> {
    let moved = matches!(error, ResponseError::NotLeaderOrFollower | ResponseError::FencedLeaderEpoch);
    let partition = world.partition(topic, wanted.partition).ok()?;
    (moved && call.version >= LEADERS_SINCE).then(|| {
        LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(partition.leader.0))
            .with_leader_epoch(partition.epoch)
    })
}

struct Read {
    start: i64,
    end: i64,
    records: Bytes,
}

fn read_partition(
    call: &Call<'_>,
    world: &mut World,
    topic: &str,
    wanted: &FetchPartition,
    answer: &mut Answer,
) -> Result<Read, ResponseError> {
    let partition = world.partition(topic, wanted.partition)?;
    if partition.leader != call.node {
        return Err(ResponseError::NotLeaderOrFollower);
    }
    check_epoch(wanted.current_leader_epoch, partition.epoch)?;
    let (start, end) = (partition.log.start(), partition.log.end());
    if !(start..=end).contains(&wanted.fetch_offset) {
        return Err(ResponseError::OffsetOutOfRange);
    }
    let left = answer.bytes_max.saturating_sub(answer.bytes);
    let bytes_max = usize::try_from(wanted.partition_max_bytes).unwrap_or_default().min(left);
    let records = partition.log.read(wanted.fetch_offset, bytes_max, answer.bytes == 0);
    answer.bytes += records.len();
    Ok(Read { start, end, records })
}

/// Refuses a client that knows another leader epoch (KIP-320); -1 knows none.
pub(super) fn check_epoch(known: i32, epoch: i32) -> Result<(), ResponseError> {
    match known {
        -1 => Ok(()),
        known if known < epoch => Err(ResponseError::FencedLeaderEpoch),
        known if known > epoch => Err(ResponseError::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}
