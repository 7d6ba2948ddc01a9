//! What all brokers of the toy cluster share: which of them run, the topics, the groups.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kafka_protocol::error::ResponseError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::log::Log;
use super::rebalance::Group;
use crate::kafka::NodeId;

/// How many partitions all topics may have together.
const PARTITIONS_MAX: usize = 100_000;

/// How many groups there may be.
const GROUPS_MAX: usize = 10_000;

/// Where a broker says that it is. It may be anything, also what no client can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The broker.
    pub node: NodeId,
    /// The host that clients are told.
    pub host: String,
    /// The port that clients are told.
    pub port: i32,
}

/// One broker.
pub(super) struct Broker {
    /// Where it listens, or listened before it was stopped.
    pub(super) bound: SocketAddr,
    /// What clients are told.
    pub(super) advertised: Endpoint,
    /// There while it runs.
    pub(super) running: Option<Running>,
}

/// The tasks of a running broker.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

pub(super) struct Topic {
    pub(super) id: Uuid,
    pub(super) partitions: Vec<Partition>,
}

pub(super) struct Partition {
    pub(super) leader: NodeId,
    pub(super) epoch: i32,
    pub(super) replicas: Vec<NodeId>,
    pub(super) log: Log,
}

/// The state of the cluster.
pub(super) struct World {
    pub(super) cluster_id: String,
    pub(super) brokers: BTreeMap<NodeId, Broker>,
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) groups: BTreeMap<String, Group>,
    /// Coordinators that were moved by hand.
    pub(super) coordinators: BTreeMap<String, NodeId>,
    next_producer_id: i64,
    next_member: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            cluster_id: random_id().simple().to_string()[..22].to_owned(),
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            next_producer_id: 1_000,
            next_member: 0,
        }
    }

    /// The brokers that run, by id.
    pub(super) fn alive(&self) -> Vec<NodeId> {
        self.brokers.iter().filter(|(_, b)| b.running.is_some()).map(|(node, _)| *node).collect()
    }

    /// Where the brokers that run say that they are.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.brokers.values().filter(|b| b.running.is_some()).map(|b| b.advertised.clone()).collect()
    }

    /// The controller, -1 when no broker runs.
    pub(super) fn controller(&self) -> NodeId {
        self.alive().first().copied().unwrap_or(NodeId(-1))
    }

    /// The coordinator of a group.
    pub(super) fn coordinator(&self, group: &str) -> Option<NodeId> {
        let alive = self.alive();
        if let Some(moved) = self.coordinators.get(group).filter(|node| alive.contains(node)) {
            return Some(*moved);
        }
        let sum: usize = group.bytes().map(usize::from).sum();
        alive.get(sum.checked_rem(alive.len())?).copied()
    }

    /// A producer id that was never given before.
    pub(super) fn producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id
    }

    /// A member id that was never given before.
    pub(super) fn member_id(&mut self, client_id: &str) -> String {
        self.next_member += 1;
        let client_id: String = client_id.chars().take(100).collect();
        format!("{client_id}-{}-{}", self.next_member, random_id())
    }

    /// A topic by its name, or by its id where the request has ids.
    pub(super) fn topic(&self, name: &str, id: Uuid) -> Result<(&str, &Topic), ResponseError> {
        if id.is_nil() {
            let found = self.topics.get_key_value(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
            return Ok((found.0, found.1));
        }
        let found = self.topics.iter().find(|(_, topic)| topic.id == id);
        found.map(|(name, topic)| (name.as_str(), topic)).ok_or(ResponseError::UnknownTopicId)
    }

    /// A partition of a topic, to change it.
    pub(super) fn partition(&mut self, name: &str, index: i32) -> Result<&mut Partition, ResponseError> {
        let index = usize::try_from(index).map_err(|_| ResponseError::UnknownTopicOrPartition)?;
        let topic = self.topics.get_mut(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        topic.partitions.get_mut(index).ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// A group that may be there, made when it is not.
    pub(super) fn group(&mut self, id: &str) -> Result<&mut Group, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(id) {
            return Err(ResponseError::PolicyViolation);
        }
        Ok(self.groups.entry(id.to_owned()).or_default())
    }

    /// Makes a topic. Partitions take the brokers in turn, from the first on.
    pub(super) fn create(&mut self, name: &str, partitions: i32, replicas: i16) -> Result<(), ResponseError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=249).contains(&name.len()) || matches!(name, "." | "..") || !name.bytes().all(legal) {
            return Err(ResponseError::InvalidTopicException);
        }
        if self.topics.contains_key(name) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        if partitions < 1 {
            return Err(ResponseError::InvalidPartitions);
        }
        if replicas < 1 || replicas as usize > self.brokers.len() {
            return Err(ResponseError::InvalidReplicationFactor);
        }
        let replicas = replicas as usize;
        self.room_for(partitions as usize)?;
        let partitions = (0..partitions as usize).map(|index| self.new_partition(index, replicas)).collect();
        self.topics.insert(name.to_owned(), Topic { id: random_id(), partitions });
        Ok(())
    }

    /// Adds partitions to a topic until it has `count`.
    pub(super) fn grow(&mut self, name: &str, count: i32) -> Result<(), ResponseError> {
        let topic = self.topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let have = topic.partitions.len();
        let count = usize::try_from(count).ok().filter(|count| *count > have);
        let count = count.ok_or(ResponseError::InvalidPartitions)?;
        self.room_for(count - have)?;
        let replicas = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
        let mut more: Vec<_> = (have..count).map(|index| self.new_partition(index, replicas)).collect();
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partitions.append(&mut more);
        }
        Ok(())
    }

    fn room_for(&self, partitions: usize) -> Result<(), ResponseError> {
        let have: usize = self.topics.values().map(|topic| topic.partitions.len()).sum();
        if have.saturating_add(partitions) > PARTITIONS_MAX {
            Err(ResponseError::PolicyViolation)
        } else {
            Ok(())
        }
    }

    fn new_partition(&self, index: usize, replicas: usize) -> Partition {
        let nodes: Vec<NodeId> = self.brokers.keys().copied().collect();
        let replicas: Vec<NodeId> =
            nodes.iter().cycle().skip(index % nodes.len().max(1)).take(replicas).copied().collect();
        let alive = self.alive();
        let leader = replicas.iter().find(|node| alive.contains(node)).copied().unwrap_or(NodeId(-1));
        Partition { leader, epoch: 0, replicas, log: Log::default() }
    }

    /// Gives each partition without a running leader a new one.
    pub(super) fn elect(&mut self) {
        let alive = self.alive();
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            if alive.contains(&partition.leader) {
                continue;
            }
            let next = partition.replicas.iter().find(|node| alive.contains(node));
            partition.lead_by(next.copied().unwrap_or(NodeId(-1)));
        }
    }

    /// Drops the oldest records of the fullest partition while all partitions hold more than `bytes_max`.
    pub(super) fn trim(&mut self, bytes_max: usize) {
        let held: usize = self.topics.values().flat_map(|t| &t.partitions).map(|p| p.log.bytes()).sum();
        if held <= bytes_max {
            return;
        }
        let partitions = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
        if let Some(fullest) = partitions.max_by_key(|partition| partition.log.bytes()) {
            fullest.log.trim(fullest.log.bytes() / 2);
        }
    }
}

impl Partition {
    /// Makes a broker the leader; it becomes a replica if it was none.
    pub(super) fn lead_by(&mut self, node: NodeId) {
        if node != self.leader {
            self.leader = node;
            self.epoch += 1;
        }
        if node.0 >= 0 && !self.replicas.contains(&node) {
            self.replicas.push(node);
        }
    }
}

/// A random id. Without randomness the toy has no ids to give, so it falls back to a fixed one.
fn random_id() -> Uuid {
    let mut bytes = [7; 16];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    Uuid::from_bytes(bytes)
}
