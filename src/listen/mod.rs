//! Binds the ports of a listener and accepts connections on them.

mod accept;
mod running;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::cluster::{Door, Routes};
pub use running::{Entrance, Running};

/// Connections that may wait to be accepted, on each port.
pub const BACKLOG: i32 = 4096;

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

/// A local address with a port, as a socket is bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Address and port.
    pub address: SocketAddr,
    /// For `::`: whether IPv4 stays out.
    pub v6_only: bool,
}

impl Options {
    /// The bootstrap port and the port of every node that has one, on every address; the bootstrap port of
    /// each address first.
    pub fn ports(&self) -> impl Iterator<Item = (Port, Door)> + '_ {
        self.binds.iter().flat_map(|bind| {
            let nodes = self.routes.bindings().map(|(node, port)| (Door::Node(node), port));
            std::iter::once((Door::Bootstrap, self.port)).chain(nodes).map(|(door, port)| {
                (Port { address: SocketAddr::new(bind.ip, port), v6_only: bind.v6_only }, door)
            })
        })
    }
}

/// Sockets that listen, by their ports. A clone holds the same sockets.
pub type Sockets = BTreeMap<Port, Arc<TcpListener>>;

/// A listener whose ports are all bound; what was not bound before accepts nothing yet.
#[derive(Debug)]
pub struct Bound {
    ports: Vec<(Port, Door, Arc<TcpListener>)>,
}

impl Bound {
    /// Binds every port of the listener that is not bound already.
    ///
    /// # Errors
    /// [`Error`] for the first port that is not to be had; what was bound by this call is free again then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(options: &Options, already: &Sockets) -> Result<Self, Error> {
        let ports = options.ports().map(|(port, door)| {
            let bound = already.get(&port).cloned();
            let socket = bound.map_or_else(|| bind(port).and_then(listen).map(Arc::new), Ok);
            Ok((port, door, socket.map_err(|source| refused(options, port, source))?))
        });
        Ok(Self { ports: ports.collect::<Result<_, Error>>()? })
    }

    /// Whether every port could be bound that is not bound already. Nobody can connect meanwhile.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn could_bind(options: &Options, already: &Sockets) -> Result<(), Error> {
        let mut new = options.ports().filter(|(port, _)| !already.contains_key(port));
        new.try_for_each(|(port, _)| match bind(port) {
            Ok(_) => Ok(()),
            Err(source) => Err(refused(options, port, source)),
        })
    }
}

/// The ports that cannot be bound now, each with the reason. Nobody can connect to the others meanwhile.
pub fn unavailable(options: &Options) -> Vec<Error> {
    let fault = |(port, _)| bind(port).err().map(|source| refused(options, port, source));
    options.ports().filter_map(fault).collect()
}

fn refused(options: &Options, port: Port, source: io::Error) -> Error {
    Error { listener: options.name.clone(), address: port.address, source }
}

fn bind(port: Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(port.address), Type::STREAM, Some(Protocol::TCP))?;
    if port.address.is_ipv6() {
        socket.set_only_v6(port.v6_only)?;
    }
    // A restart must not wait for connections of the process before it to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&port.address.into())?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
