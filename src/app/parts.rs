//! What runs by one configuration, and how it becomes what runs by the next.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::certificates::Sides;
use super::{Error, State};
use crate::advertised::{Follower, Following};
use crate::cluster::LiveRoutes;
use crate::config::difference::{Changes, Subject};
use crate::config::{self, Config};
use crate::connect::Dialer;
use crate::drain::Signal;
use crate::limits::ListenerLimits;
use crate::listen::{self, Entrance, Running, Sockets};
use crate::session::welcome::Tls;
use crate::session::{Gate, ended};
use crate::topology::reaching::Reaching;
use crate::topology::{Discovery, Topology};

/// What runs by one configuration. It is replaced as a whole; what did not change is in both.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) config: Config,
    /// In the order of the configuration.
    pub(super) clusters: Vec<Cluster>,
    /// In the order of the configuration.
    pub(super) listeners: Vec<Listener>,
    pub(super) sides: Arc<Sides>,
}

/// A cluster that is followed.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) topology: Arc<Topology>,
    /// Ends what follows it.
    signal: Signal,
    /// Whether it was there when the process started.
    first: bool,
}

/// A listener that accepts.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) limits: ListenerLimits,
    /// What clients are told now.
    pub(super) routes: LiveRoutes,
    /// Asks for the address that they are told, where it is that of a Service.
    pub(super) follower: Option<Arc<Follower>>,
    /// Whether it was there when the process started.
    pub(super) first: bool,
    running: Arc<Running>,
}

/// From what runs to what is to run.
#[derive(Clone, Copy)]
struct Step<'s> {
    before: &'s Parts,
    /// As far as it is there already: clusters before listeners.
    next: &'s Parts,
    changes: &'s Changes,
}

/// Everything for the next parts that may not be to be had. Nothing has changed yet.
#[derive(Debug)]
pub(super) struct Prepared {
    config: Config,
    sides: Sides,
    bound: Vec<listen::Bound>,
}

impl Parts {
    /// The parts of a process that does nothing yet.
    pub(super) fn none(config: Config) -> Self {
        Self { config, clusters: Vec::new(), listeners: Vec::new(), sides: Arc::default() }
    }

    /// Each listener's name with its addresses, bootstrap ports first.
    pub(super) fn bound(&self) -> impl Iterator<Item = (&str, Vec<SocketAddr>)> {
        let addresses = |l: &config::Listener| l.listen.ports().map(|(port, _)| port.address).collect();
        self.config.listeners.iter().map(move |l| (l.listen.name.as_str(), addresses(l)))
    }

    /// Whether a cluster was there when the process started.
    pub(super) fn is_first(&self, cluster: usize) -> bool {
        self.clusters.get(cluster).is_none_or(|cluster| cluster.first)
    }

    /// How many connections drain for certain when other parts take over.
    pub(super) fn draining(&self, next: &Config, changes: &Changes) -> usize {
        let listeners = self.config.listeners.iter().zip(&self.listeners);
        let leaves = |(options, listener): (&config::Listener, &Listener)| {
            let name = &options.listen.name;
            let stays = next.listeners.iter().find(|listener| listener.listen.name == *name);
            match stays.filter(|_| !changes.touch(&Subject::Listener(name.clone()), "cluster")) {
                None => listener.limits.connections(),
                Some(next) => {
                    let next: Vec<_> = next.listen.ports().collect();
                    let gone = options.listen.ports().filter(|port| !next.contains(port));
                    gone.map(|(port, door)| listener.running.connections(port, door)).sum()
                }
            }
        };
        listeners.map(leaves).sum()
    }

    /// The sockets of every listener.
    fn sockets(&self) -> Sockets {
        self.listeners.iter().flat_map(|listener| listener.running.sockets()).collect()
    }

    fn listener(&self, name: &str) -> Option<&Listener> {
        let at = self.config.listeners.iter().position(|listener| listener.listen.name == name)?;
        self.listeners.get(at)
    }

    fn cluster(&self, name: &str) -> Option<&Cluster> {
        let at = self.config.clusters.iter().position(|cluster| cluster.name == name)?;
        self.clusters.get(at)
    }
}

impl State {
    /// Gets everything that a configuration needs beside what there is: files of certificates, and ports.
    ///
    /// # Errors
    /// [`Error::Tls`], [`Error::Listen`]; what was got is given back then.
    pub(super) async fn prepare(&self, config: Config, changes: &Changes) -> Result<Prepared, Error> {
        let sides = self.load_sides(&config, changes).await?;
        let already = self.parts().sockets();
        let _data = self.runtimes.data.enter();
        let bind = |listener: &config::Listener| listen::Bound::bind(&listener.listen, &already);
        let bound: Result<_, _> = config.listeners.iter().map(bind).collect();
        Ok(Prepared { bound: bound.map_err(Error::Listen)?, config, sides })
    }

