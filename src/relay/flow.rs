//! One direction of a connection: read, walk, write, with nothing kept in between that was not forced.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::core::{Core, Plan};
use super::in_flight::Stamp;
use super::observer::{Moved, Observer};
use super::violation::Violation;
use crate::limits::held::Held;
use crate::limits::spare;

/// How much is read at once. System calls per GiB decide what a relay costs; 256 KiB is where the gain
/// of larger reads ends (`docs/performance.md`).
pub(super) const READ_BYTES: usize = 256 * 1024;

/// How much is read at once while the budget of held bytes is used up.
const READ_BYTES_SCARCE: usize = 16 * 1024;

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
        !self.output.is_empty() || self.unflushed
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
    pub(super) fn poll<R, W>(&mut self, cx: &mut Context<'_>, work: &mut Work<'_, R, W>) -> Standing
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let standing = self.rounds(cx, work);
        self.held.set(self.input.capacity() + self.output.capacity());
        standing
    }

    fn rounds<R, W>(&mut self, cx: &mut Context<'_>, work: &mut Work<'_, R, W>) -> Standing
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
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
            match self.poll_input(cx, work) {
                Poll::Pending => return Standing::Pending,
                Poll::Ready(Err(Failed::Read(error))) => return Standing::ReadFailed(error),
                Poll::Ready(Err(Failed::Write(error))) => return Standing::WriteFailed(error),
                Poll::Ready(Ok(())) => {}
            }
        }
        Standing::Busy
    }

    /// Reads once and walks what came.
    fn poll_input<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        work: &mut Work<'_, R, W>,
    ) -> Poll<Result<(), Failed>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let limit = if work.scarce { READ_BYTES_SCARCE } else { READ_BYTES };
        let scratch = std::mem::take(&mut work.scratch);
        let kept = self.input.len();
        // A little that is kept goes in front of what is read; much of it is read behind instead.
        let in_scratch = kept <= scratch.len() / 8;
        let offset = if in_scratch { kept } else { 0 };
        let space = scratch.get_mut(offset..).unwrap_or_default();
        let space_bytes = space.len().min(limit);
        let mut buffer = ReadBuf::new(space.get_mut(..space_bytes).unwrap_or_default());
        let polled = Pin::new(&mut *work.reader).poll_read(cx, &mut buffer);
        let read = buffer.filled().len();
        let result = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failed::Read(error))),
            Poll::Ready(Ok(())) if read == 0 => {
                self.ended = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => {
                self.moved.read += read as u64;
                let mut input = std::mem::take(&mut self.input);
                if kept + read < self.need {
                    input.extend_from_slice(scratch.get(offset..offset + read).unwrap_or_default());
                    self.input = input;
                    work.scratch = scratch;
                    return Poll::Ready(Ok(()));
                }
                let walked = if in_scratch {
                    if let Some(front) = scratch.get_mut(..kept) {
                        front.copy_from_slice(&input);
                    }
                    let window = scratch.get(..kept + read).unwrap_or_default();
                    self.walk(cx, work, window).inspect(|walked| self.keep(window, *walked))
                } else {
                    input.extend_from_slice(scratch.get(..read).unwrap_or_default());
                    self.walk(cx, work, &input).inspect(|walked| match walked {
                        0 => self.input = std::mem::take(&mut input),
                        walked => self.keep(&input, *walked),
                    })
                };
                Poll::Ready(walked.map(drop).map_err(Failed::Write))
            }
        };
        work.scratch = scratch;
        result
    }

    /// Keeps what was not walked.
    fn keep(&mut self, window: &[u8], walked: usize) {
        self.input = window.get(walked..).unwrap_or_default().to_vec();
    }

    /// Carries out the core's plans on a window and returns how many bytes of it are done with. Bytes
    /// that pass are written straight from the window, as many frames at once as follow each other.
    fn walk<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        work: &mut Work<'_, R, W>,
        window: &[u8],
    ) -> std::io::Result<usize>
    where
        W: AsyncWrite + Unpin,
    {
        let (mut sent, mut position) = (0, 0);
        self.need = 0;
        loop {
            let rest = window.get(position..).unwrap_or_default();
            if self.pass > 0 {
                let bytes = part(self.pass, rest);
                position += bytes;
                self.pass -= bytes as u64;
            } else if self.drop > 0 {
                self.send(cx, work.writer, window.get(sent..position).unwrap_or_default())?;
                let bytes = part(self.drop, rest);
                position += bytes;
                sent = position;
                self.drop -= bytes as u64;
            }
            if !self.at_boundary() {
                break;
            }
            if !work.may_start {
                break;
            }
            let rest = window.get(position..).unwrap_or_default();
            let plan = match self.direction {
                Direction::Requests => work.core.request(rest, work.now),
                Direction::Responses => work.core.response(rest),
            };
            work.observer.observe(work.core, work.now);
            match plan {
                Plan::Pass(bytes) => self.pass = bytes,
                Plan::Drop(bytes) => self.drop = bytes,
                Plan::Replace { take, with } => {
                    self.send(cx, work.writer, window.get(sent..position).unwrap_or_default())?;
                    self.send(cx, work.writer, &with)?;
                    position += take;
                    sent = position;
                }
                Plan::Need(bytes) => {
                    self.need = bytes;
                    break;
                }
                Plan::Wait => {
                    self.waiting = true;
                    break;
                }
                Plan::Close(violation) => {
                    self.violation = Some(violation);
                    break;
                }
            }
        }
        self.send(cx, work.writer, window.get(sent..position).unwrap_or_default())?;
        Ok(position)
    }

    /// Writes, and keeps what the peer does not take.
    fn send<W>(&mut self, cx: &mut Context<'_>, writer: &mut W, mut bytes: &[u8]) -> std::io::Result<()>
    where
        W: AsyncWrite + Unpin,
    {
        while !bytes.is_empty() && self.output.is_empty() {
            match Pin::new(&mut *writer).poll_write(cx, bytes) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.moved.written += written as u64;
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if self.output.capacity() == 0 && bytes.len() > READ_BYTES_SCARCE {
            self.output = spare::take();
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what the peer did not take before, and gives its memory back.
    pub(super) fn poll_output<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<std::io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while let Some(rest) = self.output.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *writer).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                written => {
                    self.taken += written;
                    self.moved.written += written as u64;
                }
            }
        }
        if self.output.capacity() > 0 {
            spare::give_back(std::mem::take(&mut self.output));
        }
        self.taken = 0;
        let flushed = Pin::new(writer).poll_flush(cx);
        self.unflushed = flushed.is_pending();
        flushed
    }
}

/// Which end failed.
enum Failed {
    Read(std::io::Error),
    Write(std::io::Error),
}

/// How much of a plan the window covers.
fn part(plan: u64, window: &[u8]) -> usize {
    usize::try_from(plan).unwrap_or(usize::MAX).min(window.len())
}
