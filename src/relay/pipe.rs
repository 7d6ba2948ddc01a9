//! Pipes through which the kernel moves the rest of a large frame from one socket to the other, neither copied nor seen.
//!
//! A pipe belongs to a direction only while bytes are in it. An empty one goes back to a few that the process keeps; one
//! that is not empty is closed, so nothing of one connection ever comes out at another.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// From how much on the rest of a frame is spliced. Below, two system calls cost more than the copies do.
pub(super) const REST_BYTES_MIN: u64 = 256 * 1024;

/// How much a pipe holds: what everybody may ask for (`/proc/sys/fs/pipe-max-size`).
pub(super) const PIPE_BYTES: usize = 1 << 20;

/// Pipes of the process. A user without privileges may have 64 of that size (`/proc/sys/fs/pipe-user-pages-soft`); whoever
/// finds none copies.
const PIPES_MAX: usize = 32;

/// The pipes of the process.
static PIPES: Pool = Pool::new(PIPES_MAX);

/// Why bytes were not moved.
#[derive(Debug)]
pub(super) enum Error {
    /// This system cannot, and nobody is given a pipe any more.
    Unsupported,
    /// The socket failed.
    Socket(std::io::Error),
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsupported => std::io::ErrorKind::Unsupported.into(),
            Error::Socket(error) => error,
        }
    }
}

/// An empty pipe; `None` where all are in use or the system gives none.
pub(super) fn take() -> Option<Pipe> {
    PIPES.take()
}

/// Pipes, of which there are only so many.
struct Pool {
    /// How many there may be, which becomes less where the system gives no more.
    most: AtomicUsize,
    made: AtomicUsize,
    spare: Mutex<Vec<Pipe>>,
}

impl Pool {
    const fn new(most: usize) -> Self {
        Self { most: AtomicUsize::new(most), made: AtomicUsize::new(0), spare: Mutex::new(Vec::new()) }
    }

    fn take(&'static self) -> Option<Pipe> {
        if let Some(pipe) = self.spare().pop() {
            return Some(pipe);
        }
        let most = self.most.load(Ordering::Relaxed);
        let more = |made| (made < most).then_some(made + 1);
        let made = self.made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        match make() {
            Ok((output, input)) => Some(Pipe { output, input, bytes: 0, of: self }),
            Err(errno) => {
                self.made.fetch_sub(1, Ordering::Relaxed);
                self.allow_only(made, errno);
                None
            }
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Pipe>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on there are at most that many.
    fn allow_only(&self, most: usize, errno: Errno) {
        if self.most.fetch_min(most, Ordering::Relaxed) > most {
            let error = std::io::Error::from(errno);
            tracing::debug!(pipes = most, %error, "large frames are copied where no pipe is free: the system gives no more");
        }
    }

    /// Takes note of why a splice failed: from one that the system does not know on there are no pipes.
    fn failed(&self, error: std::io::Error) -> Error {
        match Errno::from_io_error(&error).filter(|errno| is_refusal(*errno)) {
            Some(errno) => {
                self.allow_only(0, errno);
                drop(std::mem::take(&mut *self.spare()));
                Error::Unsupported
            }
            None => Error::Socket(error),
        }
    }
}

impl fmt::Debug for Pool {
    // Its pipes know it, too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("made", &self.made).finish_non_exhaustive()
    }
}

/// A pipe and how much is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    bytes: usize,
    of: &'static Pool,
}

impl Pipe {
    /// Keeps an empty pipe for whoever needs one next.
    pub(super) fn give_back(self) {
        if self.bytes == 0 && self.of.most.load(Ordering::Relaxed) > 0 {
            self.of.spare().push(self);
        }
    }

