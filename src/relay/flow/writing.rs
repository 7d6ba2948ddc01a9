//! To the writer: at once what it takes, later what it did not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::{Flow, READ_BYTES_SMALL};
use crate::limits::spare;
use crate::relay::Peer;

impl Flow {
    /// Writes, and keeps what the peer does not take.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut impl Peer,
        mut bytes: &[u8],
    ) -> std::io::Result<()> {
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
        if self.output.capacity() == 0 && bytes.len() > READ_BYTES_SMALL {
            self.output = spare::take();
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    /// Has the peer take what was spliced, and gives the pipe back.
    pub(super) fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        writer: &TcpStream,
    ) -> Poll<std::io::Result<()>> {
        if let Some((mut pipe, since)) = self.pipe.take() {
            let Poll::Ready(drained) = pipe.poll_drain(cx, writer, &mut self.moved.written) else {
                self.pipe = Some((pipe, since));
                return Poll::Pending;
            };
            pipe.give_back();
            drained?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is in the pipe into memory: others may need the pipe.
    pub(in crate::relay) fn leave_pipe(&mut self) {
        // What is in memory goes out before what is in the pipe.
        if !self.output.is_empty() {
            return;
        }
        if let Some((mut pipe, since)) = self.pipe.take() {
            self.output = pipe.take_out();
            self.slow = true;
            if pipe.bytes() > 0 {
                self.pipe = Some((pipe, since));
            } else {
                pipe.give_back();
            }
        }
    }

    /// Writes what the peer did not take before, and gives its memory back.
    pub(in crate::relay) fn poll_output(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut impl Peer,
    ) -> Poll<std::io::Result<()>> {
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
        if let Some(socket) = writer.plain() {
            ready!(self.poll_pipe(cx, socket))?;
        }
        let flushed = Pin::new(writer).poll_flush(cx);
        self.unflushed = flushed.is_pending();
        flushed
    }
}
