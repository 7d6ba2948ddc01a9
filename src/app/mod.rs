//! Builds every part from the configuration, starts and stops them in order.

mod certificates;
mod pages;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::admin::state::Command;
use crate::config::{Config, Shutdown};
use crate::connect::Dialer;
use crate::drain::Signal;
use crate::kafka::api;
use crate::limits::Limits;
use crate::logging::fold::Fold;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::session::welcome::Tls;
use crate::session::{Gate, ended};
use crate::topology::reaching::Reaching;
use crate::topology::{Discovery, Topology};
use crate::{admin, listen, tls};
use certificates::Sides;

/// The two runtimes of the process. Load on the data plane must not silence the probes.
#[derive(Clone, Debug)]
pub struct Runtimes {
    /// Accepts and relays.
    pub data: Handle,
    /// Serves admin, follows clusters, waits for signals.
    pub control: Handle,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port of a listener is not to be had.
    #[error("the gateway cannot start")]
    Listen(#[source] listen::Error),
    /// The admin address is not to be had.
    #[error("the gateway cannot start")]
    Admin(#[source] admin::Error),
    /// Certificates, authorities or revocation lists cannot be used.
    #[error("the TLS files of {side} cannot be used")]
    Tls {
        /// Whose files.
        side: String,
        /// The file, the fault, and what to do.
        source: Box<tls::material::Error>,
    },
}

/// The addresses that are really bound.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Admin, unless it is off.
    pub admin: Option<SocketAddr>,
    /// Each listener's name with its addresses, bootstrap ports first.
    pub listeners: Vec<(String, Vec<SocketAddr>)>,
}

/// A gateway that runs.
pub struct App {
    bound: Bound,
    clients: Signal,
    control: Signal,
    state: Arc<State>,
    shutdown: Shutdown,
}

/// What the parts share and the admin pages read.
pub(crate) struct State {
    config: Config,
    bound: Bound,
    started: Instant,
    started_at: SystemTime,
    draining: AtomicBool,
    metrics: Metrics,
    limits: Arc<Limits>,
    registry: Arc<Registry>,
    topologies: Vec<Arc<Topology>>,
    sides: Sides,
    listener_limits: Vec<crate::limits::ListenerLimits>,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every connection ended in order.
    Drained,
    /// `hard_stop_after` passed and that many connections were cut off.
    Forced(usize),
}

impl App {
    /// Binds every port, then follows the clusters and accepts.
    ///
    /// # Errors
    /// [`Error`]: a port is not to be had, or the files of TLS cannot be used. Nothing runs then.
    pub async fn start(config: Config, runtimes: &Runtimes) -> Result<Self, Error> {
        let names: Vec<&'static str> = api::APIS.iter().map(|api| api.name).collect();
        let metrics = Metrics::new(&names);
        metrics.expect_configs();
        let (clients, control) = (Signal::new(), Signal::new());
        let sides = Sides::load(&config)?;
        sides.count(&config, &metrics);
        let listeners = {
            let _data = runtimes.data.enter();
            bind(&config)?
        };
        let admin = admin::bind(&config.admin).await.map_err(Error::Admin)?;
        let bound = Bound {
            admin: admin.as_ref().map(admin::Bound::address),
            listeners: config
                .listeners
                .iter()
                .map(|listener| {
                    let addresses = listener.listen.ports().map(|(port, _)| port.address);
                    (listener.listen.name.clone(), addresses.collect())
                })
                .collect(),
        };
        let topologies = {
            let _control = runtimes.control.enter();
            follow(&config, &bound, &sides, &metrics, &control)
        };
        let limits = Limits::new(config.limits);
        let listener_limits: Vec<_> =
            config.listeners.iter().map(|listener| limits.listener(listener.limits)).collect();
        let shutdown = config.shutdown;
        let state = Arc::new(State {
            bound: bound.clone(),
            started: Instant::now(),
            started_at: SystemTime::now(),
            draining: AtomicBool::new(false),
            metrics,
            limits,
            registry: Arc::new(Registry::default()),
            topologies,
            sides,
            listener_limits,
            config,
        });
        {
            let _data = runtimes.data.enter();
            accept(listeners, &state, &clients);
        }
        let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
        runtimes.control.spawn(attend(Arc::clone(&state), commanded, control.clone()));
        if let Some(admin) = admin {
            let (pages, stop) = (pages::state(&state, commands), control.clone());
            runtimes.control.spawn(async move { admin.serve(pages, stop.stopped()).await });
        }
        for (name, addresses) in &bound.listeners {
            let routes = state.config.listeners.iter().find(|l| l.listen.name == *name);
            tracing::info!(
                listener = %name,
                bind = addresses.first().map(tracing::field::display),
                ports = addresses.len(),
                advertise = routes.map(|l| l.listen.routes.bootstrap().0),
                "listening",
            );
        }
        tracing::info!(
            admin = bound.admin.as_ref().map(tracing::field::display),
            max_connections = state.config.limits.max_connections,
            held_bytes = state.config.limits.held_bytes,
            "started",
        );
        Ok(Self { bound, clients, control, state, shutdown })
    }

    /// The addresses that are really bound.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.state.registry.count()
    }

    /// Whether `/readyz` says that clients may come.
    pub fn is_ready(&self) -> bool {
        pages::readiness(&self.state).is_ready()
    }

