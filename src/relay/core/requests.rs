//! The requests: what is read of each before any of it passes.

use super::{Core, Event, HANDSHAKE_BYTES_MAX, HEADER_BYTES_MAX, Plan, TOKEN_BYTES_MAX, UNSUPPORTED_VERSION};
use crate::kafka::LENGTH_BYTES;
use crate::kafka::api::{Api, Request};
use crate::kafka::header::{self, RequestHeader};
use crate::kafka::wire;
use crate::relay::in_flight::{Pending, Sent, Stamp};
use crate::relay::violation::Violation;

impl Core {
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
