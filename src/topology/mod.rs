//! Which brokers a cluster has and where they are: from the gateway's own requests, from a static map,
//! or from what passing responses teach.

mod change;
mod discovery;
pub mod exchange;
pub mod health;
pub mod reaching;
mod redial;
pub mod survey;
pub mod table;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::Broker;
use crate::drain;
use crate::kafka::NodeId;
use crate::logging::fold::Fold;
use crate::metrics::cluster::Cluster;
use crate::net::HostPort;
use crate::sasl;
use health::{Health, Reach};
use reaching::Reaching;
use table::{Change, NODES_MAX, Named, Table};

/// How long a client of an unknown node waits for the cluster's answer.
const FIND_WAIT: Duration = Duration::from_secs(5);

/// How a cluster's brokers become known.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// By Metadata requests of the gateway's own, logged in where there is a credential.
    Own(Option<sasl::Credential>),
    /// From the configuration; nothing else adds or moves a node.
    Static(BTreeMap<NodeId, HostPort>),
    /// From passing responses alone.
    LearnOnly,
}

/// What to know of one cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to ask first, in this order. May be empty with [`Discovery::Static`].
    pub bootstrap: Vec<HostPort>,
    /// How often to ask.
    pub refresh: Duration,
    /// How the brokers become known.
    pub discovery: Discovery,
    /// The client id of the gateway's own requests.
    pub client_id: String,
}

/// Where to dial for a node, or for any broker.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node; `None` for a bootstrap broker.
    pub node: Option<NodeId>,
    /// Its address.
    pub address: HostPort,
    /// Cancelled when the node is no longer at this address: the connection should drain.
    pub moved: CancellationToken,
}

/// The brokers of one cluster. It needs no restart when they change, nor when its options do.
#[derive(Debug)]
pub struct Topology {
    name: Box<str>,
    options: ArcSwap<Options>,
    reaching: ArcSwap<Reaching>,
    metrics: Arc<Cluster>,
    table: ArcSwap<Table>,
    /// Held while a table is replaced; readers never wait for it.
    replacing: Mutex<()>,
    /// For each bootstrap address what cancels when it is one no more.
    entrances: Mutex<BTreeMap<HostPort, CancellationToken>>,
    /// What follows the cluster.
    following: Mutex<Option<JoinHandle<()>>>,
    health: Mutex<Health>,
    /// Unknown nodes of a learn-only cluster that a bootstrap broker stands in for; cancelled once the
    /// node is known, because a client keeps its connection and would stay at the wrong broker.
    stand_ins: Mutex<BTreeMap<NodeId, CancellationToken>>,
    fold: Fold,
    rotation: AtomicUsize,
    wanted: Notify,
    rounds: watch::Sender<u64>,
    ready: AtomicBool,
    refreshes: Mutex<Refreshes>,
}

/// How the gateway's own requests went.
#[derive(Clone, Debug, Default)]
pub struct Refreshes {
    /// When the cluster last answered.
    pub answered: Option<SystemTime>,
    /// Since when it does not answer, and the reason of the last failure.
    pub failing: Option<(SystemTime, String)>,
}

/// What is known of a cluster at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The cluster.
    pub name: String,
    /// Whether it answered once since start.
    pub ready: bool,
    /// How the gateway's own requests went.
    pub refreshes: Refreshes,
    /// The bootstrap addresses.
    pub bootstrap: Vec<(HostPort, Reach)>,
    /// The nodes, by id.
    pub brokers: Vec<(NodeId, HostPort, Reach)>,
}

impl Topology {
    /// Starts to follow a cluster. What it has to do runs on the tokio runtime it is called from, until
    /// `shutdown` drains.
    pub fn start(
        name: &str,
        options: Options,
        reaching: Reaching,
        metrics: Arc<Cluster>,
        shutdown: drain::Signal,
    ) -> Arc<Self> {
        let table = Table::default().configured(&options.discovery).0;
        metrics.set_nodes(table.nodes.keys().map(|node| node.0));
        let topology = Arc::new(Self {
            name: name.into(),
            entrances: Mutex::new(change::entrances_of(&BTreeMap::new(), &options)),
            following: Mutex::default(),
            options: ArcSwap::from_pointee(options),
            reaching: ArcSwap::from_pointee(reaching),
            metrics,
            table: ArcSwap::from_pointee(table),
            replacing: Mutex::default(),
            health: Mutex::default(),
            stand_ins: Mutex::default(),
            fold: Fold::default(),
            rotation: AtomicUsize::new(0),
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
            ready: AtomicBool::new(false),
            refreshes: Mutex::default(),
        });
        topology.follow(shutdown);
        topology
    }

    fn follow(self: &Arc<Self>, shutdown: drain::Signal) {
        let watch = shutdown.watch();
        let topology = Arc::clone(self);
        let following = tokio::spawn(async move {
            discovery::run(topology, shutdown).await;
            drop(watch);
        });
        *self.following.lock().unwrap_or_else(PoisonError::into_inner) = Some(following);
    }

    /// Where a node is. In a learn-only cluster an unknown node is served by a bootstrap broker, until a
    /// response tells where it is: that connection drains then.
    pub fn broker(&self, node: NodeId) -> Option<Target> {
        match self.table.load().nodes.get(&node) {
            Some(entry) => {
                Some(Target { node: Some(node), address: entry.address.clone(), moved: entry.moved.clone() })
            }
            None => match self.options.load().discovery {
                Discovery::LearnOnly => self.stand_in(node),
                Discovery::Own(_) | Discovery::Static(_) => None,
            },
        }
    }

