//! The first message of a TLS client, read before it is known which certificate answers it.

use std::time::Duration;

use rustls::server::{AcceptedAlert, Acceptor};
use rustls::{AlertDescription, PeerIncompatible};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::reason;
use crate::kafka::header;

/// The longest hello that is read, with the headers of its records. Real ones take 200 to 2,000 bytes.
const HELLO_BYTES_MAX: usize = 20 * 1024;

/// How much is read at once.
const READ_BYTES: usize = 4 * 1024;

/// The content type of a record that carries a handshake message, and of one that carries an alert
/// (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
const ALERT_RECORD: u8 = 21;

/// How long a client that was refused may take to read why, and how much of what it sends meanwhile is
/// thrown away.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// What a client said first.
#[derive(Clone, Debug)]
pub struct Hello {
    /// All that was read: the hello, and whatever the client sent behind it.
    pub bytes: Vec<u8>,
    /// The name that it asks for, as it wrote it; a valid DNS name.
    pub server_name: Option<String>,
}

/// Why there is no hello.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client went away before it was complete.
    #[error("the client closed the connection during its TLS hello")]
    Closed,
    /// The first bytes are not TLS.
    #[error("the client sent {name}, not a TLS handshake; this port expects TLS")]
    NotTls {
        /// What they look like.
        name: &'static str,
    },
    /// It does not end within 20 KiB.
    #[error("the TLS hello of the client is longer than {HELLO_BYTES_MAX} bytes")]
    TooLong,
    /// It is TLS and cannot be read.
    #[error("the TLS hello of the client cannot be read")]
    Malformed(#[source] rustls::Error),
    /// The socket failed.
    #[error("the client's socket failed during its TLS hello")]
    Io(#[source] std::io::Error),
}

impl Error {
    /// The word for logs and metrics, one of [`reason::ALL`].
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::NotTls { .. } => "not_tls",
            Self::TooLong => "protocol",
            Self::Malformed(error) => reason::of(error),
            Self::Io(error) => reason::of_io(error),
        }
    }
}

/// Reads the hello of a client, however it is cut into records and segments. Nothing is answered to a good
/// one. After a bad one the client has been told what TLS can tell, and the stream has been closed in
/// order, which takes up to a second. Waits for as long as the client does.
pub async fn read<S>(stream: &mut S) -> Result<Hello, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = Vec::new();
    let mut acceptor = Acceptor::default();
    loop {
        let known = bytes.len();
        bytes.reserve(READ_BYTES);
        let read = (&mut *stream).take((HELLO_BYTES_MAX - known) as u64).read_buf(&mut bytes).await;
        if read.map_err(Error::Io)? == 0 {
            return Err(Error::Closed);
        }
        if let Some(name) = foreign(&bytes) {
            // No alert: a Kafka client would take it for the length of a response and reserve 350 MB.
            finish(stream).await;
            return Err(Error::NotTls { name });
        }
        let mut news = bytes.get(known..).unwrap_or_default();
        while !news.is_empty() {
            acceptor.read_tls(&mut news).map_err(Error::Io)?;
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let server_name = accepted.client_hello().server_name().map(str::to_owned);
                    return Ok(Hello { bytes, server_name });
                }
                Ok(None) => {}
                Err((error, alert)) => {
                    let _ = timeout(LINGER, stream.write_all(&told(&error, alert))).await;
                    finish(stream).await;
                    return Err(Error::Malformed(error));
                }
            }
        }
        if bytes.len() >= HELLO_BYTES_MAX {
            refuse(stream, AlertDescription::RecordOverflow).await;
            return Err(Error::TooLong);
        }
    }
}

/// The record that tells a client what is wrong with its hello.
fn told(error: &rustls::Error, mut alert: AcceptedAlert) -> Vec<u8> {
    // The extension came with TLS 1.2. rustls calls its absence a failed handshake, which tells a client of
    // TLS 1.1 nothing.
    if *error == PeerIncompatible::SignatureAlgorithmsExtensionRequired.into() {
        return alert_record(AlertDescription::ProtocolVersion).to_vec();
    }
    let mut record = Vec::new();
    let _ = alert.write_all(&mut record);
    record
}

/// Answers a hello with a fatal alert and closes in order. Takes up to two seconds.
pub async fn refuse<S>(stream: &mut S, alert: AlertDescription)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = timeout(LINGER, stream.write_all(&alert_record(alert))).await;
    finish(stream).await;
}

/// A fatal alert before any key is agreed on (RFC 8446, section 6).
pub(super) fn alert_record(alert: AlertDescription) -> [u8; 7] {
    const FATAL: u8 = 2;
    [ALERT_RECORD, 3, 3, 0, 2, FATAL, u8::from(alert)]
}

/// Half-closes and reads for a while: what the client had already sent must not turn the close into a
/// reset, which would destroy the alert before the client reads it.
pub(super) async fn finish<S>(stream: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let finishing = async {
        stream.shutdown().await?;
        let mut buffer = vec![0; READ_BYTES];
        let mut rest = stream.take(LINGER_BYTES_MAX);
        while rest.read(&mut buffer).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(LINGER, finishing).await;
}

/// What the first bytes are when they are not a TLS handshake.
fn foreign(start: &[u8]) -> Option<&'static str> {
    match start {
        [] | [HANDSHAKE_RECORD] | [HANDSHAKE_RECORD, 3, ..] => None,
        // Four bytes tell the protocols apart; fewer cannot.
        [_] | [_, _] | [_, _, _] => Some("something"),
        [0, ..] => Some("plain Kafka"),
        _ => Some(header::foreign_protocol(start).unwrap_or("something")),
    }
}
