//! Ends the TLS of a client: its hello, the door that it asks for, the handshake, and who it is.

use std::sync::Arc;
use std::time::Duration;

use rustls::AlertDescription;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Gate;
use super::ended::{Ended, Side, Stage};
use crate::cluster::{Door, Routes};
use crate::limits::handshakes::{Handshakes, TooMany};
use crate::logging::chain;
use crate::logging::printable::Printable;
use crate::metrics;
use crate::registry::Connection;
use crate::tls::hello::{self, Hello};
use crate::tls::server::Terminator;
use crate::tls::stream::{self, Stream, Transport};
use crate::tls::{Version, principal, trust};

/// How a listener ends TLS.
#[derive(Debug)]
pub struct Tls {
    /// What it presents and whom it trusts.
    pub terminator: Arc<Terminator>,
    /// Its share of the handshakes.
    pub handshakes: Handshakes,
    /// How long a handshake may take, from the first byte to the last, waiting for its turn included.
    pub timeout: Duration,
    /// Counts of its handshakes.
    pub metrics: Arc<metrics::tls::Handshakes>,
}

/// A client that may ask for something now.
pub(super) struct Welcomed {
    pub(super) stream: Transport,
    /// Where it wants to go.
    pub(super) door: Door,
    /// Cancelled when its certificate is trusted no more.
    pub(super) distrusted: Option<CancellationToken>,
}

