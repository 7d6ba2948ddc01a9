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
    /// The name that it asks for: a valid DNS name, in lower case.
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
        if known == bytes.capacity() {
            bytes.reserve_exact(READ_BYTES.min(HELLO_BYTES_MAX - known));
        }
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

/// Closes in order a stream that is not relayed: half-closes and reads for at most a second, because what the client
/// had already sent must not turn the close into a reset, which would destroy what it is to see, such as an alert.
pub async fn finish<S>(stream: &mut S)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::tls::{provider, stream};

    /// The first flight of a client, one record.
    async fn hello() -> Vec<u8> {
        let (near, mut far) = duplex(16 * 1024);
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from("door.test").unwrap();
        let mut hello = Vec::with_capacity(16 * 1024);
        tokio::select! {
            _ = stream::connect(near, name, Arc::new(config)) => panic!("nobody answered"),
            read = far.read_buf(&mut hello) => read.unwrap(),
        };
        hello
    }

    /// The same message in records that carry that many bytes of it each.
    fn cut(hello: &[u8], bytes: usize) -> Vec<u8> {
        let record = |part: &[u8]| [&[22, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat();
        hello[5..].chunks(bytes).flat_map(record).collect()
    }

    async fn rest(mut stream: DuplexStream) -> Vec<u8> {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    }

    /// What comes of these bytes, and what the client is told.
    async fn told(bytes: &[u8]) -> (Result<Hello, Error>, Vec<u8>) {
        let (mut near, mut far) = duplex(64 * 1024);
        near.write_all(bytes).await.unwrap();
        let read = read(&mut far).await;
        drop(far);
        (read, rest(near).await)
    }

    #[tokio::test]
    async fn a_hello_is_read_however_it_is_cut() {
        let hello = hello().await;
        for bytes in [1, 2, 7, 500, 16_000] {
            for space in [1, 3, 64 * 1024] {
                let wire = cut(&hello, bytes);
                let (mut near, mut far) = duplex(space);
                let (read, ()) = tokio::join!(async { read(&mut far).await.unwrap() }, async {
                    near.write_all(&wire).await.unwrap();
                },);
                assert_eq!(read.server_name.as_deref(), Some("door.test"));
                assert_eq!(read.bytes, wire);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_tls_is_told_nothing() {
        let cases: [(&[u8], &str); 4] = [
            (&[0, 0, 0, 20, 0, 18, 0, 3], "plain Kafka"),
            (b"GET / HTTP/1.1\r\n\r\n", "an HTTP request"),
            (&[0x80, 0x2e, 1, 0, 2], "something"),
            (&[22, 4], "something"),
        ];
        for (bytes, expected) in cases {
            let (read, told) = told(bytes).await;
            let error = read.unwrap_err();
            assert!(matches!(error, Error::NotTls { name } if name == expected), "{error}");
            assert_eq!((error.reason(), told), ("not_tls", Vec::new()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_is_told_in_an_alert() {
        let endless = cut(&[&[0; 5][..], &[1, 0, 0xff, 0xff], &[0; 40_000]].concat(), 9_000);
        let (read, alert) = told(&endless).await;
        assert!(matches!(read, Err(Error::TooLong)), "{read:?}");
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, 22]);
        let (read, alert) = told(&[22, 3, 1, 0, 4, 1, 0, 0, 0]).await;
        assert!(matches!(read, Err(Error::Malformed(_))), "{read:?}");
        assert_eq!(alert.get(..6), Some(&[21, 3, 3, 0, 2, 2][..]));
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_no_fault() {
        for length in [0, 1, 100] {
            let (mut near, mut far) = duplex(64 * 1024);
            near.write_all(&hello().await[..length]).await.unwrap();
            drop(near);
            let error = read(&mut far).await.unwrap_err();
            assert_eq!(error.reason(), "closed");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_alert_and_an_end_though_the_client_goes_on() {
        let (mut near, mut far) = duplex(64);
        let client = async {
            let mut alert = [0; 7];
            near.read_exact(&mut alert).await.unwrap();
            // It reads only after it has written what does not fit into the pipe.
            near.write_all(&[0; 10_000]).await.unwrap();
            assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
            alert
        };
        let refused = refuse(&mut far, AlertDescription::UnrecognisedName);
        let (alert, ()) = tokio::join!(client, async {
            timeout(Duration::from_secs(3), refused).await.unwrap();
        });
        assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 0x70]);
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in any::<bool>()) {
            let bytes = if start { [&[22, 3, 1, 0, 100, 1, 0, 0, 96][..], &bytes].concat() } else { bytes };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(async {
                let (mut near, mut far) = duplex(64 * 1024);
                near.write_all(&bytes).await.unwrap();
                near.shutdown().await.unwrap();
                assert!(read(&mut far).await.is_err());
            });
        }
    }
}
