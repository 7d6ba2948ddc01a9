//! Binds the ports of a listener and accepts connections on them. Accepting does nothing but accept.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::cluster::{Door, Routes};
use crate::drain::Signal;
use crate::limits::ListenerLimits;
use crate::metrics::listener::Rejected;
use crate::session::arrival::{self, Arrival};
use crate::session::{self, Gate};

/// Connections that may wait to be accepted, on each port.
const BACKLOG: i32 = 4096;

/// How long accepting rests when the system has no descriptor or no memory for a connection: at first,
/// and at most.
const REST_FIRST: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_secs(1);

/// A local address to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address; `0.0.0.0` and `::` bind every one.
    pub ip: IpAddr,
    /// For `::`: whether IPv4 stays out. The default takes both.
    pub v6_only: bool,
}

/// What to listen on.
#[derive(Clone, Debug)]
pub struct Options {
    /// The listener's name.
    pub name: String,
    /// The local addresses.
    pub binds: Vec<Bind>,
    /// The bootstrap port.
    pub port: u16,
    /// The ports or names of the brokers, and what clients are told of them.
    pub routes: Arc<Routes>,
}

/// A port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener `{listener}` cannot bind {address}")]
pub struct Error {
    /// The listener.
    pub listener: String,
    /// The address and port.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A listener whose ports are all bound and accept nothing yet.
#[derive(Debug)]
pub struct Bound {
    options: Options,
    doors: Vec<(Door, TcpListener)>,
}

impl Bound {
    /// Binds the bootstrap port and the port of every node that has one, on every address.
    ///
    /// # Errors
    /// [`Error`] for the first port that is not to be had; no port stays bound then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(options: Options) -> Result<Self, Error> {
        let nodes = options.routes.bindings().map(|(node, port)| (Door::Node(node), port));
        let ports: Vec<_> = std::iter::once((Door::Bootstrap, options.port)).chain(nodes).collect();
        let mut doors = Vec::with_capacity(ports.len() * options.binds.len());
        for bind in &options.binds {
            for (door, port) in &ports {
                let address = SocketAddr::new(bind.ip, *port);
                let listener = bind_one(*bind, address).map_err(|source| Error {
                    listener: options.name.clone(),
                    address,
                    source,
                })?;
                doors.push((*door, listener));
            }
        }
        Ok(Self { options, doors })
    }

    /// The addresses that are bound, the bootstrap port of each local address first.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().filter_map(|(_, listener)| listener.local_addr().ok()).collect()
    }

    /// Accepts on every port until the signal drains. Connections run on the runtime this is called from.
    pub fn accept(self, gate: &Arc<Gate>, limits: &ListenerLimits, signal: &Signal) {
        for (door, listener) in self.doors {
            let acceptor =
                Acceptor { door, gate: Arc::clone(gate), limits: limits.clone(), signal: signal.clone() };
            let watch = signal.watch();
            tokio::spawn(async move {
                acceptor.run(listener).await;
                drop(watch);
            });
        }
    }
}

fn bind_one(bind: Bind, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(bind.v6_only)?;
    }
    // A restart must not wait for connections of the process before it to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

struct Acceptor {
    door: Door,
    gate: Arc<Gate>,
    limits: ListenerLimits,
    signal: Signal,
}

impl Acceptor {
    async fn run(&self, listener: TcpListener) {
        let mut rest = REST_FIRST;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.signal.draining() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => {
                    rest = REST_FIRST;
                    self.admit(stream, client);
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    self.gate.listener_metrics.rejected(Rejected::Descriptors);
                    if let Some(repeated) = self.gate.fold.admit("accept_failed", &self.gate.listener) {
                        tracing::error!(
                            listener = %self.gate.listener,
                            error = %error,
                            repeated,
                            "no connection can be accepted; raise the limit of open files or lower max_connections",
                        );
                    }
                    sleep(rest).await;
                    rest = (rest * 2).min(REST_MAX);
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let permit = match arrival::admit(peer, &self.gate, &self.limits) {
            Ok(permit) => permit,
            Err(turned_away) => return turned_away.tell(&stream, peer, &self.gate),
        };
        let open = self.gate.listener_metrics.opened();
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(4);
        // Failing here means that the client is gone, which the session finds out by itself.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let arrival = Arrival { stream, peer, door: self.door, permit };
        let session = session::run(arrival, Arc::clone(&self.gate), self.signal.child());
        let (watch, signal) = (self.signal.watch(), self.signal.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = session => {}
                () = signal.stopped() => {}
            }
            drop((open, watch));
        });
    }
}

/// Errors of a connection that was gone before it was accepted: the next one may be fine.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
