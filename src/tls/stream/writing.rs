//! Writing of an encrypted stream: text into records.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::machine::{Order, Outcome, Sink};
use super::{End, PAGE_BYTES, SCRATCH, Stream, WRITE_BYTES, invalid};
use crate::limits::spare;

/// What the socket did not take is kept in a spare buffer when it is longer than this.
const SPARE_FROM_BYTES: usize = 16 * 1024;

impl<S> Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Encrypts bytes, or without any the end of this side's stream, once all that is kept is decrypted.
    fn encrypt(&mut self, bytes: &[u8], into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let mut sink = Sink::new(&mut [], &mut self.plain);
            let order = if bytes.is_empty() { Order::Close } else { Order::Write(bytes, &mut *into) };
            let step = self.machine.step(&mut self.incoming, &mut sink, &mut self.outgoing, order);
            self.incoming.drain(..step.discard.min(self.incoming.len()));
            match step.outcome {
                Ok(Outcome::Moved) => {}
                Ok(Outcome::Done(written)) => {
                    self.fresh = false;
                    return Ok(written);
                }
                Ok(Outcome::PeerClosed) => self.end = End::Read,
                Ok(Outcome::Drained) => return Err(std::io::ErrorKind::BrokenPipe.into()),
                Err(fault) => {
                    let error = invalid(&fault);
                    self.fail(fault);
                    return Err(error);
                }
            }
        }
    }

    /// Writes what the socket did not take before, and gives its memory back.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        if self.outgoing.capacity() > 0 {
            spare::give_back(std::mem::take(&mut self.outgoing));
        }
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Writes records, and keeps what the socket does not take.
    fn write(&mut self, cx: &mut Context<'_>, mut records: &[u8]) -> std::io::Result<()> {
        while !records.is_empty() && self.outgoing.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, records) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => records = records.get(written..).unwrap_or_default(),
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if self.outgoing.capacity() == 0 && records.len() > SPARE_FROM_BYTES {
            self.outgoing = spare::take();
        }
        self.outgoing.extend_from_slice(records);
        Ok(())
    }
}

impl<S> AsyncWrite for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.closing || matches!(self.end, End::Failed(_)) {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_drain(cx))?;
        let taken = bytes.len().min(WRITE_BYTES);
        let written = SCRATCH.with_borrow_mut(|scratch| {
            let start = scratch.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
            let scratch = scratch.get_mut(start..).unwrap_or_default();
            let records = self.encrypt(bytes.get(..taken).unwrap_or_default(), scratch)?;
            self.write(cx, scratch.get(..records).unwrap_or_default())
        });
        let drained = if self.outgoing.is_empty() { Poll::Pending } else { self.poll_drain(cx) };
        self.count();
        written?;
        match drained {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let drained = self.poll_drain(cx);
        self.count();
        ready!(drained)?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if !std::mem::replace(&mut self.closing, true) && !matches!(self.end, End::Failed(_)) {
            self.encrypt(&[], &mut [])?;
        }
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