/// Why a client is not welcomed. It has been told what TLS can tell.
#[derive(Debug, thiserror::Error)]
enum Unwelcome {
    #[error(transparent)]
    Hello(hello::Error),
    #[error("the client asks for a broker by TLS server name and sends none: it connects to an address")]
    NoName,
    #[error("the client asks for the TLS server name `{0}`, which is none of this listener's")]
    UnknownName(String),
    #[error("the TLS server name that the client asks for is in no certificate of this listener")]
    Uncovered,
    #[error(transparent)]
    TooMany(TooMany),
    #[error(transparent)]
    Handshake(stream::Error),
    #[error("the client's certificate is trusted no more")]
    Distrusted(#[source] trust::Error),
    #[error("the listener's TLS settings changed during the handshake; the client may come again")]
    Outdated,
    #[error("the client's certificate names no principal")]
    Principal(#[source] principal::Error),
    #[error("the TLS handshake took longer than {0:?}")]
    Timeout(Duration),
}

impl Unwelcome {
    /// Whose doing it is, and the word for logs and metrics.
    fn reason(&self) -> (Side, &'static str) {
        match self {
            Self::Hello(error) => (Side::Client, error.reason()),
            Self::NoName | Self::UnknownName(_) | Self::Uncovered => (Side::Client, "unknown_name"),
            Self::TooMany(_) => (Side::Gateway, "overloaded"),
            Self::Handshake(error) => (Side::Client, error.reason()),
            Self::Distrusted(_) => (Side::Client, "distrusted"),
            Self::Outdated => (Side::Gateway, "outdated"),
            Self::Principal(_) => (Side::Client, "principal"),
            Self::Timeout(_) => (Side::Client, "timeout"),
        }
    }
}

impl From<Unwelcome> for Ended {
    fn from(unwelcome: Unwelcome) -> Self {
        let (side, reason) = unwelcome.reason();
        match reason {
            // Probes of load balancers come and go like this.
            "closed" | "timeout" => Self::usual(side, Stage::Tls, reason),
            _ => Self::notable(side, Stage::Tls, reason, chain(&unwelcome)),
        }
    }
}

/// Lets a client in. Plain listeners let everybody in; nobody is dialled for a client before this is done.
pub(super) async fn welcome(
    client: TcpStream,
    door: Door,
    gate: &Gate,
    connection: &Connection,
) -> Result<Welcomed, Ended> {
    let Some(tls) = &gate.tls else {
        return Ok(Welcomed { stream: Transport::Plain(client), door, distrusted: None });
    };
    let began = Instant::now();
    let shaken = match timeout(tls.timeout, tls.shake(client, door, &gate.core.routes.load_full())).await {
        Ok(shaken) => shaken,
        Err(_) => Err(Unwelcome::Timeout(tls.timeout)),
    };
    let welcomed = match shaken {
        Ok((stream, door, config)) => {
            let (version, resumed) = (stream.version(), stream.resumed());
            match tls.recognise(&stream, &config, connection) {
                Ok(distrusted) => {
                    tls.metrics.done(version == Version::Tls13, resumed, began.elapsed());
                    let mut stream = Transport::Tls(Box::new(stream));
                    stream.count_in(&gate.held);
                    return Ok(Welcomed { stream, door, distrusted });
                }
                Err(unwelcome) => {
                    hello::finish(&mut Transport::Tls(Box::new(stream))).await;
                    Err(unwelcome)
                }
            }
        }
        Err(unwelcome) => Err(unwelcome),
    };
    welcomed.inspect_err(|unwelcome| tls.metrics.failed(unwelcome.reason().1)).map_err(Ended::from)
}

type Shaken = (Stream, Door, Arc<ServerConfig>);

impl Tls {
    /// The handshake, with the configuration that it was done with.
    async fn shake(&self, mut client: TcpStream, door: Door, routes: &Routes) -> Result<Shaken, Unwelcome> {
        let began = Instant::now();
        let hello = hello::read(&mut client).await.map_err(Unwelcome::Hello)?;
        let asked = asked(&hello, door, routes).and_then(|door| {
            let is_shown = self.terminator.is_for(hello.server_name.as_deref());
            if is_shown { Ok(door) } else { Err(Unwelcome::Uncovered) }
        });
        let door = match asked {
            Ok(door) => door,
            Err(unwelcome) => {
                hello::refuse(&mut client, AlertDescription::UnrecognisedName).await;
                return Err(unwelcome);
            }
        };
        let patience = self.timeout.saturating_sub(began.elapsed());
        let slot = self.handshakes.begin(patience).await.map_err(Unwelcome::TooMany)?;
        let config = self.terminator.config();
        let asks = self.terminator.asks_for_certificate();
        let accepted = stream::accept(client, hello, Arc::clone(&config), asks, || drop(slot)).await;
        Ok((accepted.map_err(Unwelcome::Handshake)?, door, config))
    }

    /// Who the client is by its certificate. A resumed session, and one whose handshake began before the
    /// trusted certificates changed, is checked against those of now.
    fn recognise(
        &self,
        stream: &Stream,
        config: &Arc<ServerConfig>,
        connection: &Connection,
    ) -> Result<Option<CancellationToken>, Unwelcome> {
        let certificates = stream.peer_certificates();
        let principal = self.terminator.principal(certificates).map_err(Unwelcome::Principal)?;
        let distrusted = principal.map(|principal| connection.authenticated(&principal, certificates));
        // Registered first, asked then: whoever puts another one in place asks in the other order.
        if self.terminator.is_retired() {
            return Err(Unwelcome::Outdated);
        }
        if distrusted.is_none() {
            return Ok(None);
        }
        if stream.resumed() || !Arc::ptr_eq(config, &self.terminator.config()) {
            self.terminator.recheck(certificates).map_err(Unwelcome::Distrusted)?;
        }
        Ok(distrusted)
    }
}

/// Where a client wants to go: by its server name where names tell the brokers apart, else by its port.
fn asked(hello: &Hello, door: Door, routes: &Routes) -> Result<Door, Unwelcome> {
    match (routes, &hello.server_name) {
        (Routes::Ports(_), _) => Ok(door),
        (Routes::Names(_), None) => Err(Unwelcome::NoName),
        (Routes::Names(_), Some(name)) => routes
            .door(name)
            .ok_or_else(|| Unwelcome::UnknownName(Printable::from(name.as_str()).to_string())),
    }
}