    fn stand_in(&self, node: NodeId) -> Option<Target> {
        let target = self.bootstrap()?;
        let mut stand_ins = self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner);
        if stand_ins.len() >= NODES_MAX && !stand_ins.contains_key(&node) {
            return None;
        }
        let moved = stand_ins.entry(node).or_default().clone();
        // Learned since the table was looked at: nobody else would cancel it.
        if self.table.load().nodes.contains_key(&node) {
            moved.cancel();
        }
        Some(Target { moved, ..target })
    }

    /// A broker to ask when any will do: the bootstrap addresses in turn, and known brokers where no
    /// bootstrap address was reached of late.
    ///
    /// `None` only where the configuration has neither bootstrap nor static addresses.
    pub fn bootstrap(&self) -> Option<Target> {
        let table = self.table.load();
        let turn = self.turn();
        let health = self.health();
        let options = self.options.load();
        let bootstrap = options.bootstrap.iter().map(|address| (None, address));
        let known = table.nodes.iter().map(|(node, entry)| (Some(*node), &entry.address));
        let pick = |candidates: Vec<(Option<NodeId>, &HostPort)>| {
            let (node, address) = *candidates.get(turn.checked_rem(candidates.len())?)?;
            let moved = match node {
                Some(node) => table.nodes.get(&node).map(|entry| entry.moved.clone()),
                None => Some(self.entrance(address)),
            };
            Some(Target { node, address: address.clone(), moved: moved.unwrap_or_default() })
        };
        let hopeful = |(_, address): &(_, &HostPort)| health.is_hopeful(address);
        pick(bootstrap.clone().filter(hopeful).collect())
            .or_else(|| pick(known.clone().filter(hopeful).collect()))
            .or_else(|| pick(bootstrap.collect()))
            .or_else(|| pick(known.collect()))
    }

    /// As [`broker`](Self::broker), but asks the cluster once about a node that is not known. Cancel
    /// safe.
    pub async fn find(&self, node: NodeId) -> Option<Target> {
        let known = self.broker(node);
        if known.is_some() || !matches!(self.options.load().discovery, Discovery::Own(_)) {
            return known;
        }
        let mut rounds = self.rounds.subscribe();
        self.wanted.notify_one();
        let _ = tokio::time::timeout(FIND_WAIT, rounds.changed()).await;
        self.broker(node)
    }

    /// Takes note of the brokers that a passing response lists. Never waits for the network; what is
    /// known already costs one look-up for each broker.
    pub fn learn(&self, brokers: &[Broker]) {
        let newest = match self.options.load().discovery {
            Discovery::Own(_) => false,
            Discovery::LearnOnly => true,
            Discovery::Static(_) => return,
        };
        let difference = self.table.load().compare(brokers);
        if difference.differs && !newest {
            self.wanted.notify_one();
        }
        if difference.unknown || (difference.differs && newest) {
            let changed = self.replace(|table| table.taught(brokers, newest));
            // What passes may change with each response; the log must not.
            if let Some((change, brokers)) = changed
                && self.fold.admit("brokers_learned", &self.name).is_some()
            {
                self.tell(&change, brokers);
            }
        }
    }

    /// Whether the cluster answered once since start; where the gateway asks nothing itself, whether one
    /// of its brokers was reached once.
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        let table = self.table.load();
        let health = self.health();
        let options = self.options.load();
        Snapshot {
            name: self.name.to_string(),
            ready: self.ready(),
            refreshes: self.refreshes().clone(),
            bootstrap: options.bootstrap.iter().map(|a| (a.clone(), health.reach(a))).collect(),
            brokers: table
                .nodes
                .iter()
                .map(|(node, entry)| (*node, entry.address.clone(), health.reach(&entry.address)))
                .collect(),
        }
    }

    /// Puts the next table in place; returns what that changed and how many nodes there are.
    fn replace(&self, next: impl FnOnce(&Table) -> (Table, Change)) -> Option<(Change, usize)> {
        let replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let (table, change) = next(&self.table.load());
        if change.is_empty() {
            return None;
        }
        self.metrics.set_nodes(table.nodes.keys().map(|node| node.0));
        self.health().keep(table.addresses().chain(&self.options.load().bootstrap));
        let brokers = table.nodes.len();
        self.table.store(Arc::new(table));
        self.show_reach();
        drop(replacing);
        change.outdated.iter().for_each(CancellationToken::cancel);
        let mut stand_ins = self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner);
        for stand_in in change.added.iter().filter_map(|node| stand_ins.remove(node)) {
            stand_in.cancel();
        }
        drop(stand_ins);
        Some((change, brokers))
    }

    fn tell(&self, change: &Change, brokers: usize) {
        tracing::info!(
            cluster = %self.name,
            brokers,
            added = %Named(&change.added),
            moved = %Named(&change.moved),
            lost = %Named(&change.lost),
            "the brokers of the cluster changed",
        );
    }

    /// Puts an answer to the gateway's own request into effect.
    fn answered(&self, brokers: &[Broker]) {
        if let Some((change, brokers)) = self.replace(|table| table.answered(brokers)) {
            self.tell(&change, brokers);
        }
        self.refreshes().answered = Some(SystemTime::now());
        self.refreshes().failing = None;
        self.metrics.refreshed();
        self.ready.store(true, Ordering::Relaxed);
    }

    fn unanswered(&self, since: SystemTime, error: String) {
        self.refreshes().failing = Some((since, error));
        self.metrics.refresh_failed();
    }

    fn turn(&self) -> usize {
        self.rotation.fetch_add(1, Ordering::Relaxed)
    }

    fn refreshes(&self) -> MutexGuard<'_, Refreshes> {
        self.refreshes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
