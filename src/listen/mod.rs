//! Binds the ports of a listener and accepts connections on them. Accepting does nothing but accept.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::cluster::{Door, Routes};
use crate::drain::Signal;
use crate::limits::{ListenerLimits, Permit, Refused};
use crate::metrics::listener::Rejected;
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

/// The client networks that a listener serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Only these; every network when empty.
    pub allow: Vec<IpNet>,
    /// Not these, whatever is allowed.
    pub deny: Vec<IpNet>,
}

impl Networks {
    /// Whether a client may connect. An IPv4 address that came over a dual-stack socket is IPv4.
    pub fn admit(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&client));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }
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
    /// The client networks.
    pub networks: Networks,
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
        let networks = Arc::new(self.options.networks);
        for (door, listener) in self.doors {
            let acceptor = Acceptor {
                door,
                gate: Arc::clone(gate),
                limits: limits.clone(),
                networks: Arc::clone(&networks),
                signal: signal.clone(),
            };
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
    networks: Arc<Networks>,
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

    fn admit(&self, stream: TcpStream, client: SocketAddr) {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let permit = match self.permit(client.ip()) {
            Ok(permit) => permit,
            Err((rejected, why)) => {
                self.gate.listener_metrics.rejected(rejected);
                tracing::debug!(
                    listener = %self.gate.listener,
                    client = %client,
                    reason = rejected.as_str(),
                    error = why,
                    "connection rejected",
                );
                if let Some(repeated) = self.gate.fold.admit(rejected.as_str(), &self.gate.listener) {
                    tracing::warn!(
                        listener = %self.gate.listener,
                        client = %client,
                        reason = rejected.as_str(),
                        error = why,
                        repeated,
                        "connections are rejected",
                    );
                }
                reset(&stream);
                return;
            }
        };
        let open = self.gate.listener_metrics.opened();
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(4);
        // Failing here means that the client is gone, which the session finds out by itself.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let session = session::run(stream, client, self.door, Arc::clone(&self.gate), self.signal.child());
        let (watch, signal) = (self.signal.watch(), self.signal.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = session => {}
                () = signal.stopped() => {}
            }
            drop((permit, open, watch));
        });
    }

    /// The permit for a connection, or why there is none: the word, and which limit it is in words.
    fn permit(&self, client: IpAddr) -> Result<Permit, (Rejected, String)> {
        if !self.networks.admit(client) {
            return Err((Rejected::Network, "its network is not one that the listener serves".to_owned()));
        }
        let rejected = |refused: Refused| match refused {
            Refused::Address(_) => (Rejected::PerIp, refused.to_string()),
            Refused::Process(_) | Refused::Listener(_) => (Rejected::Limit, refused.to_string()),
        };
        let mut permit = self.limits.admit().map_err(rejected)?;
        permit.admit_address(client).map_err(rejected)?;
        Ok(permit)
    }
}

/// Errors of a connection that was gone before it was accepted: the next one may be fine.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Turns a connection away at no cost: nothing lingers, and the client backs off as it does when a
/// broker refuses.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(allow: &[&str], deny: &[&str]) -> Networks {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Networks { allow: parse(allow), deny: parse(deny) }
    }

    #[test]
    fn a_denied_network_wins_over_an_allowed_one() {
        let networks = networks(&["10.0.0.0/8"], &["10.1.0.0/16"]);
        assert!(networks.admit("10.2.0.1".parse().unwrap()));
        assert!(!networks.admit("10.1.0.1".parse().unwrap()));
        assert!(!networks.admit("192.0.2.1".parse().unwrap()));
        assert!(networks.admit("::ffff:10.2.0.1".parse().unwrap()), "IPv4 over a dual-stack socket");
    }

    #[test]
    fn every_network_is_served_unless_some_are_named() {
        assert!(Networks::default().admit("2001:db8::1".parse().unwrap()));
        assert!(!networks(&[], &["2001:db8::/32"]).admit("2001:db8::1".parse().unwrap()));
    }
}
