//! From the reader: what the core has to see is read and walked, the rest of a large frame is spliced.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::{Direction, Failed, Flow, READ_BYTES, READ_BYTES_SMALL, Work};
use crate::relay::Peer;
use crate::relay::core::Plan;
use crate::relay::in_flight::Stamp;
use crate::relay::pipe::{self, Pipe};

impl Flow {
    /// Moves what has come, once: what the core has still to see by a copy, the rest of a large frame without.
    pub(super) fn poll_reader(
        &mut self,
        cx: &mut Context<'_>,
        work: &mut Work<'_, impl Peer, impl Peer>,
    ) -> Poll<Result<(), Failed>> {
        if self.pass >= pipe::REST_BYTES_MIN
            && !work.scarce
            && !self.slow
            && let (Some(reader), Some(writer)) = (work.reader.plain(), work.writer.plain())
            && let Some(pipe) = pipe::take()
        {
            return self.poll_splice(cx, (pipe, work.now), reader, writer);
        }
        self.poll_input(cx, work)
    }

    /// Moves what has come through a pipe.
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        (mut pipe, now): (Pipe, Stamp),
        reader: &TcpStream,
        writer: &TcpStream,
    ) -> Poll<Result<(), Failed>> {
        match pipe.poll_fill(cx, reader, self.pass) {
            Poll::Ready(Ok(bytes)) if bytes > 0 => {
                self.moved.read += bytes as u64;
                self.pass -= bytes as u64;
                self.large = true;
                self.pipe = Some((pipe, now));
                self.poll_pipe(cx, writer).map_err(Failed::Write)
            }
            Poll::Pending => {
                pipe.give_back();
                Poll::Pending
            }
            Poll::Ready(Ok(_)) => {
                pipe.give_back();
                self.ended = true;
                Poll::Ready(Ok(()))
            }
            // What comes is copied from now on.
            Poll::Ready(Err(pipe::Error::Unsupported)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(pipe::Error::Socket(error))) => Poll::Ready(Err(Failed::Read(error))),
        }
    }

    /// Reads once and walks what came.
    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        work: &mut Work<'_, impl Peer, impl Peer>,
    ) -> Poll<Result<(), Failed>> {
        let limit =
            if work.scarce || (self.large && self.at_boundary()) { READ_BYTES_SMALL } else { READ_BYTES };
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
                self.large = false;
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
    pub(super) fn keep(&mut self, window: &[u8], walked: usize) {
        self.input = window.get(walked..).unwrap_or_default().to_vec();
    }

    /// Carries out the core's plans on a window and returns how many bytes of it are done with. Bytes
    /// that pass are written straight from the window, as many frames at once as follow each other.
    pub(super) fn walk(
        &mut self,
        cx: &mut Context<'_>,
        work: &mut Work<'_, impl Peer, impl Peer>,
        window: &[u8],
    ) -> std::io::Result<usize> {
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
                Plan::Pass(bytes) => {
                    self.pass = bytes;
                    self.slow = false;
                }
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
}

/// How much of a plan the window covers.
fn part(plan: u64, window: &[u8]) -> usize {
    usize::try_from(plan).unwrap_or(usize::MAX).min(window.len())
}
