//! The smallest Kafka client that can show something: one connection, one request at a time.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    FetchRequest, MetadataRequest, ProduceRequest, RequestHeader, TopicName, fetch_request, metadata_request,
    produce_request,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kafka::shape;
use crate::kafka::walk::{self, Field};
use crate::kafka::wire::{self, Reader};
use crate::tls::client::Connector;
use crate::tls::stream::{self, Transport};

/// The versions that are spoken: all flexible, all without topic ids.
const METADATA: i16 = 12;
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;

/// The longest answer; the records of the demo are small, those of others in the topic may be larger.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// How long a broker may take to answer; a fetch waits less.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a fetch waits for a record, in milliseconds.
const FETCH_WAIT_MS: i32 = 500;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("no TLS")]
    Tls(#[from] stream::Error),
    #[error("the broker's host is no name that a certificate could be for")]
    Name(#[from] InvalidDnsNameError),
    #[error("no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("the answer is malformed")]
    Malformed(#[from] wire::Error),
    #[error("a message cannot be written or read")]
    Codec,
    #[error("the broker answered with error {0}")]
    Refused(i16),
}

/// A connection to one broker.
pub(super) struct Client {
    stream: Transport,
    correlation_id: i32,
}

impl Client {
    pub(super) async fn connect(host: &str, port: u16, tls: Option<&Connector>) -> Result<Self, Error> {
        let connect = async {
            let socket = TcpStream::connect((host, port)).await?;
            socket.set_nodelay(true)?;
            let Some(tls) = tls else { return Ok(Transport::Plain(socket)) };
            let name = ServerName::try_from(host.to_owned())?;
            Ok::<_, Error>(Transport::Tls(Box::new(stream::connect(socket, name, tls.config()).await?)))
        };
        let stream = tokio::time::timeout(ANSWER_WITHIN, connect).await??;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// Host and port of the broker that leads a partition.
    pub(super) async fn leader(&mut self, topic: &str, partition: i32) -> Result<(String, u16), Error> {
        let asked = metadata_request::MetadataRequestTopic::default().with_name(Some(name(topic)));
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        let answer = self.call(&request, METADATA, shape::METADATA_RESPONSE).await?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let found = partitions.find(|p| p.partition_index == partition).ok_or(Error::Codec)?;
        let leader = answer.brokers.iter().find(|broker| broker.node_id == found.leader_id);
        let leader = leader.ok_or(Error::Refused(found.error_code))?;
        Ok((leader.host.to_string(), u16::try_from(leader.port).map_err(|_| Error::Codec)?))
    }

    /// Writes one record.
    pub(super) async fn produce(&mut self, topic: &str, partition: i32, value: String) -> Result<(), Error> {
        let data = produce_request::PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch(value)?));
        let topic = produce_request::TopicProduceData::default()
            .with_name(name(topic))
            .with_partition_data(vec![data]);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic]);
        let answer = self.call(&request, PRODUCE, shape::PRODUCE_RESPONSE).await?;
        let codes = answer.responses.iter().flat_map(|t| &t.partition_responses).map(|p| p.error_code);
        codes.into_iter().find(|code| *code != 0).map_or(Ok(()), |code| Err(Error::Refused(code)))
    }

    /// Waits for records from an offset on; returns the offset after the last one, the given one if
    /// there is none yet.
    pub(super) async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Result<i64, Error> {
        let wanted = fetch_request::FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let topic =
            fetch_request::FetchTopic::default().with_topic(name(topic)).with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_max_wait_ms(FETCH_WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic]);
        let answer = self.call(&request, FETCH, shape::FETCH_RESPONSE).await?;
        let partition = answer.responses.iter().flat_map(|topic| &topic.partitions).next();
        let partition = partition.ok_or(Error::Codec)?;
        if partition.error_code != 0 {
            return Err(Error::Refused(partition.error_code));
        }
        let read = partition.records.as_ref().is_some_and(|records| !records.is_empty());
        Ok(if read { partition.high_watermark } else { offset })
    }

    async fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        shape: &'static [Field],
    ) -> Result<R::Response, Error> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("gatehouse-demo")));
        let mut frame = BytesMut::from(&[0; 4][..]);
        header.encode(&mut frame, R::header_version(version)).map_err(|_| Error::Codec)?;
        request.encode(&mut frame, version).map_err(|_| Error::Codec)?;
        let length = u32::try_from(frame.len() - 4).map_err(|_| Error::Codec)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let answer = tokio::time::timeout(ANSWER_WITHIN, async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await?;
            self.answer().await
        });
        let mut body = walked(&answer.await??, self.correlation_id, version, shape)?;
        R::Response::decode(&mut body, version).map_err(|_| Error::Codec)
    }

    async fn answer(&mut self) -> Result<Bytes, Error> {
        let length = self.stream.read_u32().await? as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(Error::Codec);
        }
        let mut answer = Vec::new();
        (&mut self.stream).take(length as u64).read_to_end(&mut answer).await?;
        if answer.len() < length {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        } else {
            Ok(answer.into())
        }
    }
}

/// The body of an answer, after our own walker has passed it: a decoder reserves memory by the counts it
/// finds.
fn walked(answer: &Bytes, id: i32, version: i16, shape: &'static [Field]) -> Result<Bytes, Error> {
    let mut reader = Reader::new(answer);
    if reader.i32()? != id {
        return Err(Error::Codec);
    }
    reader.skip_tags()?;
    let body = answer.slice(reader.position()..);
    let walked = walk::measure(shape, version, true, &body)?;
    // Some shapes end before the tags of the body.
    let mut rest = Reader::new(body.get(walked..).unwrap_or_default());
    if rest.remaining() > 0 {
        rest.skip_tags()?;
    }
    if rest.remaining() > 0 { Err(Error::Codec) } else { Ok(body) }
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// A batch of one record.
fn batch(value: String) -> Result<Bytes, Error> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: i64::try_from(now.as_millis()).unwrap_or_default(),
        key: None,
        value: Some(value.into()),
        headers: kafka_protocol::indexmap::IndexMap::new(),
    };
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut out, [&record], &options).map_err(|_| Error::Codec)?;
    Ok(out.freeze())
}
