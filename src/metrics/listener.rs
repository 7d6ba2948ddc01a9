//! What is counted for the clients of one listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge};

use super::families::Families;
use super::histogram::Histogram;

/// Who sent, or who is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client of a listener.
    Client,
    /// The broker behind it.
    Broker,
}

impl Side {
    /// The value of the label `side`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Broker => "broker",
        }
    }
}

/// Why a client connection was turned away before the first byte of its own was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The limit of connections of the process or of the listener.
    Limit,
    /// The limit of connections of one address.
    PerIp,
    /// The listener's allowed or denied networks.
    Network,
    /// The process is out of descriptors.
    Descriptors,
    /// No PROXY header, or one from somebody who may not send it.
    ProxyHeader,
    /// What clients are to be told is not known yet.
    NoAddress,
}

impl Rejected {
    pub(super) const ALL: [Self; 6] =
        [Self::Limit, Self::PerIp, Self::Network, Self::Descriptors, Self::ProxyHeader, Self::NoAddress];

    /// The value of the label `reason`; the log uses the same word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::PerIp => "per_ip",
            Self::Network => "network",
            Self::Descriptors => "descriptors",
            Self::ProxyHeader => "proxy_header",
            Self::NoAddress => "no_address",
        }
    }
}

/// One direction's share: what was read from a side, what was written to it.
#[derive(Debug)]
pub struct Leg {
    /// Bytes read from this side.
    pub received: IntCounter,
    /// Bytes written to this side.
    pub sent: IntCounter,
    /// Time that a wake-up with bytes of this side took until they were written. One for all listeners.
    pub added_latency: Arc<Histogram>,
    backpressure: Counter,
}

impl Leg {
    /// Adds time in which this side was not read because the other one did not take what it had sent.
    pub fn held_back(&self, time: Duration) {
        self.backpressure.inc_by(time.as_secs_f64());
    }
}

/// The handles of one listener, resolved once at start. Everything in here is a handful of atomics; no
/// call looks a label up but [`Listener::closed`] and [`Listener::protocol_error`], which end a connection.
#[derive(Debug)]
pub struct Listener {
    /// The side of the clients.
    pub client: Leg,
    /// The side of the brokers, for connections of this listener.
    pub broker: Leg,
    name: Box<str>,
    accepted: IntCounter,
    open: IntGauge,
    duration: Arc<Histogram>,
    rejected: [IntCounter; Rejected::ALL.len()],
    closed: IntCounterVec,
    protocol_errors: IntCounterVec,
    /// The configuration has the listener no more: a late ending must not bring its series back.
    gone: AtomicBool,
}

impl Listener {
    pub(super) fn new(name: &str, families: &Families) -> Self {
        let leg = |side: Side, index: usize| Leg {
            received: families.received.with_label_values(&[name, side.as_str()]),
            sent: families.sent.with_label_values(&[name, side.as_str()]),
            added_latency: Arc::clone(&families.added_latency[index]),
            backpressure: families.backpressure[index].clone(),
        };
        Self {
            client: leg(Side::Client, 0),
            broker: leg(Side::Broker, 1),
            name: name.into(),
            accepted: families.accepted.with_label_values(&[name]),
            open: families.connections.with_label_values(&[name]),
            duration: families.connection_duration.with(&[name]),
            rejected: Rejected::ALL
                .map(|reason| families.rejected.with_label_values(&[name, reason.as_str()])),
            closed: families.closed.clone(),
            protocol_errors: families.protocol_errors.clone(),
            gone: AtomicBool::new(false),
        }
    }

    pub(super) fn forget(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Counts a connection that was admitted. It is open until the value is dropped.
    #[must_use = "the connection counts as open until this is dropped"]
    pub fn opened(&self) -> Open {
        self.accepted.inc();
        self.open.inc();
        Open { open: self.open.clone(), duration: Arc::clone(&self.duration), since: Instant::now() }
    }

    /// Counts a connection that was turned away.
    pub fn rejected(&self, reason: Rejected) {
        if let Some(counter) = self.rejected.get(reason as usize) {
            counter.inc();
        }
    }

    /// Counts an ended connection. The three words come from the closed list of the program's own text:
    /// nothing a peer sent may become one of them.
    pub fn closed(&self, side: &'static str, stage: &'static str, reason: &'static str) {
        if !self.gone.load(Ordering::Relaxed) {
            self.closed.with_label_values(&[&*self.name, side, stage, reason]).inc();
        }
    }

    /// Starts the series of these endings at 0, so that the first one is seen as an increase.
    pub fn expect_closed(
        &self,
        endings: impl IntoIterator<Item = (&'static str, &'static str, &'static str)>,
    ) {
        for (side, stage, reason) in endings {
            self.closed.with_label_values(&[&*self.name, side, stage, reason]);
        }
    }

    /// Starts the series of these protocol errors at 0.
    pub fn expect_protocol_errors(&self, errors: impl IntoIterator<Item = (Side, &'static str)>) {
        for (side, reason) in errors {
            self.protocol_errors.with_label_values(&[side.as_str(), reason]);
        }
    }

    /// Counts bytes of a peer that were not the Kafka protocol; the word comes from a closed list, as in
    /// [`Listener::closed`].
    pub fn protocol_error(&self, side: Side, reason: &'static str) {
        self.protocol_errors.with_label_values(&[side.as_str(), reason]).inc();
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct Open {
    open: IntGauge,
    duration: Arc<Histogram>,
    since: Instant,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.open.dec();
        self.duration.observe(self.since.elapsed());
    }
}
