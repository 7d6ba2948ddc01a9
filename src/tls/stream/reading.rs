//! Reading of an encrypted stream: records into text.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::machine::{Machine, Order, Outcome, Sink};
use super::{End, PAGE_BYTES, PLAIN_BYTES_MAX, RECORD_BYTES_MAX, SCRATCH, Stream, invalid};

/// A reader with this much space has records decrypted in it.
const LARGE_READ_BYTES: usize = 64 * 1024;

/// The longest unfinished record that goes in front of a large read.
const CARRY_BYTES_MAX: usize = 5 * PAGE_BYTES;

/// What is kept of a server: the longest handshake message that rustls takes, and the headers of its records.
const SERVER_KEPT_BYTES_MAX: usize = 64 * 1024 + RECORD_BYTES_MAX;

/// What is kept of a client, which has nothing long to say in a handshake message after the handshake.
const CLIENT_KEPT_BYTES_MAX: usize = RECORD_BYTES_MAX + 1024;

/// Reads without a byte of text before others get their turn: a peer can send records that hold none.
const EMPTY_READS_MAX: usize = 4;

impl<S> Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        for _ in 0..EMPTY_READS_MAX {
            if !self.plain.is_empty() {
                self.give(buffer);
                return Poll::Ready(Ok(()));
            }
            match &mut self.end {
                End::Open => {}
                End::Read => return Poll::Ready(Ok(())),
                End::Failed(fault) => match fault.take() {
                    Some(fault) => return Poll::Ready(Err(invalid(&fault))),
                    None if ready!(self.throw_away(cx))? == 0 => return Poll::Ready(Ok(())),
                    None => continue,
                },
            }
            if self.fresh {
                self.read_kept(buffer);
            } else if buffer.remaining() >= LARGE_READ_BYTES && self.incoming.len() <= CARRY_BYTES_MAX {
                ready!(self.read_large(cx, buffer))?;
            } else {
                ready!(self.read_small(cx, buffer))?;
            }
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads and keeps nothing, so that a lingering close works after a fault too.
    fn throw_away(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Gives what was decrypted before.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = self.plain.get(self.taken..).unwrap_or_default();
        let bytes = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..bytes).unwrap_or_default());
        self.taken += bytes;
        if self.taken == self.plain.len() {
            self.plain = Vec::new();
            self.taken = 0;
        }
    }

    /// Reads into the reader's own space and decrypts there. The records are read behind a gap that the
    /// text of one fits into, and every text is shorter than its record, so each moves to the front.
    fn read_large(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let carry = self.incoming.len();
        let start = PLAIN_BYTES_MAX + carry.next_multiple_of(PAGE_BYTES);
        let space = buffer.initialize_unfilled();
        let mut records = ReadBuf::new(space.get_mut(start..).unwrap_or_default());
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut records))?;
        let read = records.filled().len();
        if read == 0 {
            return Poll::Ready(self.read_end());
        }
        let (mut position, end) = (start - carry, start + read);
        if let Some(front) = space.get_mut(position..start) {
            front.copy_from_slice(&self.incoming);
        }
        let mut filled = 0;
        let outcome = loop {
            let (front, records) = space.split_at_mut(position);
            let mut sink = Sink::new(front.get_mut(filled..).unwrap_or_default(), &mut self.plain);
            let incoming = records.get_mut(..end - position).unwrap_or_default();
            let step = self.machine.step(incoming, &mut sink, &mut self.outgoing, Order::Read);
            position += step.discard;
            filled += sink.filled();
            match step.outcome {
                Ok(Outcome::Moved) => {}
                outcome => break outcome,
            }
        };
        self.keep(space.get(position..end).unwrap_or_default());
        buffer.advance(filled);
        self.stand(outcome);
        Poll::Ready(Ok(()))
    }

    /// Reads a record or two into the worker's buffer; what the reader has no space for is kept.
    fn read_small(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let carry = self.incoming.len();
            let mut records =
                ReadBuf::new(scratch.get_mut(carry..carry + RECORD_BYTES_MAX).unwrap_or_default());
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut records))?;
            let read = records.filled().len();
            if read == 0 {
                return Poll::Ready(self.read_end());
            }
            if let Some(front) = scratch.get_mut(..carry) {
                front.copy_from_slice(&self.incoming);
            }
            let records = scratch.get_mut(..carry + read).unwrap_or_default();
            let done = self.decrypt(records, buffer);
            self.keep(records.get(done..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// Decrypts what is kept.
    fn read_kept(&mut self, buffer: &mut ReadBuf<'_>) {
        let mut incoming = std::mem::take(&mut self.incoming);
        let done = self.decrypt(&mut incoming, buffer);
        self.keep(incoming.get(done..).unwrap_or_default());
    }

    /// Decrypts until the reader's space is used up, and says how many bytes are done with.
    fn decrypt(&mut self, incoming: &mut [u8], buffer: &mut ReadBuf<'_>) -> usize {
        let mut sink = Sink::new(buffer.initialize_unfilled(), &mut self.plain);
        let mut done = 0;
        let outcome = loop {
            let rest = incoming.get_mut(done..).unwrap_or_default();
            let step = self.machine.step(rest, &mut sink, &mut self.outgoing, Order::Read);
            done += step.discard;
            match step.outcome {
                Ok(Outcome::Moved) if !sink.has_spilt() => {}
                outcome => break outcome,
            }
        };
        let filled = sink.filled();
        buffer.advance(filled);
        self.stand(outcome);
        done
    }

    fn kept_bytes_max(&self) -> usize {
        match &self.machine {
            Machine::Server(_) => CLIENT_KEPT_BYTES_MAX,
            Machine::Client(_) => SERVER_KEPT_BYTES_MAX,
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        self.incoming = rest.to_vec();
    }

    /// Draws the conclusion from the last step.
    pub(super) fn stand(&mut self, outcome: Result<Outcome, rustls::Error>) {
        self.fresh = matches!(outcome, Ok(Outcome::Moved));
        match outcome {
            Ok(Outcome::PeerClosed) => {
                self.end = End::Read;
                self.incoming = Vec::new();
            }
            Ok(_) if self.incoming.len() > self.kept_bytes_max() && !self.fresh => {
                self.fail(rustls::Error::General("a handshake message is too long".to_owned()));
            }
            Ok(_) => {}
            Err(fault) => self.fail(fault),
        }
    }

    /// Collects the alert; it is written as soon as the socket takes it.
    pub(super) fn fail(&mut self, fault: rustls::Error) {
        self.incoming = Vec::new();
        self.fresh = false;
        while self.machine.state().wants_write() {
            let mut sink = Sink::new(&mut [], &mut self.plain);
            if self.machine.step(&mut [], &mut sink, &mut self.outgoing, Order::Read).outcome.is_err() {
                break;
            }
        }
        self.end = End::Failed(Some(fault));
    }

    /// The socket is at its end. Frames have lengths, so an end between two records is an end.
    fn read_end(&mut self) -> std::io::Result<()> {
        self.end = End::Read;
        if self.incoming.is_empty() { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl<S> AsyncRead for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let polled = self.read(cx, buffer);
        // An alert, or a refusal to renegotiate. Whether it can be written is no matter of the reader's.
        if !self.outgoing.is_empty() {
            let _ = self.poll_drain(cx);
        }
        self.count();
        polled
    }
}
