//! A small Kafka cluster in memory: what `gatehouse demo` shows, and a test double that misbehaves on
//! request. It serves producers, consumers, classic groups and the usual administration; no transactions.

mod broker;
mod call;
mod commits;
mod configs;
mod coordinator;
mod describe;
mod fetch;
mod groups;
mod log;
mod membership;
mod metadata;
pub mod misbehaviour;
mod offsets;
mod produce;
mod rebalance;
mod sasl;
mod scram;
pub mod seen;
mod served;
mod topics;
pub mod world;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::misbehaviour::{Misbehaviour, Rules};
use self::seen::Seen;
use self::world::{Broker, Endpoint, Running, World};
use crate::kafka::NodeId;

/// What a toy cluster is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many brokers there are at the start, at least 1.
    pub brokers: u16,
    /// The id of the first broker; the others count up from it.
    pub first_node: NodeId,
    /// Where the brokers listen, each on a port that the system picks.
    pub bind: IpAddr,
    /// How many partitions a topic gets that is made because a client names it; `None`: none is made.
    pub auto_create_partitions: Option<i32>,
    /// How many bytes a partition keeps; older records are dropped, the newest batch stays.
    pub partition_bytes_max: usize,
    /// How many bytes all partitions keep together.
    pub log_bytes_max: usize,
    /// Who may log in with PLAIN or SCRAM; with nobody here no login is asked for.
    pub users: Vec<User>,
    /// How many requests are remembered.
    pub seen_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: 3,
            first_node: NodeId(0),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            auto_create_partitions: Some(3),
            partition_bytes_max: 64 << 20,
            log_bytes_max: 256 << 20,
            users: Vec::new(),
            seen_max: 10_000,
        }
    }
}

/// A name and a password, both of them public: this is a toy.
#[derive(Clone, Debug)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// A running cluster. It stops when it is dropped.
pub struct Cluster {
    shared: Arc<Shared>,
}

/// What the tasks of all brokers share.
struct Shared {
    options: Options,
    world: Mutex<World>,
    changed: watch::Sender<()>,
    rules: Rules,
    seen: Seen,
    connections: watch::Sender<usize>,
    connections_ever: AtomicU64,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world and wakes whoever waits for something in it.
    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let changed = change(&mut self.world());
        self.changed.send_replace(());
        changed
    }

    /// Looks at the world until there is an answer. `Err` is when to look again at the latest, though
    /// nothing has changed.
    async fn wait<T>(&self, mut look: impl FnMut(&mut World) -> Result<T, Instant>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let until = match look(&mut self.world()) {
                Ok(answer) => return answer,
                Err(until) => until,
            };
            // Time running out and a change are the same thing here: look again.
            let _ = tokio::time::timeout_at(until, changed.changed()).await;
        }
    }
}

