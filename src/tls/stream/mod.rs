//! Streams that are plain or encrypted, alike to whoever reads and writes them.

mod handshake;
mod machine;
mod reading;
mod writing;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use self::handshake::Kept;
use self::machine::Machine;
use super::hello::Hello;
use super::{Version, reason};
use crate::limits::held::{Held, HeldBytes};

/// How many bytes one write encrypts at most, into one system call.
const WRITE_BYTES: usize = 256 * 1024;

/// The kernel copies to a page's start at twice the speed of elsewhere.
const PAGE_BYTES: usize = 4096;

/// The longest record (RFC 8446, section 5.2; RFC 5246, section 6.2.3), and how much of it is text.
const RECORD_BYTES_MAX: usize = 5 + PLAIN_BYTES_MAX + 2048;
const PLAIN_BYTES_MAX: usize = 16 * 1024;

/// What one write gives: records of 16 KiB, each with a header and a tag, and what waits in front.
const SCRATCH_BYTES: usize = WRITE_BYTES + 2 * PAGE_BYTES;

thread_local! {
    /// The worker's buffer for records: borrowed while a stream is polled, never across a wait.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES + PAGE_BYTES]);
}

/// A connection to a client or a broker.
#[derive(Debug)]
pub enum Transport {
    /// As TCP carries it.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<Stream>),
}

/// Why there is no encrypted stream. The peer has been told what TLS can tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer went away during the handshake.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// The socket failed.
    #[error("the socket failed during the TLS handshake")]
    Io(#[source] std::io::Error),
    /// One side refused the other.
    #[error("the TLS handshake failed")]
    Tls(#[source] rustls::Error),
    /// A client's certificate is refused.
    #[error("the client's certificate is refused, which says that it is `{subject}`")]
    Refused {
        /// What the certificate says of whose it is, as a peer's text is printed.
        subject: Box<str>,
        /// Why.
        #[source]
        fault: Box<rustls::Error>,
    },
}

impl Error {
    /// The word for logs and metrics, one of [`reason::ALL`].
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Io(error) => reason::of_io(error),
            Self::Tls(fault) => reason::of(fault),
            Self::Refused { fault, .. } => reason::of(fault),
        }
    }
}

/// Answers a client's hello. Waits for as long as the client does; a handshake that fails takes up to two
/// seconds more, so that the client reads why. `asks_for_certificate` says whether `config` does: clients that
/// are not asked may say less. `answered` is called once the flight is out that answers the hello,
/// after which there is little to compute; where it does not come to that it is dropped.
pub async fn accept<S>(
    socket: S,
    hello: Hello,
    config: Arc<ServerConfig>,
    asks_for_certificate: bool,
    answered: impl FnOnce(),
) -> Result<Stream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let machine = Machine::server(config).map_err(Error::Tls)?;
    let kept = if asks_for_certificate { Kept::Certificates } else { Kept::Hello };
    Stream::establish(socket, machine, hello.bytes, kept, answered).await
}

/// Greets a server and checks that it is `name`, as `config` asks. Times as in [`accept`].
pub async fn connect<S>(
    socket: S,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> Result<Stream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let machine = Machine::client(config, name).map_err(Error::Tls)?;
    Stream::establish(socket, machine, Vec::new(), Kept::Any, || ()).await
}

/// How an encrypted stream may still be used.
#[derive(Debug)]
enum End {
    /// Both ways.
    Open,
    /// The peer sends nothing more.
    Read,
    /// A record was wrong, which the reader is told once. Nothing is written but the alert, and what the
    /// peer still sends is thrown away.
    Failed(Option<rustls::Error>),
}

/// An encrypted stream after its handshake. While nothing is under way it owns no buffer.
///
/// What [`poll_write`](AsyncWrite::poll_write) takes is encrypted at once; what of it the socket does not
/// take waits here, at most one write's worth, until `poll_flush` or the next write.
#[derive(Debug)]
pub struct Stream<S = TcpStream> {
    socket: S,
    machine: Machine,
    /// Read and not decrypted: part of a record or of a handshake message, or what waits for a reader.
    incoming: Vec<u8>,
    /// `incoming` may hold whole records.
    fresh: bool,
    /// Decrypted and not taken by the reader, from `taken` on.
    plain: Vec<u8>,
    taken: usize,
    /// Encrypted and not taken by the socket, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    end: End,
    /// This side has ended its stream.
    closing: bool,
    held: Option<Held>,
}

impl<S> Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    async fn establish(
        mut socket: S,
        mut machine: Machine,
        incoming: Vec<u8>,
        kept: Kept,
        answered: impl FnOnce(),
    ) -> Result<Self, Error> {
        let left = handshake::run(&mut socket, &mut machine, incoming, kept, answered).await?;
        let mut stream = Self {
            socket,
            machine,
            fresh: !left.incoming.is_empty(),
            incoming: left.incoming,
            plain: left.plain,
            taken: 0,
            outgoing: left.outgoing,
            sent: 0,
            end: End::Open,
            closing: false,
            held: None,
        };
        // A socket that takes nothing now is given the rest when it is read or written next.
        let sent = poll_fn(|cx| Poll::Ready(stream.poll_drain(cx))).await;
        match sent {
            Poll::Ready(Err(error)) => Err(Error::Io(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(stream),
        }
    }

    /// Counts what this stream keeps against a budget from now on.
    pub fn count_in(&mut self, held: &Arc<HeldBytes>) {
        self.held = Some(held.add(0));
        self.count();
    }

    /// The certificates that the peer presented, its own first; none if it was not asked or did not.
    /// A resumed connection has those of the first handshake.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.machine.state().peer_certificates().unwrap_or_default()
    }

    /// The version of TLS that both sides agreed on.
    pub fn version(&self) -> Version {
        match self.machine.state().protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => Version::Tls12,
        }
    }

    /// The cipher suite that both sides agreed on, as IANA names it.
    pub fn cipher(&self) -> Option<&'static str> {
        self.machine.state().negotiated_cipher_suite()?.suite().as_str()
    }

    /// Whether the handshake took up an earlier one instead of checking certificates anew.
    pub fn resumed(&self) -> bool {
        self.machine.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The socket below, to ask it for addresses.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    fn count(&mut self) {
        let bytes = self.incoming.capacity() + self.plain.capacity() + self.outgoing.capacity();
        if let Some(held) = &mut self.held {
            held.set(bytes);
        }
    }
}

fn invalid(fault: &rustls::Error) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, fault.clone())
}

impl Transport {
    /// Counts what this stream keeps against a budget from now on.
    pub fn count_in(&mut self, held: &Arc<HeldBytes>) {
        match self {
            Self::Plain(_) => {}
            Self::Tls(stream) => stream.count_in(held),
        }
    }

    /// The socket below, to ask it for addresses.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.socket(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
