//! Builds every part from the configuration, starts and stops them in order.

mod certificates;
mod pages;
mod parts;
mod reload;
mod uncovered;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::config::Config;
use crate::config::difference::Changes;
use crate::config::file::Origin;
use crate::drain::Signal;
use crate::kafka::api;
use crate::limits::Limits;
use crate::logging::fold::Fold;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::{admin, listen, tls};
use parts::Parts;
use reload::Reloading;

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
    /// The process stops, and nothing new begins.
    #[error("the process is stopping")]
    Stopping,
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
    state: Arc<State>,
}

/// What the parts share and the admin pages read.
pub(crate) struct State {
    /// What runs by the configuration in use.
    parts: ArcSwap<Parts>,
    reloading: Reloading,
    runtimes: Runtimes,
    clients: Signal,
    control: Signal,
    /// The admin address that is really bound, and who may ask there.
    admin: Option<SocketAddr>,
    access: Option<admin::Access>,
    started: Instant,
    started_at: SystemTime,
    draining: AtomicBool,
    metrics: Metrics,
    limits: Arc<Limits>,
    registry: Arc<Registry>,
    fold: Arc<Fold>,
}

impl State {
    /// What runs now. Whoever keeps it may find that something else runs later.
    fn parts(&self) -> Arc<Parts> {
        self.parts.load_full()
    }
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
    /// Binds every port, then follows the clusters and accepts. The configuration cannot be read again.
    ///
    /// # Errors
    /// [`Error`]: a port is not to be had, or the files of TLS cannot be used. Nothing runs then.
    pub async fn start(config: Config, runtimes: &Runtimes) -> Result<Self, Error> {
        Self::start_from(Origin::Gone("the program".to_owned()), config, runtimes).await
    }

    /// As [`start`](Self::start), with a configuration that came from `origin` and is followed there.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_from(origin: Origin, config: Config, runtimes: &Runtimes) -> Result<Self, Error> {
        let names: Vec<&'static str> = api::APIS.iter().map(|api| api.name).collect();
        let metrics = Metrics::new(&names);
        metrics.expect_configs();
        let admin = admin::bind(&config.admin).await.map_err(Error::Admin)?;
        let state = Arc::new(State {
            parts: ArcSwap::from_pointee(Parts::none(config.clone())),
            reloading: Reloading::new(origin),
            runtimes: runtimes.clone(),
            clients: Signal::new(),
            control: Signal::new(),
            admin: admin.as_ref().map(admin::Bound::address),
            access: admin.as_ref().map(admin::Bound::access),
            started: Instant::now(),
            started_at: SystemTime::now(),
            draining: AtomicBool::new(false),
            metrics,
            limits: Limits::new(config.limits),
            registry: Arc::default(),
            fold: Arc::default(),
        });
        let prepared = state.prepare(config, &Changes::default()).await?;
        state.commit(prepared, &Changes::default()).await;
        let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
        runtimes.control.spawn(reload::attend(Arc::clone(&state), commanded));
        if let Some(admin) = admin {
            let (pages, stop) = (pages::state(&state, commands), state.control.clone());
            runtimes.control.spawn(async move { admin.serve(pages, stop.stopped()).await });
        }
        let app = Self { state };
        app.tell();
        Ok(app)
    }

    fn tell(&self) {
        let parts = self.state.parts();
        for listener in &parts.config.listeners {
            let options = &listener.listen;
            tracing::info!(
                listener = %options.name,
                bind = options.ports().next().map(|(port, _)| tracing::field::display(port.address)),
                ports = options.ports().count(),
                advertise = options.routes.bootstrap().map(|(host, _)| host),
                advertise_from = listener.advertised.as_ref().map(tracing::field::display),
                "listening",
            );
        }
        tracing::info!(
            admin = self.state.admin.as_ref().map(tracing::field::display),
            max_connections = parts.config.limits.max_connections,
            held_bytes = parts.config.limits.held_bytes,
            "started",
        );
    }

    /// The addresses that are really bound.
    pub fn bound(&self) -> Bound {
        let parts = self.state.parts();
        let listeners = parts.bound().map(|(name, addresses)| (name.to_owned(), addresses)).collect();
        Bound { admin: self.state.admin, listeners }
    }

    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.state.registry.count()
    }

    /// Whether `/readyz` says that clients may come.
    pub fn is_ready(&self) -> bool {
        pages::readiness(&self.state).is_ready()
    }

    /// Has the configuration and all certificate files read again now; what came of it is in the log. Does not
    /// wait for it. Must be called within the control runtime.
    pub fn reload(&self) {
        let state = Arc::clone(&self.state);
        tokio::spawn(async move { state.reload(false).await });
    }

    /// The same, and waits for it. With `dry_run` nothing is changed.
    pub async fn reloaded(&self, dry_run: bool) -> admin::state::Reload {
        self.state.reload(dry_run).await
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> String {
        pages::metrics(&self.state)
    }

    /// Stops in order: says that it is not ready, goes on accepting for `ready_delay`, then accepts no
    /// more and lets each connection finish. Dropped, it leaves everything running.
    pub async fn stop(self) -> Stopped {
        let begun = Instant::now();
        let state = &self.state;
        state.draining.store(true, Ordering::Relaxed);
        // No reload begins any more. One that has begun may end: what it opens hears the same signals.
        let shutdown = state.parts().config.shutdown;
        state.metrics.set_draining(true);
        tracing::info!(connections = self.connections(), "stopping: not ready from now on");
        sleep(shutdown.ready_delay).await;
        tracing::info!(connections = self.connections(), "draining: no connection is accepted any more");
        state.clients.drain();
        let left = shutdown.hard_stop_after.saturating_sub(begun.elapsed());
        let stopped = match timeout(left, state.clients.finished()).await {
            Ok(()) => Stopped::Drained,
            Err(_) => {
                let cut_off = self.connections();
                tracing::warn!(connections = cut_off, "hard_stop_after has passed: connections are cut off");
                state.clients.stop();
                Stopped::Forced(cut_off)
            }
        };
        state.control.stop();
        tracing::info!("stopped");
        stopped
    }
}

/// Commands that wait; an admin who sends more waits to send.
const COMMANDS_MAX: usize = 8;
