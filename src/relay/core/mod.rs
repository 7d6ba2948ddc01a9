//! The core of a connection: bytes in, a plan out. No socket, no clock, no task.
//!
//! The shell shows the core what it has read in one direction and carries out the [`Plan`] before it
//! asks for that direction again. A plan may name more bytes than were shown: the shell moves them
//! without the core, which is how records stream and how another way of moving them can be fitted.

mod requests;
mod responses;

use std::sync::Arc;

use crate::cluster::{Broker, LiveRoutes};
use crate::kafka::api::Api;
use crate::kafka::{LENGTH_BYTES, NodeId};
use crate::patch::stream::Stream;
use crate::relay::in_flight::{InFlight, Pending, Stamp};
use crate::relay::violation::Violation;

/// The most bytes of a request that are looked at: header, transactional id and acks.
const HEADER_BYTES_MAX: usize = 128 * 1024;
/// The longest raw token, as a broker's `sasl.server.max.receive.size`.
const TOKEN_BYTES_MAX: u32 = 512 * 1024;
/// The longest SaslHandshake: a mechanism has at most 20 characters (RFC 4422), a client id may be long.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// Length and correlation id of a response.
const RESPONSE_START: usize = LENGTH_BYTES + 4;
/// `UNSUPPORTED_VERSION`.
const UNSUPPORTED_VERSION: i16 = 35;

/// What every connection of a listener shares.
#[derive(Clone, Debug)]
pub struct Options {
    /// The addresses that clients are told.
    pub routes: LiveRoutes,
    /// Whether APIs that the table does not know pass, addresses and all.
    pub pass_unknown_apis: bool,
    /// The longest request, without its length, in bytes.
    pub max_request_bytes: u32,
    /// Requests that may wait for their response; more are not read.
    pub max_in_flight: usize,
}

/// What to do with the bytes of one direction.
#[derive(Debug)]
pub enum Plan {
    /// Send that many bytes as they are. At least 1; may exceed the window.
    Pass(u64),
    /// Take that many bytes and send nothing. At least 1; may exceed the window.
    Drop(u64),
    /// Take `take` bytes of the window and send `with` instead.
    Replace {
        /// Bytes of the window that are replaced; 0 where an answer is put in.
        take: usize,
        /// What is sent.
        with: Vec<u8>,
    },
    /// Show at least that many bytes.
    Need(usize),
    /// Ask again when the other direction has moved.
    Wait,
    /// Nothing of this direction may pass any more.
    Close(Violation),
}

/// What a plan meant, for those who count.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A request goes to the broker.
    Request {
        /// The API, if the table knows it.
        api: Option<&'static Api>,
        /// False for a Produce with acks=0.
        expects_response: bool,
    },
    /// A response comes from the broker.
    Response {
        /// The API, if the table knows it.
        api: Option<&'static Api>,
        /// When its request was forwarded.
        since: Stamp,
        /// Whether addresses in it were changed.
        rewritten: bool,
    },
    /// The node list of a response that was too large to hold was emptied at equal length.
    Padded {
        /// The API.
        api: &'static Api,
    },
}

/// What responses said about the cluster.
#[derive(Debug, Default)]
pub struct Found {
    /// Brokers, as their cluster advertises them.
    pub brokers: Vec<Broker>,
    /// Nodes that clients were not told of, because no range holds their id.
    pub unroutable: Vec<NodeId>,
}

/// What is under way from broker to client.
#[derive(Debug)]
struct Streaming {
    stream: Box<Stream>,
    api: &'static Api,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Core {
    options: Arc<Options>,
    in_flight: InFlight,
    /// A SaslHandshake of version 0 waits for its response: what follows is not known before.
    handshake: bool,
    /// Raw tokens that the client will send before it speaks Kafka again.
    tokens: u8,
    streaming: Option<Streaming>,
    /// What is left of a response whose start was replaced.
    rest: u64,
    lingering: bool,
    event: Option<Event>,
    found: Option<Box<Found>>,
}

impl Core {
    /// The core of a new connection.
    pub fn new(options: Arc<Options>) -> Self {
        Self {
            options,
            in_flight: InFlight::default(),
            handshake: false,
            tokens: 0,
            streaming: None,
            rest: 0,
            lingering: false,
            event: None,
            found: None,
        }
    }

    /// What is owed to the client.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Whether a frame of the gateway's own is the next thing that the client is owed.
    pub fn answer_is_next(&self) -> bool {
        !self.is_streaming() && matches!(self.in_flight.head(), Some(Pending::Answer(_)))
    }

    /// Whether a response is between its first and its last byte as far as the core knows.
    pub fn is_streaming(&self) -> bool {
        self.streaming.is_some() || self.rest > 0
    }

    /// Whether the next request may be read.
    pub fn may_start(&self) -> bool {
        !self.handshake && self.in_flight.len() < self.options.max_in_flight
    }

    /// What the last plan meant.
    pub fn take_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// What has been learned since the last call.
    pub fn take_found(&mut self) -> Option<Box<Found>> {
        self.found.take()
    }

    /// Gives back what an idle connection need not hold.
    pub fn shrink(&mut self) {
        self.in_flight.shrink();
    }

    /// From now on only requests without a response pass, because their sender counts them as sent;
    /// the others are dropped, because their sender will see the close and send them again.
    pub fn linger(&mut self) {
        self.lingering = true;
    }
}