    /// Whether everything could be got, without taking it.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(super) async fn could_prepare(&self, config: &Config, changes: &Changes) -> Result<(), Error> {
        self.load_sides(config, changes).await?;
        let already = self.parts().sockets();
        let mut listeners = config.listeners.iter();
        listeners.try_for_each(|listener| {
            listen::Bound::could_bind(&listener.listen, &already).map_err(Error::Listen)
        })
    }

    async fn load_sides(&self, config: &Config, changes: &Changes) -> Result<Sides, Error> {
        let (config, changes, before) = (config.clone(), changes.clone(), Arc::clone(&self.parts().sides));
        // Files may stand on a disk that does not answer.
        let loading = spawn_blocking(move || Sides::load(&config, &before, &changes));
        loading.await.unwrap_or_else(|_| Err(Error::Stopping))
    }

    /// Puts what was prepared in the place of what runs. Nothing in here can fail.
    pub(super) async fn commit(&self, prepared: Prepared, changes: &Changes) {
        let Prepared { config, sides, bound } = prepared;
        let before = self.parts();
        sides.count(&config, &before.sides, &self.metrics);
        self.limits.change(config.limits);
        if let Some(access) = &self.access {
            access.change(&config.admin);
        }
        let mut next = Parts { sides: Arc::new(sides), ..Parts::none(config) };
        self.close_listeners(&before, &next.config).await;
        let mut clusters = Vec::with_capacity(next.config.clusters.len());
        for cluster in &next.config.clusters {
            clusters.push(self.cluster(cluster, Step { before: &before, next: &next, changes }).await);
        }
        next.clusters = clusters;
        let mut listeners = Vec::with_capacity(bound.len());
        for (listener, bound) in next.config.listeners.iter().zip(bound) {
            let step = Step { before: &before, next: &next, changes };
            listeners.extend(self.listener(listener, bound, step).await);
        }
        next.listeners = listeners;
        let own: Vec<_> = next.bound().flat_map(|(_, addresses)| addresses).chain(self.admin).collect();
        next.clusters.iter().for_each(|cluster| cluster.topology.forbid_own(own.clone()));
        let next = Arc::new(next);
        self.parts.store(Arc::clone(&next));
        self.leave_clusters(&before, &next);
        next.sides.distrust(&before.sides, &self.registry).await;
    }

    /// Follows a cluster, or goes on doing so.
    async fn cluster(&self, cluster: &config::Cluster, step: Step<'_>) -> Cluster {
        let was = step.before.cluster(&cluster.name);
        let changed = step.changes.touch(&Subject::Cluster(cluster.name.clone()), "");
        if let Some(was) = was.filter(|_| !changed) {
            return was.clone();
        }
        let fixed = match &cluster.topology.discovery {
            Discovery::Static(nodes) => nodes.values().cloned().collect(),
            Discovery::Own(_) | Discovery::LearnOnly => Vec::new(),
        };
        let configured = cluster.topology.bootstrap.iter().cloned().chain(fixed);
        let dialer = Dialer::new(cluster.connect.clone(), configured);
        let bound = step.next.bound().flat_map(|(_, addresses)| addresses);
        dialer.policy().forbid_own(bound.chain(self.admin).collect());
        let reaching = Reaching { dialer, tls: step.next.sides.brokers(None, &cluster.name) };
        let options = cluster.topology.clone();
        match was {
            Some(was) => {
                was.topology.change(options, reaching, was.signal.child()).await;
                was.clone()
            }
            None => {
                let _control = self.runtimes.control.enter();
                let (counts, signal) = (self.metrics.cluster(&cluster.name), self.control.child());
                let topology = Topology::start(&cluster.name, options, reaching, counts, signal.child());
                Cluster { topology, signal, first: step.before.listeners.is_empty() }
            }
        }
    }

    /// Opens a listener, or puts what is new behind one that is open.
    async fn listener(
        &self,
        listener: &config::Listener,
        bound: listen::Bound,
        step: Step<'_>,
    ) -> Option<Listener> {
        let was = step.before.listener(&listener.listen.name);
        let moves = step.changes.touch(&Subject::Listener(listener.listen.name.clone()), "cluster");
        let limits = match was {
            Some(was) => was.limits.clone(),
            None => self.limits.listener(listener.limits),
        };
        limits.change(listener.limits);
        // Who is still connected to another cluster must not hear of the nodes of this one.
        let routes = match was {
            Some(was) if !moves => was.routes.clone(),
            Some(was) => LiveRoutes::from(was.routes.load_full()),
            None => listener.core.routes.clone(),
        };
        let follows = was.and_then(|was| was.follower.as_ref());
        let kept = follows.filter(|f| !moves && Some(f.service()) == listener.advertised.as_ref()).cloned();
        if let Some(follower) = follows.filter(|_| kept.is_none()) {
            follower.end();
        }
        let gate = self.gate(listener, step.next, &limits, routes.clone())?;
        let entrance = Entrance { gate: Arc::new(gate), limits: limits.clone() };
        let running = match was {
            Some(was) => {
                // The ports that clients hear of are bound already: what comes waits in their backlog.
                routes.replace(&listener.listen.routes);
                was.running.change(bound, entrance).await;
                if moves {
                    was.running.empty().await;
                }
                Arc::clone(&was.running)
            }
            None => {
                let _data = self.runtimes.data.enter();
                Arc::new(Running::open(bound, entrance, &self.clients))
            }
        };
        let follower = kept.or_else(|| self.follow(listener, routes.clone()));
        if follower.is_none() {
            self.metrics.forget_advertised(&listener.listen.name);
        }
        let first = was.map_or(step.before.listeners.is_empty(), |was| was.first);
        Some(Listener { limits, routes, follower, first, running })
    }

    /// Follows the address of a Service, where that is what clients are told.
    fn follow(&self, listener: &config::Listener, routes: LiveRoutes) -> Option<Arc<Follower>> {
        let (name, service) = (listener.listen.name.as_str(), listener.advertised.clone()?);
        let _control = self.runtimes.control.enter();
        let (counts, fold) = (self.metrics.advertised(name), Arc::clone(&self.fold));
        let following = Following { listener: name.into(), service, routes, counts, fold };
        Some(Follower::start(following, self.control.child()))
    }

    fn gate(
        &self,
        listener: &config::Listener,
        next: &Parts,
        limits: &ListenerLimits,
        routes: LiveRoutes,
    ) -> Option<Gate> {
        let (name, cluster) = (&listener.listen.name, next.clusters.get(listener.cluster)?);
        let cluster_name = &next.config.clusters.get(listener.cluster)?.name;
        let listener_metrics = self.metrics.listener(name);
        listener_metrics.expect_closed(ended::all(listener.tls.is_some()));
        listener_metrics.expect_protocol_errors(ended::protocol_errors());
        let tls = next.sides.clients(name).map(|terminator| {
            let metrics = self.metrics.handshakes(name);
            metrics.expect_failures(ended::handshake_failures());
            Tls { terminator, handshakes: limits.handshakes(), timeout: listener.handshake_timeout, metrics }
        });
        let mut core = listener.core.clone();
        core.routes = routes;
        Some(Gate {
            networks: listener.networks.clone(),
            proxy_protocol: listener.proxy_protocol.clone(),
            tls,
            upstream: next.sides.brokers(Some(name), cluster_name),
            listener: name.as_str().into(),
            cluster: cluster_name.as_str().into(),
            core: Arc::new(core),
            relay: listener.relay,
            first_request_timeout: listener.first_request_timeout,
            topology: Arc::clone(&cluster.topology),
            held: Arc::clone(self.limits.held()),
            listener_metrics,
            cluster_metrics: self.metrics.cluster(cluster_name),
            registry: Arc::clone(&self.registry),
            fold: Arc::clone(&self.fold),
            log_connections: next.config.log.connections,
        })
    }

    /// Closes the listeners that the next parts do not have: their connections leave in order, their series are
    /// gone. Their ports may be those of others already.
    async fn close_listeners(&self, before: &Parts, next: &Config) {
        for (options, listener) in before.config.listeners.iter().zip(&before.listeners) {
            let name = &options.listen.name;
            if next.listeners.iter().all(|listener| listener.listen.name != *name) {
                listener.follower.iter().for_each(|follower| follower.end());
                listener.running.close().await;
                self.metrics.forget_listener(name);
            }
        }
    }

    /// Follows the clusters no more that the next parts do not have.
    fn leave_clusters(&self, before: &Parts, next: &Parts) {
        for (options, cluster) in before.config.clusters.iter().zip(&before.clusters) {
            if next.cluster(&options.name).is_none() {
                cluster.signal.drain();
                self.metrics.forget_cluster(&options.name);
            }
        }
    }
}
