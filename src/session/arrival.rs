//! Who comes: from which address, through which balancer, and whether the limits let it in.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Gate;
use crate::cluster::Door;
use crate::limits::{ListenerLimits, Permit, Refused};
use crate::metrics::listener::Rejected;
use crate::proxy_header::{self, Origin};

/// A connection that was accepted, and of which nothing was read.
#[derive(Debug)]
pub struct Arrival {
    /// The connection.
    pub stream: TcpStream,
    /// Where it comes from: a client, or the load balancer before it.
    pub peer: SocketAddr,
    /// Which port it came to.
    pub door: Door,
    /// Held for as long as it is open.
    pub permit: Permit,
}

/// A connection that is not let in.
#[derive(Debug)]
pub struct TurnedAway {
    rejected: Rejected,
    why: String,
}

impl TurnedAway {
    fn new(rejected: Rejected, why: impl Into<String>) -> Self {
        Self { rejected, why: why.into() }
    }

    /// Counts it, says so in the log, and resets the connection: that costs nothing, and the client backs off
    /// as it does when a broker refuses.
    pub fn tell(self, stream: &TcpStream, client: SocketAddr, gate: &Gate) {
        let Self { rejected, why } = self;
        let reason = rejected.as_str();
        gate.listener_metrics.rejected(rejected);
        tracing::debug!(listener = %gate.listener, client = %client, reason, error = why, "connection rejected");
        if let Some(repeated) = gate.fold.admit(reason, &gate.listener) {
            tracing::warn!(
                listener = %gate.listener, client = %client, reason, error = why, repeated,
                "connections are rejected",
            );
        }
        let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
}

impl From<Refused> for TurnedAway {
    fn from(refused: Refused) -> Self {
        let rejected = match refused {
            Refused::Address(_) => Rejected::PerIp,
            Refused::Process(_) | Refused::Listener(_) => Rejected::Limit,
        };
        Self::new(rejected, refused.to_string())
    }
}

/// The permit for a connection. Behind a load balancer it is one for the balancer's: the client's own address
/// is judged once the header was read.
///
/// # Errors
/// [`TurnedAway`]: nothing is counted as open then.
pub fn admit(peer: SocketAddr, gate: &Gate, limits: &ListenerLimits) -> Result<Permit, TurnedAway> {
    if gate.core.routes.load().bootstrap().is_none() {
        let why = "the address that clients are to be told is not known yet";
        return Err(TurnedAway::new(Rejected::NoAddress, why));
    }
    if let Some(proxy) = &gate.proxy_protocol {
        if !proxy.believes(peer.ip()) {
            let why = "it comes past the load balancers that `required_from` names";
            return Err(TurnedAway::new(Rejected::ProxyHeader, why));
        }
        return Ok(limits.admit()?);
    }
    let mut permit = limits.admit()?;
    judge(peer, gate, &mut permit)?;
    Ok(permit)
}

fn judge(client: SocketAddr, gate: &Gate, permit: &mut Permit) -> Result<(), TurnedAway> {
    if !gate.networks.admit(client.ip()) {
        let why = "its network is not one that the listener serves";
        return Err(TurnedAway::new(Rejected::Network, why));
    }
    Ok(permit.admit_address(client.ip())?)
}

/// Where a connection really comes from, once that is judged too; `None` for one that was turned away.
pub(super) async fn client(arrival: &mut Arrival, gate: &Gate) -> Option<SocketAddr> {
    if gate.proxy_protocol.is_none() {
        return Some(arrival.peer);
    }
    let peer = arrival.peer;
    let (client, judged) = match proxy_header::read(&mut arrival.stream).await {
        Ok(Origin::Client(client)) => (client, judge(client, gate, &mut arrival.permit)),
        Ok(Origin::Unknown) => (peer, judge(peer, gate, &mut arrival.permit)),
        // The balancer's own check of its target: nobody's address to judge.
        Ok(Origin::Balancer) => (peer, Ok(())),
        // It looks whether the port is open, and does not say so.
        Err(proxy_header::Error::Closed) => return None,
        Err(error) => {
            let why = crate::logging::chain(&error);
            (peer, Err(TurnedAway::new(Rejected::ProxyHeader, why)))
        }
    };
    match judged {
        Ok(()) => Some(client),
        Err(turned_away) => {
            turned_away.tell(&arrival.stream, client, gate);
            None
        }
    }
}
