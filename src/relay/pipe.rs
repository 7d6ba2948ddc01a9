//! Pipes through which the kernel moves the rest of a large frame from one socket to the other, neither copied nor seen.
//!
//! A pipe belongs to a direction only while bytes are in it, and [`PATIENCE`] at most: of a peer that takes them more
//! slowly they go into memory. An empty pipe goes back to a few that the process keeps; one that is not empty is closed,
//! so nothing of one connection ever comes out at another.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, read, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// From how much on the rest of a frame is spliced. Below, two system calls cost more than the copies do.
pub(super) const REST_BYTES_MIN: u64 = 256 * 1024;

/// How much a pipe holds: what everybody may ask for (`/proc/sys/fs/pipe-max-size`).
pub(super) const PIPE_BYTES: usize = 1 << 20;

/// Pipes of the process. All processes of a user without privileges may have 64 of that size
/// (`/proc/sys/fs/pipe-user-pages-soft`); whoever finds none copies.
const PIPES_MAX: usize = 32;

/// How long a peer may take for what is in a pipe: others may want it.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The pipes of the process.
static PIPES: Pool = Pool::new(PIPES_MAX);

/// Why no bytes came into a pipe.
#[derive(Debug)]
pub(super) enum Error {
    /// This system cannot splice, and nobody is given a pipe any more.
    Unsupported,
    /// The socket failed.
    Socket(std::io::Error),
}

/// An empty pipe; `None` where all are in use or the system gives none.
pub(super) fn take() -> Option<Pipe> {
    PIPES.take()
}

/// Pipes in which something is now.
pub(super) fn in_use() -> usize {
    PIPES.in_use()
}

/// Pipes, of which there are only so many.
struct Pool {
    most: usize,
    made: AtomicUsize,
    spare: Mutex<Vec<Pipe>>,
    state: AtomicU8,
}

/// Nothing was spliced yet.
const UNTRIED: u8 = 0;
/// It was, so whatever fails from now on is the fault of a socket.
const WORKS: u8 = 1;
/// The system cannot, or whoever restricts this process does not let it.
const UNSUPPORTED: u8 = 2;

impl Pool {
    const fn new(most: usize) -> Self {
        let (made, state) = (AtomicUsize::new(0), AtomicU8::new(UNTRIED));
        Self { most, made, spare: Mutex::new(Vec::new()), state }
    }

    fn take(&'static self) -> Option<Pipe> {
        if self.state.load(Ordering::Relaxed) == UNSUPPORTED {
            return None;
        }
        if let Some(pipe) = self.spare().pop() {
            return Some(pipe);
        }
        let more = |made| (made < self.most).then_some(made + 1);
        self.made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        // What is short now, descriptors or the pipes of this user, may be there for the next frame.
        let made = make().inspect_err(|error| tracing::debug!(%error, "no pipe, so a large frame is copied"));
        let Ok((output, input)) = made else {
            self.made.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        Some(Pipe { output, input, bytes: 0, of: self })
    }

    fn in_use(&self) -> usize {
        let spare = self.spare();
        self.made.load(Ordering::Relaxed).saturating_sub(spare.len())
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Pipe>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the first splice that worked.
    fn worked(&self) {
        if self.state.load(Ordering::Relaxed) != WORKS {
            self.state.store(WORKS, Ordering::Relaxed);
        }
    }

    /// Tells a system that cannot splice from a socket that failed, which may give the same errors later.
    fn failed(&self, error: std::io::Error) -> Error {
        let refused = Errno::from_io_error(&error).is_some_and(is_refusal);
        if self.state.load(Ordering::Relaxed) == WORKS || !refused {
            return Error::Socket(error);
        }
        self.state.store(UNSUPPORTED, Ordering::Relaxed);
        tracing::info!(%error, "this system does not splice, so large frames are copied");
        Error::Unsupported
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
        if self.bytes == 0 {
            self.of.spare().push(self);
        }
    }

    /// Bytes that are in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes out what is in it; all, unless the system fails in what cannot fail.
    pub(super) fn take_out(&mut self) -> Vec<u8> {
        let mut taken = Vec::with_capacity(self.bytes);
        while self.bytes > 0
            && let Ok(bytes @ 1..) = retry_on_intr(|| read(&self.output, spare_capacity(&mut taken)))
        {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        taken
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
                    self.of.worked();
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
    ) -> Poll<std::io::Result<()>> {
        while self.bytes > 0 {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, || Ok(transfer(&self.output, socket, self.bytes)?)) {
                Ok(0) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                Ok(bytes) => {
                    self.bytes -= bytes;
                    *written += bytes as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
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

/// One splice. It knows no `MSG_NOSIGNAL`: that SIGPIPE is ignored, as in every Rust program, is needed here.
fn transfer(from: impl AsFd, to: impl AsFd, limit: usize) -> Result<usize, Errno> {
    retry_on_intr(|| splice(&from, None, &to, None, limit, SpliceFlags::NONBLOCK))
}

/// What a system without splice says of the first one, or a filter of system calls.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::PERM)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::relay::tests::socket_pair;

    #[tokio::test]
    async fn bytes_go_from_socket_to_socket_up_to_a_limit_and_the_end_is_seen() {
        let ((mut sender, from), (to, mut receiver)) = (socket_pair().await, socket_pair().await);
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
        let (mut sender, from) = socket_pair().await;
        sender.write_all(b"secret").await.unwrap();
        static PIPES: Pool = Pool::new(1);
        let mut pipe = PIPES.take().unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &from, 6)).await.unwrap(), 6);
        assert!(PIPES.take().is_none(), "there is one only");
        pipe.give_back();
        let next = PIPES.take().unwrap();
        assert_eq!(read(&next.output, &mut [0; 6]), Err(Errno::AGAIN));
    }

    #[tokio::test]
    async fn what_is_taken_out_comes_in_its_order_and_leaves_the_pipe_to_others() {
        let ((mut sender, from), (to, mut receiver)) = (socket_pair().await, socket_pair().await);
        static PIPES: Pool = Pool::new(1);
        let mut pipe = PIPES.take().unwrap();
        assert_eq!((pipe.take_out(), PIPES.in_use()), (Vec::new(), 1));
        sender.write_all(b"one two").await.unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &from, 7)).await.unwrap(), 7);
        assert_eq!(transfer(&pipe.output, &to, 4), Ok(4));
        pipe.bytes -= 4;
        assert_eq!((&*pipe.take_out(), pipe.bytes()), (&b"two"[..], 0));
        let mut got = [0; 4];
        receiver.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"one ");
        pipe.give_back();
        assert_eq!(PIPES.in_use(), 0);
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
    }

    #[test]
    fn only_the_first_splice_tells_whether_the_system_can() {
        static CANNOT: Pool = Pool::new(1);
        assert!(matches!(CANNOT.failed(Errno::CONNRESET.into()), Error::Socket(_)));
        CANNOT.take().unwrap().give_back();
        assert!(matches!(CANNOT.failed(Errno::NOSYS.into()), Error::Unsupported));
        assert!(CANNOT.take().is_none());
        static CAN: Pool = Pool::new(1);
        CAN.worked();
        assert!(matches!(CAN.failed(Errno::PERM.into()), Error::Socket(_)));
        CAN.take().unwrap().give_back();
    }
}
