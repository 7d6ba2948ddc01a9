//! A shell for the core without sockets: bytes in and out of both sides, in windows of any size.

use gatehouse::relay::core::{Core, Plan};
use gatehouse::relay::in_flight::Stamp;
use gatehouse::relay::violation::Violation;

/// Client to broker, or broker to client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Requests,
    Responses,
}

/// One direction: what has come, how much of it is done with, what was sent on.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) input: Vec<u8>,
    pub(crate) walked: usize,
    pub(crate) output: Vec<u8>,
    pass: u64,
    drop: u64,
    pub(crate) violation: Option<Violation>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) core: Core,
    pub(crate) requests: Side,
    pub(crate) responses: Side,
}

impl Shell {
    pub(crate) fn new(core: Core) -> Self {
        Self { core, requests: Side::default(), responses: Side::default() }
    }

    /// The client sends bytes; they are moved in windows of at most `window`.
    pub(crate) fn client(&mut self, bytes: &[u8], window: usize) {
        self.requests.input.extend_from_slice(bytes);
        self.pump(Direction::Requests, window);
        // An answer of the gateway's own goes out in its turn, and what waits may go on.
        self.pump(Direction::Responses, window);
        self.pump(Direction::Requests, window);
    }

    /// The broker sends bytes.
    pub(crate) fn broker(&mut self, bytes: &[u8], window: usize) {
        self.responses.input.extend_from_slice(bytes);
        for _ in 0..2 {
            self.pump(Direction::Responses, window);
            self.pump(Direction::Requests, window);
        }
    }

    /// Carries out plans until the core waits, needs bytes that are not there, or closes.
    fn pump(&mut self, direction: Direction, window: usize) {
        let mut shown = window.max(1);
        loop {
            let side = match direction {
                Direction::Requests => &mut self.requests,
                Direction::Responses => &mut self.responses,
            };
            if side.violation.is_some() {
                return;
            }
            side.carry_out();
            if side.pass > 0 || side.drop > 0 {
                return;
            }
            let rest = &side.input[side.walked..];
            let at_hand = &rest[..rest.len().min(shown)];
            let plan = match direction {
                Direction::Requests => self.core.request(at_hand, Stamp(0)),
                Direction::Responses => self.core.response(at_hand),
            };
            match plan {
                Plan::Pass(bytes) => side.pass = nonzero(bytes),
                Plan::Drop(bytes) => side.drop = nonzero(bytes),
                Plan::Replace { take, with } => {
                    assert!(take <= at_hand.len(), "{take} bytes of a window of {}", at_hand.len());
                    assert!(take > 0 || !with.is_empty(), "a plan that does nothing");
                    side.output.extend_from_slice(&with);
                    side.walked += take;
                }
                Plan::Need(bytes) => {
                    assert!(bytes > at_hand.len(), "it has {} bytes and needs {bytes}", at_hand.len());
                    if bytes > rest.len() && at_hand.len() == rest.len() {
                        return;
                    }
                    // It may ask for more than it turns out to need: all that is there is shown first.
                    shown = bytes.min(rest.len());
                    continue;
                }
                Plan::Wait => return,
                Plan::Close(violation) => side.violation = Some(violation),
            }
            shown = window.max(1);
        }
    }
}

fn nonzero(bytes: u64) -> u64 {
    assert!(bytes > 0, "a plan for no bytes");
    bytes
}

impl Side {
    /// Moves what the last plan covers.
    fn carry_out(&mut self) {
        let rest = &self.input[self.walked..];
        let passed = rest.len().min(usize::try_from(self.pass).unwrap_or(usize::MAX));
        self.output.extend_from_slice(&rest[..passed]);
        let dropped = (rest.len() - passed).min(usize::try_from(self.drop).unwrap_or(usize::MAX));
        self.walked += passed + dropped;
        self.pass -= passed as u64;
        self.drop -= dropped as u64;
    }

    /// Whether the rest of a plan waits for bytes.
    pub(crate) fn is_mid_plan(&self) -> bool {
        self.pass > 0 || self.drop > 0
    }
}