impl Cluster {
    /// Starts the brokers, each on a port of its own.
    ///
    /// # Errors
    /// When a broker cannot listen on the address of the options.
    pub async fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new()),
            changed: watch::Sender::new(()),
            rules: Rules::default(),
            seen: Seen::new(options.seen_max),
            connections: watch::Sender::new(0),
            connections_ever: AtomicU64::new(0),
            options,
        });
        let cluster = Self { shared };
        for index in 0..cluster.shared.options.brokers {
            let node = NodeId(cluster.shared.options.first_node.0.saturating_add(index.into()));
            cluster.add_broker(node).await?;
        }
        Ok(cluster)
    }

    /// Where each running broker listens, by id.
    pub fn addresses(&self) -> Vec<(NodeId, SocketAddr)> {
        let world = self.shared.world();
        world.brokers.iter().filter(|(_, b)| b.running.is_some()).map(|(n, b)| (*n, b.bound)).collect()
    }

    /// Adds a broker, or brings one to a new port. It tells clients the address that it listens on.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn add_broker(&self, node: NodeId) -> io::Result<SocketAddr> {
        self.stop_broker(node).await;
        let listener = TcpListener::bind((self.shared.options.bind, 0)).await?;
        let bound = listener.local_addr()?;
        let advertised = Endpoint { node, host: bound.ip().to_string(), port: bound.port().into() };
        let running = self.run(node, listener);
        let broker = Broker { bound, advertised, running: Some(running) };
        self.shared.change(|world| {
            world.brokers.insert(node, broker);
            world.elect();
        });
        Ok(bound)
    }

    fn run(&self, node: NodeId, listener: TcpListener) -> Running {
        let running = Running { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let accept = broker::accept(Arc::clone(&self.shared), node, listener, running.clone());
        running.tasks.spawn(accept);
        running
    }

    /// Stops a broker: its port is closed, its connections are cut, its partitions get other leaders.
    pub async fn stop_broker(&self, node: NodeId) {
        let running = self.shared.change(|world| {
            let running = world.brokers.get_mut(&node).and_then(|broker| broker.running.take());
            world.elect();
            running
        });
        if let Some(running) = running {
            running.stop.cancel();
            running.tasks.close();
            running.tasks.wait().await;
        }
    }

    /// Starts a stopped broker again, at the address that it had.
    ///
    /// # Errors
    /// When it cannot listen there, or there is no such broker.
    pub async fn start_broker(&self, node: NodeId) -> io::Result<()> {
        let bound = self.shared.world().brokers.get(&node).map(|broker| broker.bound);
        let bound = bound.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        self.stop_broker(node).await;
        let running = self.run(node, TcpListener::bind(bound).await?);
        self.shared.change(|world| {
            if let Some(broker) = world.brokers.get_mut(&node) {
                broker.running = Some(running);
            }
            world.elect();
        });
        Ok(())
    }

    /// Stops a broker and forgets it.
    pub async fn remove_broker(&self, node: NodeId) {
        self.stop_broker(node).await;
        self.shared.change(|world| world.brokers.remove(&node));
    }

    /// Tells clients another address of a broker from now on. It need not lead anywhere.
    pub fn advertise(&self, node: NodeId, host: &str, port: i32) {
        self.shared.change(|world| {
            if let Some(broker) = world.brokers.get_mut(&node) {
                broker.advertised = Endpoint { node, host: host.to_owned(), port };
            }
        });
    }

    /// Makes a topic as CreateTopics does; says whether it is new.
    pub fn create_topic(&self, name: &str, partitions: i32, replicas: i16) -> bool {
        self.shared.change(|world| world.create(name, partitions, replicas).is_ok())
    }

    /// The leader of a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        self.shared.world().partition(topic, partition).ok().map(|partition| partition.leader)
    }

    /// Makes another broker the leader of a partition.
    pub fn move_leader(&self, topic: &str, partition: i32, node: NodeId) {
        self.shared.change(|world| {
            if let Ok(partition) = world.partition(topic, partition) {
                partition.lead_by(node);
            }
        });
    }

    /// The coordinator of a group.
    pub fn coordinator(&self, group: &str) -> Option<NodeId> {
        self.shared.world().coordinator(group)
    }

    /// Makes another broker the coordinator of a group.
    pub fn move_coordinator(&self, group: &str, node: NodeId) {
        self.shared.change(|world| world.coordinators.insert(group.to_owned(), node));
    }

    /// How many records a partition holds and has held.
    pub fn end_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.shared.world().partition(topic, partition).ok().map(|partition| partition.log.end())
    }

    /// Adds a rule; the oldest rule that matches a request is the one that holds.
    pub fn behave(&self, rule: Misbehaviour) {
        self.shared.rules.add(rule);
    }

    /// Takes every rule back.
    pub fn behave_well(&self) {
        self.shared.rules.clear();
    }

    /// What the brokers have seen.
    pub fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// How many connections there have been, open ones included.
    pub fn connections_ever(&self) -> u64 {
        self.shared.connections_ever.load(Ordering::Relaxed)
    }

    /// Waits until a condition on the number of open connections holds, at most `at_most`; says whether
    /// it came to hold.
    pub async fn until_connections(&self, at_most: Duration, condition: impl FnMut(&usize) -> bool) -> bool {
        let mut connections = self.shared.connections.subscribe();
        tokio::time::timeout(at_most, connections.wait_for(condition)).await.is_ok_and(|found| found.is_ok())
    }

    /// Stops every broker and waits until all their sockets are closed.
    pub async fn stop(self) {
        let nodes: Vec<NodeId> = self.shared.world().alive();
        for node in nodes {
            self.stop_broker(node).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for running in self.shared.world().brokers.values().filter_map(|broker| broker.running.as_ref()) {
            running.stop.cancel();
        }
    }
}
