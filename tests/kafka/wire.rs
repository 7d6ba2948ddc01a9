//! The harness's own Kafka client: raw requests to one broker, for administration and for the oracle.
//!
//! It runs on a thread inside a namespace (`Lab::inside`) and uses versions that every broker of the tests speaks.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::pbkdf2;
use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        AlterPartitionReassignmentsRequest, AlterUserScramCredentialsRequest, BrokerId, CreateTopicsRequest,
        DescribeUserScramCredentialsRequest, ElectLeadersRequest, FindCoordinatorRequest, MetadataRequest,
        MetadataResponse, RequestHeader, ResponseHeader, TopicName,
        alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
        alter_user_scram_credentials_request::ScramCredentialUpsertion,
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        describe_user_scram_credentials_request::UserName,
        elect_leaders_request::TopicPartitions,
        metadata_request::MetadataRequestTopic,
        metadata_response::MetadataResponseTopic,
    },
    protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request, StrBytes},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{
    Result,
    poll::{self, LIMIT},
    records,
};

/// A connection to one broker, or to a gateway.
pub(crate) struct Connection {
    stream: Stream,
    correlation_id: i32,
}

/// What carries its bytes.
pub(crate) enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over it.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Connection {
    /// Connects to `address`.
    pub(crate) fn open(address: &str) -> Result<Self> {
        Ok(Self { stream: Stream::Plain(connect(address)?), correlation_id: 0 })
    }

    /// Connects to `address`, asks for `name` and completes the handshake as far as a client sees it: in TLS 1.3
    /// the server may refuse the client's certificate afterwards.
    pub(crate) fn open_tls(address: &str, name: &str, config: &Arc<ClientConfig>) -> Result<Self> {
        let mut tcp = connect(address)?;
        let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(name.to_owned())?)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self { stream: Stream::Tls(Box::new(StreamOwned::new(tls, tcp))), correlation_id: 0 })
    }

    /// The session of a TLS connection.
    pub(crate) fn session(&self) -> Result<&ClientConnection> {
        match &self.stream {
            Stream::Plain(_) => Err("not a TLS connection".into()),
            Stream::Tls(stream) => Ok(&stream.conn),
        }
    }

    /// The local address, by which the gateway lists the connection.
    pub(crate) fn local_address(&self) -> Result<SocketAddr> {
        Ok(match &self.stream {
            Stream::Plain(stream) => stream.local_addr()?,
            Stream::Tls(stream) => stream.sock.local_addr()?,
        })
    }

    /// Sends `request` and waits for its response.
    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.send(version, request)?;
        self.receive::<R>(version)
    }

    /// Sends `request` without waiting.
    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<()> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("harness")));
        let mut frame = BytesMut::new();
        frame.extend_from_slice(&[0; 4]);
        header.encode(&mut frame, R::header_version(version))?;
        request.encode(&mut frame, version)?;
        let length = u32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame)?;
        Ok(())
    }

    /// Reads the response to the request sent last.
    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let mut frame = vec![0; self.receive_length()?];
        self.stream.read_exact(&mut frame)?;
        let mut frame = Bytes::from(frame);
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))?;
        if header.correlation_id != self.correlation_id {
            return Err(format!(
                "correlation id {} instead of {}",
                header.correlation_id, self.correlation_id
            )
            .into());
        }
        Ok(R::Response::decode(&mut frame, version)?)
    }

    /// Reads the length of the next frame.
    pub(crate) fn receive_length(&mut self) -> Result<usize> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        Ok(usize::try_from(u32::from_be_bytes(length))?)
    }

    /// The socket, for readers with a pace of their own.
    pub(crate) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IO_LIMIT))?;
    stream.set_write_timeout(Some(IO_LIMIT))?;
    Ok(stream)
}

/// What Metadata says about `topics` (all when `None`), asked at the first broker that answers.
pub(crate) fn metadata(bootstrap: &[String], topics: Option<&[&str]>) -> Result<MetadataResponse> {
    let topics = topics.map(|names| {
        names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name)))).collect()
    });
    let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false);
    any(bootstrap, |connection| connection.call(METADATA, &request))
}

