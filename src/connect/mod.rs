//! Dials one broker: resolves its name, checks every address it leads to, connects to the very address
//! that was checked, and begins TLS where the cluster speaks it.

pub mod policy;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::metrics::cluster::Dial;
use crate::net::HostPort;
use crate::tls::client::Connector;
use crate::tls::stream::{self, Transport};
use policy::{AllowList, Policy, Refused};

/// The head start of each address over the next one, at most (RFC 8305, Connection Attempt Delay).
const STAGGER_MAX: Duration = Duration::from_millis(250);

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// The most names that are looked up at once. The system's resolver takes a thread for each and cannot be
/// interrupted, so one that hangs must not gather more of them than this.
const LOOKUPS_MAX: usize = 16;

/// Quiet time between two keepalive probes, after the first.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unanswered keepalive probes after which a connection is dead.
const KEEPALIVE_RETRIES: u32 = 4;

/// How to dial the brokers of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The time for the whole of a dial: resolving, connecting over all addresses, and TLS.
    pub timeout: Duration,
    /// The local address to dial from. Brokers of the other address family cannot be reached then.
    pub source_address: Option<IpAddr>,
    /// Quiet time before the first keepalive probe.
    pub keepalive: Duration,
    /// Narrows what a cluster may advertise; `None` allows every address that no other rule forbids.
    pub allow: Option<AllowList>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            source_address: None,
            keepalive: Duration::from_secs(60),
            allow: None,
        }
    }
}

/// Why a broker was not reached. Each case names the address that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name could not be resolved.
    #[error("{address} could not be resolved")]
    Resolve {
        /// What was to be dialled.
        address: HostPort,
        /// What the resolver said.
        source: io::Error,
    },
    /// The resolver did not answer in time.
    #[error("{address} was not resolved within {timeout:?}")]
    ResolveTimeout {
        /// What was to be dialled.
        address: HostPort,
        /// The time for the dial.
        timeout: Duration,
    },
    /// The name leads to no address, or to none of the source address's family.
    #[error("{address} has no address that can be dialled from here")]
    NoAddress {
        /// What was to be dialled.
        address: HostPort,
    },
    /// No address may be dialled.
    #[error("{address} may not be dialled at {resolved}")]
    Refused {
        /// What was to be dialled.
        address: HostPort,
        /// The first address that it leads to.
        resolved: IpAddr,
        /// The rule that forbids it.
        source: Refused,
    },
    /// No address accepted the connection.
    #[error("{address} could not be reached at {resolved}")]
    Connect {
        /// What was to be dialled.
        address: HostPort,
        /// The address that failed last.
        resolved: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The host is no name that a certificate could be for.
    #[error("{address} is no name that a certificate could be for")]
    Name {
        /// What was dialled.
        address: HostPort,
    },
    /// The TLS handshake failed.
    #[error("{address} and the gateway do not agree on TLS, at {resolved}")]
    Tls {
        /// What was dialled.
        address: HostPort,
        /// The address that was connected to.
        resolved: SocketAddr,
        /// What one side dislikes.
        source: stream::Error,
    },
    /// The TLS handshake did not end in time.
    #[error(
        "{address} connected at {resolved} but did not finish its TLS handshake within {timeout:?}: does it speak TLS?"
    )]
    TlsTimeout {
        /// What was dialled.
        address: HostPort,
        /// The address that was connected to.
        resolved: SocketAddr,
        /// The time for the dial.
        timeout: Duration,
    },
    /// An address did not answer in time, and no other did.
    #[error("{address} did not answer at {resolved} within {timeout:?}")]
    Timeout {
        /// What was to be dialled.
        address: HostPort,
        /// The first address that was tried.
        resolved: SocketAddr,
        /// The time for the dial.
        timeout: Duration,
    },
}

impl Error {
    /// What the metrics count the dial as.
    pub fn dial(&self) -> Dial {
        match self {
            Self::Refused { .. } => Dial::Forbidden,
            Self::Resolve { .. } | Self::NoAddress { .. } | Self::Connect { .. } => Dial::Failed,
            Self::ResolveTimeout { .. } | Self::Timeout { .. } => Dial::Timeout,
            Self::Name { .. } | Self::Tls { .. } | Self::TlsTimeout { .. } => Dial::Tls,
        }
    }
}

/// A connection to a broker, with `TCP_NODELAY` and keepalive set.
#[derive(Debug)]
pub struct Connected {
    /// The connection, encrypted where that was asked for.
    pub stream: Transport,
    /// Where it leads.
    pub peer: SocketAddr,
}

/// Dials the brokers of one cluster; a clone is the same.
#[derive(Clone, Debug)]
pub struct Dialer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    policy: Policy,
    lookups: Arc<Semaphore>,
}

impl Dialer {
    /// A dialer for a cluster whose bootstrap and static addresses are `configured`.
    pub fn new(options: Options, configured: impl IntoIterator<Item = HostPort>) -> Self {
        let policy = Policy::new(options.allow.clone(), configured);
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self(Arc::new(Shared { options, policy, lookups }))
    }

    /// What may be dialled.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Resolves, checks and connects, and begins TLS with `tls`, all within the timeout of the options. Cancel
    /// safe: what was begun is abandoned.
    ///
    /// # Errors
    /// Any [`Error`]. Nothing was sent to anybody then but a TLS hello.
    pub async fn dial(&self, address: &HostPort, tls: Option<&Connector>) -> Result<Connected, Error> {
        let deadline = Instant::now() + self.0.options.timeout;
        let (stream, peer) = self.connect(address, deadline).await?;
        let stream = match tls {
            None => Transport::Plain(stream),
            Some(tls) => self.encrypt(address, (stream, peer), tls, deadline).await?,
        };
        Ok(Connected { stream, peer })
    }

