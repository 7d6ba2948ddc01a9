//! The responses: which are patched, and how much of them that needs.

use std::sync::Arc;

use super::{Core, Event, Found, Plan, RESPONSE_START, Streaming};
use crate::cluster::Broker;
use crate::kafka::api::{Api, Patch};
use crate::kafka::wire::Reader;
use crate::kafka::{LENGTH_BYTES, NodeId};
use crate::patch::stream::{self, Stream};
use crate::patch::{self, Context};
use crate::relay::in_flight::{Pending, Sent};
use crate::relay::violation::Violation;

impl Core {
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
            _ if sent.tokens > 0 => self.handshake_answered(sent, window, frame_bytes),
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
    fn handshake_answered(
        &mut self,
        sent: Sent,
        window: &[u8],
        frame_bytes: u64,
    ) -> Result<Plan, patch::Error> {
        const ERROR_END: usize = RESPONSE_START + 2;
        if frame_bytes < ERROR_END as u64 {
            return Err(patch::Error::Malformed("it ends before its error code"));
        }
        let Some(error) = window.get(RESPONSE_START..ERROR_END) else { return Ok(Plan::Need(ERROR_END)) };
        self.handshake = false;
        if error == [0, 0] {
            self.tokens = sent.tokens;
        }
        Ok(Plan::Pass(frame_bytes))
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
        let routes = options.routes.load();
        let mut context = Context::new(&routes, options.pass_unknown_apis);
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
        let routes = options.routes.load();
        let mut context = Context::new(&routes, options.pass_unknown_apis);
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
