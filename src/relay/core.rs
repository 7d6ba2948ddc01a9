//! The core of a connection: bytes in, a plan out. No socket, no clock, no task.
//!
//! The shell shows the core what it has read in one direction and carries out the [`Plan`] before it
//! asks for that direction again. A plan may name more bytes than were shown: the shell moves them
//! without the core, which is how records stream and how another way of moving them can be fitted.

use std::sync::Arc;

use super::in_flight::{InFlight, Pending, Sent, Stamp};
use super::violation::Violation;
use crate::cluster::{Broker, Routes};
use crate::kafka::api::{Api, Patch, Request};
use crate::kafka::header::{self, RequestHeader};
use crate::kafka::wire::{self, Reader};
use crate::kafka::{LENGTH_BYTES, NodeId};
use crate::patch::stream::{self, Stream};
use crate::patch::{self, Context};

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
    pub routes: Arc<Routes>,
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

    /// The plan for bytes from the client. Ask only when the last plan has been carried out.
    pub fn request(&mut self, window: &[u8], now: Stamp) -> Plan {
        if !self.may_start() && !self.lingering {
            return Plan::Wait;
        }
        let Some(length) = window.first_chunk::<LENGTH_BYTES>() else {
            return Plan::Need(LENGTH_BYTES);
        };
        let length = i32::from_be_bytes(*length);
        if self.tokens > 0 {
            return self.token(length);
        }
        let limit = self.options.max_request_bytes;
        let payload_bytes = match u32::try_from(length) {
            Ok(bytes) if bytes > limit => {
                return Plan::Close(Violation::too_long(window, bytes, limit));
            }
            Ok(bytes) if bytes as usize >= header::FIXED_BYTES => bytes as usize,
            Ok(_) | Err(_) => return Plan::Close(Violation::RequestLength { length }),
        };
        let frame_bytes = LENGTH_BYTES + payload_bytes;
        let shown = window.len().min(frame_bytes);
        let payload = window.get(LENGTH_BYTES..shown).unwrap_or_default();
        match self.frame(payload, now) {
            Ok(Verdict::Forward(sent)) if self.lingering => {
                if sent.is_none() {
                    Plan::Pass(frame_bytes as u64)
                } else {
                    Plan::Drop(frame_bytes as u64)
                }
            }
            Ok(Verdict::Forward(sent)) => {
                if let Some(sent) = sent {
                    self.handshake |= sent.tokens > 0;
                    self.in_flight.push(Pending::Sent(sent));
                }
                Plan::Pass(frame_bytes as u64)
            }
            Ok(Verdict::Answer(_)) if self.lingering => Plan::Drop(frame_bytes as u64),
            Ok(Verdict::Answer(frame)) => {
                self.in_flight.push(Pending::Answer(frame));
                Plan::Drop(frame_bytes as u64)
            }
            Err(Stop::Violation(violation)) => Plan::Close(violation),
            Err(Stop::Wire(wire::Error::Malformed(what))) => Plan::Close(Violation::Request { what }),
            Err(Stop::Wire(wire::Error::Short)) if shown == frame_bytes => {
                Plan::Close(Violation::Request { what: "it ends in the middle of its header" })
            }
            Err(Stop::Wire(wire::Error::Short)) if window.len() >= HEADER_BYTES_MAX => {
                Plan::Close(Violation::Request { what: "its header is longer than 128 KiB" })
            }
            Err(Stop::Wire(wire::Error::Short)) => {
                Plan::Need((shown * 2).clamp(64, frame_bytes.max(64)).min(frame_bytes))
            }
        }
    }

    /// A raw SASL token of the client.
    fn token(&mut self, length: i32) -> Plan {
        let Some(bytes) = u32::try_from(length).ok().filter(|bytes| *bytes <= TOKEN_BYTES_MAX) else {
            return Plan::Close(Violation::RequestLength { length });
        };
        self.tokens -= 1;
        self.in_flight.push(Pending::Token);
        Plan::Pass(LENGTH_BYTES as u64 + u64::from(bytes))
    }

    /// Reads what must be known of a request before any of it passes.
    fn frame(&mut self, payload: &[u8], now: Stamp) -> Result<Verdict, Stop> {
        let header = RequestHeader::read(payload)?;
        let RequestHeader { key, version, correlation_id } = header;
        let mut sent = Sent { api: header.api(), version, correlation_id, at: now, tokens: 0 };
        let Some(api) = sent.api else {
            if !self.options.pass_unknown_apis {
                return Err(Stop::Violation(Violation::UnknownApi { key, version }));
            }
            self.event = Some(Event::Request { api: None, expects_response: true });
            return Ok(Verdict::Forward(Some(sent)));
        };
        if !(0..=api.newest).contains(&version) && api.request != Request::ApiVersions {
            return Err(Stop::Violation(Violation::Version { api: api.name, version, newest: api.newest }));
        }
        let has_response = match api.request {
            Request::Refuse => {
                return Err(Stop::Violation(Violation::RefusedApi { api: api.name }));
            }
            Request::ApiVersions if !(0..=api.newest).contains(&version) => {
                return Ok(Verdict::Answer(unsupported_version(header, api)));
            }
            Request::Produce => header::produce_acks(payload, version)? != 0,
            Request::SaslHandshake => {
                sent.tokens = handshake_tokens(payload, version)?;
                true
            }
            Request::Forward | Request::ApiVersions => {
                if api.is_flexible(version) {
                    header::read_past(payload, true)?;
                }
                true
            }
        };
        self.event = Some(Event::Request { api: Some(api), expects_response: has_response });
        Ok(Verdict::Forward(has_response.then_some(sent)))
    }

    /// The plan for bytes from the broker. Ask only when the last plan has been carried out.
    pub fn response(&mut self, window: &[u8]) -> Plan {
        if self.rest > 0 {
            return Plan::Pass(std::mem::take(&mut self.rest));
        }
        if let Some(streaming) = &mut self.streaming {
            match streaming.stream.step(window) {
                Ok(stream::Step::Pass(bytes)) => return Plan::Pass(bytes),
                Ok(stream::Step::Need(bytes)) => return Plan::Need(bytes),
                Ok(stream::Step::Pad(with)) => return Plan::Replace { take: with.len(), with },
                Ok(stream::Step::Done) => {
                    if streaming.stream.padded() {
                        self.event = Some(Event::Padded { api: streaming.api });
                    }
                    self.streaming = None;
                }
                Err(error) => return Plan::Close(Violation::Response { api: streaming.api.name, error }),
            }
        }
        match self.in_flight.head() {
            Some(Pending::Answer(_)) => match self.in_flight.pop() {
                Some(Pending::Answer(with)) => Plan::Replace { take: 0, with },
                Some(Pending::Sent(_) | Pending::Token) | None => Plan::Wait,
            },
            Some(Pending::Token) => {
                let Some(length) = window.first_chunk::<LENGTH_BYTES>() else {
                    return Plan::Need(LENGTH_BYTES);
                };
                let length = i32::from_be_bytes(*length);
                let Ok(bytes) = u32::try_from(length) else {
                    return Plan::Close(Violation::ResponseLength { length });
                };
                self.in_flight.pop();
                Plan::Pass(LENGTH_BYTES as u64 + u64::from(bytes))
            }
            Some(Pending::Sent(sent)) => {
                let sent = *sent;
                self.answered(sent, window)
            }
            None if window.is_empty() => Plan::Need(1),
            None => Plan::Close(Violation::UnexpectedResponse),
        }
    }

    /// The start of the response to `sent`.
    fn answered(&mut self, sent: Sent, window: &[u8]) -> Plan {
        let mut reader = Reader::new(window);
        let (Ok(length), Ok(correlation_id)) = (reader.i32(), reader.i32()) else {
            return Plan::Need(RESPONSE_START);
        };
        let Some(frame_bytes) = u64::try_from(length).ok().filter(|bytes| *bytes >= 4).map(|b| b + 4) else {
            return Plan::Close(Violation::ResponseLength { length });
        };
        if correlation_id != sent.correlation_id.0 {
            let expected = sent.correlation_id.0;
            return Plan::Close(Violation::CorrelationId { expected, found: correlation_id });
        }
        let patch = sent.api.and_then(|api| Some((api, api.patch(sent.version)?)));
        let planned = match patch {
            _ if sent.tokens > 0 => match self.handshake_answered(sent, window) {
                Ok(()) => Ok(Plan::Pass(frame_bytes)),
                Err(wire::Error::Short) => return Plan::Need(RESPONSE_START + 2),
                Err(wire::Error::Malformed(what)) => {
                    return Plan::Close(Violation::Response {
                        api: "SaslHandshake",
                        error: patch::Error::Malformed(what),
                    });
                }
            },
            None => Ok(Plan::Pass(frame_bytes)),
            Some((api, patch)) => {
                self.patched(Head { api, version: sent.version, frame_bytes }, patch, window)
            }
        };
        match planned {
            Ok(plan @ (Plan::Need(_) | Plan::Wait | Plan::Close(_))) => plan,
            Ok(plan) => {
                let rewritten = matches!(plan, Plan::Replace { .. });
                self.event = Some(Event::Response { api: sent.api, since: sent.at, rewritten });
                self.in_flight.pop();
                plan
            }
            Err(error) => {
                Plan::Close(Violation::Response { api: sent.api.map_or("unknown", |a| a.name), error })
            }
        }
    }

    /// The response to a SaslHandshake of version 0: raw tokens follow if the mechanism is accepted.
    fn handshake_answered(&mut self, sent: Sent, window: &[u8]) -> Result<(), wire::Error> {
        let mut reader = Reader::new(window);
        reader.take(RESPONSE_START)?;
        let error = reader.i16()?;
        self.handshake = false;
        if error == 0 {
            self.tokens = sent.tokens;
        }
        Ok(())
    }

    fn patched(&mut self, head: Head, patch: Patch, window: &[u8]) -> Result<Plan, patch::Error> {
        let Head { api, version, frame_bytes } = head;
        if patch == Patch::Metadata {
            return self.metadata(head, window);
        }
        let carries_endpoints = patch::endpoints::layout(patch).is_some();
        if carries_endpoints && frame_bytes > patch::EXACT_BYTES_MAX as u64 {
            let left = frame_bytes - RESPONSE_START as u64;
            self.streaming = Stream::new(patch, api, version, left)
                .map(|stream| Streaming { stream: Box::new(stream), api });
            return Ok(Plan::Pass(RESPONSE_START as u64));
        }
        let frame_bytes = usize::try_from(frame_bytes)
            .ok()
            .filter(|bytes| *bytes <= patch::HELD_BYTES_MAX)
            .ok_or(patch::Error::TooLarge)?;
        let Some(frame) = window.get(..frame_bytes) else { return Ok(Plan::Need(frame_bytes)) };
        let options = Arc::clone(&self.options);
        let mut context = Context::new(&options.routes, options.pass_unknown_apis);
        let with = patch::whole(patch, api, version, frame, &mut context)?;
        self.found(context.learned, context.unroutable);
        Ok(match with {
            Some(with) => Plan::Replace { take: frame_bytes, with },
            None => Plan::Pass(frame_bytes as u64),
        })
    }

    fn metadata(&mut self, head: Head, window: &[u8]) -> Result<Plan, patch::Error> {
        let Head { api, version, frame_bytes } = head;
        let in_frame = usize::try_from(frame_bytes).unwrap_or(usize::MAX).min(window.len());
        let window = window.get(..in_frame).unwrap_or_default();
        let options = Arc::clone(&self.options);
        let mut context = Context::new(&options.routes, options.pass_unknown_apis);
        let prefix = patch::metadata_prefix(api, version, window, frame_bytes, &mut context)?;
        let Some((take, with)) = prefix else {
            if window.len() >= patch::HELD_BYTES_MAX {
                return Err(patch::Error::TooLarge);
            }
            let more = (window.len() * 2).clamp(512, patch::HELD_BYTES_MAX) as u64;
            return Ok(Plan::Need(more.min(frame_bytes) as usize));
        };
        let changed = context.changed;
        self.found(context.learned, context.unroutable);
        if !changed {
            return Ok(Plan::Pass(frame_bytes));
        }
        self.rest = frame_bytes - take as u64;
        Ok(Plan::Replace { take, with })
    }

    fn found(&mut self, brokers: Vec<Broker>, unroutable: Vec<NodeId>) {
        if brokers.is_empty() && unroutable.is_empty() {
            return;
        }
        self.found = Some(Box::new(Found { brokers, unroutable }));
    }
}

