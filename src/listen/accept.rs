//! Accepts the connections of one port, and does nothing but accept.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::running::Entrance;
use crate::cluster::Door;
use crate::drain::Signal;
use crate::metrics::listener::Rejected;
use crate::session;
use crate::session::arrival::{self, Arrival};

/// How long accepting rests when the system has no descriptor or no memory for a connection: at first,
/// and at most.
const REST_FIRST: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_secs(1);

/// One port, and what is behind it.
pub(super) struct Acceptor {
    pub(super) door: Door,
    pub(super) entrance: Arc<ArcSwap<Entrance>>,
    pub(super) signal: Signal,
    /// As many clones as the port has connections, and one more.
    pub(super) open: Arc<()>,
}

impl Acceptor {
    /// Accepts until the signal drains.
    pub(super) async fn run(&self, socket: &TcpListener) {
        let mut rest = REST_FIRST;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.signal.draining() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => {
                    rest = REST_FIRST;
                    self.admit(stream, client);
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    let gate = Arc::clone(&self.entrance.load().gate);
                    gate.listener_metrics.rejected(Rejected::Descriptors);
                    if let Some(repeated) = gate.fold.admit("accept_failed", &gate.listener) {
                        tracing::error!(
                            listener = %gate.listener,
                            error = %error,
                            repeated,
                            "no connection can be accepted; raise the limit of open files or lower max_connections",
                        );
                    }
                    let _ = timeout(rest, self.signal.draining()).await;
                    rest = (rest * 2).min(REST_MAX);
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let entrance = self.entrance.load();
        let gate = &entrance.gate;
        let permit = match arrival::admit(peer, gate, &entrance.limits) {
            Ok(permit) => permit,
            Err(turned_away) => return turned_away.tell(&stream, peer, gate),
        };
        let open = (gate.listener_metrics.opened(), Arc::clone(&self.open));
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(4);
        // Failing here means that the client is gone, which the session finds out by itself.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let arrival = Arrival { stream, peer, door: self.door, permit };
        let session = session::run(arrival, Arc::clone(gate), self.signal.child());
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
