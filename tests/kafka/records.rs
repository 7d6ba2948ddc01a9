//! Records written and read beside the gateway: the oracle's side of every test.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        FetchRequest, FetchResponse, ProduceRequest,
        fetch_request::{FetchPartition, FetchTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
    records::{
        Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record,
        RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    },
};

use crate::{
    Result,
    wire::{self, Connection, topic_name},
};

/// One record as the oracle read it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its key, empty without one.
    pub(crate) key: Bytes,
    /// Its value, empty without one.
    pub(crate) value: Bytes,
}

/// Writes `values` to one partition in one batch with acks=all.
pub(crate) fn produce(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    values: &[&[u8]],
) -> Result<()> {
    let request = produce_request(topic, partition, batch(values)?);
    let response = connection.call(PRODUCE, &request)?;
    let errors = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .map(|partition| partition.error_code);
    match errors.into_iter().find(|code| *code != 0) {
        Some(code) => Err(format!("produce to {topic}-{partition}: error {code}").into()),
        None => Ok(()),
    }
}

/// A Produce request of one batch with acks=all.
pub(crate) fn produce_request(topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic])
}

/// One record batch.
pub(crate) fn batch(values: &[&[u8]]) -> Result<Bytes> {
    let records: Vec<Record> = values.iter().zip(0..).map(|(value, offset)| record(value, offset)).collect();
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(
        &mut bytes,
        &records,
        &RecordEncodeOptions { version: 2, compression: Compression::None },
    )?;
    Ok(bytes.freeze())
}

/// A Fetch request for `partitions` (partition, offset) of one topic.
pub(crate) fn fetch_request(topic: &str, partitions: &[(i32, i64)], max_bytes: i32) -> FetchRequest {
    let partitions = partitions.iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(max_bytes)
    });
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(partitions.collect());
    FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
        .with_rack_id(StrBytes::from_static_str(""))
}

/// Every record of `topic` in order, partition by partition, read from the leaders.
pub(crate) fn read_all(bootstrap: &[String], topic: &str) -> Result<BTreeMap<i32, Vec<Seen>>> {
    let mut partitions = BTreeMap::new();
    for (partition, (_, address)) in wire::leaders(bootstrap, topic)? {
        partitions.insert(partition, read_partition(&address, topic, partition)?);
    }
    Ok(partitions)
}

/// Whether the leader of each partition of `topic` knows that it leads, which others may hear of earlier.
pub(crate) fn are_led(bootstrap: &[String], topic: &str) -> Result<bool> {
    for (partition, (_, address)) in wire::leaders(bootstrap, topic)? {
        let request = fetch_request(topic, &[(partition, 0)], 1);
        let response: FetchResponse = Connection::open(&address)?.call(FETCH, &request)?;
        if response.responses.iter().flat_map(|topic| &topic.partitions).any(|answer| answer.error_code != 0)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_partition(address: &str, topic: &str, partition: i32) -> Result<Vec<Seen>> {
    let mut connection = Connection::open(address)?;
    let mut seen = Vec::new();
    let mut offset = 0;
    loop {
        let request = fetch_request(topic, &[(partition, offset)], 1 << 20);
        let response: FetchResponse = connection.call(FETCH, &request)?;
        let answer = response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
            .next()
            .ok_or("an empty answer")?;
        if answer.error_code != 0 {
            return Err(format!("fetch of {topic}-{partition}: error {}", answer.error_code).into());
        }
        if offset >= answer.high_watermark {
            return Ok(seen);
        }
        let mut whole = whole_batches(&answer.records.unwrap_or_default());
        for record in RecordBatchDecoder::decode_all(&mut whole)?.into_iter().flat_map(|set| set.records) {
            if record.offset < offset {
                continue;
            }
            offset = record.offset + 1;
            if !record.control {
                seen.push(Seen {
                    key: record.key.unwrap_or_default(),
                    value: record.value.unwrap_or_default(),
                });
            }
        }
    }
}

/// The batches that are there to their last byte: a fetch may cut the last one.
fn whole_batches(records: &Bytes) -> Bytes {
    let mut whole = 0;
    while let Some(mut length) = records.get(whole + 8..whole + 12) {
        let next = whole + 12 + usize::try_from(length.get_u32()).unwrap_or(usize::MAX);
        if next > records.len() {
            break;
        }
        whole = next;
    }
    records.slice(..whole)
}

/// What a verdict over a topic counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Distinct sequence numbers read.
    pub(crate) distinct: usize,
    /// Records that repeat an earlier sequence number.
    pub(crate) duplicates: usize,
    /// Acknowledged sequence numbers that were not read.
    pub(crate) lost: usize,
    /// Records that come after a later one of the same key.
    pub(crate) disordered: usize,
}

/// Compares `topic` (values `TOPIC:<seq>`) with the acknowledged sequence numbers.
pub(crate) fn judge(bootstrap: &[String], topic: &str, acknowledged: &BTreeSet<u64>) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut seen = BTreeSet::new();
    for record in read_all(bootstrap, topic)?.into_values() {
        let mut last: BTreeMap<Bytes, u64> = BTreeMap::new();
        for Seen { key, value } in record {
            let text = std::str::from_utf8(&value)?;
            let sequence: u64 = text
                .rsplit(':')
                .next()
                .unwrap_or_default()
                .parse()
                .map_err(|_| format!("foreign value {text:?}"))?;
            if !seen.insert(sequence) {
                verdict.duplicates += 1;
            }
            if last.insert(key, sequence).is_some_and(|earlier| earlier > sequence) {
                verdict.disordered += 1;
            }
        }
    }
    verdict.distinct = seen.len();
    verdict.lost = acknowledged.difference(&seen).count();
    Ok(verdict)
}

fn record(value: &[u8], offset: i64) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset,
        // The encoder puts records into one batch only where both go up together.
        sequence: i32::try_from(offset).unwrap_or_default(),
        timestamp: 1_700_000_000_000,
        key: None,
        value: Some(Bytes::copy_from_slice(value)),
        headers: Default::default(),
    }
}

const PRODUCE: i16 = 7;
/// The newest that all brokers of the tests know.
const FETCH: i16 = 11;
