//! A listener that accepts: its ports and what is behind them can be replaced while connections go on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::accept::Acceptor;
use super::{Bound, Port, Sockets};
use crate::cluster::Door;
use crate::drain::Signal;
use crate::limits::ListenerLimits;
use crate::session::Gate;

/// What is behind the ports of a listener.
#[derive(Debug)]
pub struct Entrance {
    /// What its connections share.
    pub gate: Arc<Gate>,
    /// How many may connect.
    pub limits: ListenerLimits,
}

/// A listener that accepts.
pub struct Running {
    entrance: Arc<ArcSwap<Entrance>>,
    ports: Mutex<BTreeMap<Port, Open>>,
    signal: Signal,
    /// Where connections run.
    runtime: Handle,
}

/// A port that is open.
struct Open {
    door: Door,
    socket: Arc<TcpListener>,
    signal: Signal,
    connections: Arc<()>,
    accepting: JoinHandle<()>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("ports", &self.ports().len()).finish_non_exhaustive()
    }
}

impl Running {
    /// Accepts on every port until the signal drains. Connections run on the runtime this is called from.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(bound: Bound, entrance: Entrance, signal: &Signal) -> Self {
        let running = Self {
            entrance: Arc::new(ArcSwap::from_pointee(entrance)),
            ports: Mutex::default(),
            signal: signal.child(),
            runtime: Handle::current(),
        };
        let ports = bound.ports.into_iter().map(|(port, door, socket)| (port, running.port(door, socket)));
        *running.ports() = ports.collect();
        running
    }

    /// Puts another entrance behind the ports, and other ports in place. Connections go on, but for those at
    /// a port that is closed or leads elsewhere now: they drain.
    pub async fn change(&self, bound: Bound, entrance: Entrance) {
        self.entrance.store(Arc::new(entrance));
        let closed: Vec<_> = {
            let mut ports = self.ports();
            let mut before = std::mem::take(&mut *ports);
            for (port, door, socket) in bound.ports {
                let open = match before.remove(&port) {
                    Some(open) if open.door == door => open,
                    leads_elsewhere => {
                        before.extend(leads_elsewhere.map(|open| (port, open)));
                        self.port(door, socket)
                    }
                };
                ports.insert(port, open);
            }
            before.into_values().collect()
        };
        close(closed).await;
    }

    /// Lets every connection leave in order; the ports stay open.
    pub async fn empty(&self) {
        let closed: Vec<_> = {
            let mut ports = self.ports();
            let before = std::mem::take(&mut *ports);
            let reopened = before.iter().map(|(port, o)| (*port, self.port(o.door, Arc::clone(&o.socket))));
            *ports = reopened.collect();
            before.into_values().collect()
        };
        close(closed).await;
    }

    /// Accepts no more, and lets every connection leave in order. The ports are free when this is done,
    /// unless someone else has their sockets.
    pub async fn close(&self) {
        let closed: Vec<_> = std::mem::take(&mut *self.ports()).into_values().collect();
        close(closed).await;
        self.signal.drain();
    }

    /// The sockets of its ports.
    pub fn sockets(&self) -> Sockets {
        self.ports().iter().map(|(port, open)| (*port, Arc::clone(&open.socket))).collect()
    }

    /// The open connections of a port, as far as it is one that leads to that door.
    pub fn connections(&self, port: Port, door: Door) -> usize {
        let ports = self.ports();
        let open = ports.get(&port).filter(|open| open.door == door);
        // The port and its task have a clone each.
        open.map_or(0, |open| Arc::strong_count(&open.connections).saturating_sub(2))
    }

    fn port(&self, door: Door, socket: Arc<TcpListener>) -> Open {
        let (signal, connections) = (self.signal.child(), Arc::new(()));
        let acceptor = Acceptor {
            door,
            entrance: Arc::clone(&self.entrance),
            signal: signal.clone(),
            open: Arc::clone(&connections),
        };
        let (watch, own) = (signal.watch(), Arc::clone(&socket));
        let accepting = self.runtime.spawn(async move {
            acceptor.run(&own).await;
            drop(watch);
        });
        Open { door, socket, signal, connections, accepting }
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<Port, Open>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drains ports, and waits until nobody accepts at them: only then their addresses can be bound again.
async fn close(ports: Vec<Open>) {
    ports.iter().for_each(|open| open.signal.drain());
    for open in ports {
        // A task that ended by a panic has let go of its socket too.
        let _ = open.accepting.await;
    }
}