    /// Has all certificate files looked at now, as the timer does; what came of it is in the log. Does not
    /// wait for it. Must be called within the control runtime.
    pub fn reload(&self) {
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            let reports = state.sides.look(&state.metrics, &state.registry).await;
            if reports.iter().all(|report| report.outcome == admin::state::Outcome::Unchanged) {
                let sides = reports.len();
                tracing::info!(sides, "asked to reload: the certificate files hold what is in use");
            }
        });
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> String {
        pages::metrics(&self.state)
    }

    /// Stops in order: says that it is not ready, goes on accepting for `ready_delay`, then accepts no
    /// more and lets each connection finish. Dropped, it leaves everything running.
    pub async fn stop(self) -> Stopped {
        let begun = Instant::now();
        self.state.draining.store(true, Ordering::Relaxed);
        self.state.metrics.set_draining(true);
        tracing::info!(connections = self.connections(), "stopping: not ready from now on");
        sleep(self.shutdown.ready_delay).await;
        tracing::info!(connections = self.connections(), "draining: no connection is accepted any more");
        self.clients.drain();
        let left = self.shutdown.hard_stop_after.saturating_sub(begun.elapsed());
        let stopped = match timeout(left, self.clients.finished()).await {
            Ok(()) => Stopped::Drained,
            Err(_) => {
                let cut_off = self.connections();
                tracing::warn!(connections = cut_off, "hard_stop_after has passed: connections are cut off");
                self.clients.stop();
                Stopped::Forced(cut_off)
            }
        };
        self.control.stop();
        tracing::info!("stopped");
        stopped
    }
}

/// Commands that wait; an admin who sends more waits to send.
const COMMANDS_MAX: usize = 8;

/// Follows the certificate files and does what admin asks, until the process stops.
async fn attend(state: Arc<State>, mut commanded: mpsc::Receiver<Command>, stop: Signal) {
    let follow = state.sides.follow(state.config.tls_reload_interval, &state.metrics, &state.registry);
    let obey = async {
        while let Some(Command::Reload { answer }) = commanded.recv().await {
            let reports = state.sides.look(&state.metrics, &state.registry).await;
            // Whoever asked may be gone.
            let _ = answer.send(reports);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop.stopped() => {}
        () = follow => {}
        () = obey => {}
    }
}

/// Binds the ports of every listener.
fn bind(config: &Config) -> Result<Vec<listen::Bound>, Error> {
    config
        .listeners
        .iter()
        .map(|listener| listen::Bound::bind(&listener.listen, &listen::Sockets::new()).map_err(Error::Listen))
        .collect()
}

/// Starts to follow every cluster. None may lead back to the gateway itself.
fn follow(
    config: &Config,
    bound: &Bound,
    sides: &Sides,
    metrics: &Metrics,
    signal: &Signal,
) -> Vec<Arc<Topology>> {
    let own: Vec<SocketAddr> =
        bound.listeners.iter().flat_map(|(_, addresses)| addresses).chain(&bound.admin).copied().collect();
    config
        .clusters
        .iter()
        .map(|cluster| {
            let fixed = match &cluster.topology.discovery {
                Discovery::Static(nodes) => nodes.values().cloned().collect(),
                Discovery::Own(_) | Discovery::LearnOnly => Vec::new(),
            };
            let configured = cluster.topology.bootstrap.iter().cloned().chain(fixed);
            let dialer = Dialer::new(cluster.connect.clone(), configured);
            dialer.policy().forbid_own(own.clone());
            let counts = metrics.cluster(&cluster.name);
            let reaching = Reaching { dialer, tls: sides.brokers(None, &cluster.name) };
            Topology::start(&cluster.name, cluster.topology.clone(), reaching, counts, signal.clone())
        })
        .collect()
}

/// Opens the doors.
fn accept(listeners: Vec<listen::Bound>, state: &Arc<State>, signal: &Signal) {
    let fold = Arc::new(Fold::default());
    let config = &state.config;
    for ((listener, bound), limits) in config.listeners.iter().zip(listeners).zip(&state.listener_limits) {
        let (Some(cluster), Some(topology)) =
            (config.clusters.get(listener.cluster), state.topologies.get(listener.cluster))
        else {
            continue;
        };
        let listener_metrics = state.metrics.listener(&listener.listen.name);
        listener_metrics.expect_closed(ended::all(listener.tls.is_some()));
        listener_metrics.expect_protocol_errors(ended::protocol_errors());
        let name = &listener.listen.name;
        let tls = state.sides.clients(name).map(|terminator| {
            let metrics = state.metrics.handshakes(name);
            metrics.expect_failures(ended::handshake_failures());
            let handshakes = limits.handshakes();
            Tls { terminator, handshakes, timeout: listener.handshake_timeout, metrics }
        });
        let gate = Arc::new(Gate {
            networks: listener.networks.clone(),
            proxy_protocol: listener.proxy_protocol.clone(),
            tls,
            upstream: state.sides.brokers(Some(name), &cluster.name),
            listener: listener.listen.name.as_str().into(),
            cluster: cluster.name.as_str().into(),
            core: Arc::new(listener.core.clone()),
            relay: listener.relay,
            first_request_timeout: listener.first_request_timeout,
            topology: Arc::clone(topology),
            held: Arc::clone(state.limits.held()),
            listener_metrics,
            cluster_metrics: state.metrics.cluster(&cluster.name),
            registry: Arc::clone(&state.registry),
            fold: Arc::clone(&fold),
            log_connections: config.log.connections,
        });
        listen::Running::open(bound, listen::Entrance { gate, limits: limits.clone() }, signal);
    }
}