/// A response that is patched.
#[derive(Clone, Copy)]
struct Head {
    api: &'static Api,
    version: i16,
    /// Its length with the four bytes of the length.
    frame_bytes: u64,
}

/// What becomes of a request.
enum Verdict {
    /// It passes; `None` where no response will come.
    Forward(Option<Sent>),
    /// The gateway answers it.
    Answer(Vec<u8>),
}

/// Why a request cannot be judged or must not pass.
enum Stop {
    Wire(wire::Error),
    Violation(Violation),
}

impl From<wire::Error> for Stop {
    fn from(error: wire::Error) -> Self {
        Self::Wire(error)
    }
}

/// What a broker answers to an ApiVersions version that it does not know: error 35 in the layout of
/// version 0, with the versions of ApiVersions itself (KIP-511).
fn unsupported_version(header: RequestHeader, api: &Api) -> Vec<u8> {
    let mut frame = Vec::with_capacity(20);
    frame.extend_from_slice(&16_i32.to_be_bytes());
    frame.extend_from_slice(&header.correlation_id.0.to_be_bytes());
    frame.extend_from_slice(&UNSUPPORTED_VERSION.to_be_bytes());
    frame.extend_from_slice(&1_i32.to_be_bytes());
    for value in [api.key, 0, api.newest] {
        frame.extend_from_slice(&value.to_be_bytes());
    }
    frame
}

/// How many raw tokens each side sends after a SaslHandshake. With version 1 there are none: tokens
/// ride in SaslAuthenticate. For a mechanism whose number of tokens is not fixed (GSSAPI) the end could
/// only be guessed, so it is refused.
fn handshake_tokens(payload: &[u8], version: i16) -> Result<u8, Stop> {
    if payload.len() > HANDSHAKE_BYTES_MAX {
        return Err(Stop::Wire(wire::Error::Malformed("a SaslHandshake is longer than 64 KiB")));
    }
    if version > 0 {
        return Ok(0);
    }
    match header::sasl_mechanism(payload)? {
        b"PLAIN" | b"OAUTHBEARER" => Ok(1),
        b"SCRAM-SHA-256" | b"SCRAM-SHA-512" => Ok(2),
        _ => Err(Stop::Violation(Violation::HandshakeV0)),
    }
}