    /// Bytes that are in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves up to `limit` bytes that a socket has into this pipe, which must be empty; 0 is the end of the stream.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        limit: u64,
    ) -> Poll<Result<usize, Error>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(PIPE_BYTES);
        loop {
            ready!(socket.poll_read_ready(cx)).map_err(Error::Socket)?;
            match socket.try_io(Interest::READABLE, || Ok(transfer(socket, &self.input, limit)?)) {
                Ok(bytes) => {
                    self.bytes += bytes;
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(self.of.failed(error))),
            }
        }
    }

    /// Moves what is in this pipe into a socket, and adds each part that the socket took to `written`.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        written: &mut u64,
    ) -> Poll<Result<(), Error>> {
        while self.bytes > 0 {
            ready!(socket.poll_write_ready(cx)).map_err(Error::Socket)?;
            match socket.try_io(Interest::WRITABLE, || Ok(transfer(&self.output, socket, self.bytes)?)) {
                Ok(0) => return Poll::Ready(Err(Error::Socket(std::io::ErrorKind::WriteZero.into()))),
                Ok(bytes) => {
                    self.bytes -= bytes;
                    *written += bytes as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(self.of.failed(error))),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.of.made.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The end to read from and the end to write to.
fn make() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (output, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    fcntl_setpipe_size(&input, PIPE_BYTES)?;
    Ok((output, input))
}

fn transfer(from: impl AsFd, to: impl AsFd, limit: usize) -> Result<usize, Errno> {
    retry_on_intr(|| splice(&from, None, &to, None, limit, SpliceFlags::NONBLOCK))
}

/// Whether an error means that the system, or who restricts this process, has no splice for sockets.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (one, other) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_go_from_socket_to_socket_up_to_a_limit_and_the_end_is_seen() {
        let ((mut sender, from), (to, mut receiver)) = (pair().await, pair().await);
        sender.write_all(b"one two").await.unwrap();
        static PIPES: Pool = Pool::new(1);
        let mut pipe = PIPES.take().unwrap();
        let mut written = 0;
        for part in [&b"one"[..], b" two"] {
            let bytes = poll_fn(|cx| pipe.poll_fill(cx, &from, part.len() as u64)).await.unwrap();
            assert_eq!((bytes, pipe.bytes()), (part.len(), part.len()));
            poll_fn(|cx| pipe.poll_drain(cx, &to, &mut written)).await.unwrap();
            let mut got = vec![0; part.len()];
            receiver.read_exact(&mut got).await.unwrap();
            assert_eq!(got, part);
        }
        assert_eq!((pipe.bytes(), written), (0, 7));
        drop(sender);
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &from, 9)).await.unwrap(), 0);
        pipe.give_back();
    }

    #[tokio::test]
    async fn what_one_connection_left_in_a_pipe_never_comes_out_at_another() {
        let (mut sender, from) = pair().await;
        sender.write_all(b"secret").await.unwrap();
        static PIPES: Pool = Pool::new(1);
        let mut pipe = PIPES.take().unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &from, 6)).await.unwrap(), 6);
        assert!(PIPES.take().is_none(), "there is one only");
        pipe.give_back();
        let next = PIPES.take().unwrap();
        assert_eq!(rustix::io::read(&next.output, &mut [0; 6]), Err(Errno::AGAIN));
    }

    #[test]
    fn there_are_only_so_many_and_each_that_is_given_back_is_there_again() {
        static PIPES: Pool = Pool::new(2);
        let (one, other) = (PIPES.take().unwrap(), PIPES.take().unwrap());
        assert!(PIPES.take().is_none());
        one.give_back();
        drop(PIPES.take().unwrap());
        drop(PIPES.take().unwrap());
        other.give_back();
        assert_eq!(PIPES.made.load(Ordering::Relaxed), 1);
        assert!(matches!(PIPES.failed(Errno::CONNRESET.into()), Error::Socket(_)));
        PIPES.take().unwrap().give_back();
        assert!(matches!(PIPES.failed(Errno::NOSYS.into()), Error::Unsupported));
        assert!(PIPES.take().is_none());
        assert_eq!(PIPES.made.load(Ordering::Relaxed), 0);
    }
}