/// Whether every broker of `bootstrap` knows three brokers, and every partition has all its replicas in sync.
pub(crate) fn whole(bootstrap: &[String]) -> Result<bool> {
    for address in bootstrap {
        let metadata = metadata(std::slice::from_ref(address), None)?;
        let mut partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
        let in_sync = partitions.all(|partition| {
            partition.leader_id.0 >= 0 && partition.isr_nodes.len() == partition.replica_nodes.len()
        });
        if metadata.brokers.len() != 3 || !in_sync {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Proves that the cluster takes records: one to each partition of a topic of its own.
pub(crate) fn probe(bootstrap: &[String]) -> Result<()> {
    const TOPIC: &str = "harness-probe";
    create_topic(bootstrap, TOPIC, &spread(3, 3), &[])?;
    for (partition, leader) in leaders(bootstrap, TOPIC)? {
        records::produce(&mut Connection::open(&leader.1)?, TOPIC, partition, &[b"probe".as_slice()])?;
    }
    Ok(())
}

/// Replica lists of `partitions` partitions over the three nodes, the first replica going round.
pub(crate) fn spread(partitions: i32, replicas: i32) -> Vec<Vec<i32>> {
    (0..partitions)
        .map(|partition| (0..replicas).map(|replica| (partition + replica) % 3 + 1).collect())
        .collect()
}

/// Creates `topic` with one replica list for each partition; one that exists is fine. Then every broker
/// of `bootstrap` knows its leaders: they hear of it up to half a second apart, and clients ask any of them.
pub(crate) fn create_topic(
    bootstrap: &[String],
    name: &str,
    replicas: &[Vec<i32>],
    settings: &[(&str, &str)],
) -> Result<()> {
    let assignments = replicas.iter().zip(0..).map(|(nodes, partition)| {
        let nodes = nodes.iter().copied().map(BrokerId).collect();
        CreatableReplicaAssignment::default().with_partition_index(partition).with_broker_ids(nodes)
    });
    let configs = settings.iter().map(|(name, value)| {
        CreatableTopicConfig::default().with_name(string(name)).with_value(Some(string(value)))
    });
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(assignments.collect())
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS);
    let controller = controller(bootstrap)?;
    let response = Connection::open(&controller)?.call(4, &request)?;
    for result in response.topics {
        if ![0, TOPIC_ALREADY_EXISTS].contains(&result.error_code) {
            return Err(format!("create {}: error {}", result.name.0.as_str(), result.error_code).into());
        }
    }
    poll::until_true("leaders of a new topic on every broker", LIMIT, || {
        let known = |address| Ok(leaders(std::slice::from_ref(address), name)?.len() == replicas.len());
        bootstrap.iter().map(known).try_fold(true, |all, known: Result<bool>| Ok(all && known?))
    })?;
    poll::until_true("leaders that know it", LIMIT, || records::are_led(bootstrap, name))
}

/// The leader of each partition of `topic`: node id and plain address; fails while one has none.
pub(crate) fn leaders(bootstrap: &[String], topic: &str) -> Result<BTreeMap<i32, (i32, String)>> {
    let metadata = metadata(bootstrap, Some(&[topic]))?;
    let described = metadata.topics.first().ok_or("no topic in the answer")?;
    let mut leaders = BTreeMap::new();
    for partition in &described.partitions {
        let broker = metadata.brokers.iter().find(|broker| broker.node_id == partition.leader_id);
        let broker = broker
            .ok_or_else(|| format!("partition {} of {topic} has no leader", partition.partition_index))?;
        leaders.insert(
            partition.partition_index,
            (broker.node_id.0, format!("{}:{}", broker.host.as_str(), broker.port)),
        );
    }
    if leaders.is_empty() {
        return Err(format!("{topic} has no partitions: error {}", described.error_code).into());
    }
    Ok(leaders)
}

/// What the newest Metadata says of `topic`, its id among it.
pub(crate) fn described(bootstrap: &[String], topic: &str) -> Result<MetadataResponseTopic> {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    let response = any(bootstrap, |connection| connection.call(12, &request))?;
    response.topics.into_iter().next().ok_or_else(|| "no topic in the answer".into())
}

/// Gives `partition` the replica list `nodes`, whose first is the preferred leader, and makes that one lead.
pub(crate) fn move_leader(bootstrap: &[String], topic: &str, partition: i32, nodes: &[i32]) -> Result<()> {
    let replicas = Some(nodes.iter().copied().map(BrokerId).collect());
    let partitions =
        vec![ReassignablePartition::default().with_partition_index(partition).with_replicas(replicas)];
    let topics = vec![ReassignableTopic::default().with_name(topic_name(topic)).with_partitions(partitions)];
    let request =
        AlterPartitionReassignmentsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS);
    let mut connection = Connection::open(&controller(bootstrap)?)?;
    let response = connection.call(0, &request)?;
    if response.error_code != 0 {
        return Err(format!("reassignment: error {}", response.error_code).into());
    }
    let partitions =
        vec![TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(vec![partition])];
    let request = ElectLeadersRequest::default()
        .with_election_type(0)
        .with_topic_partitions(Some(partitions))
        .with_timeout_ms(TIMEOUT_MS);
    connection.call(1, &request)?;
    if leaders(bootstrap, topic)?.get(&partition).map(|leader| leader.0) == nodes.first().copied() {
        return Ok(());
    }
    Err(format!("partition {partition} of {topic} is not led by {nodes:?} yet").into())
}

/// The node that coordinates `group`.
pub(crate) fn coordinator(bootstrap: &[String], group: &str) -> Result<i32> {
    let request = FindCoordinatorRequest::default().with_key(string(group));
    let response = any(bootstrap, |connection| connection.call(1, &request))?;
    if response.error_code != 0 {
        return Err(format!("coordinator of {group}: error {}", response.error_code).into());
    }
    Ok(response.node_id.0)
}

/// Gives `user` a password for SCRAM-SHA-512 and waits until every broker knows it.
pub(crate) fn scram_user(bootstrap: &[String], user: &str, password: &str) -> Result<()> {
    const SCRAM_SHA_512: i8 = 2;
    const ITERATIONS: u32 = 4096;
    // As long as one of Kafka's own.
    let salt = format!("{user:0>26}");
    let mut salted = [0; 64];
    let iterations = NonZeroU32::new(ITERATIONS).ok_or("no iterations")?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, iterations, salt.as_bytes(), password.as_bytes(), &mut salted);
    let upsertion = ScramCredentialUpsertion::default()
        .with_name(string(user))
        .with_mechanism(SCRAM_SHA_512)
        .with_iterations(ITERATIONS.cast_signed())
        .with_salt(Bytes::from(salt))
        .with_salted_password(Bytes::copy_from_slice(&salted));
    let request = AlterUserScramCredentialsRequest::default().with_upsertions(vec![upsertion]);
    let answer = Connection::open(&controller(bootstrap)?)?.call(0, &request)?;
    if let Some(refused) = answer.results.iter().find(|result| result.error_code != 0) {
        return Err(format!("user {user}: error {}", refused.error_code).into());
    }
    let known = DescribeUserScramCredentialsRequest::default()
        .with_users(Some(vec![UserName::default().with_name(string(user))]));
    poll::until_true("a user that all brokers know", LIMIT, || {
        for address in bootstrap {
            let answer = Connection::open(address)?.call(0, &known)?;
            if answer.results.iter().any(|result| result.error_code != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// A topic's name in the type of the messages.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(string(name))
}

/// A string in the type of the messages.
pub(crate) fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn controller(bootstrap: &[String]) -> Result<String> {
    let metadata = metadata(bootstrap, Some(&[]))?;
    let node = metadata.brokers.iter().find(|broker| broker.node_id == metadata.controller_id);
    let node = node.ok_or("no controller")?;
    Ok(format!("{}:{}", node.host.as_str(), node.port))
}

fn any<T>(bootstrap: &[String], mut ask: impl FnMut(&mut Connection) -> Result<T>) -> Result<T> {
    let mut last = Err("no broker to ask".into());
    for address in bootstrap {
        last = Connection::open(address).and_then(|mut connection| ask(&mut connection));
        if last.is_ok() {
            break;
        }
    }
    last
}

const METADATA: i16 = 5;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const TIMEOUT_MS: i32 = 15_000;
const IO_LIMIT: Duration = Duration::from_secs(60);