    async fn connect(&self, address: &HostPort, deadline: Instant) -> Result<(TcpStream, SocketAddr), Error> {
        let resolved = match address.host.ip() {
            Some(ip) => vec![SocketAddr::new(ip, address.port)],
            None => match timeout_at(deadline, self.look_up(address)).await {
                Ok(Ok(found)) => found,
                Ok(Err(source)) => return Err(Error::Resolve { address: address.clone(), source }),
                Err(_) => {
                    let (address, timeout) = (address.clone(), self.0.options.timeout);
                    return Err(Error::ResolveTimeout { address, timeout });
                }
            },
        };
        self.dial_resolved(address, &resolved, deadline).await
    }

    /// Begins TLS. The certificate must be for the name that the cluster advertises, not for the address that
    /// it led to.
    async fn encrypt(
        &self,
        address: &HostPort,
        (stream, resolved): (TcpStream, SocketAddr),
        tls: &Connector,
        deadline: Instant,
    ) -> Result<Transport, Error> {
        let name = ServerName::try_from(address.host.as_str().to_owned())
            .map_err(|_| Error::Name { address: address.clone() })?;
        match timeout_at(deadline, stream::connect(stream, name, tls.config())).await {
            Ok(Ok(stream)) => Ok(Transport::Tls(Box::new(stream))),
            Ok(Err(source)) => Err(Error::Tls { address: address.clone(), resolved, source }),
            Err(_) => {
                let (address, timeout) = (address.clone(), self.0.options.timeout);
                Err(Error::TlsTimeout { address, resolved, timeout })
            }
        }
    }

    /// The addresses of a name. It is looked up at each dial, and what comes back is dialled itself: a
    /// second look-up could give an address that nobody checked.
    async fn look_up(&self, address: &HostPort) -> io::Result<Vec<SocketAddr>> {
        let permit = self.0.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
        let name = (address.host.as_str().to_owned(), address.port);
        // A task, because the permit is held until the resolver is done, even when nobody waits any more.
        let look_up = tokio::spawn(async move {
            let found = lookup_host(name).await.map(|found| found.take(ADDRESSES_MAX).collect());
            drop(permit);
            found
        });
        look_up.await.map_err(io::Error::other)?
    }

    async fn dial_resolved(
        &self,
        address: &HostPort,
        resolved: &[SocketAddr],
        deadline: Instant,
    ) -> Result<(TcpStream, SocketAddr), Error> {
        let allowed = self.allowed(address, resolved)?;
        let mut waiting = allowed.iter().copied();
        let share = deadline.saturating_duration_since(Instant::now()) / (allowed.len() as u32 + 1);
        let stagger = share.min(STAGGER_MAX);
        let mut attempts = JoinSet::new();
        let mut failed = None;
        loop {
            if let Some(peer) = waiting.next() {
                let shared = self.0.clone();
                attempts.spawn(async move { (peer, shared.options.connect(peer).await) });
            } else if attempts.is_empty() {
                break;
            }
            let wait = if waiting.len() > 0 { deadline.min(Instant::now() + stagger) } else { deadline };
            match timeout_at(wait, attempts.join_next()).await {
                Ok(Some(Ok((peer, Ok(stream))))) => return Ok((stream, peer)),
                Ok(Some(Ok((peer, Err(source))))) => {
                    failed = Some(Error::Connect { address: address.clone(), resolved: peer, source });
                }
                Ok(Some(Err(_)) | None) => {}
                Err(_) if Instant::now() >= deadline => break,
                Err(_) => {}
            }
        }
        Err(failed.filter(|_| attempts.is_empty()).unwrap_or_else(|| Error::Timeout {
            address: address.clone(),
            resolved: allowed.first().copied().unwrap_or_else(|| ([0, 0, 0, 0], address.port).into()),
            timeout: self.0.options.timeout,
        }))
    }

    /// The addresses that may be dialled, at least one.
    fn allowed(&self, address: &HostPort, resolved: &[SocketAddr]) -> Result<Vec<SocketAddr>, Error> {
        let mut refused = None;
        let mut allowed = Vec::new();
        let checks = self.0.policy.check(address, resolved);
        for (peer, check) in resolved.iter().zip(checks) {
            match check {
                Ok(()) if self.0.options.reaches(peer) => allowed.push(*peer),
                Ok(()) => {}
                Err(source) => {
                    tracing::debug!(broker = %address, %peer, error = %source, "an address is not dialled");
                    refused.get_or_insert((peer.ip(), source));
                }
            }
        }
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some((resolved, source))) => {
                Err(Error::Refused { address: address.clone(), resolved, source })
            }
            (true, None) => Err(Error::NoAddress { address: address.clone() }),
        }
    }
}

impl Options {
    fn reaches(&self, peer: &SocketAddr) -> bool {
        self.source_address.is_none_or(|source| source.is_ipv4() == peer.is_ipv4())
    }

    async fn connect(&self, peer: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if let Some(source) = self.source_address {
            // Without this the port is chosen at bind, once for all brokers, instead of at connect,
            // once for each: 28,000 connections in all instead of to each broker.
            #[cfg(target_os = "linux")]
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        let stream = TcpSocket::from_std_stream(socket.into()).connect(peer).await?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(self.keepalive)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(stream)
    }
}

#[cfg(test)]
pub(crate) mod tests;
