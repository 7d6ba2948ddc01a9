//! One direction of a connection: read, walk, write, with nothing kept in between that was not forced.

mod reading;
mod writing;

use std::task::{Context, Poll};

use super::Peer;
use super::core::{Core, Plan};
use super::in_flight::Stamp;
use super::observer::{Moved, Observer};
use super::pipe::Pipe;
use super::violation::Violation;
use crate::limits::held::Held;

/// How much is read at once. System calls per GiB decide what a relay costs; 256 KiB is where the gain
/// of larger reads ends (`docs/performance.md`).
pub(super) const READ_BYTES: usize = 256 * 1024;

/// How much is read at once while the budget of held bytes is used up, and where another large frame is expected to
/// begin: what is read is copied, and of such a frame all but the beginning need not be.
const READ_BYTES_SMALL: usize = 16 * 1024;

/// Reads of one direction before the other directions and connections of the worker get their turn.
const ROUNDS_MAX: usize = 4;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Client to broker.
    Requests,
    /// Broker to client.
    Responses,
}

/// How a flow stands after a poll.
#[derive(Debug)]
pub(super) enum Standing {
    /// It waits for a socket or for the other direction.
    Pending,
    /// It could go on and gives others their turn.
    Busy,
    /// Its reader is at its end and all that was read has been written.
    Ended,
    /// A peer broke the protocol; all that came before has been written.
    Violated(Violation),
    /// Reading failed.
    ReadFailed(std::io::Error),
    /// Writing failed.
    WriteFailed(std::io::Error),
}

/// What a flow works with while it is polled.
pub(super) struct Work<'a, R, W> {
    pub(super) reader: &'a mut R,
    pub(super) writer: &'a mut W,
    pub(super) core: &'a mut Core,
    pub(super) now: Stamp,
    /// The worker's read buffer.
    pub(super) scratch: &'a mut [u8],
    /// Whether a new frame may be begun.
    pub(super) may_start: bool,
    /// Whether the budget of held bytes is used up.
    pub(super) scarce: bool,
    pub(super) observer: &'a mut Observer,
}

/// The state of one direction between polls.
#[derive(Debug)]
pub(super) struct Flow {
    direction: Direction,
    /// Read and not walked: less than a frame's header, or what a patch needs, or what waits.
    input: Vec<u8>,
    /// Walked and not taken by the writer, from `taken` on.
    output: Vec<u8>,
    taken: usize,
    /// Spliced and not taken by the writer, and since when.
    pipe: Option<(Pipe, Stamp)>,
    /// The writer was too slow for a pipe, so the rest of this frame is copied.
    slow: bool,
    /// The last frame was large enough to be spliced, so the next one may be.
    large: bool,
    /// The writer took bytes that its peer has not taken, as an encrypted stream does.
    unflushed: bool,
    /// What is left of the plan under way.
    pass: u64,
    drop: u64,
    /// The core was asked and wants the other direction to move first.
    waiting: bool,
    /// The core has not been asked about `input` since something changed.
    ask: bool,
    /// The core need not be asked before `input` is this long: a peer that sends byte by byte must not
    /// have what is kept read again for each of them.
    need: usize,
    ended: bool,
    violation: Option<Violation>,
    held: Held,
    /// Bytes read and written since they were last taken for the counters.
    moved: Moved,
}

impl Flow {
    /// A flow that has read `input` already and was given `plan` for it.
    pub(super) fn new(direction: Direction, input: Vec<u8>, plan: Option<Plan>, held: Held) -> Self {
        let mut flow = Self {
            direction,
            ask: !input.is_empty(),
            input,
            output: Vec::new(),
            taken: 0,
            pipe: None,
            slow: false,
            large: false,
            unflushed: false,
            pass: 0,
            drop: 0,
            waiting: false,
            need: 0,
            ended: false,
            violation: None,
            held,
            moved: Moved::default(),
        };
        match plan {
            Some(Plan::Pass(bytes)) => flow.pass = bytes,
            Some(Plan::Drop(bytes)) => flow.drop = bytes,
            Some(Plan::Close(violation)) => flow.violation = Some(violation),
            Some(Plan::Replace { .. } | Plan::Need(_) | Plan::Wait) | None => {}
        }
        flow
    }

    /// Whether no frame is under way as far as this flow knows.
    pub(super) fn at_boundary(&self) -> bool {
        self.pass == 0 && self.drop == 0
    }

    /// Whether part of a frame has come and the rest has not.
    pub(super) fn is_mid_frame(&self) -> bool {
        !self.at_boundary() || (!self.input.is_empty() && !self.waiting)
    }

    /// Whether the peer has not taken what it was sent, so that nothing more is read for it.
    pub(super) fn is_blocked(&self) -> bool {
        !self.output.is_empty() || self.pipe.is_some() || self.unflushed
    }

    /// Since when a pipe waits for the peer to take what is in it.
    pub(super) fn pipe_since(&self) -> Option<Stamp> {
        self.pipe.as_ref().map(|(_, since)| *since)
    }

    /// Whether the core wants the other direction to move first.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Takes how much was read and written since the last call.
    pub(super) fn take_moved(&mut self) -> Moved {
        std::mem::take(&mut self.moved)
    }

    /// Takes what was read and not walked.
    pub(super) fn take_input(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }

    /// Takes what is left of the plan under way: bytes to pass, bytes to drop.
    pub(super) fn take_plan(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.pass), std::mem::take(&mut self.drop))
    }

    /// Asks the core again at the next poll, because the other direction has moved.
    pub(super) fn ask_again(&mut self) {
        self.waiting = false;
        self.ask = true;
    }

    /// Moves what can be moved.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        work: &mut Work<'_, impl Peer, impl Peer>,
    ) -> Standing {
        let standing = self.rounds(cx, work);
        let spliced = self.pipe.as_ref().map_or(0, |(pipe, _)| pipe.bytes());
        self.held.set(self.input.capacity() + self.output.capacity() + spliced);
        standing
    }

    fn rounds(&mut self, cx: &mut Context<'_>, work: &mut Work<'_, impl Peer, impl Peer>) -> Standing {
        for _ in 0..ROUNDS_MAX {
            match self.poll_output(cx, work.writer) {
                Poll::Pending => return Standing::Pending,
                Poll::Ready(Err(error)) => return Standing::WriteFailed(error),
                Poll::Ready(Ok(())) => {}
            }
            if let Some(violation) = self.violation.take() {
                return Standing::Violated(violation);
            }
            if std::mem::take(&mut self.ask) {
                let input = std::mem::take(&mut self.input);
                match self.walk(cx, work, &input) {
                    Err(error) => return Standing::WriteFailed(error),
                    Ok(0) => self.input = input,
                    Ok(walked) => self.keep(&input, walked),
                }
                continue;
            }
            if self.ended {
                return Standing::Ended;
            }
            if self.waiting || (!work.may_start && self.at_boundary()) {
                return Standing::Pending;
            }
            match self.poll_reader(cx, work) {
                Poll::Pending => return Standing::Pending,
                Poll::Ready(Err(Failed::Read(error))) => return Standing::ReadFailed(error),
                Poll::Ready(Err(Failed::Write(error))) => return Standing::WriteFailed(error),
                Poll::Ready(Ok(())) => {}
            }
        }
        Standing::Busy
    }
}

/// Which end failed.
enum Failed {
    Read(std::io::Error),
    Write(std::io::Error),
}
