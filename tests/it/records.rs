//! Record batches for tests, made and read by `kafka-protocol`.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use uuid::Uuid;

use crate::client::text;

/// A batch of one value per record, of a producer (id, epoch, first sequence number) or of none (-1).
pub(crate) fn batch(values: &[&str], producer: (i64, i16, i32)) -> Bytes {
    let record = |(index, value): (usize, &&str)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: producer.0,
        producer_epoch: producer.1,
        timestamp_type: TimestampType::Creation,
        offset: index as i64,
        sequence: producer.2 + if producer.2 < 0 { 0 } else { index as i32 },
        timestamp: 1_000 + index as i64,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    };
    let records: Vec<Record> = values.iter().enumerate().map(record).collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, &records, &options).expect("a batch");
    out.freeze()
}

/// Offset and value of every record of some batches.
pub(crate) fn values(records: Bytes) -> Vec<(i64, String)> {
    let mut records = records;
    let sets = RecordBatchDecoder::decode_all(&mut records).expect("batches");
    let value = |record: Record| {
        (record.offset, String::from_utf8(record.value.unwrap_or_default().to_vec()).expect("a text"))
    };
    sets.into_iter().flat_map(|set| set.records).map(value).collect()
}

/// A Produce request for one partition; by topic id from version 13 on.
pub(crate) fn produce(
    topic: (&str, Uuid),
    partition: i32,
    records: Bytes,
    acks: i16,
    version: i16,
) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic_data = if version >= 13 {
        TopicProduceData::default().with_topic_id(topic.1)
    } else {
        TopicProduceData::default().with_name(TopicName(text(topic.0)))
    };
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![topic_data.with_partition_data(vec![data])])
}
